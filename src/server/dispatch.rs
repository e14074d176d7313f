//! From a request to a connection: whose turn, which idle one, or a new one, or a wait.
//!
//! A request with no idle connection waits in the pool of its backend while a connect is on its way,
//! and gets whichever connection is usable first: that may be one that another exchange gives back.
//! Where no backend has room for another connection, requests wait in one queue, in order.
//!
//! Knows nothing of octets, and not how connections are made (`connects.rs`) and kept (`upstreams.rs`).
//! Invariant: a client in [`ClientState::AwaitUpstream`] is where its route says: in the pool of a
//! backend, in the queue, or nowhere and in the run queue.

use std::ops::Range;

use super::drives::GoesOn;
use super::roster::{Choice, Fault};
use super::worker::Worker;
use crate::backend::BackendId;
use crate::backend::health::Outage;
use crate::backend::pool::Rest;
use crate::h1::reply::Reason;
use crate::key::Key;
use crate::net::Net;
use crate::observe::access_log::Reuse;
use crate::proxy::client::ClientState;
use crate::proxy::drive;
use crate::proxy::exchange::{Evidence, Exchange, Freshness, Place};
use crate::proxy::upstream::UpstreamState;

impl<N: Net> Worker<N> {
    /// Finds a backend for a request that has none. `body` is where in the scratch area octets of
    /// its body are.
    pub(super) fn place(&mut self, key: Key, body: Range<usize>) -> GoesOn {
        // Nobody overtakes those who wait already.
        if !self.queue.is_empty() {
            return self.enqueue(key, body);
        }
        match self.choose(key) {
            Choice::Backend(backend) | Choice::Trial(backend) => self.place_on(key, backend, body),
            Choice::Busy => self.enqueue(key, body),
            Choice::Nobody => self.nobody_is_left(key),
        }
    }

    fn choose(&mut self, key: Key) -> Choice {
        let now = self.shared.now.instant;
        let Some(exchange) = self.waiting(key) else { return Choice::Nobody };
        if exchange.route.tries_until.is_some_and(|until| until <= now) {
            return Choice::Nobody;
        }
        let tried = std::mem::take(&mut exchange.route.tried);
        let choice = self.roster.choose(&tried, now);
        let trial = match choice {
            Choice::Trial(id) => {
                self.watch_backend(id);
                Some(self.roster[id].health.outage())
            }
            Choice::Backend(_) | Choice::Busy | Choice::Nobody => None,
        };
        if let Some(exchange) = self.waiting(key) {
            exchange.route.tried = tried;
            if let Some(sent) = trial {
                exchange.route.evidence = Evidence::OwedByTrial(sent);
            }
        }
        choice
    }

    fn nobody_is_left(&mut self, key: Key) -> GoesOn {
        let failure = self.waiting(key).and_then(|exchange| exchange.route.failure);
        if failure.is_none() {
            self.doubt_names();
        }
        self.give_up(key, failure.unwrap_or(Reason::NameUnresolved))
    }

    /// Sends a request over a connection to this backend, or lets it wait for one.
    pub(super) fn place_on(
        &mut self,
        key: Key,
        backend: BackendId,
        mut body: Range<usize>,
    ) -> GoesOn {
        let now = self.shared.now.instant;
        let tries_end = now + self.shared.timeouts.tries;
        let sent = self.roster[backend].health.outage();
        let Some(exchange) = self.waiting(key) else {
            return GoesOn::No;
        };
        exchange.route.backend = Some(backend);
        exchange.route.attempts += 1;
        exchange.route.evidence = match exchange.route.evidence {
            trial @ Evidence::OwedByTrial(_) => trial,
            Evidence::Owed(_) | Evidence::Given => Evidence::Owed(sent),
        };
        let until = *exchange.route.tries_until.get_or_insert(tries_end);
        let wanted = exchange.route.wanted;
        let is_first = exchange.route.attempts == 1;
        let may_repeat = exchange.facts.method.is_idempotent();
        if is_first {
            self.budget.note_request(now);
        }
        if wanted == Freshness::Any {
            while let Some((upstream, rest)) = self.roster[backend].pool.take_idle(self.turn) {
                // A request that cannot be sent again had better not meet the end of a connection, and
                // none may meet what the backend said unasked.
                let is_certain = may_repeat && rest == Rest::Had;
                if !is_certain {
                    // The look goes through the buffer in which the body may lie.
                    self.hold(key, std::mem::replace(&mut body, 0..0));
                    if !self.is_still_open(upstream) {
                        continue;
                    }
                }
                if self.attach(key, upstream, body, Reuse::Reused) {
                    return GoesOn::Yes;
                }
                // Nothing of the request went out, and the exchange holds all of it by now.
                body = 0..0;
            }
        } else {
            // In exchange for the new one, or such requests would pile connections up.
            self.close_oldest_idle_of(backend);
        }
        self.hold(key, body);
        if let Some(exchange) = self.waiting(key) {
            exchange.route.place = Place::Backend;
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.deadline.at = until;
        }
        self.roster[backend].pool.wait(key);
        self.connect_for_waiters(backend);
        self.may_be_gone(key)
    }

    /// The end of a client that waits may have come together with its request, in one event: then it is
    /// to be looked at now.
    fn may_be_gone(&self, key: Key) -> GoesOn {
        match self.clients.get(key) {
            Some(client) if client.link.is_closing() && client.link.is_readable() => GoesOn::Yes,
            Some(_) | None => GoesOn::No,
        }
    }

    /// Keeps the octets of a body while its request waits.
    fn hold(&mut self, key: Key, body: Range<usize>) {
        let held = self.shared.scratch.area[body].to_vec();
        if let Some(exchange) = self.waiting(key) {
            exchange.hold(&held);
        }
    }

    /// No backend has room: the request waits, behind those that came before it. One that was on its way
    /// already came before all others, and has only what is left of its time.
    fn enqueue(&mut self, key: Key, body: Range<usize>) -> GoesOn {
        let end = self.shared.now.instant + self.shared.timeouts.queue;
        let is_full = self.queue.len() >= self.shared.limits.queue_count_max;
        let Some(exchange) = self.waiting(key) else { return GoesOn::No };
        let until = exchange.route.tries_until;
        if is_full && until.is_none() {
            return self.give_up(key, Reason::QueueFull);
        }
        exchange.route.place = Place::Queue;
        self.hold(key, body);
        match until {
            Some(_) => self.queue.push_front(key),
            None => self.queue.push_back(key),
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.deadline.at = until.map_or(end, |until| until.min(end));
        }
        self.may_be_gone(key)
    }

    /// Gives requests that wait what room there is by now, in their order.
    pub(super) fn serve_queue(&mut self) {
        let mut place = 0;
        while let Some(key) = self.queue.get(place).copied() {
            let is_free_to_choose =
                self.waiting(key).is_some_and(|exchange| exchange.route.tried.is_empty());
            match self.choose(key) {
                // Then nobody has room for those behind it either.
                Choice::Busy if is_free_to_choose => return,
                // It has tried those that have.
                Choice::Busy => place += 1,
                Choice::Backend(backend) | Choice::Trial(backend) => {
                    self.queue.remove(place);
                    if self.place_on(key, backend, 0..0) == GoesOn::Yes {
                        self.queue_client(key);
                    }
                    self.watch_client(key);
                }
                Choice::Nobody => {
                    self.queue.remove(place);
                    if self.nobody_is_left(key) == GoesOn::Yes {
                        self.queue_client(key);
                    }
                }
            }
        }
    }

    /// A try has failed, mostly before anything was sent: the request goes on to another backend. If that
    /// leads nowhere, the client is told why the last one failed; or, where the request had been sent, why
    /// it was lost then, which says more.
    pub(super) fn move_on(&mut self, key: Key, reason: Reason) {
        let Some(exchange) = self.waiting(key) else { return };
        let lapsed = take_evidence(exchange);
        exchange.route.tried.extend(exchange.route.backend.take());
        if exchange.route.resends == 0 {
            exchange.route.failure = Some(reason);
        } else {
            exchange.route.failure.get_or_insert(reason);
        }
        exchange.route.place = Place::Nowhere;
        self.queue_client(key);
        self.note_lapsed(lapsed);
        self.count_retry(reason);
    }

    /// The connection broke before anything could be sent on it. That a fresh one did is news of the
    /// backend, and the request goes on to another; one that had rested was only too old.
    pub(super) fn retry_elsewhere(&mut self, client: Key, id: BackendId, reuse: Reuse) {
        match reuse {
            Reuse::Reused | Reuse::None => self.roster[id].pool.wait_first(client),
            Reuse::New => {
                let sent = self.waiting(client).and_then(|exchange| exchange.route.evidence.sent());
                if let Some(sent) = sent {
                    let text = "it closed the connection before a request was sent";
                    self.note_failure(id, sent, Reason::UpstreamReset, text);
                }
                self.move_on(client, Reason::UpstreamReset);
            }
        }
        self.connect_for_waiters(id);
    }

    /// Sends a request over this connection. When nothing could be sent, the connection is gone and
    /// the exchange holds everything.
    pub(super) fn attach(
        &mut self,
        key: Key,
        upstream_key: Key,
        body: Range<usize>,
        reuse: Reuse,
    ) -> bool {
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
        let view = self.roster[upstream.backend].view();
        if let Err(error) = drive::start(&mut exchange, upstream, view, body, &mut ctx) {
            log::trace!("upstream {upstream_key}: broke before a request ({error})");
            client.state = ClientState::AwaitUpstream(exchange);
            self.drop_upstream(upstream_key);
            return false;
        }
        log::trace!("client {key}: request goes over upstream {upstream_key} ({reuse:?})");
        let now = self.shared.now.instant;
        let spent = self.shared.stopwatch.since(now);
        exchange.note_own(spent);
        exchange.note_carried(now, spent);
        exchange.route.reuse = reuse;
        exchange.route.place = Place::Nowhere;
        upstream.state = UpstreamState::Busy { client: key };
        upstream.served += 1;
        let ctx = self.shared.context();
        client.deadline.at = drive::patience_ends(client, upstream, &mut exchange, &ctx);
        client.state = ClientState::Relay { exchange, upstream: upstream_key };
        true
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
        let Some(exchange) = self.waiting(key) else { return };
        let place = std::mem::replace(&mut exchange.route.place, Place::Nowhere);
        match (place, exchange.route.backend) {
            (Place::Backend, Some(backend)) => self.roster[backend].pool.remove_waiter(key),
            (Place::Queue, _) => self.queue.retain(|waiter| *waiter != key),
            (Place::Backend | Place::Nowhere, _) => {}
        }
    }

    /// An exchange ends, or leaves its backend, without having shown whether that is well: if it was a
    /// trial, the next request is one.
    pub(super) fn note_lapsed(&mut self, lapsed: Option<(BackendId, Evidence)>) {
        match lapsed {
            Some((id, Evidence::OwedByTrial(sent))) => self.roster.trial_lapsed(id, sent),
            Some((_, Evidence::Owed(_) | Evidence::Given)) | None => {}
        }
    }

    /// A backend could not be reached, or has not answered what was sent in this outage, or time of health.
    pub(super) fn note_failure(&mut self, id: BackendId, sent: Outage, reason: Reason, text: &str) {
        self.count_error(id, reason);
        let fault = Fault { sent, reason, text, stretch: self.stretch() };
        self.roster.note_failure(id, &fault, self.shared.now.instant);
        self.watch_backend(id);
    }
}

/// Takes back what an exchange was to show; gives the backend of which it was.
pub(super) fn take_evidence(exchange: &mut Exchange) -> Option<(BackendId, Evidence)> {
    let evidence = std::mem::replace(&mut exchange.route.evidence, Evidence::Given);
    exchange.route.backend.map(|id| (id, evidence)).filter(|_| evidence != Evidence::Given)
}
