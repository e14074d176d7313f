//! How many requests may be sent a second time.
//!
//! A backend that breaks down under its load gets even more of it when every request that it loses comes
//! again. So second sendings are rationed: they may be a share of the requests of the last seconds, and
//! a handful in any case, for those who have few requests.
//!
//! Knows nothing of requests, and takes the time as an argument.

use std::time::{Duration, Instant};

/// The share of the requests of the last [`WINDOW_SECONDS`] that may be sent again, in hundredths.
pub const RESENDS_PERCENT_MAX: u64 = 20;

/// So many may be sent again in the same time in any case.
pub const RESENDS_COUNT_FREE: u64 = 3;

/// How far back is counted, in seconds.
pub const WINDOW_SECONDS: usize = 10;

const SECOND: Duration = Duration::from_secs(1);

/// Counts by the second.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    /// The present second and those before it, as a ring.
    seconds: [Counts; WINDOW_SECONDS],
    present: usize,
    present_ends: Instant,
}

#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    requests: u64,
    resends: u64,
}

impl RetryBudget {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let seconds = [Counts::default(); WINDOW_SECONDS];
        Self { seconds, present: 0, present_ends: now + SECOND }
    }

    /// A request is sent for the first time.
    pub fn note_request(&mut self, now: Instant) {
        self.advance(now);
        self.seconds[self.present].requests += 1;
    }

    /// Whether one may be sent again; counts it if so.
    #[must_use]
    pub fn allow(&mut self, now: Instant) -> bool {
        self.advance(now);
        let requests: u64 = self.seconds.iter().map(|counts| counts.requests).sum();
        let resends: u64 = self.seconds.iter().map(|counts| counts.resends).sum();
        let is_allowed = resends < RESENDS_COUNT_FREE.max(requests * RESENDS_PERCENT_MAX / 100);
        self.seconds[self.present].resends += u64::from(is_allowed);
        is_allowed
    }

    fn advance(&mut self, now: Instant) {
        if now < self.present_ends {
            return;
        }
        let passed = now.saturating_duration_since(self.present_ends).as_secs();
        if passed >= WINDOW_SECONDS as u64 {
            *self = Self::new(now);
            return;
        }
        for _ in 0..=passed {
            self.present = (self.present + 1) % WINDOW_SECONDS;
            self.seconds[self.present] = Counts::default();
            self.present_ends += SECOND;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(budget: &mut RetryBudget, now: Instant) -> u32 {
        (0..10_000).map_while(|_| budget.allow(now).then_some(1)).sum()
    }

    #[test]
    fn a_handful_is_free() {
        let start = crate::clock::now().instant;
        let mut budget = RetryBudget::new(start);
        assert_eq!(allowed(&mut budget, start), 3);
        budget.note_request(start);
        assert_eq!(allowed(&mut budget, start + 9 * SECOND), 0, "not yet");
        assert_eq!(allowed(&mut budget, start + 10 * SECOND), 3);
    }

    #[test]
    fn a_fifth_of_the_last_ten_seconds() {
        let start = crate::clock::now().instant;
        let mut budget = RetryBudget::new(start);
        for second in 0..10 {
            for _ in 0..100 {
                budget.note_request(start + second * SECOND);
            }
        }
        assert_eq!(allowed(&mut budget, start + 9 * SECOND), 200);
        // The first second falls out of the window, with its requests and without resends.
        assert_eq!(allowed(&mut budget, start + 10 * SECOND), 0);
        assert_eq!(allowed(&mut budget, start + 19 * SECOND), 3, "everything has fallen out");
    }
}
