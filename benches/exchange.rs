//! A whole exchange in memory: the real worker between a client and a backend that are buffers. No
//! kernel, no clock: what is left is what roundel itself does for a request.
//!
//! ```text
//! cargo bench --bench exchange                 time for each, by criterion
//! benches/instructions                         instructions for each, which hardly depend on the machine
//! exchange --count CASE N                      N exchanges of a case, for whoever counts (`valgrind`)
//! ```
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::disallowed_types,
    reason = "a benchmark: a panic is how it reports, and sockets in memory have two owners"
)]

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use criterion::{BenchmarkId, Criterion, Throughput};
use roundel::clock::{self, Now};
use roundel::config::Address;
use roundel::config::backend_url::parse_backend;
use roundel::key::Token;
use roundel::net::latch::Readiness;
use roundel::net::splice::Pipe;
use roundel::net::transport::Security;
use roundel::net::{Net, Sock};
use roundel::server::backends::Backend;
use roundel::server::worker::{Settings, Worker};

/// What passes between the worker and one peer.
#[derive(Default)]
struct Wire {
    token: Option<Token>,
    /// What the worker can read, and how much of it has been read.
    coming: Vec<u8>,
    read: usize,
    /// How much the worker has written since somebody looked.
    written: usize,
}

#[derive(Clone, Default)]
struct MemSock(Rc<RefCell<Wire>>);

impl Sock for MemSock {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        let left = &wire.coming[wire.read..];
        if left.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let octets = left.len().min(buf.len());
        buf[..octets].copy_from_slice(&left[..octets]);
        wire.read += octets;
        Ok(octets)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().written += buf.len();
        Ok(buf.len())
    }

    fn read_into(&mut self, _: &mut Pipe, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_from(&mut self, _: &mut Pipe) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn is_delivered(&self) -> bool {
        true
    }

    fn reset_on_close(&mut self) {}
}

impl MemSock {
    /// Lets octets arrive; gives what the poll would say.
    fn deliver(&self, octets: &[u8]) -> Token {
        let mut wire = self.0.borrow_mut();
        assert_eq!(wire.read, wire.coming.len(), "what came before has not been read");
        wire.coming.clear();
        wire.coming.extend_from_slice(octets);
        wire.read = 0;
        wire.token.expect("a registered socket")
    }

    /// How much was written since the last time.
    fn take_written(&self) -> usize {
        std::mem::take(&mut self.0.borrow_mut().written)
    }
}

/// Gives the sockets, and remembers those to backends.
#[derive(Default)]
struct MemNet {
    connected: Vec<MemSock>,
}

impl Net for MemNet {
    type Sock = MemSock;

    fn connect(&mut self, _: &Address, token: Token) -> io::Result<MemSock> {
        let sock = MemSock::default();
        sock.0.borrow_mut().token = Some(token);
        self.connected.push(sock.clone());
        Ok(sock)
    }

    fn register(&mut self, sock: &mut MemSock, token: Token) -> io::Result<()> {
        sock.0.borrow_mut().token = Some(token);
        Ok(())
    }
}

/// A worker over three backends, and one client that is connected.
struct World {
    worker: Worker<MemNet>,
    client: MemSock,
    now: Now,
}

impl World {
    fn new() -> Self {
        let backends = (1..=3).map(|number| {
            let url = format!("http://127.0.0.{number}:80");
            (Backend::new(&parse_backend(&url).expect("a good URL"), Security::Plain), 1)
        });
        let settings = Settings { seed: 1, ..Settings::default() };
        let now = clock::now();
        let mut worker = Worker::new(MemNet::default(), backends.collect(), settings, now);
        let client = MemSock::default();
        let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 4711));
        worker.accept(client.clone(), address.into(), now);
        Self { worker, client, now }
    }

    fn turn(&mut self, token: Token, readiness: Readiness) {
        self.worker.on_event(token, readiness);
        self.worker.run(self.now);
        self.worker.end_turn();
    }

    /// One request, and its response from whoever was asked.
    fn exchange(&mut self, request: &[u8], response: &[u8]) {
        let token = self.client.deliver(request);
        self.turn(token, Readiness::READABLE.and(Readiness::WRITABLE));
        let asked = |world: &mut Self| {
            let connected = &world.worker.net_mut().connected;
            connected.iter().find(|sock| sock.take_written() > 0).cloned()
        };
        let backend = asked(self).unwrap_or_else(|| {
            let fresh = self.worker.net_mut().connected.last().cloned().expect("an attempt");
            let token = fresh.0.borrow().token.expect("a registered socket");
            self.turn(token, Readiness::WRITABLE);
            asked(self).expect("the request has gone")
        });
        let token = backend.deliver(response);
        self.turn(token, Readiness::READABLE.and(Readiness::WRITABLE));
        assert!(self.client.take_written() > 0, "the answer has gone");
    }
}

/// What is exchanged, under the names that the records use.
fn cases() -> [(&'static str, String, String); 4] {
    let browser = "GET /articles/2026/how-a-proxy-works?ref=front HTTP/1.1\r\nHost: www.example.org\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
        Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
        Connection: keep-alive\r\nCookie: session=6f2b8c1d9e4a4f0b8d7c6a5e4f3b2a19\r\n\r\n";
    let plain = "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
    let post = format!(
        "POST /form HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 300\r\n\r\n{}",
        "x".repeat(300)
    );
    let head = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Wed, 25 Nov 2026 22:00:00 GMT\r\n\
        Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=300\r\n";
    let length = format!("{head}Content-Length: 1000\r\n\r\n{}", "x".repeat(1000));
    let chunks = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        format!("64\r\n{}\r\n", "x".repeat(100)).repeat(10)
    );
    [
        ("small", plain.to_owned(), length.clone()),
        ("browser", browser.to_owned(), length.clone()),
        ("form", post, length),
        ("chunks", browser.to_owned(), chunks),
    ]
}

fn time(c: &mut Criterion) {
    let mut group = c.benchmark_group("exchange");
    group.throughput(Throughput::Elements(1));
    for (name, request, response) in cases() {
        let mut world = World::new();
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| world.exchange(request.as_bytes(), response.as_bytes()));
        });
    }
    group.finish();
}

/// So many exchanges of one case, and nothing else.
fn run(case: &str, count: u64) {
    let known = cases();
    let (_, request, response) =
        known.iter().find(|(name, ..)| *name == case).expect("a case of that name");
    let mut world = World::new();
    for _ in 0..count {
        world.exchange(request.as_bytes(), response.as_bytes());
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--count", case, count] = words[..] {
        run(case, count.parse().expect("a number"));
    } else {
        let mut criterion = Criterion::default().configure_from_args();
        time(&mut criterion);
        criterion.final_summary();
    }
}
