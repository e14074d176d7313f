//! From a request to a connection: whose turn, which idle one, or a new one, or a wait.
//!
//! A request with no idle connection waits in the pool of its backend while a connect is on its way,
//! and gets whichever connection is usable first: that may be one that another exchange gives back.
//! When a connect fails, nothing has been sent, so the waiter goes on to the next backend.
//!
//! Knows nothing of octets. Invariant: a client in [`ClientState::AwaitUpstream`] is in the pool of
//! the backend that its route names, or its route names none and it is in the run queue.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::drives::{GoesOn, farewell};
use super::worker::{Phase, Worker};
use crate::backend::BackendId;
use crate::clock::Deadline;
use crate::h1::reply::Reason;
use crate::key::{Key, Subject, Token};
use crate::net::link::{Link, Received};
use crate::net::transport::connect_reason;
use crate::net::{HEADROOM_BYTES, Net, Scratch, Sock};
use crate::observe::access_log::Reuse;
use crate::proxy::client::ClientState;
use crate::proxy::drive;
use crate::proxy::exchange::{BackendPromise, Exchange, Freshness};
use crate::proxy::upstream::{Upstream, UpstreamState};

/// A backend that says for how long it keeps an idle connection closes it then; we stop using it this
/// much earlier, so that the two do not meet.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

impl<N: Net> Worker<N> {
    /// Finds a backend for a request that has none. `body` is where in the scratch area octets of
    /// its body are.
    pub(super) fn place(&mut self, key: Key, body: Range<usize>) -> GoesOn {
        let Some(exchange) = self.waiting(key) else {
            return GoesOn::No;
        };
        let tried = std::mem::take(&mut exchange.route.tried);
        let backends = &self.backends;
        let next = self.balancer.next(|id| backends[id.0].has_address() && !tried.contains(&id));
        let Some(exchange) = self.waiting(key) else {
            return GoesOn::No;
        };
        exchange.route.tried = tried;
        match next {
            Some(backend) => self.place_on(key, backend, body),
            None => {
                let reason = exchange.route.failure.unwrap_or(Reason::NameUnresolved);
                self.give_up(key, reason)
            }
        }
    }

    /// Sends a request over a connection to this backend, or lets it wait for one.
    pub(super) fn place_on(
        &mut self,
        key: Key,
        backend: BackendId,
        mut body: Range<usize>,
    ) -> GoesOn {
        let Some(exchange) = self.waiting(key) else {
            return GoesOn::No;
        };
        exchange.route.backend = Some(backend);
        exchange.route.attempts += 1;
        let is_first_try = exchange.route.attempts == 1;
        if exchange.route.wanted == Freshness::Any {
            while let Some(upstream) = self.backends[backend.0].pool.take_idle() {
                if self.attach(key, upstream, body, Reuse::Reused) {
                    return GoesOn::Yes;
                }
                // Nothing of the request went out, and the exchange holds all of it by now.
                body = 0..0;
            }
        }
        let held = self.shared.scratch.area[body].to_vec();
        let Some(exchange) = self.waiting(key) else {
            return GoesOn::No;
        };
        exchange.hold(&held);
        // One deadline for all tries together.
        if is_first_try && let Some(client) = self.clients.get_mut(key) {
            client.deadline.at = self.shared.now.instant + self.shared.timeouts.silence;
        }
        self.backends[backend.0].pool.wait(key);
        self.connect_for_waiters(backend);
        GoesOn::No
    }

    /// Starts connects until there is one for each request that waits.
    pub(super) fn connect_for_waiters(&mut self, backend: BackendId) {
        while self.backends[backend.0].pool.wants_connect() {
            let first = self.backends[backend.0].preferred_address();
            let count = self.backends[backend.0].addresses_count();
            self.connect(backend, first, count);
        }
    }

    /// Starts one connect, to the address at this place or, where that fails at once, to one of those
    /// behind it, `count` in all. When all do, a waiter has gone on to another backend when this
    /// returns.
    fn connect(&mut self, backend: BackendId, first: usize, count: usize) {
        self.backends[backend.0].pool.connect_started();
        let mut failure = (Reason::NameUnresolved, "it has no address".to_owned());
        for place in 0..count {
            match self.try_connect(backend, first + place, count - place - 1) {
                Ok(()) => return,
                Err((Reason::OutOfDescriptors, _)) if self.close_oldest_idle() => {
                    match self.try_connect(backend, first + place, count - place - 1) {
                        Ok(()) => return,
                        Err(again) => failure = again,
                    }
                }
                Err(error) => failure = error,
            }
        }
        let (reason, text) = failure;
        self.backends[backend.0].pool.connect_ended();
        self.backends[backend.0].note_failure(reason, &text);
        self.move_waiter(backend, reason);
    }

    fn try_connect(
        &mut self,
        id: BackendId,
        place: usize,
        addresses_left: usize,
    ) -> Result<(), (Reason, String)> {
        let backend = &self.backends[id.0];
        let Some((address_index, address)) = backend.address(place) else {
            return Err((Reason::NameUnresolved, "it has no address".into()));
        };
        let Some(key) = self.upstreams.vacant_key() else {
            return Err((Reason::OutOfDescriptors, "there are too many connections".into()));
        };
        let subject = Subject::Upstream(key);
        let sock = self
            .net
            .connect(address, Token::from(subject))
            .map_err(|error| (connect_reason(&error), error.to_string()))?;
        let link = Link::begin(sock, &backend.security, &mut self.shared.scratch.tls)
            .map_err(|failure| (failure.reason, failure.text))?;
        log::trace!("upstream {key}: connecting to {} at {address}", backend.label);
        // All addresses of a backend share the time that it has.
        let shares = u32::try_from(backend.addresses_count()).unwrap_or(u32::MAX).max(1);
        let share = self.shared.timeouts.connect / shares;
        let mut deadline = Deadline::new(self.shared.now.instant + share);
        self.timers.watch(&mut deadline, subject);
        let mut upstream = Upstream::connecting(link, id, address_index, deadline);
        upstream.addresses_left = addresses_left;
        self.upstreams.insert(upstream);
        Ok(())
    }

    /// Makes room for a connection that is needed at the cost of one that is not.
    fn close_oldest_idle(&mut self) -> bool {
        let oldest = self.backends.iter_mut().find_map(|backend| backend.pool.take_oldest_idle());
        oldest.map(|key| self.close_upstream(key)).is_some()
    }

    /// A connect is over and the connection is usable: the oldest waiter gets it.
    pub(super) fn connected(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let backend = &mut self.backends[upstream.backend.0];
        log::trace!("upstream {key}: connected to {}", backend.label);
        if upstream.link.is_readable() && !is_silent(&mut upstream.link, &mut self.shared.scratch) {
            return self.connect_failed(
                key,
                Reason::UpstreamClosed,
                "it sent something before it was asked, or closed at once",
            );
        }
        backend.pool.connect_ended();
        backend.note_success(upstream.address_index);
        self.offer(key, Reuse::New, None);
    }

    /// A connect or handshake has failed. Nothing was sent: the next address or backend gets its try.
    pub(super) fn connect_failed(&mut self, key: Key, reason: Reason, text: &str) {
        let Some(upstream) = self.upstreams.remove(key) else {
            return;
        };
        log::trace!("upstream {key}: {} ({text})", reason.word());
        let id = upstream.backend;
        let backend = &mut self.backends[id.0];
        backend.pool.connect_ended();
        if upstream.addresses_left > 0 && backend.pool.wants_connect() {
            return self.connect(id, upstream.address_index + 1, upstream.addresses_left);
        }
        backend.note_failure(reason, text);
        if backend.pool.wants_connect() {
            self.move_waiter(id, reason);
        }
    }

    /// The request that has waited longest for this backend goes on to another.
    fn move_waiter(&mut self, backend: BackendId, reason: Reason) {
        while let Some(key) = self.backends[backend.0].pool.next_waiter() {
            let Some(exchange) = self.waiting(key) else {
                continue;
            };
            exchange.route.tried.push(backend);
            exchange.route.failure = Some(reason);
            exchange.route.backend = None;
            self.queue_client(key);
            return;
        }
    }

    /// A connection is free: the oldest waiter gets it, or it rests in the pool.
    pub(super) fn offer(&mut self, key: Key, reuse: Reuse, keep_alive: Option<Duration>) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        let id = upstream.backend;
        upstream.state = UpstreamState::Idle;
        let clients = &self.clients;
        let next = self.backends[id.0].pool.next_waiter_that(|waiter| {
            let state = clients.get(waiter).map(|client| &client.state);
            match state {
                Some(ClientState::AwaitUpstream(exchange)) => {
                    reuse == Reuse::New || exchange.route.wanted == Freshness::Any
                }
                _ => false,
            }
        });
        if let Some(client) = next {
            if self.attach(client, key, 0..0, reuse) {
                self.watch_client(client);
                self.queue_client(client);
            } else {
                self.retry_elsewhere(client, id, reuse);
            }
            return;
        }
        if self.shared.phase == Phase::Draining {
            return self.close_upstream(key);
        }
        self.rest(key, keep_alive);
    }

    /// The connection broke before anything could be sent on it. That a fresh one did is news of the
    /// backend, and the request goes on to another; one that had rested was only too old.
    fn retry_elsewhere(&mut self, client: Key, id: BackendId, reuse: Reuse) {
        let Some(exchange) = self.waiting(client) else { return };
        match reuse {
            Reuse::Reused | Reuse::None => self.backends[id.0].pool.wait_first(client),
            Reuse::New => {
                exchange.route.tried.push(id);
                exchange.route.failure = Some(Reason::UpstreamReset);
                exchange.route.backend = None;
                self.queue_client(client);
            }
        }
        self.connect_for_waiters(id);
    }

    fn rest(&mut self, key: Key, keep_alive: Option<Duration>) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let announced = keep_alive.map(|keep| keep.saturating_sub(KEEP_ALIVE_MARGIN));
        let rest =
            announced.unwrap_or(self.shared.timeouts.pool_idle).min(self.shared.timeouts.pool_idle);
        if rest.is_zero() {
            return self.close_upstream(key);
        }
        upstream.deadline.at = self.shared.now.instant + rest;
        self.timers.watch(&mut upstream.deadline, Subject::Upstream(key));
        let pool = &mut self.backends[upstream.backend.0].pool;
        if let Some(oldest) = pool.put_idle(key, self.shared.limits.pool_idle_count_max) {
            self.close_upstream(oldest);
        }
    }

    /// Sends a request over this connection. When nothing could be sent, the connection is gone and
    /// the exchange holds everything.
    fn attach(&mut self, key: Key, upstream_key: Key, body: Range<usize>, reuse: Reuse) -> bool {
        let (Some(client), Some(upstream)) =
            (self.clients.get_mut(key), self.upstreams.get_mut(upstream_key))
        else {
            return false;
        };
        let state = std::mem::replace(&mut client.state, ClientState::AwaitFlush);
        let ClientState::AwaitUpstream(mut exchange) = state else {
            client.state = state;
            return false;
        };
        let mut ctx = self.shared.context();
        let view = self.backends[upstream.backend.0].view();
        if let Err(error) = drive::start(&mut exchange, upstream, view, body, &mut ctx) {
            log::trace!("upstream {upstream_key}: broke before a request ({error})");
            client.state = ClientState::AwaitUpstream(exchange);
            self.upstreams.remove(upstream_key);
            return false;
        }
        log::trace!("client {key}: request goes over upstream {upstream_key} ({reuse:?})");
        exchange.route.reuse = reuse;
        upstream.state = UpstreamState::Busy { client: key };
        upstream.served += 1;
        let patience = drive::patience(client, upstream, &exchange, &self.shared.timeouts);
        client.deadline.at = self.shared.now.instant + patience;
        client.state = ClientState::Relay { exchange, upstream: upstream_key };
        true
    }

    /// An exchange is over: its connection serves the next, rests, or ends.
    pub(super) fn release(&mut self, key: Key, promise: BackendPromise) {
        match promise {
            BackendPromise::Persist { keep_alive } => self.offer(key, Reuse::Reused, keep_alive),
            BackendPromise::Close => self.close_upstream(key),
        }
    }

    /// Ends a connection to a backend in good order.
    pub(super) fn close_upstream(&mut self, key: Key) {
        if let Some(mut upstream) = self.upstreams.remove(key) {
            log::trace!("upstream {key}: closed");
            farewell(&mut upstream, &mut self.shared.scratch);
        }
    }

    /// A deadline of an upstream has come up.
    pub(super) fn upstream_came_up(&mut self, key: Key, queued: Instant) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        if upstream.deadline.queued != Some(queued) {
            return;
        }
        upstream.deadline.queued = None;
        let is_over = upstream.deadline.at <= self.shared.now.instant;
        match upstream.state {
            // The client's deadline counts now.
            UpstreamState::Busy { .. } => {}
            UpstreamState::Idle | UpstreamState::AwaitConnect | UpstreamState::AwaitHandshake
                if !is_over =>
            {
                self.timers.watch(&mut upstream.deadline, Subject::Upstream(key));
            }
            UpstreamState::Idle => {
                let id = upstream.backend;
                self.backends[id.0].pool.remove_idle(key);
                self.close_upstream(key);
            }
            UpstreamState::AwaitConnect => {
                self.connect_failed(key, Reason::ConnectTimeout, "no answer in time");
            }
            UpstreamState::AwaitHandshake => {
                self.connect_failed(key, Reason::ConnectTimeout, "no TLS handshake in time");
            }
        }
    }

    /// The exchange of a client that waits for a connection.
    pub(super) fn waiting(&mut self, key: Key) -> Option<&mut Exchange> {
        match &mut self.clients.get_mut(key)?.state {
            ClientState::AwaitUpstream(exchange) => Some(exchange),
            ClientState::AwaitHead(_)
            | ClientState::Relay { .. }
            | ClientState::Tunnel { .. }
            | ClientState::AwaitFlush
            | ClientState::AwaitClose { .. } => None,
        }
    }

    /// A client waits no longer.
    pub(super) fn forget_waiter(&mut self, key: Key) {
        let backend = self.waiting(key).and_then(|exchange| exchange.route.backend);
        if let Some(BackendId(id)) = backend {
            self.backends[id].pool.remove_waiter(key);
        }
    }
}

/// Whether a connection that was not asked anything has nothing to say. TLS may have had something to
/// say to itself.
pub(super) fn is_silent<S: Sock>(link: &mut Link<S>, scratch: &mut Scratch) -> bool {
    let Scratch { area, tls, .. } = scratch;
    link.read(&mut area[HEADROOM_BYTES..], 1, tls) == Received::Blocked
}
