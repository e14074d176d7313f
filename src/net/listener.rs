//! Listening sockets.
//!
//! Made by hand because mio's own have a backlog of 128: a burst of clients beyond that waits for
//! retransmissions of its SYN, a second and more.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::stream::Stream;
use super::sys::is_exhausted;
use super::unix::{self, SocketFile};
use crate::config::limits::BACKLOG_MAX;
use crate::config::{Address, Peer, SocketPath};

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// For TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix {
        /// The socket itself.
        listener: UnixListener,
        /// Where it is.
        path: SocketPath,
        /// Its file, where it has one that is ours to remove, or will be.
        file: Option<SocketFile>,
    },
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Ip),
            Self::Unix { path, .. } => Ok(Address::Unix(path.clone())),
        }
    }

    /// Whether there is a file that is removed when this is dropped.
    #[must_use]
    pub fn has_file(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Unix { file, .. } => file.as_ref().is_some_and(SocketFile::is_ours),
        }
    }

    /// Takes the file of a predecessor's Unix socket over: it is removed when this is dropped.
    pub fn take_file(&mut self) {
        match self {
            Self::Tcp(_) => {}
            Self::Unix { file, .. } => file.iter_mut().for_each(SocketFile::take),
        }
    }

    /// Leaves the file of a Unix socket where it is when this is dropped: somebody else goes on
    /// listening.
    pub fn leave_file(&mut self) {
        match self {
            Self::Tcp(_) => {}
            Self::Unix { file, .. } => file.iter_mut().for_each(SocketFile::leave),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

impl Source for Listener {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.register(poll, token, interest),
            Self::Unix { listener, .. } => listener.register(poll, token, interest),
        }
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.reregister(poll, token, interest),
            Self::Unix { listener, .. } => listener.reregister(poll, token, interest),
        }
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.deregister(poll),
            Self::Unix { listener, .. } => listener.deregister(poll),
        }
    }
}

/// Opens a listening socket.
///
/// # Errors
/// What the kernel says: the address is taken, or not here, or it may not be had.
pub fn listen(address: &Address) -> io::Result<Listener> {
    match address {
        Address::Ip(address) => listen_on_ip(*address).map(Listener::Tcp),
        Address::Unix(path) => {
            let (listener, file) = unix::listen(path)?;
            Ok(Listener::Unix { listener, path: path.clone(), file })
        }
    }
}

/// What is set on a listening socket, accepted ones inherit: no call per connection.
pub(super) fn set_inherited(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    // Otherwise a read stops at an urgent octet, and a short read would not mean that all is read.
    socket.set_out_of_band_inline(true)
}

fn listen_on_ip(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // An IPv6 listener is for IPv6: who wants both families says so with two listeners.
        socket.set_only_v6(true)?;
    }
    set_inherited(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_MAX)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What came of accepting once.
#[derive(Debug)]
pub enum Accepted {
    /// A client.
    Client(Stream, Peer),
    /// Nobody waits; an event will tell.
    Nobody,
    /// This one is gone already, or the call was interrupted: the next may be there.
    Again,
    /// There are no descriptors or no memory left. Trying again at once would spin.
    Exhausted(io::Error),
}

/// Accepts one client.
#[must_use]
pub fn accept(listener: &Listener) -> Accepted {
    let accepted = match listener {
        Listener::Tcp(listener) => {
            listener.accept().map(|(sock, address)| (Stream::Tcp(sock), Peer::Ip(address)))
        }
        Listener::Unix { listener, .. } => {
            listener.accept().map(|(sock, _)| (Stream::Unix(sock), Peer::Unix))
        }
    };
    match accepted {
        Ok((sock, client)) => Accepted::Client(sock, client),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Accepted::Nobody,
        Err(e) if is_exhausted(&e) => Accepted::Exhausted(e),
        Err(_) => Accepted::Again,
    }
}
