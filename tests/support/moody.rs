//! Backends that do well or badly, as the test wants at the moment.
//!
//! A [`Moody`] has one [`Mood`] for requests and another for probes, which ask for `/up`; both may
//! change while it serves.
#![allow(dead_code, reason = "each test file uses its own part of the harness")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test harness: a panic is how it reports, and threads are its means"
)]

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{Backend, PATIENCE, Roundel, Wire};

/// What a backend does with a request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Mood {
    /// Answers with its name, and closes: each request is on a fresh connection.
    Answer,
    /// Sends these octets, and closes when roundel does.
    Say(&'static str),
    /// Ends the connection without a word.
    Close,
    /// Says nothing.
    Silence,
    /// Waits for another mood.
    Hold,
}

/// A backend whose moods change.
pub(crate) struct Moody {
    pub(crate) backend: Backend,
    pub(crate) requests: Arc<Condition>,
    pub(crate) probes: Arc<Condition>,
}

impl Moody {
    pub(crate) fn new(name: &'static str, requests: Mood, probes: Mood) -> Self {
        let (requests, probes) = (Condition::new(requests), Condition::new(probes));
        let (its_requests, its_probes) = (Arc::clone(&requests), Arc::clone(&probes));
        let backend = Backend::serve(move |wire, request| {
            let is_probe = request.start() == "GET /up HTTP/1.1";
            let condition = if is_probe { &its_probes } else { &its_requests };
            condition.meet(wire, name);
        });
        Self { backend, requests, probes }
    }

    /// What roundel calls it in its log.
    pub(crate) fn label(&self) -> String {
        self.backend.addr().to_string()
    }
}

/// What a backend does with requests of one kind, and how many there were.
pub(crate) struct Condition {
    mood: RwLock<Mood>,
    seen: AtomicUsize,
}

impl Condition {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: RwLock::new(mood), seen: AtomicUsize::new(0) })
    }

    fn mood(&self) -> Mood {
        *self.mood.read().unwrap()
    }

    /// From now on.
    pub(crate) fn becomes(&self, mood: Mood) {
        *self.mood.write().unwrap() = mood;
    }

    /// How many requests of this kind there were.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Waits until there were so many.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) {
        let begin = Instant::now();
        while self.seen() < count {
            assert!(begin.elapsed() < PATIENCE, "{} instead of {count}", self.seen());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn meet(&self, wire: &mut Wire, name: &str) {
        self.seen.fetch_add(1, Ordering::SeqCst);
        while self.mood() == Mood::Hold {
            thread::sleep(Duration::from_millis(2));
        }
        // Whether roundel still wants to know is the test's business.
        let _ = match self.mood() {
            Mood::Answer => wire.try_send(format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{name}",
                name.len()
            )),
            Mood::Say(octets) => wire.try_send(octets),
            Mood::Close => wire.try_half_close(),
            Mood::Silence | Mood::Hold => Ok(()),
        };
    }
}

/// How many lines on stderr have this in them so far.
pub(crate) fn lines_with(roundel: &Roundel, text: &str) -> usize {
    roundel.stderr().iter().filter(|line| line.contains(text)).count()
}
