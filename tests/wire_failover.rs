//! What becomes of a request whose backend fails: when it goes on to another one, when it is sent
//! again, and when it must not be.

mod support;

use support::*;

/// Requests of all kinds, one after the other; the number is in the target.
fn mixed(number: usize) -> String {
    const KINDS: [(&str, &str); 7] = [
        ("GET", "\r\n"),
        ("HEAD", "\r\n"),
        ("POST", "Content-Length: 4\r\n\r\nbody"),
        ("PUT", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
        ("DELETE", "\r\n"),
        ("OPTIONS", "\r\n"),
        ("PATCH", "Content-Length: 4\r\n\r\nbody"),
    ];
    let (method, rest) = KINDS[number % KINDS.len()];
    format!("{method} /{number} HTTP/1.1\r\nHost: a.example\r\n{rest}")
}

/// A request with a body of this length.
fn with_body(method: &str, length: usize) -> String {
    let body = "x".repeat(length);
    format!("{method} / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}")
}

type End = fn(Wire);

/// How a connection may end, and what that is called.
const ENDS: [(&str, End); 2] = [("upstream_closed", Wire::close), ("upstream_reset", Wire::reset)];

/// The status, the number of attempts, over what, and the reason.
fn outcome(line: &LogLine) -> (&str, &str, &str, &str) {
    (&line.rest[0], &line.rest[5], &line.rest[6], line.reason())
}

/// Starts roundel over backends that refuse, and others behind them.
fn over(dead: &[ClosedPort], alive: &[&Backend]) -> Roundel {
    let urls = dead.iter().map(ClosedPort::url).chain(alive.iter().map(|backend| backend.url()));
    let args: Vec<String> =
        ["--access-log".to_owned(), "-".to_owned()].into_iter().chain(urls).collect();
    Roundel::start(&args.iter().map(|arg| &**arg).collect::<Vec<_>>())
}

/// A connection that has served once and waits in the pool, both ends in the test's hands.
struct Pooled {
    backend: Backend,
    roundel: Roundel,
    client: Wire,
    upstream: Wire,
}

impl Pooled {
    fn new() -> Self {
        let backend = Backend::manual();
        let roundel = over(&[], &[&backend]);
        let mut client = roundel.client();
        client.send(get("/first"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(ok("first"));
        assert_eq!(client.response().text(), "first");
        Self { backend, roundel, client, upstream }
    }

    /// Another connection that waits in the pool; the first one is used before it.
    fn rest_on_another(&mut self) -> Wire {
        let mut other = self.roundel.client();
        self.client.send(get("/1"));
        self.upstream.head();
        other.send(get("/2"));
        let mut upstream = self.backend.accept();
        upstream.head();
        upstream.send(ok("2"));
        assert_eq!(other.response().text(), "2");
        self.upstream.send(ok("1"));
        assert_eq!(self.client.response().text(), "1");
        upstream
    }
}

/// Not even the first requests, which are those that find out.
#[test]
fn dead_backends_cost_no_request() {
    const REQUESTS: usize = 50;
    for dead_count in [2, 4] {
        let _row = row(format!("{dead_count} of {}", dead_count + 1));
        let dead: Vec<ClosedPort> = (0..dead_count).map(|_| ClosedPort::new()).collect();
        let alive = Backend::serve(|wire, request| {
            let is_chunked = request.field("transfer-encoding").is_some();
            wire.send(ok(&text(&if is_chunked { request.content() } else { request.body })));
        });
        let roundel = over(&dead, &[&alive]);
        let mut persistent = roundel.client();
        for number in 0..REQUESTS {
            let mut fresh = roundel.client();
            let client = if number % 2 == 0 { &mut persistent } else { &mut fresh };
            let request = mixed(number);
            client.send(&request);
            let response = client.response();
            assert_eq!(response.status(), 200, "{request:?}");
            let body = if request.contains("body") { "body" } else { "" };
            assert_eq!(response.text(), body, "{request:?}");
        }
        let log = roundel.access_log(REQUESTS);
        let all = (dead_count + 1).to_string();
        assert_eq!(outcome(&log[0]), ("200", &*all, "new", "-"), "it has tried all of them");
        for line in &log {
            assert_eq!((line.rest[0].as_str(), line.reason()), ("200", "-"), "{line:?}");
            assert_eq!(line.rest[4], alive.addr().to_string(), "{line:?}");
            assert!(line.rest[5] <= all, "nobody is tried twice: {line:?}");
        }
    }
}

#[test]
fn when_all_are_dead_each_was_tried_once() {
    for count in [1, 2, 5] {
        let _row = row(format!("{count}"));
        let dead: Vec<ClosedPort> = (0..count).map(|_| ClosedPort::new()).collect();
        let roundel = over(&dead, &[]);
        let mut client = roundel.client();
        // Three take all of them out; what comes behind is tried all the same.
        for number in 0..8 {
            client.send(mixed(number));
            if mixed(number).starts_with("HEAD ") {
                assert_eq!(client.response_to_head().status(), 502);
            } else {
                client.response().expect_reply(502, "connect_refused");
            }
        }
        let want = count.to_string();
        for line in roundel.access_log(8) {
            assert_eq!(outcome(&line), ("502", &*want, "-", "connect_refused"), "{line:?}");
        }
    }
}

/// What is sent again when a connection ends that has served before, and what is not.
#[test]
fn what_can_be_kept_and_repeated_is_sent_again() {
    const KIB: usize = 1024;
    const CHUNKED: &str = "Host: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
                           5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let bare = |method: &str| format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let chunked = |method: &str| format!("{method} / HTTP/1.1\r\n{CHUNKED}");
    for (name, request, is_sent_again) in [
        ("HEAD", bare("HEAD"), true),
        ("DELETE", bare("DELETE"), true),
        ("OPTIONS", bare("OPTIONS"), true),
        ("a GET with a body", with_body("GET", 10), true),
        ("a chunked PUT", chunked("PUT"), true),
        ("a PUT of 64 KiB", with_body("PUT", 64 * KIB), true),
        ("a PUT of 64 KiB and an octet", with_body("PUT", 64 * KIB + 1), false),
        ("a PUT of 70 KiB", with_body("PUT", 70 * KIB), false),
        ("a chunked POST", chunked("POST"), false),
        ("PATCH", bare("PATCH"), false),
    ] {
        let _row = row(name);
        let Pooled { backend, roundel, mut client, mut upstream } = Pooled::new();
        client.send(&request);
        let first = upstream.request();
        assert!(first.is_some());
        upstream.close();
        if is_sent_again {
            let mut fresh = backend.accept();
            assert_eq!(fresh.request(), first, "the same once more");
            // Empty, so that it answers HEAD as well.
            fresh.send(ok(""));
            assert_eq!(client.response().status(), 200);
            assert_eq!(outcome(&roundel.access_log(2)[1]), ("200", "2", "new", "-"));
        } else {
            client.response().expect_reply(502, "upstream_closed");
            let log = roundel.access_log(2);
            assert_eq!(outcome(&log[1]), ("502", "1", "reused", "upstream_closed"));
            assert_eq!(backend.connections(), 1, "it was seen once");
        }
    }
}

/// Nobody knows how it goes on, least of all we.
#[test]
fn a_request_whose_body_is_still_coming_is_not_sent_again() {
    let Pooled { backend, roundel, mut client, mut upstream } = Pooled::new();
    client.send("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhello");
    upstream.head();
    upstream.expect("hello");
    upstream.close();
    client.response().expect_reply(502, "upstream_closed");
    client.expect_closed();
    assert_eq!(outcome(&roundel.access_log(2)[1]), ("502", "1", "reused", "upstream_closed"));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn what_has_been_answered_by_an_octet_is_not_sent_again() {
    for (name, answer, seen, reason) in [
        ("an octet", "H", "", "upstream_closed"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le", "", "upstream_closed"),
        (
            "an interim response",
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            "upstream_closed",
        ),
        (
            "half a response",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "response_truncated",
        ),
    ] {
        let _row = row(name);
        let Pooled { backend, roundel, mut client, mut upstream } = Pooled::new();
        client.send(get("/"));
        upstream.head();
        upstream.send(answer);
        upstream.close();
        client.expect(seen);
        let status = if reason == "response_truncated" {
            client.expect_gone();
            "200"
        } else {
            client.response().expect_reply(502, reason);
            "502"
        };
        assert_eq!(outcome(&roundel.access_log(2)[1]), (status, "1", "reused", reason));
        assert_eq!(backend.connections(), 1, "it was seen once");
    }
}

/// The backend has not been idle: it had the request and did not want it. It is not asked again.
#[test]
fn what_a_fresh_connection_loses_is_not_sent_to_the_same_backend_again() {
    for (reason, end) in ENDS {
        let _row = row(reason);
        let backend = Backend::manual();
        let roundel = over(&[], &[&backend]);
        let mut client = roundel.client();
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        end(upstream);
        client.response().expect_reply(502, reason);
        assert_eq!(outcome(&roundel.access_log(1)[0]), ("502", "1", "new", reason));
        assert_eq!(backend.connections(), 1);
    }
}

/// Somebody else may be asked, where asking twice does no harm.
#[test]
fn what_a_fresh_connection_loses_may_go_to_another_backend() {
    for (name, request, moves_on) in [
        ("GET", get("/"), true),
        ("PUT", with_body("PUT", 64 * 1024), true),
        ("POST", with_body("POST", 10), false),
        ("a PUT of 70 KiB", with_body("PUT", 70 * 1024), false),
    ] {
        let _row = row(name);
        let (backend, spare) = (Backend::manual(), Backend::named("spare"));
        let roundel = over(&[], &[&backend, &spare]);
        let mut client = roundel.client();
        client.send(request);
        let mut upstream = backend.accept();
        upstream.request();
        upstream.close();
        let log = if moves_on {
            assert_eq!(client.response().text(), "spare");
            ("200", "2", "new", "-")
        } else {
            client.response().expect_reply(502, "upstream_closed");
            ("502", "1", "new", "upstream_closed")
        };
        assert_eq!(outcome(&roundel.access_log(1)[0]), log);
        assert_eq!((backend.connections(), spare.connections()), (1, usize::from(moves_on)));
    }
}

/// Whatever it was that ended the connections: the request may have been what did it.
#[test]
fn a_request_is_sent_again_twice_at_most() {
    let backends = [Backend::manual(), Backend::manual(), Backend::manual()];
    let [one, two, three] = &backends;
    let roundel = over(&[], &[one, two, three]);
    let mut client = roundel.client();
    let mut rested = Vec::new();
    for backend in &backends {
        client.send(get("/first"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(ok("first"));
        assert_eq!(client.response().text(), "first");
        rested.push(upstream);
    }
    client.send(get("/deadly"));
    let mut upstream = rested.remove(0);
    for again in [one, two] {
        assert!(upstream.head().starts_with("GET /deadly "));
        upstream.close();
        upstream = again.accept();
    }
    assert!(upstream.head().starts_with("GET /deadly "));
    upstream.close();
    client.response().expect_reply(502, "upstream_closed");
    assert_eq!(outcome(&roundel.access_log(4)[3]), ("502", "3", "new", "upstream_closed"));
    let seen = three.received().concat();
    assert_eq!((three.connections(), text(&seen).contains("deadly")), (1, false));
}

/// Others that rest beside the one that ended may be as old: the second try is on a fresh one, and
/// it is the last.
#[test]
fn the_second_try_is_on_a_fresh_connection_and_there_is_no_third() {
    for is_answered in [true, false] {
        let _row = row(format!("answered: {is_answered}"));
        let mut pooled = Pooled::new();
        let second = pooled.rest_on_another();
        let Pooled { backend, roundel, client: mut one, upstream: mut first } = pooled;
        one.send(get("/3"));
        first.head();
        first.close();
        let mut fresh = backend.accept();
        assert!(fresh.head().starts_with("GET /3 "));
        if is_answered {
            fresh.send(ok("3"));
            assert_eq!(one.response().text(), "3");
            assert_eq!(outcome(&roundel.access_log(4)[3]), ("200", "2", "new", "-"));
        } else {
            fresh.close();
            one.response().expect_reply(502, "upstream_closed");
            let log = roundel.access_log(4);
            assert_eq!(outcome(&log[3]), ("502", "2", "new", "upstream_closed"));
        }
        assert_eq!(backend.connections(), 3);
        let seen_by_the_second = text(&second.received());
        assert_eq!(seen_by_the_second.matches("\r\n\r\n").count(), 1, "{seen_by_the_second}");
    }
}

/// Who has few requests may send three of them again in ten seconds, who has many a fifth of them.
#[test]
fn second_tries_are_rationed() {
    for (name, requests_before, allowed) in [("few requests", 0, 3), ("many", 44, 11)] {
        let _row = row(name);
        let Pooled { backend, roundel, mut client, mut upstream } = Pooled::new();
        for _ in 0..requests_before {
            client.send(get("/"));
            upstream.head();
            upstream.send(ok(""));
            assert_eq!(client.response().status(), 200);
        }
        for number in 1..=allowed {
            client.send(get(&format!("/{number}")));
            upstream.head();
            upstream.close();
            upstream = backend.accept();
            upstream.head();
            upstream.send(ok("again"));
            assert_eq!(client.response().text(), "again", "{number}");
        }
        client.send(get("/too-many"));
        upstream.head();
        upstream.close();
        client.response().expect_reply(502, "upstream_closed");
        let log = roundel.access_log(1 + requests_before + allowed + 1);
        let last = log.last().map(outcome);
        assert_eq!(last, Some(("502", "1", "reused", "upstream_closed")));
        assert_eq!(backend.connections(), 1 + allowed);
        // Nothing is wrong with the backend for all that.
        client.send(get("/next"));
        let mut fresh = backend.accept();
        fresh.head();
        fresh.send(ok("next"));
        assert_eq!(client.response().text(), "next");
    }
}

/// There is nothing to be sent again where nobody has closed at the wrong moment.
#[test]
fn a_connection_that_ended_while_idle_is_not_used() {
    for (name, request) in [("GET", get("/3")), ("POST", with_body("POST", 10))] {
        for (reason, end) in ENDS {
            let _row = row(format!("{name}, {reason}"));
            let (one, two) = (Backend::manual(), Backend::named("two"));
            let roundel = over(&[], &[&one, &two]);
            let mut client = roundel.client();
            client.send(get("/1"));
            let mut upstream = one.accept();
            upstream.head();
            upstream.send(ok("one"));
            assert_eq!(client.response().text(), "one");
            end(upstream);
            // Whoever serves this one has heard of the end before.
            assert_eq!(client.get("/2").text(), "two");
            client.send(&request);
            let mut upstream = one.accept();
            upstream.request();
            upstream.send(ok("one"));
            assert_eq!(client.response().text(), "one");
            assert_eq!(outcome(&roundel.access_log(3)[2]), ("200", "1", "new", "-"));
        }
    }
}

/// The other one that rests there will do.
#[test]
fn where_one_idle_connection_ended_another_is_used() {
    let mut pooled = Pooled::new();
    let mut second = pooled.rest_on_another();
    let Pooled { backend, roundel, client: mut one, upstream: first } = pooled;
    first.close();
    one.send("POST /3 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
    assert!(second.head().starts_with("POST /3 "));
    second.send(ok("3"));
    assert_eq!(one.response().text(), "3");
    assert_eq!(outcome(&roundel.access_log(4)[3]), ("200", "1", "reused", "-"));
    assert_eq!(backend.connections(), 2);
}

/// The second try finds the door closed: nothing was sent there, so there may be a third one
/// elsewhere.
#[test]
fn a_second_try_that_is_refused_goes_on_to_another_backend() {
    let (gone, other) = (Backend::manual(), Backend::named("other"));
    let roundel = over(&[], &[&gone, &other]);
    let mut client = roundel.client();
    client.send(get("/1"));
    let mut upstream = gone.accept();
    upstream.head();
    upstream.send(ok("one"));
    assert_eq!(client.response().text(), "one");
    assert_eq!(client.get("/2").text(), "other");
    let addr = gone.addr();
    drop(gone);
    while Wire::try_connect(addr).is_ok() {
        std::thread::yield_now();
    }
    client.send(get("/3"));
    upstream.head();
    upstream.close();
    assert_eq!(client.response().text(), "other");
    let log = roundel.access_log(3);
    assert_eq!(outcome(&log[2]), ("200", "3", "new", "-"));
    assert_eq!(log[2].rest[4], other.addr().to_string());
}
