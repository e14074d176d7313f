//! Octets that go from one plain socket to another without a visit to our memory: `splice(2)`, by way
//! of a pipe.
//!
//! A leaf: one function, [`splice`], that does what a read and a send would have done. Whoever calls it
//! need not look at the octets, and reads them as ever when it says [`Spliced::Unsuitable`], as it does
//! where there is TLS, no pipe to be had, or no such call.
//!
//! Knows nothing of bodies. Invariants: a pipe is empty before it is filled, so "would block" can only
//! mean the source; what the sink refuses stays in the pipe, and the pipe waits in the sink's outbox, so
//! nothing more is read until it is gone.
//!
//! Next: `proxy::relay_response`, `proxy::relay_request` and `proxy::tunnel` call it for large bodies.

use std::io;
use std::sync::Arc;

use super::Sock;
use super::link::{Broken, Link, Sent};
use super::sys;
use crate::config::limits::PIPE_BYTES;

/// A pipe of the kernel, and how much is in it.
#[derive(Debug)]
pub struct Pipe {
    ends: sys::PipeEnds,
    held: usize,
    /// For [`Pipes`] to count those that live.
    _census: Arc<()>,
}

impl Pipe {
    /// How many octets are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Lets something put octets in; it is given the ends and says how many it put.
    ///
    /// # Errors
    /// What it says.
    pub fn fill(
        &mut self,
        put: impl FnOnce(&sys::PipeEnds) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let octets = put(&self.ends)?;
        self.held += octets;
        Ok(octets)
    }

    /// Lets something take octets out; it is given the ends and how many there are, and says how many
    /// it took.
    ///
    /// # Errors
    /// What it says.
    pub fn drain(
        &mut self,
        take: impl FnOnce(&sys::PipeEnds, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let octets = take(&self.ends, self.held)?;
        self.held = self.held.saturating_sub(octets);
        Ok(octets)
    }
}

/// The pipes of a worker: one that is passed from hand to hand, and those that wait with octets in
/// them. There are never more than so many.
#[derive(Debug)]
pub struct Pipes {
    spare: Option<Pipe>,
    count_max: usize,
    census: Arc<()>,
}

impl Pipes {
    /// At most so many pipes, of two descriptors each; 0 for none.
    #[must_use]
    pub fn new(count_max: usize) -> Self {
        Self { spare: None, count_max, census: Arc::new(()) }
    }

    /// Closes the pipe that nobody uses.
    pub fn close_spare(&mut self) {
        self.spare = None;
    }

    /// From now on there may be so many; those beyond stay until they are empty.
    pub fn set_count_max(&mut self, count_max: usize) {
        self.count_max = count_max;
    }

    /// How many pipes there are now.
    #[must_use]
    pub fn count(&self) -> usize {
        Arc::strong_count(&self.census) - 1
    }

    fn take(&mut self) -> Option<Pipe> {
        if self.spare.is_some() {
            return self.spare.take();
        }
        if self.count() >= self.count_max {
            return None;
        }
        let ends = sys::PipeEnds::open(PIPE_BYTES).ok()?;
        Some(Pipe { ends, held: 0, _census: Arc::clone(&self.census) })
    }

    /// Takes an empty pipe back. One is kept: no two drives happen at a time.
    pub(super) fn put_back(&mut self, pipe: Pipe) {
        debug_assert!(pipe.is_empty(), "octets of one stream must not reach another");
        self.spare.get_or_insert(pipe);
    }

    /// This system cannot do it.
    fn turn_off(&mut self) {
        self.count_max = 0;
        self.spare = None;
    }
}

/// What a splice came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spliced {
    /// So many octets were taken from the source, at least one.
    Moved(usize, Sent),
    /// Nothing is there; an event will tell.
    Blocked,
    /// The source ended its direction in good order.
    Closed,
    /// The source broke.
    SourceBroke(Broken),
    /// The sink takes no more.
    SinkBroke,
    /// It cannot be done here: the octets have to be read.
    Unsuitable,
}

/// Moves what is there, at most so many octets, from one connection to another to which nothing waits
/// to be sent.
pub fn splice<S: Sock>(
    source: &mut Link<S>,
    sink: &mut Link<S>,
    bytes_max: usize,
    pipes: &mut Pipes,
) -> Spliced {
    if source.is_tls() || sink.is_tls() || sink.is_clogged() {
        return Spliced::Unsuitable;
    }
    if !source.is_readable() {
        return Spliced::Blocked;
    }
    let Some(mut pipe) = pipes.take() else {
        return Spliced::Unsuitable;
    };
    // More than a pipe holds is of no use, and lengths beyond what the kernel can count are refused.
    let octets = match fill(source.transport.sock(), &mut pipe, bytes_max.min(PIPE_BYTES)) {
        Ok(octets) => octets,
        Err(e) if sys::is_unsupported(&e) => {
            pipes.turn_off();
            return Spliced::Unsuitable;
        }
        // Not for this socket; others may do.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Spliced::Unsuitable,
        Err(e) => {
            pipes.put_back(pipe);
            if e.kind() == io::ErrorKind::WouldBlock {
                source.latch.read_blocked();
                return Spliced::Blocked;
            }
            return Spliced::SourceBroke(Broken::Reset);
        }
    };
    if octets == 0 {
        pipes.put_back(pipe);
        return Spliced::Closed;
    }
    match drain(sink.transport.sock(), &mut pipe) {
        Ok((_, true)) => {
            pipes.put_back(pipe);
            Spliced::Moved(octets, Sent::All)
        }
        Ok((_, false)) => {
            sink.latch.write_blocked();
            sink.out.hold(pipe);
            Spliced::Moved(octets, Sent::Waiting)
        }
        Err(_) => Spliced::SinkBroke,
    }
}

fn fill<S: Sock>(sock: &mut S, pipe: &mut Pipe, bytes_max: usize) -> io::Result<usize> {
    loop {
        match sock.read_into(pipe, bytes_max) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Empties a pipe into a socket: how many octets went, and whether that was all.
pub(super) fn drain<S: Sock>(sock: &mut S, pipe: &mut Pipe) -> io::Result<(usize, bool)> {
    let mut written = 0;
    while !pipe.is_empty() {
        match sock.write_from(pipe) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((written, false)),
            Err(e) => return Err(e),
        }
    }
    Ok((written, true))
}
