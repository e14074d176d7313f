//! Where connections are kept: a slab whose keys go stale when their connection is gone.
//!
//! The one file that names slab. Invariant: a key finds the connection that it was made for, or
//! nothing.

use slab::Slab;

use crate::key::{INDEX_MAX, Key};

/// A table of connections.
#[derive(Debug)]
pub struct Slots<T> {
    slab: Slab<Slot<T>>,
    next_generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    queued: Queued,
    value: T,
}

/// Whether a connection waits in the run queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slab: Slab::new(), next_generation: 0 }
    }
}

impl<T> Slots<T> {
    /// The key that the next [`Slots::insert`] will use, or `None` when the table is full.
    #[must_use]
    pub fn vacant_key(&self) -> Option<Key> {
        let index =
            u32::try_from(self.slab.vacant_key()).ok().filter(|index| *index <= INDEX_MAX)?;
        Some(Key { index, generation: self.next_generation })
    }

    /// Keeps a connection under the key that [`Slots::vacant_key`] gave.
    pub fn insert(&mut self, value: T) {
        let generation = self.next_generation;
        self.slab.insert(Slot { generation, queued: Queued::No, value });
        self.next_generation = self.next_generation.wrapping_add(1);
    }

    /// The connection of this key, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot_mut(key).map(|slot| &mut slot.value)
    }

    /// The connection of this key, if it is still there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slab.get(key.index as usize)?;
        (slot.generation == key.generation).then_some(&slot.value)
    }

    /// Takes a connection out; its key and all copies of it are stale from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.slot_mut(key)?;
        Some(self.slab.remove(key.index as usize).value)
    }

    /// Remembers whether a connection is in the run queue; gives what was remembered before.
    pub fn set_queued(&mut self, key: Key, queued: Queued) -> Option<Queued> {
        self.slot_mut(key).map(|slot| std::mem::replace(&mut slot.queued, queued))
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// The keys of all connections.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let key = |(index, slot): (usize, &Slot<T>)| Key {
            index: u32::try_from(index).unwrap_or(INDEX_MAX),
            generation: slot.generation,
        };
        self.slab.iter().map(key).collect()
    }

    /// All connections.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.slab.iter().map(|(_, slot)| &slot.value)
    }

    /// Gives memory back that a burst has needed.
    pub fn shrink(&mut self) {
        if self.slab.is_empty() {
            self.slab = Slab::new();
        }
    }

    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let slot = self.slab.get_mut(key.index as usize)?;
        (slot.generation == key.generation).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_dead_reaches_nobody() {
        let mut slots = Slots::default();
        let first = slots.vacant_key().expect("room");
        slots.insert("first");
        assert_eq!(slots.get(first), Some(&"first"));
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.vacant_key().expect("room");
        slots.insert("second");
        assert_eq!(first.index, second.index, "the slot is used again");
        assert_ne!(first, second);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.set_queued(first, Queued::Yes), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.keys(), [second]);
    }

    #[test]
    fn a_connection_is_queued_once() {
        let mut slots = Slots::default();
        let key = slots.vacant_key().expect("room");
        slots.insert(());
        assert_eq!(slots.set_queued(key, Queued::Yes), Some(Queued::No));
        assert_eq!(slots.set_queued(key, Queued::Yes), Some(Queued::Yes));
    }
}
