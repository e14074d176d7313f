//! Asking backends whether they are well, where the operator wants that.
//!
//! A probe is a GET on a connection of its own, made like those for requests: the same addresses, the same
//! TLS. It shares the loop with everything else and holds up nothing: it only ever waits for events and
//! for its deadline. What it shows is for the roster to judge.
//!
//! Invariant: a backend has one probe under way, or the next one is due at a known time.

use super::worker::{Phase, Worker};
use crate::backend::BackendId;
use crate::config::limits::READ_BYTES_MIN;
use crate::h1::fields::field_storage;
use crate::h1::forward::write_probe;
use crate::h1::request::Method;
use crate::h1::response::parse_response;
use crate::h1::scan::HeadScan;
use crate::key::{Key, Subject};
use crate::net::link::Received;
use crate::net::{HEADROOM_BYTES, Net, Scratch};
use crate::proxy::upstream::{Purpose, UpstreamState};

/// What reading the answer to a probe came to.
enum Answer {
    /// An event will tell more.
    Blocked,
    /// This status.
    Status(u16),
    /// None that counts, for this reason.
    Failed(String),
}

impl<N: Net> Worker<N> {
    /// Plans the first probe of each backend from this number on: at once, so that the operator soon knows.
    pub fn begin_probes(&mut self, first: usize) {
        if self.roster.config().probe.is_none() {
            return;
        }
        let now = self.shared.now.instant;
        for id in self.roster.ids().skip(first) {
            let backend = &mut self.roster[id];
            if !backend.is_retired {
                backend.probe_due = Some(now);
                self.watch_backend(id);
            }
        }
    }

    /// Something about a backend is due.
    pub(super) fn backend_came_up(&mut self, id: BackendId) {
        let now = self.shared.now.instant;
        self.roster.came_due(id, now);
        let backend = &mut self.roster[id];
        if backend.probe_due.is_some_and(|due| due <= now) {
            backend.probe_due = None;
            self.begin_probe(id);
        }
        self.watch_backend(id);
    }

    fn begin_probe(&mut self, id: BackendId) {
        let Some(probe) = &self.roster.config().probe else { return };
        if self.shared.phase == Phase::Draining || self.roster[id].is_retired {
            return;
        }
        if !self.roster[id].takes_requests() {
            // Its name says enough, and the log has told; or nobody asks, because it is drained.
            return self.plan_probe(id);
        }
        let until = self.shared.now.instant + probe.timeout;
        if let Err((_, text)) = self.begin_attempt(id, Purpose::Probe, until) {
            self.probe_failed(id, &text);
        }
    }

    /// The next probe comes after the interval, give or take a tenth, so that probes of many backends
    /// (and of many roundels) spread.
    fn plan_probe(&mut self, id: BackendId) {
        let Some(probe) = &self.roster.config().probe else { return };
        if self.roster[id].is_retired {
            return;
        }
        let interval = probe.interval * (90 + self.shared.ids.percent(20)) / 100;
        self.roster[id].probe_due = Some(self.shared.now.instant + interval);
        self.watch_backend(id);
    }

    /// The connection is there.
    pub(super) fn send_probe(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        let id = upstream.backend;
        let Some(probe) = &self.roster.config().probe else { return };
        let Some(attempt) = upstream.attempt() else { return };
        upstream.state = UpstreamState::AwaitProbe { scan: HeadScan::default(), interim: 0 };
        upstream.deadline.at = attempt.until;
        self.timers.watch(&mut upstream.deadline, Subject::Upstream(key));
        let Scratch { head, tls, .. } = &mut self.shared.scratch;
        head.clear();
        write_probe(head, probe.path.as_bytes(), self.roster[id].view());
        match upstream.link.send(head, tls) {
            Ok(_) => self.drive_probe(key),
            Err(error) => self.probe_over(key, Err(error.to_string())),
        }
    }

    /// An answer to a probe may have come.
    pub(super) fn drive_probe(&mut self, key: Key) {
        match self.read_answer(key) {
            Answer::Blocked => {}
            Answer::Status(status) => self.probe_over(key, Ok(status)),
            Answer::Failed(text) => self.probe_over(key, Err(text)),
        }
    }

    fn read_answer(&mut self, key: Key) -> Answer {
        let Some(upstream) = self.upstreams.get_mut(key) else { return Answer::Blocked };
        if upstream.link.flush().is_err() {
            return Answer::Failed("it closed the connection without an answer".into());
        }
        let UpstreamState::AwaitProbe { scan, interim } = &mut upstream.state else {
            return Answer::Blocked;
        };
        let Scratch { area, tls, .. } = &mut self.shared.scratch;
        let limits = &self.shared.limits;
        loop {
            let Ok(found) = scan.advance(&upstream.part) else {
                return Answer::Failed("its answer is none (bad_response_head)".into());
            };
            if found.unwrap_or(upstream.part.len()) > limits.response_head_bytes_max {
                return Answer::Failed("the head of its answer is too long".into());
            }
            if let Some(length) = found {
                let mut storage = field_storage();
                let head = upstream.part.get(..length).unwrap_or_default();
                match parse_response(head, &mut storage, Method::Idempotent) {
                    Err(reason) => {
                        return Answer::Failed(format!("its answer is none ({})", reason.word()));
                    }
                    Ok(head) if !head.is_interim() => return Answer::Status(head.status),
                    Ok(_) => {}
                }
                *interim += 1;
                if *interim > limits.interim_count_max {
                    return Answer::Failed("it sent too many interim responses".into());
                }
                upstream.part.drain(..length);
                *scan = HeadScan::default();
                continue;
            }
            let room = &mut area[HEADROOM_BYTES..];
            match upstream.link.read(room, READ_BYTES_MIN, tls) {
                Received::Octets(n) => upstream.part.extend_from_slice(&room[..n]),
                Received::Blocked => return Answer::Blocked,
                Received::Closed | Received::Broken(_) => {
                    return Answer::Failed("it closed the connection without an answer".into());
                }
            }
        }
    }

    /// The probe has its answer, or will not get one.
    pub(super) fn probe_over(&mut self, key: Key, outcome: Result<u16, String>) {
        let Some(upstream) = self.upstreams.get(key) else { return };
        let id = upstream.backend;
        self.close_upstream(key);
        let expects = |status| match &self.roster.config().probe {
            Some(probe) => probe.expects(status),
            None => true,
        };
        match outcome {
            Ok(status) if expects(status) => {
                self.roster.note_probe(id, Ok(()), self.shared.now.instant);
                self.plan_probe(id);
            }
            Ok(status) => self.probe_failed(id, &format!("it answered {status}")),
            Err(text) => self.probe_failed(id, &text),
        }
    }

    /// A probe has failed, perhaps without having had a connection.
    pub(super) fn probe_failed(&mut self, id: BackendId, text: &str) {
        self.doubt_name(id);
        self.roster.note_probe(id, Err(text), self.shared.now.instant);
        self.plan_probe(id);
    }
}
