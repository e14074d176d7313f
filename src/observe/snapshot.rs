//! Everything that there is to be said at a moment, as plain values.
//!
//! Knows nothing of connections and of how it is shown. The server fills it when somebody asks.
//!
//! Next: [`super::exposition`] and the status page.

use super::metrics::Metrics;

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
    /// The configuration in force: names and values.
    pub settings: &'a [(String, String)],
    /// Whether the last attempt to read the configuration anew succeeded, and when it was; `None`
    /// before the first.
    pub reload: Option<(bool, u64)>,
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
}
