//! Names whose answers the test decides: the real loop on real sockets, with a resolver of our own.
//!
//! That names of the system work as well is tried out by `tests/faults/run` and `tests/real_peers/run`, in a
//! namespace with its own `/etc/hosts`.
#![allow(
    clippy::expect_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test: a panic is how it reports, threads and locks are its means"
)]

mod support;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use roundel::{
    config::{Timeouts, backend_url::parse_backend},
    net::{
        listener::listen,
        resolve::{Lookup, Questions},
        transport::Security,
    },
    server::{
        backends::{self, Backend as Configured},
        event_loop::EventLoop,
        worker::Settings,
    },
};
use support::*;

const NAME: &str = "http://b.test";

/// How often the loop of these tests asks.
const OFTEN: Duration = Duration::from_millis(50);

/// What the resolver says, and how often it was asked.
#[derive(Clone, Default)]
struct Told {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    asked: Arc<AtomicUsize>,
}

impl Told {
    /// From now on the name leads there; to nothing means that it cannot be resolved.
    fn tell(&self, addresses: &[SocketAddr]) {
        *self.addresses.lock().expect("a lock") = addresses.to_vec();
    }

    /// Waits until it has been asked so many times more.
    fn wait_for_questions(&self, count: usize) {
        let end = self.asked.load(Ordering::SeqCst) + count;
        let deadline = Instant::now() + PATIENCE;
        while self.asked.load(Ordering::SeqCst) < end {
            assert!(Instant::now() < deadline, "nobody asks");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Lookup for Told {
    fn lookup(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!((host, port), ("b.test", 80));
        let addresses = self.addresses.lock().expect("a lock").clone();
        self.asked.fetch_add(1, Ordering::SeqCst);
        if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
    }
}

/// Runs the loop over the name; gives where it listens. It ends with the test program.
fn start(told: &Told, timeouts: Timeouts) -> SocketAddr {
    let listener = listen(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a listener");
    let address = listener.address().expect("an address").ip().expect("an IP address");
    let told = told.clone();
    thread::spawn(move || {
        let configs = [parse_backend(NAME).expect("a good URL")];
        let settings = Settings { timeouts, seed: 1, ..Settings::default() };
        let backends = vec![(Configured::new(&configs[0], Security::Plain), 1)];
        let questions = Questions { names: backends::names(&configs), lookup: told };
        let event_loop =
            EventLoop::new(vec![(address.into(), listener)], backends, questions, settings, 1000);
        let mut event_loop = event_loop.expect("a loop");
        event_loop.await_first_answers(PATIENCE);
        event_loop.turn_until_told(None).expect("it turns");
    });
    address
}

fn asking_often() -> Timeouts {
    Timeouts { name_refresh: OFTEN, name_retry: OFTEN, ..Timeouts::default() }
}

/// Asks until the answer is this one.
fn wait_for_answer(address: SocketAddr, want: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = Wire::connect(address).get("/");
        if answer.text() == want {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?} instead of {want}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_name_that_moves_takes_all_traffic_along() {
    let (old, new) = (Backend::manual(), Backend::named("new"));
    let told = Told::default();
    told.tell(&[old.addr()]);
    let address = start(&told, asking_often());
    let mut client = Wire::connect(address);
    client.send(get("/"));
    let mut at_rest = old.accept();
    at_rest.head();
    let mut other = Wire::connect(address);
    other.send(get("/slow"));
    let mut busy = old.accept();
    busy.head();
    at_rest.send(ok("old"));
    assert_eq!(client.response().text(), "old");

    told.tell(&[new.addr()]);
    // What rests there is closed, without a request that would find it out.
    at_rest.expect_gone();
    assert_eq!(client.get("/").text(), "new");
    // What is under way there is finished, and serves nobody else.
    busy.send(ok("late"));
    assert_eq!(other.response().text(), "late");
    busy.expect_gone();
    for _ in 0..10 {
        assert_eq!(other.get("/").text(), "new");
    }
}

#[test]
fn a_name_that_cannot_be_resolved_any_more_keeps_its_addresses() {
    let backend = Backend::named("still here");
    let told = Told::default();
    told.tell(&[backend.addr()]);
    let address = start(&told, asking_often());
    let mut client = Wire::connect(address);
    assert_eq!(client.get("/").text(), "still here");
    told.tell(&[]);
    told.wait_for_questions(4);
    assert_eq!(client.get("/").text(), "still here");
    assert_eq!(Wire::connect(address).get("/").text(), "still here");
    assert_eq!(backend.connections(), 1, "nor is what rests there closed");
}

#[test]
fn a_name_is_asked_for_again_when_its_address_fails() {
    let (closed, backend) = (ClosedPort::new(), Backend::named("here now"));
    let told = Told::default();
    told.tell(&[closed.addr()]);
    // Not by itself, within this test.
    let timeouts = Timeouts { name_retry: OFTEN, ..Timeouts::default() };
    let address = start(&told, timeouts);
    Wire::connect(address).get("/").expect_reply(502, "connect_refused");
    told.tell(&[backend.addr()]);
    wait_for_answer(address, "here now");
}

#[test]
fn a_name_may_be_resolved_only_later() {
    let backend = Backend::named("here now");
    let told = Told::default();
    let address = start(&told, asking_often());
    Wire::connect(address).get("/").expect_reply(502, "name_unresolved");
    told.tell(&[backend.addr()]);
    wait_for_answer(address, "here now");
}

/// The first address neither takes nor refuses the connection. After a quarter of a second the next is
/// tried beside it, of the other family, and then it goes first.
#[test]
fn a_silent_address_costs_a_quarter_of_a_second_once() {
    let mut silent = NarrowPort::new();
    silent.fill();
    let backend = Backend::manual_on_ipv6();
    let told = Told::default();
    told.tell(&[silent.addr(), backend.addr()]);
    let timeouts = Timeouts { connect: Duration::from_secs(600), ..Timeouts::default() };
    let stagger = timeouts.connect_stagger;
    let address = start(&told, Timeouts { tries: timeouts.connect, ..timeouts });
    for is_first in [true, false] {
        let mut client = Wire::connect(address);
        let begin = Instant::now();
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().text(), "hi");
        assert!(!is_first || begin.elapsed() >= stagger, "{:?}", begin.elapsed());
    }
}
