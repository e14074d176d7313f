//! Names for connections that cannot be mistaken for one another.
//!
//! A slot of a table is used again as soon as its connection is gone, while events, timers, pool
//! entries and answers about the old one may still be on their way. So every reference is a [`Key`]:
//! the index of the slot together with the generation of its owner. A key whose generation has
//! passed reaches nobody, which is the whole protection against acting on the wrong connection.
//!
//! Next: `server::slots` hands keys out, the poll gets them as [`Token`]s.

use std::fmt;

/// Names one connection for as long as it lives, and nobody afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The slot in its table; below 2^29.
    pub index: u32,
    /// Which owner of that slot is meant.
    pub generation: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// What a token stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// A connection that a client opened to us.
    Client(Key),
    /// A connection that we opened to a backend.
    Upstream(Key),
    /// A backend, by its place in the configuration: timers know it.
    Backend(u32),
    /// A listening socket, by its place in the configuration.
    Listener(u32),
    /// A connection that somebody opened to the desk for operators.
    Visit(Key),
    /// Something of the process itself: the signal pipe, the waker.
    Process(u32),
}

/// A [`Subject`] packed into the 64 bits that the poll carries for us:
/// generation (32 bits), kind (3 bits), index (29 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

/// The largest index that fits beside the kind.
pub const INDEX_MAX: u32 = (1 << 29) - 1;

impl From<Subject> for Token {
    fn from(subject: Subject) -> Self {
        let (kind, index, generation) = match subject {
            Subject::Client(key) => (0, key.index, key.generation),
            Subject::Upstream(key) => (1, key.index, key.generation),
            Subject::Listener(index) => (2, index, 0),
            Subject::Process(index) => (3, index, 0),
            Subject::Backend(index) => (4, index, 0),
            Subject::Visit(key) => (5, key.index, key.generation),
        };
        debug_assert!(index <= INDEX_MAX, "a slot index has 29 bits");
        Self(u64::from(generation) << 32 | kind << 29 | u64::from(index))
    }
}

impl From<Token> for Subject {
    #[expect(clippy::cast_possible_truncation, reason = "the parts are cut out by mask and shift")]
    fn from(token: Token) -> Self {
        let index = token.0 as u32 & INDEX_MAX;
        let generation = (token.0 >> 32) as u32;
        match token.0 >> 29 & 7 {
            0 => Self::Client(Key { index, generation }),
            1 => Self::Upstream(Key { index, generation }),
            2 => Self::Listener(index),
            4 => Self::Backend(index),
            5 => Self::Visit(Key { index, generation }),
            _ => Self::Process(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_back_the_subject_that_it_was_made_from() {
        let key = |index, generation| Key { index, generation };
        for subject in [
            Subject::Client(key(0, 0)),
            Subject::Client(key(INDEX_MAX, u32::MAX)),
            Subject::Upstream(key(7, 1)),
            Subject::Upstream(key(INDEX_MAX, 0)),
            Subject::Listener(3),
            Subject::Visit(key(2, 9)),
            Subject::Process(0),
            Subject::Backend(INDEX_MAX),
        ] {
            assert_eq!(Subject::from(Token::from(subject)), subject);
        }
    }
}
