//! The one place that reads the clocks of the machine.
//!
//! Everything else takes a [`Now`] as an argument, so that a test or a simulated world can set the
//! time. The loop reads once per turn: a value may be some hundred microseconds old, which is far
//! below every timeout, and a clock reading per request is saved.
#![expect(clippy::disallowed_methods, reason = "this is the one file that reads the clocks")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and durations; never goes back.
    pub instant: Instant,
    /// For people: milliseconds since 1970-01-01 UTC. May jump when the machine's clock is set.
    pub unix_ms: u64,
}

/// Reads the clocks.
#[must_use]
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Now { instant: Instant::now(), unix_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}

impl Now {
    /// This reading moved on by `by`, on both clocks: how tests let time pass without waiting.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self { instant: self.instant + by, unix_ms: self.unix_ms.saturating_add(ms) }
    }
}

/// A clock between two turns of the loop, for who wants to know how long a turn itself takes. It costs a
/// reading each time, so it runs only where somebody looks at the result.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Stopwatch {
    /// It says nothing.
    #[default]
    Stopped,
    /// It tells the time.
    Running,
}

impl Stopwatch {
    /// How long after `start` it is.
    #[must_use]
    pub fn since(self, start: Instant) -> Option<Duration> {
        match self {
            Self::Stopped => None,
            Self::Running => Some(now().instant.saturating_duration_since(start)),
        }
    }
}

/// When something is over, and since when the timers know.
///
/// Most deadlines only ever move later. So the timers keep an entry for the earliest that they were
/// told, and look at `at` when that entry is due: moving a deadline later costs one store.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When it is over.
    pub at: Instant,
    /// The earliest entry that the timers have for it.
    pub queued: Option<Instant>,
}

impl Deadline {
    /// Over at this instant; the timers do not know yet.
    #[must_use]
    pub fn new(at: Instant) -> Self {
        Self { at, queued: None }
    }
}
