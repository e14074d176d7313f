//! What operators are told: each page of the desk, made from what there is at the moment.
//!
//! A chapter of [`EventLoop`]. Knows nothing of the desk's connections, and not how pages look.
//!
//! Next: `server::admin` sends them; [`crate::observe`] makes them.

use std::io;

use super::admin::{Answer, Desk, Page, plain};
use super::event_loop::EventLoop;
use super::stages::Stage;
use crate::clock::Now;
use crate::config::{Address, Setting};
use crate::net::listener::Listener;
use crate::observe::snapshot::{Readiness, Snapshot};
use crate::observe::{exposition, page, status};

/// What the desk says when there is nothing good to say.
const UNAVAILABLE: &str = "503 Service Unavailable";

impl EventLoop {
    /// Opens the desk for operators, at an address that was asked for in these words.
    ///
    /// # Errors
    /// When the kernel has no room for it in the poll.
    pub fn open_desk(&mut self, asked: Address, listener: Listener) -> io::Result<()> {
        self.desk = Some(Desk::new(asked, listener, self.poll.registry().try_clone()?)?);
        Ok(())
    }

    /// What operators are told of the options in force.
    pub fn show_settings(&mut self, settings: Vec<Setting>) {
        self.shown_settings = settings;
    }

    /// The address at which operators are awaited.
    #[must_use]
    pub fn desk_address(&self) -> Option<Address> {
        self.desk.as_ref().and_then(|desk| desk.listener().address().ok())
    }

    /// Closes the desk for operators.
    pub fn close_desk(&mut self) {
        self.desk = None;
    }

    /// The configuration was read anew at this time, and is in force or not.
    pub fn note_reload(&mut self, has_succeeded: bool, unix_ms: u64) {
        self.reload = Some((has_succeeded, unix_ms));
    }

    /// Tells one operator at most how things are.
    pub(super) fn attend_desk(&mut self, now: Now) {
        let Some((key, page)) = self.desk.as_mut().and_then(|desk| desk.turn(now)) else {
            return;
        };
        let answer = self.page(page, now);
        if let Some(desk) = &mut self.desk {
            desk.answer(key, &answer, now);
        }
    }

    fn page(&mut self, page: Page, now: Now) -> Answer {
        match page {
            Page::Health => plain("200 OK", "ok\n"),
            Page::Ready => match self.readiness() {
                Readiness::Ready => plain("200 OK", "ready\n"),
                Readiness::Draining => plain(UNAVAILABLE, "stopping\n"),
                Readiness::NoBackend => plain(UNAVAILABLE, "no backend is in\n"),
            },
            Page::Metrics => self.shown(now, exposition::CONTENT_TYPE, |snapshot| {
                exposition::exposition(snapshot).into_bytes()
            }),
            Page::Status => self.shown(now, status::CONTENT_TYPE, status::status),
            Page::Front => {
                self.shown(now, page::CONTENT_TYPE, |snapshot| page::page(snapshot).into_bytes())
            }
        }
    }

    /// Shows how things are.
    fn shown(
        &mut self,
        now: Now,
        content_type: &'static str,
        show: impl FnOnce(&Snapshot<'_>) -> Vec<u8>,
    ) -> Answer {
        let readiness = self.readiness();
        self.worker.advance_history(now.instant);
        let Some(metrics) = self.worker.metrics() else {
            return plain(UNAVAILABLE, "nothing is counted\n");
        };
        let backends: Vec<_> = self.worker.backend_states().collect();
        let listeners: Vec<_> = self.addresses().iter().map(ToString::to_string).collect();
        let body = show(&Snapshot {
            unix_ms: now.unix_ms,
            started_unix_ms: self.started_unix_ms,
            readiness,
            metrics,
            backends: &backends,
            clients: self.worker.client_counts(),
            queued: self.worker.queued_count(),
            lost_lines: self.lost_lines_total,
            listeners: &listeners,
            settings: &self.shown_settings,
            reload: self.reload,
        });
        Answer { status: "200 OK", content_type, body }
    }

    /// Whether requests should be sent here.
    fn readiness(&self) -> Readiness {
        match self.stage {
            Stage::Leaving { .. } | Stage::Draining { .. } | Stage::Over => Readiness::Draining,
            Stage::Serving if self.worker.backend_states().any(|backend| backend.is_in) => {
                Readiness::Ready
            }
            Stage::Serving => Readiness::NoBackend,
        }
    }
}
