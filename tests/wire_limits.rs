//! How much there may be of anything, and what becomes of those beyond: connections to a backend
//! and the requests that wait for one, clients, and content.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use support::*;

/// Sends a request on a connection of its own. Requests that are sent one after the other arrive
/// so.
fn ask(roundel: &Roundel, target: &str) -> Wire {
    let mut client = roundel.client();
    client.send(get(target));
    client
}

/// The next request on this connection is for this target; answers with it.
#[track_caller]
fn serve(upstream: &mut Wire, target: &str) {
    let head = upstream.head();
    assert!(head.starts_with(&format!("GET {target} ")), "{target} is next, not {head}");
    upstream.send(ok(target));
}

/// One connection to each backend, and their requests wait for an answer.
fn all_busy(roundel: &Roundel, backends: &[&Backend]) -> Vec<(Wire, Wire)> {
    backends
        .iter()
        .enumerate()
        .map(|(number, backend)| {
            let client = ask(roundel, &format!("/busy/{number}"));
            let mut upstream = backend.accept();
            assert!(upstream.head().starts_with(&format!("GET /busy/{number} ")));
            (client, upstream)
        })
        .collect()
}

/// A shortage that passes, which the client is told.
#[track_caller]
fn expect_shortage(reply: &Message, reason: &str) {
    reply.expect_reply(503, reason);
    assert_eq!(reply.field("retry-after"), Some("1"), "{reply:?}");
    assert_eq!(reply.field("connection"), None, "the client may stay: {reply:?}");
}

#[test]
fn requests_wait_for_a_connection_in_their_order() {
    let (one, two) = (Backend::manual(), Backend::manual());
    let options = ["--max-conns-per-backend", "1", "--access-log", "-"];
    let roundel = Roundel::over(&[&one, &two], &options);
    let mut busy = all_busy(&roundel, &[&one, &two]);
    let targets = ["/3", "/4", "/5", "/6", "/7"];
    let mut waiting: Vec<Wire> = targets.iter().map(|target| ask(&roundel, target)).collect();
    // Whichever is free takes the next.
    for (number, which) in [1, 0, 0, 1, 1].into_iter().enumerate() {
        let (client, upstream) = &mut busy[which];
        upstream.send(ok("done"));
        assert_eq!(client.response().text(), "done");
        let head = upstream.head();
        assert!(head.starts_with(&format!("GET {} ", targets[number])), "{head}");
        let next = std::mem::replace(&mut waiting[number], roundel.client());
        busy[which].0 = next;
    }
    for (client, upstream) in &mut busy {
        upstream.send(ok("done"));
        assert_eq!(client.response().text(), "done");
    }
    assert_eq!((one.connections(), two.connections()), (1, 1));
    for line in roundel.access_log(7) {
        assert_eq!((line.rest[0].as_str(), line.rest[5].as_str()), ("200", "1"), "{line:?}");
    }
}

/// A connection that ends makes room for another one.
#[test]
fn a_waiting_request_gets_a_new_connection_where_one_has_ended() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--max-conns-per-backend", "1"]);
    let mut busy = all_busy(&roundel, &[&backend]);
    let mut waiting = ask(&roundel, "/waiting");
    let (mut client, mut upstream) = busy.remove(0);
    upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndone");
    assert_eq!(client.response().text(), "done");
    upstream.expect_gone();
    serve(&mut backend.accept(), "/waiting");
    assert_eq!(waiting.response().text(), "/waiting");
}

/// Who has a body with the request, or has said the last, waits like the others.
#[test]
fn what_came_with_a_waiting_request_is_kept() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--max-conns-per-backend", "1"]);
    let (mut client, mut upstream) = all_busy(&roundel, &[&backend]).remove(0);
    let body = "x".repeat(300_000);
    let mut long = roundel.client();
    let mut sender = long.second_handle();
    let request =
        format!("POST /long HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n", body.len());
    sender.send(request);
    // Roundel takes only a part of it before there is somewhere to send it.
    let sending = thread::spawn({
        let body = body.clone();
        move || sender.send(body)
    });
    let mut last = ask(&roundel, "/last");
    last.half_close();
    upstream.send(ok("done"));
    assert_eq!(client.response().text(), "done");
    let request = upstream.request().expect("a request");
    assert!(request.start().starts_with("POST /long ") && request.text() == body);
    upstream.send(ok("long"));
    assert_eq!(long.response().text(), "long");
    sending.join().expect("sent");
    serve(&mut upstream, "/last");
    assert_eq!(last.response().text(), "/last");
    last.expect_closed();
}

#[test]
fn who_waits_too_long_is_told_to_come_again() {
    let backend = Backend::manual();
    let options = ["--max-conns-per-backend", "1", "--queue-timeout", "300ms", "--access-log", "-"];
    let roundel = Roundel::over(&[&backend], &options);
    let (mut client, mut upstream) = all_busy(&roundel, &[&backend]).remove(0);
    let mut waiting = ask(&roundel, "/waiting");
    expect_shortage(&waiting.response(), "queue_timeout");
    let log = roundel.access_log(1);
    assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("503", "queue_timeout"));
    assert_eq!((log[0].rest[4].as_str(), log[0].rest[5].as_str()), ("-", "0"), "{log:?}");
    assert!(log[0].ms() >= 300, "{log:?}");
    // Nobody waits any more when the connection is free, and the next request gets it.
    upstream.send(ok("done"));
    assert_eq!(client.response().text(), "done");
    waiting.send(get("/again"));
    serve(&mut upstream, "/again");
    assert_eq!(waiting.response().text(), "/again");
}

#[test]
fn who_finds_the_queue_full_is_told_to_come_again() {
    for queue_max in [1, 3] {
        let _row = row(format!("{queue_max}"));
        let backend = Backend::manual();
        let queue = queue_max.to_string();
        let options = ["--max-conns-per-backend", "1", "--queue-max", &queue, "--access-log", "-"];
        let roundel = Roundel::over(&[&backend], &options);
        let (mut client, mut upstream) = all_busy(&roundel, &[&backend]).remove(0);
        let mut waiting: Vec<Wire> =
            (0..queue_max).map(|number| ask(&roundel, &format!("/{number}"))).collect();
        let mut beyond = ask(&roundel, "/beyond");
        expect_shortage(&beyond.response(), "queue_full");
        let log = roundel.access_log(1);
        assert_eq!(log[0].request, "GET /beyond");
        assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("503", "queue_full"));
        upstream.send(ok("done"));
        assert_eq!(client.response().text(), "done");
        // One has left the queue, so there is a place.
        assert!(upstream.head().starts_with("GET /0 "));
        beyond.send(get("/again"));
        upstream.send(ok("/0"));
        for (number, waiting) in waiting.iter_mut().enumerate() {
            if number > 0 {
                serve(&mut upstream, &format!("/{number}"));
            }
            assert_eq!(waiting.response().text(), format!("/{number}"));
        }
        serve(&mut upstream, "/again");
        assert_eq!(beyond.response().text(), "/again");
    }
}

/// Two requests wait, as many as may, and the client of the first goes away: there is a place in
/// the queue, and the other gets the connection.
#[track_caller]
fn expect_to_leave_the_queue(roundel: &Roundel, busy: (Wire, Wire), leave: impl FnOnce(Wire)) {
    let (mut client, mut upstream) = busy;
    let leaving = ask(roundel, "/leaving");
    let mut staying = ask(roundel, "/staying");
    leave(leaving);
    let log = roundel.access_log(1);
    assert_eq!(log[0].request, "GET /leaving");
    assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("-", "client_reset"));
    let mut coming = ask(roundel, "/coming");
    upstream.send(ok("done"));
    assert_eq!(client.response().text(), "done");
    for (waiting, target) in [(&mut staying, "/staying"), (&mut coming, "/coming")] {
        serve(&mut upstream, target);
        assert_eq!(waiting.response().text(), target);
    }
}

#[test]
fn who_goes_away_leaves_the_queue() {
    let backend = Backend::manual();
    let options = ["--max-conns-per-backend", "1", "--queue-max", "2", "--access-log", "-"];
    let roundel = Roundel::over(&[&backend], &options);
    let busy = all_busy(&roundel, &[&backend]).remove(0);
    expect_to_leave_the_queue(&roundel, busy, |mut leaving| {
        // Only for the order of things: it waits.
        leaving.expect_silence(Duration::from_millis(200));
        leaving.reset();
    });
}

/// The request and the reset are there together when roundel looks.
#[test]
fn who_goes_away_at_once_leaves_the_queue_as_well() {
    let backend = Backend::manual();
    let options = ["--max-conns-per-backend", "1", "--queue-max", "2", "--access-log", "-"];
    let roundel = Roundel::over(&[&backend], &options);
    let busy = all_busy(&roundel, &[&backend]).remove(0);
    roundel.signal("STOP");
    expect_to_leave_the_queue(&roundel, busy, |leaving| {
        leaving.reset();
        roundel.signal("CONT");
    });
}

/// The same where a connect hangs.
#[cfg(target_os = "linux")]
#[test]
fn who_goes_away_at_once_does_not_wait_for_a_connect() {
    let mut port = NarrowPort::new();
    port.fill();
    let options = ["--connect-timeout", "1h", "--access-log", "-", &port.url()];
    let roundel = Roundel::start(&options);
    roundel.signal("STOP");
    ask(&roundel, "/leaving").reset();
    roundel.signal("CONT");
    let log = roundel.access_log(1);
    assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("-", "client_reset"));
}

/// A backend that counts how many requests it has in hand at a time.
#[test]
fn a_backend_never_has_more_connections_than_it_may() {
    const MAX: usize = 3;
    for closes in [false, true] {
        let _row = row(format!("it closes after each response: {closes}"));
        let (present, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let its_most = Arc::clone(&most);
        let backend = Backend::script(move |wire| {
            let now = present.fetch_add(1, Ordering::SeqCst) + 1;
            its_most.fetch_max(now, Ordering::SeqCst);
            while let Some(request) = wire.request() {
                let target = request.start().split(' ').nth(1).unwrap_or_default().to_owned();
                if closes {
                    // From here on, roundel may know that there is room.
                    present.fetch_sub(1, Ordering::SeqCst);
                    wire.send(ok(&target).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
                    return;
                }
                wire.send(ok(&target));
            }
        });
        let max = MAX.to_string();
        let options = ["--max-conns-per-backend", &max, "--queue-timeout", "1h"];
        let roundel = Roundel::over(&[&backend], &options);
        thread::scope(|scope| {
            for n in 0..12 {
                let mut client = roundel.client();
                scope.spawn(move || {
                    for m in 0..10 {
                        let target = format!("/{n}/{m}");
                        assert_eq!(client.get(&target).text(), target);
                    }
                });
            }
        });
        assert!((1..=MAX).contains(&most.load(Ordering::SeqCst)), "{most:?}");
        assert!(closes || backend.connections() <= MAX, "{}", backend.connections());
    }
}

#[test]
fn clients_beyond_the_most_wait_in_the_kernel() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--max-conns", "2"]);
    let (mut one, mut two) = (roundel.client(), roundel.client());
    for client in [&mut one, &mut two] {
        assert_eq!(client.get("/").text(), "ok");
    }
    let mut three = ask(&roundel, "/");
    three.expect_silence(Duration::from_millis(300));
    for client in [&mut one, &mut two] {
        assert_eq!(client.get("/").text(), "ok", "nobody else is held up");
    }
    one.close();
    assert_eq!(three.response().text(), "ok");
    let mut four = ask(&roundel, "/");
    four.expect_silence(Duration::from_millis(300));
    two.reset();
    assert_eq!(four.response().text(), "ok");
}

const TEN: &[&str] = &["--max-body", "10B", "--access-log", "-"];

/// Where the length is told, no backend is bothered.
#[test]
fn a_body_that_is_announced_too_large_is_refused_at_once() {
    for (name, start, fields, body) in [
        ("a head", "POST / HTTP/1.1", "Content-Length: 11\r\n", ""),
        ("HEAD", "HEAD / HTTP/1.1", "Content-Length: 11\r\n", ""),
        ("HTTP/1.0", "POST / HTTP/1.0", "Content-Length: 11\r\n", "hello"),
        ("an immense one", "PUT / HTTP/1.1", "Content-Length: 1000000000000\r\n", "x"),
        (
            "a client that waits for a word",
            "POST / HTTP/1.1",
            "Content-Length: 11\r\nExpect: 100-continue\r\n",
            "",
        ),
    ] {
        let _row = row(name);
        let backend = Backend::named("ok");
        let roundel = Roundel::over(&[&backend], TEN);
        let mut client = roundel.client();
        client.send(format!("{start}\r\nHost: a.example\r\n{fields}\r\n{body}"));
        let reply = if start.starts_with("HEAD ") {
            let reply = client.response_to_head();
            assert_eq!(reply.status(), 413);
            reply
        } else {
            let reply = client.response();
            reply.expect_reply(413, "body_too_large");
            reply
        };
        assert_eq!(reply.field("connection"), Some("close"), "{reply:?}");
        // What is on its way meanwhile does not reset the connection.
        let _ = client.try_send("more");
        client.expect_closed();
        let log = roundel.access_log(1);
        assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("413", "body_too_large"));
        assert_eq!((log[0].rest[4].as_str(), log[0].rest[5].as_str()), ("-", "0"), "{log:?}");
        assert_eq!(backend.connections(), 0);
    }
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n";

/// The same for chunks that come with the head.
#[test]
fn chunks_that_are_too_large_with_the_head_are_refused_at_once() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], TEN);
    let mut client = roundel.client();
    client.send(format!("{CHUNKED}\r\n5\r\nhello\r\n6\r\n world\r\n"));
    let reply = client.response();
    reply.expect_reply(413, "body_too_large");
    assert_eq!(reply.field("connection"), Some("close"), "{reply:?}");
    let _ = client.try_send("0\r\n\r\n");
    client.expect_closed();
    assert_eq!(backend.connections(), 0);
}

/// A chunked body of which `good` goes on before `bad` shows that it is too large. The backend has
/// a part then, and its connection is reset: a part is not the whole.
#[track_caller]
fn expect_cut_off(field: &str, good: &str, bad: &str) {
    const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], TEN);
    let mut client = roundel.client();
    client.send(format!("{CHUNKED}{field}\r\n"));
    let mut upstream = backend.accept();
    upstream.head();
    if !field.is_empty() {
        upstream.send(INTERIM);
        client.expect(INTERIM);
    }
    client.send(good);
    upstream.expect(good);
    client.send(bad);
    client.response().expect_reply(413, "body_too_large");
    let (rest, end) = upstream.rest();
    assert!(!text(&rest).contains("0\r\n\r\n"), "{:?} makes it whole", text(&rest));
    assert_eq!(end, End::Reset, "after {:?}", text(&rest));
    let log = roundel.access_log(1);
    assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("413", "body_too_large"));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn chunks_that_become_too_large_are_cut_off() {
    for (name, field, good, bad) in [
        ("one chunk", "", "", "b\r\nhello world\r\n"),
        ("an octet too much", "", "5\r\nhello\r\n5\r\nworld\r\n", "1\r\n!\r\n"),
        ("a chunk that has only begun", "", "5\r\nhello\r\n", "fffffff\r\n world"),
        ("after a 100", "Expect: 100-continue\r\n", "", "b\r\nhello world\r\n"),
    ] {
        let _row = row(name);
        expect_cut_off(field, good, bad);
    }
}

/// The client has sent all of it, but the backend has not got all of it.
#[test]
fn chunks_that_end_too_large_are_cut_off_as_well() {
    for (name, good, bad) in [
        ("one chunk", "", "b\r\nhello world\r\n0\r\n\r\n"),
        ("an octet too much", "a\r\nhelloworld\r\n", "1\r\n!\r\n0\r\n\r\n"),
    ] {
        let _row = row(name);
        expect_cut_off("", good, bad);
    }
}

#[test]
fn a_body_that_is_just_large_enough_passes() {
    let in_single_octets = "1\r\nx\r\n".repeat(10) + "0\r\n\r\n";
    let with_extensions = "1;extension=long\r\nx\r\n".repeat(10) + "0\r\nTrailer: long\r\n\r\n";
    for (name, request, body) in [
        (
            "by length",
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n0123456789".to_owned(),
            "0123456789",
        ),
        ("in single octets", format!("{CHUNKED}\r\n{in_single_octets}"), "xxxxxxxxxx"),
        ("framing does not count", format!("{CHUNKED}\r\n{with_extensions}"), "xxxxxxxxxx"),
    ] {
        for is_split in [false, true] {
            let _row = row(format!("{name}, octet by octet: {is_split}"));
            let backend = Backend::manual();
            let roundel = Roundel::over(&[&backend], TEN);
            let mut client = roundel.client();
            if is_split {
                client.send_octet_by_octet(&request);
            } else {
                client.send(&request);
            }
            let mut upstream = backend.accept();
            let got = upstream.request().expect("a request");
            let is_chunked = got.field("transfer-encoding").is_some();
            assert_eq!(text(&if is_chunked { got.content() } else { got.body }), body);
            upstream.send(ok("thanks"));
            assert_eq!(client.response().text(), "thanks");
        }
    }
}
