//! One connection to a backend that has the thread to itself: each step waits until it is done, or
//! until its time is over.
//!
//! Made of what the traffic's connections are made of: a [`Link`] on a poll, and [`crate::h1`].
//! Knows nothing of what its findings mean. Invariant: nothing waits longer than it is told to, and
//! no more is read than the limits allow.
//!
//! Next: `backend.rs` judges what was seen.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::clock;
use crate::config::limits::READ_BYTES_MIN;
use crate::config::{Address, Limits};
use crate::h1::body::BodyState;
use crate::h1::chunked::Emit;
use crate::h1::fields::field_storage;
use crate::h1::framing::Framing;
use crate::h1::reply::Reason;
use crate::h1::request::Method;
use crate::h1::response::parse_response;
use crate::h1::scan::HeadScan;
use crate::key::Token;
use crate::net::link::{Handshake, Link, Received};
use crate::net::stream::Stream;
use crate::net::tcp::{OsNet, event_readiness};
use crate::net::transport::{HandshakeError, Security, TlsFacts};
use crate::net::{HEADROOM_BYTES, Net, Scratch};

/// The longest body that is read to learn what follows it.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Talk {
    poll: Poll,
    events: Events,
    link: Link<Stream>,
    scratch: Scratch,
    /// What was received and not yet judged.
    part: Vec<u8>,
}

/// An answer, as far as it is of interest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// 200 to 599.
    pub(super) status: u16,
    /// From the request to the end of the answer's head.
    pub(super) after: Duration,
    /// What becomes of the connection.
    pub(super) then: Then,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// It can be used again, for so long as the backend says, if it does.
    Persists(Option<Duration>),
    /// It ends with the answer.
    Ends,
    /// It would persist, but something came behind the answer.
    Spoiled,
    /// The answer is so long, or takes so long, that nobody waited for its end.
    Unknown,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NoAnswer {
    /// Nothing, or not enough, came in time.
    Timeout,
    /// The connection ended before.
    Closed,
    /// What came is none.
    Bad(Reason),
}

/// How a connection rested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// It was there all the time.
    Kept,
    /// The backend ended it after this time.
    Ended(Duration),
    /// The backend said something unasked after this time.
    Spoke(Duration),
}

/// Whether something has happened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// Perhaps.
    Event,
    /// Nothing has, and the time is over.
    TimeOver,
}

/// Which octets are still to be read of an answer.
struct Body {
    then: Then,
    state: BodyState,
}

impl Talk {
    /// Connects.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::TimedOut`] where nobody answered in time.
    pub(super) fn connect(
        address: &Address,
        security: &Security,
        wait: Duration,
    ) -> io::Result<Self> {
        let until = clock::now().instant + wait;
        let poll = Poll::new()?;
        let mut net = OsNet::new(poll.registry().try_clone()?);
        let mut scratch = Scratch::default();
        let sock = net.connect(address, Token(0))?;
        let link = Link::begin(sock, security, &mut scratch.tls)
            .map_err(|failure| io::Error::other(failure.text))?;
        let events = Events::with_capacity(8);
        let mut talk = Self { poll, events, link, scratch, part: Vec::new() };
        loop {
            if talk.link.is_closing()
                && let Some(error) = talk.link.connect_error()
            {
                return Err(error);
            }
            if talk.link.is_writable() {
                return Ok(talk);
            }
            if talk.wait(until)? == Waited::TimeOver {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Shakes hands, where there is TLS.
    ///
    /// # Errors
    /// Why that came to nothing.
    pub(super) fn shake_hands(&mut self, wait: Duration) -> Result<(), HandshakeError> {
        let until = clock::now().instant + wait;
        loop {
            match self.link.shake_hands(&mut self.scratch.tls)? {
                Handshake::Done => return Ok(()),
                Handshake::Blocked => {}
            }
            let time_over = || HandshakeError {
                reason: Reason::TlsHandshakeTimeout,
                text: "the TLS handshake does not end".into(),
            };
            match self.wait(until) {
                Ok(Waited::Event) => {}
                Ok(Waited::TimeOver) => return Err(time_over()),
                Err(error) => {
                    let (reason, text) = (Reason::TlsHandshakeFailed, error.to_string());
                    return Err(HandshakeError { reason, text });
                }
            }
        }
    }

    /// What there is to know of its TLS.
    pub(super) fn tls_facts(&self, security: &Security) -> Option<TlsFacts> {
        self.link.tls_facts(security)
    }

    /// Sends a request without a body and reads the answer.
    pub(super) fn ask(
        &mut self,
        request: &[u8],
        limits: &Limits,
        wait: Duration,
    ) -> Result<Answer, NoAnswer> {
        let began = clock::now().instant;
        let until = began + wait;
        self.link.send(request, &mut self.scratch.tls).map_err(|_| NoAnswer::Closed)?;
        let (status, body) = self.read_head(limits, until)?;
        let after = clock::now().instant - began;
        let then = self.read_body(body, limits, until);
        Ok(Answer { status, after, then })
    }

    fn read_head(&mut self, limits: &Limits, until: Instant) -> Result<(u16, Body), NoAnswer> {
        let mut scan = HeadScan::default();
        let mut interim = 0;
        loop {
            let bad = |reason| NoAnswer::Bad(reason);
            let found = scan.advance(&self.part).map_err(|_| bad(Reason::BadResponseHead))?;
            if found.unwrap_or(self.part.len()) > limits.response_head_bytes_max {
                return Err(bad(Reason::ResponseHeadTooLong));
            }
            match found {
                None => self.receive(until)?,
                Some(length) => {
                    let final_one = judge(&self.part[..length]).map_err(bad)?;
                    self.part.drain(..length);
                    if let Some(answer) = final_one {
                        return Ok(answer);
                    }
                    scan = HeadScan::default();
                    interim += 1;
                    if interim > limits.interim_count_max {
                        return Err(bad(Reason::TooManyInterim));
                    }
                }
            }
        }
    }

    /// Reads a body to its end, for that is where a connection begins to rest.
    fn read_body(&mut self, body: Body, limits: &Limits, until: Instant) -> Then {
        let Body { then, mut state } = body;
        if then == Then::Ends {
            return then;
        }
        let mut left = BODY_BYTES_MAX;
        let mut tail = Vec::new();
        while !state.is_complete() {
            let Ok(walked) = state.walk(&mut self.part, &mut tail, limits) else {
                return Then::Spoiled;
            };
            self.part.drain(..walked.used);
            left = left.saturating_sub(walked.used);
            if state.is_complete() {
                break;
            }
            if left == 0 {
                return Then::Unknown;
            }
            match self.receive(until) {
                Ok(()) => {}
                Err(NoAnswer::Timeout) => return Then::Unknown,
                Err(NoAnswer::Closed | NoAnswer::Bad(_)) => return Then::Ends,
            }
        }
        if self.part.is_empty() { then } else { Then::Spoiled }
    }

    /// Adds what comes next to `part`.
    fn receive(&mut self, until: Instant) -> Result<(), NoAnswer> {
        loop {
            let Scratch { area, tls, .. } = &mut self.scratch;
            self.link.flush().map_err(|_| NoAnswer::Closed)?;
            let room = &mut area[HEADROOM_BYTES..];
            match self.link.read(room, READ_BYTES_MIN, tls) {
                Received::Octets(count) => {
                    self.part.extend_from_slice(&room[..count]);
                    return Ok(());
                }
                Received::Blocked => {}
                Received::Closed | Received::Broken(_) => return Err(NoAnswer::Closed),
            }
            match self.wait(until) {
                Ok(Waited::Event) => {}
                Ok(Waited::TimeOver) => return Err(NoAnswer::Timeout),
                Err(_) => return Err(NoAnswer::Closed),
            }
        }
    }

    /// Leaves the connection alone for so long and sees what the backend does with it.
    pub(super) fn rest(&mut self, wait: Duration) -> Rest {
        let began = clock::now().instant;
        let outcome = self.receive(began + wait);
        let after = clock::now().instant - began;
        match outcome {
            Ok(()) => Rest::Spoke(after),
            Err(NoAnswer::Timeout) => Rest::Kept,
            Err(NoAnswer::Closed | NoAnswer::Bad(_)) => Rest::Ended(after),
        }
    }

    /// Waits for events, and lets the link know.
    fn wait(&mut self, until: Instant) -> io::Result<Waited> {
        let left = until.saturating_duration_since(clock::now().instant);
        if left.is_zero() {
            return Ok(Waited::TimeOver);
        }
        match self.poll.poll(&mut self.events, Some(left)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for event in &self.events {
            self.link.on_event(event_readiness(event));
        }
        Ok(Waited::Event)
    }
}

/// Reads a head. `None` is an interim one.
fn judge(head: &[u8]) -> Result<Option<(u16, Body)>, Reason> {
    let mut storage = field_storage();
    let head = parse_response(head, &mut storage, Method::Idempotent)?;
    if head.is_interim() {
        return Ok(None);
    }
    if head.status == 101 {
        return Err(Reason::UnexpectedUpgrade);
    }
    let ends = !head.may_persist() || head.framing == Framing::UntilClose;
    let then = if ends { Then::Ends } else { Then::Persists(head.keep_alive) };
    let state = BodyState::new(head.framing, Emit::Chunks);
    Ok(Some((head.status, Body { then, state })))
}
