//! One line for each exchange, written by a thread that may block so that the loop never does.
//!
//! The loop collects the lines of some turns in one buffer and hands it over. Where the writer does not
//! keep up (a full disk, a pipe that nobody reads), lines are dropped and counted: an access log may
//! have gaps, a proxy may not.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::log_line::push_line;
use crate::config::{LogFormat, Peer};
use crate::h1::Version;
use crate::h1::reply::Reason;

/// How many octets of lines may wait for the writer.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many octets of lines may wait to be handed over; what is beyond is dropped.
const COLLECTED_BYTES_MAX: usize = 1024 * 1024;

/// How long lines wait at most for others to be written with them, where some were written just
/// before. To wake the writer for each costs as much as everything else about the line.
const HAND_OVER_DELAY: Duration = Duration::from_millis(50);

/// So many octets of lines are handed over without a wait.
const HAND_OVER_BYTES: usize = 16 * 1024;

/// How many empty buffers are kept to be filled again.
const SPARE_BUFFERS_COUNT_MAX: usize = 4;

/// The most writers at a time: one that nobody takes anything from stays when its log is opened anew.
const WRITERS_COUNT_MAX: usize = 8;

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

/// Of what the time of an exchange is made, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Times {
    /// From the request until a connection carried it: the last one, where there were several.
    pub connect: Option<Duration>,
    /// From then until the head of the response was there.
    pub wait: Option<Duration>,
    /// What was our own doing, where that is measured: from the event that brought the request to its
    /// first octet on the way, and from the one that brought the end of the response to its last.
    pub own: Option<Duration>,
}

/// Everything that a line says.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the exchange ended.
    pub unix_ms: u64,
    /// Who asked.
    pub client: Peer,
    /// The method; empty where no request was accepted.
    pub method: &'a [u8],
    /// The target, likewise.
    pub target: &'a [u8],
    /// The version that the client speaks.
    pub version: Version,
    /// The `Referer` of the request; empty where there is none or the format does not tell it.
    pub referer: &'a [u8],
    /// Its `User-Agent`, likewise.
    pub user_agent: &'a [u8],
    /// The status of the final response, if one was sent.
    pub status: Option<u16>,
    /// Octets of the request body.
    pub bytes_in: u64,
    /// Octets of the response body that were handed to the client's connection.
    pub bytes_out: u64,
    /// How long it took.
    pub duration: Duration,
    /// Of what that was made.
    pub times: Times,
    /// Who was asked last: its number and its label.
    pub backend: Option<(usize, &'a str)>,
    /// How many tries were made.
    pub attempts: u32,
    /// Over which kind of connection.
    pub reuse: Reuse,
    /// Why it did not go well.
    pub reason: Option<Reason>,
    /// The id under which the backend knows the request, if it got that far.
    pub request_id: &'a [u8],
}

/// Knows how many writers there are: each shares it for as long as it runs.
#[derive(Clone, Default, Debug)]
pub struct Writers(Arc<()>);

/// Lines on their way to the writer.
struct Batch {
    octets: Vec<u8>,
    lines: u64,
}

/// The loop's end of the writer.
#[derive(Debug)]
pub struct AccessLog {
    format: LogFormat,
    lines: Vec<u8>,
    /// How many these are.
    count: u64,
    /// Until then lines wait for others: some were handed over just now.
    quiet_until: Option<Instant>,
    dropped: u64,
    full: Option<Sender<Batch>>,
    empty: Receiver<Vec<u8>>,
    finished: Receiver<()>,
    /// Octets that were handed over and are not written yet.
    waiting_bytes: Arc<AtomicUsize>,
    /// How many lines these are.
    waiting_lines: Arc<AtomicU64>,
    write_failures: Arc<AtomicU64>,
}

impl AccessLog {
    /// Starts the writer, over what may block.
    ///
    /// # Errors
    /// When there is no thread to be had, or too many earlier writers have not come to their end.
    pub fn start(
        sink: Box<dyn Write + Send>,
        format: LogFormat,
        writers: &Writers,
    ) -> io::Result<Self> {
        if Arc::strong_count(&writers.0) > WRITERS_COUNT_MAX {
            return Err(io::Error::other("nobody takes what earlier ones still have to write"));
        }
        // Bounded by octets, in `flush`: a bound on buffers would be one on turns of the loop, and a
        // writer that sleeps for ten milliseconds would lose lines.
        let (full, batches) = mpsc::channel();
        let (to_fill, empty) = mpsc::sync_channel(SPARE_BUFFERS_COUNT_MAX);
        let (done, finished) = mpsc::channel();
        let write_failures = Arc::new(AtomicU64::new(0));
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let waiting_lines = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            sink,
            failures: Arc::clone(&write_failures),
            waiting_bytes: Arc::clone(&waiting_bytes),
            waiting_lines: Arc::clone(&waiting_lines),
            _among: writers.clone(),
        };
        thread::Builder::new().name("access-log".into()).spawn(move || {
            writer.write(&batches, &to_fill);
            let _ = done.send(());
        })?;
        Ok(Self {
            format,
            lines: Vec::new(),
            count: 0,
            quiet_until: None,
            dropped: 0,
            full: Some(full),
            empty,
            finished,
            waiting_bytes,
            waiting_lines,
            write_failures,
        })
    }

    /// Whether lines tell what the client says about itself: then records have to have it.
    #[must_use]
    pub fn tells_fields(&self) -> bool {
        self.format == LogFormat::Combined
    }

    /// Adds a line to those of this turn.
    pub fn add(&mut self, record: &Record<'_>) {
        if self.lines.len() >= COLLECTED_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        push_line(&mut self.lines, record, self.format);
        self.count += 1;
    }

    /// A turn of the loop is over: hands the lines to the writer if there are many, or if it has been
    /// left alone for `HAND_OVER_DELAY`.
    pub fn end_turn(&mut self, now: Instant) {
        let are_few = self.lines.len() < HAND_OVER_BYTES;
        let may_wait = are_few && self.quiet_until.is_some_and(|until| now < until);
        if !self.lines.is_empty() && !may_wait {
            self.flush();
            self.quiet_until = Some(now + HAND_OVER_DELAY);
        }
    }

    /// When lines are to be handed over next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.quiet_until.filter(|_| !self.lines.is_empty())
    }

    /// Hands the lines to the writer; where that is behind, they wait here.
    pub fn flush(&mut self) {
        let waiting = self.waiting_bytes.load(Ordering::Acquire);
        if !self.lines.is_empty() && waiting + self.lines.len() <= WAITING_BYTES_MAX {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let Some(full) = &self.full else { return };
        let next = self.empty.try_recv().unwrap_or_default();
        let octets = std::mem::replace(&mut self.lines, next);
        let lines = std::mem::take(&mut self.count);
        self.waiting_bytes.fetch_add(octets.len(), Ordering::AcqRel);
        self.waiting_lines.fetch_add(lines, Ordering::AcqRel);
        if let Err(SendError(batch)) = full.send(Batch { octets, lines }) {
            // The writer is gone; so are the lines.
            self.dropped += batch.lines;
        }
    }

    /// How many lines were lost since the last time this was asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.dropped) + self.write_failures.swap(0, Ordering::Relaxed)
    }

    /// Writes what is left and says how many lines were lost; waits for the writer, but not for long.
    #[must_use]
    pub fn close(self) -> u64 {
        self.close_within(CLOSE_TIMEOUT)
    }

    fn close_within(mut self, timeout: Duration) -> u64 {
        self.hand_over();
        self.full = None;
        let _ = self.finished.recv_timeout(timeout);
        self.take_lost() + self.waiting_lines.load(Ordering::Acquire)
    }
}

/// The thread's end.
struct Writer {
    sink: Box<dyn Write + Send>,
    failures: Arc<AtomicU64>,
    waiting_bytes: Arc<AtomicUsize>,
    waiting_lines: Arc<AtomicU64>,
    _among: Writers,
}

impl Writer {
    /// Writes until the loop's end is gone, and gives the buffers back empty.
    fn write(mut self, batches: &Receiver<Batch>, to_fill: &SyncSender<Vec<u8>>) {
        let mut fails = false;
        for Batch { mut octets, lines } in batches {
            let result = self.sink.write_all(&octets).and_then(|()| self.sink.flush());
            if let Err(error) = &result {
                self.failures.fetch_add(lines, Ordering::Relaxed);
                if !fails {
                    log::warn!("cannot write the access log: {error}");
                }
            }
            fails = result.is_err();
            self.waiting_bytes.fetch_sub(octets.len(), Ordering::AcqRel);
            self.waiting_lines.fetch_sub(lines, Ordering::AcqRel);
            octets.clear();
            let _ = to_fill.try_send(octets);
        }
    }
}

#[cfg(test)]
impl Record<'static> {
    /// One of an exchange that went well.
    pub(super) fn example() -> Self {
        Self {
            unix_ms: 1_735_689_599_007,
            client: Peer::Ip(([127, 0, 0, 1], 40_000).into()),
            method: b"GET",
            target: b"/a?b",
            version: Version::Http11,
            referer: b"",
            user_agent: b"",
            status: Some(200),
            bytes_in: 0,
            bytes_out: 12,
            duration: Duration::from_micros(3999),
            times: Times::default(),
            backend: Some((0, "127.0.0.1:3001")),
            attempts: 1,
            reuse: Reuse::Reused,
            reason: None,
            request_id: b"r-1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        push_line(&mut out, record, LogFormat::Text);
        out
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

    /// A log that nobody takes anything from until it is let go.
    fn stalled(writers: &Writers) -> io::Result<(Sender<()>, AccessLog)> {
        let (let_go, stalled) = mpsc::channel();
        let log = AccessLog::start(Box::new(Stalled(stalled)), LogFormat::Text, writers)?;
        Ok((let_go, log))
    }

    fn hand_in(log: &mut AccessLog, lines: usize) {
        for _ in 0..lines {
            log.add(&Record::example());
            log.flush();
        }
    }

    #[test]
    fn a_stalled_writer_costs_lines_not_time() {
        let (let_go, mut log) = stalled(&Writers::default()).expect("a thread");
        let line_bytes = line(&Record::example()).len();
        let fitting = (WAITING_BYTES_MAX + COLLECTED_BYTES_MAX) / line_bytes;
        hand_in(&mut log, fitting + 1000);
        let lost = log.take_lost();
        assert!((990..=1010).contains(&lost), "{lost}");
        assert_eq!(log.take_lost(), 0, "told once");
        drop(let_go);
        assert_eq!(log.close(), 0, "what waited was written");
    }

    #[test]
    fn a_writer_that_naps_loses_nothing() {
        let (let_go, mut log) = stalled(&Writers::default()).expect("a thread");
        hand_in(&mut log, 10_000);
        drop(let_go);
        assert_eq!(log.close(), 0);
    }

    #[test]
    fn what_nobody_took_is_lost_in_the_end() {
        let (_let_go, mut log) = stalled(&Writers::default()).expect("a thread");
        hand_in(&mut log, 3);
        log.add(&Record::example());
        assert_eq!(log.close_within(Duration::ZERO), 4);
    }

    #[test]
    fn writers_that_are_stuck_do_not_pile_up() {
        let writers = Writers::default();
        let mut stuck = Vec::new();
        for _ in 0..WRITERS_COUNT_MAX {
            let (let_go, mut log) = stalled(&writers).expect("a thread");
            hand_in(&mut log, 1);
            stuck.push(let_go);
        }
        assert!(stalled(&writers).is_err());
    }
}
