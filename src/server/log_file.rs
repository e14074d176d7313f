//! Where the access log goes: opened for the start and for each reload, and looked at for who only asks.
//!
//! Knows nothing of lines. Invariant: nothing here waits for somebody to read from a pipe.
//!
//! Next: `observe::access_log` writes, on a thread of its own.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::RunError;
use crate::config::{LogConfig, LogDestination};
use crate::net::sys::{is_no_file, open_to_append};
use crate::observe::access_log::{AccessLog, Writers};

/// Opens the destination and starts its writer.
pub(super) fn open(log: &LogConfig, writers: &Writers) -> Result<AccessLog, RunError> {
    let open = || -> io::Result<AccessLog> {
        let sink: Box<dyn Write + Send> = match &log.destination {
            LogDestination::Stdout => Box::new(io::stdout()),
            LogDestination::File(path) => Box::new(open_to_append(path).map_err(explained(path))?),
        };
        AccessLog::start(sink, log.format, writers)
    };
    open().map_err(|e| cannot_write(&log.destination, &e.to_string()))
}

/// An error in words, where the system's own say little.
fn explained(path: &Path) -> impl Fn(io::Error) -> io::Error {
    |error| match prospect(path) {
        Prospect::Pipe if is_no_file(&error) => {
            io::Error::other("it is a pipe that nobody reads from")
        }
        Prospect::Bad(why) if is_no_file(&error) => io::Error::other(why),
        Prospect::Good | Prospect::Pipe | Prospect::Bad(_) => error,
    }
}

/// What keeps us from writing there.
pub(super) fn cannot_write(destination: &LogDestination, why: &str) -> RunError {
    RunError::Wrong(format!("cannot write the access log {destination}: {why}"))
}

/// What can be told of a file without making it, and without opening a pipe: who reads that would take our
/// closing it for the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Prospect {
    /// It can be written, as far as that can be told.
    Good,
    /// It is a pipe: whether somebody reads from it shows at the start.
    Pipe,
    /// It cannot be written, for this reason.
    Bad(String),
}

/// Looks at a file.
pub(super) fn prospect(path: &Path) -> Prospect {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Prospect::Bad(e.to_string()),
        Err(_) if folder.unwrap_or(Path::new(".")).is_dir() => return Prospect::Good,
        Err(_) => return Prospect::Bad("its folder is not there".into()),
    };
    let kind = found.file_type();
    if kind.is_fifo() {
        Prospect::Pipe
    } else if kind.is_dir() {
        Prospect::Bad("it is a directory".into())
    } else if kind.is_socket() {
        Prospect::Bad("it is a socket, not a file".into())
    } else {
        let opened = OpenOptions::new().append(true).open(path);
        opened.map_or_else(|e| Prospect::Bad(e.to_string()), |_| Prospect::Good)
    }
}
