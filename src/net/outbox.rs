//! Octets that a socket refused, until it takes them: in our memory, or in a pipe in front of that.
//!
//! Invariant: memory and pipe are held only while something waits, and nothing is added while something
//! waits except by one write: whoever reads stops reading when this is not empty, so it never holds more
//! than one read and one head.

use std::io;

use super::Sock;
use super::splice::{Pipe, drain};

/// What waits to be written, in order.
#[derive(Default, Debug)]
pub struct Outbox {
    /// Goes before the octets. In a box: hardly any connection has one.
    pipe: Option<Box<Pipe>>,
    octets: Vec<u8>,
    start: usize,
}

impl Outbox {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty() && self.pipe.is_none()
    }

    /// How many octets wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len() - self.start + self.pipe.as_ref().map_or(0, |pipe| pipe.len())
    }

    /// What is in this pipe waits; nothing else did.
    pub(super) fn hold(&mut self, pipe: Pipe) {
        debug_assert!(self.is_empty(), "what waited would be overtaken");
        self.pipe = Some(Box::new(pipe));
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
        let mut spliced = 0;
        if let Some(mut pipe) = self.pipe.take() {
            let (octets, all) = drain(sock, &mut pipe)?;
            spliced = octets;
            if !all {
                self.pipe = Some(pipe);
                return Ok((spliced, false));
            }
        }
        let before = self.start;
        while self.start < self.octets.len() {
            match sock.write(&self.octets[self.start..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.start += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((spliced + self.start - before, false));
                }
                Err(e) => return Err(e),
            }
        }
        let written = spliced + self.start - before;
        *self = Self::default();
        Ok((written, true))
    }
}
