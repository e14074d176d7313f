//! Deadlines: what happens when somebody is too slow, and that progress in time is never too slow.
//!
//! Only here is waiting the subject. Bounds are from below (it did not end before its time) or as
//! generous as [`PATIENCE`]; nothing is expected to be fast.

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use support::*;

const HEAD: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n";
const MS_300: Duration = Duration::from_millis(300);

#[expect(clippy::disallowed_methods, reason = "time is the subject")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_head_that_stops_is_408() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--head-timeout", "300ms", "--access-log", "-"]);
    for (name, before, start) in [
        ("the first octet", "", "G"),
        ("all but the last line", "", HEAD),
        ("on a connection that was in use", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", HEAD),
    ] {
        let _row = row(name);
        let mut client = roundel.client();
        if !before.is_empty() {
            client.send(before);
            assert_eq!(client.response().text(), "ok");
        }
        let begin = now();
        client.send(start);
        let reply = client.response();
        reply.expect_reply(408, "head_timeout");
        assert_eq!(reply.field("connection"), Some("close"));
        client.expect_closed();
        assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
    }
    let reasons: Vec<_> =
        roundel.access_log(4).iter().map(|line| line.reason().to_owned()).collect();
    assert_eq!(reasons.iter().filter(|reason| *reason == "head_timeout").count(), 3);
}

/// The deadline is absolute: each octet is progress, and none of it counts.
#[test]
fn a_head_that_trickles_is_408() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--head-timeout", "300ms"]);
    let mut client = roundel.client();
    let begin = now();
    client.send(HEAD);
    client.send("X-A: ");
    while !client.something_comes(Duration::from_millis(40)) {
        assert!(begin.elapsed() < PATIENCE, "it goes on for ever");
        let _ = client.try_send("x");
    }
    client.response().expect_reply(408, "head_timeout");
    assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
    assert_eq!(backend.connections(), 0);
}

/// The head deadline is for heads: a body and a response may take longer.
#[test]
fn the_head_deadline_ends_with_the_head() {
    let backend = Backend::manual();
    let roundel =
        Roundel::over(&[&backend], &["--head-timeout", "200ms", "--idle-timeout", "200ms"]);
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nh");
    let mut upstream = backend.accept();
    upstream.head();
    upstream.expect("h");
    client.expect_silence(Duration::from_millis(600));
    client.send("i");
    upstream.expect("i");
    client.expect_silence(Duration::from_millis(600));
    upstream.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn an_idle_client_is_closed_without_a_word() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--idle-timeout", "300ms", "--access-log", "-"]);
    let begin = now();
    let mut new = roundel.client();
    let mut used = roundel.client();
    let mut odd = roundel.client();
    // An empty line, which may stand in front of a request, does not begin one.
    odd.send("\r\n");
    assert_eq!(used.get("/").text(), "ok");
    new.expect_closed();
    odd.expect_closed();
    used.expect_closed();
    assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
    assert_eq!(roundel.access_log(1)[0].reason(), "-", "it is no exchange, so it is not logged");
}

#[test]
fn each_request_begins_the_idle_time_anew() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--idle-timeout", "1500ms"]);
    let mut client = roundel.client();
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "ok");
        client.expect_silence(Duration::from_millis(400));
    }
}

#[test]
fn a_request_body_that_stops_is_408() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let _row = row(framing);
        let backend = Backend::manual();
        let roundel = Roundel::over(&[&backend], &["--body-timeout", "300ms", "--access-log", "-"]);
        let mut client = roundel.client();
        let begin = now();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n"));
        let mut upstream = backend.accept();
        upstream.head();
        client.send("5\r\n");
        let reply = client.response();
        reply.expect_reply(408, "body_timeout");
        assert_eq!(reply.field("connection"), Some("close"));
        client.expect_closed();
        assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
        let (rest, _) = upstream.rest();
        assert_eq!(text(&rest), "5\r\n", "nothing is made up");
        let log = roundel.access_log(1);
        assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("408", "body_timeout"));
    }
}

#[test]
fn a_request_body_may_trickle() {
    let backend = Backend::manual();
    let options = ["--body-timeout", "1500ms", "--timeout", "1500ms", "--head-timeout", "1s"];
    let roundel = Roundel::over(&[&backend], &options);
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 8\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head();
    for octet in b"tricklin" {
        client.expect_silence(Duration::from_millis(300));
        client.send([*octet]);
        upstream.expect([*octet]);
    }
    upstream.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
}

/// No retry: the backend may be at work on it. Its late answer is for nobody.
#[test]
fn a_silent_backend_is_504_and_its_late_answer_reaches_nobody() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--timeout", "300ms", "--access-log", "-"]);
    let mut client = roundel.client();
    let begin = now();
    client.send(get("/slow"));
    let mut slow = backend.accept();
    slow.head();
    client.response().expect_reply(504, "response_timeout");
    assert!(begin.elapsed() >= MS_300, "{:?}", begin.elapsed());
    // It may have been closed under it.
    let _ = slow.try_send(ok("late"));
    client.send(get("/next"));
    let mut next = backend.accept();
    assert!(next.head().starts_with("GET /next "));
    next.send(ok("next"));
    assert_eq!(client.response().text(), "next");
    assert_eq!(backend.connections(), 2);
    slow.expect_gone();
    let log = roundel.access_log(2);
    assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("504", "response_timeout"));
    assert!(log[0].ms() >= 300, "{log:?}");
}

#[test]
fn an_interim_response_is_no_answer() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--timeout", "300ms"]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    client.expect("HTTP/1.1 103 Early Hints\r\n\r\n");
    client.response().expect_reply(504, "response_timeout");
    upstream.expect_gone();
}

/// Silence in the middle of a body cannot be answered any more, only broken off.
#[test]
fn a_response_that_stops_is_broken_off() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--timeout", "300ms", "--access-log", "-"]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    client.head();
    client.expect("hello");
    client.expect_gone();
    upstream.expect_gone();
    let log = roundel.access_log(1);
    assert_eq!(log[0].rest[0], "200");
    assert!(["response_truncated", "response_stalled"].contains(&log[0].reason()), "{log:?}");
}

#[test]
fn a_response_may_trickle() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--timeout", "1500ms", "--idle-timeout", "500ms"]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
    client.head();
    for octet in b"tricklin" {
        client.expect_silence(Duration::from_millis(300));
        upstream.send([*octet]);
        client.expect([*octet]);
    }
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let backend = Backend::serve(|wire, _| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        // Until roundel gives up.
        while wire.try_send([b'x'; 65536]).is_ok() {}
    });
    let roundel = Roundel::over(&[&backend], &["--timeout", "500ms", "--access-log", "-"]);
    let mut client = roundel.client();
    client.send(get("/"));
    let log = roundel.access_log(1);
    assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("200", "client_stalled"));
}

/// The backend says for how long it keeps an idle connection; ours ends a second before, so that
/// none is used while it is being closed.
#[test]
fn a_pooled_connection_ends_before_the_backend_ends_it() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    let begin = now();
    upstream.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2, max=9\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().text(), "hi");
    upstream.expect_gone();
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(900) && took < PATIENCE, "{took:?}");
    // The client's connection has nothing to do with it.
    client.send(get("/"));
    let mut second = backend.accept();
    second.head();
    second.send(ok("again"));
    assert_eq!(client.response().text(), "again");
}

/// What is left on a connection after a refusal is read for a while, not for ever.
#[test]
fn lingering_ends() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("GET / HTTP/1.1\r\n\r\n");
    client.response().expect_reply(400, "bad_host");
    client.expect_closed();
    let begin = now();
    let mut sent = 0;
    while client.try_send([b'x'; 100]).is_ok() {
        sent += 100;
        assert!(begin.elapsed() < PATIENCE, "after {sent} octets it still listens");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// A loop that has slept for longer than the timeout must not count that against who comes then.
#[test]
#[expect(clippy::disallowed_methods, reason = "time is the subject")]
fn a_client_that_comes_after_a_long_silence_has_its_time() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--idle-timeout", "300ms"]);
    assert_eq!(roundel.get("/").text(), "ok");
    for _ in 0..3 {
        thread::sleep(2 * MS_300);
        let mut client = roundel.client();
        client.expect_silence(MS_300 / 6);
        assert_eq!(client.get("/").text(), "ok");
    }
}
