//! Stopping: what runs is finished, what idles is ended, and nothing dies of a peer that goes away.

mod support;

use std::time::Duration;

use support::*;

/// A request that is under way: the client has sent it, the backend has read it.
fn in_flight(roundel: &Roundel, backend: &Backend, target: &str) -> (Wire, Wire) {
    let mut client = roundel.client();
    client.send(get(target));
    let mut upstream = backend.accept();
    assert!(upstream.head().starts_with(&format!("GET {target} ")));
    (client, upstream)
}

/// The last line that speaks of numbers of exchanges, with its numbers.
#[expect(clippy::panic, reason = "a helper of tests reports so")]
fn counts(roundel: &Roundel) -> (String, Vec<u64>) {
    let lines = roundel.stderr();
    let line = lines
        .iter()
        .rfind(|line| line.contains("finished") && line.contains("cut"))
        .unwrap_or_else(|| panic!("no line says how many were finished and cut: {lines:#?}"));
    let text = line.rsplit(']').next().unwrap_or(line);
    let digits = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    (line.clone(), digits.filter_map(|part| part.parse().ok()).collect())
}

#[test]
fn stopping_ends_what_idles_and_finishes_what_runs() {
    for signal in ["TERM", "INT"] {
        let _row = row(signal);
        let backend = Backend::manual();
        let mut roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
        let (mut new, mut used) = (roundel.client(), roundel.client());
        used.send(get("/used"));
        let mut pooled = backend.accept();
        pooled.head();
        pooled.send(ok("used"));
        assert_eq!(used.response().text(), "used");
        // Takes the pooled connection; the other one opens a second, and its head has gone already.
        let (mut waiting, mut streaming) = (roundel.client(), roundel.client());
        waiting.send(get("/waiting"));
        assert!(pooled.head().starts_with("GET /waiting "));
        streaming.send(get("/streaming"));
        let mut source = backend.accept();
        source.head();
        source.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
        streaming.head();
        streaming.expect("he");

        roundel.signal(signal);
        new.expect_closed();
        used.expect_closed();

        pooled.send(ok("done"));
        let response = waiting.response();
        assert_eq!(response.text(), "done");
        assert_eq!(response.field("connection"), Some("close"));
        waiting.expect_closed();
        source.send("llo");
        streaming.expect("llo");
        streaming.expect_closed();

        assert_eq!(roundel.wait(), Some(0));
        let (line, numbers) = counts(&roundel);
        assert_eq!(numbers, [2, 0], "{line}");
        assert!(roundel.access_log(3).iter().all(|line| line.reason() == "-"));
    }
}

#[test]
fn with_nothing_to_do_it_ends_at_once() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &[]);
    assert_eq!(roundel.get("/").text(), "ok");
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
}

#[test]
fn nobody_is_accepted_any_more() {
    let backend = Backend::manual();
    let mut roundel = Roundel::over(&[&backend], &[]);
    let (mut client, mut upstream) = in_flight(&roundel, &backend, "/");
    let mut idle = roundel.client();
    roundel.signal("TERM");
    idle.expect_closed();
    // The port closes in the same turn of the loop, which may still be under way.
    let refused = (0..1000).any(|_| Wire::try_connect(roundel.addr()).is_err());
    assert!(refused, "the port is closed once draining has begun");
    upstream.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
    assert_eq!(roundel.wait(), Some(0));
}

/// Who stands in the queue of the listener when the signal comes has been promised a connection.
#[test]
fn the_accept_queue_is_emptied_first() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &[]);
    roundel.signal("STOP");
    let mut clients: Vec<Wire> = (0..150).map(|_| roundel.client()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    roundel.signal("TERM");
    roundel.signal("CONT");
    for client in &mut clients {
        let response = client.response();
        assert_eq!(response.text(), "ok");
        assert_eq!(response.field("connection"), Some("close"));
        client.expect_closed();
    }
    assert_eq!(roundel.wait(), Some(0));
}

#[test]
fn a_request_body_that_is_still_coming_is_finished_too() {
    let backend = Backend::manual();
    let mut roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhe");
    let mut upstream = backend.accept();
    upstream.head();
    upstream.expect("he");
    let mut idle = roundel.client();
    roundel.signal("TERM");
    idle.expect_closed();
    client.send("llo");
    upstream.expect("llo");
    upstream.send(ok("ok"));
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("connection")), ("ok", Some("close")));
    client.expect_closed();
    assert_eq!(roundel.wait(), Some(0));
}

#[test]
fn the_drain_timeout_cuts_what_still_runs() {
    let backend = Backend::manual();
    let mut roundel =
        Roundel::over(&[&backend], &["--drain-timeout", "400ms", "--access-log", "-"]);
    let (mut finishes, mut quick) = in_flight(&roundel, &backend, "/finishes");
    let (mut waits, _slow) = in_flight(&roundel, &backend, "/waits");
    let (mut streams, mut source) = in_flight(&roundel, &backend, "/streams");
    source.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    streams.head();
    streams.expect("5\r\nhello\r\n");
    let (mut tunnels, mut peer) = in_flight_upgrade(&roundel, &backend);
    let mut idle = roundel.client();
    roundel.signal("TERM");
    idle.expect_closed();
    // A tunnel is no idle connection: it goes on until it is cut.
    tunnels.send("still");
    peer.expect("still");
    quick.send(ok("quick"));
    assert_eq!(finishes.response().text(), "quick");
    assert_eq!(roundel.wait(), Some(0));
    let (seen, _) = waits.rest();
    assert!(!text(&seen).starts_with("HTTP/1.1 200"), "{:?}", text(&seen));
    let (seen, _) = streams.rest();
    assert!(!text(&seen).ends_with("0\r\n\r\n"), "{:?}", text(&seen));
    tunnels.expect_gone();
    peer.expect_gone();
    let (line, numbers) = counts(&roundel);
    assert_eq!(numbers, [1, 3], "{line}");
    let log = roundel.access_log(4);
    let cut = log.iter().filter(|line| line.reason() == "drain_timeout").count();
    assert_eq!(cut, 3, "{log:#?}");
}

fn in_flight_upgrade(roundel: &Roundel, backend: &Backend) -> (Wire, Wire) {
    let mut client = roundel.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.response().status(), 101);
    (client, upstream)
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let _row = row(format!("{first}, {second}"));
        let backend = Backend::manual();
        let mut roundel = Roundel::over(&[&backend], &["--drain-timeout", "1h"]);
        let (mut client, _upstream) = in_flight(&roundel, &backend, "/");
        let mut idle = roundel.client();
        roundel.signal(first);
        idle.expect_closed();
        assert!(roundel.is_running(), "one is still under way");
        roundel.signal(second);
        assert_eq!(roundel.wait(), Some(0), "stopped as asked");
        let (line, numbers) = counts(&roundel);
        assert_eq!(numbers, [0, 1], "{line}");
        let (seen, _) = client.rest();
        assert!(!text(&seen).starts_with("HTTP/1.1 200"), "{:?}", text(&seen));
    }
}

#[test]
fn a_client_that_goes_away_kills_nothing() {
    let backend = Backend::serve(|wire, request| {
        if request.start().starts_with("GET /long ") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            // Until roundel gives up.
            while wire.try_send([b'x'; 65536]).is_ok() {}
        } else {
            // Whether anybody still wants it is not its business.
            let _ = wire.try_send(ok("ok"));
        }
    });
    let mut roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    for reset in [true, false] {
        let mut client = roundel.client();
        client.send(get("/long"));
        client.head();
        client.exactly(1000);
        if reset {
            client.reset();
        } else {
            client.close();
        }
    }
    for _ in 0..2 {
        assert_eq!(roundel.get("/").text(), "ok");
    }
    let log = roundel.access_log(4);
    let gone = log.iter().filter(|line| ["client_reset", "client_closed"].contains(&line.reason()));
    assert_eq!(gone.count(), 2, "{log:#?}");
    assert!(roundel.is_running());
}

#[test]
fn a_backend_that_goes_away_while_a_body_is_sent_kills_nothing() {
    let backend = Backend::manual();
    let mut roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000000\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head();
    upstream.reset();
    // It may be told before all of this is sent.
    for _ in 0..100 {
        if client.try_send([b'x'; 65536]).is_err() {
            break;
        }
    }
    assert!(roundel.is_running());
    client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn sigpipe_is_ignored() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &[]);
    roundel.signal("PIPE");
    assert_eq!(roundel.get("/").text(), "ok");
    assert!(roundel.is_running());
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
}

/// A client that was promised the end of its connection gets it, also when it goes on sending.
#[test]
fn a_second_request_during_the_drain_is_not_served() {
    let backend = Backend::manual();
    let mut roundel = Roundel::over(&[&backend], &[]);
    let (mut client, mut upstream) = in_flight(&roundel, &backend, "/1");
    let mut idle = roundel.client();
    roundel.signal("TERM");
    idle.expect_closed();
    client.send(get("/2"));
    upstream.send(ok("1"));
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("connection")), ("1", Some("close")));
    let (rest, _) = client.rest();
    assert_eq!(text(&rest), "");
    assert_eq!(roundel.wait(), Some(0));
    assert!(!backend.received().iter().any(|octets| text(octets).contains("GET /2 ")));
}

/// What the log said about an end that took a while is there even when nobody waited for it.
#[test]
fn what_was_logged_last_is_written_before_the_end() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    let mut client = roundel.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "ok");
    }
    client.expect_silence(Duration::from_millis(1));
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    assert_eq!(roundel.access_log(50).len(), 50);
}

/// A client that was answered a moment ago, or has just come, may have its next request on the way: it is
/// answered, and told that it was the last.
#[test]
fn who_was_just_served_may_ask_once_more() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &[]);
    let (mut used, mut new) = (roundel.client(), roundel.client());
    assert_eq!(used.get("/").text(), "ok");
    roundel.signal("TERM");
    roundel.wait_for_stderr("no more are accepted");
    for client in [&mut used, &mut new] {
        let response = client.get("/");
        assert_eq!((response.text().as_str(), response.field("connection")), ("ok", Some("close")));
        client.expect_closed();
    }
    assert_eq!(roundel.wait(), Some(0));
}

/// The head of its answer had gone when the signal came, so it knows nothing yet.
#[test]
fn who_was_not_told_in_time_is_told_next_time() {
    let backend = Backend::manual();
    let mut roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(get("/1"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    let head = client.head();
    assert!(!head.to_ascii_lowercase().contains("connection: close"), "{head}");
    roundel.signal("TERM");
    roundel.wait_for_stderr("no more are accepted");
    upstream.send("k");
    client.expect("ok");
    client.send(get("/2"));
    let mut second = backend.accept();
    assert!(second.head().starts_with("GET /2 "));
    second.send(ok("2"));
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("connection")), ("2", Some("close")));
    client.expect_closed();
    assert_eq!(roundel.wait(), Some(0));
}

#[test]
fn during_the_delay_everybody_is_served_as_before() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &["--drain-delay", "1h"]);
    let mut client = roundel.client();
    assert_eq!(client.get("/").text(), "ok");
    roundel.signal("TERM");
    roundel.wait_for_stderr("clients are let in for another 1h");
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!((response.text().as_str(), response.field("connection")), ("ok", None));
        assert_eq!(roundel.get("/").text(), "ok");
    }
    assert!(roundel.is_running());
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
}

#[test]
fn after_the_delay_nobody_is_let_in() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &["--drain-delay", "50ms"]);
    roundel.signal("TERM");
    roundel.wait_for_stderr("no more are accepted");
    let refused = (0..1000).any(|_| Wire::try_connect(roundel.addr()).is_err());
    assert!(refused, "the port is closed once the delay is over");
    assert_eq!(roundel.wait(), Some(0));
}
