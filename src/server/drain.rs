//! Stopping without losing a request.
//!
//! Whoever has a request open gets its answer, with `Connection: close`; whoever has none is closed.
//! What is still open at the end is cut. Knows nothing of signals and listeners.

use super::worker::{Phase, Worker};
use crate::h1::reply::Reason;
use crate::net::Net;
use crate::net::latch::Readiness;
use crate::proxy::client::ClientState;

impl<N: Net> Worker<N> {
    /// Takes on no more work. The accept queue has been emptied by now.
    pub fn begin_drain(&mut self) {
        self.shared.phase = Phase::Draining;
        for id in self.roster.ids() {
            for key in self.roster[id].pool.take_all_idle() {
                self.close_upstream(key);
            }
        }
        // A request may have arrived of which no event has told yet: each is looked at once more.
        for key in self.clients.keys() {
            if let Some(client) = self.clients.get_mut(key)
                && matches!(client.state, ClientState::AwaitHead(_))
            {
                client.link.on_event(Readiness::READABLE);
                self.queue_client(key);
            }
        }
    }

    /// Closes the clients that have no request open, once each was looked at.
    pub fn close_idle_clients(&mut self) {
        for key in self.clients.keys() {
            if let Some(client) = self.clients.get(key)
                && matches!(client.state, ClientState::AwaitHead(_))
                && client.part.is_empty()
                && !client.link.is_clogged()
            {
                self.remove_client(key);
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
