//! Smooth weighted round robin.
//!
//! Each turn every eligible backend earns its weight; the richest is chosen and pays the sum of all.
//! With equal weights that is strict rotation in the order of the configuration; with weights 5, 1, 1
//! it is `a a b a c a a`, never a burst of five. Only those that are eligible earn and pay, so the
//! turns stay exact over whoever is in.

use super::BackendId;

/// Whose turn it is.
#[derive(Clone, Debug)]
pub struct Balancer {
    turns: Vec<Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    weight: i64,
    credit: i64,
}

impl Balancer {
    /// Backends with these weights, each at least 1.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let turns = weights
            .into_iter()
            .map(|weight| Turn { weight: i64::from(weight), credit: 0 })
            .collect();
        Self { turns }
    }

    /// Another backend is eligible from now on, or one no longer: a cycle begins anew, because what the
    /// others have earned or paid beside it would distort their turns for a while.
    pub fn begin_anew(&mut self) {
        for turn in &mut self.turns {
            turn.credit = 0;
        }
    }

    /// Takes the next turn among those that are eligible.
    pub fn next(&mut self, eligible: impl Fn(BackendId) -> bool) -> Option<BackendId> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for i in 0..self.turns.len() {
            if !eligible(BackendId(i)) {
                continue;
            }
            let turn = &mut self.turns[i];
            turn.credit += turn.weight;
            total += turn.weight;
            if best.is_none_or(|best| self.turns[i].credit > self.turns[best].credit) {
                best = Some(i);
            }
        }
        let chosen = best?;
        self.turns[chosen].credit -= total;
        Some(BackendId(chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(balancer: &mut Balancer, count: usize, out: &[usize]) -> String {
        (0..count)
            .map(|_| {
                let id = balancer.next(|id| !out.contains(&id.0));
                id.map_or('-', |id| ['a', 'b', 'c', 'd'][id.0])
            })
            .collect()
    }

    #[test]
    fn equal_weights_rotate_strictly() {
        assert_eq!(turns(&mut Balancer::new([1, 1, 1]), 9, &[]), "abcabcabc");
        assert_eq!(turns(&mut Balancer::new([7, 7, 7]), 6, &[]), "abcabc");
    }

    #[test]
    fn weights_interleave() {
        assert_eq!(turns(&mut Balancer::new([5, 1, 1]), 14, &[]), "aabacaaaabacaa");
        assert_eq!(turns(&mut Balancer::new([3, 1, 1]), 5, &[]), "abaca");
        assert_eq!(turns(&mut Balancer::new([2, 1]), 6, &[]), "abaaba");
    }

    #[test]
    fn every_period_is_exact() {
        let weights = [3, 5, 1, 2];
        let mut balancer = Balancer::new(weights);
        for _ in 0..100 {
            let period = turns(&mut balancer, 11, &[]);
            for (name, weight) in ['a', 'b', 'c', 'd'].into_iter().zip(weights) {
                let count = period.chars().filter(|c| *c == name).count();
                assert_eq!(count, weight as usize, "{period}");
            }
        }
    }

    #[test]
    fn rotation_stays_exact_over_those_that_are_in() {
        let mut balancer = Balancer::new([1, 1, 1]);
        assert_eq!(turns(&mut balancer, 3, &[]), "abc");
        assert_eq!(turns(&mut balancer, 4, &[1]), "acac");
        assert_eq!(turns(&mut balancer, 6, &[]), "abcabc");
        assert_eq!(turns(&mut balancer, 1, &[0, 1, 2]), "-");
    }

    #[test]
    fn turns_are_exact_at_once_after_a_heavy_one_has_left() {
        let mut balancer = Balancer::new([6, 2, 1]);
        turns(&mut balancer, 1, &[]);
        balancer.begin_anew();
        assert_eq!(turns(&mut balancer, 6, &[0]), "bcbbcb");
    }
}
