//! The proxy itself: all connections, and what happens to them when something happens.
//!
//! Generic over the network and told the time, so that it runs in a simulated world exactly as it
//! runs on real sockets. A turn has two passes. In the first, [`Worker::on_event`] only remembers what
//! became ready and drops idle upstreams that the backend closed; in the second, [`Worker::run`]
//! drives each connection that something happened to, once. So both sockets of an exchange give one
//! drive, and an upstream that died in a batch is gone before anybody in that batch could get it.
//!
//! Knows nothing of mio, listeners and signals. The other half of this type is in `dispatch.rs` (from
//! a request to a connection) and `settle.rs` (what comes after an exchange).
//!
//! Invariants: every open connection has exactly one armed deadline or is attached to one that has;
//! a stale key reaches nobody; no function here calls itself through another.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::backends::Backend;
use super::slots::{Queued, Slots};
use super::timers::Timers;
use crate::backend::BackendId;
use crate::backend::balance::Balancer;
use crate::clock::{Deadline, Now};
use crate::config::{Cidr, Limits, Timeouts};
use crate::h1::reply::Reason;
use crate::key::{Key, Subject, Token};
use crate::net::latch::Readiness;
use crate::net::link::{Handshake, Link, Received};
use crate::net::resolve::Answer;
use crate::net::transport::connect_reason;
use crate::net::{HEADROOM_BYTES, Net, Scratch, Sock};
use crate::observe::access_log::AccessLog;
use crate::proxy::Context;
use crate::proxy::client::{Client, ClientState, HeadOutcome, Input, read_head};
use crate::proxy::exchange::{self, Exchange, Hops, Verdict};
use crate::proxy::relay_request::{Watched, watch_for_reset};
use crate::proxy::request_id::RequestIds;
use crate::proxy::tunnel::{self, TunnelVerdict};
use crate::proxy::upstream::{Upstream, UpstreamState};

/// How many exchanges are put aside to be used again, so that a request costs no allocation.
const SPARE_EXCHANGES_COUNT_MAX: usize = 1024;

/// How many entries the timers may have for each connection, and besides.
const STALE_TIMERS_SHARE_MAX: usize = 4;
const STALE_TIMERS_COUNT_MAX: usize = 1024;

/// How many states a client may go through in a turn of the loop before others get their turn: one
/// that pipelines requests which we answer ourselves could go on for long.
const STEPS_COUNT_MAX: u32 = 16;

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

    /// Does for a client what can be done now.
    fn drive_client(&mut self, key: Key) {
        for step in 0.. {
            if step == STEPS_COUNT_MAX {
                self.queue_client(key);
                break;
            }
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            let goes_on = match &client.state {
                ClientState::AwaitHead(_) => self.drive_head(key),
                ClientState::AwaitUpstream(exchange) if exchange.route.backend.is_none() => {
                    self.place(key, 0..0)
                }
                ClientState::AwaitUpstream(_) => self.drive_waiting(key),
                ClientState::Relay { .. } => self.drive_relay(key),
                ClientState::Tunnel { .. } => self.drive_tunnel(key),
                ClientState::AwaitFlush => self.drive_flush(key),
                ClientState::AwaitClose { .. } => self.drive_close(key),
            };
            if goes_on == GoesOn::No {
                break;
            }
        }
        self.watch_client(key);
    }

    fn drive_head(&mut self, key: Key) -> GoesOn {
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        // What was answered last has to go first: nobody may make us answer without taking it.
        match client.link.flush() {
            Err(_) => {
                self.remove_client(key);
                return GoesOn::No;
            }
            Ok(0) => {}
            Ok(_) => {
                let timeouts = &self.shared.timeouts;
                let patience = if client.part.is_empty() { timeouts.idle } else { timeouts.head };
                client.deadline.at = self.shared.now.instant + patience;
            }
        }
        if client.link.is_clogged() {
            return GoesOn::No;
        }
        let mut spare = self.spare.pop();
        let mut ctx = self.shared.context();
        let outcome = read_head(client, &mut spare, &mut ctx);
        self.spare.extend(spare);
        match outcome {
            HeadOutcome::Blocked => {
                if client.part.is_empty() && self.shared.phase == Phase::Draining {
                    self.remove_client(key);
                }
                GoesOn::No
            }
            HeadOutcome::Closed => {
                log::trace!("client {key}: closed");
                self.remove_client(key);
                GoesOn::No
            }
            HeadOutcome::Aborted(reason) => {
                self.log_refusal(key, None, 0, reason);
                self.remove_client(key);
                GoesOn::No
            }
            HeadOutcome::Refused(reason, body) => self.refuse(key, reason, body),
            HeadOutcome::Ready { exchange, body } => {
                log::trace!(
                    "client {key}: {} {}",
                    String::from_utf8_lossy(exchange.head.method()),
                    String::from_utf8_lossy(exchange.head.target())
                );
                let hops = exchange.facts.hops;
                client.state = ClientState::AwaitUpstream(exchange);
                match hops {
                    Hops::GoOn => self.place(key, body),
                    Hops::EndHere => self.give_up(key, Reason::HopLimit),
                }
            }
        }
    }

    /// A request waits for a connection. All that the client can do is go away.
    fn drive_waiting(&mut self, key: Key) -> GoesOn {
        // Octets of a body are not read before there is somewhere to send them.
        if self.waiting(key).is_none_or(|exchange| exchange.request.is_awaited()) {
            return GoesOn::No;
        }
        let Some(client) = self.clients.get_mut(key) else { return GoesOn::No };
        let mut ctx = self.shared.context();
        match watch_for_reset(client, &mut ctx) {
            Watched::StillThere => GoesOn::No,
            Watched::Gone => {
                self.abort(key, Reason::ClientReset);
                GoesOn::No
            }
        }
    }

    fn drive_relay(&mut self, key: Key) -> GoesOn {
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        let state = std::mem::replace(&mut client.state, ClientState::AwaitFlush);
        let ClientState::Relay { mut exchange, upstream: upstream_key } = state else {
            client.state = state;
            return GoesOn::No;
        };
        let Some(upstream) = self.upstreams.get_mut(upstream_key) else {
            debug_assert!(false, "a relay has its upstream");
            client.state = ClientState::AwaitUpstream(exchange);
            return self.give_up(key, Reason::Internal);
        };
        let mut ctx = self.shared.context();
        let verdict = exchange::drive(client, upstream, &mut exchange, &mut ctx);
        match verdict {
            Verdict::Blocked => {
                client.state = ClientState::Relay { exchange, upstream: upstream_key };
                GoesOn::No
            }
            Verdict::OutOfBudget => {
                client.state = ClientState::Relay { exchange, upstream: upstream_key };
                self.queue_client(key);
                GoesOn::No
            }
            Verdict::Tunnel => {
                log::trace!("client {key}: the protocol changed, octets go both ways");
                client.deadline.at = self.shared.now.instant + self.shared.timeouts.tunnel;
                let directions = tunnel::Directions::default();
                client.state = ClientState::Tunnel { exchange, upstream: upstream_key, directions };
                GoesOn::Yes
            }
            Verdict::Done(ending) => self.done(key, upstream_key, exchange, ending),
            Verdict::Failed(failure) => self.failed(key, upstream_key, exchange, failure),
        }
    }

    fn drive_tunnel(&mut self, key: Key) -> GoesOn {
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        let state = std::mem::replace(&mut client.state, ClientState::AwaitFlush);
        let ClientState::Tunnel { mut exchange, upstream: upstream_key, mut directions } = state
        else {
            client.state = state;
            return GoesOn::No;
        };
        let Some(upstream) = self.upstreams.get_mut(upstream_key) else {
            debug_assert!(false, "a tunnel has its upstream");
            return GoesOn::No;
        };
        let mut ctx = self.shared.context();
        let verdict = tunnel::drive(client, upstream, &mut exchange, &mut directions, &mut ctx);
        client.state = ClientState::Tunnel { exchange, upstream: upstream_key, directions };
        match verdict {
            TunnelVerdict::Blocked => {}
            TunnelVerdict::OutOfBudget => self.queue_client(key),
            TunnelVerdict::Ended => self.end_tunnel(key, None),
            TunnelVerdict::Broken(reason) => self.end_tunnel(key, Some(reason)),
        }
        GoesOn::No
    }

    /// The last octets go; then we say that they were the last.
    fn drive_flush(&mut self, key: Key) -> GoesOn {
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        match client.link.flush() {
            Err(_) => {
                self.remove_client(key);
                return GoesOn::No;
            }
            Ok(0) => {}
            Ok(_) => client.deadline.at = self.shared.now.instant + self.shared.timeouts.silence,
        }
        if client.link.is_clogged() {
            return GoesOn::No;
        }
        client.link.end(&mut self.shared.scratch.tls);
        client.deadline.at = self.shared.now.instant + self.shared.timeouts.linger;
        client.state = ClientState::AwaitClose { left: self.shared.limits.linger_bytes_max };
        client.part = Vec::new();
        GoesOn::Yes
    }

    /// Reads what nobody wants until the client closes, or sends too much of it.
    fn drive_close(&mut self, key: Key) -> GoesOn {
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        let ClientState::AwaitClose { left } = &mut client.state else {
            return GoesOn::No;
        };
        let Scratch { area, tls, .. } = &mut self.shared.scratch;
        loop {
            let received = match client.input {
                Input::Open => client.link.read(&mut area[HEADROOM_BYTES..], *left, tls),
                Input::Ended => Received::Closed,
            };
            match received {
                Received::Octets(n) if n < *left => *left -= n,
                Received::Blocked => return GoesOn::No,
                Received::Octets(_) | Received::Closed | Received::Broken(_) => {
                    self.remove_client(key);
                    return GoesOn::No;
                }
            }
        }
    }

    /// A connect or handshake has come on.
    fn drive_upstream(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        if upstream.state == UpstreamState::AwaitConnect {
            if upstream.link.is_closing()
                && let Some(error) = upstream.link.connect_error()
            {
                return self.connect_failed(key, connect_reason(&error), &error.to_string());
            }
            if !upstream.link.is_writable() {
                return;
            }
            upstream.state = UpstreamState::AwaitHandshake;
        }
        if upstream.state == UpstreamState::AwaitHandshake {
            match upstream.link.shake_hands(&mut self.shared.scratch.tls) {
                Ok(Handshake::Blocked) => {}
                Ok(Handshake::Done) => self.connected(key),
                Err(failure) => self.connect_failed(key, failure.reason, &failure.text),
            }
        }
    }

    /// An idle upstream has something to say: that it ends, most often. TLS may only have had
    /// something to say to itself, such as a ticket for the next connection.
    fn check_idle(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        if !upstream.link.is_readable() {
            return;
        }
        let Scratch { area, tls, .. } = &mut self.shared.scratch;
        match upstream.link.read(&mut area[HEADROOM_BYTES..], 1, tls) {
            Received::Blocked => return,
            Received::Octets(_) => {
                let label = &self.backends[upstream.backend.0].label;
                log::warn!("backend {label} sent octets that nobody asked for: connection closed");
            }
            Received::Closed | Received::Broken(_) => {}
        }
        log::trace!("upstream {key}: ended while idle");
        let BackendId(id) = upstream.backend;
        self.backends[id].pool.remove_idle(key);
        self.upstreams.remove(key);
    }
}

/// Whether a connection can be driven on at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GoesOn {
    /// It has a new state in which something may be possible.
    Yes,
    /// It waits, or is gone.
    No,
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

/// Closes a link in good order where nothing is open on it.
pub(super) fn farewell<S: Sock>(upstream: &mut Upstream<S>, scratch: &mut Scratch) {
    upstream.link.say_goodbye(&mut scratch.tls);
}
