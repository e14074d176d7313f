//! Connections to backends on their way: to one address after the other, until one is usable.
//!
//! An attempt begins with the address that worked last. Where that one fails, the next is tried at once;
//! where it takes longer than the stagger, the next is tried beside it (RFC 8305), and whichever is
//! usable first wins: the others are given up without a word. Only when the last has failed has the
//! attempt, and with it the backend; then nothing was sent, and whoever waited goes on to another one.
//!
//! Knows nothing of octets of HTTP. Invariant: an attempt counts as one connect in the pool, begins
//! once and ends once, however many addresses it goes to.
//!
//! Next: `dispatch.rs` gives a usable connection to a request, `probes.rs` sends a probe over it.

use std::time::Instant;

use super::upstreams::is_silent;
use super::worker::Worker;
use crate::backend::BackendId;
use crate::backend::health::Outage;
use crate::clock::Deadline;
use crate::h1::reply::Reason;
use crate::key::{Key, Subject, Token};
use crate::net::Net;
use crate::net::link::{Handshake, Link};
use crate::net::transport::connect_reason;
use crate::observe::access_log::Reuse;
use crate::proxy::upstream::{Attempt, Purpose, Upstream, UpstreamState};

/// Why a connection could not be made: the reason, and the words for the log.
type Failed = (Reason, String);

impl<N: Net> Worker<N> {
    /// Starts connects until there is one for each request that waits.
    pub(super) fn connect_for_waiters(&mut self, id: BackendId) {
        while self.roster[id].pool.wants_connect() {
            self.roster[id].pool.connect_started();
            let until = self.shared.now.instant + self.shared.timeouts.connect;
            if let Err((reason, text)) = self.begin_attempt(id, Purpose::Requests, until) {
                let began = self.roster[id].health.outage();
                self.attempt_failed(id, began, reason, &text);
            }
        }
    }

    /// Begins to reach a backend.
    pub(super) fn begin_attempt(
        &mut self,
        id: BackendId,
        purpose: Purpose,
        until: Instant,
    ) -> Result<(), Failed> {
        let backend = &self.roster[id];
        let Some(others) = backend.addresses_count().checked_sub(1) else {
            return Err((Reason::NameUnresolved, "it has no address".into()));
        };
        let first = Attempt {
            purpose,
            began: backend.health.outage(),
            place: backend.preferred_address(),
            addresses_left: others,
            until,
            elder: None,
            younger: None,
        };
        self.connect_in_turn(id, first).map(|_| ())
    }

    /// Connects to the address of this attempt or, where that fails at once, to one of those behind it.
    fn connect_in_turn(&mut self, id: BackendId, mut attempt: Attempt) -> Result<Key, Failed> {
        loop {
            let connected = match self.connect(id, attempt) {
                Err((Reason::OutOfDescriptors, _)) if self.close_oldest_idle() => {
                    self.connect(id, attempt)
                }
                result => result,
            };
            match connected {
                Ok(key) => return Ok(key),
                Err(failed) => {
                    attempt = next_address(attempt).ok_or(failed)?;
                }
            }
        }
    }

    /// Connects to one address.
    fn connect(&mut self, id: BackendId, attempt: Attempt) -> Result<Key, Failed> {
        let backend = &mut self.roster[id];
        let Some(address) = backend.address(attempt.place).cloned() else {
            return Err((Reason::NameUnresolved, "it has no address".into()));
        };
        let Some(key) = self.upstreams.vacant_key() else {
            return Err((Reason::OutOfDescriptors, "there are too many connections".into()));
        };
        let subject = Subject::Upstream(key);
        let sock = self
            .net
            .connect(&address, Token::from(subject))
            .map_err(|error| (connect_reason(&error), error.to_string()))?;
        let link = Link::begin(sock, &backend.security, &mut self.shared.scratch.tls)
            .map_err(|failure| (failure.reason, failure.text))?;
        log::trace!("upstream {key}: connecting to {} at {address}", backend.label);
        let stagger = self.shared.now.instant + self.shared.timeouts.connect_stagger;
        let is_last = attempt.addresses_left == 0;
        let at = if is_last { attempt.until } else { attempt.until.min(stagger) };
        let mut deadline = Deadline::new(at);
        self.timers.watch(&mut deadline, subject);
        if attempt.purpose == Purpose::Requests {
            backend.pool.opened();
        }
        self.upstreams.insert(Upstream::connecting(link, id, address, attempt, deadline));
        Ok(key)
    }

    /// A connect or handshake has come on.
    pub(super) fn drive_connecting(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        if let UpstreamState::AwaitConnect(attempt) = upstream.state {
            if upstream.link.is_closing()
                && let Some(error) = upstream.link.connect_error()
            {
                return self.connect_failed(key, connect_reason(&error), &error.to_string());
            }
            if !upstream.link.is_writable() {
                return;
            }
            let mut attempt = attempt;
            let end = self.shared.now.instant + self.shared.timeouts.handshake;
            upstream.deadline.at = match attempt.purpose {
                Purpose::Requests => {
                    // If it comes to nothing, the other addresses get their time.
                    attempt.until = end + self.shared.timeouts.connect;
                    end
                }
                Purpose::Probe => end.min(attempt.until),
            };
            upstream.state = UpstreamState::AwaitHandshake(attempt);
            self.timers.watch(&mut upstream.deadline, Subject::Upstream(key));
        }
        match upstream.link.shake_hands(&mut self.shared.scratch.tls) {
            Ok(Handshake::Blocked) => {}
            Ok(Handshake::Done) => self.connected(key),
            Err(failure) => self.connect_failed(key, failure.reason, &failure.text),
        }
    }

    /// The address takes its time: the next one is tried beside it.
    fn stagger(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        let id = upstream.backend;
        let Some(attempt) = upstream.attempt_mut() else { return };
        if attempt.purpose == Purpose::Requests && !self.roster[id].pool.has_waiters() {
            return self.abandon(key);
        }
        let next = next_address(Attempt { elder: Some(key), ..*attempt });
        attempt.addresses_left = 0;
        upstream.deadline.at = attempt.until;
        self.timers.watch(&mut upstream.deadline, Subject::Upstream(key));
        let Some(next) = next else { return };
        // Where none of the others can even be begun, this one may still succeed.
        let younger = self.connect_in_turn(id, next).ok();
        if let Some(attempt) = self.attempt_mut(key) {
            attempt.younger = younger;
        }
    }

    /// Gives an attempt up, with all its connections: nobody is there any more who would want to know.
    fn abandon(&mut self, key: Key) {
        let Some(upstream) = self.drop_upstream(key) else { return };
        if let Some(attempt) = upstream.attempt() {
            self.give_up_rivals(attempt);
        }
        self.roster[upstream.backend].pool.connect_ended();
    }

    fn attempt_mut(&mut self, key: Key) -> Option<&mut Attempt> {
        self.upstreams.get_mut(key)?.attempt_mut()
    }

    /// A connection is usable: it wins against those of the same attempt.
    fn connected(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let Some(attempt) = upstream.attempt() else { return };
        let backend = &mut self.roster[upstream.backend];
        log::trace!("upstream {key}: connected to {}", backend.label);
        if upstream.link.is_readable() && !is_silent(&mut upstream.link, &mut self.shared.scratch) {
            return self.connect_failed(
                key,
                Reason::UpstreamClosed,
                "it sent something before it was asked, or closed at once",
            );
        }
        backend.prefer(&upstream.address);
        if attempt.purpose == Purpose::Requests {
            backend.pool.connect_ended();
        }
        self.give_up_rivals(attempt);
        match attempt.purpose {
            Purpose::Requests => self.offer(key, Reuse::New, None),
            Purpose::Probe => self.send_probe(key),
        }
    }

    /// The other connections of an attempt are needed no more.
    fn give_up_rivals(&mut self, winner: Attempt) {
        let mut elder = winner.elder;
        while let Some(key) = elder {
            elder = self.drop_upstream(key).and_then(|up| up.attempt()?.elder);
        }
        let mut younger = winner.younger;
        while let Some(key) = younger {
            younger = self.drop_upstream(key).and_then(|up| up.attempt()?.younger);
        }
    }

    /// A connect or handshake has failed. Nothing was sent: the next address or backend gets its try.
    pub(super) fn connect_failed(&mut self, key: Key, reason: Reason, text: &str) {
        let Some(upstream) = self.drop_upstream(key) else {
            return;
        };
        log::trace!("upstream {key}: {} ({text})", reason.word());
        let id = upstream.backend;
        let Some(attempt) = upstream.attempt() else { return };
        self.unlink(attempt);
        let is_last = attempt.elder.is_none() && attempt.younger.is_none();
        if let Some(next) = next_address(attempt)
            && self.shared.now.instant < attempt.until
        {
            if attempt.purpose == Purpose::Requests && !self.roster[id].pool.has_waiters() {
                // Nobody is there any more who would want to know.
                self.give_up_rivals(attempt);
                return self.roster[id].pool.connect_ended();
            }
            if let Ok(next) = self.connect_in_turn(id, next) {
                if let Some(elder) = attempt.elder.and_then(|elder| self.attempt_mut(elder)) {
                    elder.younger = Some(next);
                }
                return;
            }
        }
        if !is_last {
            return;
        }
        let text = match self.roster[id].addresses_count() {
            0 | 1 => text.to_owned(),
            _ => format!("{text}, last at {}", upstream.address),
        };
        match attempt.purpose {
            Purpose::Requests => self.attempt_failed(id, attempt.began, reason, &text),
            Purpose::Probe => self.probe_failed(id, &text),
        }
    }

    /// Takes a connection that failed out of the chain of its attempt.
    fn unlink(&mut self, attempt: Attempt) {
        if let Some(elder) = attempt.elder.and_then(|key| self.attempt_mut(key)) {
            elder.younger = attempt.younger;
        }
        if let Some(younger) = attempt.younger.and_then(|key| self.attempt_mut(key)) {
            younger.elder = attempt.elder;
        }
    }

    /// No address of a backend could be reached: whoever has waited longest goes on to another.
    fn attempt_failed(&mut self, id: BackendId, began: Outage, reason: Reason, text: &str) {
        self.roster[id].pool.connect_ended();
        self.doubt_name(id);
        if reason == Reason::OutOfDescriptors {
            log::debug!("no connection to backend {}: {text}", self.roster[id].label);
        } else {
            self.note_failure(id, began, reason, text);
        }
        if self.roster[id].pool.lacks_connect() {
            self.move_waiter(id, reason);
        }
        // Who waits for a backend that is out need not find out one by one, if there is another.
        while !self.roster[id].health.is_in()
            && self.roster.has_other_in(id)
            && self.roster[id].pool.has_waiters()
        {
            self.move_waiter(id, reason);
        }
    }

    /// The request that has waited longest for this backend goes on to another.
    fn move_waiter(&mut self, id: BackendId, reason: Reason) {
        while let Some(key) = self.roster[id].pool.next_waiter() {
            if self.waiting(key).is_some() {
                return self.move_on(key, reason);
            }
        }
    }

    /// A deadline of a connection on its way has come up: the next address is tried beside it. Where there
    /// may be no other connection beside it, it has its share of the time, and is given up then.
    pub(super) fn connect_came_up(&mut self, key: Key, attempt: Attempt) {
        let now = self.shared.now.instant;
        let Some(upstream) = self.upstreams.get(key) else { return };
        let backend = &self.roster[upstream.backend];
        let share_ends = self.share_ends(attempt, backend.addresses_count());
        let may_have_rival = attempt.purpose == Purpose::Probe || !backend.pool.is_full();
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if now >= attempt.until || (!may_have_rival && now >= share_ends) {
            self.connect_failed(key, Reason::ConnectTimeout, "no answer in time");
        } else if may_have_rival {
            self.stagger(key);
        } else {
            upstream.deadline.at = share_ends;
            self.timers.watch(&mut upstream.deadline, Subject::Upstream(key));
        }
    }

    /// When an address has had its share of the time of an attempt, if all have the same.
    fn share_ends(&self, attempt: Attempt, addresses_count: usize) -> Instant {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let left = number(attempt.addresses_left);
        attempt.until - self.shared.timeouts.connect / number(addresses_count).max(1) * left
    }
}

/// The attempt goes on to the next address, if there is one.
fn next_address(attempt: Attempt) -> Option<Attempt> {
    let addresses_left = attempt.addresses_left.checked_sub(1)?;
    Some(Attempt { place: attempt.place + 1, addresses_left, ..attempt })
}
