//! The clients before both programs: each sends its next request when it has its response.
//!
//! One thread and one poll for all, so that they cost less than what they measure. What comes is
//! counted rather than parsed: all responses of a program are as long as its first, which is looked
//! at closely.

use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// How long a request may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of a connection after a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reuse {
    /// The next request goes over it.
    Persist,
    /// It ends, and the next request has its own.
    Close,
}

impl Reuse {
    fn request(self) -> &'static [u8] {
        match self {
            Self::Persist => {
                b"GET /articles/2026/how-a-proxy-works HTTP/1.1\r\nHost: www.example.org\r\n\
                  User-Agent: versus/1\r\nAccept: text/html, */*;q=0.8\r\n\
                  Accept-Encoding: gzip, br\r\n\r\n"
            }
            Self::Close => {
                b"GET /articles/2026/how-a-proxy-works HTTP/1.1\r\nHost: www.example.org\r\n\
                  User-Agent: versus/1\r\nAccept: text/html, */*;q=0.8\r\n\
                  Accept-Encoding: gzip, br\r\nConnection: close\r\n\r\n"
            }
        }
    }
}

/// Some clients of one program.
pub(crate) struct Load {
    target: SocketAddr,
    reuse: Reuse,
    /// How long each response is, head and body.
    response_bytes: usize,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    /// Requests that are still to be sent, and that are still to be answered.
    unsent: u64,
    unanswered: u64,
}

struct Client {
    stream: TcpStream,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// There is nothing to ask.
    Idle,
    /// The connection is not there yet.
    AwaitConnect,
    /// This much of the response has come.
    AwaitResponse(usize),
}

impl Load {
    /// So many clients of the program that listens here.
    pub(crate) fn new(target: SocketAddr, clients: usize, reuse: Reuse) -> Self {
        let mut load = Self {
            target,
            reuse,
            response_bytes: ask_once(&mut connect_blocking(target), reuse),
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(clients.max(16)),
            clients: Vec::with_capacity(clients),
            buffer: vec![0; 256 * 1024],
            unsent: 0,
            unanswered: 0,
        };
        for place in 0..clients {
            let stream = load.connect(place);
            load.clients.push(Client { stream, state: State::AwaitConnect });
        }
        load
    }

    /// Has so many requests answered; says how long that took.
    pub(crate) fn run(&mut self, requests: u64) -> Duration {
        (self.unsent, self.unanswered) = (requests, requests);
        let begin = Instant::now();
        for place in 0..self.clients.len() {
            if self.clients[place].state == State::Idle {
                self.ask(place);
            }
        }
        while self.unanswered > 0 {
            let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            match self.poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                polled => polled.expect("the poll"),
            }
            assert!(!events.is_empty(), "{} of {requests} are not answered", self.unanswered);
            for event in &events {
                self.advance(event.token().0);
            }
            self.events = events;
        }
        begin.elapsed()
    }

    fn connect(&self, place: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.target).expect("connect");
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(place), both).expect("register");
        stream
    }

    /// Sends the next request, if there is one.
    fn ask(&mut self, place: usize) {
        let client = &mut self.clients[place];
        client.state = State::Idle;
        if self.unsent == 0 {
            return;
        }
        let request = self.reuse.request();
        match client.stream.write(request) {
            Ok(count) => assert_eq!(count, request.len(), "an empty socket takes a request whole"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                client.state = State::AwaitConnect;
                return;
            }
            Err(error) => panic!("a request cannot be sent: {error}"),
        }
        self.unsent -= 1;
        client.state = State::AwaitResponse(0);
    }

    fn advance(&mut self, place: usize) {
        match self.clients[place].state {
            State::Idle => {}
            State::AwaitConnect => self.ask(place),
            State::AwaitResponse(_) => self.receive(place),
        }
    }

    fn receive(&mut self, place: usize) {
        loop {
            let client = &mut self.clients[place];
            let State::AwaitResponse(received) = client.state else { return };
            match client.stream.read(&mut self.buffer) {
                Ok(0) => {
                    assert_eq!((received, self.reuse), (self.response_bytes, Reuse::Close));
                    return self.answered(place);
                }
                Ok(count) => {
                    assert!(received > 0 || self.buffer.starts_with(b"HTTP/1.1 200 "), "no 200");
                    let received = received + count;
                    assert!(received <= self.response_bytes, "more than one response");
                    client.state = State::AwaitResponse(received);
                    if received == self.response_bytes && self.reuse == Reuse::Persist {
                        return self.answered(place);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("a response cannot be read: {error}"),
            }
        }
    }

    fn answered(&mut self, place: usize) {
        self.unanswered -= 1;
        match self.reuse {
            Reuse::Persist => self.ask(place),
            Reuse::Close => {
                let stream = self.connect(place);
                self.clients[place] = Client { stream, state: State::AwaitConnect };
            }
        }
    }
}

/// A client that has one thing to do.
pub(crate) fn connect_blocking(target: SocketAddr) -> net::TcpStream {
    let stream = net::TcpStream::connect(target).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends a request and reads its response; says how long that was.
pub(crate) fn ask_once(stream: &mut net::TcpStream, reuse: Reuse) -> usize {
    stream.write_all(reuse.request()).expect("send");
    let mut response = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        let count = stream.read(&mut buffer).expect("a response");
        assert!(count > 0, "a whole response");
        response.extend_from_slice(&buffer[..count]);
        let Some(end) = response.windows(4).position(|octets| octets == b"\r\n\r\n") else {
            continue;
        };
        let total = end + 4 + content_length(&response[..end]);
        if response.len() >= total {
            assert_eq!(response.len(), total, "nothing follows");
            return total;
        }
    }
}

/// What the head of a good response says of its body.
fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).expect("ASCII").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()).expect("a length")
}
