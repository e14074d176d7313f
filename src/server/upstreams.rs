//! Connections to backends that are usable: who gets one that is free, how they rest, and how they end.
//!
//! Knows nothing of how they were made and of what goes over them. Invariants: a connection leaves the
//! table in one way, and is counted then; one that rests is at an address that its backend still has; one
//! that has something to say unasked serves nobody.

use std::time::Duration;

use super::worker::{Phase, Worker};
use crate::backend::BackendId;
use crate::config::Intake;
use crate::key::{Key, Subject};
use crate::net::latch::Readiness;
use crate::net::link::{Link, Received};
use crate::net::{HEADROOM_BYTES, Net, Scratch, Sock};
use crate::observe::access_log::Reuse;
use crate::proxy::client::ClientState;
use crate::proxy::exchange::{BackendPromise, Freshness};
use crate::proxy::upstream::{Purpose, Upstream, UpstreamState};

/// A backend that says for how long it keeps an idle connection closes it then; we stop using it this
/// much earlier, so that the two do not meet.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

impl<N: Net> Worker<N> {
    /// An exchange is over: its connection serves the next, rests, or ends.
    pub(super) fn release(&mut self, key: Key, promise: BackendPromise) {
        match promise {
            BackendPromise::Persist { keep_alive } => self.offer(key, Reuse::Reused, keep_alive),
            BackendPromise::Close => self.close_upstream(key),
        }
    }

    /// A connection is free: the oldest waiter gets it, or it rests in the pool.
    pub(super) fn offer(&mut self, key: Key, reuse: Reuse, keep_alive: Option<Duration>) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        let id = upstream.backend;
        let has_moved = !self.roster[id].is_at(&upstream.address);
        if has_moved && reuse == Reuse::Reused {
            return self.close_upstream(key);
        }
        upstream.state = UpstreamState::Idle;
        let clients = &self.clients;
        let next = self.roster[id].pool.next_waiter_that(|waiter| {
            let state = clients.get(waiter).map(|client| &client.state);
            match state {
                Some(ClientState::AwaitUpstream(exchange)) => {
                    reuse == Reuse::New || exchange.route.wanted == Freshness::Any
                }
                _ => false,
            }
        });
        if let Some(client) = next {
            let is_open = reuse == Reuse::New || self.is_still_open(key);
            if is_open && self.attach(client, key, 0..0, reuse) {
                self.watch_client(client);
                self.queue_client(client);
            } else {
                self.retry_elsewhere(client, id, reuse);
            }
            return;
        }
        let is_superfluous = self.roster[id].intake == Intake::Drained
            || (self.shared.phase == Phase::Draining && self.queue.is_empty());
        if has_moved || is_superfluous {
            return self.close_upstream(key);
        }
        self.rest(key, keep_alive);
    }

    fn rest(&mut self, key: Key, keep_alive: Option<Duration>) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let rest = rest_time(keep_alive, self.shared.timeouts.pool_idle);
        if rest.is_zero() {
            return self.close_upstream(key);
        }
        upstream.deadline.at = self.shared.now.instant + rest;
        self.timers.watch(&mut upstream.deadline, Subject::Upstream(key));
        let pool = &mut self.roster[upstream.backend].pool;
        if let Some(oldest) = pool.put_idle(key, self.turn, self.shared.limits.pool_idle_count_max)
        {
            self.close_upstream(oldest);
        }
    }

    /// An idle upstream has something to say: that it ends, most often. TLS may only have had
    /// something to say to itself, such as a ticket for the next connection.
    pub(super) fn check_idle(&mut self, key: Key) {
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
                let label = &self.roster[upstream.backend].label;
                log::warn!("backend {label} sent octets that nobody asked for: connection closed");
            }
            Received::Closed | Received::Broken(_) => {}
        }
        log::trace!("upstream {key}: ended while idle");
        let id = upstream.backend;
        self.roster[id].pool.remove_idle(key);
        self.drop_upstream(key);
    }

    /// Looks once more whether a connection is open still and has nothing to say: it may have ended, or
    /// the backend may have said something unasked, after the last events. If so, it is gone.
    pub(super) fn is_still_open(&mut self, key: Key) -> bool {
        let Some(upstream) = self.upstreams.get_mut(key) else { return false };
        upstream.link.on_event(Readiness::READABLE);
        if is_silent(&mut upstream.link, &mut self.shared.scratch) {
            return true;
        }
        log::trace!("upstream {key}: ended while idle");
        self.drop_upstream(key);
        false
    }

    /// Ends a connection to a backend in good order.
    pub(super) fn close_upstream(&mut self, key: Key) {
        if let Some(mut upstream) = self.drop_upstream(key) {
            log::trace!("upstream {key}: closed");
            farewell(&mut upstream, &mut self.shared.scratch);
        }
    }

    /// Takes a connection to a backend out of the table: the one way in which they leave it.
    pub(super) fn drop_upstream(&mut self, key: Key) -> Option<Upstream<N::Sock>> {
        let upstream = self.upstreams.remove(key)?;
        if upstream.purpose() == Purpose::Requests {
            self.roster[upstream.backend].pool.closed();
        }
        Some(upstream)
    }

    /// Ends all connections to a backend that are free.
    pub(super) fn close_idle_of(&mut self, id: BackendId) {
        for key in self.roster[id].pool.take_all_idle() {
            self.close_upstream(key);
        }
    }

    /// Makes room for a connection that is needed at the cost of one that is not.
    pub(super) fn close_oldest_idle(&mut self) -> bool {
        let oldest = self.roster.iter_mut().find_map(|backend| backend.pool.take_oldest_idle());
        oldest.map(|key| self.close_upstream(key)).is_some()
    }

    pub(super) fn close_oldest_idle_of(&mut self, id: BackendId) {
        if let Some(key) = self.roster[id].pool.take_oldest_idle() {
            self.close_upstream(key);
        }
    }
}

/// How long a connection rests that its backend keeps for so long, if it says.
pub(super) fn rest_time(announced: Option<Duration>, pool_idle: Duration) -> Duration {
    announced.map_or(pool_idle, |keep| keep.saturating_sub(KEEP_ALIVE_MARGIN).min(pool_idle))
}

/// Whether a connection that was not asked anything has nothing to say. TLS may have had something to
/// say to itself.
pub(super) fn is_silent<S: Sock>(link: &mut Link<S>, scratch: &mut Scratch) -> bool {
    let Scratch { area, tls, .. } = scratch;
    link.read(&mut area[HEADROOM_BYTES..], 1, tls) == Received::Blocked
}

/// Closes a link in good order where nothing is open on it.
pub(super) fn farewell<S: Sock>(upstream: &mut Upstream<S>, scratch: &mut Scratch) {
    upstream.link.say_goodbye(&mut scratch.tls);
}
