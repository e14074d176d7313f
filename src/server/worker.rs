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
//! `settle.rs` (what comes after an exchange) and `drain.rs`.
//!
//! Invariants: every open connection has exactly one armed deadline or is attached to one that has;
//! a stale key reaches nobody; no function here calls itself through another.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::backends::Backend;
use super::slots::{Queued, Slots};
use super::timers::Timers;
use crate::backend::balance::Balancer;
use crate::clock::{Deadline, Now};
use crate::config::{Cidr, Limits, Timeouts};
use crate::key::{Key, Subject, Token};
use crate::net::latch::Readiness;
use crate::net::link::Link;
use crate::net::resolve::Answer;
use crate::net::{Net, Scratch};
use crate::observe::access_log::AccessLog;
use crate::proxy::Context;
use crate::proxy::client::Client;
use crate::proxy::exchange::Exchange;
use crate::proxy::request_id::RequestIds;
use crate::proxy::upstream::{Upstream, UpstreamState};

/// How many exchanges are put aside to be used again, so that a request costs no allocation.
const SPARE_EXCHANGES_COUNT_MAX: usize = 1024;

/// How many entries the timers may have for each connection, and besides.
const STALE_TIMERS_SHARE_MAX: usize = 4;
const STALE_TIMERS_COUNT_MAX: usize = 1024;

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
    pub(super) trust: Vec<Cidr>,
    pub(super) ids: RequestIds,
    pub(super) phase: Phase,
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
    pub(super) backends: Vec<Backend>,
    pub(super) balancer: Balancer,
    pub(super) timers: Timers,
    pub(super) shared: Shared,
    pub(super) access_log: Option<AccessLog>,
    #[expect(clippy::vec_box, reason = "the boxes are what is saved: a client holds one")]
    pub(super) spare: Vec<Box<Exchange>>,
    /// Exchanges that ended well since the drain began.
    pub(super) finished_count: u64,
    run: VecDeque<Subject>,
}

impl<N: Net> Worker<N> {
    /// A worker without connections.
    #[must_use]
    pub fn new(net: N, backends: Vec<(Backend, u32)>, settings: Settings, now: Now) -> Self {
        let (backends, weights): (Vec<Backend>, Vec<u32>) = backends.into_iter().unzip();
        Self {
            net,
            clients: Slots::default(),
            upstreams: Slots::default(),
            backends,
            balancer: Balancer::new(weights),
            timers: Timers::default(),
            shared: Shared {
                scratch: Scratch::default(),
                now,
                timeouts: settings.timeouts,
                limits: settings.limits,
                trust: settings.trust,
                ids: RequestIds::new(settings.seed),
                phase: Phase::Serving,
            },
            access_log: settings.access_log,
            spare: Vec::new(),
            finished_count: 0,
            run: VecDeque::new(),
        }
    }

    /// A client has connected.
    pub fn accept(&mut self, mut sock: N::Sock, address: SocketAddr) {
        let Some(key) = self.clients.vacant_key() else {
            return;
        };
        let subject = Subject::Client(key);
        if let Err(error) = self.net.register(&mut sock, Token::from(subject)) {
            log::warn!("a client is turned away: the poll has no room for it ({error})");
            return;
        }
        log::trace!("client {key} {address}: accepted");
        let mut deadline = Deadline::new(self.shared.now.instant + self.shared.timeouts.idle);
        self.timers.watch(&mut deadline, subject);
        self.clients.insert(Client::accepted(Link::plain(sock), address, deadline));
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
                    UpstreamState::AwaitConnect | UpstreamState::AwaitHandshake => {
                        self.queue(Subject::Upstream(key));
                    }
                    UpstreamState::Busy { client } => self.queue_client(client),
                    UpstreamState::Idle => self.check_idle(key),
                }
            }
            Subject::Listener(_) | Subject::Process(_) => {}
        }
    }

    /// Pass 2: drives what was queued until now. What is queued meanwhile comes in the next turn.
    pub fn run(&mut self, now: Now) {
        self.shared.now = now;
        for _ in 0..self.run.len() {
            match self.run.pop_front() {
                Some(Subject::Client(key)) => {
                    self.clients.set_queued(key, Queued::No);
                    self.drive_client(key);
                }
                Some(Subject::Upstream(key)) => self.drive_upstream(key),
                Some(Subject::Listener(_) | Subject::Process(_)) | None => {}
            }
        }
    }

    /// Whether something can be done without waiting for an event.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.run.is_empty()
    }

    /// When something is over next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
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
                Subject::Listener(_) | Subject::Process(_) => {}
            }
        }
    }

    /// A name was resolved, or could not be.
    pub fn on_answer(&mut self, answer: Answer) {
        if let Some(backend) = self.backends.get_mut(answer.id) {
            backend.note_addresses(answer.outcome);
        }
    }

    /// The turn is over: hands the access log on.
    pub fn end_turn(&mut self) {
        let connections = self.clients.len() + self.upstreams.len();
        if self.timers.len() > STALE_TIMERS_SHARE_MAX * connections + STALE_TIMERS_COUNT_MAX {
            self.forget_stale_timers();
        }
        if let Some(log) = &mut self.access_log {
            log.flush();
        }
    }

    /// Short connections leave an entry behind each, until their first deadline would have been.
    fn forget_stale_timers(&mut self) {
        let (clients, upstreams) = (&self.clients, &self.upstreams);
        self.timers.retain(|subject, at| {
            let queued = match subject {
                Subject::Client(key) => clients.get(key).map(|client| client.deadline.queued),
                Subject::Upstream(key) => upstreams.get(key).map(|up| up.deadline.queued),
                Subject::Listener(_) | Subject::Process(_) => None,
            };
            queued == Some(Some(at))
        });
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
        if self.spare.len() < SPARE_EXCHANGES_COUNT_MAX {
            exchange.reset();
            self.spare.push(exchange);
        }
    }
}

/// What a worker is told at the start.
#[derive(Debug)]
pub struct Settings {
    /// How long anything may take.
    pub timeouts: Timeouts,
    /// How much of anything there may be.
    pub limits: Limits,
    /// Whose forwarding fields are believed.
    pub trust: Vec<Cidr>,
    /// A random number, or a chosen one where everything has to be repeatable.
    pub seed: u64,
    /// Where a line per exchange goes.
    pub access_log: Option<AccessLog>,
}
