//! One connection as the proxy sees it: octets in, octets out, and what is known of its readiness.
//!
//! Knows nothing of HTTP and of which side it is on. Invariants: octets are written at once and wait
//! only where the socket refused them; readiness is cleared only by what a read or write shows; after
//! the end of the stream nothing is read any more.
//!
//! Next: `proxy::client` and `proxy::upstream` each own one.

use std::io;

use super::latch::{Latch, Readiness};
use super::outbox::Outbox;
use super::transport::{HandshakeError, Security, TlsFacts, Transport};
use super::{Sock, TlsScratch};

/// What a read came to. "Not yet" is not an error, and neither is the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// So many octets are at the start of the buffer, at least one.
    Octets(usize),
    /// Nothing is there; an event will tell.
    Blocked,
    /// The peer ended its direction in good order.
    Closed,
    /// The connection broke, or TLS ended without saying so: what came before is not all.
    Broken(Broken),
}

/// How a connection broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// Reset by the peer or by the network.
    Reset,
    /// The end of the stream without TLS's own end: it may have been cut by anybody in between.
    TlsTruncated,
    /// A TLS record that does not belong there.
    TlsRecord,
}

/// Whether all octets of a send are with the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// They are.
    All,
    /// Some wait in the outbox.
    Waiting,
}

/// Whether a handshake is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handshake {
    /// The connection is usable.
    Done,
    /// An event will tell.
    Blocked,
}

/// A connection.
#[derive(Debug)]
pub struct Link<S> {
    pub(super) transport: Transport<S>,
    pub(super) latch: Latch,
    pub(super) out: Outbox,
}

impl<S: Sock> Link<S> {
    /// An accepted connection.
    pub fn plain(sock: S) -> Self {
        Self { transport: Transport::Plain(sock), latch: Latch::default(), out: Outbox::default() }
    }

    /// A connection that is being made.
    ///
    /// # Errors
    /// See [`Security::begin`].
    pub fn begin(
        sock: S,
        security: &Security,
        scratch: &mut TlsScratch,
    ) -> Result<Self, HandshakeError> {
        let mut out = Outbox::default();
        let transport = security.begin(sock, &mut out, scratch)?;
        Ok(Self { transport, latch: Latch::default(), out })
    }

    /// Remembers what an event said.
    pub fn on_event(&mut self, readiness: Readiness) {
        self.latch.set(readiness);
    }

    /// Whether a read may bring something.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.latch.is_readable()
    }

    /// Whether a write may bring something.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.latch.is_writable()
    }

    /// Whether an event said that the peer closed or the connection broke.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.latch.is_closing()
    }

    /// Whether octets wait that the socket refused.
    #[must_use]
    pub fn is_clogged(&self) -> bool {
        !self.out.is_empty()
    }

    /// Reads what is there, at most about `bytes_max` octets, into `buf`.
    pub fn read(&mut self, buf: &mut [u8], bytes_max: usize, scratch: &mut TlsScratch) -> Received {
        match &mut self.transport {
            Transport::Plain(sock) => {
                let _ = scratch;
                let end = bytes_max.min(buf.len());
                read_plain(sock, &mut self.latch, &mut buf[..end])
            }
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => {
                stream.read(buf, bytes_max, &mut self.latch, &mut self.out, scratch)
            }
        }
    }

    /// Sends octets: at once as far as the socket takes them, the rest waits.
    ///
    /// # Errors
    /// When the connection is broken; then none of these octets may count as sent, unless others
    /// were waiting in front of them.
    pub fn send(&mut self, octets: &[u8], scratch: &mut TlsScratch) -> io::Result<Sent> {
        if octets.is_empty() {
            return Ok(if self.out.is_empty() { Sent::All } else { Sent::Waiting });
        }
        match &mut self.transport {
            Transport::Plain(sock) => {
                let _ = scratch;
                send_through(sock, &mut self.latch, &mut self.out, octets)
            }
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.send(octets, &mut self.latch, &mut self.out, scratch),
        }
    }

    /// Writes what waits, if the socket may take it; says how many octets went.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self) -> io::Result<usize> {
        if self.out.is_empty() || !self.latch.is_writable() {
            return Ok(0);
        }
        let (written, all) = self.out.flush(self.transport.sock())?;
        if !all {
            self.latch.write_blocked();
        }
        Ok(written)
    }

    /// Forgets what waits: the peer takes no more. The connection counts as closing from now on.
    pub fn discard_unsent(&mut self) {
        self.out = Outbox::default();
        self.latch.set(Readiness::CLOSING);
    }

    /// Goes on with the handshake of the transport; a plain one has none.
    ///
    /// # Errors
    /// When it failed, with the reason.
    pub fn shake_hands(&mut self, scratch: &mut TlsScratch) -> Result<Handshake, HandshakeError> {
        match &mut self.transport {
            Transport::Plain(_) => {
                let _ = scratch;
                Ok(Handshake::Done)
            }
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.shake_hands(&mut self.latch, &mut self.out, scratch),
        }
    }

    /// The error for which a connection that is being made has failed, if it has: the kernel keeps it
    /// for the first who reads. A peer that has ended its direction already, with or without a word,
    /// did not take the connection either.
    pub fn connect_error(&mut self) -> Option<io::Error> {
        match self.transport.sock().read(&mut [0]) {
            Ok(_) => Some(io::ErrorKind::ConnectionReset.into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Err(e) => Some(e),
        }
    }

    /// Whether this is a TLS connection.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match &self.transport {
            Transport::Plain(_) => false,
            #[cfg(feature = "tls")]
            Transport::Tls(_) => true,
        }
    }

    /// What there is to know of its TLS, which was begun with this; `None` where there is none.
    #[must_use]
    pub fn tls_facts(&self, security: &Security) -> Option<TlsFacts> {
        match (&self.transport, security) {
            #[cfg(feature = "tls")]
            (Transport::Tls(stream), Security::Tls(client)) => Some(stream.facts(client)),
            #[cfg(feature = "tls")]
            (Transport::Plain(_), Security::Tls(_)) | (Transport::Tls(_), Security::Plain) => None,
            (Transport::Plain(_), Security::Plain) => None,
        }
    }

    /// Ends our direction; TLS says so inside first. What waits must have gone before.
    pub fn end(&mut self, scratch: &mut TlsScratch) {
        self.say_goodbye(scratch);
        // Where TLS's own end still waits to be sent, a FIN would cut it off; it will do alone. And a
        // peer that is gone already needs neither.
        if self.out.is_empty() {
            let _ = self.transport.sock().shutdown_write();
        }
    }

    /// Says inside TLS that nothing follows; a plain connection says that by closing.
    pub fn say_goodbye(&mut self, scratch: &mut TlsScratch) {
        match &mut self.transport {
            Transport::Plain(_) => {
                let _ = scratch;
            }
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => {
                stream.say_goodbye(&mut self.latch, &mut self.out, scratch);
            }
        }
    }

    /// Whether everything that was sent has reached the peer's system, as far as anybody knows.
    pub fn is_delivered(&mut self) -> bool {
        self.out.is_empty() && self.transport.sock().is_delivered()
    }

    /// Closing this connection will reset it.
    pub fn reset_on_close(&mut self) {
        self.transport.sock().reset_on_close();
    }
}

/// Reads from a socket and keeps the latch true.
pub(super) fn read_plain<S: Sock>(sock: &mut S, latch: &mut Latch, buf: &mut [u8]) -> Received {
    loop {
        if !latch.is_readable() {
            return Received::Blocked;
        }
        return match sock.read(buf) {
            Ok(0) => Received::Closed,
            Ok(n) => {
                if n < buf.len() {
                    latch.short_read();
                }
                Received::Octets(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                latch.read_blocked();
                Received::Blocked
            }
            Err(_) => Received::Broken(Broken::Reset),
        };
    }
}

/// Writes octets as they are, behind what waits.
pub(super) fn send_through<S: Sock>(
    sock: &mut S,
    latch: &mut Latch,
    out: &mut Outbox,
    octets: &[u8],
) -> io::Result<Sent> {
    if !out.is_empty() {
        out.push(octets);
        let (_, all) = out.flush(sock)?;
        if !all {
            latch.write_blocked();
        }
        return Ok(if all { Sent::All } else { Sent::Waiting });
    }
    let mut written = 0;
    while written < octets.len() {
        match sock.write(&octets[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                latch.write_blocked();
                out.push(&octets[written..]);
                return Ok(Sent::Waiting);
            }
            // What went before cannot be called back; the next use of the link finds it broken.
            Err(_) if written > 0 => {
                out.push(&octets[written..]);
                return Ok(Sent::Waiting);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(Sent::All)
}
