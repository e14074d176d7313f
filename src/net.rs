//! Sockets, TLS, names and signals: everything that touches the operating system.
//!
//! What stands above speaks to [`Sock`] and [`Net`] only, so that the whole proxy runs in a
//! simulated world just as well. Nothing here knows HTTP.
//!
//! The way in: [`listener`] opens the sockets that clients come to ([`unix`] those with a path),
//! [`tcp`] makes real ones fit the traits, [`stream`] is one of them, [`link`] adds to it what
//! every connection needs (remembered readiness, octets that wait to be sent, TLS), [`splice`]
//! moves octets past our memory, [`handover`] takes sockets from other processes and gives them,
//! [`notify`] tells a service manager, [`resolve`] asks for names off the loop, [`sys`] talks to
//! the kernel.

pub mod handover;
pub mod latch;
pub mod link;
pub mod listener;
pub mod notify;
pub mod outbox;
pub mod resolve;
pub mod splice;
pub mod stream;
pub mod sys;
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
pub mod transport;
pub mod unix;

use std::io;

use crate::config::Address;
use crate::config::limits::READ_BYTES_MAX;
use crate::key::Token;
use splice::{Pipe, Pipes};

/// A connected stream socket that never blocks.
pub trait Sock {
    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; otherwise the connection is broken.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; otherwise the connection is broken.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize>;

    /// Moves what is there, at most so many octets, into a pipe.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, `Unsupported` where there is no such call; otherwise the
    /// connection is broken.
    fn read_into(&mut self, pipe: &mut Pipe, bytes_max: usize) -> io::Result<usize>;

    /// Moves what is in a pipe out of it, as far as it fits.
    ///
    /// # Errors
    /// As [`Sock::write`].
    fn write_from(&mut self, pipe: &mut Pipe) -> io::Result<usize>;

    /// Ends our direction of the stream (FIN) after what was written.
    ///
    /// # Errors
    /// When the connection is broken already.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Whether the peer's system has confirmed everything that was written; `false` where nobody knows.
    /// What is not confirmed can still be lost, if the peer sends something that meets a closed socket.
    fn is_delivered(&self) -> bool;

    /// From now on, closing the socket resets the connection: the peer learns that what it got is
    /// not all, where no framing could tell it. Without effect where there is no such thing as a
    /// reset.
    fn reset_on_close(&mut self);
}

/// What gives and watches sockets.
pub trait Net {
    /// Its sockets.
    type Sock: Sock;

    /// Begins to connect, and watches the socket for life.
    ///
    /// # Errors
    /// When there is no socket to be had, or the kernel refuses at once.
    fn connect(&mut self, address: &Address, token: Token) -> io::Result<Self::Sock>;

    /// Watches an accepted socket for life.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    fn register(&mut self, sock: &mut Self::Sock, token: Token) -> io::Result<()>;
}

/// Room in front of what is read: a rewritten head goes there, right before the body octets that are
/// behind it already, so that both leave in one write and the body never moves.
pub const HEADROOM_BYTES: usize = 16 * 1024;

/// The buffers that every connection of a worker reads through. They are empty between two drives:
/// what must stay is copied out, and that is rare.
#[derive(Debug)]
pub struct Scratch {
    /// Headroom, then what is read.
    pub area: Box<[u8]>,
    /// Where a head is written before it is put into the headroom.
    pub head: Vec<u8>,
    /// What TLS needs in between.
    pub tls: TlsScratch,
    /// By which octets go that nobody needs to see.
    pub pipes: Pipes,
}

/// Where ciphertext is before it is plain, and plaintext when it no longer is.
#[derive(Debug)]
pub struct TlsScratch {
    /// Received records.
    pub incoming: Box<[u8]>,
    /// Records to send.
    pub outgoing: Box<[u8]>,
}

/// What the records of one write need beyond the plaintext: 17 records of 29 octets at most, and room
/// for handshake messages.
const TLS_RECORDS_OVERHEAD_BYTES: usize = 16 * 1024;

impl Default for Scratch {
    /// The memory is the kernel's untouched zero page until it is used. There are no pipes.
    fn default() -> Self {
        let room = |octets| vec![0; octets].into_boxed_slice();
        let write = HEADROOM_BYTES + READ_BYTES_MAX + TLS_RECORDS_OVERHEAD_BYTES;
        Self {
            area: room(HEADROOM_BYTES + READ_BYTES_MAX),
            head: Vec::with_capacity(2 * HEADROOM_BYTES),
            tls: TlsScratch { incoming: room(READ_BYTES_MAX), outgoing: room(write) },
            pipes: Pipes::new(0),
        }
    }
}
