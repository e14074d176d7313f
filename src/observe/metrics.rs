//! Counts what happens, for whoever asks.
//!
//! Every exchange that ends is noted once, with the same record that the access log gets. Knows nothing of
//! how the numbers are shown.
//!
//! Invariants: labels are of closed sets (statuses, known methods, reasons, configured backends), so
//! nothing that a peer sends makes this grow; noting is a few additions.
//!
//! Next: [`super::exposition`], [`super::status`] and the status page read it.

use std::collections::VecDeque;
use std::time::Instant;

use super::access_log::{Record, Reuse};
use super::histogram::Histogram;
use super::history::History;
use crate::h1::reply::Reason;

/// Bounds for the time of a whole exchange, in microseconds.
const DURATION_BOUNDS_US: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Bounds for the time that roundel itself adds, in microseconds.
const OVERHEAD_BOUNDS_US: &[u64] =
    &[10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000];

/// How many of the last troubles are kept.
const TROUBLES_COUNT_MAX: usize = 20;

/// How much of a target is kept with a trouble.
const TARGET_BYTES_MAX: usize = 200;

/// Methods that have a name of their own in a metric; the last is for all others, and for what was no
/// request.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other"];

/// Statuses have three digits (RFC 9110 section 15).
const STATUS_MIN: u16 = 100;
const STATUS_MAX: u16 = 599;
const STATUSES: usize = (STATUS_MAX - STATUS_MIN) as usize + 1;

/// Counts for each of a small set of things, in the order in which they appeared.
#[derive(Clone, Debug)]
pub struct Tally<K>(Vec<(K, u64)>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + PartialEq> Tally<K> {
    /// Counts one.
    pub fn note(&mut self, key: K) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += 1,
            None => self.0.push((key, 1)),
        }
    }

    /// All counts.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> {
        self.0.iter().copied()
    }
}

impl<K: Copy + Ord> Tally<K> {
    /// All counts, in the order of what they are for.
    #[must_use]
    pub fn sorted(&self) -> Vec<(K, u64)> {
        let mut counts = self.0.clone();
        counts.sort_unstable_by_key(|(key, _)| *key);
        counts
    }
}

/// What is counted of one backend.
#[derive(Clone, Default, Debug)]
pub struct BackendMetrics {
    /// Its final responses, by status.
    pub codes: Tally<u16>,
    /// Why tries with it failed.
    pub errors: Tally<Reason>,
}

/// Something that went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// When.
    pub unix_ms: u64,
    /// Why.
    pub reason: Reason,
    /// Who was asked last.
    pub backend: Option<usize>,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Method and target of the request, the first octets; empty where there was none.
    pub request: Vec<u8>,
}

/// All counts of a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Exchanges by status and method; those that ended without an answer are behind all statuses.
    requests: Vec<u64>,
    /// From the request to the end of the response.
    pub duration: Histogram,
    /// How much of that was roundel's own doing.
    pub overhead: Histogram,
    /// By the number of the backend.
    pub backends: Vec<BackendMetrics>,
    /// Tries beyond the first, by what was wrong with the one before.
    pub retries: Tally<Reason>,
    /// Requests that went over a connection that had served before.
    pub reused: u64,
    /// Requests that were the first on their connection.
    pub fresh: u64,
    /// Octets of request bodies.
    pub bytes_in: u64,
    /// Octets of response bodies.
    pub bytes_out: u64,
    /// The last minutes.
    pub history: History,
    troubles: VecDeque<Trouble>,
}

impl Metrics {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(backends_count: usize, now: Instant) -> Self {
        Self {
            requests: vec![0; (STATUSES + 1) * METHODS.len()],
            duration: Histogram::new(DURATION_BOUNDS_US),
            overhead: Histogram::new(OVERHEAD_BOUNDS_US),
            backends: vec![BackendMetrics::default(); backends_count],
            retries: Tally::default(),
            reused: 0,
            fresh: 0,
            bytes_in: 0,
            bytes_out: 0,
            history: History::new(now),
            troubles: VecDeque::new(),
        }
    }

    /// An exchange has ended.
    pub fn note(&mut self, record: &Record<'_>, now: Instant) {
        let code = record.status.and_then(|status| status.checked_sub(STATUS_MIN));
        let code = code.map_or(STATUSES, usize::from).min(STATUSES);
        if let Some(count) = self.requests.get_mut(code * METHODS.len() + method(record.method)) {
            *count += 1;
        }
        self.bytes_in += record.bytes_in;
        self.bytes_out += record.bytes_out;
        match record.reuse {
            Reuse::Reused => self.reused += 1,
            Reuse::New => self.fresh += 1,
            Reuse::None => {}
        }
        if !record.method.is_empty() {
            self.duration.note(record.duration);
            let has_failed = record.status.is_none_or(|status| status >= 500);
            self.history.note(record.duration, has_failed, now);
        }
        // What did not go well says little about what is usual.
        if let Some(overhead) = record.times.own.filter(|_| record.reason.is_none()) {
            self.overhead.note(overhead);
        }
        let backend = record.backend.map(|(index, _)| index);
        let metrics = backend.and_then(|index| self.backends.get_mut(index));
        match (record.reason, record.status, metrics) {
            (None, Some(status), Some(metrics)) => metrics.codes.note(status),
            (Some(reason), ..) => self.note_trouble(record, reason, backend),
            (None, ..) => {}
        }
    }

    /// A try with a backend has failed.
    pub fn note_error(&mut self, backend: usize, reason: Reason) {
        if let Some(metrics) = self.backends.get_mut(backend) {
            metrics.errors.note(reason);
        }
    }

    fn note_trouble(&mut self, record: &Record<'_>, reason: Reason, backend: Option<usize>) {
        // No failure: OPTIONS was meant for us.
        if reason == Reason::HopLimit {
            return;
        }
        // The oldest makes room, and its memory serves again.
        let full = self.troubles.len() == TROUBLES_COUNT_MAX;
        let oldest = if full { self.troubles.pop_front() } else { None };
        let mut request = oldest.map(|trouble| trouble.request).unwrap_or_default();
        request.clear();
        if !record.method.is_empty() {
            request.extend_from_slice(record.method);
            request.push(b' ');
            request.extend(record.target.iter().take(TARGET_BYTES_MAX));
        }
        let (unix_ms, status) = (record.unix_ms, record.status);
        self.troubles.push_back(Trouble { unix_ms, reason, backend, status, request });
    }

    /// Exchanges by status (`None` for those without an answer) and method, those that there were.
    pub fn requests(&self) -> impl Iterator<Item = (Option<u16>, &'static str, u64)> {
        self.requests.iter().enumerate().filter(|(_, count)| **count > 0).map(|(place, count)| {
            let code = place / METHODS.len();
            let status = if code == STATUSES { None } else { u16::try_from(code).ok() };
            (status.map(|code| code + STATUS_MIN), METHODS[place % METHODS.len()], *count)
        })
    }

    /// Exchanges by status alone, in its order; those without an answer last.
    #[must_use]
    pub fn statuses(&self) -> Vec<(Option<u16>, u64)> {
        let mut statuses: Vec<(Option<u16>, u64)> = Vec::new();
        for (status, _, count) in self.requests() {
            match statuses.last_mut() {
                Some((last, total)) if *last == status => *total += count,
                Some(_) | None => statuses.push((status, count)),
            }
        }
        statuses
    }

    /// The last troubles, oldest first.
    pub fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.iter()
    }
}

/// The place of a method in [`METHODS`].
fn method(octets: &[u8]) -> usize {
    let known = METHODS.len() - 1;
    METHODS[..known].iter().position(|name| name.as_bytes() == octets).unwrap_or(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::Version;
    use crate::observe::access_log::Times;
    use std::time::Duration;

    fn record(
        method: &'static str,
        status: Option<u16>,
        reason: Option<Reason>,
    ) -> Record<'static> {
        Record {
            unix_ms: 7,
            client: crate::config::Peer::Unix,
            method: method.as_bytes(),
            target: b"/x",
            version: Version::Http11,
            referer: b"",
            user_agent: b"",
            status,
            bytes_in: 1,
            bytes_out: 2,
            duration: Duration::from_millis(3),
            times: Times { own: Some(Duration::from_micros(20)), ..Times::default() },
            backend: Some((0, "http://a")),
            attempts: 1,
            reuse: Reuse::Reused,
            reason,
            request_id: b"",
        }
    }

    #[test]
    fn a_record_is_counted_once_under_its_labels() {
        let now = crate::clock::now().instant;
        let mut metrics = Metrics::new(1, now);
        metrics.note(&record("GET", Some(200), None), now);
        metrics.note(&record("GET", Some(200), None), now);
        metrics.note(&record("BREW", Some(599), None), now);
        metrics.note(&record("POST", Some(502), Some(Reason::ConnectRefused)), now);
        metrics.note(&record("GET", None, Some(Reason::ClientReset)), now);
        metrics.note(&record("", Some(400), Some(Reason::BadField)), now);
        let counts: Vec<_> = metrics.requests().collect();
        assert_eq!(
            counts,
            [
                (Some(200), "GET", 2),
                (Some(400), "other", 1),
                (Some(502), "POST", 1),
                (Some(599), "other", 1),
                (None, "GET", 1)
            ]
        );
        metrics.note(&record("POST", Some(200), None), now);
        assert_eq!(metrics.statuses().first(), Some(&(Some(200), 3)));
        let codes: Vec<_> = metrics.backends[0].codes.iter().collect();
        assert_eq!(codes, [(200, 3), (599, 1)], "what we say ourselves is not the backend's");
        assert_eq!((metrics.duration.count(), metrics.overhead.count()), (6, 4));
        assert_eq!((metrics.bytes_in, metrics.bytes_out, metrics.reused), (7, 14, 7));
        let reasons: Vec<_> = metrics.troubles().map(|trouble| trouble.reason).collect();
        assert_eq!(reasons, [Reason::ConnectRefused, Reason::ClientReset, Reason::BadField]);
        assert_eq!(metrics.troubles().next().expect("one").request, b"POST /x");
    }

    #[test]
    fn only_so_many_troubles_are_kept() {
        let now = crate::clock::now().instant;
        let mut metrics = Metrics::new(1, now);
        for _ in 0..100 {
            metrics.note(&record("GET", Some(502), Some(Reason::ConnectRefused)), now);
        }
        assert_eq!(metrics.troubles().count(), TROUBLES_COUNT_MAX);
    }
}
