//! Responses that are refused: the client gets 502 with the reason, or an end that it cannot mistake,
//! and nothing that a backend sent wrong.

mod support;

use support::*;

/// What a backend sends instead of a response, on a new connection.
struct BadResponse {
    wire: &'static [u8],
    reason: &'static str,
}

const fn bad(reason: &'static str, wire: &'static [u8]) -> BadResponse {
    BadResponse { wire, reason }
}

const BAD_RESPONSES: &[BadResponse] = &[
    bad("bad_response_head", b"hello\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1200 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    bad("bad_response_head", b"HTTP/1.1 200 OK\r\nContent-Length: 0\nX-A: 1\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n"),
    bad("bad_response_head", b"HTTP/1.1 200 OK\r\nX-A: 1\r2\r\nContent-Length: 0\r\n\r\n"),
    bad(
        "bad_response_framing",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    bad(
        "bad_response_framing",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ),
    bad("bad_response_framing", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
    bad("bad_response_framing", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello"),
    bad("bad_response_framing", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello"),
    bad(
        "bad_response_framing",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    bad("bad_response_framing", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    bad("bad_response_framing", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello"),
    bad("bad_response_framing", b"HTTP/1.1 100 Go\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    bad("unexpected_upgrade", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhi"),
    bad("upstream_closed", b""),
    bad("upstream_closed", b"HTTP/1.1 200 OK\r\nContent-Le"),
    bad("upstream_closed", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2"),
];

/// The client is told, its connection stays, and the backend's ends: nobody knows what follows.
#[test]
fn malformed_responses_are_502() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    let mut client = roundel.client();
    for response in BAD_RESPONSES {
        let _row = row(format!("{}: {}", response.reason, response.wire.escape_ascii()));
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(response.wire);
        if response.reason == "upstream_closed" {
            upstream.half_close();
        }
        if response.wire.starts_with(b"HTTP/1.1 103 Early Hints\r\n\r\n") {
            client.expect("HTTP/1.1 103 Early Hints\r\n\r\n");
        }
        client.response().expect_reply(502, response.reason);
        upstream.expect_gone();
    }
    let log = roundel.access_log(BAD_RESPONSES.len());
    for (line, response) in log.iter().zip(BAD_RESPONSES) {
        assert_eq!((line.rest[0].as_str(), line.reason()), ("502", response.reason));
    }
    assert_eq!(backend.connections(), BAD_RESPONSES.len(), "none was tried twice");
}

#[test]
fn a_backend_that_resets_instead_of_answering_is_502() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.reset();
    client.response().expect_reply(502, "upstream_reset");
}

#[test]
fn limits_of_response_heads() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    let around = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: \r\n\r\n".len();
    let long = |octets: usize| {
        let value = "x".repeat(octets - around);
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: {value}\r\n\r\nhi")
    };
    let many = |count: usize| {
        let fields: String = (1..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nhi")
    };
    for (name, good, bad) in
        [("16 KiB", long(16384), long(16385)), ("100 fields", many(100), many(101))]
    {
        for split in [false, true] {
            let _row = row(format!("{name}, split {split}"));
            for (wire, is_good) in [(&good, true), (&bad, false)] {
                client.send(get("/"));
                let mut upstream = backend.accept();
                upstream.head();
                if split {
                    for octet in wire.as_bytes() {
                        // It may be enough before the last one.
                        let _ = upstream.try_send([*octet]);
                    }
                } else {
                    upstream.send(wire);
                }
                let response = client.response();
                if is_good {
                    assert_eq!((response.status(), response.text().as_str()), (200, "hi"));
                } else {
                    assert_eq!(response.status(), 502);
                    let marked = response.field("proxy-status").unwrap_or_default();
                    let reasons = ["response_head_too_long", "bad_response_head"];
                    assert!(reasons.iter().any(|r| marked.contains(r)), "{response:?}");
                    upstream.expect_gone();
                }
            }
        }
    }
}

/// Chunks that break after the head has gone on: the client must not take them for a whole body.
#[test]
fn ambiguous_chunks_of_a_response_break_it_off() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    let bodies = ["x\r\nhello\r\n0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n"];
    for body in bodies {
        let _row = row(body.escape_debug().to_string());
        let mut client = roundel.client();
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.head();
        upstream.send(body);
        let (seen, _) = client.rest();
        assert!(!text(&seen).ends_with("0\r\n\r\n"), "{:?}", text(&seen));
        upstream.expect_gone();
    }
    for line in roundel.access_log(bodies.len()) {
        assert_eq!(line.rest[0], "200", "{line:?}");
        assert!(["response_truncated", "bad_response_chunk"].contains(&line.reason()), "{line:?}");
    }
}

/// Where nothing of the head has gone yet, the client is told.
#[test]
fn ambiguous_chunks_that_come_with_the_head_are_502() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    for body in ["x\r\nhello\r\n0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n"] {
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body].concat());
        client.response().expect_reply(502, "bad_response_chunk");
        upstream.expect_gone();
    }
}
