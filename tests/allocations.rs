//! A request on persistent connections costs no allocation: the loop that serves it is counted.
//!
//! An allocation a request is some fifty nanoseconds, and the first thing to creep back in. The count is of
//! the loop's own thread, after a few requests have filled the buffers that are kept.
#![expect(unsafe_code, reason = "an allocator that counts has no safe interface")]
#![allow(
    clippy::expect_used,
    clippy::disallowed_types,
    reason = "a test: a panic is how it reports, threads are its means"
)]

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use roundel::{
    config::{LogFormat, Peer, backend_url::parse_backend},
    h1::{Version, reply::Reason},
    net::{
        listener::listen,
        resolve::{Questions, SystemLookup},
        transport::Security,
    },
    observe::{
        access_log::{Record, Reuse, Times},
        log_line::push_line,
    },
    server::{backends::Backend as Configured, event_loop::EventLoop, worker::Settings},
};
use support::*;

/// Counts what the thread that has a counter allocates.
struct Counting;

thread_local! {
    static COUNTER: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
}

fn count() {
    // Not at the very end of a thread, when its variables are gone.
    let _ = COUNTER.try_with(|counter| {
        if let Some(counter) = counter.get() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
}

// SAFETY: everything is the system's; counting touches neither the memory nor the layout.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs the loop over these backends in a thread that is counted.
fn start(backends: &[&Backend]) -> (SocketAddr, &'static AtomicU64) {
    let counter: &'static AtomicU64 = Box::leak(Box::default());
    let listener = listen(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a listener");
    let address = listener.address().expect("an address").ip().expect("an IP address");
    let urls: Vec<String> = backends.iter().map(|backend| backend.url()).collect();
    thread::spawn(move || {
        let configured = urls.iter().map(|url| {
            let config = parse_backend(url).expect("a good URL");
            (Configured::new(&config, Security::Plain), 1)
        });
        let settings = Settings { seed: 1, ..Settings::default() };
        let nobody = Questions { names: Vec::new(), lookup: SystemLookup };
        let configured = configured.collect();
        let event_loop =
            EventLoop::new(vec![(address.into(), listener)], configured, nobody, settings, 1000);
        let mut event_loop = event_loop.expect("a loop");
        COUNTER.with(|it| it.set(Some(counter)));
        event_loop.turn_until_told(None).expect("it turns");
    });
    (address, counter)
}

#[test]
fn a_request_on_persistent_connections_allocates_nothing() {
    const REQUESTS: u64 = 300;
    let answers = [
        ("a length", "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("no content", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
    ];
    let request = "GET /a/path?and=query HTTP/1.1\r\nHost: a.example\r\nUser-Agent: some/1.0\r\n\
                   Accept: */*\r\nCookie: a=b; c=d\r\n\r\n";
    for (name, answer) in answers {
        let _row = row(name);
        let backends = [0; 3].map(|_| Backend::serve(move |wire, _| wire.send(answer)));
        let (address, counter) = start(&backends.each_ref());
        let mut client = Wire::connect(address);
        let mut ask = || {
            client.send(request);
            assert!(client.response().status() >= 200);
        };
        (0..30).for_each(|_| ask());
        let before = counter.load(Ordering::SeqCst);
        (0..REQUESTS).for_each(|_| ask());
        let count = counter.load(Ordering::SeqCst) - before;
        assert_eq!(count, 0, "allocations of {REQUESTS} requests");
    }
}

#[test]
fn a_line_of_the_access_log_allocates_nothing() {
    let counter: &'static AtomicU64 = Box::leak(Box::default());
    COUNTER.with(|it| it.set(Some(counter)));
    let record = Record {
        unix_ms: 1_735_689_599_007,
        client: Peer::Ip(SocketAddr::from(([127, 0, 0, 1], 40_000))),
        method: b"GET",
        target: b"/a/path?and=query",
        version: Version::Http11,
        referer: b"http://a.example/\"\xff",
        user_agent: b"some/1.0",
        status: Some(200),
        bytes_in: 0,
        bytes_out: 5,
        duration: Duration::from_millis(3),
        times: Times { connect: Some(Duration::from_micros(7)), ..Times::default() },
        backend: Some((0, "127.0.0.1:3001")),
        attempts: 1,
        reuse: Reuse::Reused,
        reason: Some(Reason::ClientReset),
        request_id: b"r-1",
    };
    let mut out = Vec::with_capacity(64 * 1024);
    let before = counter.load(Ordering::SeqCst);
    for format in [LogFormat::Text, LogFormat::Json, LogFormat::Combined] {
        (0..30).for_each(|_| push_line(&mut out, &record, format));
    }
    let count = counter.load(Ordering::SeqCst) - before;
    assert_eq!((count, out.iter().filter(|octet| **octet == b'\n').count()), (0, 90));
}

/// That the count would tell: a new connection takes memory.
#[test]
fn a_connection_is_counted() {
    let backend = Backend::named("hi");
    let (address, counter) = start(&[&backend]);
    let mut kept = Vec::new();
    for _ in 0..10 {
        let mut client = Wire::connect(address);
        assert_eq!(client.get("/").text(), "hi");
        kept.push(client);
    }
    assert!(counter.load(Ordering::SeqCst) > 0);
}
