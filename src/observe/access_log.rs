//! One line for each exchange, written by a thread that may block so that the loop never does.
//!
//! The loop collects the lines of a turn in one buffer and hands it over. Where the writer does not
//! keep up (a full disk, a pipe that nobody reads), whole buffers are dropped and their lines
//! counted: an access log may have gaps, a proxy may not.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use crate::config::LogDestination;
use crate::h1::reply::Reason;
use crate::h1::text::{push_address, push_decimal, push_timestamp};

/// How many buffers may wait for the writer.
const BUFFERS_COUNT_MAX: usize = 64;

/// How many octets of lines one turn of the loop may collect; what is beyond is dropped.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// How long the end of the process waits for the writer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a request went over a connection that had served before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// It went over none.
    None,
    /// It was the first on its connection.
    New,
    /// It was not.
    Reused,
}

/// Everything that a line says.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the exchange ended.
    pub unix_ms: u64,
    /// Who asked.
    pub client: SocketAddr,
    /// The method, if a request line was understood.
    pub method: &'a [u8],
    /// The target, likewise.
    pub target: &'a [u8],
    /// The status of the final response, if one was sent.
    pub status: Option<u16>,
    /// Octets of the request body.
    pub bytes_in: u64,
    /// Octets of the response body.
    pub bytes_out: u64,
    /// How long it took.
    pub duration: Duration,
    /// Who answered last.
    pub backend: Option<&'a str>,
    /// How many tries were made.
    pub attempts: u32,
    /// Over which kind of connection.
    pub reuse: Reuse,
    /// Why it did not go well.
    pub reason: Option<Reason>,
    /// The id under which the backend knows the request, if it got that far.
    pub request_id: &'a [u8],
}

/// Appends the line of a record.
pub fn push_line(out: &mut Vec<u8>, record: &Record<'_>) {
    push_timestamp(out, record.unix_ms);
    out.push(b' ');
    if record.client.is_ipv6() && record.client.ip().to_canonical().is_ipv6() {
        out.push(b'[');
        push_address(out, record.client.ip());
        out.push(b']');
    } else {
        push_address(out, record.client.ip());
    }
    out.push(b':');
    push_decimal(out, u64::from(record.client.port()));
    out.extend_from_slice(b" \"");
    if record.method.is_empty() {
        out.push(b'-');
    } else {
        // Neither can have a quote or a control octet: their grammars were checked.
        out.extend_from_slice(record.method);
        out.push(b' ');
        out.extend_from_slice(record.target);
    }
    out.extend_from_slice(b"\" ");
    match record.status {
        Some(status) => push_decimal(out, u64::from(status)),
        None => out.push(b'-'),
    }
    let ms = u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX);
    for number in [record.bytes_in, record.bytes_out, ms] {
        out.push(b' ');
        push_decimal(out, number);
    }
    out.push(b' ');
    out.extend_from_slice(record.backend.unwrap_or("-").as_bytes());
    out.push(b' ');
    push_decimal(out, u64::from(record.attempts));
    out.push(b' ');
    out.extend_from_slice(match record.reuse {
        Reuse::None => b"-",
        Reuse::New => b"new",
        Reuse::Reused => b"reused",
    });
    out.push(b' ');
    out.extend_from_slice(record.reason.map_or("-", Reason::word).as_bytes());
    out.push(b' ');
    out.extend_from_slice(if record.request_id.is_empty() { b"-" } else { record.request_id });
    out.push(b'\n');
}

/// The loop's end of the writer.
#[derive(Debug)]
pub struct AccessLog {
    lines: Vec<u8>,
    lines_count: u64,
    dropped: u64,
    full: Option<SyncSender<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    finished: Receiver<()>,
    write_failures: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the destination and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or there is no thread to be had.
    pub fn open(destination: &LogDestination) -> io::Result<Self> {
        let sink: Box<dyn Write + Send> = match destination {
            LogDestination::Stdout => Box::new(io::stdout()),
            LogDestination::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        Self::start(sink)
    }

    fn start(mut sink: Box<dyn Write + Send>) -> io::Result<Self> {
        let (full, to_write) = mpsc::sync_channel::<Vec<u8>>(BUFFERS_COUNT_MAX);
        let (to_fill, empty) = mpsc::sync_channel::<Vec<u8>>(BUFFERS_COUNT_MAX);
        let (done, finished) = mpsc::channel();
        let write_failures = Arc::new(AtomicU64::new(0));
        let failures = Arc::clone(&write_failures);
        thread::Builder::new().name("access-log".into()).spawn(move || {
            for mut lines in to_write {
                if sink.write_all(&lines).and_then(|()| sink.flush()).is_err() {
                    failures.fetch_add(count_lines(&lines), Ordering::Relaxed);
                }
                lines.clear();
                let _ = to_fill.try_send(lines);
            }
            let _ = done.send(());
        })?;
        Ok(Self {
            lines: Vec::new(),
            lines_count: 0,
            dropped: 0,
            full: Some(full),
            empty,
            finished,
            write_failures,
        })
    }

    /// Adds a line to those of this turn.
    pub fn add(&mut self, record: &Record<'_>) {
        if self.lines.len() >= BUFFER_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        push_line(&mut self.lines, record);
        self.lines_count += 1;
    }

    /// Hands the lines of this turn to the writer, or drops them where it is behind.
    pub fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let next = self.empty.try_recv().unwrap_or_default();
        let lines = std::mem::replace(&mut self.lines, next);
        let count = std::mem::take(&mut self.lines_count);
        let Some(full) = &self.full else { return };
        match full.try_send(lines) {
            Ok(()) => {}
            Err(TrySendError::Full(mut lines) | TrySendError::Disconnected(mut lines)) => {
                self.dropped += count;
                lines.clear();
                self.lines = lines;
            }
        }
    }

    /// How many lines were lost since the last time this was asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.dropped) + self.write_failures.swap(0, Ordering::Relaxed)
    }

    /// Writes what is left; waits for the writer, but not for long.
    pub fn close(mut self) {
        self.flush();
        self.full = None;
        let _ = self.finished.recv_timeout(CLOSE_TIMEOUT);
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|octet| **octet == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            unix_ms: 1_735_689_599_007,
            client: ([127, 0, 0, 1], 40_000).into(),
            method: b"GET",
            target: b"/a?b",
            status: Some(200),
            bytes_in: 0,
            bytes_out: 12,
            duration: Duration::from_micros(3999),
            backend: Some("127.0.0.1:3001"),
            attempts: 1,
            reuse: Reuse::Reused,
            reason: None,
            request_id: b"r-1",
        }
    }

    fn line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        push_line(&mut out, record);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn lines() {
        assert_eq!(
            line(&record()),
            "2024-12-31T23:59:59.007Z 127.0.0.1:40000 \"GET /a?b\" 200 0 12 3 127.0.0.1:3001 1 reused - r-1\n"
        );
        let refused = Record {
            client: (std::net::Ipv6Addr::LOCALHOST, 1).into(),
            method: b"",
            target: b"",
            status: None,
            backend: None,
            attempts: 0,
            reuse: Reuse::None,
            reason: Some(Reason::ClientReset),
            request_id: b"",
            ..record()
        };
        assert_eq!(
            line(&refused),
            "2024-12-31T23:59:59.007Z [::1]:1 \"-\" - 0 12 3 - 0 - client_reset -\n"
        );
    }

    /// A sink that takes nothing until it is let go.
    struct Stalled(Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_writer_costs_lines_not_time() {
        let (let_go, stalled) = mpsc::channel();
        let mut log = AccessLog::start(Box::new(Stalled(stalled))).expect("a thread");
        let turns = BUFFERS_COUNT_MAX as u64 + 10;
        for _ in 0..turns {
            log.add(&record());
            log.add(&record());
            log.flush();
        }
        // One buffer may be in the writer's hands, the rest of the queue is full.
        let lost = log.take_lost();
        assert!((18..=20).contains(&lost), "{lost}");
        assert_eq!(log.take_lost(), 0, "told once");
        drop(let_go);
        log.close();
    }
}
