//! Requests that are refused: with which answer, and that no backend hears of them, nor of what comes
//! behind them. (What is refused of backends is in `wire_bad_responses.rs`.)

mod support;

use support::*;

/// What a refused request must not bring along.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// Status, reason word, and the requests that get it. `@` stands for `Host: a.example`.
type Refusals = &'static [(u16, &'static str, &'static [&'static [u8]])];

const REFUSALS: Refusals = &[
    (
        400,
        "bad_request_line",
        &[
            b"GET / HTTP/1.1 \r\n@\r\n\r\n",
            b"GET  / HTTP/1.1\r\n@\r\n\r\n",
            b"GET /  HTTP/1.1\r\n@\r\n\r\n",
            b"GET\t/\tHTTP/1.1\r\n@\r\n\r\n",
            b" GET / HTTP/1.1\r\n@\r\n\r\n",
            b"GET /\r\n@\r\n\r\n",
            b"GET\r\n@\r\n\r\n",
            b"GET / HTTP/1.1x\r\n@\r\n\r\n",
            b"GET / http/1.1\r\n@\r\n\r\n",
            b"GET / HTTP/1.1\n@\r\n\r\n",
            b"GET / HTTP/1.1\r\r\n@\r\n\r\n",
            b"G(T / HTTP/1.1\r\n@\r\n\r\n",
            b"G\0T / HTTP/1.1\r\n@\r\n\r\n",
            b"\xc3\x89 / HTTP/1.1\r\n@\r\n\r\n",
            b"\nGET / HTTP/1.1\r\n@\r\n\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\n@\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ],
    ),
    (
        505,
        "unsupported_version",
        &[
            b"GET / HTTP/2.0\r\n@\r\n\r\n",
            b"GET / HTTP/0.9\r\n@\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    ),
    (
        400,
        "bad_target",
        &[
            b"GET x HTTP/1.1\r\n@\r\n\r\n",
            b"GET ?q HTTP/1.1\r\n@\r\n\r\n",
            b"GET * HTTP/1.1\r\n@\r\n\r\n",
            b"OPTIONS *x HTTP/1.1\r\n@\r\n\r\n",
            b"GET a.example:80 HTTP/1.1\r\n@\r\n\r\n",
            b"GET ftp://a.example/ HTTP/1.1\r\n@\r\n\r\n",
            b"GET http:/a.example/ HTTP/1.1\r\n@\r\n\r\n",
            b"GET http:///x HTTP/1.1\r\n@\r\n\r\n",
            b"GET http://a%/ HTTP/1.1\r\nHost: a%\r\n\r\n",
            b"GET http://user@a.example/ HTTP/1.1\r\n@\r\n\r\n",
            b"GET /a#b HTTP/1.1\r\n@\r\n\r\n",
            b"GET /\" HTTP/1.1\r\n@\r\n\r\n",
            b"GET /< HTTP/1.1\r\n@\r\n\r\n",
            b"GET /> HTTP/1.1\r\n@\r\n\r\n",
            b"GET /\\ HTTP/1.1\r\n@\r\n\r\n",
            b"GET /^ HTTP/1.1\r\n@\r\n\r\n",
            b"GET /` HTTP/1.1\r\n@\r\n\r\n",
            b"GET /{ HTTP/1.1\r\n@\r\n\r\n",
            b"GET /| HTTP/1.1\r\n@\r\n\r\n",
            b"GET /} HTTP/1.1\r\n@\r\n\r\n",
            b"GET /?q[] HTTP/1.1\r\n@\r\n\r\n",
            b"GET /\xc3\xa9 HTTP/1.1\r\n@\r\n\r\n",
        ],
    ),
    (501, "unsupported_method", &[
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
            b"TRACE / HTTP/1.1\r\n@\r\n\r\n",
        ]),
    (
        400,
        "bad_host",
        &[
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Host: a.example\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\n@\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\r\nhost: b.example\r\n\r\n",
            b"GET / HTTP/1.0\r\n@\r\nHost: b.example\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: %zz\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: u@a.example\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.example:x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.example:80:80\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\xc3\xa9\r\n\r\n",
            b"GET http://b.example/ HTTP/1.1\r\n@\r\n\r\n",
            b"GET http://a.example:81/ HTTP/1.1\r\n@\r\n\r\n",
        ],
    ),
    (
        400,
        "bad_field",
        &[
            b"GET / HTTP/1.1\r\n@\r\nX-A : 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nContent-Length : 0\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A\t: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n X-A: 1\r\n@\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\r\n 2\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\r\n\t2\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A:\r\n 2\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\n: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX A: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX(A): 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX\0A: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX\xc3\xa9: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\x002\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\x012\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\x7f2\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\r2\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\nX-B: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nX-A: 1\r\n\nX-B: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\n@\r\nConnection: a b\r\n\r\n",
        ],
    ),
    (
        400,
        "bad_framing",
        &[
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: 5, 6\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: +5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: -5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: 0x5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: 5 5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: 5.0\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: five\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length:\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.0\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    ),
    (
        501,
        "unsupported_coding",
        &[b"POST / HTTP/1.1\r\n@\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
    ),
];

fn with_host(wire: &[u8]) -> Vec<u8> {
    let mut parts = wire.split(|octet| *octet == b'@');
    let mut out = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        // `@` in front of a name is one of the faults, and stays.
        let is_line = out.ends_with(b"\n");
        out.extend_from_slice(if is_line { b"Host: a.example" } else { b"@" });
        out.extend_from_slice(part);
    }
    out
}

/// Each is answered once, the connection ends in order, and no backend hears of it, nor of what
/// comes behind it.
#[test]
fn ambiguous_and_malformed_requests_are_refused() {
    let backend = Backend::named("served");
    let roundel = Roundel::over(&[&backend], &[]);
    for (status, reason, requests) in REFUSALS {
        for wire in *requests {
            let request = with_host(wire);
            for split in [false, true] {
                let _row = row(format!("{reason}, split {split}: {}", request.escape_ascii()));
                let mut client = roundel.client();
                if split {
                    for octet in &request {
                        // The answer, and the end, may come before the last octet is sent.
                        let _ = client.try_send([*octet]);
                    }
                } else {
                    client.send([&request, SMUGGLED.as_bytes()].concat());
                }
                let reply = client.response();
                reply.expect_reply(*status, reason);
                assert_eq!(reply.field("connection"), Some("close"));
                client.expect_closed();
            }
        }
    }
    assert_eq!(backend.received(), Vec::<Vec<u8>>::new());
    assert_eq!(roundel.get("/").text(), "served", "and it is still there for others");
}

/// A good request in front of a bad one is served.
#[test]
fn a_refusal_comes_in_its_turn() {
    let backend = Backend::named("served");
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send([&get("/1"), "GET / HTTP/1.1\r\n\r\n", &get("/3")].concat());
    assert_eq!(client.response().text(), "served");
    client.response().expect_reply(400, "bad_host");
    client.expect_closed();
    let received = backend.received();
    assert_eq!(received.len(), 1);
    assert!(!text(&received[0]).contains("/3"));
}

#[test]
fn an_answer_to_head_has_no_body() {
    let backend = Backend::named("served");
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("HEAD / HTTP/1.1\r\n\r\n");
    let reply = client.response_to_head();
    assert_eq!(reply.status(), 400);
    assert!(reply.field("proxy-status").is_some_and(|field| field.contains("\"bad_host\"")));
    assert_ne!(reply.field("content-length"), Some("0"), "it says what GET would have got");
    client.expect_closed();
}

/// Chunked bodies that two recipients could read differently. The head has gone on already, so the
/// backend's connection must end without a last chunk.
#[test]
fn ambiguous_chunks_are_refused() {
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300));
    let many_extensions = format!("1;{}\r\nx\r\n", "x".repeat(200)).repeat(30) + "0\r\n\r\n";
    let long_trailers = format!("0\r\nX-A: {}\r\n\r\n", "x".repeat(9000));
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    for body in [
        "x\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5,\r\nhello\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n",
        "5;a\n\r\nhello\r\n0\r\n\r\n",
        "5;a \r\nhello\r\n0\r\n\r\n",
        "5;a\t\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n",
        "5;a=\x01\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A: 1\nX-B: 2\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A: 1\r\n 2\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n",
        &long_extension,
        &many_extensions,
        &long_trailers,
    ] {
        let _row = row(body.escape_debug().to_string());
        let mut client = roundel.client();
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut upstream = backend.accept();
        upstream.head();
        client.send([body, SMUGGLED].concat());
        let reply = client.response();
        reply.expect_reply(400, "bad_chunk");
        assert_eq!(reply.field("connection"), Some("close"));
        client.expect_closed();
        let (seen, _) = upstream.rest();
        assert!(!text(&seen).ends_with("0\r\n\r\n"), "the backend sees it broken off: {seen:?}");
        assert!(!text(&seen).contains("smuggled"));
    }
}

/// A head of exactly so many octets.
fn request_of(octets: usize) -> String {
    let around = "GET / HTTP/1.1\r\nHost: a.example\r\nX-A: \r\n\r\n".len();
    let value = "x".repeat(octets - around);
    format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-A: {value}\r\n\r\n")
}

fn request_with_fields(count: usize) -> String {
    let fields: String = (1..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")
}

fn request_with_target(octets: usize) -> String {
    get(&format!("/{}", "x".repeat(octets - 1)))
}

#[test]
fn limits_of_request_heads() {
    let backend = Backend::named("served");
    let roundel = Roundel::over(&[&backend], &[]);
    for (name, good, bad, status, reason) in [
        ("a head of 16 KiB", request_of(16384), request_of(16385), 431, "head_too_long"),
        ("100 fields", request_with_fields(100), request_with_fields(101), 431, "too_many_fields"),
        (
            "a target of 8 KiB",
            request_with_target(8192),
            request_with_target(8193),
            414,
            "target_too_long",
        ),
    ] {
        for split in [false, true] {
            let _row = row(format!("{name}, split {split}"));
            let mut client = roundel.client();
            if split {
                client.send_octet_by_octet(&good);
            } else {
                client.send(&good);
            }
            assert_eq!(client.response().text(), "served");
            if split {
                for octet in bad.as_bytes() {
                    // The answer, and the end, may come before the last octet is sent.
                    let _ = client.try_send([*octet]);
                }
            } else {
                client.send(&bad);
            }
            client.response().expect_reply(status, reason);
            client.expect_closed();
        }
    }
    // Each client had one good request; the bad ones went nowhere.
    let heads: usize =
        backend.received().iter().map(|log| text(log).matches("\r\n\r\n").count()).sum();
    assert_eq!(heads, 6);
}

#[test]
fn a_head_without_an_end_is_refused_at_the_limit() {
    let backend = Backend::named("served");
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n");
    for _ in 0..20 {
        let _ = client.try_send(format!("X-A: {}\r\n", "x".repeat(1000)));
    }
    client.response().expect_reply(431, "head_too_long");
    assert_eq!(backend.connections(), 0);
}
