//! Whether a backend is given requests, judged by what became of those before and of probes.
//!
//! Two judges, each of which can take a backend out. *Passive*: so many failures in a row, and it is out
//! for a while; then one request is its trial, and brings it back or takes it out for twice as long.
//! *Active*: probes that fail take it out, and only probes that pass bring it back from there. But where
//! requests fail, good probes do not count for more.
//!
//! Knows nothing of connections and requests, and takes the time as an argument. Invariant: at most one
//! trial is under way. An outage has a number: what began before it says nothing about its end.
//!
//! Next: `server::roster` asks it for each request, and tells it what came of that.

use std::time::{Duration, Instant};

use crate::config::health::{PassiveHealth, ProbeConfig};

/// What is known of the health of one backend.
#[derive(Clone, Debug)]
pub struct Health {
    passive: Passive,
    active: Active,
    /// Counts the times that the passive judge took it out.
    outage: Outage,
    /// Since when it is out, whoever took it out.
    out_since: Option<Instant>,
    /// Since when it is in again, whoever took it out.
    back_since: Option<Instant>,
    /// How long the last outage was at most, and when it ended.
    last: Option<(Duration, Instant)>,
}

/// The number of an outage, or of the time of health before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Outage(u32);

/// What requests have shown.
#[derive(Clone, Copy, Debug)]
enum Passive {
    /// Nothing, or so many failures in a row since then, fewer than are needed.
    In { failures: u32, since: Option<Instant> },
    /// Too many failures: no request goes there until then, for so long.
    Out { until: Instant, spell: Duration },
    /// The time is over: the next request is its trial.
    AwaitTrial { spell: Duration },
    /// One request is on its way to see, and has until then: it must not be up to one client when a
    /// backend comes back.
    OnTrial { until: Instant, spell: Duration },
}

/// What probes have shown.
#[derive(Clone, Copy, Debug)]
enum Active {
    /// It is well, or was never asked; so many probes in a row have failed since.
    Up { failed: u32 },
    /// It is not; so many probes in a row have passed since.
    Down { passed: u32 },
}

/// Something that the operator should know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is given no more requests, after so many failures in a row.
    Out {
        /// How many.
        failures: u32,
    },
    /// It is given requests again.
    Back {
        /// How long it was out.
        after: Duration,
    },
}

impl Default for Health {
    fn default() -> Self {
        Self {
            passive: Passive::In { failures: 0, since: None },
            active: Active::Up { failed: 0 },
            outage: Outage::default(),
            out_since: None,
            back_since: None,
            last: None,
        }
    }
}

impl Health {
    /// Whether it is given requests as a matter of course.
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.out_since.is_none()
    }

    /// What it is, in a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.active, self.passive) {
            (Active::Down { .. }, _) => "down",
            (Active::Up { .. }, Passive::In { .. }) => "up",
            (Active::Up { .. }, Passive::Out { .. }) => "out",
            (Active::Up { .. }, Passive::AwaitTrial { .. } | Passive::OnTrial { .. }) => "on trial",
        }
    }

    /// Since when it is in or out; `None` for one that was always in.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        self.out_since.or(self.back_since)
    }

    /// To be kept with a request that goes to it, and given back with what came of it.
    #[must_use]
    pub fn outage(&self) -> Outage {
        self.outage
    }

    /// When its time out is over, or that of its trial.
    #[must_use]
    pub fn trial_due(&self) -> Option<Instant> {
        match self.passive {
            Passive::Out { until, .. } | Passive::OnTrial { until, .. } => Some(until),
            Passive::In { .. } | Passive::AwaitTrial { .. } => None,
        }
    }

    /// Says whether its time out, or that of its trial, is just over: the next request is its trial then.
    #[must_use]
    pub fn comes_due(&mut self, now: Instant) -> bool {
        match self.passive {
            Passive::Out { until, spell } | Passive::OnTrial { until, spell } if until <= now => {
                self.passive = Passive::AwaitTrial { spell };
                true
            }
            Passive::In { .. }
            | Passive::Out { .. }
            | Passive::AwaitTrial { .. }
            | Passive::OnTrial { .. } => false,
        }
    }

    /// Whether the next request may be its trial. Not while only probes can bring it back.
    #[must_use]
    pub fn awaits_trial(&self) -> bool {
        matches!((self.passive, self.active), (Passive::AwaitTrial { .. }, Active::Up { .. }))
    }

    /// The present request is its trial.
    pub fn begin_trial(&mut self, now: Instant, config: &PassiveHealth) {
        if let Passive::AwaitTrial { spell } = self.passive {
            self.passive = Passive::OnTrial { until: now + config.trial_timeout, spell };
        }
    }

    /// Says whether a trial was under way, which has come to nothing through no fault of the backend's:
    /// the next request is one.
    #[must_use]
    pub fn trial_lapsed(&mut self, sent: Outage) -> bool {
        match self.passive {
            Passive::OnTrial { spell, .. } if sent == self.outage => {
                self.passive = Passive::AwaitTrial { spell };
                true
            }
            Passive::In { .. }
            | Passive::Out { .. }
            | Passive::AwaitTrial { .. }
            | Passive::OnTrial { .. } => false,
        }
    }

    /// A request that was sent during this outage, or before it, was answered.
    pub fn on_success(&mut self, sent: Outage, now: Instant) -> Option<Change> {
        match &mut self.passive {
            Passive::In { failures, .. } => {
                if sent == self.outage {
                    *failures = 0;
                }
                None
            }
            Passive::Out { spell, .. }
            | Passive::AwaitTrial { spell }
            | Passive::OnTrial { spell, .. }
                if sent == self.outage =>
            {
                self.last = Some((*spell, now));
                self.passive = Passive::In { failures: 0, since: None };
                self.back(now)
            }
            Passive::Out { .. } | Passive::AwaitTrial { .. } | Passive::OnTrial { .. } => None,
        }
    }

    /// A request that was sent during this outage, or before it, could not be delivered or was not
    /// answered. `stretch` lengthens the outage by so many hundredths, differently for each backend
    /// and time, so that those that went together do not come back together.
    pub fn on_failure(
        &mut self,
        sent: Outage,
        now: Instant,
        stretch: u32,
        config: &PassiveHealth,
    ) -> Option<Change> {
        let first = config.out_first;
        match self.passive {
            Passive::In { .. } if sent != self.outage => None,
            Passive::In { failures, since } => {
                let is_old = since.is_none_or(|since| now > since + config.failures_window);
                let (failures, since) =
                    if failures == 0 || is_old { (1, Some(now)) } else { (failures + 1, since) };
                self.passive = Passive::In { failures, since };
                if failures < config.failures_count_max {
                    return None;
                }
                // It was only just back: that was no recovery.
                let spell = match self.last {
                    Some((spell, back)) if now <= back + config.failures_window => spell * 2,
                    Some(_) | None => first,
                };
                self.take_out(spell.min(config.out_max), now, stretch);
                self.out(failures, now)
            }
            Passive::AwaitTrial { spell } | Passive::OnTrial { spell, .. }
                if sent == self.outage =>
            {
                self.take_out((spell * 2).min(config.out_max), now, stretch);
                None
            }
            Passive::OnTrial { .. } | Passive::AwaitTrial { .. } | Passive::Out { .. } => None,
        }
    }

    /// A probe has passed or failed.
    pub fn on_probe(&mut self, passed: bool, now: Instant, config: &ProbeConfig) -> Option<Change> {
        match (&mut self.active, passed) {
            (Active::Up { failed }, false) => {
                *failed += 1;
                let failures = *failed;
                if failures < config.fall_count {
                    return None;
                }
                self.active = Active::Down { passed: 0 };
                self.out(failures, now)
            }
            (Active::Down { passed }, true) => {
                *passed += 1;
                if *passed < config.rise_count {
                    return None;
                }
                self.active = Active::Up { failed: 0 };
                self.passive = Passive::In { failures: 0, since: None };
                self.back(now)
            }
            (Active::Up { failed }, true) => {
                *failed = 0;
                None
            }
            (Active::Down { passed }, false) => {
                *passed = 0;
                None
            }
        }
    }

    /// There are no probes any more: what they said does not count.
    pub fn forget_probes(&mut self) {
        if let Active::Down { .. } = self.active {
            self.active = Active::Up { failed: 0 };
            self.passive = Passive::In { failures: 0, since: None };
            self.out_since = None;
        }
    }

    fn take_out(&mut self, spell: Duration, now: Instant, stretch: u32) {
        let until = now + spell + spell * stretch / 100;
        self.passive = Passive::Out { until, spell };
        self.outage = Outage(self.outage.0.wrapping_add(1));
    }

    fn out(&mut self, failures: u32, now: Instant) -> Option<Change> {
        if self.out_since.is_some() {
            return None;
        }
        self.out_since = Some(now);
        Some(Change::Out { failures })
    }

    /// It is back, unless the probes say otherwise.
    fn back(&mut self, now: Instant) -> Option<Change> {
        match self.active {
            Active::Down { .. } => None,
            Active::Up { .. } => {
                let since = self.out_since.take()?;
                self.back_since = Some(now);
                Some(Change::Back { after: now.saturating_duration_since(since) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Bench {
        health: Health,
        now: Instant,
        passive: PassiveHealth,
        probe: ProbeConfig,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                health: Health::default(),
                now: crate::clock::now().instant,
                passive: PassiveHealth::default(),
                probe: ProbeConfig::new("/".into()),
            }
        }

        fn fails(&mut self) -> Option<Change> {
            self.health.on_failure(self.health.outage(), self.now, 0, &self.passive)
        }

        fn answers(&mut self) -> Option<Change> {
            self.health.on_success(self.health.outage(), self.now)
        }

        fn probe(&mut self, passed: bool) -> Option<Change> {
            self.health.on_probe(passed, self.now, &self.probe)
        }

        fn out() -> Self {
            let mut bench = Self::new();
            assert_eq!((bench.fails(), bench.fails()), (None, None));
            assert_eq!(bench.fails(), Some(Change::Out { failures: 3 }));
            bench
        }

        /// Waits for the trial; gives how long that was.
        fn begin_trial(&mut self) -> Duration {
            let due = self.health.trial_due().expect("a trial");
            let wait = due - self.now;
            assert!(!self.health.comes_due(due - SECOND / 100));
            self.now = due;
            assert!(self.health.comes_due(due) && self.health.awaits_trial());
            self.health.begin_trial(due, &self.passive);
            assert!(!self.health.awaits_trial(), "there is only one");
            wait
        }
    }

    #[test]
    fn three_failures_in_a_row_take_it_out() {
        let bench = Bench::out();
        assert!(!bench.health.is_in());
    }

    #[test]
    fn an_answer_breaks_the_row() {
        let mut bench = Bench::new();
        for _ in 0..10 {
            assert_eq!((bench.fails(), bench.fails(), bench.answers()), (None, None, None));
        }
        assert!(bench.health.is_in());
    }

    #[test]
    fn a_row_is_not_drawn_over_the_window() {
        let mut bench = Bench::new();
        for _ in 0..10 {
            assert_eq!(bench.fails(), None);
            bench.now += 6 * SECOND;
        }
        assert!(bench.health.is_in());
    }

    #[test]
    fn each_trial_that_fails_doubles_the_time_up_to_half_a_minute() {
        let mut bench = Bench::out();
        let mut waits = Vec::new();
        for _ in 0..7 {
            waits.push(bench.begin_trial().as_secs());
            assert_eq!(bench.fails(), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        bench.begin_trial();
        let after = bench.answers();
        assert_eq!(after, Some(Change::Back { after: 121 * SECOND }));
        assert!(bench.health.is_in());
    }

    #[test]
    fn what_began_before_an_outage_says_nothing_about_its_end() {
        let mut bench = Bench::new();
        let before = bench.health.outage();
        for _ in 0..20 {
            bench.health.on_failure(before, bench.now, 0, &bench.passive);
        }
        assert_eq!(bench.health.on_success(before, bench.now), None);
        assert!(!bench.health.is_in());
        assert_eq!(bench.begin_trial(), SECOND, "the others of the same batch lengthen nothing");
        let trial = bench.health.outage();
        bench.health.on_failure(before, bench.now, 0, &bench.passive);
        let back = bench.health.on_success(trial, bench.now);
        assert!(back.is_some(), "the trial was still under way");
    }

    #[test]
    fn whoever_is_out_and_answers_all_the_same_is_back() {
        let mut bench = Bench::out();
        assert!(bench.answers().is_some(), "all were out, and it was tried");
    }

    #[test]
    fn one_that_fails_again_at_once_was_not_well() {
        let mut bench = Bench::out();
        bench.begin_trial();
        assert!(bench.answers().is_some());
        for _ in 0..3 {
            bench.fails();
        }
        assert_eq!(bench.begin_trial(), 2 * SECOND);
        assert!(bench.answers().is_some());
        bench.now += 11 * SECOND;
        for _ in 0..3 {
            bench.fails();
        }
        assert_eq!(bench.begin_trial(), SECOND, "it had been well for a while");
    }

    #[test]
    fn a_trial_that_comes_to_nothing_is_repeated_at_once() {
        let mut bench = Bench::out();
        bench.begin_trial();
        assert!(!bench.health.trial_lapsed(Outage::default()), "that was another one");
        let sent = bench.health.outage();
        assert!(bench.health.trial_lapsed(sent) && bench.health.awaits_trial());
        bench.health.begin_trial(bench.now, &bench.passive);
        assert_eq!(bench.fails(), None);
        assert!(!bench.health.trial_lapsed(sent), "it has failed");
        assert_eq!(bench.begin_trial(), 2 * SECOND);
    }

    /// Otherwise a client that takes its time with the one request would keep the backend out.
    #[test]
    fn a_trial_has_its_time() {
        let mut bench = Bench::out();
        bench.begin_trial();
        bench.now += 9 * SECOND;
        assert!(!bench.health.comes_due(bench.now));
        bench.now += SECOND;
        assert!(bench.health.comes_due(bench.now) && bench.health.awaits_trial());
        assert!(bench.answers().is_some(), "a late answer counts all the same");
    }

    #[test]
    fn what_began_before_an_outage_does_not_begin_another() {
        let mut bench = Bench::new();
        let before = bench.health.outage();
        for _ in 0..3 {
            bench.fails();
        }
        bench.begin_trial();
        assert!(bench.answers().is_some());
        for _ in 0..20 {
            let change = bench.health.on_failure(before, bench.now, 0, &bench.passive);
            assert_eq!(change, None);
        }
        assert!(bench.health.is_in());
    }

    #[test]
    fn an_outage_is_stretched_by_hundredths() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            bench.health.on_failure(bench.health.outage(), bench.now, 20, &bench.passive);
        }
        assert_eq!(bench.begin_trial(), Duration::from_millis(1200));
    }

    #[test]
    fn probes_take_it_out_and_bring_it_back() {
        let mut bench = Bench::new();
        assert_eq!((bench.probe(false), bench.probe(true), bench.probe(false)), (None, None, None));
        assert_eq!(bench.probe(false), Some(Change::Out { failures: 2 }));
        bench.now += 5 * SECOND;
        assert_eq!(bench.answers(), None, "only probes bring it back");
        assert_eq!((bench.probe(true), bench.probe(false), bench.probe(true)), (None, None, None));
        assert_eq!(bench.probe(true), Some(Change::Back { after: 5 * SECOND }));
        assert!(bench.health.is_in());
    }

    #[test]
    fn probes_overrule_requests() {
        let mut bench = Bench::out();
        assert_eq!((bench.probe(false), bench.probe(false)), (None, None), "it is out already");
        assert!(bench.health.comes_due(bench.now + 2 * SECOND));
        assert!(!bench.health.awaits_trial(), "no request has to try it now");
        bench.probe(true);
        assert!(matches!(bench.probe(true), Some(Change::Back { .. })));
    }

    #[test]
    fn a_trial_may_precede_the_probes() {
        let mut bench = Bench::out();
        assert_eq!((bench.probe(true), bench.probe(true)), (None, None), "it never fell");
        bench.begin_trial();
        assert!(bench.answers().is_some());
    }
}
