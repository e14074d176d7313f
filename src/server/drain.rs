//! Stopping without losing a request.
//!
//! Whoever has a request open gets its answer, with `Connection: close`. Whoever has none is closed, but not
//! within a second of its last answer, or of its coming: its next request may be on its way, and would
//! find nobody. What is still open at the end is cut. Knows nothing of signals and listeners.

use super::worker::{Phase, Worker};
use crate::h1::reply::Reason;
use crate::net::Net;
use crate::net::latch::Readiness;
use crate::proxy::client::ClientState;

impl<N: Net> Worker<N> {
    /// Takes on no more work. The accept queue has been emptied by now.
    pub fn begin_drain(&mut self) {
        self.shared.phase = Phase::Draining;
        let now = self.shared.now.instant;
        let (idle, grace) = (self.shared.timeouts.idle, self.shared.timeouts.last_request());
        self.roster.ids().for_each(|id| self.close_idle_of(id));
        // A request may have arrived of which no event has told yet: each is looked at once more.
        for key in self.clients.keys() {
            if let Some(client) = self.clients.get_mut(key)
                && matches!(client.state, ClientState::AwaitHead(_))
            {
                client.link.on_event(Readiness::READABLE);
                if client.part.is_empty() && !client.link.is_clogged() {
                    let idle_since = client.deadline.at.checked_sub(idle).unwrap_or(now);
                    client.deadline.at = idle_since.min(now) + grace;
                }
                self.queue_client(key);
                self.watch_client(key);
            }
        }
    }

    /// Whether nothing is open any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.shared.phase == Phase::Draining && self.clients.is_empty()
    }

    /// How many exchanges ended well since the drain began.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.finished_count
    }

    /// Cuts what is still open; says how many exchanges that were.
    pub fn cut(&mut self) -> u64 {
        let mut count = 0;
        for key in self.clients.keys() {
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            match client.state {
                ClientState::AwaitUpstream(_) | ClientState::Relay { .. } => {
                    count += 1;
                    self.abort(key, Reason::DrainTimeout);
                }
                ClientState::Tunnel { .. } => {
                    count += 1;
                    self.end_tunnel(key, Some(Reason::DrainTimeout));
                }
                ClientState::AwaitHead(_)
                | ClientState::AwaitFlush
                | ClientState::AwaitClose { .. } => {
                    // The exchange is over for us, but not for a client that has not got all of it.
                    count += u64::from(client.link.is_clogged());
                    self.remove_client(key);
                }
            }
        }
        self.end_turn();
        count
    }
}
