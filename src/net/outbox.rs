//! Octets that a socket refused, until it takes them.
//!
//! Invariant: memory is held only while something waits, and nothing is added while something waits
//! except by one write: whoever reads stops reading when this is not empty, so it never holds more
//! than one read and one head.

use std::io;

use super::Sock;

/// What waits to be written, in order.
#[derive(Default, Debug)]
pub struct Outbox {
    octets: Vec<u8>,
    start: usize,
}

impl Outbox {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// How many octets wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len() - self.start
    }

    /// Adds octets behind those that wait.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Writes until all is gone or the socket takes no more; says how many octets went.
    ///
    /// # Errors
    /// What the socket says, except `WouldBlock`, which is no error: `false` in the second place.
    pub fn flush<S: Sock>(&mut self, sock: &mut S) -> io::Result<(usize, bool)> {
        let before = self.start;
        while self.start < self.octets.len() {
            match sock.write(&self.octets[self.start..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.start += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((self.start - before, false));
                }
                Err(e) => return Err(e),
            }
        }
        let written = self.start - before;
        *self = Self::default();
        Ok((written, true))
    }
}
