//! Listening sockets that come from another process: from a service manager (socket activation, `sd_listen_fds(3)`),
//! or from a roundel that lets this one take over.
//!
//! A socket that is handed over is the same socket: who waits in its queue is served by whoever accepts
//! first, and nobody is refused. Knows nothing of what is served.
//!
//! Invariants: a descriptor is taken only if it is a listening socket; nothing that was taken is
//! passed on to further processes by accident.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use mio::net::{TcpListener, UnixListener};
use socket2::Socket;

use super::listener::{Listener, set_inherited};
use super::sys::{adopt_descriptor, inheritable};
use super::unix::{self, SocketFile};

/// What a roundel tells its successor: a line `NAME=DESCRIPTOR` for each socket, with a `+` behind it
/// where the file of the socket goes along, and `!=DESCRIPTOR` for the pipe through which the
/// successor says that it is ready.
const VARIABLE: &str = "ROUNDEL_HANDOVER";

/// Behind the descriptor of a socket whose file is to be removed at the end.
const WITH_FILE: &str = "+";

/// In front of the name of a socket that a service manager had opened for the predecessor.
const GIVEN: &str = "given ";

/// The name under which a socket that a service manager has opened is handed over.
#[must_use]
pub fn name_of_given(address: &impl std::fmt::Display) -> String {
    format!("{GIVEN}{address}")
}

/// The name of the pipe.
const READY: &str = "!";

/// The first descriptor that a service manager passes.
const FIRST_ACTIVATED: i32 = 3;

/// The most sockets that are taken.
const SOCKETS_COUNT_MAX: i32 = 256;

/// What this process was started with.
#[derive(Default, Debug)]
pub struct Inherited {
    /// Sockets from a predecessor, each with its name there.
    pub named: Vec<(String, Listener)>,
    /// Sockets from a service manager, each with the name that its unit gives.
    pub activated: Vec<(String, Listener)>,
    /// Where to say that clients are served. Open to the end of the process where that is never said, so
    /// that the predecessor hears of its end only after it has told the reason.
    ready: ManuallyDrop<Option<UnixStream>>,
}

impl Inherited {
    /// Takes what there is. Only once in a process: the descriptors have one owner afterwards.
    #[must_use]
    pub fn take() -> Self {
        let mut inherited = Self::default();
        if let Ok(text) = std::env::var(VARIABLE) {
            for (name, descriptor) in text.lines().filter_map(|line| line.rsplit_once('=')) {
                let (descriptor, file) = match descriptor.strip_suffix(WITH_FILE) {
                    Some(descriptor) => (descriptor, File::OfPredecessor),
                    None => (descriptor, File::OfOthers),
                };
                let Ok(descriptor) = descriptor.parse() else { continue };
                let Some(owned) = adopt_descriptor(descriptor) else { continue };
                if name == READY {
                    inherited.ready = ManuallyDrop::new(Some(UnixStream::from(owned)));
                } else if let Some(listener) = listener(owned, file) {
                    if name.starts_with(GIVEN) {
                        inherited.activated.push((String::new(), listener));
                        continue;
                    }
                    inherited.named.push((name.to_owned(), listener));
                }
            }
        }
        inherited.activated.extend(activated());
        inherited
    }

    /// The socket that a predecessor had under this name.
    pub fn take_named(&mut self, name: &str) -> Option<Listener> {
        let place = self.named.iter().position(|(known, _)| known == name)?;
        Some(self.named.swap_remove(place).1)
    }

    /// Closes what a predecessor had and nobody wants any more, and removes its files.
    pub fn close_others(&mut self) {
        for (_, mut listener) in self.named.drain(..) {
            listener.take_file();
        }
    }

    /// Tells the predecessor that it may go; says whether there was one.
    pub fn say_ready(&mut self) -> bool {
        let Some(mut pipe) = self.ready.take() else { return false };
        // One that is gone already needs no word.
        let _ = io::Write::write_all(&mut pipe, b"r");
        true
    }
}

/// Sockets that a service manager has opened for this very process.
fn activated() -> Vec<(String, Listener)> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let is_ours =
        number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0).clamp(0, SOCKETS_COUNT_MAX);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
    let descriptors = FIRST_ACTIVATED..FIRST_ACTIVATED + count;
    let sockets = descriptors.zip(names).filter_map(|(descriptor, name)| {
        let owned = adopt_descriptor(descriptor)?;
        Some((name, listener(owned, File::OfOthers)?))
    });
    sockets.collect()
}

/// Whose the file of a Unix socket is that was not opened here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum File {
    /// A predecessor's, until that has gone.
    OfPredecessor,
    /// Somebody's who looks after it.
    OfOthers,
}

/// A descriptor as a listener, if it is one.
fn listener(owned: OwnedFd, file: File) -> Option<Listener> {
    let socket = Socket::from(owned);
    let descriptor = socket.as_raw_fd();
    let opened = match socket.is_listener() {
        Ok(true) => open(socket, file).map_err(|error| error.to_string()),
        Ok(false) => Err("it is no listening socket".into()),
        Err(error) => Err(error.to_string()),
    };
    match opened {
        Ok(listener) => Some(listener),
        Err(why) => {
            log::warn!("descriptor {descriptor} is left alone: {why}");
            None
        }
    }
}

fn open(socket: Socket, file: File) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    if !address.is_unix() {
        set_inherited(&socket)?;
        return Ok(Listener::Tcp(TcpListener::from_std(socket.into())));
    }
    let path = unix::path_of(&address)?;
    let file = match file {
        File::OfPredecessor => SocketFile::of_somebody(&path),
        File::OfOthers => None,
    };
    let listener = UnixListener::from_std(OwnedFd::from(socket).into());
    Ok(Listener::Unix { listener, path, file })
}

/// Lets a process that is about to be started have these sockets, each under its name, and a pipe to say
/// that it is ready. What is returned keeps the copies open until the process has started.
///
/// # Errors
/// When there are no descriptors left.
pub fn hand_over<'a>(
    command: &mut Command,
    sockets: impl IntoIterator<Item = (String, &'a Listener)>,
    ready: UnixStream,
) -> io::Result<Vec<OwnedFd>> {
    let mut copies = Vec::new();
    let mut words = Vec::new();
    for (name, socket) in sockets {
        let copy = inheritable(socket.as_fd().as_raw_fd())?;
        let file = if socket.has_file() { WITH_FILE } else { "" };
        words.push(format!("{name}={}{file}", copy.as_raw_fd()));
        copies.push(copy);
    }
    let copy = inheritable(ready.as_raw_fd())?;
    words.push(format!("{READY}={}", copy.as_raw_fd()));
    copies.push(copy);
    command.env(VARIABLE, words.join("\n"));
    for stale in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(stale);
    }
    Ok(copies)
}
