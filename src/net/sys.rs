//! What only the C library offers: signals, flags of files, pipes and the limit of descriptors. The one file
//! with `unsafe`.
#![expect(unsafe_code, reason = "these calls have no safe interface")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

use mio::net::UnixStream;

/// A signal that we act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// TERM or INT: finish what runs, then exit.
    Stop,
    /// HUP: read the configuration anew.
    Reload,
    /// USR1: open log files anew.
    Reopen,
    /// USR2: let a new process take over.
    Upgrade,
}

/// Where the handler writes; it can be told nothing except through a global.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Turns signals into octets of a pipe, so that the loop learns of them like of any socket.
#[derive(Debug)]
pub struct Signals {
    reader: UnixStream,
    _writer: UnixStream,
}

impl Signals {
    /// Takes TERM, INT, HUP, USR1 and USR2 from now on. PIPE is ignored by Rust's own start-up code already.
    ///
    /// # Errors
    /// When there are no descriptors for the pipe.
    pub fn take() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        PIPE.store(writer.as_raw_fd(), Ordering::Release);
        let ours = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
        for signal in ours {
            install(signal)?;
        }
        Ok(Self { reader, _writer: writer })
    }

    /// What the poll watches.
    pub fn source(&mut self) -> &mut UnixStream {
        &mut self.reader
    }

    /// The signals that have arrived since the last call.
    pub fn arrived(&mut self) -> impl Iterator<Item = Signal> + use<> {
        let mut octets = [0u8; 64];
        let mut signals = Vec::new();
        while let Ok(n @ 1..) = io::Read::read(&mut self.reader, &mut octets) {
            signals.extend(octets[..n].iter().filter_map(|octet| match i32::from(*octet) {
                libc::SIGTERM | libc::SIGINT => Some(Signal::Stop),
                libc::SIGHUP => Some(Signal::Reload),
                libc::SIGUSR1 => Some(Signal::Reopen),
                libc::SIGUSR2 => Some(Signal::Upgrade),
                _ => None,
            }));
        }
        signals.into_iter()
    }
}

fn install(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid value; the handler has the right signature and does
    // only what a handler may: it calls write, and restores errno.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_signal(signal: libc::c_int) {
    let fd: RawFd = PIPE.load(Ordering::Acquire);
    let octet = signal.to_le_bytes()[0];
    // SAFETY: write is async-signal-safe and gets a pointer to one octet that lives through the
    // call. A full pipe loses the octet, which is no loss: the loop is told already.
    unsafe {
        let errno = errno_location();
        let saved = *errno;
        libc::write(fd, (&raw const octet).cast(), 1);
        *errno = saved;
    }
}

/// Where the C library keeps the error of the last call, by platform.
///
/// # Safety
/// The pointer is this thread's, and good for as long as the thread is.
unsafe fn errno_location() -> *mut libc::c_int {
    // SAFETY: no arguments, always succeeds.
    unsafe {
        #[cfg(any(target_os = "linux", target_os = "emscripten"))]
        return libc::__errno_location();
        #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
        return libc::__error();
    }
}

/// Whether an error says that there are no descriptors or no memory left: nobody else's fault.
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Whether an error says that there is nothing to be opened: a pipe that nobody reads from, a socket, a device
/// that is away.
#[must_use]
pub fn is_no_file(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// How many octets that were written to a socket the peer's system has not confirmed yet; `None` where
/// the system does not tell.
#[must_use]
pub fn unconfirmed_bytes(socket: RawFd) -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        let mut octets: libc::c_int = 0;
        // SAFETY: for a socket this call (SIOCOUTQ by its other name) writes one int, to a value that
        // lives through it.
        let result = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut octets) };
        if result == 0 { usize::try_from(octets).ok() } else { None }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        None
    }
}

/// Opens a file to write at its end, and makes it where there is none. A pipe with a name is opened
/// only if somebody reads from it: to wait for that could be to wait for long. Writing does wait.
///
/// # Errors
/// When it cannot be opened or made; [`is_no_file`] tells what can be no file at all.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open(path)?;
    // SAFETY: only numbers are passed, and the descriptor is open.
    let result = unsafe {
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// A copy of a descriptor that processes started from now on have as well.
///
/// # Errors
/// When there are no descriptors left.
pub fn inheritable(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only numbers are passed; the copy is open and nobody else knows of it.
    unsafe {
        let copy = libc::fcntl(descriptor, libc::F_DUPFD, 3);
        if copy < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(copy)) }
    }
}

/// Takes over a descriptor that this process was started with, if it is open, and keeps it from further
/// processes. Each at most once: there is one owner.
#[must_use]
pub fn adopt_descriptor(descriptor: RawFd) -> Option<OwnedFd> {
    // The standard ones are everybody's.
    if descriptor < 3 {
        return None;
    }
    // SAFETY: only numbers are passed. That nobody else owns it is for the caller to see to, who was told
    // its number by whoever started this process, before anything else was opened.
    unsafe {
        if libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return None;
        }
        Some(OwnedFd::from_raw_fd(descriptor))
    }
}

/// The time since some point in the past that only moves forward, in microseconds, as other processes of
/// this machine have it.
#[must_use]
pub fn monotonic_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one value that lives through it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec / 1000).unwrap_or(0)
}

/// The two ends of a pipe that never blocks.
#[derive(Debug)]
pub struct PipeEnds {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl PipeEnds {
    /// Opens a pipe and asks that it holds so many octets; it may hold less.
    ///
    /// # Errors
    /// When there are no descriptors, and where pipes are of no use to us.
    pub fn open(bytes: usize) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            let mut ends: [RawFd; 2] = [-1; 2];
            // SAFETY: the call writes two descriptors to an array of two that lives through it.
            if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) } != 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: both are open, and nobody else knows of them.
            let (reader, writer) =
                unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
            let size = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
            // SAFETY: only a number is passed. A refusal leaves the pipe as large as it was.
            unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
            Ok(Self { reader, writer })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = bytes;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Where octets come out.
    #[must_use]
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Where octets go in.
    #[must_use]
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

/// Moves octets from a socket to a pipe, or from a pipe to a socket, without copying them.
///
/// # Errors
/// As for a read or a write; and where there is no such call, or not for these two
/// ([`is_unsupported`]).
pub fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes_max: usize) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    {
        let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
        let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
        let nowhere = std::ptr::null_mut();
        // SAFETY: both are open for as long as they are borrowed; neither has an offset.
        let octets = unsafe { libc::splice(from, nowhere, to, nowhere, bytes_max, flags) };
        usize::try_from(octets).map_err(|_| io::Error::last_os_error())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (from, to, bytes_max);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether an error says that the system cannot do such a thing at all.
#[must_use]
pub fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// Gives memory back to the system that many connections have needed and none needs any more. It takes a
/// millisecond for each ten megabytes or so, and does nothing where the allocator sees to it itself.
pub fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes a number, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Raises the soft limit of open descriptors to the hard one and says what it is then. Every client
/// costs one descriptor, and one more while it is served.
///
/// # Errors
/// When the kernel does not say.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a value that lives through them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // macOS refuses more than its own maximum; the soft limit then stays as it is.
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
            limit = raised;
        }
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_the_peer_has_no_room_for_is_unconfirmed() {
        use std::io::Write;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let mut client = mio::net::TcpStream::connect(address).expect("a socket");
        let _server = listener.accept().expect("a client");
        assert_eq!(unconfirmed_bytes(client.as_raw_fd()), Some(0));
        while client.write(&[0; 65_536]).is_ok() {}
        assert!(unconfirmed_bytes(client.as_raw_fd()) > Some(0));
        assert_eq!(unconfirmed_bytes(-1), None);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_descriptor_limit().expect("a limit");
        assert!(raised >= 64, "{raised}");
        assert_eq!(raise_descriptor_limit().expect("a limit"), raised);
    }
}
