//! What becomes of heads, in both directions: exact lines at the backend and at the client.
//!
//! Heads are written anew from values, so each table says in full what the other side sees: the
//! fields that passed, those that were removed, those that were added, and that nothing else was.

mod support;

use support::*;

/// Sends a request that has no body, whole or octet by octet, and gives the head that the backend
/// saw. The backend's connection ends with it, so each row has a new one.
fn seen_by_backend(roundel: &Roundel, backend: &Backend, request: &str, split: bool) -> String {
    let mut client = roundel.client();
    if split {
        client.send_octet_by_octet(request);
    } else {
        client.send(request);
    }
    let mut upstream = backend.accept();
    let head = upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    head
}

/// A request head, and what the backend sees of it.
struct Request {
    name: &'static str,
    wire: &'static str,
    start: &'static str,
    /// Instead of [`FORWARDED`] if it begins with Host, in addition to it otherwise.
    lines: &'static [&'static str],
}

const REQUESTS: &[Request] = &[
    Request {
        name: "nothing is added but what forwarding needs",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "end-to-end fields pass, names and values as written, also twice",
        wire: "GET /p?q=1 HTTP/1.1\r\nX-ONE: a\r\nHost: a.example\r\ncookie: a=b; c=\"d\"\r\n\
               Cookie: e=f\r\nAccept-Encoding: gzip\r\nUser-Agent: t/1 (x; y)\r\nx-one: b,, c\r\n\
               Range: bytes=0-1\r\nIf-None-Match: W/\"x\"\r\nAuthorization: Basic eA==\r\n\r\n",
        start: "GET /p?q=1 HTTP/1.1",
        lines: &[
            "X-ONE: a",
            "x-one: b,, c",
            "cookie: a=b; c=\"d\"",
            "Cookie: e=f",
            "Accept-Encoding: gzip",
            "User-Agent: t/1 (x; y)",
            "Range: bytes=0-1",
            "If-None-Match: W/\"x\"",
            "Authorization: Basic eA==",
        ],
    },
    Request {
        name: "white space around a value is not part of it, white space inside is",
        wire: "GET / HTTP/1.1\r\nHost:a.example\r\nX-A: \t b \t c \t\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &["X-A: b \t c"],
    },
    Request {
        name: "octets above 127 pass in a value",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\nX-A: né\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &["X-A: né"],
    },
    Request {
        name: "one empty line before the request line is ignored",
        wire: "\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "an unknown method passes",
        wire: "M-SEARCH / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        start: "M-SEARCH / HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "path and query pass octet for octet",
        wire: "GET //a/../b/./%2e%2E/%2f;p=1//?x=//..&y=%00&&z=a?b HTTP/1.1\r\n\
               Host: a.example\r\n\r\n",
        start: "GET //a/../b/./%2e%2E/%2f;p=1//?x=//..&y=%00&&z=a?b HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "an empty query stays",
        wire: "GET /? HTTP/1.1\r\nHost: a.example\r\n\r\n",
        start: "GET /? HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "the asterisk of OPTIONS stays",
        wire: "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
        start: "OPTIONS * HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "absolute-form becomes origin-form",
        wire: "GET http://a.example/x//y?z HTTP/1.1\r\nHost: a.example\r\n\r\n",
        start: "GET /x//y?z HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "absolute-form without a path",
        wire: "GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "absolute-form without a path, with a query",
        wire: "GET http://a.example?q HTTP/1.1\r\nHost: a.example\r\n\r\n",
        start: "GET /?q HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "the client's Host with its port",
        wire: "GET / HTTP/1.1\r\nhOST: A.example:8080\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[
            "Host: A.example:8080",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: A.example:8080",
            "Via: 1.1 roundel",
        ],
    },
    Request {
        name: "an IPv6 address as Host",
        wire: "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[
            "Host: [::1]:8080",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: [::1]:8080",
            "Via: 1.1 roundel",
        ],
    },
    Request {
        name: "what a client says about forwarding is replaced",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n\
               x-forwarded-for: 10.0.0.3\r\nX-FORWARDED-PROTO: https\r\n\
               X-Forwarded-Host: evil.example\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[],
    },
    Request {
        name: "Via is added to, on a line of its own after the others",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\nVia: 1.0 one\r\nvia: 1.1 two, 1.1 three\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[
            "Host: a.example",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: a.example",
            "Via: 1.0 one",
            "via: 1.1 two, 1.1 three",
            "Via: 1.1 roundel",
        ],
    },
    Request {
        name: "HTTP/1.0 is passed on as 1.1, and Via tells",
        wire: "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[
            "Host: a.example",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: a.example",
            "Via: 1.0 roundel",
        ],
    },
    Request {
        name: "hop-by-hop fields stay here, named in Connection or not",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
               Proxy-Connection: keep-alive\r\nUpgrade: x\r\nX-Stays: 1\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &["X-Stays: 1"],
    },
    Request {
        name: "what Connection nominates stays here, on any line and in any case",
        wire: "GET / HTTP/1.1\r\nX-One: 1\r\nConnection: keep-alive, X-ONE,,x-Two\r\n\
               Host: a.example\r\nX-Two: 2\r\nX-Three: 3\r\nConnection: x-three , X-Absent\r\n\
               X-Threefold: 4\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &["X-Threefold: 4"],
    },
    Request {
        name: "Connection cannot nominate Host, framing or forwarding fields",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\
               Connection: Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto\r\n\
               Connection: X-Forwarded-Host, Via\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &["Content-Length: 0"],
    },
    Request {
        name: "Connection cannot nominate credentials",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\nCookie: a=b\r\nAuthorization: Basic eA==\r\n\
               Connection: Cookie, Authorization\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &["Cookie: a=b", "Authorization: Basic eA=="],
    },
    Request {
        name: "a field whose name begins like a hop-by-hop one passes",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\nConnectionX: 1\r\nTEX: 2\r\nT: 3\r\n\
               Keep-Alive-Not: 4\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &["ConnectionX: 1", "TEX: 2", "T: 3", "Keep-Alive-Not: 4"],
    },
    Request {
        name: "HTTP2-Settings and h2c are for nobody behind us",
        wire: "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
               Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        start: "GET / HTTP/1.1",
        lines: &[],
    },
];

#[test]
fn request_heads_are_written_anew() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    for request in REQUESTS {
        let _row = row(request.name);
        let own_host = request.lines.first().is_some_and(|line| line.starts_with("Host: "));
        let want = if own_host { request.lines.to_vec() } else { forwarded_and(request.lines) };
        for split in [false, true] {
            let head = seen_by_backend(&roundel, &backend, request.wire, split);
            assert_head(&head, request.start, &want);
        }
    }
}

#[test]
fn fields_keep_their_order() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let request =
        "GET / HTTP/1.1\r\nX-C: 1\r\nX-A: 2\r\nHost: a.example\r\nX-B: 3\r\nX-A: 4\r\n\r\n";
    let head = seen_by_backend(&roundel, &backend, request, false);
    let passed: Vec<_> =
        head.lines().filter(|line| line.starts_with("X-") && line.len() == 6).collect();
    assert_eq!(passed, ["X-C: 1", "X-A: 2", "X-B: 3", "X-A: 4"]);
}

#[test]
fn an_absolute_target_replaces_the_host_that_a_1_0_client_left_out() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let head =
        seen_by_backend(&roundel, &backend, "GET http://b.example/x HTTP/1.0\r\n\r\n", false);
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nHost: b.example\r\n"), "{head}");
    assert!(head.contains("\r\nX-Forwarded-Host: b.example\r\n"), "{head}");
}

#[test]
fn a_prefix_goes_in_front_of_the_path_and_changes_nothing_in_it() {
    for (prefix, target, seen) in [
        ("", "/x", "/x"),
        ("/", "/x", "/x"),
        ("/api", "/x?q", "/api/x?q"),
        ("/api/", "/x", "/api/x"),
        ("/a/b", "/", "/a/b/"),
        ("/api", "/?q", "/api/?q"),
        ("/api", "//x/../y", "/api//x/../y"),
        ("/api", "http://a.example/x", "/api/x"),
        ("/%41", "/%42", "/%41/%42"),
    ] {
        let _row = row(format!("{prefix:?} and {target:?}"));
        let backend = Backend::manual();
        let roundel = Roundel::start(&[&format!("{}{prefix}", backend.url())]);
        let head = seen_by_backend(&roundel, &backend, &get(target), false);
        assert_head(&head, &format!("GET {seen} HTTP/1.1"), FORWARDED);
    }
}

#[test]
fn each_client_is_named_by_its_own_address() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--listen", "127.0.0.1:0", "--listen", "[::1]:0"]);
    for (addr, name) in roundel.addrs().iter().zip(["127.0.0.1", "::1"]) {
        let mut client = Wire::connect(*addr);
        client.send(get("/"));
        let mut upstream = backend.accept();
        let head = upstream.head();
        assert!(head.contains(&format!("\r\nX-Forwarded-For: {name}\r\n")), "{head}");
        upstream.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().status(), 204);
    }
}

/// A response from the backend, and what the client sees of its head.
struct Response {
    name: &'static str,
    wire: &'static str,
    start: &'static str,
    lines: &'static [&'static str],
    body: &'static str,
}

const RESPONSES: &[Response] = &[
    Response {
        name: "nothing is added",
        wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        start: "HTTP/1.1 200 OK",
        lines: &["Content-Length: 2"],
        body: "hi",
    },
    Response {
        name: "end-to-end fields pass, names and values as written, also twice",
        wire: "HTTP/1.1 404 Not Found\r\nSet-Cookie: a=1; Path=/\r\nServer: s/1\r\n\
               date: Thu, 01 Jan 1970 00:00:00 GMT\r\nset-cookie: b=2\r\nSet-Cookie: c=3\r\n\
               Content-Type: text/html; charset=\"x\"\r\nContent-Length: 2\r\n\
               Content-Encoding: gzip\r\nETag: \"x\"\r\nVia: 1.1 inner\r\n\r\nhi",
        start: "HTTP/1.1 404 Not Found",
        lines: &[
            "Set-Cookie: a=1; Path=/",
            "set-cookie: b=2",
            "Set-Cookie: c=3",
            "Server: s/1",
            "date: Thu, 01 Jan 1970 00:00:00 GMT",
            "Content-Type: text/html; charset=\"x\"",
            "Content-Encoding: gzip",
            "Content-Length: 2",
            "ETag: \"x\"",
            "Via: 1.1 inner",
        ],
        body: "hi",
    },
    Response {
        name: "a reason phrase passes as written",
        wire: "HTTP/1.1 299 Très  bien, \"x\"\r\nContent-Length: 0\r\n\r\n",
        start: "HTTP/1.1 299 Très  bien, \"x\"",
        lines: &["Content-Length: 0"],
        body: "",
    },
    Response {
        name: "an empty reason phrase stays empty",
        wire: "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n",
        start: "HTTP/1.1 599 ",
        lines: &["Content-Length: 0"],
        body: "",
    },
    Response {
        name: "the backend's connection is its own business",
        wire: "HTTP/1.1 200 OK\r\nConnection: close, X-Drop\r\nKeep-Alive: timeout=9\r\n\
               X-Drop: 1\r\nX-Stays: 2\r\nContent-Length: 2\r\n\r\nhi",
        start: "HTTP/1.1 200 OK",
        lines: &["X-Stays: 2", "Content-Length: 2"],
        body: "hi",
    },
    Response {
        name: "hop-by-hop fields stay here, named in Connection or not",
        wire: "HTTP/1.1 200 OK\r\nProxy-Connection: close\r\nKeep-Alive: timeout=9\r\n\
               Upgrade: h2c\r\nTE: gzip\r\nContent-Length: 2\r\n\r\nhi",
        start: "HTTP/1.1 200 OK",
        lines: &["Content-Length: 2"],
        body: "hi",
    },
    Response {
        name: "Connection cannot nominate the framing",
        wire: "HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nhi",
        start: "HTTP/1.1 200 OK",
        lines: &["Content-Length: 2"],
        body: "hi",
    },
    Response {
        name: "an HTTP/1.0 backend with a length",
        wire: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        start: "HTTP/1.1 200 OK",
        lines: &["Content-Length: 2"],
        body: "hi",
    },
    Response {
        name: "an HTTP/1.0 backend that stays",
        wire: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
        start: "HTTP/1.1 200 OK",
        lines: &["Content-Length: 2"],
        body: "hi",
    },
    Response {
        name: "white space around a value",
        wire: "HTTP/1.1 200 OK\r\nX-A:\t b \t c \r\nContent-Length:2\r\n\r\nhi",
        start: "HTTP/1.1 200 OK",
        lines: &["X-A: b \t c", "Content-Length: 2"],
        body: "hi",
    },
];

/// Each response arrives whole and octet by octet, and the client's connection persists.
#[test]
fn response_heads_are_written_anew() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    for response in RESPONSES {
        let _row = row(response.name);
        let mut client = roundel.client();
        for split in [false, true] {
            client.send(get("/"));
            let mut upstream = backend.accept();
            upstream.head();
            if split {
                upstream.send_octet_by_octet(response.wire);
            } else {
                upstream.send(response.wire);
            }
            let got = client.response();
            assert_head(&got.head, response.start, response.lines);
            assert_eq!(got.text(), response.body);
            upstream.close();
        }
    }
}

/// What the client says about its own connection decides about that one alone.
#[test]
fn persistence_is_told_to_each_client_in_its_own_terms() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &[]);
    for (request, connection, stays) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None, true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", None, true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", Some("close"), false),
        ("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", Some("keep-alive"), true),
    ] {
        let _row = row(request);
        let mut client = roundel.client();
        client.send(request);
        let response = client.response();
        assert_eq!(response.field("connection"), connection, "{response:?}");
        assert_eq!(response.text(), "ok");
        if stays {
            assert_eq!(client.get("/again").text(), "ok");
        } else {
            client.expect_closed();
        }
    }
    // RFC 9112 section 9.3: a 1.0 client that asks for nothing gets a connection that ends.
    let mut client = roundel.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    client.expect_closed();
    assert_eq!(backend.connections(), 1, "none of this reaches the backend's connection");
}
