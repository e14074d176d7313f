//! Readiness as state.
//!
//! The poll is edge-triggered: it tells once that a socket became ready. So readiness is remembered
//! here, in one place: set by an event, cleared only when a read or write has shown that it is over.
//! Whoever wants to read asks the latch, and may do so long after the event.
//!
//! Invariant: a cleared flag means that the kernel owes us another event.

/// What an event said.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Readiness(u8);

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
const CLOSING: u8 = 4;

impl Readiness {
    /// There is something to read.
    pub const READABLE: Self = Self(READABLE);
    /// There is room to write.
    pub const WRITABLE: Self = Self(WRITABLE);
    /// The peer closed its direction or both, or the connection broke. No reason to close ours: data
    /// may still be there. It is a reason to read, and to write, until that says what happened.
    pub const CLOSING: Self = Self(READABLE | WRITABLE | CLOSING);

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this says that the peer closed or the connection broke.
    #[must_use]
    pub fn is_closing(self) -> bool {
        self.0 & CLOSING != 0
    }
}

/// What is known of a socket's readiness.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Latch(u8);

impl Latch {
    /// Remembers what an event said.
    pub fn set(&mut self, readiness: Readiness) {
        self.0 |= readiness.0;
    }

    /// Whether a read may bring something.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.0 & READABLE != 0
    }

    /// Whether a write may bring something.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    /// Whether an event said that the peer closed or the connection broke.
    #[must_use]
    pub fn is_closing(self) -> bool {
        self.0 & CLOSING != 0
    }

    /// A read found less than it had room for: nothing is left, and the kernel will tell when there
    /// is more. That saves the read that would say `WouldBlock`. It is not so when the peer has
    /// closed as well: data and end come as one event, and the end is still to be read.
    pub fn short_read(&mut self) {
        if !self.is_closing() {
            self.0 &= !READABLE;
        }
    }

    /// A read would have blocked.
    pub fn read_blocked(&mut self) {
        self.0 &= !READABLE;
    }

    /// A write would have blocked.
    pub fn write_blocked(&mut self) {
        self.0 &= !WRITABLE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_means_drained_unless_the_peer_closed() {
        let mut latch = Latch::default();
        latch.set(Readiness::READABLE);
        latch.short_read();
        assert!(!latch.is_readable());
        latch.set(Readiness::CLOSING);
        latch.short_read();
        assert!(latch.is_readable(), "the end is still to be read");
        latch.read_blocked();
        assert!(!latch.is_readable());
    }

    #[test]
    fn writing_and_reading_do_not_touch_one_another() {
        let mut latch = Latch::default();
        latch.set(Readiness::READABLE.and(Readiness::WRITABLE));
        latch.write_blocked();
        assert!(latch.is_readable() && !latch.is_writable());
        latch.set(Readiness::WRITABLE);
        latch.read_blocked();
        assert!(!latch.is_readable() && latch.is_writable());
    }
}
