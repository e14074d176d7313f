//! What each connection does when something can be done: one function for each state.
//!
//! Knows nothing of why a connection was queued. Invariant: a drive ends; it does a bounded amount of
//! work, and what is left waits in the run queue, for an event, or for a deadline.
//!
//! Next: `dispatch.rs` for a request that needs a connection, `settle.rs` for an exchange that is over.

use super::dispatch::take_evidence;
use super::worker::Worker;
use crate::h1::reply::Reason;
use crate::key::Key;
use crate::net::link::Received;
use crate::net::{HEADROOM_BYTES, Net, Scratch};
use crate::proxy::client::{ClientState, HeadOutcome, Input, read_head};
use crate::proxy::drive::{self, Verdict};
use crate::proxy::exchange::{Onward, Place};
use crate::proxy::relay_request::{Watched, watch_for_reset};
use crate::proxy::tunnel::{self, TunnelVerdict};
use crate::proxy::upstream::UpstreamState;

/// How many states a client may go through in a turn of the loop before others get their turn: one
/// that pipelines requests which we answer ourselves could go on for long.
const STEPS_COUNT_MAX: u32 = 16;

/// Whether a connection can be driven on at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GoesOn {
    /// It has a new state in which something may be possible.
    Yes,
    /// It waits, or is gone.
    No,
}

impl<N: Net> Worker<N> {
    /// Does for a client what can be done now.
    pub(super) fn drive_client(&mut self, key: Key) {
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
                ClientState::AwaitUpstream(exchange) if exchange.route.place == Place::Nowhere => {
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
            HeadOutcome::Blocked => GoesOn::No,
            HeadOutcome::Closed => {
                log::trace!("client {key}: closed");
                self.remove_client(key);
                GoesOn::No
            }
            HeadOutcome::Aborted(reason) => {
                self.write_down_refusal(key, None, 0, reason);
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
                let onward = exchange.facts.onward;
                client.state = ClientState::AwaitUpstream(exchange);
                match onward {
                    Onward::GoOn => self.place(key, body),
                    Onward::EndHere(reason) => self.give_up(key, reason),
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
        let verdict = drive::drive(client, upstream, &mut exchange, &mut ctx);
        let is_answered = exchange.has_answered() || verdict == Verdict::Tunnel;
        if is_answered
            && let Some((id, evidence)) = take_evidence(&mut exchange)
            && let Some(sent) = evidence.sent()
        {
            self.roster.note_success(id, sent, self.shared.now.instant);
        }
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

    /// Does for a connection to a backend what can be done now, where no client does.
    pub(super) fn drive_upstream(&mut self, key: Key) {
        match self.upstreams.get(key).map(|upstream| upstream.state) {
            Some(UpstreamState::AwaitConnect(_) | UpstreamState::AwaitHandshake(_)) => {
                self.drive_connecting(key);
            }
            Some(UpstreamState::AwaitProbe { .. }) => self.drive_probe(key),
            Some(UpstreamState::Idle | UpstreamState::Busy { .. }) | None => {}
        }
    }
}
