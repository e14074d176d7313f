//! Upgrades: who gets a tunnel, and that a tunnel passes everything and nothing else.

mod support;

use std::time::Duration;

use support::*;
use tungstenite::{Message as Frame, accept};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";

/// A tunnel between a client and the backend, both ends in the test's hands.
fn tunnel(roundel: &Roundel, backend: &Backend) -> (Wire, Wire) {
    let mut client = roundel.client();
    client.send(UPGRADE);
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(SWITCH);
    assert_eq!(client.response().status(), 101);
    (client, upstream)
}

/// A head whose `Connection` value is lower-cased: an option's case means nothing.
fn with_plain_connection(head: &str) -> String {
    head.replace("onnection: Upgrade", "onnection: upgrade")
}

#[test]
fn both_sides_agree_on_the_upgrade() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(UPGRADE);
    let mut upstream = backend.accept();
    let lines =
        forwarded_and(&["Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"]);
    assert_head(&with_plain_connection(&upstream.head()), "GET /chat HTTP/1.1", &lines);
    upstream.send(SWITCH);
    assert_head(
        &with_plain_connection(&client.head()),
        "HTTP/1.1 101 Switching Protocols",
        &["Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: y"],
    );
    for octets in ["\0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "0\r\n\r\n"] {
        client.send(octets);
        upstream.expect(octets);
        upstream.send(octets);
        client.expect(octets);
    }
}

#[test]
fn octets_sent_early_are_kept_on_both_sides() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send([UPGRADE, "early from the client"].concat());
    let mut upstream = backend.accept();
    upstream.head();
    // It may be another request, as far as anybody knows: it waits for the answer.
    upstream.expect_silence(Duration::from_millis(200));
    upstream.send([SWITCH, "early from the backend"].concat());
    upstream.expect("early from the client");
    client.response();
    client.expect("early from the backend");
}

#[test]
fn each_direction_ends_by_itself() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);

    let (mut client, mut upstream) = tunnel(&roundel, &backend);
    client.send("last words");
    client.half_close();
    assert_eq!(upstream.rest(), (b"last words".to_vec(), End::Closed));
    upstream.send("and an answer");
    client.expect("and an answer");
    upstream.close();
    client.expect_closed();

    let (mut client, mut upstream) = tunnel(&roundel, &backend);
    upstream.send("last words");
    upstream.half_close();
    assert_eq!(client.rest(), (b"last words".to_vec(), End::Closed));
    client.send("and an answer");
    upstream.expect("and an answer");
    client.close();
    upstream.expect_closed();

    for line in roundel.access_log(2) {
        assert_eq!((line.rest[0].as_str(), line.reason()), ("101", "-"), "{line:?}");
    }
}

/// Early octets and the end, all before the tunnel is there.
#[test]
fn a_half_close_sent_early_is_kept() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send([UPGRADE, "all I have to say"].concat());
    client.half_close();
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send([SWITCH, "understood"].concat());
    upstream.half_close();
    assert_eq!(upstream.rest(), (b"all I have to say".to_vec(), End::Closed));
    client.response();
    assert_eq!(client.rest(), (b"understood".to_vec(), End::Closed));
}

#[test]
fn a_reset_of_one_side_ends_the_other() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let (client, mut upstream) = tunnel(&roundel, &backend);
    client.reset();
    upstream.expect_gone();
    let (mut client, upstream) = tunnel(&roundel, &backend);
    upstream.reset();
    client.expect_gone();
}

#[test]
fn a_tunnel_carries_much_both_ways_at_once() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let (mut client, mut upstream) = tunnel(&roundel, &backend);
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    let copy = content.clone();
    // The backend sends all of it before it reads anything, while the client does the same.
    let peer = std::thread::spawn(move || {
        let mut sender = upstream.second_handle();
        let sending = std::thread::spawn({
            let copy = copy.clone();
            move || sender.send(&copy)
        });
        assert!(upstream.exactly(copy.len()) == copy);
        sending.join().expect("sent");
    });
    let mut sender = client.second_handle();
    let sending = std::thread::spawn({
        let content = content.clone();
        move || sender.send(&content)
    });
    assert!(client.exactly(content.len()) == content);
    sending.join().expect("sent");
    peer.join().expect("the same at the other end");
}

/// The backend may say no: then all is as without.
#[test]
fn a_refused_upgrade_is_an_ordinary_exchange() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send([UPGRADE, &get("/next")].concat());
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let response = client.response();
    assert_head(&response.head, "HTTP/1.1 403 Forbidden", &["Content-Length: 2"]);
    assert!(upstream.head().starts_with("GET /next HTTP/1.1\r\n"), "on the same connection");
    upstream.send(ok("next"));
    assert_eq!(client.response().text(), "next");
}

#[test]
fn a_426_may_say_what_it_wants() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nup");
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (426, "up"));
}

/// Who does not ask in both fields, or asks in HTTP/1.0, or for h2c, asks for nothing.
#[test]
fn what_is_no_upgrade_is_not_passed_on() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    for (name, request) in [
        ("no Connection", "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n"),
        ("no Upgrade", "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\n\r\n"),
        (
            "HTTP/1.0",
            "GET / HTTP/1.0\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "h2c",
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade, http2-settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        ),
        ("H2C", "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: H2C\r\n\r\n"),
    ] {
        let _row = row(name);
        let mut client = roundel.client();
        client.send(request);
        let mut upstream = backend.accept();
        let head = upstream.head().to_ascii_lowercase();
        assert!(!head.contains("upgrade"), "{head}");
        assert!(!head.contains("h2c") && !head.contains("http2"), "{head}");
        upstream.send(SWITCH);
        client.response().expect_reply(502, "unexpected_upgrade");
        upstream.expect_gone();
    }
}

/// A backend changes to what it was offered, names it, and says so in 1.1; or there is no tunnel.
#[test]
fn a_101_that_does_not_fit_the_offer_is_502() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    for (name, switch) in [
        ("another protocol", SWITCH.replace("websocket", "foo")),
        ("another one besides", SWITCH.replace("websocket", "websocket, foo")),
        ("no protocol", SWITCH.replace("Upgrade: websocket\r\n", "")),
        ("no option", SWITCH.replace("Connection: Upgrade\r\n", "")),
        ("HTTP/1.0", SWITCH.replace("HTTP/1.1", "HTTP/1.0")),
    ] {
        let _row = row(name);
        let mut client = roundel.client();
        client.send(UPGRADE);
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(switch);
        client.response().expect_reply(502, "unexpected_upgrade");
        upstream.expect_gone();
    }
}

/// What is no protocol is not offered.
#[test]
fn only_protocols_are_offered() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(UPGRADE.replace("websocket", "we(b, \"x\", a/b/c, a;b=c, /1, a/1, websocket"));
    let head = backend.accept().head();
    assert!(head.contains("Upgrade: a/1, websocket\r\n"), "{head}");
}

#[test]
fn h2c_is_not_passed_on_beside_others_either() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade, http2-settings\r\n\
         Upgrade: h2c, websocket\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    let mut upstream = backend.accept();
    let head = upstream.head().to_ascii_lowercase();
    assert!(!head.contains("h2c") && !head.contains("http2"), "{head}");
}

/// The silence that ends an exchange does not end a tunnel.
#[test]
fn a_tunnel_may_be_silent_longer_than_an_exchange() {
    let backend = Backend::manual();
    let options = ["--timeout", "200ms", "--idle-timeout", "200ms", "--head-timeout", "200ms"];
    let roundel = Roundel::over(&[&backend], &options);
    let (mut client, mut upstream) = tunnel(&roundel, &backend);
    client.expect_silence(Duration::from_millis(800));
    client.send("still there?");
    upstream.expect("still there?");
    upstream.send("yes");
    client.expect("yes");
}

#[test]
fn a_real_websocket_echoes() {
    let backend = Backend::script(|wire| {
        let mut socket = accept(wire.second_handle().into_stream()).expect("a handshake");
        while let Ok(frame) = socket.read() {
            if frame.is_text() || frame.is_binary() {
                socket.send(frame).expect("an echo");
            }
        }
    });
    let roundel = Roundel::over(&[&backend], &[]);
    for _ in 0..2 {
        let url = format!("ws://{}/echo", roundel.addr());
        let stream = roundel.client().into_stream();
        let (mut socket, response) = tungstenite::client(url, stream).expect("a handshake");
        assert_eq!(response.status(), 101);
        let frames = [
            Frame::text("hello"),
            Frame::binary(Vec::new()),
            Frame::binary(vec![7; 300_000]),
            Frame::text("é".repeat(1000)),
        ];
        for frame in frames {
            socket.send(frame.clone()).expect("sent");
            assert_eq!(socket.read().expect("an echo"), frame);
        }
        socket.close(None).expect("a close frame");
        while socket.read().is_ok() {}
    }
}
