//! The connections of one backend that are free, and the requests that wait for one.
//!
//! Knows nothing of sockets: a connection and a request are keys. Invariants: a key is idle at most
//! once; a connection that becomes usable goes to the oldest waiter before it may rest; no connect is
//! begun beyond one for each request that waits.

use std::collections::VecDeque;

use crate::key::Key;

/// A turn of the loop, counted round.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Turn(pub u32);

/// Whether events have come since a connection became free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// They have: if it had ended, or if the backend had said more than was asked for, we would know.
    Had,
    /// Not yet: somebody has to look.
    None,
}

/// The connections of one backend.
#[derive(Default, Debug)]
pub struct Pool {
    /// Free connections, each with the turn of the loop in which it became free; the last was used last
    /// and is taken first, so that what is superfluous grows old and goes.
    idle: Vec<(Key, Turn)>,
    /// Clients whose request waits, oldest first.
    waiters: VecDeque<Key>,
    /// Connects on their way, each perhaps to several addresses side by side.
    connecting: usize,
    /// All connections, whatever they do.
    open: usize,
    /// The most that there may be.
    open_max: Option<usize>,
}

impl Pool {
    /// A pool of at most so many connections.
    #[must_use]
    pub fn new(open_max: Option<usize>) -> Self {
        Self { open_max, ..Self::default() }
    }

    /// From now on there may be so many connections; those beyond stay until they go by themselves.
    pub fn set_open_max(&mut self, open_max: Option<usize>) {
        self.open_max = open_max;
    }

    /// A connection is there, or on its way.
    pub fn opened(&mut self) {
        self.open += 1;
    }

    /// A connection is gone.
    pub fn closed(&mut self) {
        debug_assert!(self.open > 0, "each connection goes once");
        self.open = self.open.saturating_sub(1);
    }

    /// Whether there may be no further connection.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.open_max.is_some_and(|max| self.open >= max)
    }

    /// Whether a request would get a connection without waiting for another one to end.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.idle.is_empty() || !self.is_full()
    }

    /// Takes the connection that was used last, of those that have had a rest; where there are none, of
    /// those that became free in this turn.
    pub fn take_idle(&mut self, now: Turn) -> Option<(Key, Rest)> {
        // Those of this turn are the last.
        let rested = self.idle.partition_point(|(_, since)| *since != now);
        match rested.checked_sub(1) {
            Some(place) => Some((self.idle.remove(place).0, Rest::Had)),
            None => self.idle.pop().map(|(key, _)| (key, Rest::None)),
        }
    }

    /// Lets a connection rest. Above the limit the oldest has to go: its key is given back.
    #[must_use]
    pub fn put_idle(&mut self, upstream: Key, now: Turn, count_max: usize) -> Option<Key> {
        self.idle.push((upstream, now));
        (self.idle.len() > count_max).then(|| self.idle.remove(0).0)
    }

    /// Forgets a connection that ended while it was idle.
    pub fn remove_idle(&mut self, upstream: Key) {
        // Those that end by themselves have mostly waited long: they are in front.
        if let Some(place) = self.idle.iter().position(|(key, _)| *key == upstream) {
            self.idle.remove(place);
        }
    }

    /// Takes all free connections.
    pub fn take_all_idle(&mut self) -> impl Iterator<Item = Key> + use<> {
        std::mem::take(&mut self.idle).into_iter().map(|(key, _)| key)
    }

    /// The free connections.
    pub fn idle_keys(&self) -> impl Iterator<Item = Key> {
        self.idle.iter().map(|(key, _)| *key)
    }

    /// How many connections are free.
    #[must_use]
    pub fn idle_count(&self) -> usize {
        self.idle.len()
    }

    /// How many connections there are, whatever they do.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open
    }

    /// How many connects are on their way.
    #[must_use]
    pub fn connecting_count(&self) -> usize {
        self.connecting
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiters_count(&self) -> usize {
        self.waiters.len()
    }

    /// A request waits from now on.
    pub fn wait(&mut self, client: Key) {
        self.waiters.push_back(client);
    }

    /// A request waits on, before all others: it has waited longest.
    pub fn wait_first(&mut self, client: Key) {
        self.waiters.push_front(client);
    }

    /// The request that has waited longest, which then waits no more.
    pub fn next_waiter(&mut self) -> Option<Key> {
        self.waiters.pop_front()
    }

    /// The request that has waited longest of those that this accepts; it waits no more then.
    pub fn next_waiter_that(&mut self, accepts: impl FnMut(Key) -> bool) -> Option<Key> {
        let mut accepts = accepts;
        let place = self.waiters.iter().position(|waiter| accepts(*waiter))?;
        self.waiters.remove(place)
    }

    /// Takes the connection that has been idle longest.
    pub fn take_oldest_idle(&mut self) -> Option<Key> {
        (!self.idle.is_empty()).then(|| self.idle.remove(0).0)
    }

    /// Forgets a request that waits no longer.
    pub fn remove_waiter(&mut self, client: Key) {
        self.waiters.retain(|waiter| *waiter != client);
    }

    /// Whether another connect has to be started for those who wait.
    #[must_use]
    pub fn wants_connect(&self) -> bool {
        self.lacks_connect() && !self.is_full()
    }

    /// Whether fewer connects are on their way than requests wait for one.
    #[must_use]
    pub fn lacks_connect(&self) -> bool {
        self.connecting < self.waiters.len()
    }

    /// Whether anybody waits for a connection.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// A connect is on its way.
    pub fn connect_started(&mut self) {
        self.connecting += 1;
    }

    /// A connect has come to its end, good or bad.
    pub fn connect_ended(&mut self) {
        debug_assert!(self.connecting > 0, "each connect ends once");
        self.connecting = self.connecting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> Key {
        Key { index, generation: 0 }
    }

    #[test]
    fn the_last_used_connection_is_taken_first() {
        let mut pool = Pool::default();
        for index in 0..3 {
            assert_eq!(pool.put_idle(key(index), Turn(1), 3), None);
        }
        assert_eq!(pool.put_idle(key(3), Turn(1), 3), Some(key(0)), "the oldest has to go");
        pool.remove_idle(key(2));
        assert_eq!(pool.take_idle(Turn(2)), Some((key(3), Rest::Had)));
        assert_eq!(pool.take_idle(Turn(2)), Some((key(1), Rest::Had)));
        assert_eq!(pool.take_idle(Turn(2)), None);
    }

    #[test]
    fn one_that_has_rested_is_taken_before_one_of_this_turn() {
        let mut pool = Pool::default();
        for (index, turn) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
            assert_eq!(pool.put_idle(key(index), Turn(turn), 9), None);
        }
        let taken: Vec<_> = std::iter::from_fn(|| pool.take_idle(Turn(2))).collect();
        let want = [(1, Rest::Had), (0, Rest::Had), (3, Rest::None), (2, Rest::None)];
        assert_eq!(taken, want.map(|(index, rest)| (key(index), rest)));
    }

    #[test]
    fn a_full_pool_opens_nothing() {
        let mut pool = Pool::new(Some(2));
        for _ in 0..2 {
            assert!(pool.has_room());
            pool.opened();
        }
        pool.wait(key(1));
        assert!(pool.is_full() && !pool.has_room() && !pool.wants_connect());
        assert_eq!(pool.put_idle(key(9), Turn(0), 4), None);
        assert!(pool.is_full() && pool.has_room(), "one is free");
        pool.closed();
        assert!(pool.wants_connect());
    }

    #[test]
    fn there_is_one_connect_for_each_waiter() {
        let mut pool = Pool::default();
        assert!(!pool.wants_connect());
        pool.wait(key(1));
        assert!(pool.wants_connect());
        pool.connect_started();
        assert!(!pool.wants_connect());
        pool.wait(key(2));
        assert!(pool.wants_connect());
        pool.remove_waiter(key(1));
        assert!(!pool.wants_connect());
        pool.connect_ended();
        assert!(pool.wants_connect());
        assert_eq!(pool.next_waiter(), Some(key(2)));
        assert_eq!(pool.next_waiter(), None);
    }
}
