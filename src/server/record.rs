//! What is written down of an exchange: a line of the access log, and counts; and what there is to be
//! seen of the whole at a moment.
//!
//! Knows nothing of who reads it. Invariant: an exchange is written down exactly once, whatever became
//! of it.
//!
//! Next: [`crate::observe`].

use std::time::{Duration, Instant};

use super::backends::Backend;
use super::worker::Worker;
use crate::backend::BackendId;
use crate::h1::Version;
use crate::h1::reply::Reason;
use crate::key::Key;
use crate::net::Net;
use crate::observe::access_log::{AccessLog, Record, Reuse, Times};
use crate::observe::metrics::Metrics;
use crate::observe::snapshot::{BackendState, ClientCounts};
use crate::proxy::client::ClientState;
use crate::proxy::exchange::Exchange;

impl<N: Net> Worker<N> {
    /// An exchange is over.
    pub(super) fn write_down(&mut self, key: Key, exchange: &Exchange, reason: Option<Reason>) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if self.access_log.is_none() && self.metrics.is_none() {
            return;
        }
        let backend = exchange.route.backend.or(exchange.route.tried.last().copied());
        let now = self.shared.now;
        let tells_fields = self.access_log.as_ref().is_some_and(AccessLog::tells_fields);
        let record = Record {
            unix_ms: now.unix_ms,
            client: client.peer,
            method: exchange.head.method(),
            target: exchange.head.target(),
            version: exchange.facts.version,
            referer: if tells_fields { exchange.head.field(b"referer") } else { b"" },
            user_agent: if tells_fields { exchange.head.field(b"user-agent") } else { b"" },
            status: exchange.status,
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
            duration: now.instant.saturating_duration_since(exchange.started),
            times: exchange.times(),
            backend: backend.map(|id| (id.0, self.roster[id].label.as_str())),
            attempts: exchange.route.attempts,
            reuse: exchange.route.reuse,
            reason,
            request_id: exchange.head.request_id(),
        };
        hand_on(&record, &mut self.access_log, &mut self.metrics, now.instant);
    }

    /// What never became an exchange is over.
    pub(super) fn write_down_refusal(
        &mut self,
        key: Key,
        status: Option<u16>,
        bytes_out: u64,
        reason: Reason,
    ) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let record = Record {
            unix_ms: self.shared.now.unix_ms,
            client: client.peer,
            method: b"",
            target: b"",
            version: Version::Http11,
            referer: b"",
            user_agent: b"",
            status,
            bytes_in: 0,
            bytes_out,
            duration: Duration::ZERO,
            times: Times::default(),
            backend: None,
            attempts: 0,
            reuse: Reuse::None,
            reason: Some(reason),
            request_id: b"",
        };
        hand_on(&record, &mut self.access_log, &mut self.metrics, self.shared.now.instant);
    }

    /// A try with a backend has failed.
    pub(super) fn count_error(&mut self, id: BackendId, reason: Reason) {
        if let Some(metrics) = &mut self.metrics {
            metrics.note_error(id.0, reason);
        }
    }

    /// A request is tried once more.
    pub(super) fn count_retry(&mut self, reason: Reason) {
        if let Some(metrics) = &mut self.metrics {
            metrics.retries.note(reason);
        }
    }

    /// What was counted; `None` where nothing is.
    #[must_use]
    pub fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    /// Ends the steps of the history whose time is over.
    pub fn advance_history(&mut self, now: Instant) {
        if let Some(metrics) = &mut self.metrics {
            metrics.history.advance(now);
        }
    }

    /// The connections of clients, by what they do.
    #[must_use]
    pub fn client_counts(&self) -> ClientCounts {
        let mut counts = ClientCounts::default();
        for client in self.clients.values() {
            let place = match client.state {
                ClientState::AwaitHead(_) if client.part.is_empty() => &mut counts.idle,
                ClientState::AwaitHead(_)
                | ClientState::AwaitUpstream(_)
                | ClientState::Relay { .. } => &mut counts.active,
                ClientState::Tunnel { .. } => &mut counts.tunnel,
                ClientState::AwaitFlush | ClientState::AwaitClose { .. } => &mut counts.closing,
            };
            *place += 1;
        }
        counts
    }

    /// The numbers of the backends, in the order in which they were named.
    #[must_use]
    pub fn backend_ids(&self) -> Vec<BackendId> {
        self.roster.ids().collect()
    }

    /// How each backend is.
    pub fn backend_states(&self) -> impl Iterator<Item = BackendState<'_>> {
        let now = self.shared.now;
        let present = self.roster.ids().filter(|id| !self.roster[*id].is_retired);
        present.map(move |id| {
            let backend: &Backend = &self.roster[id];
            let pool = &backend.pool;
            let since_unix_ms = backend.health.since().map(|since| {
                let ago = now.instant.saturating_duration_since(since).as_millis();
                now.unix_ms.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
            });
            let (idle, connecting) = (pool.idle_count(), pool.connecting_count());
            BackendState {
                number: id.0,
                label: &backend.label,
                is_in: backend.health.is_in() && backend.takes_requests(),
                health: backend.condition(),
                since_unix_ms,
                busy: pool.open_count().saturating_sub(idle + connecting),
                idle,
                connecting,
                waiting: pool.waiters_count(),
                role: backend.role,
                intake: backend.intake,
                verify: backend.config.tls.verify,
            }
        })
    }

    /// How many requests wait because no backend has room.
    #[must_use]
    pub fn queued_count(&self) -> usize {
        self.queue.len()
    }
}

/// Gives a record to those who want it.
fn hand_on(
    record: &Record<'_>,
    access_log: &mut Option<AccessLog>,
    metrics: &mut Option<Metrics>,
    now: Instant,
) {
    if let Some(log) = access_log {
        log.add(record);
    }
    if let Some(metrics) = metrics {
        metrics.note(record, now);
    }
}
