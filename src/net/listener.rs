//! Listening sockets.
//!
//! Made by hand because mio's own have a backlog of 128: a burst of clients beyond that waits for
//! retransmissions of its SYN, a second and more.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::sys::is_exhausted;
use crate::config::limits::BACKLOG_MAX;

/// Opens a listening socket. What is set on it, accepted sockets inherit: no call per connection.
///
/// # Errors
/// What the kernel says: the port is taken, the address is not here, or it may not be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // An IPv6 listener is for IPv6: who wants both families says so with two listeners.
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    // Otherwise a read stops at an urgent octet, and a short read would not mean that all is read.
    socket.set_out_of_band_inline(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_MAX)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What came of accepting once.
#[derive(Debug)]
pub enum Accepted {
    /// A client.
    Client(TcpStream, SocketAddr),
    /// Nobody waits; an event will tell.
    Nobody,
    /// This one is gone already, or the call was interrupted: the next may be there.
    Again,
    /// There are no descriptors or no memory left. Trying again at once would spin.
    Exhausted(io::Error),
}

/// Accepts one client.
#[must_use]
pub fn accept(listener: &TcpListener) -> Accepted {
    match listener.accept() {
        Ok((sock, address)) => Accepted::Client(sock, address),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Accepted::Nobody,
        Err(e) if is_exhausted(&e) => Accepted::Exhausted(e),
        Err(_) => Accepted::Again,
    }
}
