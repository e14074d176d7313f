//! The last minutes, in steps: how many requests, how many of them failed, and how long they took.
//!
//! Knows no clock: steps end when something is noted, or somebody looks, after their time. Invariant: so
//! many steps at most are kept, however long ago anything happened.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::histogram::Spread;

/// How long a step is.
pub const STEP: Duration = Duration::from_secs(5);

/// How many steps are kept: five minutes.
pub const STEPS_COUNT_MAX: usize = 60;

/// What happened in a step.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Step {
    /// Exchanges that ended, well or not.
    pub requests: u32,
    /// Those of them that were answered with 500 and above, or broke off.
    pub failures: u32,
    /// What half of them did not exceed.
    pub p50: Option<Duration>,
    /// What nine of ten did not exceed.
    pub p90: Option<Duration>,
    /// What 99 of 100 did not exceed.
    pub p99: Option<Duration>,
}

/// The last steps.
#[derive(Clone, Debug)]
pub struct History {
    steps: VecDeque<Step>,
    spread: Spread,
    failures: u32,
    /// When the present step ends.
    until: Instant,
}

impl History {
    /// Begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { steps: VecDeque::new(), spread: Spread::default(), failures: 0, until: now + STEP }
    }

    /// An exchange has ended.
    pub fn note(&mut self, duration: Duration, has_failed: bool, now: Instant) {
        self.advance(now);
        self.spread.note(duration);
        self.failures = self.failures.saturating_add(u32::from(has_failed));
    }

    /// Ends the steps whose time is over.
    pub fn advance(&mut self, now: Instant) {
        let mut ended = 0;
        while self.until <= now {
            self.until += STEP;
            ended += 1;
            if ended > STEPS_COUNT_MAX {
                // All that is kept has passed in silence: where it began does not matter.
                self.until = now + STEP;
            }
            self.end_step();
        }
    }

    fn end_step(&mut self) {
        if self.steps.len() == STEPS_COUNT_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(Step {
            requests: self.spread.count(),
            failures: self.failures,
            p50: self.spread.permille(500),
            p90: self.spread.permille(900),
            p99: self.spread.permille(990),
        });
        self.spread.clear();
        self.failures = 0;
    }

    /// The steps that have ended, oldest first.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_with_their_time() {
        let start = crate::clock::now().instant;
        let mut history = History::new(start);
        history.note(Duration::from_millis(1), false, start);
        history.note(Duration::from_millis(9), true, start + STEP / 2);
        assert_eq!(history.steps().count(), 0, "it is not over");
        history.note(Duration::from_millis(5), false, start + STEP);
        history.advance(start + 3 * STEP);
        let steps: Vec<_> = history.steps().map(|step| (step.requests, step.failures)).collect();
        assert_eq!(steps, [(2, 1), (1, 0), (0, 0)]);
        let first = history.steps().next().expect("a step");
        assert!(first.p50 >= Some(Duration::from_millis(1)) && first.p50 < first.p99);
    }

    #[test]
    fn a_long_silence_is_no_work() {
        let start = crate::clock::now().instant;
        let mut history = History::new(start);
        history.note(Duration::from_millis(1), false, start);
        history.advance(start + Duration::from_secs(1_000_000));
        assert_eq!(history.steps().count(), STEPS_COUNT_MAX);
        assert!(history.steps().all(|step| *step == Step::default()));
        assert!(history.until > start + Duration::from_secs(1_000_000));
    }
}
