//! TLS backends: what is refused and how it is said, what a good one sees, and that everything that
//! works over plain TCP works over TLS, down to records of one octet.
#![cfg(feature = "tls")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: a panic is how it reports"
)]

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{HandshakeKind, ProtocolVersion, SupportedProtocolVersion};
use socket2::SockRef;

use self::{
    support::{
        Backend, End, LogLine, Message, PATIENCE, Roundel, Wire, chunk, dechunk, get, ok, row, text,
    },
    tls::{
        Authority, BOTH_VERSIONS, Hello, TLS12, TLS13, TlsBackend, TlsEnd, TlsWire, Validity,
        dribble, self_signed, server_config,
    },
};

/// Starts roundel over these URLs, trusting this authority, with its access log on stdout.
fn start(authority: &Authority, urls: &[&str], options: &[&str]) -> Roundel {
    let trust = ["--ca", authority.file(), "--access-log", "-"];
    let args: Vec<&str> = [&trust, options, urls].concat();
    Roundel::start(&args)
}

/// A backend with a good certificate, left to the test, and roundel in front of it.
fn pair(versions: &[&'static SupportedProtocolVersion]) -> (TlsBackend, Roundel) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], Validity::Now);
    let backend = TlsBackend::manual(server_config(&identity, versions));
    let roundel = start(&authority, &[&backend.url()], &[]);
    (backend, roundel)
}

/// A good answer to everything.
fn answer_hi(wire: &mut TlsWire, _: Message) {
    // Whether roundel still wants the answer is the test's business.
    let _ = wire.try_send(ok("hi"));
}

/// The status, the backend and the reason of a line of the access log.
fn verdict(line: &LogLine) -> (&str, &str, &str) {
    (&line.rest[0], &line.rest[4], line.reason())
}

/// A certificate that is no good, and how that is said.
struct Refusal {
    name: &'static str,
    names: &'static [&'static str],
    validity: Validity,
    /// Issued by the authority that roundel was told to trust?
    trusted: bool,
    host: &'static str,
    reason: &'static str,
    warning: &'static str,
}

const GOOD: Refusal = Refusal {
    name: "",
    names: &["localhost"],
    validity: Validity::Now,
    trusted: true,
    host: "localhost",
    reason: "",
    warning: "",
};

const REFUSALS: &[Refusal] = &[
    Refusal {
        name: "expired",
        validity: Validity::Expired,
        reason: "tls_expired_certificate",
        warning: "has expired",
        ..GOOD
    },
    Refusal {
        name: "not yet valid",
        validity: Validity::NotYet,
        reason: "tls_expired_certificate",
        warning: "not valid yet",
        ..GOOD
    },
    Refusal {
        name: "wrong name",
        names: &["other.example", "localhost.example", "*.localhost"],
        reason: "tls_wrong_name",
        warning: "for another name",
        ..GOOD
    },
    Refusal {
        name: "a name where an address was asked for",
        host: "127.0.0.1",
        reason: "tls_wrong_name",
        warning: "for another name",
        ..GOOD
    },
    Refusal {
        name: "an address where a name was asked for",
        names: &["127.0.0.1"],
        reason: "tls_wrong_name",
        warning: "for another name",
        ..GOOD
    },
    Refusal {
        name: "unknown issuer",
        trusted: false,
        reason: "tls_untrusted_certificate",
        warning: "unknown issuer",
        ..GOOD
    },
];

/// Each refusal with a request that has a body, too: none of it may reach the backend.
#[test]
fn a_bad_certificate_is_named_and_the_request_never_sent() {
    for refusal in REFUSALS {
        let _row = row(refusal.name);
        let (trusted, stranger) = (Authority::new(), Authority::new());
        let issuer = if refusal.trusted { &trusted } else { &stranger };
        let identity = issuer.issue(refusal.names, refusal.validity);
        expect_refusal(
            &trusted,
            &TlsBackend::serve(server_config(&identity, BOTH_VERSIONS), answer_hi),
            refusal,
        );
    }
}

#[test]
fn a_self_signed_certificate_is_refused_unless_it_is_the_one_to_trust() {
    let (identity, file) = self_signed(&["localhost"]);
    let backend = TlsBackend::serve(server_config(&identity, BOTH_VERSIONS), answer_hi);
    let refusal =
        Refusal { reason: "tls_untrusted_certificate", warning: "unknown issuer", ..GOOD };
    expect_refusal(&Authority::new(), &backend, &refusal);
    let roundel = Roundel::start(&["--ca", file.path(), &backend.url()]);
    assert_eq!(roundel.get("/").text(), "hi");
}

#[test]
fn without_ca_only_the_public_roots_are_trusted() {
    let identity = Authority::new().issue(&["localhost"], Validity::Now);
    let backend = TlsBackend::serve(server_config(&identity, BOTH_VERSIONS), answer_hi);
    let roundel = Roundel::start(&[&backend.url()]);
    roundel.get("/").expect_reply(502, "tls_untrusted_certificate");
    assert_eq!(text(&backend.received()), "");
}

#[track_caller]
fn expect_refusal(trusted: &Authority, backend: &TlsBackend, refusal: &Refusal) {
    let authority = format!("{}:{}", refusal.host, backend.addr().port());
    let roundel = start(trusted, &[&format!("https://{authority}")], &[]);
    for request in [
        get("/secret"),
        "POST /secret HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
    ] {
        let mut client = roundel.client();
        client.send(request);
        let response = client.response();
        response.expect_reply(502, refusal.reason);
        assert_eq!(
            response.field("proxy-status"),
            Some(&*format!("roundel; error=tls_certificate_error; details=\"{}\"", refusal.reason))
        );
    }
    for line in roundel.access_log(2) {
        assert_eq!(verdict(&line), ("502", &*authority, refusal.reason));
    }
    let warning = roundel.wait_for_stderr(refusal.warning);
    assert!(warning.starts_with("WARN"), "{warning}");
    assert!(warning.contains(&authority), "{warning}");
    assert_eq!(text(&backend.received()), "", "what the backend received");
    backend.failure();
}

/// As happens when somebody makes the authority of a test network anew: same name, another key.
#[test]
fn another_authority_of_the_same_name_is_not_trusted() {
    let (trusted, stranger) = (Authority::named("Twin"), Authority::named("Twin"));
    let identity = stranger.issue(&["localhost"], Validity::Now);
    let backend = TlsBackend::serve(server_config(&identity, BOTH_VERSIONS), answer_hi);
    let refusal = Refusal {
        reason: "tls_untrusted_certificate",
        warning: "(tls_untrusted_certificate)",
        ..GOOD
    };
    expect_refusal(&trusted, &backend, &refusal);
}

#[test]
fn a_backend_with_a_bad_certificate_is_passed_over() {
    let authority = Authority::new();
    let expired = authority.issue(&["localhost"], Validity::Expired);
    let good = authority.issue(&["localhost"], Validity::Now);
    let bad = TlsBackend::serve(server_config(&expired, BOTH_VERSIONS), answer_hi);
    let good = TlsBackend::serve(server_config(&good, BOTH_VERSIONS), answer_hi);
    let roundel = start(&authority, &[&bad.url(), &good.url()], &[]);
    for _ in 0..4 {
        assert_eq!(roundel.get("/").text(), "hi");
    }
    assert_eq!(text(&bad.received()), "");
}

/// Servers that fail the handshake in other ways than by their certificate.
#[test]
fn a_failed_handshake_is_named_and_the_request_never_sent() {
    type Script = fn(&mut Wire);
    let cases: [(&str, Script); 5] = [
        ("plain HTTP behind an https URL", |wire| {
            wire.exactly(5);
            let _ = wire.try_send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            wire.rest();
        }),
        ("plain HTTP that speaks first", |wire| {
            let _ = wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            wire.rest();
        }),
        ("closes after the ClientHello", |wire| {
            wire.exactly(5);
            wire.half_close();
            wire.rest();
        }),
        ("a record that breaks off", |wire| {
            wire.exactly(5);
            let _ = wire.try_send(b"\x16\x03\x03\x00\x7a\x02\x00");
            wire.half_close();
            wire.rest();
        }),
        ("an alert", |wire| {
            wire.exactly(5);
            let _ = wire.try_send(b"\x15\x03\x03\x00\x02\x02\x28");
            wire.rest();
        }),
    ];
    for (name, script) in cases {
        let _row = row(name);
        let backend = Backend::script(script);
        let authority = format!("localhost:{}", backend.addr().port());
        let roundel = start(&Authority::new(), &[&format!("https://{authority}")], &[]);
        let response = roundel.get("/secret");
        response.expect_reply(502, "tls_handshake_failed");
        let line = &roundel.access_log(1)[0];
        assert_eq!(verdict(line), ("502", &*authority, "tls_handshake_failed"));
        let warning = roundel.wait_for_stderr("TLS handshake");
        assert!(warning.starts_with("WARN"), "{warning}");
        assert!(warning.contains(&authority), "{warning}");
        for octets in backend.received() {
            assert!(!octets.windows(7).any(|o| o == b"/secret"), "{octets:?}");
        }
    }
}

#[test]
fn a_reset_during_the_handshake_is_a_failed_handshake() {
    let backend = Backend::manual();
    let url = format!("https://localhost:{}", backend.addr().port());
    let roundel = start(&Authority::new(), &[&url], &[]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.exactly(5);
    upstream.reset();
    client.response().expect_reply(502, "tls_handshake_failed");
}

#[test]
fn a_server_that_agrees_to_no_protocol_of_ours_is_refused() {
    let authority = Authority::new();
    let mut config = server_config(&authority.issue(&["localhost"], Validity::Now), BOTH_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let backend = TlsBackend::serve(config, answer_hi);
    let roundel = start(&authority, &[&backend.url()], &[]);
    roundel.get("/").expect_reply(502, "tls_handshake_failed");
    assert_eq!(text(&backend.received()), "");
}

#[test]
fn a_handshake_that_never_ends_is_504() {
    for (name, first) in [("nothing at all", ""), ("the beginning of a record", "\x16\x03")] {
        let _row = row(name);
        let backend = Backend::script(move |wire| {
            let _ = wire.try_send(first);
            wire.rest();
        });
        let authority = format!("localhost:{}", backend.addr().port());
        let url = format!("https://{authority}");
        let options = ["--tls-timeout", "300ms"];
        let roundel = start(&Authority::new(), &[&url], &options);
        roundel.get("/").expect_reply(504, "tls_handshake_timeout");
        let line = &roundel.access_log(1)[0];
        assert_eq!(verdict(line), ("504", &*authority, "tls_handshake_timeout"));
        assert!((250..5000).contains(&line.ms()), "{line:?}");
    }
}

#[test]
fn silence_after_the_handshake_is_a_response_timeout() {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], Validity::Now);
    let backend = TlsBackend::manual(server_config(&identity, BOTH_VERSIONS));
    let roundel = start(&authority, &[&backend.url()], &["--timeout", "300ms"]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    client.response().expect_reply(504, "response_timeout");
}

#[test]
fn each_version_is_spoken_and_the_server_sees_who_is_meant() {
    for (versions, version) in [
        (TLS12, ProtocolVersion::TLSv1_2),
        (TLS13, ProtocolVersion::TLSv1_3),
        (BOTH_VERSIONS, ProtocolVersion::TLSv1_3),
    ] {
        let _row = row(format!("{version:?}"));
        let (backend, roundel) = pair(versions);
        let mut client = roundel.client();
        client.send(get("/path?query"));
        let mut upstream = backend.accept();
        assert_eq!(upstream.version(), version);
        let hello = Hello {
            server_name: Some("localhost".to_owned()),
            protocols: vec!["http/1.1".to_owned()],
        };
        assert_eq!(upstream.hello(), &hello);
        assert_eq!(upstream.protocol().as_deref(), Some("http/1.1"));
        support::assert_head(
            &upstream.head(),
            "GET /path?query HTTP/1.1",
            &[
                &format!("Host: {}", backend.authority()),
                "X-Forwarded-For: 127.0.0.1",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: a.example",
                "Via: 1.1 roundel",
            ],
        );
        upstream.send(ok("hi"));
        assert_eq!(client.response().text(), "hi");
        let line = &roundel.access_log(1)[0];
        let summary = format!("200 0 2 {} 1 new -", backend.authority());
        assert_eq!(line.summary(), summary);
    }
}

#[test]
fn an_address_is_verified_but_not_sent_as_a_name() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"], Validity::Now);
    let backend = TlsBackend::manual(server_config(&identity, BOTH_VERSIONS));
    let host = backend.addr().to_string();
    let roundel = start(&authority, &[&format!("https://{host}/prefix")], &[]);
    let mut client = roundel.client();
    client.send(get("/x"));
    let mut upstream = backend.accept();
    // RFC 6066 section 3: an address is no server name.
    assert_eq!(upstream.hello().server_name, None);
    let head = upstream.head();
    assert!(head.starts_with("GET /prefix/x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{head}");
    upstream.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn a_server_without_alpn_will_do() {
    let authority = Authority::new();
    let mut config = server_config(&authority.issue(&["localhost"], Validity::Now), BOTH_VERSIONS);
    config.alpn_protocols.clear();
    let backend = TlsBackend::serve(config, answer_hi);
    let roundel = start(&authority, &[&backend.url()], &[]);
    assert_eq!(roundel.get("/").text(), "hi");
}

#[test]
fn sessions_are_resumed() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let (backend, roundel) = pair(versions);
        let mut kinds = Vec::new();
        for _ in 0..4 {
            let mut client = roundel.client();
            client.send(get("/"));
            let mut upstream = backend.accept();
            upstream.head();
            upstream.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            assert_eq!(client.response().status(), 204);
            kinds.push(upstream.handshake_kind());
            upstream.close();
        }
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 3]);
    }
}

#[test]
fn a_connection_is_used_again() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let (backend, roundel) = pair(versions);
        let mut client = roundel.client();
        client.send(get("/first"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(ok("one"));
        assert_eq!(client.response().text(), "one");
        for turn in 0..20 {
            let body = format!("turn {turn}");
            // Another client, or the same one again.
            if turn % 2 == 0 {
                client = roundel.client();
            }
            client.send(get("/next"));
            let head = upstream.head();
            assert!(head.starts_with("GET /next HTTP/1.1\r\n"), "{head}");
            upstream.send(ok(&body));
            assert_eq!(client.response().text(), body);
        }
        assert_eq!(backend.connections(), 1);
        let reused = roundel.access_log(21);
        let reused = reused.iter().filter(|line| line.rest[6] == "reused");
        assert_eq!(reused.count(), 20);
    }
}

/// A close by roundel is one that the server can tell from a connection that broke.
#[test]
fn roundel_closes_with_close_notify() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let (backend, mut roundel) = pair(versions);
        let mut client = roundel.client();

        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        assert_eq!(client.response().text(), "hi");
        let end = upstream.rest();
        assert_eq!(end, (String::new(), TlsEnd::CloseNotify), "not persistent");

        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(ok("hi"));
        assert_eq!(client.response().text(), "hi");
        roundel.signal("TERM");
        let end = upstream.rest();
        assert_eq!(end, (String::new(), TlsEnd::CloseNotify), "idle at the end");
        assert_eq!(roundel.wait(), Some(0));
    }
}

/// What a backend does with its connection at the end.
type Act = fn(TlsWire);

/// How a backend ends a connection inside or after a response, and what the client must see.
struct Ending {
    name: &'static str,
    head: &'static str,
    body: &'static str,
    end: Act,
    /// What still comes then.
    rest: &'static str,
    /// How the client's connection ends; `None` where a body that is too short says enough.
    client: Option<End>,
    reason: &'static str,
}

const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";
const LENGTH_10: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

const ENDINGS: &[Ending] = &[
    Ending {
        name: "until close, with close_notify",
        head: UNTIL_CLOSE,
        body: "some body",
        end: TlsWire::close,
        rest: "",
        client: Some(End::Closed),
        reason: "-",
    },
    Ending {
        name: "until close, with close_notify and no FIN",
        head: UNTIL_CLOSE,
        body: "some body",
        end: |mut upstream| {
            upstream.close_notify();
            assert_eq!(upstream.rest(), (String::new(), TlsEnd::CloseNotify));
        },
        rest: "",
        client: Some(End::Closed),
        reason: "-",
    },
    Ending {
        name: "until close, with more and close_notify in one segment, and no FIN",
        head: UNTIL_CLOSE,
        body: "some body",
        end: |mut upstream| {
            upstream.send_and_close_notify(", and more");
            assert_eq!(upstream.rest(), (String::new(), TlsEnd::CloseNotify));
        },
        rest: ", and more",
        client: Some(End::Closed),
        reason: "-",
    },
    Ending {
        name: "until close, without close_notify",
        head: UNTIL_CLOSE,
        body: "some body",
        end: TlsWire::truncate,
        rest: "",
        client: Some(End::Reset),
        reason: "response_truncated",
    },
    Ending {
        name: "until close, with a reset",
        head: UNTIL_CLOSE,
        body: "some body",
        end: TlsWire::reset,
        rest: "",
        client: Some(End::Reset),
        reason: "response_truncated",
    },
    Ending {
        name: "until close, with octets that are no TLS",
        head: UNTIL_CLOSE,
        body: "some body",
        end: |mut upstream| {
            upstream.send_raw("HTTP/1.1 200 OK\r\n\r\n");
            upstream.truncate();
        },
        rest: "",
        client: Some(End::Reset),
        reason: "response_truncated",
    },
    Ending {
        name: "inside a length, with close_notify",
        head: LENGTH_10,
        body: "some body",
        end: TlsWire::close,
        rest: "",
        client: None,
        reason: "response_truncated",
    },
    Ending {
        name: "inside a length, without close_notify",
        head: LENGTH_10,
        body: "some body",
        end: TlsWire::truncate,
        rest: "",
        client: None,
        reason: "response_truncated",
    },
    Ending {
        name: "inside a chunked body, with close_notify",
        head: CHUNKED,
        body: "9\r\nsome body\r\n",
        end: TlsWire::close,
        rest: "",
        client: None,
        reason: "response_truncated",
    },
];

#[test]
fn truncation_is_never_hidden() {
    for ending in ENDINGS {
        for versions in [TLS12, TLS13] {
            let _row = row(format!("{}, {:?}", ending.name, versions[0].version));
            let (backend, roundel) = pair(versions);
            let mut client = roundel.client();
            client.send(get("/"));
            let mut upstream = backend.accept();
            upstream.head();
            upstream.send(ending.head);
            upstream.send(ending.body);
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            client.expect(ending.body);
            (ending.end)(upstream);
            let (rest, end) = client.rest();
            assert_eq!(text(&rest), ending.rest);
            assert_eq!(end, ending.client.unwrap_or(end));
            let line = &roundel.access_log(1)[0];
            assert_eq!((&*line.rest[0], line.reason()), ("200", ending.reason));
        }
    }
}

/// What came before a broken record was good.
#[test]
fn a_broken_record_takes_nothing_with_it_that_came_before() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let (backend, roundel) = pair(versions);
        let mut client = roundel.client();
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send_with_raw(ok("whole"), "no TLS");
        assert_eq!(client.response().text(), "whole");
    }
}

/// A whole response is whole however the connection ends after it.
#[test]
fn a_complete_response_needs_no_close_notify() {
    let ends: [Act; 3] = [TlsWire::close, TlsWire::truncate, TlsWire::reset];
    for (number, end) in ends.into_iter().enumerate() {
        let _row = row(format!("end {number}"));
        let (backend, roundel) = pair(BOTH_VERSIONS);
        let mut client = roundel.client();
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(ok("whole"));
        assert_eq!(client.response().text(), "whole");
        end(upstream);
        assert_eq!(roundel.access_log(1)[0].reason(), "-");
    }
}

#[test]
fn a_connection_that_ends_without_an_answer_is_a_502() {
    let cases: [(&str, Act, &[&str]); 4] = [
        ("close_notify", TlsWire::close, &["upstream_closed"]),
        // Nothing was promised yet, so nothing is truncated.
        ("FIN alone", TlsWire::truncate, &["upstream_closed"]),
        ("RST", TlsWire::reset, &["upstream_reset"]),
        (
            "no TLS any more",
            |mut upstream| {
                upstream.send_raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                upstream.truncate();
            },
            &["upstream_reset", "upstream_closed", "bad_response_head"],
        ),
    ];
    for (name, end, reasons) in cases {
        let _row = row(name);
        let (backend, roundel) = pair(BOTH_VERSIONS);
        let mut client = roundel.client();
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
        let mut upstream = backend.accept();
        upstream.head();
        end(upstream);
        let response = client.response();
        let line = &roundel.access_log(1)[0];
        assert!(reasons.contains(&line.reason()), "{line:?}");
        response.expect_reply(502, line.reason());
    }
}

/// Five MiB in which every part is different from its neighbours.
fn large_body() -> Vec<u8> {
    (0..5 * 1024 * 1024 / 4_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect()
}

/// Chunks of very different sizes.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut rest = body;
    for size in [1, 2, 16_383, 16_384, 16_385, 100_000, usize::MAX] {
        let (part, left) = rest.split_at(size.min(rest.len()));
        wire.extend(chunk(part));
        rest = left;
    }
    wire.extend(b"0\r\n\r\n");
    wire
}

/// Not `assert_eq`: nobody wants to see five MiB.
#[track_caller]
fn assert_same(got: &[u8], want: &[u8]) {
    let differs = got.iter().zip(want).position(|(a, b)| a != b);
    assert_eq!((got.len(), differs), (want.len(), None));
}

#[test]
fn large_responses_arrive_whole() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"], Validity::Now);
        let backend = TlsBackend::serve(server_config(&identity, versions), |wire, request| {
            let body = large_body();
            let response = if request.start().starts_with("GET /chunked ") {
                [CHUNKED.as_bytes(), &chunked(&body)].concat()
            } else {
                let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                [length.as_bytes(), &body].concat()
            };
            let _ = wire.try_send(response);
        });
        let roundel = start(&authority, &[&backend.url()], &[]);
        let mut client = roundel.client();
        for _ in 0..2 {
            assert_same(&client.get("/length").body, &large_body());
            assert_same(&client.get("/chunked").content(), &large_body());
        }
        assert_eq!(backend.connections(), 1);
    }
}

#[test]
fn large_requests_arrive_whole() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"], Validity::Now);
        let backend = TlsBackend::serve(server_config(&identity, versions), |wire, request| {
            let body = match request.field("transfer-encoding") {
                Some(_) => dechunk(&request.body),
                None => request.body,
            };
            assert_same(&body, &large_body());
            let _ = wire.try_send(ok("the same"));
        });
        let roundel = start(&authority, &[&backend.url()], &[]);
        let mut client = roundel.client();
        let body = large_body();
        for _ in 0..2 {
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            client.send(&body);
            assert_eq!(client.response().text(), "the same");
            client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
            client.send(chunked(&body));
            assert_eq!(client.response().text(), "the same");
        }
        assert_eq!(backend.connections(), 1);
    }
}

/// A client that does not read makes the backend wait; nothing is lost when it reads again.
#[test]
fn a_slow_client_slows_the_backend_down() {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], Validity::Now);
    let backend = TlsBackend::serve(server_config(&identity, BOTH_VERSIONS), |wire, _| {
        let body = large_body();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = wire.try_send([head.as_bytes(), &body].concat());
    });
    let roundel = start(&authority, &[&backend.url()], &[]);
    let stream = roundel.client().into_stream();
    SockRef::from(&stream).set_recv_buffer_size(64 * 1024).expect("SO_RCVBUF");
    let mut client = Wire::new(stream, Arc::default());
    client.send(get("/"));
    client.head();
    let body = large_body();
    for part in body.chunks(body.len() / 16) {
        assert_same(&client.exactly(part.len()), part);
    }
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\n\r\n";

fn tunnel(versions: &[&'static SupportedProtocolVersion]) -> (TlsBackend, Roundel, Wire, TlsWire) {
    let (backend, roundel) = pair(versions);
    let mut client = roundel.client();
    client.send(format!("{UPGRADE}early from the client"));
    let mut upstream = backend.accept();
    let head = upstream.head();
    assert!(head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    upstream.send(format!("{SWITCHING}early from the server"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.expect("early from the server");
    upstream.expect("early from the client");
    (backend, roundel, client, upstream)
}

#[test]
fn a_tunnel_carries_both_directions_and_the_client_may_end_first() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let (_backend, _roundel, mut client, mut upstream) = tunnel(versions);
        for turn in 0..10 {
            let octets = format!("turn {turn}").repeat(turn * turn * 40 + 1);
            client.send(&octets);
            upstream.expect(&octets);
            upstream.send(&octets);
            client.expect(&octets);
        }
        client.send("last from the client");
        client.half_close();
        let end = upstream.rest();
        let wanted = ("last from the client".to_owned(), TlsEnd::CloseNotify);
        assert_eq!(end, wanted);
        upstream.send("after the half-close");
        client.expect("after the half-close");
        upstream.close();
        client.expect_closed();
    }
}

#[test]
fn a_tunnel_whose_server_ends_first() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let (_backend, _roundel, mut client, mut upstream) = tunnel(versions);
        upstream.send_and_close_notify("last from the server");
        client.expect("last from the server");
        client.expect_closed();
        // TLS 1.2 asks for an end of both directions at once (RFC 5246 section 7.2.1); TLS 1.3
        // lets the other one go on (RFC 8446 section 6.1).
        if versions == TLS13 {
            client.send("after the half-close");
            upstream.expect("after the half-close");
        }
        client.half_close();
        assert_eq!(upstream.rest(), (String::new(), TlsEnd::CloseNotify));
    }
}

/// The handshake and the first exchanges, octet by octet in both directions.
#[test]
fn octets_may_come_one_by_one() {
    for (name, versions) in [("1.2", TLS12), ("1.3", TLS13)] {
        let _row = row(name);
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"], Validity::Now);
        let backend = TlsBackend::serve(server_config(&identity, versions), |wire, request| {
            let _ = wire.try_send(ok(&format!("{} {}", request.start(), request.text())));
        });
        let between = dribble(backend.addr());
        let url = format!("https://localhost:{}", between.port());
        let roundel = start(&authority, &[&url], &[]);
        let mut client = roundel.client();
        assert_eq!(client.get("/one").text(), "GET /one HTTP/1.1 ");
        client.send("POST /two HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(client.response().text(), "POST /two HTTP/1.1 hello");
    }
}

#[test]
fn a_record_may_hold_a_single_octet() {
    for (name, response, body) in [
        ("length", &*ok("a body"), "a body"),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\na body\r\n0\r\n\r\n",
            "6\r\na body\r\n0\r\n\r\n",
        ),
        (
            "after interim responses",
            "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\n\
             Content-Length: 6\r\n\r\na body",
            "a body",
        ),
    ] {
        let _row = row(name);
        let (backend, roundel) = pair(BOTH_VERSIONS);
        let mut client = roundel.client();
        client.send(get("/"));
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send_octet_by_octet(response);
        let mut got = client.response();
        if got.status() == 103 {
            got = client.response();
        }
        assert_eq!((got.status(), got.text().as_str()), (200, body));
    }
}

/// Several responses' worth of records in one segment: only the first is anybody's.
#[test]
fn what_follows_a_response_unasked_ends_the_connection() {
    let (backend, roundel) = pair(BOTH_VERSIONS);
    let mut client = roundel.client();
    client.send(get("/first"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(format!("{}{}", ok("first"), ok("smuggled")));
    assert_eq!(client.response().text(), "first");
    client.send(get("/second"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("second"));
    assert_eq!(client.response().text(), "second");
    roundel.wait_for_stderr("WARN");
}

/// The client must never pay for a connection that ended while nobody used it. What was closed a
/// moment ago may not have been seen yet: then a GET is tried again. A POST cannot be, so before it
/// this waits until roundel has let go of the connection.
#[test]
fn a_pooled_connection_that_ends_is_not_noticed() {
    /// Gives the connection back where its socket stays open.
    type End = fn(TlsWire) -> Option<TlsWire>;
    let ends: [(&str, End); 4] = [
        ("close_notify and FIN", |upstream| {
            upstream.close();
            None
        }),
        ("close_notify alone", |mut upstream| {
            upstream.close_notify();
            Some(upstream)
        }),
        ("FIN alone", |upstream| {
            upstream.truncate();
            None
        }),
        ("RST", |upstream| {
            upstream.reset();
            None
        }),
    ];
    for (name, end) in ends {
        let _row = row(name);
        let (backend, roundel) = pair(BOTH_VERSIONS);
        let mut client = roundel.client();
        for turn in 0..5 {
            let _row = row(format!("turn {turn}"));
            let method = ["POST", "GET"][turn % 2];
            client.send(format!(
                "{method} / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
            ));
            let mut upstream = backend.accept();
            upstream.head();
            upstream.send(ok("hi"));
            assert_eq!(client.response().text(), "hi");
            let before = descriptor_count(&roundel);
            let _open = end(upstream);
            if method == "GET" {
                wait_until(|| descriptor_count(&roundel) < before);
            }
        }
        assert_eq!(backend.connections(), 5);
    }
}

/// How many descriptors roundel has open; only Linux tells.
fn descriptor_count(roundel: &Roundel) -> usize {
    fs::read_dir(format!("/proc/{}/fd", roundel.id())).map_or(0, Iterator::count)
}

/// Waits until it is so. Where nobody tells, this is a pause.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
fn wait_until(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    let patience = if cfg!(target_os = "linux") { PATIENCE } else { Duration::from_millis(100) };
    while !condition() && begin.elapsed() < patience {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(condition() || cfg!(not(target_os = "linux")), "it never came");
}

/// A record without an octet of HTTP on an idle connection is no reason to give it up.
#[test]
fn an_idle_connection_survives_a_change_of_keys() {
    let (backend, roundel) = pair(TLS13);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
    for _ in 0..3 {
        upstream.update_keys();
        client.send(get("/"));
        upstream.head();
        upstream.send(ok("hi again"));
        assert_eq!(client.response().text(), "hi again");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn octets_on_an_idle_connection_end_it() {
    let (backend, roundel) = pair(BOTH_VERSIONS);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
    upstream.send(ok("unasked"));
    let (rest, _) = upstream.rest();
    assert_eq!(rest, "", "roundel closes");
    let warning = roundel.wait_for_stderr("WARN");
    assert!(warning.contains(&backend.authority()), "{warning}");
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("asked"));
    assert_eq!(client.response().text(), "asked");
}

/// An abort by the client reaches the backend as one, and its connection is not used again.
#[test]
fn a_client_that_gives_up_ends_the_upstream_connection() {
    let (backend, roundel) = pair(BOTH_VERSIONS);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    client.reset();
    let (rest, _) = upstream.rest();
    assert_eq!(rest, "");
    let line = &roundel.access_log(1)[0];
    assert_eq!((&*line.rest[0], line.reason()), ("-", "client_reset"));
    let mut client = roundel.client();
    client.send(get("/again"));
    let mut upstream = backend.accept();
    let head = upstream.head();
    assert!(head.starts_with("GET /again "), "{head}");
    upstream.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
}

/// One refusal leaves nothing behind that the next one could trip over.
#[test]
fn many_requests_to_a_bad_backend_are_all_answered() {
    let authority = Authority::new();
    let expired = authority.issue(&["localhost"], Validity::Expired);
    let backend = TlsBackend::serve(server_config(&expired, BOTH_VERSIONS), answer_hi);
    let roundel = start(&authority, &[&backend.url()], &[]);
    let mut client = roundel.client();
    for _ in 0..50 {
        client.get("/").expect_reply(502, "tls_expired_certificate");
    }
    let mut clients: Vec<Wire> = (0..20).map(|_| roundel.client()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    for client in &mut clients {
        let response = client.response();
        response.expect_reply(502, "tls_expired_certificate");
    }
    assert_eq!(text(&backend.received()), "");
}
