//! What every HTTP proxy must do, asked of roundel and of the tokio version alike.
//!
//! `benches/versus` measures the two against each other, which is fair only as long as both do the
//! same work: so each case runs once for each program. Where hyper does it in another way that is
//! as good, the case says so ([`plain_lines`], for one, folds the case of names, because hyper
//! writes them in lower-case letters); where it does less, the case names the difference and
//! asserts it.
//!
//! What roundel does beyond this is in the other files; the tokio version need not.
#![allow(clippy::expect_used, reason = "a test: a panic is how it reports")]

#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

mod support;

use std::time::Duration;

use support::*;

/// Each case becomes one test for each program.
macro_rules! for_both_programs {
    ($($(#[$attribute:meta])* $case:ident,)*) => {
        mod roundel {
            $($(#[$attribute])* #[test] fn $case() { super::$case(super::Program::Roundel); })*
        }
        mod tokio_version {
            $($(#[$attribute])* #[test] fn $case() { super::$case(super::Program::TokioVersion); })*
        }
    };
}

for_both_programs! {
    statuses_and_bodies_with_a_length,
    a_chunked_response,
    a_response_that_ends_with_its_connection,
    bodies_larger_than_any_buffer,
    a_request_body_with_a_length,
    a_chunked_request_body,
    a_request_body_with_a_method_that_has_none,
    a_body_is_passed_on_while_it_comes,
    connections_persist_on_both_sides,
    pipelined_requests_are_answered_in_order,
    responses_without_a_body,
    an_expectation_is_met,
    who_asked_is_told,
    the_claims_of_a_stranger_are_replaced,
    the_claims_of_a_trusted_proxy_are_added_to,
    a_request_id_is_kept,
    fields_of_one_connection_go_no_further,
    nobody_nominates_other_fields_away,
    a_prefix_is_put_in_front,
    an_absolute_target_becomes_a_path,
    an_old_client_is_served,
    requests_that_are_refused,
    weights_are_exact_and_interleaved,
    an_upgrade_becomes_a_tunnel,
    a_client_that_ends_its_direction_gets_its_answer,
    a_backend_that_refuses,
    a_backend_that_closes_without_an_answer,
    a_backend_that_talks_nonsense,
    a_backend_that_is_silent,
    a_backend_that_stops_in_the_middle,
    a_long_upload_is_not_silence,
    an_idle_client_is_closed,
    an_idle_connection_to_a_backend_is_closed,
    term_finishes_what_runs_and_ends,
    #[cfg(feature = "tls")]
    a_tls_backend_is_told_its_name,
    #[cfg(feature = "tls")]
    a_tls_backend_that_cannot_prove_its_name,
    #[cfg(feature = "tls")]
    a_tls_backend_that_does_not_shake_hands,
}

/// Starts the program over one backend.
fn over(program: Program, backend: &Backend, options: &[&str]) -> Roundel {
    Roundel::start_program(program, &[options, &[&backend.url()]].concat())
}

/// The start line and the field lines of a head, with their names in lower-case letters and in the
/// order of the alphabet, without the id of the request where it was made up.
fn plain_lines(head: &str) -> Vec<String> {
    let head = head.strip_suffix("\r\n\r\n").expect("a whole head");
    let mut lines = head.split("\r\n");
    let start = lines.next().expect("a start line").to_owned();
    let mut fields: Vec<String> = lines.map(plain_line).collect();
    fields.retain(|line| !is_fresh_request_id(&line.replace("x-request-id", "X-Request-Id")));
    fields.sort();
    [vec![start], fields].concat()
}

fn plain_line(line: &str) -> String {
    let (name, value) = line.split_once(':').expect("a field line");
    format!("{}:{value}", name.to_ascii_lowercase())
}

/// Compares a head with its start line and all its field lines.
#[track_caller]
fn assert_plain_head(head: &str, start: &str, lines: &[&str]) {
    let mut fields: Vec<String> = lines.iter().map(|line| plain_line(line)).collect();
    fields.sort();
    assert_eq!(plain_lines(head), [vec![start.to_owned()], fields].concat());
}

/// The content of a body, however it was framed.
fn content(message: &Message) -> Vec<u8> {
    if message.field("transfer-encoding").is_some() {
        message.content()
    } else {
        message.body.clone()
    }
}

/// The answer is the program's own, for this reason. (roundel marks it besides with a date and with
/// `Proxy-Status`: see `Message::expect_reply`.)
#[track_caller]
fn assert_own_answer(answer: &Message, status: u16, reason: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"), "{answer:?}");
    let text = answer.text();
    assert!(text.starts_with(&format!("{status} ")), "{answer:?}");
    assert!(text.ends_with(&format!("({reason})\n")), "{answer:?}");
}

/// One exchange in the test's hands; gives what the backend saw and what the client got.
fn exchange(
    program: Program,
    options: &[&str],
    request: &str,
    response: &str,
) -> (Message, Message) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, options);
    let mut client = proxy.client();
    client.send(request);
    let mut upstream = backend.accept();
    let seen = upstream.request().expect("a request");
    upstream.send(response);
    (seen, client.response())
}

fn statuses_and_bodies_with_a_length(program: Program) {
    for (status, phrase) in
        [(200, "OK"), (201, "Created"), (301, "Moved Permanently"), (404, "Not Found"), (500, "No")]
    {
        let _row = row(format!("{status}"));
        let wire =
            format!("HTTP/1.1 {status} {phrase}\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello");
        let (_, response) = exchange(program, &[], &get("/"), &wire);
        // The phrase means nothing (RFC 9112 section 4); hyper writes its own where a backend's is
        // not the usual one, roundel the backend's.
        assert_eq!(response.status(), status);
        assert_plain_head(&response.head, response.start(), &["X-One: 1", "Content-Length: 5"]);
        assert_eq!(response.text(), "hello");
    }
}

fn a_chunked_response(program: Program) {
    let wire =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let (_, response) = exchange(program, &[], &get("/"), wire);
    assert_plain_head(&response.head, "HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"]);
    assert_eq!(text(&response.content()), "hello");
}

/// roundel keeps it so; hyper makes chunks of it, whose end is then of its own making.
fn a_response_that_ends_with_its_connection(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\n\r\nhello");
    upstream.close();
    let response = client.response();
    assert_eq!(text(&content(&response)), "hello");
    assert_eq!(
        response.field("transfer-encoding"),
        match program {
            Program::Roundel => None,
            Program::TokioVersion => Some("chunked"),
        }
    );
}

fn bodies_larger_than_any_buffer(program: Program) {
    const BYTES: usize = 3 << 20;
    let backend = Backend::serve(|wire, request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        // Whether the proxy still wants the answer is the test's business.
        let _ = wire.try_send([head.as_bytes(), &request.body].concat());
    });
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    let body: Vec<u8> = (0..BYTES).map(|at| at.to_le_bytes()[at % 3]).collect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {BYTES}\r\n\r\n"));
    client.send(&body);
    assert!(client.response().body == body, "what came back is not what was sent");
}

fn a_request_body_with_a_length(program: Program) {
    let request = "PUT /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
    let (seen, response) = exchange(program, &[], request, &ok("ok"));
    assert_eq!(seen.start(), "PUT /x HTTP/1.1");
    assert_eq!((seen.field("content-length"), seen.text().as_str()), (Some("5"), "hello"));
    assert_eq!(response.text(), "ok");
}

fn a_chunked_request_body(program: Program) {
    let request = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let (seen, _) = exchange(program, &[], request, &ok(""));
    assert_eq!(
        (seen.field("transfer-encoding"), seen.field("content-length")),
        (Some("chunked"), None)
    );
    assert_eq!(text(&seen.content()), "hello");
}

fn a_request_body_with_a_method_that_has_none(program: Program) {
    for (framing, body) in
        [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")]
    {
        let _row = row(framing);
        let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n{body}");
        let (seen, _) = exchange(program, &[], &request, &ok(""));
        assert_eq!(text(&content(&seen)), "hello");
    }
}

fn a_body_is_passed_on_while_it_comes(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhello");
    let mut upstream = backend.accept();
    upstream.head();
    upstream.expect("hello");
    client.send("there");
    upstream.expect("there");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    client.head();
    client.expect("hello");
    upstream.send("there");
    client.expect("there");
}

fn connections_persist_on_both_sides(program: Program) {
    let backend = Backend::named("ok");
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    for _ in 0..5 {
        let response = client.get("/");
        assert_eq!((response.text().as_str(), response.field("connection")), ("ok", None));
    }
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(backend.connections(), 1, "it is used again, by another client too");
}

fn pipelined_requests_are_answered_in_order(program: Program) {
    let backend = Backend::serve(|wire, request| {
        let target = request.start().split(' ').nth(1).expect("a target").to_owned();
        // Whether the proxy still wants the answer is the test's business.
        let _ = wire.try_send(ok(&target));
    });
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    client.send([get("/1"), get("/2"), get("/3")].concat());
    for target in ["/1", "/2", "/3"] {
        assert_eq!(client.response().text(), target);
    }
}

/// A 304 need not say how long the body would be (RFC 9110 section 15.4.5); hyper takes that out.
fn responses_without_a_body(program: Program) {
    let unsent_length = match program {
        Program::Roundel => &["ETag: \"x\"", "Content-Length: 5"][..],
        Program::TokioVersion => &["ETag: \"x\""],
    };
    for (method, response, fields) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &["Content-Length: 5"][..]),
        ("GET", "HTTP/1.1 204 No Content\r\nX-One: 1\r\n\r\n", &["X-One: 1"]),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\n",
            unsent_length,
        ),
    ] {
        let _row = row(response);
        let backend = Backend::manual();
        let proxy = over(program, &backend, &[]);
        let mut client = proxy.client();
        client.send(format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        let mut upstream = backend.accept();
        assert!(upstream.head().starts_with(method));
        upstream.send(response);
        let start = response.lines().next().expect("a start line");
        assert_plain_head(&client.head(), start, fields);
        // What comes next on either connection is the next message.
        client.send(get("/next"));
        assert!(upstream.head().starts_with("GET /next "));
        upstream.send(ok("next"));
        assert_eq!(client.response().text(), "next");
    }
}

/// roundel passes the backend's 100 on; hyper's server sends one when somebody wants the body, and
/// its client drops the backend's.
fn an_expectation_is_met(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    let mut upstream = backend.accept();
    let head = upstream.head();
    assert!(plain_lines(&head).contains(&"expect: 100-continue".to_owned()), "{head}");
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.response().status(), 100);
    client.send("hello");
    upstream.expect("hello");
    upstream.send(ok("thanks"));
    assert_eq!(client.response().text(), "thanks");
}

fn who_asked_is_told(program: Program) {
    let request = "GET /p?q=1 HTTP/1.1\r\nHost: a.example\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n";
    let (seen, _) = exchange(program, &[], request, &ok(""));
    assert_plain_head(
        &seen.head,
        "GET /p?q=1 HTTP/1.1",
        &forwarded_and(&["Cookie: a=b", "Cookie: c=d"]),
    );
    let fresh = seen.field("x-request-id").map(|id| format!("X-Request-Id: {id}"));
    assert!(fresh.is_some_and(|line| is_fresh_request_id(&line)), "{seen:?}");
}

const CLAIMS: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 192.0.2.1\r\n\
     x-forwarded-for: 192.0.2.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\n\
     X-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Forwarded-Port: 443\r\n\
     X_Forwarded_For: 192.0.2.3\r\n\r\n";

fn the_claims_of_a_stranger_are_replaced(program: Program) {
    let (seen, _) = exchange(program, &["--trust", "10.0.0.0/8"], CLAIMS, &ok(""));
    assert_plain_head(
        &seen.head,
        "GET / HTTP/1.1",
        &forwarded_and(&["X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1;proto=http"]),
    );
}

fn the_claims_of_a_trusted_proxy_are_added_to(program: Program) {
    let (seen, _) = exchange(program, &["--trust", "127.0.0.0/8"], CLAIMS, &ok(""));
    assert_plain_head(
        &seen.head,
        "GET / HTTP/1.1",
        &[
            "Host: a.example",
            "X-Forwarded-For: 192.0.2.1, 192.0.2.2, 127.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: b.example",
            "X-Real-IP: 192.0.2.1",
            "Forwarded: for=192.0.2.1, for=127.0.0.1;proto=http",
            "X-Forwarded-Port: 443",
            "Via: 1.1 roundel",
        ],
    );
}

fn a_request_id_is_kept(program: Program) {
    for (field, kept) in [("chosen-1", true), ("two words", false)] {
        let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: {field}\r\n\r\n");
        let (seen, _) = exchange(program, &[], &request, &ok(""));
        assert_eq!(seen.field("x-request-id") == Some(field), kept, "{seen:?}");
    }
}

fn fields_of_one_connection_go_no_further(program: Program) {
    const HOP_BY_HOP: &str = "Connection: X-Gone, close\r\nX-Gone: 1\r\nKeep-Alive: timeout=5\r\n\
                              Proxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X\r\nX-Kept: 1\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{HOP_BY_HOP}\r\n");
    let response = format!("HTTP/1.1 200 OK\r\n{HOP_BY_HOP}Content-Length: 2\r\n\r\nok");
    let (seen, answer) = exchange(program, &[], &request, &response);
    assert_plain_head(&seen.head, "GET / HTTP/1.1", &forwarded_and(&["X-Kept: 1"]));
    // The client had asked for the end of its connection.
    assert_plain_head(
        &answer.head,
        "HTTP/1.1 200 OK",
        &["X-Kept: 1", "Content-Length: 2", "Connection: close"],
    );
}

fn nobody_nominates_other_fields_away(program: Program) {
    let request = "POST / HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic eA==\r\n\
                   Connection: host, content-length, authorization, x-forwarded-for\r\n\
                   Content-Length: 5\r\n\r\nhello";
    let (seen, _) = exchange(program, &[], request, &ok(""));
    assert_plain_head(
        &seen.head,
        "POST / HTTP/1.1",
        &forwarded_and(&["Authorization: Basic eA==", "Content-Length: 5"]),
    );
}

fn a_prefix_is_put_in_front(program: Program) {
    let backend = Backend::manual();
    let proxy = Roundel::start_program(program, &[&format!("{}/app", backend.url())]);
    let mut client = proxy.client();
    client.send(get("//a/../b/%2f?x=%00&y"));
    assert!(backend.accept().head().starts_with("GET /app//a/../b/%2f?x=%00&y HTTP/1.1\r\n"));
}

fn an_absolute_target_becomes_a_path(program: Program) {
    let request = "GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let (seen, _) = exchange(program, &[], request, &ok(""));
    assert_plain_head(&seen.head, "GET /x?y HTTP/1.1", FORWARDED);
}

fn an_old_client_is_served(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let mut upstream = backend.accept();
    let head = upstream.head();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert!(plain_lines(&head).contains(&"via: 1.0 roundel".to_owned()), "{head}");
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.field("transfer-encoding"), response.text().as_str()), (None, "hello"));
}

fn requests_that_are_refused(program: Program) {
    let backend = Backend::named("ok");
    let proxy = over(program, &backend, &[]);
    for (request, status, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_host"),
        ("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", 501, "unsupported_method"),
        ("TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n", 501, "unsupported_method"),
    ] {
        let _row = row(request);
        let mut client = proxy.client();
        client.send(request);
        assert_own_answer(&client.response(), status, reason);
    }
    assert!(backend.received().is_empty());
}

fn weights_are_exact_and_interleaved(program: Program) {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    for (weights, turns) in [([1, 1, 1], "abcabcabc"), ([3, 1, 1], "abacaabaca")] {
        let urls: Vec<String> = [&a, &b, &c]
            .iter()
            .zip(weights)
            .map(|(backend, weight)| format!("{},weight={weight}", backend.url()))
            .collect();
        let proxy = Roundel::start_program(program, &urls.iter().map(|u| &**u).collect::<Vec<_>>());
        let mut client = proxy.client();
        let got: String = turns.chars().map(|_| client.get("/").text()).collect();
        assert_eq!(got, turns);
    }
}

fn an_upgrade_becomes_a_tunnel(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let mut upstream = backend.accept();
    let lines = forwarded_and(&["Connection: upgrade", "Upgrade: websocket"]);
    assert_plain_head(&upstream.head(), "GET /chat HTTP/1.1", &lines);
    upstream.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_plain_head(
        &client.head(),
        "HTTP/1.1 101 Switching Protocols",
        &["Connection: upgrade", "Upgrade: websocket"],
    );
    for octets in ["\0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "0\r\n\r\n"] {
        client.send(octets);
        upstream.expect(octets);
        upstream.send(octets);
        client.expect(octets);
    }
    client.half_close();
    upstream.expect_closed();
    upstream.send("and the rest");
    client.expect("and the rest");
    upstream.close();
    client.expect_closed();
}

fn a_client_that_ends_its_direction_gets_its_answer(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    client.send(get("/"));
    client.half_close();
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("hello"));
    assert_eq!(client.response().text(), "hello");
    client.expect_closed();
}

fn a_backend_that_refuses(program: Program) {
    let port = ClosedPort::new();
    let proxy = Roundel::start_program(program, &[&port.url()]);
    assert_own_answer(&proxy.get("/"), 502, "connect_refused");
}

fn a_backend_that_closes_without_an_answer(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &[]);
    let mut client = proxy.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.close();
    assert_own_answer(&client.response(), 502, "upstream_closed");
    // The client's connection is none the worse.
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
}

fn a_backend_that_talks_nonsense(program: Program) {
    let (_, answer) = exchange(program, &[], &get("/"), "220 mail.example ESMTP\r\n\r\n");
    assert_own_answer(&answer, 502, "bad_response_head");
}

fn a_backend_that_is_silent(program: Program) {
    for option in ["--timeout", "--response-timeout"] {
        let backend = Backend::manual();
        let proxy = over(program, &backend, &[option, "200ms"]);
        let mut client = proxy.client();
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        assert_own_answer(&client.response(), 504, "response_timeout");
        upstream.expect_gone();
    }
}

/// The head has left already: all that can be done is to break off.
fn a_backend_that_stops_in_the_middle(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &["--timeout", "200ms"]);
    let mut client = proxy.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(client.head().lines().next(), Some("HTTP/1.1 200 OK"));
    client.expect("hello");
    client.expect_gone();
    upstream.expect_gone();
}

fn a_long_upload_is_not_silence(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &["--response-timeout", "1s"]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 8\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head();
    for _ in 0..8 {
        // Time is the subject here: twice the timeout in all.
        client.expect_silence(Duration::from_millis(250));
        client.send("x");
        upstream.expect("x");
    }
    upstream.send(ok("thanks"));
    assert_eq!(client.response().text(), "thanks");
}

/// hyper has one clock for an idle client and for a slow head, so both are given here; and it
/// closes where roundel answers 408 to a head that does not come to its end.
fn an_idle_client_is_closed(program: Program) {
    let backend = Backend::named("ok");
    let options = ["--idle-timeout", "200ms", "--head-timeout", "200ms"];
    let proxy = over(program, &backend, &options);
    let mut new = proxy.client();
    new.expect_closed();
    let mut used = proxy.client();
    assert_eq!(used.get("/").text(), "ok");
    used.expect_closed();
    let mut slow = proxy.client();
    slow.send("GET / HTTP/1.1\r\nHost: a.exa");
    match program {
        Program::Roundel => assert_own_answer(&slow.response(), 408, "head_timeout"),
        Program::TokioVersion => slow.expect_gone(),
    }
}

fn an_idle_connection_to_a_backend_is_closed(program: Program) {
    let backend = Backend::manual();
    let proxy = over(program, &backend, &["--pool-timeout", "200ms"]);
    let mut client = proxy.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
    upstream.expect_closed();
}

fn term_finishes_what_runs_and_ends(program: Program) {
    let backend = Backend::manual();
    let mut proxy = over(program, &backend, &[]);
    let mut idle = proxy.client();
    idle.send(get("/idle"));
    let mut pooled = backend.accept();
    pooled.head();
    pooled.send(ok("idle"));
    assert_eq!(idle.response().text(), "idle");
    let mut waiting = proxy.client();
    waiting.send(get("/waiting"));
    assert!(pooled.head().starts_with("GET /waiting "));

    proxy.signal("TERM");
    idle.expect_closed();
    assert!(Wire::try_connect(proxy.addr()).is_err(), "nobody listens any more");
    pooled.send(ok("done"));
    let response = waiting.response();
    assert_eq!((response.text().as_str(), response.field("connection")), ("done", Some("close")));
    waiting.expect_closed();
    assert_eq!(proxy.wait(), Some(0));
}

#[cfg(feature = "tls")]
fn a_tls_backend_is_told_its_name(program: Program) {
    use tls::{Authority, BOTH_VERSIONS, Hello, TlsBackend, Validity, server_config};
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], Validity::Now);
    let backend = TlsBackend::manual(server_config(&identity, BOTH_VERSIONS));
    let proxy = Roundel::start_program(program, &["--ca", authority.file(), &backend.url()]);
    let mut client = proxy.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    let offered =
        Hello { server_name: Some("localhost".into()), protocols: vec!["http/1.1".into()] };
    assert_eq!(*upstream.hello(), offered);
    let host = format!("Host: {}", backend.authority());
    let mut lines = FORWARDED.to_vec();
    lines[0] = &host;
    assert_plain_head(&upstream.head(), "GET / HTTP/1.1", &lines);
    upstream.send(ok("hello"));
    assert_eq!(client.response().text(), "hello");
    // The connection is used again.
    client.send(get("/next"));
    assert!(upstream.head().starts_with("GET /next "));
    upstream.send(ok("next"));
    assert_eq!(client.response().text(), "next");
}

#[cfg(feature = "tls")]
fn a_tls_backend_that_cannot_prove_its_name(program: Program) {
    use tls::{Authority, BOTH_VERSIONS, TlsBackend, Validity, server_config};
    let (ours, other) = (Authority::new(), Authority::new());
    for (authority, name, validity, reason) in [
        (&other, "localhost", Validity::Now, "tls_untrusted_certificate"),
        (&ours, "elsewhere.example", Validity::Now, "tls_wrong_name"),
        (&ours, "localhost", Validity::Expired, "tls_expired_certificate"),
    ] {
        let _row = row(reason);
        let identity = authority.issue(&[name], validity);
        let config = server_config(&identity, BOTH_VERSIONS);
        let backend = TlsBackend::serve(config, |_, _| {});
        let proxy = Roundel::start_program(program, &["--ca", ours.file(), &backend.url()]);
        assert_own_answer(&proxy.get("/"), 502, reason);
        assert_eq!(text(&backend.received()), "", "nothing was sent");
    }
}

/// roundel's timeout is for the handshake alone, the tokio version's for TCP and TLS together.
#[cfg(feature = "tls")]
fn a_tls_backend_that_does_not_shake_hands(program: Program) {
    let backend = Backend::manual();
    let url = format!("https://{}", backend.addr());
    let options = ["--connect-timeout", "100ms", "--tls-timeout", "100ms", &url];
    let proxy = Roundel::start_program(program, &options);
    assert_own_answer(&proxy.get("/"), 504, "tls_handshake_timeout");
}

/// An option that would have no effect is refused.
#[test]
fn the_tokio_version_refuses_what_it_does_not_do() {
    for option in [
        &["--access-log", "-"][..],
        &["--health", "/"],
        &["--max-body", "1KiB"],
        &["--body-timeout", "1s"],
        &["--server-timing"],
    ] {
        let _row = row(option.join(" "));
        let outcome =
            run_program(Program::TokioVersion, &[option, &["http://127.0.0.1:1"]].concat());
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains("for roundel alone"), "{outcome:?}");
    }
    let help = run_program(Program::TokioVersion, &["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("--idle-timeout"), "{}", help.stdout);
}
