//! When things go on: each part of a message at once, requests of one client in their order, interim
//! and early responses before and beside everything else.

mod support;

use support::*;

/// The content of a request, whatever its framing.
fn content(request: &Message) -> String {
    match request.field("transfer-encoding") {
        Some(_) => text(&request.content()),
        None => request.text(),
    }
}

#[test]
fn heads_and_chunks_go_on_as_they_come() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();

    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut upstream = backend.accept();
    let head = upstream.head();
    assert_head(&head, "POST / HTTP/1.1", &forwarded_and(&["Transfer-Encoding: chunked"]));
    for part in ["5\r\nhello\r\n", "6\r\n world\r\n", "0\r\n\r\n"] {
        client.send(part);
        upstream.expect(part);
    }

    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_head(&client.head(), "HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"]);
    for part in ["5\r\nhello\r\n", "6\r\n world\r\n", "0\r\n\r\n"] {
        upstream.send(part);
        client.expect(part);
    }
}

#[test]
fn pieces_of_a_length_go_on_as_they_come() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n");
    let mut upstream = backend.accept();
    assert_head(&upstream.head(), "POST / HTTP/1.1", &forwarded_and(&["Content-Length: 5"]));
    for octet in b"hello" {
        client.send([*octet]);
        upstream.expect([*octet]);
    }
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_head(&client.head(), "HTTP/1.1 200 OK", &["Content-Length: 5"]);
    for octet in b"hello" {
        upstream.send([*octet]);
        client.expect([*octet]);
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_part_of_a_chunk_goes_on_before_its_end() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe");
    client.head();
    let seen = |client: &mut Wire, what: &str| {
        while !text(&client.received()).contains(what) {
            client.exactly(1);
        }
    };
    seen(&mut client, "he");
    upstream.send("llo\r\n0\r\n\r\n");
    seen(&mut client, "0\r\n\r\n");
}

#[test]
fn pieces_until_the_end_go_on_as_they_come() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\n\r\n");
    assert_head(&client.head(), "HTTP/1.1 200 OK", &["Connection: close"]);
    for part in ["data: 1\n\n", "data: 2\n\n"] {
        upstream.send(part);
        client.expect(part);
    }
    upstream.close();
    client.expect_closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::serve(|wire, request| {
        let target = request.start().split(' ').nth(1).expect("a target").to_owned();
        wire.send(ok(&format!("{target} {}", content(&request))));
    });
    let roundel = Roundel::over(&[&backend, &backend], &[]);
    let requests = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyou\r\n0\r\n\r\n\
        GET /4 HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
        GET /after-close HTTP/1.1\r\nHost: a\r\n\r\n";
    for split in [false, true] {
        let mut client = roundel.client();
        if split {
            // What follows `Connection: close` is nobody's, so it may meet a reset: leave it out.
            let (before, _) = requests.split_once("GET /after").expect("there");
            client.send_octet_by_octet(before);
        } else {
            client.send(requests);
        }
        for want in ["/1 ", "/2 hello", "/3 you", "/4 ", "/5 "] {
            assert_eq!(client.response().text(), want);
        }
        client.expect_closed();
    }
    assert!(!backend.received().iter().any(|octets| text(octets).contains("after-close")));
}

/// The next request may come in one piece with the last of a body.
#[test]
fn a_request_behind_a_body_is_the_next() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    for (framing, body) in
        [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "0\r\n\r\n")]
    {
        let mut client = roundel.client();
        client.send(format!("POST /1 HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n"));
        let mut upstream = backend.accept();
        upstream.head();
        client.send([body, &get("/2"), &get("/3")].concat());
        upstream.expect(body);
        upstream.send(ok("1"));
        for n in ["2", "3"] {
            assert!(upstream.head().starts_with(&format!("GET /{n} ")));
            upstream.send(ok(n));
        }
        for n in ["1", "2", "3"] {
            assert_eq!(client.response().text(), n);
        }
        upstream.close();
    }
}

/// The second request waits until the first is answered, and reaches no backend before.
#[test]
fn a_pipelined_request_does_not_overtake() {
    let (one, two) = (Backend::manual(), Backend::manual());
    let roundel = Roundel::over(&[&one, &two], &[]);
    let mut client = roundel.client();
    client.send([get("/1"), get("/2")].concat());
    let mut first = one.accept();
    first.head();
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx");
    client.head();
    client.expect("x");
    assert_eq!(two.connections(), 0);
    first.send("y");
    client.expect("y");
    let mut second = two.accept();
    assert!(second.head().starts_with("GET /2 "));
    second.send(ok("2"));
    assert_eq!(client.response().text(), "2");
}

#[test]
fn a_client_that_half_closes_after_its_requests_is_served() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send([get("/1"), get("/2")].concat());
    client.half_close();
    let mut upstream = backend.accept();
    for body in ["one", "two"] {
        upstream.head();
        upstream.send(ok(body));
        assert_eq!(client.response().text(), body);
    }
    client.expect_closed();
}

#[test]
fn interim_responses_pass_and_the_final_one_follows() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    let interims = [
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
    ];
    for together in [true, false] {
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        if together {
            upstream.send([interims[0], interims[1], &ok("hi")].concat());
        }
        for interim in interims {
            if !together {
                upstream.send(interim);
            }
            client.expect(interim);
        }
        if !together {
            upstream.send_octet_by_octet(ok("hi"));
        }
        let response = client.response();
        assert_head(&response.head, "HTTP/1.1 200 OK", &["Content-Length: 2"]);
        assert_eq!(response.text(), "hi");
        upstream.close();
    }
}

/// RFC 9110 section 15.2: a proxy does not send an interim response to a 1.0 client.
#[test]
fn a_1_0_client_sees_no_interim_response() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(["HTTP/1.1 103 Early Hints\r\n\r\n", &ok("hi")].concat());
    assert_eq!(client.response().status(), 200);
}

#[test]
fn eight_interim_responses_pass_and_nine_do_not() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(interim.repeat(8) + &ok("hi"));
    client.expect(interim.repeat(8));
    assert_eq!(client.response().text(), "hi");
    client.send(get("/"));
    upstream.head();
    upstream.send(interim.repeat(9) + &ok("hi"));
    client.expect(interim.repeat(8));
    client.response().expect_reply(502, "too_many_interim");
    upstream.expect_gone();
}

#[test]
fn expect_100_continue_is_between_client_and_backend() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    for _ in 0..2 {
        client.send(
            "PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        );
        let mut upstream = backend.accept();
        let want = forwarded_and(&["Content-Length: 5", "Expect: 100-continue"]);
        assert_head(&upstream.head(), "PUT / HTTP/1.1", &want);
        upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
        client.expect("HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello");
        upstream.expect("hello");
        upstream.send(ok("thanks"));
        assert_eq!(client.response().text(), "thanks");
        upstream.close();
    }
}

#[test]
fn a_final_response_instead_of_100_continue_is_passed_on() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(
        "PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (417, "no"));
}

/// A backend may answer before it has read the body, and go. The client gets the whole answer and
/// an orderly end, although it may go on sending for a while.
#[test]
fn an_early_final_response_reaches_the_client_whole() {
    for (name, sent_before) in [("little of the body", 10), ("much of the body", 60_000)] {
        let _row = row(name);
        let backend = Backend::manual();
        let roundel = Roundel::over(&[&backend], &[]);
        let mut client = roundel.client();
        client.send("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n");
        client.send(vec![b'x'; sent_before]);
        let mut upstream = backend.accept();
        upstream.head();
        upstream.exactly(sent_before);
        let body = "too much, ".repeat(1000);
        upstream.send(format!(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
        // The answer is whole: roundel may have reset the connection of the unfinished request by now.
        let _ = upstream.try_half_close();
        let response = client.response();
        assert_eq!((response.status(), response.text()), (413, body));
        assert_eq!(response.field("connection"), Some("close"));
        // What is still on its way is read and thrown away: no reset.
        client.send(vec![b'x'; 10_000]);
        client.half_close();
        client.expect_closed();
    }
}

/// The response may even end before the request does; then both go on to their ends.
#[test]
fn a_response_may_begin_before_its_request_ends() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhello");
    let mut upstream = backend.accept();
    upstream.head();
    upstream.expect("hello");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nHELLO");
    client.head();
    client.expect("HELLO");
    client.send("world");
    upstream.expect("world");
    upstream.send("WORLD");
    client.expect("WORLD");
    // Whether the backend has read the second half, or will take it for a request, nobody knows.
    upstream.expect_gone();
    let mut next = roundel.client();
    next.send(get("/next"));
    assert!(backend.accept().head().starts_with("GET /next "));
}

/// A final response where the client waited for a 100: the body may be on its way all the same, and the
/// backend may take it for a request.
#[test]
fn a_connection_without_its_100_serves_nobody_else() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    );
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("thanks"));
    assert_eq!(client.response().text(), "thanks");
    upstream.expect("hello");
    upstream.expect_gone();
}

/// A 204 has no content. One that announces some may send it, and nobody may get that for an answer.
#[test]
fn a_204_that_announces_content_ends_its_connection() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    for (announced, goes_on) in [
        ("Content-Length: 0", true),
        ("Content-Length: 5", false),
        ("Transfer-Encoding: chunked", false),
    ] {
        let _row = row(announced);
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(format!("HTTP/1.1 204 No Content\r\n{announced}\r\n\r\n"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 204 ") && !head.contains("Transfer"), "{head}");
        if goes_on {
            client.send(get("/again"));
            assert!(upstream.head().starts_with("GET /again "));
            upstream.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            client.head();
        }
        upstream.expect_gone();
    }
}

/// Who asks for the end of its connection may still send something, such as the CRLF that old clients put
/// behind a body (RFC 9112 section 2.2). It must not cost it the answer.
#[test]
fn octets_behind_the_last_request_do_not_cut_its_answer() {
    // More than the client's system takes unread, and less than ours and its together.
    const SIZE: usize = 300_000;
    for version in ["1.1", "1.0"] {
        let _row = row(version);
        let backend = Backend::serve(|wire, _| wire.send(ok(&"x".repeat(SIZE))));
        let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
        let mut client = roundel.client();
        client
            .send(format!("GET / HTTP/{version}\r\nHost: a.example\r\nConnection: close\r\n\r\n"));
        roundel.access_log(1);
        client.send("\r\n");
        assert_eq!(client.response().text().len(), SIZE);
        client.expect_closed();
    }
}

/// The same where the backend does not even take its leave: with octets unread, its close is a reset.
#[test]
fn an_early_final_response_survives_the_reset_behind_it() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head();
    client.send(vec![b'x'; 1000]);
    upstream.exactly(1);
    upstream.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much");
    upstream.reset();
    // It may be told before all of this is sent.
    for _ in 0..20 {
        let _ = client.try_send([b'x'; 1000]);
    }
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (413, "too much"));
    assert_eq!(response.field("connection"), Some("close"));
    client.half_close();
    client.expect_closed();
}

/// The same where octets of the body are sent before the answer is looked at.
#[test]
fn an_early_final_response_is_read_although_sending_failed() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head();
    // All of this is there when roundel looks.
    roundel.signal("STOP");
    upstream.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much");
    upstream.reset();
    client.send([b'x'; 1000]);
    roundel.signal("CONT");
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (413, "too much"));
    client.half_close();
    client.expect_closed();
}

/// Nobody waits for the answer any more, so the backend need not make it.
#[test]
fn a_client_that_resets_while_it_waits_cancels_its_request() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    client.reset();
    upstream.expect_gone();
    let log = roundel.access_log(1);
    assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("-", "client_reset"));
}
