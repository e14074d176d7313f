//! Bodies in both directions: where they end, how they are framed, and what happens when they break
//! off. (When their parts go on is the subject of `wire_stream.rs`.)

mod support;

use support::*;

/// A request with a body: its head without the empty line, and the octets that follow.
struct Upload {
    name: &'static str,
    fields: &'static str,
    wire: &'static str,
    /// The framing lines that the backend sees.
    lines: &'static [&'static str],
    /// The octets of the body as the backend sees them.
    seen: &'static str,
}

const UPLOADS: &[Upload] = &[
    Upload { name: "none", fields: "", wire: "", lines: &[], seen: "" },
    Upload {
        name: "a length of nothing",
        fields: "Content-Length: 0\r\n",
        wire: "",
        lines: &["Content-Length: 0"],
        seen: "",
    },
    Upload {
        name: "a length",
        fields: "Content-Length: 12\r\n",
        wire: "hello\r\n\r\nyou",
        lines: &["Content-Length: 12"],
        seen: "hello\r\n\r\nyou",
    },
    Upload {
        name: "chunked",
        fields: "Transfer-Encoding: chunked\r\n",
        wire: "5\r\nhello\r\n3\r\n\r\n0\r\n0\r\n\r\n",
        lines: &["Transfer-Encoding: chunked"],
        seen: "5\r\nhello\r\n3\r\n\r\n0\r\n0\r\n\r\n",
    },
    Upload {
        name: "chunked, and empty",
        fields: "Transfer-Encoding: Chunked\r\n",
        wire: "0\r\n\r\n",
        lines: &["Transfer-Encoding: chunked"],
        seen: "0\r\n\r\n",
    },
    Upload {
        name: "chunk extensions are dropped",
        fields: "Transfer-Encoding: chunked\r\n",
        wire: "5;a=b;c=\"d;\\\"e\"\r\nhello\r\n1;x\r\n!\r\n0;end\r\n\r\n",
        lines: &["Transfer-Encoding: chunked"],
        seen: "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    },
    Upload {
        name: "trailers pass, but not those that mean framing, routing or one hop",
        fields: "Transfer-Encoding: chunked\r\n",
        wire: "5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 7\r\nHost: evil\r\n\
               Transfer-Encoding: x\r\nConnection: close\r\nx-two: 2 3\r\n\r\n",
        lines: &["Transfer-Encoding: chunked"],
        seen: "5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-two: 2 3\r\n\r\n",
    },
];

#[test]
fn request_bodies_arrive_with_their_own_framing() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    for upload in UPLOADS {
        let _row = row(upload.name);
        let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", upload.fields);
        let message = head.clone() + upload.wire;
        for split in ["whole", "head and body", "octet by octet"] {
            let mut client = roundel.client();
            match split {
                "whole" => client.send(&message),
                "head and body" => {
                    client.send(&head);
                    client.send(upload.wire);
                }
                _ => client.send_octet_by_octet(&message),
            }
            let mut upstream = backend.accept();
            let request = upstream.request().expect("a request");
            assert_head(&request.head, "POST / HTTP/1.1", &forwarded_and(upload.lines));
            assert_eq!(request.text(), upload.seen, "{split}");
            upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            assert_eq!(client.response().text(), "ok");
            // Nothing follows the request.
            upstream.expect_closed();
        }
    }
}

/// A response with a body.
struct Download {
    name: &'static str,
    method: &'static str,
    /// What the backend sends: all of it.
    wire: &'static str,
    /// What the backend's end of the message needs: that it closes.
    closes: bool,
    start: &'static str,
    lines: &'static [&'static str],
    /// The octets that the client sees after the head.
    body: &'static str,
    /// Whether the client's connection ends with it.
    last: bool,
}

const OK: &str = "HTTP/1.1 200 OK";

const DOWNLOADS: &[Download] = &[
    Download {
        name: "a length",
        method: "GET",
        wire: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        closes: false,
        start: OK,
        lines: &["Content-Length: 5"],
        body: "hello",
        last: false,
    },
    Download {
        name: "the same length twice is one",
        method: "GET",
        wire: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        closes: false,
        start: OK,
        lines: &["Content-Length: 5"],
        body: "hello",
        last: false,
    },
    Download {
        name: "chunked, with extensions and trailers",
        method: "GET",
        wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
               5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n",
        closes: false,
        start: OK,
        lines: &["Transfer-Encoding: chunked"],
        body: "5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
        last: false,
    },
    Download {
        name: "until the end",
        method: "GET",
        wire: "HTTP/1.1 200 OK\r\n\r\nhello",
        closes: true,
        start: OK,
        lines: &["Connection: close"],
        body: "hello",
        last: true,
    },
    Download {
        name: "until the end, from HTTP/1.0, empty",
        method: "GET",
        wire: "HTTP/1.0 200 OK\r\n\r\n",
        closes: true,
        start: OK,
        lines: &["Connection: close"],
        body: "",
        last: true,
    },
    Download {
        name: "204",
        method: "GET",
        wire: "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
        closes: false,
        start: "HTTP/1.1 204 No Content",
        lines: &["X-A: 1"],
        body: "",
        last: false,
    },
    Download {
        name: "204 has no length to say",
        method: "GET",
        wire: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        closes: false,
        start: "HTTP/1.1 204 No Content",
        lines: &[],
        body: "",
        last: false,
    },
    Download {
        name: "304 says a length and has no body",
        method: "GET",
        wire: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
        closes: false,
        start: "HTTP/1.1 304 Not Modified",
        lines: &["Content-Length: 5", "ETag: \"x\""],
        body: "",
        last: false,
    },
    Download {
        name: "HEAD says a length and has no body",
        method: "HEAD",
        wire: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        closes: false,
        start: OK,
        lines: &["Content-Length: 5"],
        body: "",
        last: false,
    },
    Download {
        name: "HEAD says chunked and has no body",
        method: "HEAD",
        wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        closes: false,
        start: OK,
        lines: &["Transfer-Encoding: chunked"],
        body: "",
        last: false,
    },
    Download {
        name: "HEAD says nothing about a body",
        method: "HEAD",
        wire: "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n",
        closes: false,
        start: OK,
        lines: &["X-A: 1"],
        body: "",
        last: false,
    },
];

#[test]
fn response_bodies_arrive_with_their_own_framing() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    for download in DOWNLOADS {
        let _row = row(download.name);
        let mut client = roundel.client();
        for split in [false, true] {
            client.send(format!("{} / HTTP/1.1\r\nHost: a.example\r\n\r\n", download.method));
            let mut upstream = backend.accept();
            upstream.head();
            if split {
                upstream.send_octet_by_octet(download.wire);
            } else {
                upstream.send(download.wire);
            }
            let kept = if download.closes {
                upstream.close();
                None
            } else {
                Some(upstream)
            };
            let response = if download.method == "HEAD" {
                client.response_to_head()
            } else {
                client.response()
            };
            assert_head(&response.head, download.start, download.lines);
            assert_eq!(response.text(), download.body);
            drop(kept);
            if download.last {
                client.expect_closed();
                client = roundel.client();
            }
        }
    }
}

/// An HTTP/1.0 client knows no chunks: it gets the content, and the end of the connection as its end.
#[test]
fn a_1_0_client_never_sees_a_chunk() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n\
                    5;x\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";
    for (keep, split) in [("", false), ("Connection: keep-alive\r\n", false), ("", true)] {
        let mut client = roundel.client();
        client.send(format!("GET / HTTP/1.0\r\nHost: a.example\r\n{keep}\r\n"));
        let mut upstream = backend.accept();
        upstream.head();
        if split {
            upstream.send_octet_by_octet(response);
        } else {
            upstream.send(response);
        }
        let got = client.response();
        assert_eq!(got.start(), "HTTP/1.1 200 OK");
        assert_eq!(got.field("transfer-encoding"), None, "{got:?}");
        assert_eq!(got.field("content-length"), None, "{got:?}");
        assert_eq!(got.field("x-a"), Some("1"));
        assert_ne!(got.field("connection"), Some("keep-alive"), "{got:?}");
        assert_eq!(got.text(), "hello world");
        client.expect_closed();
    }
}

/// A body that breaks off must not look like a whole one.
#[test]
fn a_truncated_response_is_seen_to_be_truncated() {
    struct Case {
        name: &'static str,
        wire: &'static str,
        reset: bool,
        body: &'static str,
    }
    for case in [
        Case {
            name: "length, FIN",
            wire: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            reset: false,
            body: "hello",
        },
        Case {
            name: "length, RST",
            wire: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            reset: true,
            body: "hello",
        },
        Case {
            name: "chunked, FIN in a chunk",
            wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
            reset: false,
            body: "a\r\nhello",
        },
        Case {
            name: "chunked, FIN between chunks",
            wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            reset: false,
            body: "5\r\nhello\r\n",
        },
        Case {
            name: "chunked, FIN before the last line",
            wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            reset: false,
            body: "5\r\nhello\r\n0\r\n",
        },
        Case {
            name: "until the end, RST",
            wire: "HTTP/1.1 200 OK\r\n\r\nhello",
            reset: true,
            body: "hello",
        },
    ] {
        let _row = row(case.name);
        let backend = Backend::manual();
        let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
        let mut client = roundel.client();
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(case.wire);
        assert_eq!(client.head().lines().next(), Some("HTTP/1.1 200 OK"));
        client.expect(case.body.strip_suffix("0\r\n").unwrap_or(case.body));
        if case.reset {
            upstream.reset();
        } else {
            upstream.close();
        }
        let (rest, end) = client.rest();
        assert!(!text(&rest).ends_with("0\r\n\r\n"), "{:?}", text(&rest));
        if case.wire.contains("200 OK\r\n\r\n") {
            assert_eq!(end, End::Reset, "nothing else tells the client");
        }
        let log = roundel.access_log(1);
        assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("200", "response_truncated"));
    }
}

/// To a 1.0 client the end of the connection is the end of the body, so only a reset tells.
#[test]
fn a_truncated_chunked_response_is_seen_by_a_1_0_client() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    client.head();
    client.expect("hello");
    upstream.close();
    assert_eq!(client.rest(), (vec![], End::Reset));
}

/// What the client breaks off, the backend sees broken off.
#[test]
fn a_truncated_request_is_seen_to_be_truncated() {
    for (name, message, reset) in [
        ("length, FIN", "Content-Length: 10\r\n\r\nhello", false),
        ("length, RST", "Content-Length: 10\r\n\r\nhello", true),
        ("chunked, FIN", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
        ("chunked, RST", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true),
    ] {
        let _row = row(name);
        let backend = Backend::manual();
        let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
        let mut client = roundel.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{message}"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.exactly(5);
        if reset {
            client.reset();
        } else {
            client.close();
        }
        let (rest, _) = upstream.rest();
        assert!(!text(&rest).contains("0\r\n\r\n"), "{:?}", text(&rest));
        let reason = if reset { "client_reset" } else { "client_closed" };
        let log = roundel.access_log(1);
        assert_eq!((log[0].rest[0].as_str(), log[0].reason()), ("-", reason));
    }
}

/// Big bodies there and back: nothing is lost.
#[test]
fn long_bodies_arrive_octet_for_octet() {
    let content: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let backend = Backend::serve(|wire, request| {
        let head = match request.field("transfer-encoding") {
            Some(_) => "Transfer-Encoding: chunked".to_owned(),
            None => format!("Content-Length: {}", request.body.len()),
        };
        wire.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
        wire.send(&request.body);
    });
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    for chunked in [false, true] {
        let body = if chunked {
            let sizes = [1, 2, 4095, 65_536, 65_537, 300_000];
            let mut body = Vec::new();
            let mut left = &content[..];
            for size in sizes.iter().cycle() {
                let (now, later) = left.split_at((*size).min(left.len()));
                if now.is_empty() {
                    break;
                }
                body.extend(chunk(now));
                left = later;
            }
            body.extend(b"0\r\n\r\n");
            body
        } else {
            content.clone()
        };
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", body.len())
        };
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n"));
        client.send(&body);
        let response = client.response();
        let got = if chunked { response.content() } else { response.body };
        assert!(got == content, "{} octets came back", got.len());
    }
}

/// A client that does not read must not make roundel read on: the backend has to wait.
#[test]
fn a_slow_client_holds_the_backend_back() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    const TOTAL: usize = 64 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let backend = Backend::serve(move |wire, _| {
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n"));
        let block = vec![b'x'; 1 << 16];
        for _ in 0..TOTAL / block.len() {
            if wire.try_send(&block).is_err() {
                return;
            }
            counter.fetch_add(block.len(), Ordering::SeqCst);
        }
    });
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(get("/"));
    client.head();
    // Wait until the backend stands still; what the kernel's buffers hold is far below the total.
    let mut before = usize::MAX;
    while before != sent.load(Ordering::SeqCst) {
        before = sent.load(Ordering::SeqCst);
        std::thread::park_timeout(std::time::Duration::from_millis(300));
    }
    assert!(before < TOTAL / 2, "{before} octets were taken for a client that read nothing");
    assert_eq!(client.exactly(TOTAL).len(), TOTAL);
    assert_eq!(sent.load(Ordering::SeqCst), TOTAL);
}
