//! Deadlines, in a heap that is told as little as possible.
//!
//! Nearly every deadline moves later before it is due: each request moves one. So an entry is pushed
//! only where it is earlier than the one that is queued for the same connection, and an entry that
//! comes up is checked against the deadline as it is by then. A request costs a comparison.
//!
//! Knows nothing of what the deadlines mean. Invariant: for each watched deadline there is an entry
//! that is not later; entries of connections that are gone come up once and reach nobody.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::clock::Deadline;
use crate::key::{Subject, Token};

/// Whose deadline is next.
#[derive(Default, Debug)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Timers {
    /// Makes sure that this deadline comes up.
    pub fn watch(&mut self, deadline: &mut Deadline, subject: Subject) {
        if deadline.queued.is_none_or(|queued| deadline.at < queued) {
            deadline.queued = Some(deadline.at);
            self.heap.push(Reverse((deadline.at, Token::from(subject).0)));
        }
    }

    /// When something comes up next.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one that has come up: its subject, and for when it was queued.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Subject, Instant)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((at, token)) = self.heap.pop()?;
        Some((Token(token).into(), at))
    }

    /// Forgets the entries for which this answers `false`.
    pub fn retain(&mut self, mut is_live: impl FnMut(Subject, Instant) -> bool) {
        self.heap.retain(|Reverse((at, token))| is_live(Token(*token).into(), *at));
        self.heap.shrink_to(self.heap.len() * 2);
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use std::time::Duration;

    #[test]
    fn moving_a_deadline_later_queues_nothing() {
        let start = crate::clock::now().instant;
        let subject = Subject::Client(Key { index: 1, generation: 2 });
        let mut timers = Timers::default();
        let mut deadline = Deadline::new(start + Duration::from_secs(10));
        timers.watch(&mut deadline, subject);
        for seconds in 11..1000 {
            deadline.at = start + Duration::from_secs(seconds);
            timers.watch(&mut deadline, subject);
        }
        assert_eq!(timers.len(), 1);
        deadline.at = start + Duration::from_secs(5);
        timers.watch(&mut deadline, subject);
        assert_eq!(timers.next(), Some(deadline.at));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(timers.pop_due(deadline.at), Some((subject, deadline.at)));
        assert_eq!(timers.pop_due(deadline.at), None);
        assert_eq!(timers.len(), 1, "the first entry comes up later and is stale");
    }
}
