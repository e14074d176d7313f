//! Listening sockets that come from another process: from a service manager (socket activation, `sd_listen_fds(3)`),
//! or from a roundel that lets this one take over.
//!
//! A socket that is handed over is the same socket: who waits in its queue is served by whoever accepts
//! first, and nobody is refused. Knows nothing of what is served.
//!
//! Invariants: a descriptor is taken only if it is a listening socket; nothing that was taken is
//! passed on to further processes by accident.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use mio::net::TcpListener;
use socket2::Socket;

use super::sys::{adopt_descriptor, inheritable};

/// What a roundel tells its successor: `NAME=DESCRIPTOR` for each socket, and `!=DESCRIPTOR` for the pipe
/// through which the successor says that it is ready.
const VARIABLE: &str = "ROUNDEL_HANDOVER";

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
    pub named: Vec<(String, TcpListener)>,
    /// Sockets from a service manager, each with the name that its unit gives.
    pub activated: Vec<(String, TcpListener)>,
    /// Where to say that clients are served.
    pub ready: Option<UnixStream>,
}

impl Inherited {
    /// Takes what there is. Only once in a process: the descriptors have one owner afterwards.
    #[must_use]
    pub fn take() -> Self {
        let mut inherited = Self::default();
        if let Ok(text) = std::env::var(VARIABLE) {
            for (name, descriptor) in text.split(' ').filter_map(|word| word.rsplit_once('=')) {
                let Ok(descriptor) = descriptor.parse() else { continue };
                let Some(owned) = adopt_descriptor(descriptor) else { continue };
                if name == READY {
                    inherited.ready = Some(UnixStream::from(owned));
                } else if let Some(listener) = listener(owned) {
                    inherited.named.push((name.to_owned(), listener));
                }
            }
        }
        inherited.activated = activated();
        inherited
    }

    /// The socket that a predecessor had under this name.
    pub fn take_named(&mut self, name: &str) -> Option<TcpListener> {
        let place = self.named.iter().position(|(known, _)| known == name)?;
        Some(self.named.swap_remove(place).1)
    }

    /// Tells the predecessor, if there is one, that it may go.
    pub fn say_ready(&mut self) {
        if let Some(mut pipe) = self.ready.take() {
            // One that is gone already needs no word.
            let _ = io::Write::write_all(&mut pipe, b"r");
        }
    }
}

/// Sockets that a service manager has opened for this very process.
fn activated() -> Vec<(String, TcpListener)> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let is_ours =
        number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0).clamp(0, SOCKETS_COUNT_MAX);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
    let descriptors = FIRST_ACTIVATED..FIRST_ACTIVATED + count;
    let sockets = descriptors.zip(names).filter_map(|(descriptor, name)| {
        let owned = adopt_descriptor(descriptor)?;
        Some((name, listener(owned)?))
    });
    sockets.collect()
}

/// A descriptor as a listener, if it is one.
fn listener(owned: OwnedFd) -> Option<TcpListener> {
    let socket = Socket::from(owned);
    // What accepted sockets inherit, as for those that we open ourselves.
    let set = || -> io::Result<bool> {
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(true)?;
        socket.set_out_of_band_inline(true)?;
        socket.is_listener()
    };
    match set() {
        Ok(true) => Some(TcpListener::from_std(socket.into())),
        Ok(false) | Err(_) => {
            log::warn!(
                "descriptor {} is no listening TCP socket: it is left alone",
                socket.as_raw_fd()
            );
            None
        }
    }
}

/// Lets a process that is about to be started have these sockets, each under its name, and a pipe to say
/// that it is ready. What is returned keeps the copies open until the process has started.
///
/// # Errors
/// When there are no descriptors left.
pub fn hand_over<'a>(
    command: &mut Command,
    sockets: impl IntoIterator<Item = (String, &'a TcpListener)>,
    ready: UnixStream,
) -> io::Result<Vec<OwnedFd>> {
    let mut copies = Vec::new();
    let mut words = Vec::new();
    for (name, socket) in sockets {
        let copy = inheritable(socket.as_raw_fd())?;
        words.push(format!("{name}={}", copy.as_raw_fd()));
        copies.push(copy);
    }
    let copy = inheritable(ready.as_raw_fd())?;
    words.push(format!("{READY}={}", copy.as_raw_fd()));
    copies.push(copy);
    command.env(VARIABLE, words.join(" "));
    for stale in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(stale);
    }
    Ok(copies)
}
