//! One client, the real worker, and backends, over sockets in memory.
//!
//! A [`Script`] says what the client sends, what the backends answer, and in which steps octets get
//! on; [`play`] lets the worker live through it and gives what everybody saw. Backends read with the
//! strict reader and panic at what no sender may write.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use roundel::clock::{self, Now};
use roundel::config::backend_url::parse_backend;
use roundel::config::{Address, Limits};
use roundel::key::Token;
use roundel::net::latch::Readiness;
use roundel::net::splice::Pipe;
use roundel::net::transport::Security;
use roundel::net::{Net, Sock};
use roundel::server::backends::Backend;
use roundel::server::worker::{Settings, Worker};

use crate::strict_reader::{Message, read_request};

/// What is played.
#[derive(Clone, Default, Debug)]
pub struct Script {
    /// All octets of the client.
    pub client: Vec<u8>,
    /// The answers to the requests, in the order in which backends get them.
    pub answers: Vec<Answer>,
    /// The steps, one in each octet; when they are over, everything gets on at once.
    pub schedule: Vec<u8>,
}

/// What a backend does for one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What it sends.
    pub octets: Vec<u8>,
    /// What becomes of the connection then.
    pub end: End,
    /// When it begins.
    pub begins: Begins,
}

/// How one direction of a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Not at all.
    Open,
    /// In good order.
    Fin,
    /// With a reset.
    Reset,
}

/// When a backend answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begins {
    /// When it has the whole request.
    AfterRequest,
    /// When it has the head.
    AfterHead,
}

/// The answer when a script has no more of them.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What separates the parts of an input: octets that no sound head has.
const PART: u8 = 0x1e;
const ANSWER: u8 = 0x1d;
/// In front of an answer: do not wait for the request body.
const EARLY: u8 = 0x05;
/// Behind an answer: the end of the connection.
const FIN: u8 = 0x04;
const RESET: u8 = 0x18;
/// Followed by a number and an octet: 1024 times the number of that octet.
const REPEAT: u8 = 0x10;

/// The most octets that the client's part may become.
const CLIENT_BYTES_MAX: usize = 1024 * 1024;

impl Script {
    /// Reads `client 0x1E answer 0x1D answer... 0x1E schedule`; everything but the first part may be
    /// left out.
    #[must_use]
    pub fn from_input(input: &[u8]) -> Self {
        let mut parts = input.splitn(3, |octet| *octet == PART);
        let client = expand(parts.next().unwrap_or_default());
        let answers = parts.next().unwrap_or_default();
        let schedule = parts.next().unwrap_or_default().to_vec();
        let answers = if answers.is_empty() {
            Vec::new()
        } else {
            answers.split(|octet| *octet == ANSWER).map(Answer::from_input).collect()
        };
        Self { client, answers, schedule }
    }
}

impl Answer {
    fn from_input(input: &[u8]) -> Self {
        let (begins, input) = match input {
            [EARLY, rest @ ..] => (Begins::AfterHead, rest),
            _ => (Begins::AfterRequest, input),
        };
        let (octets, end) = match input {
            [rest @ .., FIN] => (rest, End::Fin),
            [rest @ .., RESET] => (rest, End::Reset),
            _ => (input, End::Open),
        };
        Self { octets: octets.to_vec(), end, begins }
    }

    fn plain() -> Self {
        Self::from_input(PLAIN_ANSWER)
    }
}

fn expand(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = input;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (*first, behind) {
            (REPEAT, [count, octet, behind @ ..]) => {
                let room = CLIENT_BYTES_MAX.saturating_sub(out.len());
                let length = (usize::from(*count) * 1024).min(room);
                out.resize(out.len() + length, *octet);
                rest = behind;
            }
            (octet, _) => out.push(octet),
        }
    }
    out
}

/// One connection, seen from the world's side.
#[derive(Debug)]
struct Wire {
    /// What the peer has sent and the network still has.
    coming: VecDeque<u8>,
    /// What the socket has to read.
    here: VecDeque<u8>,
    /// How the peer ends when all of that has come.
    end: End,
    /// What the worker has written.
    written: Vec<u8>,
    /// How much more the worker may write now.
    room: usize,
    /// How the worker has ended it.
    our_end: End,
    token: Option<Token>,
    /// Whether the worker holds the socket.
    is_held: bool,
    /// Where each write began, and how much the client had been sent by then.
    marks: Vec<(usize, usize)>,
}

type Shared = Rc<RefCell<Wire>>;

impl Wire {
    fn new(coming: &[u8], token: Option<Token>) -> Shared {
        Rc::new(RefCell::new(Self {
            coming: coming.iter().copied().collect(),
            here: VecDeque::new(),
            end: End::Open,
            written: Vec::new(),
            room: 0,
            our_end: End::Open,
            token,
            is_held: true,
            marks: Vec::new(),
        }))
    }

    /// Lets so many octets arrive; says what the poll would say.
    fn arrive(&mut self, octets: usize) -> Option<Readiness> {
        let octets = octets.min(self.coming.len());
        self.here.extend(self.coming.drain(..octets));
        if self.coming.is_empty() && self.end != End::Open {
            Some(Readiness::CLOSING)
        } else {
            (octets > 0).then_some(Readiness::READABLE)
        }
    }
}

/// The worker's side of a connection.
#[derive(Debug)]
pub struct SimSock {
    wire: Shared,
    /// For a connection to a backend, the client's: to see what is written in which order.
    client: Option<Shared>,
    resets: bool,
}

impl Sock for SimSock {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.wire.borrow_mut();
        if wire.here.is_empty() {
            return match wire.end {
                _ if !wire.coming.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
                End::Open => Err(io::ErrorKind::WouldBlock.into()),
                End::Fin => Ok(0),
                End::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            };
        }
        let length = buf.len().min(wire.here.len());
        for (place, octet) in buf.iter_mut().zip(wire.here.drain(..length)) {
            *place = octet;
        }
        Ok(length)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let length = self.admit(buf.len())?;
        self.put(&buf[..length]);
        Ok(length)
    }

    fn read_into(&mut self, pipe: &mut Pipe, bytes_max: usize) -> io::Result<usize> {
        let mut octets = vec![0; bytes_max.min(PIPED_BYTES_MAX)];
        let length = Sock::read(self, &mut octets)?;
        pipe.fill(|ends| {
            File::from(ends.writer().try_clone_to_owned()?).write_all(&octets[..length])?;
            Ok(length)
        })
    }

    fn write_from(&mut self, pipe: &mut Pipe) -> io::Result<usize> {
        pipe.drain(|ends, held| {
            let mut octets = vec![0; self.admit(held)?];
            File::from(ends.reader().try_clone_to_owned()?).read_exact(&mut octets)?;
            self.put(&octets);
            Ok(octets.len())
        })
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.wire.borrow_mut().our_end = End::Fin;
        Ok(())
    }

    fn is_delivered(&self) -> bool {
        // What is written has arrived.
        true
    }

    fn reset_on_close(&mut self) {
        self.resets = true;
    }
}

/// What surely fits into a pipe, however small the kernel made it.
const PIPED_BYTES_MAX: usize = 4096;

impl SimSock {
    /// How many of so many octets the worker may write now.
    fn admit(&mut self, wanted: usize) -> io::Result<usize> {
        let wire = self.wire.borrow();
        assert_eq!(wire.our_end, End::Open, "written behind the end");
        if wire.end == End::Reset && wire.coming.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if wire.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(wanted.min(wire.room))
    }

    fn put(&mut self, octets: &[u8]) {
        let mut wire = self.wire.borrow_mut();
        wire.room -= octets.len();
        if let Some(client) = &self.client {
            let mark = (wire.written.len(), client.borrow().written.len());
            wire.marks.push(mark);
        }
        wire.written.extend_from_slice(octets);
    }
}

impl Drop for SimSock {
    fn drop(&mut self) {
        let mut wire = self.wire.borrow_mut();
        wire.is_held = false;
        // The kernel resets as well where it holds octets that nobody has read.
        if self.resets || !wire.here.is_empty() {
            wire.our_end = End::Reset;
        } else if wire.our_end == End::Open {
            wire.our_end = End::Fin;
        }
    }
}

/// Gives the sockets.
#[derive(Debug)]
struct SimNet {
    client: Shared,
    fresh: Vec<Shared>,
}

impl Net for SimNet {
    type Sock = SimSock;

    fn connect(&mut self, _: &Address, token: Token) -> io::Result<SimSock> {
        let wire = Wire::new(b"", Some(token));
        self.fresh.push(Rc::clone(&wire));
        Ok(SimSock { wire, client: Some(Rc::clone(&self.client)), resets: false })
    }

    fn register(&mut self, sock: &mut SimSock, token: Token) -> io::Result<()> {
        sock.wire.borrow_mut().token = Some(token);
        Ok(())
    }
}

/// How fast octets get on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// All at once.
    AtOnce,
    /// As the schedule says.
    Scheduled,
}

/// What everybody saw.
#[derive(Debug)]
pub struct Outcome {
    /// What the client got.
    pub to_client: Vec<u8>,
    /// How the client's connection ended.
    pub client_end: End,
    /// The requests that backends got, in order. Only the last on a connection may be a part.
    pub requests: Vec<Got>,
    /// What a backend got behind a 101.
    pub tunnelled: Option<Vec<u8>>,
}

/// A request as a backend got it.
#[derive(Debug)]
pub struct Got {
    /// The request, as far as it came.
    pub message: Message,
    /// What the backend answered.
    pub answer: Option<Answer>,
    /// How much the client had been sent when its first octet went out.
    pub sent_before: usize,
    /// How the worker ended the connection, where that was in the middle of this request.
    pub cut: Option<End>,
}

/// A connection to a backend, and how far the backend is with it.
struct Visit {
    wire: Shared,
    /// Where in what was written the open request begins.
    read_to: usize,
    /// Its place in the outcome, once its head is there.
    open: Option<usize>,
    is_tunnel: bool,
}

struct World<'a> {
    worker: Worker<SimNet>,
    now: Now,
    client: Shared,
    visits: Vec<Visit>,
    answers: std::slice::Iter<'a, Answer>,
    outcome: Outcome,
}

/// The backend, with a prefix to see that it is put in front.
const BACKEND: &str = "http://127.0.0.1:9001/p";

/// What the clock on the wall says at first.
const START_UNIX_MS: u64 = 1_000_000_000_000;

/// How many rounds a world may take to come to rest.
const ROUNDS_MAX: usize = 1000;

/// Lets the worker live through the script, at this pace, until nothing is left of it.
///
/// # Panics
/// When the worker never comes to rest, leaves something behind, or writes what no sender may.
#[must_use]
pub fn play(script: &Script, pace: Pace) -> Outcome {
    // Answers tell the time, and two plays are compared.
    let now = Now { unix_ms: START_UNIX_MS, ..clock::now() };
    // One backend, so that its connections are used again as soon as they can be.
    let config = parse_backend(BACKEND).expect("a good URL");
    let backends = vec![(Backend::new(&config, Security::Plain), 1)];
    let settings = Settings {
        // Small enough for the bodies that are played.
        limits: Limits { splice_bytes_min: Some(8), ..Limits::default() },
        seed: 1,
        ..Settings::default()
    };
    let client = Wire::new(&script.client, None);
    let net = SimNet { client: Rc::clone(&client), fresh: Vec::new() };
    let mut worker = Worker::new(net, backends, settings, now);
    let sock = SimSock { wire: Rc::clone(&client), client: None, resets: false };
    worker.accept(sock, SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 4711)).into(), now);
    let outcome = Outcome {
        to_client: Vec::new(),
        client_end: End::Open,
        requests: Vec::new(),
        tunnelled: None,
    };
    let answers = script.answers.iter();
    let mut world = World { worker, now, client, visits: Vec::new(), answers, outcome };
    if pace == Pace::Scheduled {
        for step in &script.schedule {
            world.step(*step);
        }
    }
    world.settle();
    world.client.borrow_mut().end = End::Fin;
    world.settle();
    world.end()
}

/// What the four low bits above the direction in a step mean.
const STEP_BYTES: [usize; 16] =
    [1, 1, 1, 2, 3, 4, 7, 16, 33, 64, 128, 512, 1024, 4096, 65_536, usize::MAX];

impl World<'_> {
    /// One step: who gets on (2 bits), by how much (4 bits), whether the poll speaks of others as well
    /// (1 bit), and whether the client has said its last (1 bit).
    fn step(&mut self, step: u8) {
        if step & 0x80 != 0 {
            self.client.borrow_mut().end = End::Fin;
        }
        let octets = STEP_BYTES[usize::from(step >> 2 & 15)];
        match step & 3 {
            0 => self.arrive(&Rc::clone(&self.client), octets),
            1 => self.take(&Rc::clone(&self.client), octets),
            2 => self.each_visit(|world, wire| world.arrive(wire, octets)),
            _ => self.each_visit(|world, wire| world.take(wire, octets)),
        }
        if step & 0x40 != 0 {
            let readiness = Readiness::READABLE.and(Readiness::WRITABLE);
            self.tell(&Rc::clone(&self.client), readiness);
            self.each_visit(|world, wire| world.tell(wire, readiness));
        }
        self.run();
    }

    /// Everything gets on, until nothing changes any more.
    fn settle(&mut self) {
        let mut before = None;
        for _ in 0..ROUNDS_MAX {
            for wire in self.wires() {
                self.arrive(&wire, usize::MAX);
                self.take(&wire, usize::MAX);
            }
            self.run();
            let written = |wire: &Shared| wire.borrow().written.len();
            let here = |wire: &Shared| wire.borrow().here.len();
            let wires = self.wires();
            let after = Some((
                wires.len(),
                wires.iter().map(written).sum::<usize>(),
                wires.iter().map(here).sum::<usize>(),
                self.worker.connections(),
            ));
            if after == before && !self.worker.has_work() {
                return;
            }
            before = after;
        }
        panic!("the worker never comes to rest: {before:?}");
    }

    fn wires(&self) -> Vec<Shared> {
        let visits = self.visits.iter().map(|visit| &visit.wire);
        std::iter::once(&self.client).chain(visits).map(Rc::clone).collect()
    }

    fn each_visit(&mut self, act: impl Fn(&mut Self, &Shared)) {
        for wire in self.wires().iter().skip(1) {
            act(self, wire);
        }
    }

    fn arrive(&mut self, wire: &Shared, octets: usize) {
        let readiness = wire.borrow_mut().arrive(octets);
        if let Some(readiness) = readiness {
            self.tell(wire, readiness);
        }
    }

    fn take(&mut self, wire: &Shared, octets: usize) {
        let room = wire.borrow().room.saturating_add(octets);
        wire.borrow_mut().room = room;
        self.tell(wire, Readiness::WRITABLE);
    }

    fn tell(&mut self, wire: &Shared, readiness: Readiness) {
        let (token, is_held) = (wire.borrow().token, wire.borrow().is_held);
        if let Some(token) = token
            && is_held
        {
            self.worker.on_event(token, readiness);
        }
    }

    /// A turn of the loop, and then the backends'.
    fn run(&mut self) {
        self.worker.run(self.now);
        self.worker.expire(self.now);
        self.worker.end_turn();
        for wire in std::mem::take(&mut self.worker.net_mut().fresh) {
            self.visits.push(Visit { wire, read_to: 0, open: None, is_tunnel: false });
        }
        for place in 0..self.visits.len() {
            while self.attend(place) {}
        }
    }

    /// A backend reads on, and answers; says whether there may be another request.
    fn attend(&mut self, place: usize) -> bool {
        let visit = &mut self.visits[place];
        let mut wire = visit.wire.borrow_mut();
        let unread = &wire.written[visit.read_to..];
        if visit.is_tunnel {
            self.outcome.tunnelled = Some(unread.to_vec());
            return false;
        }
        // Who has ended its connection reads no more from it.
        if wire.end != End::Open {
            return false;
        }
        let message = match read_request(unread) {
            Ok(Some(message)) => message,
            Ok(None) => return false,
            Err(fault) => panic!("{fault}, in what a backend got: {}", crate::show(unread)),
        };
        let (is_whole, used) = (message.is_whole, message.used);
        let open = *visit.open.get_or_insert_with(|| {
            let mark = wire.marks.iter().rfind(|(start, _)| *start <= visit.read_to);
            let sent_before = mark.map_or(0, |(_, sent)| *sent);
            let message = message.clone();
            self.outcome.requests.push(Got { message, answer: None, sent_before, cut: None });
            self.outcome.requests.len() - 1
        });
        let got = &mut self.outcome.requests[open];
        got.message = message;
        let next = self.answers.as_slice().first().cloned().unwrap_or_else(Answer::plain);
        if got.answer.is_none() && (is_whole || next.begins == Begins::AfterHead) {
            self.answers.next();
            wire.coming.extend(&next.octets);
            wire.end = next.end;
            visit.is_tunnel = is_whole && next.octets.starts_with(b"HTTP/1.1 101");
            got.answer = Some(next);
        }
        if is_whole {
            visit.read_to += used;
            visit.open = None;
        }
        is_whole
    }

    /// Time passes until the worker has let go of everything.
    fn end(mut self) -> Outcome {
        for _ in 0..ROUNDS_MAX {
            self.now = self.now.after(Duration::from_secs(30));
            self.worker.expire(self.now);
            self.settle();
            if self.worker.connections() == (0, 0) && self.worker.next_deadline().is_none() {
                let client = self.client.borrow();
                self.outcome.to_client.clone_from(&client.written);
                self.outcome.client_end = client.our_end;
                drop(client);
                for visit in &self.visits {
                    if let Some(open) = visit.open {
                        self.outcome.requests[open].cut = Some(visit.wire.borrow().our_end);
                    }
                }
                return self.outcome;
            }
        }
        panic!("the worker holds on to {:?}", self.worker.connections());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_REQUESTS: &[u8] = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi\
        GET /b HTTP/1.1\r\nHost: h\r\n\r\n";

    #[test]
    fn an_input_becomes_a_script() {
        let script = Script::from_input(b"a\x10\x02bc\x1e\x05one\x18\x1dtwo\x04\x1e\x00\x1e");
        assert_eq!(script.client.len(), 1 + 2048 + 1);
        assert_eq!(script.schedule, [0, 0x1e]);
        let [one, two] = script.answers.as_slice() else { panic!("two answers") };
        assert_eq!(
            (one.octets.as_slice(), one.end, one.begins),
            (&b"one"[..], End::Reset, Begins::AfterHead)
        );
        assert_eq!(
            (two.octets.as_slice(), two.end, two.begins),
            (&b"two"[..], End::Fin, Begins::AfterRequest)
        );
    }

    #[test]
    fn two_requests_at_either_pace() {
        let mut script = Script::from_input(TWO_REQUESTS);
        script.schedule = (0..=255).cycle().take(4096).collect();
        for pace in [Pace::AtOnce, Pace::Scheduled] {
            let outcome = play(&script, pace);
            let targets: Vec<_> =
                outcome.requests.iter().map(|r| r.message.start[1].as_slice()).collect();
            assert_eq!(targets, [b"/p/a", b"/p/b"], "{pace:?}");
            assert_eq!(outcome.to_client, PLAIN_ANSWER.repeat(2), "{pace:?}");
        }
    }
}
