//! Smooth weighted round robin.
//!
//! Each turn every member earns its weight; the richest is chosen and pays the sum of all. With equal
//! weights that is strict rotation in the order of the configuration; with weights 5, 1, 1 it is
//! `a a b a c a a`, never a burst of five.
//!
//! The turns repeat: after as many as the weights add up to (by their greatest common divisor), everybody
//! is as rich as at first. So a cycle is worked out once and read afterwards, and a turn among a thousand
//! costs what one among three does. Invariant: a change of members begins a new cycle, so that the turns
//! are exact over whoever is in; what others had earned beside them would distort their shares.

use super::BackendId;

/// The longest cycle that is kept, in turns. Longer ones, which take weights without a common measure, are
/// worked out turn by turn.
const CYCLE_TURNS_MAX: u64 = 16 * 1024;

/// Whose turn it is.
#[derive(Clone, Debug)]
pub struct Balancer {
    /// By place in the configuration, each at least 1.
    weights: Vec<u32>,
    members: Vec<Member>,
    /// The turns of the present cycle that have been worked out.
    cycle: Vec<BackendId>,
    /// Whether that is all of it.
    is_whole: bool,
    /// How many turns of it have been taken.
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    id: BackendId,
    weight: i64,
    credit: i64,
}

impl Balancer {
    /// Backends with these weights, each at least 1. All are members at first.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<u32> = weights.into_iter().collect();
        let all = (0..weights.len()).map(BackendId).collect::<Vec<_>>();
        let (members, cycle) = (Vec::new(), Vec::new());
        let mut balancer = Self { weights, members, cycle, is_whole: false, taken: 0 };
        balancer.set_members(all);
        balancer
    }

    /// Takes turns among these from now on, in a new cycle.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = BackendId>) {
        let weights = &self.weights;
        let member = |id: BackendId| {
            let weight = weights.get(id.0).copied().map_or(1, i64::from);
            Member { id, weight, credit: 0 }
        };
        self.members.clear();
        self.members.extend(members.into_iter().map(member));
        self.cycle.clear();
        self.taken = 0;
        let first = self.members.first().map_or(1, |member| member.weight);
        self.is_whole = self.members.iter().all(|member| member.weight == first);
        if self.is_whole {
            self.cycle.extend(self.members.iter().map(|member| member.id));
        }
    }

    /// Among whom turns are taken.
    pub fn members(&self) -> impl Iterator<Item = BackendId> {
        self.members.iter().map(|member| member.id)
    }

    /// Takes the next turn. Where whoever has it is not eligible at the moment, it goes to the next in the
    /// order of the configuration who is.
    pub fn next(&mut self, eligible: impl Fn(BackendId) -> bool) -> Option<BackendId> {
        let id = self.turn()?;
        if eligible(id) {
            return Some(id);
        }
        let place = self.members.iter().position(|member| member.id == id)?;
        let (before, after) = self.members.split_at(place);
        let mut others = after.iter().chain(before).map(|member| member.id);
        others.find(|id| eligible(*id))
    }

    fn turn(&mut self) -> Option<BackendId> {
        if self.is_whole && self.taken == self.cycle.len() {
            self.taken = 0;
        }
        if let Some(id) = self.cycle.get(self.taken) {
            self.taken += 1;
            return Some(*id);
        }
        let id = self.work_out()?;
        if self.cycle_turns() <= CYCLE_TURNS_MAX {
            self.cycle.push(id);
            self.taken += 1;
            self.is_whole = self.members.iter().all(|member| member.credit == 0);
        }
        Some(id)
    }

    fn work_out(&mut self) -> Option<BackendId> {
        let mut total = 0;
        let mut best = 0;
        for place in 0..self.members.len() {
            let member = &mut self.members[place];
            member.credit += member.weight;
            total += member.weight;
            if self.members[place].credit > self.members[best].credit {
                best = place;
            }
        }
        let chosen = self.members.get_mut(best)?;
        chosen.credit -= total;
        Some(chosen.id)
    }

    /// How many turns a cycle has at most; fewer where the weights have a common measure.
    fn cycle_turns(&self) -> u64 {
        self.members.iter().map(|member| member.weight.unsigned_abs()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(balancer: &mut Balancer, count: usize, busy: &[usize]) -> String {
        (0..count)
            .map(|_| {
                let id = balancer.next(|id| !busy.contains(&id.0));
                id.map_or('-', |id| ['a', 'b', 'c', 'd'][id.0])
            })
            .collect()
    }

    fn members(ids: &[usize]) -> Vec<BackendId> {
        ids.iter().copied().map(BackendId).collect()
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
        assert_eq!(turns(&mut Balancer::new([4, 2]), 6, &[]), "abaaba");
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

    /// What is read from a cycle is what would have been worked out.
    #[test]
    fn a_cycle_that_is_kept_is_the_one_that_is_worked_out() {
        let weights = [1000, 37, 500, 2];
        let (mut kept, mut worked_out) = (Balancer::new(weights), Balancer::new(weights));
        for _ in 0..5000 {
            assert_eq!(kept.next(|_| true), worked_out.work_out());
        }
        assert!(kept.is_whole);
        let mut endless = Balancer::new([10_007, 9973, 3]);
        for _ in 0..30_000 {
            assert!(endless.next(|_| true).is_some());
        }
        assert!(endless.cycle.is_empty(), "too long to be kept");
    }

    #[test]
    fn rotation_is_exact_over_the_members() {
        let mut balancer = Balancer::new([1, 1, 1]);
        assert_eq!(turns(&mut balancer, 3, &[]), "abc");
        balancer.set_members(members(&[0, 2]));
        assert_eq!(turns(&mut balancer, 4, &[]), "acac");
        balancer.set_members(members(&[0, 1, 2]));
        assert_eq!(turns(&mut balancer, 6, &[]), "abcabc");
        balancer.set_members(members(&[]));
        assert_eq!(turns(&mut balancer, 1, &[]), "-");
    }

    #[test]
    fn turns_are_exact_at_once_after_a_heavy_one_has_left() {
        let mut balancer = Balancer::new([6, 2, 1]);
        turns(&mut balancer, 1, &[]);
        balancer.set_members(members(&[1, 2]));
        assert_eq!(turns(&mut balancer, 6, &[]), "bcbbcb");
    }

    #[test]
    fn who_is_busy_leaves_its_turn_to_the_next() {
        let mut balancer = Balancer::new([1, 1, 1]);
        assert_eq!(turns(&mut balancer, 3, &[1]), "acc");
        assert_eq!(turns(&mut balancer, 3, &[]), "abc");
        assert_eq!(turns(&mut balancer, 2, &[0, 1, 2]), "--");
    }
}
