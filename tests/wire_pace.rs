//! How long each part of an exchange may take, and how slowly a body may come: that each deadline
//! is for its own part only, and what is said when it is over.
//!
//! As in `wire_timeouts.rs`, waiting is the subject. Bounds are from below, or as generous as
//! [`PATIENCE`].

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use support::*;

const MS_300: Duration = Duration::from_millis(300);

#[expect(clippy::disallowed_methods, reason = "time is the subject")]
fn now() -> Instant {
    Instant::now()
}

/// Starts roundel with its access log on stdout.
fn over(backend: &Backend, options: &[&str]) -> Roundel {
    Roundel::over(&[backend], &[&["--access-log", "-"], options].concat())
}

/// The status and the reason of the only line of the access log.
fn only_line(roundel: &Roundel) -> (String, String) {
    let line = &roundel.access_log(1)[0];
    (line.rest[0].clone(), line.reason().to_owned())
}

fn because(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_response_must_begin_in_time() {
    let backend = Backend::manual();
    let roundel = over(&backend, &["--response-timeout", "300ms", "--timeout", "1h"]);
    for (name, request, part) in [
        ("nothing comes", get("/"), ""),
        ("half a head", get("/"), "HTTP/1.1 200 OK\r\nContent-Le"),
        (
            "after a body",
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
            "",
        ),
    ] {
        let _row = row(name);
        let mut client = roundel.client();
        let begin = now();
        client.send(request);
        let mut upstream = backend.accept();
        upstream.request();
        // It may be over already, on a slow machine.
        let _ = upstream.try_send(part);
        client.response().expect_reply(504, "response_timeout");
        assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
        upstream.expect_gone();
    }
    for line in roundel.access_log(3) {
        assert_eq!((line.rest[0].as_str(), line.reason()), ("504", "response_timeout"));
        assert!(line.ms() >= 300, "{line:?}");
    }
}

/// The backend has the request, and may be at work on it.
#[test]
fn what_is_not_answered_in_time_is_not_sent_again() {
    let (backend, other) = (Backend::manual(), Backend::named("other"));
    let options = ["--response-timeout", "1500ms", "--access-log", "-"];
    let roundel = Roundel::over(&[&backend, &other], &options);
    let mut client = roundel.client();
    client.send(get("/1"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("1"));
    assert_eq!(client.response().text(), "1");
    assert_eq!(client.get("/2").text(), "other");
    client.send(get("/3"));
    upstream.head();
    client.response().expect_reply(504, "response_timeout");
    let log = roundel.access_log(3);
    assert!(log[2].summary().ends_with(" 1 reused response_timeout"), "{log:?}");
    assert_eq!((backend.connections(), other.connections()), (1, 1));
}

/// The time for the beginning of a response is not that for its middle, nor that for the request.
#[test]
fn what_has_begun_may_take_longer_than_the_beginning() {
    let backend = Backend::manual();
    let roundel = over(&backend, &["--response-timeout", "1500ms"]);
    let long = Duration::from_secs(2);
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nh");
    let mut upstream = backend.accept();
    upstream.head();
    client.expect_silence(long);
    client.send("i");
    upstream.expect("hi");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    client.head();
    client.expect("he");
    client.expect_silence(long);
    upstream.send("llo");
    client.expect("llo");
    assert_eq!(only_line(&roundel), because("200", "-"));
}

/// And the other way round: a long wait for the beginning, a short one for the middle.
#[test]
fn the_silence_of_a_response_is_no_wait_for_it() {
    let backend = Backend::manual();
    let roundel = over(&backend, &["--timeout", "300ms", "--response-timeout", "1h"]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    client.expect_silence(2 * MS_300);
    let begin = now();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    client.head();
    client.expect("he");
    client.expect_gone();
    assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
    assert_eq!(only_line(&roundel), because("200", "response_stalled"));
}

/// However many backends there are, nobody waits for all of them.
#[cfg(target_os = "linux")]
#[test]
fn all_tries_together_end_in_time() {
    const LIMIT: Duration = Duration::from_millis(500);
    let ports: Vec<NarrowPort> = (0..6)
        .map(|_| {
            let mut port = NarrowPort::new();
            port.fill();
            port
        })
        .collect();
    let urls: Vec<String> = ports.iter().map(NarrowPort::url).collect();
    // Three tries fit in, or none ends by itself.
    for (connect_timeout, attempts_max) in [("200ms", 3), ("1h", 1)] {
        let _row = row(connect_timeout);
        let options = ["--connect-timeout", connect_timeout, "--retry-timeout", "500ms"];
        let mut args = [&["--access-log", "-"][..], &options[..]].concat();
        args.extend(urls.iter().map(|url| &**url));
        let roundel = Roundel::start(&args);
        roundel.get("/").expect_reply(504, "connect_timeout");
        let log = roundel.access_log(1);
        assert!(Duration::from_millis(log[0].ms()) >= LIMIT, "{log:?}");
        let attempts: u32 = log[0].rest[5].parse().expect("a number");
        assert!((1..=attempts_max).contains(&attempts), "{log:?}");
    }
}

/// A tunnel between a client and the backend.
fn tunnel(roundel: &Roundel, backend: &Backend) -> (Wire, Wire) {
    let mut client = roundel.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.response().status(), 101);
    (client, upstream)
}

#[test]
fn a_tunnel_without_traffic_ends() {
    let backend = Backend::manual();
    let options = ["--tunnel-timeout", "300ms", "--half-closed-timeout", "1h"];
    let roundel = over(&backend, &options);
    let begin = now();
    let (mut client, mut upstream) = tunnel(&roundel, &backend);
    client.expect_gone();
    upstream.expect_gone();
    assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
    assert_eq!(only_line(&roundel), because("101", "tunnel_idle"));
}

#[test]
fn traffic_in_one_direction_keeps_a_tunnel() {
    for is_half_closed in [false, true] {
        let _row = row(format!("half closed: {is_half_closed}"));
        let backend = Backend::manual();
        let (timeout, other) = ("--tunnel-timeout", "--half-closed-timeout");
        let (timeout, other) = if is_half_closed { (other, timeout) } else { (timeout, other) };
        let roundel = over(&backend, &[timeout, "1500ms", other, "1h"]);
        let (mut client, mut upstream) = tunnel(&roundel, &backend);
        if is_half_closed {
            client.half_close();
            upstream.expect_closed();
        }
        for octet in b"tricks" {
            client.expect_silence(Duration::from_millis(400));
            upstream.send([*octet]);
            client.expect([*octet]);
        }
        upstream.half_close();
        client.expect_closed();
    }
}

#[test]
fn a_half_closed_tunnel_without_traffic_ends() {
    for who in ["the client", "the backend"] {
        let _row = row(format!("{who} has ended"));
        let backend = Backend::manual();
        let options = ["--half-closed-timeout", "300ms", "--tunnel-timeout", "1h"];
        let roundel = over(&backend, &options);
        let (client, upstream) = tunnel(&roundel, &backend);
        let (mut ended, mut open) =
            if who == "the client" { (client, upstream) } else { (upstream, client) };
        ended.expect_silence(2 * MS_300);
        let begin = now();
        ended.half_close();
        open.expect_closed();
        ended.expect_gone();
        assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
        // The other one finds out as soon as it says something.
        while open.try_send("x").is_ok() {
            assert!(begin.elapsed() < PATIENCE, "it goes on for ever");
            thread::park_timeout(Duration::from_millis(5));
        }
        assert_eq!(only_line(&roundel), because("101", "tunnel_half_closed"));
    }
}

#[test]
fn an_unused_connection_to_a_backend_is_closed() {
    let backend = Backend::manual();
    let roundel = over(&backend, &["--pool-timeout", "300ms"]);
    let mut client = roundel.client();
    client.send(get("/1"));
    let mut upstream = backend.accept();
    upstream.head();
    let begin = now();
    upstream.send(ok("1"));
    assert_eq!(client.response().text(), "1");
    upstream.expect_closed();
    assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
    client.send(get("/2"));
    let mut upstream = backend.accept();
    upstream.head();
    // One that is in use is not unused.
    client.expect_silence(2 * MS_300);
    upstream.send(ok("2"));
    assert_eq!(client.response().text(), "2");
    for line in roundel.access_log(2) {
        assert_eq!((line.rest[5].as_str(), line.rest[6].as_str()), ("1", "new"), "{line:?}");
    }
}

/// The connect has its time, and the handshake has its own.
#[cfg(feature = "tls")]
#[test]
fn a_handshake_has_its_own_time() {
    // It takes connections, and never says a word.
    let backend = Backend::script(|wire| {
        wire.rest();
    });
    let url = format!("https://{}", backend.addr());
    for (connect, handshake) in [("1h", Some("300ms")), ("300ms", None), ("100ms", Some("600ms"))] {
        let _row = row(format!("connect {connect}, handshake {handshake:?}"));
        let mut args = vec!["--access-log", "-", "--connect-timeout", connect];
        args.extend(handshake.map(|time| ["--tls-timeout", time]).into_iter().flatten());
        args.push(&url);
        let roundel = Roundel::start(&args);
        roundel.get("/").expect_reply(504, "tls_handshake_timeout");
        let line = &roundel.access_log(1)[0];
        assert_eq!((line.rest[0].as_str(), line.reason()), ("504", "tls_handshake_timeout"));
        let least = if handshake == Some("600ms") { 600 } else { 300 };
        assert!(line.ms() >= least, "{line:?}");
    }
}

/// A client that brings its body an octet at a time.
struct Trickle {
    name: &'static str,
    rate: &'static str,
    pause: Duration,
    /// Whether it comes to its end, after a bit more than the ten seconds of grace.
    passes: bool,
}

const TRICKLES: &[Trickle] = &[
    Trickle {
        name: "far below the rate",
        rate: "1MiB",
        pause: Duration::from_millis(200),
        passes: false,
    },
    Trickle { name: "twice the rate", rate: "10B", pause: Duration::from_millis(50), passes: true },
    Trickle { name: "no rate", rate: "0B", pause: Duration::from_millis(400), passes: true },
];

const GRACE: Duration = Duration::from_secs(10);

/// The rows take their time together, not one after the other.
#[test]
fn a_body_may_be_slow_for_a_while_and_steady_for_as_long_as_it_likes() {
    thread::scope(|scope| {
        for trickle in TRICKLES {
            scope.spawn(|| {
                let _row = row(trickle.name);
                let backend = Backend::manual();
                let roundel = over(&backend, &["--body-rate", trickle.rate]);
                if trickle.passes {
                    expect_to_pass(&roundel, &backend, trickle);
                } else {
                    expect_to_be_too_slow(&roundel, &backend, trickle);
                }
            });
        }
    });
}

#[track_caller]
fn expect_to_be_too_slow(roundel: &Roundel, backend: &Backend, trickle: &Trickle) {
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head();
    let begin = now();
    client.send("x");
    while !client.something_comes(trickle.pause) {
        assert!(begin.elapsed() < GRACE + PATIENCE, "it goes on for ever");
        let _ = client.try_send("x");
    }
    let reply = client.response();
    reply.expect_reply(408, "body_too_slow");
    assert_eq!(reply.field("connection"), Some("close"), "{reply:?}");
    client.expect_closed();
    assert!(begin.elapsed() >= GRACE, "{:?}", begin.elapsed());
    let (rest, end) = upstream.rest();
    assert!(rest.iter().all(|octet| *octet == b'x'), "{:?}", text(&rest));
    assert_eq!(end, End::Reset, "what it has is not all");
    assert_eq!(only_line(roundel), because("408", "body_too_slow"));
}

#[track_caller]
fn expect_to_pass(roundel: &Roundel, backend: &Backend, trickle: &Trickle) {
    let time = GRACE + Duration::from_secs(2);
    let length = time.as_millis() / trickle.pause.as_millis();
    let mut client = roundel.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n"));
    let mut upstream = backend.accept();
    upstream.head();
    let begin = now();
    for _ in 0..length {
        client.expect_silence(trickle.pause);
        client.send("x");
        upstream.expect("x");
    }
    assert!(begin.elapsed() >= time, "{:?}", begin.elapsed());
    upstream.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
    assert_eq!(only_line(roundel), because("200", "-"));
}
