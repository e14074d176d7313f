//! The proxy itself: all connections, and what happens to them when something happens.
//!
//! Generic over the network and told the time, so that it runs in a simulated world exactly as it
//! runs on real sockets. A turn has two passes. In the first, [`Worker::on_event`] only remembers what
//! became ready and drops idle upstreams that the backend closed; in the second, [`Worker::run`]
//! drives each connection that something happened to, once. So both sockets of an exchange give one
//! drive, and an upstream that died in a batch is gone before anybody in that batch could get it.
//!
//! Knows nothing of mio, listeners and signals. The other chapters of this type are in `drives.rs`
//! (what each connection does when it can), `dispatch.rs` (from a request to a connection),
//! `connects.rs` and `upstreams.rs` (how connections to backends are made, and how they rest and end),
//! `settle.rs` (what comes after an exchange),
//! `overdue.rs` (what happens when a deadline is over), `probes.rs` (asking backends whether they are
//! well) and `drain.rs`.
//!
//! Invariants: every open connection has exactly one armed deadline or is attached to one that has;
//! a stale key reaches nobody; no function here calls itself through another.

use std::collections::VecDeque;
use std::time::Instant;

use super::backends::Backend;
use super::dispatch::take_evidence;
use super::roster::Roster;
use super::slots::{Queued, Slots};
use super::timers::Timers;
use crate::backend::BackendId;
use crate::backend::budget::RetryBudget;
use crate::backend::pool::{Pool, Turn};
use crate::clock::{Deadline, Now, Stopwatch};
use crate::config::{HealthConfig, Limits, Peer, Timeouts, Trusted};
use crate::key::{Key, Subject, Token};
use crate::net::latch::Readiness;
use crate::net::link::Link;
use crate::net::resolve::Answer;
use crate::net::splice::Pipes;
use crate::net::{Net, Scratch};
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::proxy::client::Client;
use crate::proxy::exchange::Exchange;
use crate::proxy::request_id::RequestIds;
use crate::proxy::upstream::{Upstream, UpstreamState};
use crate::proxy::{Context, Telling};

/// How many exchanges are put aside to be used again, so that a request costs no allocation.
const SPARE_EXCHANGES_COUNT_MAX: usize = 1024;

/// How many entries the timers may have for each connection, and besides.
const STALE_TIMERS_SHARE_MAX: usize = 4;
const STALE_TIMERS_COUNT_MAX: usize = 1024;

/// The most by which a backend's time out is lengthened, in hundredths, so that backends that went
/// together do not come back together.
const OUTAGE_STRETCH_PERCENT_MAX: u32 = 20;

/// Whether the worker takes on new work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It does.
    Serving,
    /// It finishes what is open; each answer ends its connection.
    Draining,
}

/// What every drive borrows, apart from the two connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) scratch: Scratch,
    pub(super) now: Now,
    pub(super) timeouts: Timeouts,
    pub(super) limits: Limits,
    pub(super) trust: Vec<Trusted>,
    pub(super) ids: RequestIds,
    pub(super) phase: Phase,
    pub(super) stopwatch: Stopwatch,
    pub(super) telling: Telling,
}

impl Shared {
    pub(super) fn context(&mut self) -> Context<'_> {
        Context {
            scratch: &mut self.scratch,
            now: self.now,
            limits: &self.limits,
            timeouts: &self.timeouts,
            trust: &self.trust,
            ids: &mut self.ids,
            telling: self.telling,
            stopping: self.phase == Phase::Draining,
        }
    }
}

/// All connections and everything that they share.
#[derive(Debug)]
pub struct Worker<N: Net> {
    pub(super) net: N,
    pub(super) clients: Slots<Client<N::Sock>>,
    pub(super) upstreams: Slots<Upstream<N::Sock>>,
    pub(super) roster: Roster,
    /// For each backend, when something about it is due.
    pub(super) alarms: Vec<Deadline>,
    /// Requests for which no backend has room, oldest first.
    pub(super) queue: VecDeque<Key>,
    pub(super) budget: RetryBudget,
    /// Backends that could not be reached: their names may lead somewhere else by now.
    doubts: Vec<BackendId>,
    pub(super) timers: Timers,
    pub(super) shared: Shared,
    pub(super) access_log: Option<AccessLog>,
    pub(super) metrics: Option<Metrics>,
    #[expect(clippy::vec_box, reason = "the boxes are what is saved: a client holds one")]
    pub(super) spare: Vec<Box<Exchange>>,
    /// Exchanges that ended well since the drain began.
    pub(super) finished_count: u64,
    /// The present turn of the loop.
    pub(super) turn: Turn,
    run: VecDeque<Subject>,
}

impl<N: Net> Worker<N> {
    /// A worker without connections.
    #[must_use]
    pub fn new(net: N, backends: Vec<(Backend, u32)>, settings: Settings, now: Now) -> Self {
        let metrics = settings.counts.then(|| Metrics::new(backends.len(), now.instant));
        let (stopwatch, telling) = (settings.stopwatch(), settings.telling());
        let mut roster = Roster::new(backends, settings.health);
        for backend in roster.iter_mut() {
            let for_all = settings.limits.backend_connections_count_max;
            backend.pool = Pool::new(backend.connections_count_max.or(for_all));
        }
        Self {
            net,
            clients: Slots::default(),
            upstreams: Slots::default(),
            alarms: vec![Deadline::new(now.instant); roster.len()],
            roster,
            queue: VecDeque::new(),
            budget: RetryBudget::new(now.instant),
            doubts: Vec::new(),
            timers: Timers::default(),
            shared: Shared {
                scratch: Scratch {
                    pipes: Pipes::new(settings.limits.pipes_count_max),
                    ..Scratch::default()
                },
                now,
                timeouts: settings.timeouts,
                limits: settings.limits,
                trust: settings.trust,
                ids: RequestIds::new(settings.seed),
                phase: Phase::Serving,
                stopwatch,
                telling,
            },
            access_log: settings.access_log,
            metrics,
            spare: Vec::new(),
            finished_count: 0,
            turn: Turn::default(),
            run: VecDeque::new(),
        }
    }

    /// A client has connected. The time is told anew: the last turn may be long ago.
    pub fn accept(&mut self, mut sock: N::Sock, peer: Peer, now: Now) {
        let Some(key) = self.clients.vacant_key() else {
            return;
        };
        let subject = Subject::Client(key);
        if let Err(error) = self.net.register(&mut sock, Token::from(subject)) {
            log::warn!("a client is turned away: the poll has no room for it ({error})");
            return;
        }
        log::trace!("client {key} {peer}: accepted");
        let mut deadline = Deadline::new(now.instant + self.shared.timeouts.idle);
        self.timers.watch(&mut deadline, subject);
        self.clients.insert(Client::accepted(Link::plain(sock), peer, deadline));
    }

    /// Pass 1: something became ready.
    pub fn on_event(&mut self, token: Token, readiness: Readiness) {
        match Subject::from(token) {
            Subject::Client(key) => {
                if let Some(client) = self.clients.get_mut(key) {
                    client.link.on_event(readiness);
                    self.queue_client(key);
                }
            }
            Subject::Upstream(key) => {
                let Some(upstream) = self.upstreams.get_mut(key) else {
                    return;
                };
                upstream.link.on_event(readiness);
                match upstream.state {
                    UpstreamState::AwaitConnect(_)
                    | UpstreamState::AwaitHandshake(_)
                    | UpstreamState::AwaitProbe { .. } => {
                        self.queue(Subject::Upstream(key));
                    }
                    UpstreamState::Busy { client } => self.queue_client(client),
                    UpstreamState::Idle => self.check_idle(key),
                }
            }
            Subject::Backend(_)
            | Subject::Listener(_)
            | Subject::Visit(_)
            | Subject::Process(_) => {}
        }
    }

    /// Pass 2: drives what was queued until now. What is queued meanwhile comes in the next turn.
    pub fn run(&mut self, now: Now) {
        self.shared.now = now;
        self.turn = Turn(self.turn.0.wrapping_add(1));
        for _ in 0..self.run.len() {
            match self.run.pop_front() {
                Some(Subject::Client(key)) => {
                    self.clients.set_queued(key, Queued::No);
                    self.drive_client(key);
                }
                Some(Subject::Upstream(key)) => self.drive_upstream(key),
                Some(
                    Subject::Backend(_)
                    | Subject::Listener(_)
                    | Subject::Visit(_)
                    | Subject::Process(_),
                )
                | None => {}
            }
        }
        self.serve_queue();
    }

    /// Whether something can be done without waiting for an event.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.run.is_empty()
    }

    /// When something is over next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let log = self.access_log.as_ref().and_then(AccessLog::due);
        [self.timers.next(), log].into_iter().flatten().min()
    }

    /// Acts on everything that is over.
    pub fn expire(&mut self, now: Now) {
        self.shared.now = now;
        while let Some((subject, queued)) = self.timers.pop_due(now.instant) {
            match subject {
                Subject::Client(key) => {
                    if let Some(client) = self.clients.get_mut(key)
                        && client.deadline.queued == Some(queued)
                    {
                        client.deadline.queued = None;
                        if client.deadline.at > now.instant {
                            self.timers.watch(&mut client.deadline, subject);
                        } else {
                            self.client_overdue(key);
                        }
                    }
                }
                Subject::Upstream(key) => self.upstream_came_up(key, queued),
                Subject::Backend(index) => {
                    let id = BackendId(index as usize);
                    if let Some(alarm) = self.alarms.get_mut(id.0)
                        && alarm.queued == Some(queued)
                    {
                        alarm.queued = None;
                        self.backend_came_up(id);
                    }
                }
                Subject::Listener(_) | Subject::Visit(_) | Subject::Process(_) => {}
            }
        }
        self.serve_queue();
    }

    /// Makes sure that whatever is due next about a backend comes up.
    pub(super) fn watch_backend(&mut self, id: BackendId) {
        let (Some(at), Some(alarm)) = (self.roster[id].next_alarm(), self.alarms.get_mut(id.0))
        else {
            return;
        };
        alarm.at = at;
        if let Ok(index) = u32::try_from(id.0) {
            self.timers.watch(alarm, Subject::Backend(index));
        }
    }

    /// A name was resolved, or could not be.
    pub fn on_answer(&mut self, answer: Answer) {
        let id = BackendId(answer.id);
        if answer.id >= self.roster.len() {
            return;
        }
        self.roster.note_addresses(id, answer.outcome);
        // What rests at an address that is no more will not be used again.
        let (roster, upstreams) = (&mut self.roster, &self.upstreams);
        let is_at = |key: Key| {
            upstreams.get(key).is_some_and(|upstream| roster[id].is_at(&upstream.address))
        };
        let gone: Vec<Key> = roster[id].pool.idle_keys().filter(|key| !is_at(*key)).collect();
        for key in gone {
            self.roster[id].pool.remove_idle(key);
            self.close_upstream(key);
        }
    }

    /// A backend cannot be reached: its name, if it has one, should be asked for again.
    pub(super) fn doubt_name(&mut self, id: BackendId) {
        if self.roster[id].has_name() && !self.doubts.contains(&id) {
            self.doubts.push(id);
        }
    }

    /// No backend can be reached.
    pub(super) fn doubt_names(&mut self) {
        for id in self.roster.ids() {
            self.doubt_name(id);
        }
    }

    /// The backends of which that was said since the last time.
    pub fn take_doubts(&mut self) -> Vec<BackendId> {
        std::mem::take(&mut self.doubts)
    }

    /// By how many hundredths the time out of a backend is lengthened.
    pub(super) fn stretch(&mut self) -> u32 {
        self.shared.ids.percent(OUTAGE_STRETCH_PERCENT_MAX)
    }

    /// The turn is over: hands the access log on.
    pub fn end_turn(&mut self) {
        let connections = self.clients.len() + self.upstreams.len() + self.alarms.len();
        if self.timers.len() > STALE_TIMERS_SHARE_MAX * connections + STALE_TIMERS_COUNT_MAX {
            self.forget_stale_timers();
        }
        if let Some(log) = &mut self.access_log {
            log.end_turn(self.shared.now.instant);
        }
    }

    /// Short connections leave an entry behind each, until their first deadline would have been.
    fn forget_stale_timers(&mut self) {
        let (clients, upstreams, alarms) = (&self.clients, &self.upstreams, &self.alarms);
        self.timers.retain(|subject, at| {
            let queued = match subject {
                Subject::Client(key) => clients.get(key).map(|client| client.deadline.queued),
                Subject::Upstream(key) => upstreams.get(key).map(|up| up.deadline.queued),
                Subject::Backend(index) => alarms.get(index as usize).map(|alarm| alarm.queued),
                Subject::Listener(_) | Subject::Visit(_) | Subject::Process(_) => None,
            };
            queued == Some(Some(at))
        });
    }

    /// Lines of the access log go there from now on; says how many were lost on the way to where they went
    /// before.
    pub fn set_access_log(&mut self, log: Option<AccessLog>) -> u64 {
        let before = std::mem::replace(&mut self.access_log, log);
        // What was handed over is still written; nobody waits for that.
        before.map_or(0, |mut before| {
            before.flush();
            before.take_lost()
        })
    }

    /// The access log, to be closed.
    pub fn take_access_log(&mut self) -> Option<AccessLog> {
        self.access_log.take()
    }

    /// How many access log lines were lost since the last time this was asked.
    pub fn take_lost_lines(&mut self) -> u64 {
        self.access_log.as_mut().map_or(0, AccessLog::take_lost)
    }

    /// How many connections there are: of clients, and to backends.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        (self.clients.len(), self.upstreams.len())
    }

    /// The network, for a simulated world.
    pub fn net_mut(&mut self) -> &mut N {
        &mut self.net
    }

    pub(super) fn queue(&mut self, subject: Subject) {
        self.run.push_back(subject);
    }

    pub(super) fn queue_client(&mut self, key: Key) {
        if self.clients.set_queued(key, Queued::Yes) == Some(Queued::No) {
            self.queue(Subject::Client(key));
        }
    }

    /// Makes sure that the client's deadline comes up.
    pub(super) fn watch_client(&mut self, key: Key) {
        if let Some(client) = self.clients.get_mut(key) {
            self.timers.watch(&mut client.deadline, Subject::Client(key));
        }
    }

    pub(super) fn recycle(&mut self, mut exchange: Box<Exchange>) {
        let lapsed = take_evidence(&mut exchange);
        self.note_lapsed(lapsed);
        if self.spare.len() < SPARE_EXCHANGES_COUNT_MAX {
            exchange.reset();
            self.spare.push(exchange);
        }
    }
}

/// What a worker is told at the start.
#[derive(Default, Debug)]
pub struct Settings {
    /// How long anything may take.
    pub timeouts: Timeouts,
    /// How much of anything there may be.
    pub limits: Limits,
    /// When a backend is given no more requests.
    pub health: HealthConfig,
    /// Whose forwarding fields are believed.
    pub trust: Vec<Trusted>,
    /// A random number, or a chosen one where everything has to be repeatable.
    pub seed: u64,
    /// Where a line per exchange goes.
    pub access_log: Option<AccessLog>,
    /// Whether exchanges are counted and timed for whoever asks.
    pub counts: bool,
    /// Whether clients are told how long a request took.
    pub server_timing: bool,
}

impl Settings {
    /// The clock within a turn: it runs where somebody wants to know.
    pub(super) fn stopwatch(&self) -> Stopwatch {
        if self.counts || self.server_timing { Stopwatch::Running } else { Stopwatch::Stopped }
    }

    pub(super) fn telling(&self) -> Telling {
        if self.server_timing { Telling::Times(Stopwatch::Running) } else { Telling::Nothing }
    }
}
