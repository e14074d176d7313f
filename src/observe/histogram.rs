//! How often something took how long.
//!
//! Two kinds: [`Histogram`] has the fixed bounds that a metric promises, [`Spread`] is fine enough to
//! tell percentiles from. Both cost an addition or two for each value and never grow.

use std::time::Duration;

/// Counts of values below fixed bounds, as Prometheus wants them.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds_us: &'static [u64],
    /// One for each bound, for values up to it and above the one before; and one for those beyond all.
    counts: Vec<u64>,
    sum: Duration,
}

impl Histogram {
    /// Without values; the bounds are microseconds, in rising order.
    #[must_use]
    pub fn new(bounds_us: &'static [u64]) -> Self {
        Self { bounds_us, counts: vec![0; bounds_us.len() + 1], sum: Duration::ZERO }
    }

    /// Counts a value.
    pub fn note(&mut self, value: Duration) {
        let us = micros(value);
        let place = self.bounds_us.iter().position(|bound| us <= *bound);
        if let Some(count) = self.counts.get_mut(place.unwrap_or(self.bounds_us.len())) {
            *count += 1;
        }
        self.sum += value;
    }

    /// Each bound in microseconds with the count of all values up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut total = 0;
        self.bounds_us.iter().zip(&self.counts).map(move |(bound, count)| {
            total += count;
            (*bound, total)
        })
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// In how many parts each doubling is divided: percentiles are good to an eighth.
const PARTS: u64 = 8;

/// Doublings from 16 microseconds on: the last ends above two hours.
const DOUBLINGS: usize = 29;

/// Everything below counts as this long.
const FLOOR_US: u64 = 16;

/// Counts of values by size, for percentiles.
#[derive(Clone, Debug)]
pub struct Spread {
    counts: Box<[u32]>,
    count: u32,
}

impl Default for Spread {
    fn default() -> Self {
        let places = DOUBLINGS * usize::try_from(PARTS).unwrap_or(1);
        Self { counts: vec![0; places].into_boxed_slice(), count: 0 }
    }
}

impl Spread {
    /// Counts a value.
    pub fn note(&mut self, value: Duration) {
        let place = place_of(micros(value)).min(self.counts.len() - 1);
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
            self.count = self.count.saturating_add(1);
        }
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// What so many of a thousand values do not exceed, to an eighth; `None` without values.
    #[must_use]
    pub fn permille(&self, share: u32) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let wanted = (u64::from(self.count) * u64::from(share)).div_ceil(1000).max(1);
        let mut passed = 0;
        for (place, count) in self.counts.iter().enumerate() {
            passed += u64::from(*count);
            if passed >= wanted {
                return Some(Duration::from_micros(upper_us(place)));
            }
        }
        None
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.count = 0;
    }
}

fn micros(value: Duration) -> u64 {
    u64::try_from(value.as_micros()).unwrap_or(u64::MAX)
}

fn place_of(us: u64) -> usize {
    let us = us.max(FLOOR_US);
    let doubling = (us / FLOOR_US).ilog2();
    // Where in its doubling, in eighths.
    let part = (us >> doubling) * PARTS / FLOOR_US - PARTS;
    usize::try_from(u64::from(doubling) * PARTS + part).unwrap_or(usize::MAX)
}

/// The largest value of a place.
fn upper_us(place: usize) -> u64 {
    let place = place as u64;
    let (doubling, part) = (place / PARTS, place % PARTS);
    (((PARTS + part + 1) * FLOOR_US / PARTS) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_up_to_their_bound() {
        let mut histogram = Histogram::new(&[100, 1000]);
        for us in [0, 100, 101, 1000, 1001] {
            histogram.note(Duration::from_micros(us));
        }
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(100, 2), (1000, 4)]);
        assert_eq!((histogram.count(), histogram.sum()), (5, Duration::from_micros(2202)));
    }

    #[test]
    fn percentiles_are_good_to_an_eighth() {
        let mut spread = Spread::default();
        assert_eq!(spread.permille(500), None);
        for us in 1..=10_000 {
            spread.note(Duration::from_micros(us));
        }
        for (share, want) in [(500, 5_000), (900, 9_000), (990, 9_900), (999, 9_990)] {
            let got = micros(spread.permille(share).expect("values"));
            assert!(got >= want && got <= want + want / 8, "{share}: {got}");
        }
        spread.clear();
        assert_eq!((spread.count(), spread.permille(500)), (0, None));
    }

    #[test]
    fn every_value_is_within_its_place() {
        for us in (0..70_000).chain([u64::MAX / 2, 1 << 33, (1 << 33) - 1]) {
            let place = place_of(us);
            if place < DOUBLINGS * 8 {
                assert!(us.max(FLOOR_US) <= upper_us(place), "{us}");
                assert!(place == 0 || us > upper_us(place - 1), "{us}");
            }
        }
        let mut spread = Spread::default();
        spread.note(Duration::MAX);
        assert!(spread.permille(1000) >= Some(Duration::from_secs(7200)));
    }
}
