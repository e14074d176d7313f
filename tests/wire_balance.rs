//! Who gets the next request: rotation, weights, reuse of connections, backends that refuse.

mod support;

use std::{collections::HashMap, time::Duration};

use support::*;

/// The bodies of so many GETs on one connection.
fn bodies(client: &mut Wire, count: usize) -> String {
    (0..count).map(|_| client.get("/").text()).collect()
}

#[test]
fn rotation_is_strict_on_one_connection() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let roundel = Roundel::over(&[&a, &b, &c], &[]);
    assert_eq!(bodies(&mut roundel.client(), 12), "abcabcabcabc");
    for backend in [&a, &b, &c] {
        assert_eq!(backend.connections(), 1, "its connection is used again");
    }
}

#[test]
fn rotation_is_strict_over_many_connections() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let roundel = Roundel::over(&[&a, &b, &c], &[]);
    let got: String = (0..12).map(|_| roundel.get("/").text()).collect();
    assert_eq!(got, "abcabcabcabc");
}

#[test]
fn rotation_goes_by_requests_not_by_connections() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let roundel = Roundel::over(&[&a, &b, &c], &[]);
    let (mut one, mut two) = (roundel.client(), roundel.client());
    let got: String = (0..6).flat_map(|_| [one.get("/").text(), two.get("/").text()]).collect();
    assert_eq!(got, "abcabcabcabc");
}

#[test]
fn answers_of_our_own_take_no_turn() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let roundel = Roundel::over(&[&a, &b], &[]);
    let mut got = String::new();
    for _ in 0..4 {
        got += &roundel.get("/").text();
        let mut bad = roundel.client();
        bad.send("GET / HTTP/1.1\r\n\r\n");
        bad.response().expect_reply(400, "bad_host");
    }
    assert_eq!(got, "abab");
}

#[test]
fn the_same_backend_twice_has_two_turns() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let roundel = Roundel::over(&[&a, &b, &a], &[]);
    assert_eq!(bodies(&mut roundel.client(), 6), "abaaba");
}

/// Smooth weighted round robin: shares are exact over a period, and turns are interleaved.
#[test]
fn weights_are_exact_and_interleaved() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    for (weights, longest_run) in
        [([3, 1, 1], 2), ([1, 1, 1], 1), ([5, 1, 1], 4), ([2, 2, 1], 1), ([1, 3, 2], 2)]
    {
        let _row = row(format!("{weights:?}"));
        let backends = NAMES.map(Backend::named);
        let args: Vec<String> = backends
            .iter()
            .zip(weights)
            .map(|(backend, weight)| format!("{},weight={weight}", backend.url()))
            .collect();
        let roundel = Roundel::start(&args.iter().map(|arg| &**arg).collect::<Vec<_>>());
        let period: usize = weights.iter().sum();
        let got = bodies(&mut roundel.client(), 3 * period);
        let (first, rest) = got.split_at(period);
        assert_eq!(first.repeat(2), rest, "each period is like the first");
        let shares = NAMES.map(|name| first.matches(name).count());
        assert_eq!(shares, weights, "{got}");
        let mut run = 0;
        let mut runs: Vec<usize> = Vec::new();
        for pair in got.as_bytes().windows(2) {
            run += 1;
            if pair[0] != pair[1] {
                runs.push(std::mem::take(&mut run));
            }
        }
        let longest = runs.iter().copied().max();
        assert!(longest <= Some(longest_run), "{got} has a run of {longest:?}");
    }
}

#[test]
fn requests_in_flight_each_get_a_connection_and_the_pool_is_a_stack() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let (mut one, mut two) = (roundel.client(), roundel.client());
    one.send(get("/1"));
    let mut first = backend.accept();
    assert!(first.head().starts_with("GET /1 "));
    two.send(get("/2"));
    let mut second = backend.accept();
    assert!(second.head().starts_with("GET /2 "));
    // The first comes back last, so it lies on top.
    second.send(ok("2"));
    assert_eq!(two.response().text(), "2");
    first.send(ok("1"));
    assert_eq!(one.response().text(), "1");
    for n in ["3", "4", "5"] {
        two.send(get(&format!("/{n}")));
        assert!(first.head().starts_with(&format!("GET /{n} ")));
        first.send(ok(n));
        assert_eq!(two.response().text(), n);
    }
    assert_eq!(backend.connections(), 2);
}

/// An exchange whose connection cannot be used again does not leave it in the pool.
#[test]
fn what_cannot_be_used_again_is_not() {
    for (name, response) in [
        (
            "the backend closes",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        ),
        ("an HTTP/1.0 backend", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        ("octets beyond the response", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 "),
        ("octets beyond a response without body", "HTTP/1.1 204 No Content\r\n\r\nx"),
        (
            "a second response that nobody asked for",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx\
             HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        ),
    ] {
        let _row = row(name);
        let backend = Backend::manual();
        let roundel = Roundel::over(&[&backend], &[]);
        let mut client = roundel.client();
        client.send(get("/1"));
        let mut first = backend.accept();
        first.head();
        first.send(response);
        assert!(["x", ""].contains(&client.response().text().as_str()));
        first.expect_gone();
        client.send(get("/2"));
        let mut second = backend.accept();
        assert!(second.head().starts_with("GET /2 "));
        second.send(ok("clean"));
        assert_eq!(client.response().text(), "clean");
    }
}

/// Octets on a connection that waits in the pool belong to no request: it is closed.
#[test]
fn octets_on_an_idle_connection_reach_nobody() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(get("/1"));
    let mut first = backend.accept();
    first.head();
    first.send(ok("1"));
    assert_eq!(client.response().text(), "1");
    first.send(ok("poison"));
    client.send(get("/2"));
    let mut second = backend.accept();
    second.head();
    second.send(ok("2"));
    assert_eq!(client.response().text(), "2");
    first.expect_gone();
}

/// The same where nothing shows them while the response is read: they lie behind a read that its
/// buffer ended.
#[test]
fn octets_behind_a_full_read_reach_nobody() {
    for size in [64 << 10, 128 << 10, 192 << 10, 256 << 10] {
        let _row = row(format!("{size}"));
        let backend = Backend::manual();
        let roundel = Roundel::over(&[&backend], &[]);
        let mut client = roundel.client();
        client.send(get("/1"));
        let mut first = backend.accept();
        first.head();
        let head = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let body = "x".repeat(size - head(size).len());
        let response = head(body.len()) + &body;
        assert!(response.len() == size);
        // All of it is there when roundel looks.
        roundel.signal("STOP");
        first.send(response + &ok("poison"));
        roundel.signal("CONT");
        assert_eq!(client.response().body.len(), body.len());
        client.send(get("/2"));
        let mut second = backend.accept();
        second.head();
        second.send(ok("clean"));
        assert_eq!(client.response().text(), "clean");
        first.expect_gone();
    }
}

#[test]
fn a_client_does_not_notice_that_a_pooled_connection_ended() {
    for reset in [false, true] {
        let backend = Backend::manual();
        let roundel = Roundel::over(&[&backend], &[]);
        let mut client = roundel.client();
        for n in ["1", "2", "3"] {
            client.send(get("/"));
            let mut upstream = backend.accept();
            upstream.head();
            upstream.send(ok(n));
            assert_eq!(client.response().text(), n);
            if reset {
                upstream.reset();
            } else {
                upstream.close();
            }
        }
        // Also where what waits to be sent is not idempotent: it was not sent anywhere yet.
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
        let mut upstream = backend.accept();
        assert_eq!(upstream.request().expect("a request").text(), "hi");
        upstream.send(ok("4"));
        assert_eq!(client.response().text(), "4");
    }
}

/// A backend may close an idle connection in the moment in which it is used again. A request that can
/// be sent twice without harm is sent again on a fresh connection; what is not, is answered.
#[test]
fn a_request_lost_in_the_race_for_an_idle_connection_is_sent_again_where_that_is_safe() {
    const POST: &str = "POST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    const PUT: &str = "PUT /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    const EMPTY_POST: &str = "POST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    const UNKNOWN: &str = "CHARGE /2 HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let get = get("/2");
    for (request, again) in
        [(get.as_str(), true), (PUT, true), (POST, false), (EMPTY_POST, false), (UNKNOWN, false)]
    {
        for reset in [false, true] {
            let _row = row(format!("{request:?}, reset {reset}"));
            let backend = Backend::manual();
            let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
            let mut client = roundel.client();
            client.send("GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n");
            let mut pooled = backend.accept();
            pooled.head();
            pooled.send(ok("1"));
            assert_eq!(client.response().text(), "1");
            client.send(request);
            let first = pooled.request().expect("a request");
            if reset {
                pooled.reset();
            } else {
                pooled.close();
            }
            let summary = if again {
                let mut fresh = backend.accept();
                assert_eq!(fresh.request(), Some(first), "the same once more");
                fresh.send(ok("2"));
                assert_eq!(client.response().text(), "2");
                "2 new -"
            } else {
                let reason = if reset { "upstream_reset" } else { "upstream_closed" };
                client.response().expect_reply(502, reason);
                if reset { "1 reused upstream_reset" } else { "1 reused upstream_closed" }
            };
            let log = roundel.access_log(2);
            assert!(log[1].summary().ends_with(summary), "{:?}", log[1]);
        }
    }
}

#[test]
fn a_backend_that_refuses_is_passed_over_before_the_client_sees_anything() {
    let (a, c) = (Backend::named("a"), Backend::named("c"));
    let refusing = ClosedPort::new();
    let roundel = Roundel::start(&["--access-log", "-", &a.url(), &refusing.url(), &c.url()]);
    let mut client = roundel.client();
    let got: Vec<String> = (0..6).map(|_| client.get("/").text()).collect();
    let mut shares: HashMap<&str, usize> = HashMap::new();
    for body in &got {
        *shares.entry(body).or_default() += 1;
    }
    assert_eq!(shares.len(), 2, "{got:?}");
    assert!(shares.values().all(|share| *share >= 2), "{got:?}");
    let log = roundel.access_log(6);
    assert!(log.iter().all(|line| line.rest[0] == "200"), "{log:?}");
    assert!(log.iter().any(|line| line.rest[5] == "2"), "one took two attempts: {log:?}");
}

/// However many turns it has, a backend that refused is not asked again for the same request.
#[test]
fn a_heavy_backend_that_refuses_is_asked_once() {
    let refusing = ClosedPort::new();
    let backend = Backend::named("light");
    let heavy = format!("{},weight=100", refusing.url());
    let roundel = Roundel::start(&["--access-log", "-", &heavy, &backend.url()]);
    let mut client = roundel.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "light");
    }
    for line in roundel.access_log(10) {
        assert!(["1", "2"].contains(&line.rest[5].as_str()), "{line:?}");
    }
}

/// Nothing of a request has been sent when a connect is refused, so its method and its body, of
/// whatever length, do not matter.
#[test]
fn a_refused_request_is_passed_on_whole() {
    let refusing = ClosedPort::new();
    let (sender, bodies) = std::sync::mpsc::channel();
    let backend = Backend::serve(move |wire, request| {
        sender.send(request.body).expect("the test waits");
        let _ = wire.try_send(ok("done"));
    });
    let roundel = Roundel::start(&[&refusing.url(), &backend.url()]);
    let body = vec![b'x'; 300_000];
    for _ in 0..2 {
        let mut client = roundel.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        client.send(&body);
        assert_eq!(client.response().text(), "done");
        assert!(bodies.recv_timeout(PATIENCE).expect("a body") == body);
    }
}

#[test]
fn when_all_refuse_the_client_is_told() {
    let (one, two) = (ClosedPort::new(), ClosedPort::new());
    let roundel = Roundel::start(&["--access-log", "-", &one.url(), &two.url()]);
    let mut client = roundel.client();
    for _ in 0..3 {
        client.get("/").expect_reply(502, "connect_refused");
    }
    let reply = client.get("/");
    let length = format!("Content-Length: {}", reply.body.len());
    let date = format!("Date: {}", reply.field("date").unwrap_or_default());
    assert_head(
        &reply.head,
        "HTTP/1.1 502 Bad Gateway",
        &[
            &date,
            "Content-Type: text/plain; charset=utf-8",
            "Cache-Control: no-store",
            "Proxy-Status: roundel; error=connection_refused; details=\"connect_refused\"",
            &length,
        ],
    );
    client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let head = client.response_to_head();
    assert_eq!(head.status(), 502);
    assert_eq!(head.field("content-length"), reply.field("content-length"));
    client.get("/").expect_reply(502, "connect_refused");
    for line in roundel.access_log(6) {
        assert_eq!((line.rest[0].as_str(), line.reason()), ("502", "connect_refused"), "{line:?}");
    }
}

#[test]
fn a_backend_comes_back_as_soon_as_it_accepts() {
    let port = ClosedPort::new();
    let addr = port.addr();
    let roundel = Roundel::start(&[&port.url()]);
    let mut client = roundel.client();
    client.get("/").expect_reply(502, "connect_refused");
    let backend = port.open();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("back"));
    assert_eq!(client.response().text(), "back");
    assert_eq!(backend.addr(), addr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_backend_that_does_not_answer_a_connect_is_given_up() {
    let mut full = NarrowPort::new();
    full.fill();
    let roundel = Roundel::start(&["--connect-timeout", "200ms", "--access-log", "-", &full.url()]);
    roundel.get("/").expect_reply(504, "connect_timeout");
    let log = roundel.access_log(1);
    assert_eq!(log[0].reason(), "connect_timeout");
    assert!(log[0].ms() >= 200, "{log:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_backend_that_does_not_answer_a_connect_is_passed_over() {
    let mut full = NarrowPort::new();
    full.fill();
    let backend = Backend::named("b");
    let roundel = Roundel::start(&["--connect-timeout", "200ms", &full.url(), &backend.url()]);
    let mut client = roundel.client();
    assert_eq!(bodies(&mut client, 3), "bbb");
}

/// A request that waits for a connection takes whichever is usable first: here the one that another
/// request gives back, while the one opened for it hangs. That its client has said its last is no
/// reason against it.
#[cfg(target_os = "linux")]
#[test]
fn a_waiting_request_takes_the_first_usable_connection() {
    for half_closes in [false, true] {
        let mut port = NarrowPort::new();
        let roundel = Roundel::start(&["--connect-timeout", "1h", &port.url()]);
        let (mut one, mut two) = (roundel.client(), roundel.client());
        one.send(get("/1"));
        let mut upstream = port.accept();
        assert!(upstream.head().starts_with("GET /1 "));
        port.fill();
        two.send(get("/2"));
        if half_closes {
            two.half_close();
        }
        // Only for the order of things: the connect for the second request has been started.
        two.expect_silence(Duration::from_millis(200));
        upstream.send(ok("1"));
        assert_eq!(one.response().text(), "1");
        assert!(upstream.head().starts_with("GET /2 "));
        upstream.send(ok("2"));
        assert_eq!(two.response().text(), "2");
    }
}

/// The same, but the client does not wait for it.
#[cfg(target_os = "linux")]
#[test]
fn a_request_whose_client_resets_does_not_wait_on() {
    let mut port = NarrowPort::new();
    port.fill();
    let options = ["--connect-timeout", "1h", "--access-log", "-", &port.url()];
    let roundel = Roundel::start(&options);
    let mut client = roundel.client();
    client.send(get("/"));
    // Only for the order of things: the connect has been started.
    client.expect_silence(Duration::from_millis(200));
    client.reset();
    let log = roundel.access_log(1);
    assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("-", "client_reset"));
}

#[test]
fn a_backend_may_have_an_ipv6_address() {
    let backend = Backend::manual_on_ipv6();
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    assert_head(&upstream.head(), "GET / HTTP/1.1", FORWARDED);
    upstream.send(ok("six"));
    assert_eq!(client.response().text(), "six");
    assert_eq!(roundel.access_log(1)[0].rest[4], backend.addr().to_string());
}

/// Many at once: everybody gets the own answer, and the turns are still exact.
#[test]
fn a_crowd_gets_its_own_answers_in_exact_turns() {
    const CLIENTS: usize = 24;
    const REQUESTS: usize = 25;
    let echo = || {
        Backend::serve(|wire, request| {
            let target = request.start().split(' ').nth(1).expect("a target").to_owned();
            wire.send(ok(&target));
        })
    };
    let backends = [echo(), echo(), echo()];
    let roundel = Roundel::over(&[&backends[0], &backends[1], &backends[2]], &[]);
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let mut client = roundel.client();
            scope.spawn(move || {
                for m in 0..REQUESTS {
                    let target = format!("/{n}/{m}/{}", "x".repeat(n * m));
                    assert_eq!(client.get(&target).text(), target);
                }
            });
        }
    });
    for backend in &backends {
        let received = backend.received();
        let requests: usize =
            received.iter().map(|log| text(log).matches("\r\n\r\n").count()).sum();
        assert_eq!(requests, CLIENTS * REQUESTS / 3);
        assert!(received.len() <= CLIENTS, "no more connections than requests at once");
    }
}

/// Descriptors bound how many clients are let in: those are served, and others wait for their turn.
#[test]
fn clients_beyond_the_descriptors_wait() {
    let backend = Backend::named("ok");
    let roundel = Roundel::with_descriptors(128, &[&backend.url()]);
    let mut first = roundel.client();
    assert_eq!(first.get("/").text(), "ok");
    let mut crowd: Vec<Wire> = (0..60).map(|_| roundel.client()).collect();
    for _ in 0..3 {
        assert_eq!(first.get("/").text(), "ok");
    }
    let last = crowd.last_mut().expect("one of many");
    last.send(get("/"));
    // It stands in the queue of the listener: nobody has taken it yet.
    last.expect_silence(Duration::from_millis(300));
    let mut last = crowd.pop().expect("one of many");
    crowd.clear();
    assert_eq!(last.response().text(), "ok");
}
