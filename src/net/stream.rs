//! A connection of either kind, over TCP or over a Unix socket.
//!
//! The two differ in what they can say, not in what can be asked of them: a Unix socket knows no
//! reset, so its peer sees a plain end where one of TCP would see that something broke off. Knows
//! nothing of how connections are made. Invariant: which kind it is costs no system call and no
//! octet of memory that TLS does not need anyway.
//!
//! Next: [`super::link`] adds what every connection needs.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::Sock;
use super::splice::Pipe;
use super::sys::{self, unconfirmed_bytes};
use super::transport::Transport;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

// With assertions on, mio keeps more beside a descriptor.
const _: () = assert!(
    cfg!(debug_assertions) || size_of::<Transport<Stream>>() <= 2 * size_of::<usize>(),
    "an idle client has no octet more for it"
);

impl From<TcpStream> for Stream {
    fn from(sock: TcpStream) -> Self {
        Self::Tcp(sock)
    }
}

impl From<UnixStream> for Stream {
    fn from(sock: UnixStream) -> Self {
        Self::Unix(sock)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(sock) => sock.as_fd(),
            Self::Unix(sock) => sock.as_fd(),
        }
    }
}

impl Sock for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(sock) => Read::read(sock, buf),
            Self::Unix(sock) => Read::read(sock, buf),
        }
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(sock) => Write::write(sock, buf),
            Self::Unix(sock) => Write::write(sock, buf),
        }
    }

    fn read_into(&mut self, pipe: &mut Pipe, bytes_max: usize) -> io::Result<usize> {
        pipe.fill(|ends| sys::splice(self.as_fd(), ends.writer(), bytes_max))
    }

    fn write_from(&mut self, pipe: &mut Pipe) -> io::Result<usize> {
        pipe.drain(|ends, octets| sys::splice(ends.reader(), self.as_fd(), octets))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(sock) => sock.shutdown(Shutdown::Write),
            Self::Unix(sock) => sock.shutdown(Shutdown::Write),
        }
    }

    fn is_delivered(&self) -> bool {
        match self {
            Self::Tcp(sock) => unconfirmed_bytes(sock.as_raw_fd()) == Some(0),
            // What was written is in the peer's own queue, and stays there when we close: the peer
            // reads it first, whatever it has sent itself.
            Self::Unix(_) => true,
        }
    }

    fn reset_on_close(&mut self) {
        match self {
            Self::Tcp(sock) => {
                // A socket that cannot be told is broken already, and ends as a reset anyway.
                let _ = SockRef::from(&*sock).set_linger(Some(Duration::ZERO));
            }
            // There is no such thing (the system resets only where we leave something unread, which
            // is not ours to arrange): the peer sees the end of the stream, and has only the
            // framing to tell it from the end of the message.
            Self::Unix(_) => {}
        }
    }
}

impl Source for Stream {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(sock) => sock.register(poll, token, interest),
            Self::Unix(sock) => sock.register(poll, token, interest),
        }
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(sock) => sock.reregister(poll, token, interest),
            Self::Unix(sock) => sock.reregister(poll, token, interest),
        }
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(sock) => sock.deregister(poll),
            Self::Unix(sock) => sock.deregister(poll),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`Stream::is_delivered`] and [`Stream::reset_on_close`] say of Unix sockets.
    #[test]
    fn what_was_written_to_a_unix_socket_outlives_it() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut ours = Stream::from(ours);
        ours.write(b"all of it").expect("room");
        assert!(ours.is_delivered());
        theirs.write_all(b"left unread").expect("room");
        ours.reset_on_close();
        drop(ours);
        let mut got = [0; 20];
        assert_eq!(theirs.read(&mut got).expect("octets"), 9);
        assert!(theirs.write_all(b"too late").is_err());
    }
}
