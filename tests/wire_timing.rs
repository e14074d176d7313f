//! `--server-timing`: what clients are told of how long a request took. Only lower bounds are known here:
//! how fast the machine is is its own business.

mod support;

use std::time::{Duration, Instant};

use support::*;

/// How long a backend, or the one who is served before, takes at least.
const WHILE: Duration = Duration::from_millis(50);

/// What our own `Server-Timing`, the last, says: connect, wait, own, in milliseconds.
#[track_caller]
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn timing(message: &Message) -> [f64; 3] {
    let mut lines = message.head.lines().rev();
    let line = lines.find_map(|line| line.strip_prefix("Server-Timing: ")).expect("a field");
    assert_eq!(line.split(", ").count(), 3, "{line}");
    let mut parts = line.split(", ");
    ["connect", "wait", "own"].map(|name| {
        let part = parts.next().unwrap_or_default();
        let value = part.strip_prefix(name).and_then(|rest| rest.strip_prefix(";dur="));
        let (whole, decimals) = value.and_then(|value| value.split_once('.')).expect(line);
        assert_eq!(decimals.len(), 3, "{line}");
        format!("{whole}.{decimals}").parse().expect("a number")
    })
}

#[expect(clippy::disallowed_methods, reason = "what a client measures")]
fn now() -> Instant {
    Instant::now()
}

/// Milliseconds.
fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

#[test]
fn waiting_for_the_backend_is_told_as_that() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--server-timing"]);
    let mut client = roundel.client();
    let sent = now();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    client.expect_silence(WHILE);
    upstream.send(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\
         Server-Timing: db;dur=1\r\nContent-Length: 2\r\n\r\nhi",
    );
    let hints = client.response();
    assert_eq!((hints.status(), hints.field("Server-Timing")), (103, None));
    let response = client.response();
    assert_eq!(response.text(), "hi");
    assert_eq!(response.field("Server-Timing"), Some("db;dur=1"), "the backend's own, first");
    let [connect, wait, own] = timing(&response);
    assert!(wait >= 50.0 && connect > 0.0 && own > 0.0, "{response:?}");
    assert!(connect + wait <= since(sent), "none of it counts twice: {response:?}");
}

#[test]
fn waiting_for_a_connection_is_told_as_that() {
    let backend = Backend::manual();
    let options = ["--server-timing", "--max-conns-per-backend", "1"];
    let roundel = Roundel::over(&[&backend], &options);
    let mut first = roundel.client();
    first.send(get("/first"));
    let mut upstream = backend.accept();
    upstream.head();
    let mut second = roundel.client();
    let sent = now();
    second.send(get("/second"));
    second.expect_silence(WHILE);
    upstream.send(ok("one"));
    assert_eq!(first.response().text(), "one");
    upstream.head();
    upstream.send(ok("two"));
    let response = second.response();
    assert_eq!(response.text(), "two");
    let [connect, wait, _] = timing(&response);
    assert!(connect >= 50.0, "{response:?}");
    assert!(connect + wait <= since(sent), "none of it counts twice: {response:?}");
}

#[test]
fn nobody_is_told_unasked_and_we_say_nothing_of_our_own_answers() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--admin", "127.0.0.1:0"]);
    assert_eq!(roundel.get("/").field("Server-Timing"), None);
    let dead = ClosedPort::new();
    let roundel = Roundel::start(&["--server-timing", &dead.url()]);
    let reply = roundel.get("/");
    assert_eq!((reply.status(), reply.field("Server-Timing")), (502, None));
}

/// A head as long as heads may be, with the field on top, still leaves with its body.
#[test]
fn the_longest_head_has_room_for_it() {
    let padding = "x".repeat(16 * 1024 - 60);
    let answer = format!("HTTP/1.1 200 OK\r\nX: {padding}\r\nContent-Length: 5\r\n\r\nhello");
    let backend = Backend::serve(move |wire, _| wire.send(&answer));
    let roundel = Roundel::over(&[&backend], &["--server-timing"]);
    let response = roundel.get("/");
    assert_eq!(response.text(), "hello");
    timing(&response);
}
