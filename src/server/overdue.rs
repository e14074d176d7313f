//! What happens when a deadline is over: of a client, or of a connection to a backend.
//!
//! Each state has its own: whom it waits for is who is given up, and the reason says so. Knows nothing of
//! how deadlines are kept; that is in `timers.rs`. Invariant: what came up is acted on or armed again, so
//! no deadline stays due.

use std::time::Instant;

use super::drives::GoesOn;
use super::settle::never_look_whole;
use super::worker::Worker;
use crate::h1::reply::Reason;
use crate::key::{Key, Subject};
use crate::net::Net;
use crate::proxy::client::{ClientState, body_for};
use crate::proxy::drive;
use crate::proxy::exchange::Place;
use crate::proxy::upstream::UpstreamState;

impl<N: Net> Worker<N> {
    /// A client's deadline is over.
    pub(super) fn client_overdue(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        match &client.state {
            ClientState::AwaitHead(_) if client.link.is_clogged() => {
                log::debug!("client {}: does not take its response (client_stalled)", client.peer);
                client.link.reset_on_close();
                self.remove_client(key);
            }
            ClientState::AwaitHead(_) if client.part.is_empty() => {
                log::debug!("client {}: idle for too long (client_idle)", client.peer);
                self.remove_client(key);
            }
            ClientState::AwaitHead(_) => {
                let body = body_for(&client.part);
                if self.refuse(key, Reason::HeadTimeout, body) == GoesOn::Yes {
                    self.queue_client(key);
                }
            }
            ClientState::AwaitUpstream(exchange) => {
                // Where the request had been sent, why it was lost then says more.
                let lost = exchange.route.failure.filter(|_| exchange.route.resends > 0);
                let reason = lost.unwrap_or(match exchange.route.place {
                    Place::Queue => Reason::QueueTimeout,
                    Place::Backend | Place::Nowhere => Reason::ConnectTimeout,
                });
                if self.give_up(key, reason) == GoesOn::Yes {
                    self.queue_client(key);
                }
            }
            ClientState::Relay { .. } => self.relay_overdue(key),
            ClientState::Tunnel { directions, .. } => {
                let reason = directions.overdue();
                self.end_tunnel(key, Some(reason));
            }
            ClientState::AwaitFlush => {
                log::debug!("client {}: does not take its answer (client_stalled)", client.peer);
                client.link.reset_on_close();
                self.remove_client(key);
            }
            ClientState::AwaitClose { .. } => {
                log::debug!("client {}: does not close its connection (linger)", client.peer);
                self.remove_client(key);
            }
        }
        self.watch_client(key);
    }

    fn relay_overdue(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let state = std::mem::replace(&mut client.state, ClientState::AwaitFlush);
        let ClientState::Relay { exchange, upstream: upstream_key } = state else {
            client.state = state;
            return;
        };
        let upstream = self.drop_upstream(upstream_key);
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let reason = match upstream {
            Some(mut upstream) => {
                never_look_whole(&exchange, &mut upstream);
                drive::overdue(client, &upstream, &exchange, self.shared.now.instant)
            }
            None => Reason::Internal,
        };
        let can_be_told = !exchange.has_answered() && !client.link.is_clogged();
        client.state = ClientState::AwaitUpstream(exchange);
        if reason == Reason::ResponseTimeout {
            self.note_unanswered(key, reason);
        }
        if !can_be_told {
            self.abort(key, reason);
        } else if self.give_up(key, reason) == GoesOn::Yes {
            self.queue_client(key);
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
            _ if !is_over => self.timers.watch(&mut upstream.deadline, Subject::Upstream(key)),
            UpstreamState::Idle => {
                let id = upstream.backend;
                self.roster[id].pool.remove_idle(key);
                self.close_upstream(key);
            }
            UpstreamState::AwaitConnect(attempt) => self.connect_came_up(key, attempt),
            UpstreamState::AwaitHandshake(_) => {
                self.connect_failed(key, Reason::TlsHandshakeTimeout, "no TLS handshake in time");
            }
            UpstreamState::AwaitProbe { .. } => {
                self.probe_over(key, Err("it did not answer in time".into()));
            }
        }
    }
}
