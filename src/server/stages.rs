//! From serving to the end: told to stop, letting nobody in any more, and over.
//!
//! ```text
//! Serving ── stop ──► Leaving ── delay over ──► Draining ── all gone, or time over ──► Over
//!    │                   └── told again ──────────────┴───────────────────────────────►
//!    └── a successor serves ─────────────────────► Draining
//! ```
//!
//! A chapter of [`EventLoop`]; what becomes of connections is in `drain.rs`. Knows no signals.

use std::time::Instant;

use super::event_loop::EventLoop;
use crate::clock::Now;
use crate::config::duration::show_duration;
use crate::config::limits::BACKLOG_MAX;
use crate::net::notify::{Notice, notify};

/// What the loop is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Serving,
    /// Told to stop, and to let clients in until then.
    Leaving {
        until: Instant,
    },
    /// Nobody is let in any more: cut at this instant.
    Draining {
        until: Instant,
    },
    Over,
}

impl EventLoop {
    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stage != Stage::Serving
    }

    /// A successor serves at the same sockets, or at those of them that it wants.
    pub fn let_go(&mut self, now: Now) {
        self.doors.iter_mut().for_each(|door| door.listener.leave_file());
        self.desk.iter_mut().for_each(|desk| desk.listener_mut().leave_file());
        self.desk = None;
        self.begin_drain(now);
    }

    /// Told to stop. The first time: finish; the second time: cut.
    pub(super) fn stop(&mut self, now: Now) {
        match self.stage {
            Stage::Serving => {
                notify(Notice::Stopping);
                let delay = self.timeouts.drain_delay;
                if delay.is_zero() {
                    return self.begin_drain(now);
                }
                let shown = show_duration(delay);
                log::info!("stopping: clients are let in for another {shown}");
                self.stage = Stage::Leaving { until: now.instant + delay };
            }
            Stage::Leaving { .. } | Stage::Draining { .. } => self.cut(),
            Stage::Over => {}
        }
    }

    /// Nobody is let in any more: ends when everybody who is in has been served.
    pub(super) fn begin_drain(&mut self, now: Now) {
        // Who has connected before this moment may count on being served.
        self.let_in(BACKLOG_MAX.unsigned_abs() as usize, now);
        self.doors.clear();
        let (clients, _) = self.worker.connections();
        log::info!("stopping: {clients} connections are open, no more are accepted");
        self.worker.begin_drain();
        self.worker.run(now);
        self.worker.expire(now);
        self.stage = Stage::Draining { until: now.instant + self.timeouts.drain };
    }

    pub(super) fn check_drain(&mut self, now: Now) {
        if let Stage::Leaving { until } = self.stage
            && now.instant >= until
        {
            self.begin_drain(now);
        }
        if let Stage::Draining { until } = self.stage
            && (self.worker.is_drained() || now.instant >= until)
        {
            self.cut();
        }
    }

    pub(super) fn cut(&mut self) {
        let cut = self.worker.cut();
        log::info!("stopped: {} exchanges finished, {cut} cut", self.worker.finished());
        self.stage = Stage::Over;
    }
}
