//! Real sockets, as mio gives them.

use std::io;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry};
use socket2::SockRef;

use super::latch::Readiness;
use super::stream::Stream;
use super::{Net, unix};
use crate::config::Address;
use crate::key::Token;

/// The operating system's network.
#[derive(Debug)]
pub struct OsNet {
    registry: Registry,
}

/// Both directions, once, for life: back-pressure is not reading, which needs no call.
pub const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl OsNet {
    /// Registers sockets with this poll.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl Net for OsNet {
    type Sock = Stream;

    fn connect(&mut self, address: &Address, token: Token) -> io::Result<Stream> {
        let mut sock = match address {
            Address::Ip(address) => {
                let sock = TcpStream::connect(*address)?;
                // These two only tune: a connection without them still works.
                let _ = sock.set_nodelay(true);
                let _ = SockRef::from(&sock).set_keepalive(true);
                // As for listeners: a short read has to mean that all is read.
                SockRef::from(&sock).set_out_of_band_inline(true)?;
                Stream::Tcp(sock)
            }
            Address::Unix(path) => Stream::Unix(unix::connect(path)?),
        };
        self.register(&mut sock, token)?;
        Ok(sock)
    }

    fn register(&mut self, sock: &mut Stream, token: Token) -> io::Result<()> {
        self.registry.register(sock, poll_token(token), INTEREST)
    }
}

const _: () = assert!(usize::BITS == 64, "the poll has to carry 64 bits for us");

/// Our token as the poll carries it.
#[must_use]
pub fn poll_token(token: Token) -> mio::Token {
    mio::Token(usize::try_from(token.0).unwrap_or(usize::MAX))
}

/// The token of an event.
#[must_use]
pub fn event_token(event: &Event) -> Token {
    Token(event.token().0 as u64)
}

/// What an event says of its socket.
#[must_use]
pub fn event_readiness(event: &Event) -> Readiness {
    let mut readiness = Readiness::default();
    if event.is_readable() {
        readiness = readiness.and(Readiness::READABLE);
    }
    if event.is_writable() {
        readiness = readiness.and(Readiness::WRITABLE);
    }
    if event.is_read_closed() || event.is_write_closed() || event.is_error() {
        readiness = readiness.and(Readiness::CLOSING);
    }
    readiness
}
