//! Unix sockets: how they are listened on and connected to, and the file that each has.
//!
//! Knows nothing of what is said over them. Invariants: a file that is no socket is never removed,
//! nor is a socket at which somebody listens; a file that is not ours (any more) is left alone at
//! the end.
//!
//! Next: [`super::listener`] and [`super::tcp`] offer both kinds of sockets as one.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::SocketPath;
use crate::config::address::parse_socket_path;
use crate::config::limits::BACKLOG_MAX;

/// Begins to connect, which a Unix socket does at once or not at all.
///
/// # Errors
/// What the system says: nobody listens, there is nothing, or it may not be had. Where the queue of
/// who listens is full, no event would ever tell that there is room: that is `ConnectionRefused` as
/// well.
pub fn connect(path: &SocketPath) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&std_address(path)?).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => {
            io::Error::new(ErrorKind::ConnectionRefused, "the queue of its socket is full")
        }
        _ => error,
    })
}

fn std_address(path: &SocketPath) -> io::Result<std::os::unix::net::SocketAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = path.abstract_name() {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;
        return std::os::unix::net::SocketAddr::from_abstract_name(name);
    }
    std::os::unix::net::SocketAddr::from_pathname(path.as_str())
}

/// Opens a listening socket. A socket that was left at this path by somebody who is gone is removed
/// first. Who may connect is for the umask to say, and for the folder.
///
/// # Errors
/// What the system says; `AddrInUse` where somebody listens there, and `AlreadyExists` where there
/// is something else than a socket.
pub fn listen(path: &SocketPath) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let address = match path.abstract_name() {
        Some(name) => SockAddr::unix(format!("\0{name}"))?,
        None => SockAddr::unix(path.as_str())?,
    };
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && path.abstract_name().is_none() => {
            remove_stale(Path::new(path.as_str()), &address)?;
            socket.bind(&address)?;
        }
        outcome => outcome?,
    }
    let file = match path.abstract_name() {
        Some(_) => None,
        None => Some(SocketFile::at(Path::new(path.as_str()))?),
    };
    socket.listen(BACKLOG_MAX)?;
    Ok((UnixListener::from_std(OwnedFd::from(socket).into()), file))
}

/// Where a socket is that somebody else has opened.
///
/// # Errors
/// When it is nowhere, or where our own may not be: see [`parse_socket_path`].
pub fn path_of(address: &SockAddr) -> io::Result<SocketPath> {
    let name = address.as_abstract_namespace().and_then(|name| std::str::from_utf8(name).ok());
    let path = match name {
        Some(name) => Some(format!("@{name}")),
        None => address.as_pathname().and_then(Path::to_str).map(str::to_owned),
    };
    let path = path.ok_or_else(|| io::Error::other("it is nowhere that could be written"))?;
    parse_socket_path(&path).map_err(io::Error::other)
}

/// Removes a socket at which nobody listens.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where the queue is full, somebody listens, and waiting for room would not tell more.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Ok(()) | Err(_) => return Err(ErrorKind::AddrInUse.into()),
    }
    // Somebody may have come in between.
    if Identity::of(&fs::symlink_metadata(path)?) != Identity::of(&found) {
        return Err(ErrorKind::AddrInUse.into());
    }
    log::warn!("{} was left by somebody who is gone: it is made anew", path.display());
    fs::remove_file(path)
}

/// Tells a file from another that takes its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: &fs::Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }
}

/// The file of a listening socket: removed when this is dropped, if it is still the same.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// `None` while it is somebody else's to remove.
    identity: Option<Identity>,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let identity = Identity::of(&fs::symlink_metadata(path)?);
        Ok(Self { path: path.to_owned(), identity: Some(identity) })
    }

    /// The file of a socket of which somebody else takes care so far; `None` for one without.
    #[must_use]
    pub fn of_somebody(path: &SocketPath) -> Option<Self> {
        let has_path = path.abstract_name().is_none();
        has_path.then(|| Self { path: path.as_str().into(), identity: None })
    }

    /// Whether it is removed at the end.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.identity.is_some()
    }

    /// It is ours to remove from now on, if it is there.
    pub fn take(&mut self) {
        if self.identity.is_none() {
            self.identity = fs::symlink_metadata(&self.path).ok().map(|file| Identity::of(&file));
        }
    }

    /// Leaves the file where it is.
    pub fn leave(&mut self) {
        self.identity = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Some(identity) = self.identity else { return };
        let is_same = fs::symlink_metadata(&self.path).is_ok_and(|f| Identity::of(&f) == identity);
        if is_same && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{} cannot be removed: {error}", self.path.display());
        }
    }
}
