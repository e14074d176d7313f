//! The desk for operators: a small server of its own on the same loop, which says how things are.
//!
//! It reads one request of a connection, says which page is wanted, sends what it is given, and closes.
//! Knows nothing of proxying and of what the pages say. Invariants: visits are few and short, each with a
//! deadline and a bounded head; in one turn of the loop one page is answered, so that nobody who asks much
//! can slow the traffic.
//!
//! Next: `server::event_loop` makes the pages, from [`crate::observe`].

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Interest, Registry};

use super::slots::Slots;
use crate::clock::Now;
use crate::config::{Address, Limits};
use crate::h1::fields::field_storage;
use crate::h1::reply::{AfterReply, Reason, ReplyBody, ReplyStyle, write_reply};
use crate::h1::request::{Method, parse_request};
use crate::h1::scan::HeadScan;
use crate::h1::text::push_http_date;
use crate::key::{Key, Subject, Token};
use crate::net::latch::Readiness;
use crate::net::link::{Link, Received};
use crate::net::listener::{Accepted, Listener, accept};
use crate::net::stream::Stream;
use crate::net::tcp::{INTEREST, poll_token};
use crate::net::{Scratch, TlsScratch};
use crate::observe::page::POLICY;

/// What the listening socket is called in the poll.
pub const DOOR: Subject = Subject::Process(2);

/// The most visits at a time. Those beyond take the place of one that gives way, or wait in the kernel.
const VISITS_COUNT_MAX: usize = 32;

/// How long a visit may take.
const VISIT_TIMEOUT: Duration = Duration::from_secs(10);

/// After so long a visitor who has not asked gives way to others.
const SILENCE_MAX: Duration = Duration::from_millis(250);

/// After so long a visitor who takes nothing of its answer gives way to others.
const STALL_MAX: Duration = Duration::from_secs(1);

/// How long an answered visitor may take to close.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a visitor is read from before others are heard.
const READS_COUNT_MAX: u32 = 4;

/// The longest request head.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// Whether the process runs: always.
    Health,
    /// Whether requests should be sent here.
    Ready,
    /// Numbers for Prometheus.
    Metrics,
    /// Everything, for programs.
    Status,
    /// Everything, for people.
    Front,
}

/// What is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status line behind the version.
    pub status: &'static str,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
struct Visit {
    link: Link<Stream>,
    part: Vec<u8>,
    scan: HeadScan,
    stage: Stage,
    /// How many octets may still come that nobody asked for.
    unwanted: usize,
    /// From when on it gives way to others, if it does.
    gives_way: Option<Instant>,
    /// The last moment.
    until: Instant,
}

/// How far a visit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Its request is awaited.
    Asking,
    /// It waits for its page.
    Waiting { page: Page, body: ReplyBody },
    /// The answer is on its way.
    Leaving,
    /// The answer has gone; what it still sends is read until it closes.
    Lingering,
}

/// All visits.
#[derive(Debug)]
pub struct Desk {
    asked: Address,
    listener: Listener,
    registry: Registry,
    somebody_waits: bool,
    visits: Slots<Visit>,
    /// Those to whom something happened.
    touched: VecDeque<Key>,
    /// Those that wait for a page, oldest first.
    waiting: VecDeque<Key>,
    limits: Limits,
    tls: TlsScratch,
    area: Box<[u8]>,
}

impl Desk {
    /// Opens the desk, at an address that was asked for in these words.
    ///
    /// # Errors
    /// When the kernel has no room for it in the poll.
    pub fn new(asked: Address, mut listener: Listener, registry: Registry) -> io::Result<Self> {
        registry.register(&mut listener, poll_token(Token::from(DOOR)), Interest::READABLE)?;
        let Scratch { tls, .. } = Scratch::default();
        Ok(Self {
            asked,
            listener,
            registry,
            somebody_waits: true,
            visits: Slots::default(),
            touched: VecDeque::new(),
            waiting: VecDeque::new(),
            limits: Limits { request_head_bytes_max: HEAD_BYTES_MAX, ..Limits::default() },
            tls,
            area: vec![0; HEAD_BYTES_MAX].into_boxed_slice(),
        })
    }

    /// The address that was asked for; the port may have been left to the kernel.
    #[must_use]
    pub fn asked(&self) -> &Address {
        &self.asked
    }

    /// The listening socket.
    #[must_use]
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// The same, for what becomes of its file.
    pub fn listener_mut(&mut self) -> &mut Listener {
        &mut self.listener
    }

    /// Somebody may be at the door.
    pub fn on_knock(&mut self) {
        self.somebody_waits = true;
    }

    /// Something became ready.
    pub fn on_event(&mut self, key: Key, readiness: Readiness) {
        if let Some(visit) = self.visits.get_mut(key) {
            visit.link.on_event(readiness);
            self.touched.push_back(key);
        }
    }

    /// Whether there is something to do without waiting for an event.
    #[must_use]
    pub fn has_work(&self, now: Instant) -> bool {
        !self.waiting.is_empty()
            || !self.touched.is_empty()
            || (self.somebody_waits && self.has_room(now))
    }

    /// When the next visit is over, or gives way to somebody who waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let over = self.visits.values().map(|visit| visit.until).min();
        let room = if self.somebody_waits { self.first_to_give_way() } else { None };
        [over, room.map(|(from, _)| from)].into_iter().flatten().min()
    }

    /// Lets visitors in, hears them, and sends away those whose time is over; gives who wants which
    /// page next, if anybody does.
    pub fn turn(&mut self, now: Now) -> Option<(Key, Page)> {
        for _ in 0..self.touched.len() {
            if let Some(key) = self.touched.pop_front()
                && !self.attend(key, now)
            {
                self.visits.remove(key);
            }
        }
        if self.next_deadline().is_some_and(|first| first <= now.instant) {
            for key in self.visits.keys() {
                if self.visits.get(key).is_some_and(|visit| visit.until <= now.instant) {
                    self.visits.remove(key);
                }
            }
        }
        self.let_in(now.instant);
        while let Some(key) = self.waiting.pop_front() {
            if let Some(Stage::Waiting { page, .. }) = self.visits.get(key).map(|visit| visit.stage)
            {
                return Some((key, page));
            }
        }
        None
    }

    fn let_in(&mut self, now: Instant) {
        while self.somebody_waits && self.has_room(now) {
            match accept(&self.listener) {
                Accepted::Client(sock, _) => self.admit(sock, now),
                // Out of descriptors: the traffic's own accepting says so, and an event will tell.
                Accepted::Nobody | Accepted::Exhausted(_) => self.somebody_waits = false,
                Accepted::Again => {}
            }
        }
    }

    fn admit(&mut self, mut sock: Stream, now: Instant) {
        if self.visits.len() >= VISITS_COUNT_MAX
            && let Some((_, oldest)) = self.first_to_give_way()
        {
            self.visits.remove(oldest);
        }
        let Some(key) = self.visits.vacant_key() else { return };
        let token = poll_token(Token::from(Subject::Visit(key)));
        if self.registry.register(&mut sock, token, INTEREST).is_err() {
            return;
        }
        self.visits.insert(Visit {
            link: Link::plain(sock),
            part: Vec::new(),
            scan: HeadScan::default(),
            stage: Stage::Asking,
            unwanted: self.limits.linger_bytes_max,
            gives_way: Some(now + SILENCE_MAX),
            until: now + VISIT_TIMEOUT,
        });
    }

    fn has_room(&self, now: Instant) -> bool {
        self.visits.len() < VISITS_COUNT_MAX
            || self.first_to_give_way().is_some_and(|(from, _)| from <= now)
    }

    /// Which visit gives way first where there are too many, and from when on.
    fn first_to_give_way(&self) -> Option<(Instant, Key)> {
        let all = self.visits.keys().into_iter();
        let giving = all.filter_map(|key| Some((self.visits.get(key)?.gives_way?, key)));
        giving.min_by_key(|(from, _)| *from)
    }

    /// Does for a visit what can be done now; says whether it goes on.
    fn attend(&mut self, key: Key, now: Now) -> bool {
        let Some(visit) = self.visits.get_mut(key) else { return true };
        match visit.link.flush() {
            Err(_) => return false,
            Ok(0) => {}
            // It takes its answer, however slowly.
            Ok(_) => visit.enter(visit.stage, now.instant),
        }
        if visit.stage == Stage::Leaving && !visit.link.is_clogged() {
            visit.link.end(&mut self.tls);
            visit.enter(Stage::Lingering, now.instant);
        }
        for _ in 0..READS_COUNT_MAX {
            match visit.link.read(&mut self.area, HEAD_BYTES_MAX, &mut self.tls) {
                Received::Octets(n) if visit.stage == Stage::Asking => {
                    visit.part.extend_from_slice(&self.area[..n]);
                }
                Received::Octets(n) if n <= visit.unwanted => visit.unwanted -= n,
                Received::Octets(_) => return false,
                Received::Blocked => return true,
                // Who asks and ends its direction still wants the answer.
                Received::Closed => {
                    return matches!(visit.stage, Stage::Waiting { .. } | Stage::Leaving);
                }
                Received::Broken(_) => return false,
            }
            match visit.hear(&self.limits, now.instant) {
                Heard::Nothing => {}
                Heard::Page => self.waiting.push_back(key),
                Heard::Nonsense(reply) => {
                    visit.enter(Stage::Leaving, now.instant);
                    let octets = reply.octets(now.unix_ms);
                    if visit.link.send(&octets, &mut self.tls).is_err() {
                        return false;
                    }
                    self.touched.push_back(key);
                }
            }
        }
        // There may be more.
        self.touched.push_back(key);
        true
    }

    /// Says what was asked for.
    pub fn answer(&mut self, key: Key, answer: &Answer, now: Now) {
        let Some(visit) = self.visits.get_mut(key) else { return };
        let Stage::Waiting { body, .. } = visit.stage else { return };
        visit.enter(Stage::Leaving, now.instant);
        let octets = answer.octets(body, now.unix_ms);
        if visit.link.send(&octets, &mut self.tls).is_err() {
            self.visits.remove(key);
        } else {
            self.touched.push_back(key);
        }
    }
}

/// What a visitor has said.
enum Heard {
    /// Not enough yet, or nothing new.
    Nothing,
    /// What it wants.
    Page,
    /// Something else.
    Nonsense(Reply),
}

/// What we answer without a page.
enum Reply {
    /// It is no request.
    Refusal(Reason),
    /// It is one that is not served here.
    Other(Answer, ReplyBody),
}

impl Visit {
    /// It is so far, or gets on with it. Nobody who has asked loses an answer that it would take.
    fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.gives_way = match stage {
            Stage::Asking => Some(now + SILENCE_MAX),
            Stage::Waiting { .. } => None,
            Stage::Leaving => Some(now + STALL_MAX),
            Stage::Lingering => Some(now),
        };
        if stage == Stage::Lingering {
            self.until = self.until.min(now + LINGER_TIMEOUT);
        }
    }

    fn hear(&mut self, limits: &Limits, now: Instant) -> Heard {
        if self.stage != Stage::Asking {
            return Heard::Nothing;
        }
        let length = match self.scan.advance(&self.part) {
            Err(_) => return Heard::Nonsense(Reply::Refusal(Reason::BadField)),
            Ok(Some(length)) if length <= HEAD_BYTES_MAX => length,
            Ok(None) if self.part.len() <= HEAD_BYTES_MAX => return Heard::Nothing,
            Ok(_) => return Heard::Nonsense(Reply::Refusal(Reason::HeadTooLong)),
        };
        let mut storage = field_storage();
        let head = match parse_request(&self.part[..length], &mut storage, limits) {
            Ok(head) => head,
            Err(reason) => return Heard::Nonsense(Reply::Refusal(reason)),
        };
        let body = match head.method {
            Method::Head => ReplyBody::Omitted,
            Method::Idempotent | Method::Other => ReplyBody::Sent,
        };
        if head.method_text != b"GET" && head.method != Method::Head {
            return Heard::Nonsense(Reply::Other(
                plain("405 Method Not Allowed", "GET and HEAD are served here\n"),
                body,
            ));
        }
        let target = head.target.path_and_query();
        let path = target.split(|octet| *octet == b'?').next().unwrap_or_default();
        let page = match path {
            b"/healthz" => Page::Health,
            b"/ready" => Page::Ready,
            b"/metrics" => Page::Metrics,
            b"/status" => Page::Status,
            b"/" => Page::Front,
            _ => {
                let text = "there are /, /status, /metrics, /ready and /healthz\n";
                return Heard::Nonsense(Reply::Other(plain("404 Not Found", text), body));
            }
        };
        self.enter(Stage::Waiting { page, body }, now);
        self.part = Vec::new();
        Heard::Page
    }
}

/// A line of text as an answer.
#[must_use]
pub fn plain(status: &'static str, text: &str) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: text.as_bytes().to_vec() }
}

impl Reply {
    fn octets(&self, unix_ms: u64) -> Vec<u8> {
        match self {
            Self::Refusal(reason) => {
                let mut out = Vec::new();
                let style = ReplyStyle { body: ReplyBody::Sent, after: AfterReply::Close, unix_ms };
                write_reply(&mut out, *reason, style);
                out
            }
            Self::Other(answer, body) => answer.octets(*body, unix_ms),
        }
    }
}

impl Answer {
    fn octets(&self, body: ReplyBody, unix_ms: u64) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {}\r\nDate: ", self.status).into_bytes();
        push_http_date(&mut out, unix_ms);
        // The page is ours to the last octet; should something of a request ever get into it as more
        // than text, nothing of that may run or be fetched.
        let rest = format!(
            "\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Content-Security-Policy: {}\r\nConnection: close\r\n\r\n",
            self.content_type,
            self.body.len(),
            *POLICY
        );
        out.extend_from_slice(rest.as_bytes());
        match body {
            ReplyBody::Sent => out.extend_from_slice(&self.body),
            ReplyBody::Omitted => {}
        }
        out
    }
}
