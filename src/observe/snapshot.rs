//! Everything that there is to be said at a moment, as plain values.
//!
//! Knows nothing of connections and of how it is shown. The server fills it when somebody asks.
//!
//! Next: [`super::exposition`], [`super::status`] and the status page.

use super::metrics::{BackendMetrics, Metrics};
use crate::config::{Intake, Role, Setting, Verify};

/// A moment of a process.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Now.
    pub unix_ms: u64,
    /// When the process began.
    pub started_unix_ms: u64,
    /// Whether it takes new clients for good.
    pub readiness: Readiness,
    /// What was counted.
    pub metrics: &'a Metrics,
    /// In the order of the configuration.
    pub backends: &'a [BackendState<'a>],
    /// Connections of clients.
    pub clients: ClientCounts,
    /// Requests for which no backend has room.
    pub queued: usize,
    /// Lines of the access log that were lost.
    pub lost_lines: u64,
    /// Where clients are awaited.
    pub listeners: &'a [String],
    /// The options in force.
    pub settings: &'a [Setting],
    /// Whether the last attempt to read the configuration anew succeeded, and when it was; `None`
    /// before the first.
    pub reload: Option<(bool, u64)>,
}

impl<'a> Snapshot<'a> {
    /// Each backend with what was counted of it.
    pub fn counted(&self) -> impl Iterator<Item = (&'a BackendState<'a>, &'a BackendMetrics)> {
        let all = &self.metrics.backends;
        self.backends.iter().filter_map(|backend| Some((backend, all.get(backend.number)?)))
    }

    /// The backend with this number, if it is still one.
    #[must_use]
    pub fn backend(&self, number: usize) -> Option<&'a BackendState<'a>> {
        self.backends.iter().find(|backend| backend.number == number)
    }
}

/// Whether requests should be sent here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// They should.
    Ready,
    /// Not any more: it is about to stop.
    Draining,
    /// No backend is in.
    NoBackend,
}

impl Readiness {
    /// For people and programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::NoBackend => "no_backend",
        }
    }
}

/// Connections of clients, by what they do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ClientCounts {
    /// Between requests.
    pub idle: usize,
    /// With an open request.
    pub active: usize,
    /// Tunnels.
    pub tunnel: usize,
    /// About to be closed.
    pub closing: usize,
}

/// One backend.
#[derive(Clone, Copy, Debug)]
pub struct BackendState<'a> {
    /// Under which it is counted.
    pub number: usize,
    /// Its URL.
    pub label: &'a str,
    /// Whether it is given requests.
    pub is_in: bool,
    /// What its health is, in a word or two.
    pub health: &'a str,
    /// Since when it is in or out; `None` since the start.
    pub since_unix_ms: Option<u64>,
    /// Connections that serve.
    pub busy: usize,
    /// Connections that rest.
    pub idle: usize,
    /// Connects on their way.
    pub connecting: usize,
    /// Requests that wait for a connection to it.
    pub waiting: usize,
    /// When it is given requests.
    pub role: Role,
    /// Whether it is given any.
    pub intake: Intake,
    /// How much of its certificate is checked.
    pub verify: Verify,
}
