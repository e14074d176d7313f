//! Ids for requests that bring none.
//!
//! Neither secret nor meant to be: they only have to be different from one another, also between
//! processes. So there is one random number at the start, told from outside, and a count.

/// A source of ids.
#[derive(Clone, Debug)]
pub struct RequestIds {
    seed: u64,
    count: u64,
}

impl RequestIds {
    /// Different seeds give different ids.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// The next id: the scrambled seed in front, the scrambled count behind, so that ids of one
    /// process cannot meet before the count comes round, and look unlike one another.
    pub fn next_id(&mut self) -> u128 {
        self.count = self.count.wrapping_add(1);
        let front = scramble(self.seed ^ scramble(self.count));
        let back = scramble(self.seed.wrapping_add(self.count));
        u128::from(front) << 64 | u128::from(back)
    }

    /// A number from 0 to `max` that differs from one time and one process to the next.
    pub fn percent(&mut self, max: u32) -> u32 {
        let number = self.next_id() % (u128::from(max) + 1);
        u32::try_from(number).unwrap_or(max)
    }
}

/// The mixing step of the generator splitmix64: a bijection on 64 bits.
fn scramble(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_within_a_process_and_between_two() {
        let mut seen = HashSet::new();
        for seed in 0..4 {
            let mut ids = RequestIds::new(seed);
            for _ in 0..10_000 {
                assert!(seen.insert(ids.next_id()));
            }
        }
    }
}
