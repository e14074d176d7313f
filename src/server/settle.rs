//! What comes after an exchange: the answer, the line in the log, and what its connections do next.
//!
//! Every exchange ends here exactly once, in one of four ways: done, answered by us, broken off, or
//! refused before it began. Knows nothing of how a backend was found.
//!
//! Invariants: an exchange is logged exactly once; after an answer to a message that we could not
//! frame the connection ends; what could look complete and is not ends with a reset.

use super::dispatch::take_evidence;
use super::drives::GoesOn;
use super::upstreams::farewell;
use super::worker::{Phase, Worker};
use crate::h1::Version;
use crate::h1::forward::AfterResponse;
use crate::h1::reply::{AfterReply, Reason, ReplyBody, ReplyStyle, write_reply};
use crate::h1::request::Method;
use crate::key::Key;
use crate::net::{Net, Sock};
use crate::observe::access_log::Reuse;
use crate::proxy::client::{ClientState, HeadProgress};
use crate::proxy::drive::{Ending, Failure};
use crate::proxy::exchange::{Exchange, Freshness, ResponseState, Wish};
use crate::proxy::retry::{self, Decision};
use crate::proxy::upstream::Upstream;

impl<N: Net> Worker<N> {
    /// The response is complete.
    pub(super) fn done(
        &mut self,
        key: Key,
        upstream: Key,
        mut exchange: Box<Exchange>,
        ending: Ending,
    ) -> GoesOn {
        log::trace!("client {key}: {} complete", exchange.status.unwrap_or(0));
        exchange.note_own(self.shared.stopwatch.since(self.shared.now.instant));
        if let Some(upstream) = self.upstreams.get_mut(upstream) {
            never_look_whole(&exchange, upstream);
        }
        self.release(upstream, ending.upstream);
        self.write_down(key, &exchange, None);
        if self.shared.phase == Phase::Draining {
            self.finished_count += 1;
        }
        let wish = wish_to_end(&exchange);
        self.recycle(exchange);
        match ending.client {
            AfterResponse::Persist => self.await_next(key),
            AfterResponse::Close | AfterResponse::Tunnel => self.end_client(key, wish),
        }
    }

    /// Something went wrong between the two.
    pub(super) fn failed(
        &mut self,
        key: Key,
        upstream_key: Key,
        exchange: Box<Exchange>,
        failure: Failure,
    ) -> GoesOn {
        // Whatever it was, the connection to the backend is in the middle of something.
        let mut upstream = self.drop_upstream(upstream_key);
        if let Some(upstream) = &mut upstream {
            never_look_whole(&exchange, upstream);
        }
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        match failure {
            Failure::Client(reason) => {
                let is_about_the_body = matches!(reason, Reason::BadChunk | Reason::BodyTooLarge);
                let can_be_told = is_about_the_body && !exchange.has_answered();
                client.state = ClientState::AwaitUpstream(exchange);
                if can_be_told {
                    self.give_up(key, reason)
                } else {
                    self.abort(key, reason);
                    GoesOn::No
                }
            }
            Failure::Upstream(reason) if exchange.has_answered() => {
                let backend = exchange.route.backend;
                client.state = ClientState::AwaitUpstream(exchange);
                self.warn_of_backend(key, reason);
                backend.into_iter().for_each(|id| self.count_error(id, reason));
                self.abort(key, reason);
                GoesOn::No
            }
            Failure::Upstream(reason) => {
                let partial_head = upstream.as_ref().map_or(&[][..], |upstream| &upstream.part);
                let decision = retry::decide(&exchange, reason, partial_head);
                client.state = ClientState::AwaitUpstream(exchange);
                self.retry_or_give_up(key, reason, decision)
            }
        }
    }

    /// The backend has failed before it answered: the request is sent again where that is safe, in time,
    /// and within the ration.
    fn retry_or_give_up(&mut self, key: Key, reason: Reason, decision: Decision) -> GoesOn {
        let now = self.shared.now.instant;
        let Some(exchange) = self.waiting(key) else { return GoesOn::No };
        let is_in_time = exchange.route.tries_until.is_some_and(|until| now < until);
        let backend = exchange.route.backend.filter(|_| is_in_time);
        let tried = std::mem::take(&mut exchange.route.tried);
        let is_possible = |id| match decision {
            Decision::Resend => true,
            Decision::ResendElsewhere => self.roster.has_other(&tried, id),
            Decision::GiveUp => false,
        };
        let backend = backend.filter(|id| is_possible(*id)).filter(|_| self.budget.allow(now));
        // That a connection ended which had rested is no news of the backend.
        if backend.is_none() || decision == Decision::ResendElsewhere {
            self.note_unanswered(key, reason);
        }
        let Some(exchange) = self.waiting(key) else { return GoesOn::No };
        exchange.route.tried = tried;
        let Some(backend) = backend else {
            self.warn_of_backend(key, reason);
            return self.give_up(key, reason);
        };
        exchange.route.resends += 1;
        if decision == Decision::ResendElsewhere {
            exchange.route.failure = Some(reason);
            self.move_on(key, reason);
            return GoesOn::Yes;
        }
        exchange.route.wanted = Freshness::New;
        self.count_retry(reason);
        self.place_on(key, backend, 0..0)
    }

    /// The backend has not answered, or with something that is no answer. That a connection ended which
    /// had rested says nothing: it was only too old.
    pub(super) fn note_unanswered(&mut self, key: Key, reason: Reason) {
        let Some(exchange) = self.waiting(key) else { return };
        let was_too_old = exchange.route.reuse == Reuse::Reused
            && matches!(reason, Reason::UpstreamClosed | Reason::UpstreamReset);
        // A client can have a head made too long by what it asks for, or withhold what it announces.
        let may_be_the_clients =
            reason == Reason::ResponseHeadTooLong || exchange.awaits_continue_in_vain();
        if was_too_old || may_be_the_clients {
            return;
        }
        if let Some((id, evidence)) = take_evidence(exchange)
            && let Some(sent) = evidence.sent()
        {
            self.note_failure(id, sent, reason, reason.sentence());
        }
    }

    /// A message that breaks the protocol is worth a line: the backend is broken, or somebody tries
    /// to break us through it.
    fn warn_of_backend(&mut self, key: Key, reason: Reason) {
        let backend = self.waiting(key).and_then(|exchange| exchange.route.backend);
        let Some(label) = backend.map(|id| &self.roster[id].label) else {
            return;
        };
        match reason {
            Reason::BadResponseHead
            | Reason::BadResponseFraming
            | Reason::BadResponseChunk
            | Reason::ResponseHeadTooLong
            | Reason::TooManyInterim
            | Reason::UnexpectedUpgrade => {
                log::warn!("backend {label}: {} ({})", reason.sentence(), reason.word());
            }
            _ => log::debug!("backend {label}: {} ({})", reason.sentence(), reason.word()),
        }
    }

    /// Answers a request that waits or has failed, in the backend's place. The exchange is in
    /// [`ClientState::AwaitUpstream`].
    pub(super) fn give_up(&mut self, key: Key, reason: Reason) -> GoesOn {
        self.forget_waiter(key);
        let Some(mut exchange) = self.take_waiting(key) else {
            return GoesOn::No;
        };
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        let persists = exchange.facts.connection == Wish::Persist
            && exchange.request.is_complete()
            && self.shared.phase == Phase::Serving;
        let after = match (persists, exchange.facts.version) {
            (false, _) => AfterReply::Close,
            (true, Version::Http10) => AfterReply::PersistHttp10,
            (true, Version::Http11) => AfterReply::Persist,
        };
        let body = match exchange.facts.method {
            Method::Head => ReplyBody::Omitted,
            Method::Idempotent | Method::Other => ReplyBody::Sent,
        };
        let unix_ms = self.shared.now.unix_ms;
        let out = &mut self.shared.scratch.head;
        out.clear();
        exchange.bytes_out = write_reply(out, reason, ReplyStyle { body, after, unix_ms }) as u64;
        exchange.status = Some(reason.status());
        let sent = client.link.send(out, &mut self.shared.scratch.tls);
        log::trace!("client {key}: answered {} {}", reason.status(), reason.word());
        self.write_down(key, &exchange, Some(reason));
        let wish = wish_to_end(&exchange);
        self.recycle(exchange);
        if sent.is_err() {
            self.remove_client(key);
            return GoesOn::No;
        }
        if persists { self.await_next(key) } else { self.end_client(key, wish) }
    }

    /// Answers what is no request; the connection ends.
    pub(super) fn refuse(&mut self, key: Key, reason: Reason, body: ReplyBody) -> GoesOn {
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        let unix_ms = self.shared.now.unix_ms;
        let out = &mut self.shared.scratch.head;
        out.clear();
        let bytes_out =
            write_reply(out, reason, ReplyStyle { body, after: AfterReply::Close, unix_ms }) as u64;
        log::trace!("client {key}: refused, {} {}", reason.status(), reason.word());
        let sent = client.link.send(out, &mut self.shared.scratch.tls);
        self.write_down_refusal(key, Some(reason.status()), bytes_out, reason);
        if sent.is_err() {
            self.remove_client(key);
            return GoesOn::No;
        }
        self.end_client(key, Wish::Persist)
    }

    /// Breaks an exchange off, whatever it waits for: both connections end, and neither peer may
    /// take what it got for complete.
    pub(super) fn abort(&mut self, key: Key, reason: Reason) {
        self.forget_waiter(key);
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let state = std::mem::replace(&mut client.state, ClientState::AwaitFlush);
        let (exchange, upstream) = match state {
            ClientState::AwaitUpstream(exchange) => (Some(exchange), None),
            ClientState::Relay { exchange, upstream }
            | ClientState::Tunnel { exchange, upstream, .. } => (Some(exchange), Some(upstream)),
            ClientState::AwaitHead(_)
            | ClientState::AwaitFlush
            | ClientState::AwaitClose { .. } => (None, None),
        };
        log::trace!("client {key}: broken off, {}", reason.word());
        let mut upstream = upstream.and_then(|upstream| self.drop_upstream(upstream));
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let (Some(upstream), Some(exchange)) = (&mut upstream, &exchange) {
            never_look_whole(exchange, upstream);
        }
        if let Some(exchange) = exchange {
            if ends_by_close(&exchange) {
                client.link.reset_on_close();
            }
            self.write_down(key, &exchange, Some(reason));
            self.recycle(exchange);
        }
        self.remove_client(key);
    }

    /// A tunnel is over.
    pub(super) fn end_tunnel(&mut self, key: Key, reason: Option<Reason>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let state = std::mem::replace(&mut client.state, ClientState::AwaitFlush);
        let ClientState::Tunnel { exchange, upstream, .. } = state else {
            return;
        };
        let upstream = self.drop_upstream(upstream);
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(mut upstream) = upstream {
            match reason {
                // Nothing that it got may look like the whole.
                Some(_) => upstream.link.reset_on_close(),
                None => farewell(&mut upstream, &mut self.shared.scratch),
            }
        }
        if reason.is_some() {
            client.link.reset_on_close();
        } else if self.shared.phase == Phase::Draining {
            self.finished_count += 1;
        }
        self.write_down(key, &exchange, reason);
        self.recycle(exchange);
        self.remove_client(key);
    }

    /// The client may send its next request; it may be here already.
    fn await_next(&mut self, key: Key) -> GoesOn {
        let timeouts = &self.shared.timeouts;
        let idle = match self.shared.phase {
            Phase::Serving => timeouts.idle,
            // Its answer went out before the drain, so it was told nothing: its next one will tell it.
            Phase::Draining => timeouts.last_request(),
        };
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        client.state = ClientState::AwaitHead(HeadProgress::default());
        let patience = if client.link.is_clogged() {
            self.shared.timeouts.silence
        } else if client.part.is_empty() {
            idle
        } else {
            self.shared.timeouts.head
        };
        client.deadline.at = self.shared.now.instant + patience;
        GoesOn::Yes
    }

    /// The client's connection ends after what was sent. Where the client wants that itself, has nothing
    /// more to say, and has got everything, it can end at once; otherwise it must not be reset by what
    /// still comes (RFC 9112 section 9.6): even one that is done may send a CRLF behind its request.
    pub(super) fn end_client(&mut self, key: Key, wish: Wish) -> GoesOn {
        let Some(client) = self.clients.get_mut(key) else {
            return GoesOn::No;
        };
        let is_quiet = client.part.is_empty() && !client.link.is_readable();
        if wish == Wish::Close && is_quiet && client.link.is_delivered() {
            self.remove_client(key);
            return GoesOn::No;
        }
        client.state = ClientState::AwaitFlush;
        client.deadline.at = self.shared.now.instant + self.shared.timeouts.silence;
        GoesOn::Yes
    }

    /// Takes the exchange of a client that waits for a connection.
    fn take_waiting(&mut self, key: Key) -> Option<Box<Exchange>> {
        let client = self.clients.get_mut(key)?;
        match std::mem::replace(&mut client.state, ClientState::AwaitFlush) {
            ClientState::AwaitUpstream(exchange) => Some(exchange),
            other @ (ClientState::AwaitHead(_)
            | ClientState::Relay { .. }
            | ClientState::Tunnel { .. }
            | ClientState::AwaitFlush
            | ClientState::AwaitClose { .. }) => {
                client.state = other;
                None
            }
        }
    }

    /// Closes a client's connection now.
    pub(super) fn remove_client(&mut self, key: Key) {
        if let Some(mut client) = self.clients.remove(key) {
            if client.link.is_clogged() {
                // What it got is not all: it must not look like the end.
                client.link.reset_on_close();
            }
            log::trace!("client {key}: gone");
        }
        if self.clients.is_empty() {
            self.shared.scratch.pipes.close_spare();
        }
        self.clients.shrink();
    }
}

/// A request that breaks off must not look complete to its backend. The framing tells those that look;
/// a server that takes the end of the connection for the end of the body is told by a reset. Octets
/// that its socket has refused so far are not there either.
pub(super) fn never_look_whole<S: Sock>(exchange: &Exchange, upstream: &mut Upstream<S>) {
    if !exchange.request.is_complete() || upstream.link.is_clogged() {
        upstream.link.reset_on_close();
    }
}

/// Whether the client wants the end of its connection itself and has said all that it had to say: then
/// nothing of it can come any more that would meet a closed socket.
fn wish_to_end(exchange: &Exchange) -> Wish {
    if exchange.request.is_complete() { exchange.facts.connection } else { Wish::Persist }
}

/// Whether the client finds the end of the response only by the end of the connection, so that a
/// mere close would make a part look like the whole.
fn ends_by_close(exchange: &Exchange) -> bool {
    match &exchange.response {
        ResponseState::AwaitHead { .. } => false,
        ResponseState::RelayBody { body, .. } => {
            body.is_until_close() || exchange.facts.version == Version::Http10
        }
    }
}
