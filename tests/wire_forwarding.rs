//! Who asked, as the backend is told: forwarding fields of strangers and of trusted proxies, request
//! ids, and hops.

mod support;

use support::*;

const CLAIMS: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 192.0.2.1\r\n\
     x-forwarded-for: 192.0.2.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\n\
     X-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Forwarded-Port: 443\r\n\
     X_Forwarded_For: 192.0.2.3\r\nX_Real-IP: 192.0.2.3\r\nX-Request-Id: chosen-1\r\n\r\n";

#[test]
fn the_claims_of_a_stranger_are_replaced() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--trust", "10.0.0.0/8", "--trust", "::1"]);
    let mut client = roundel.client();
    client.send(CLAIMS);
    let request = backend.accept().request().expect("a request");
    assert_head(
        &request.head,
        "GET / HTTP/1.1",
        &[
            "Host: a.example",
            "X-Request-Id: chosen-1",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: a.example",
            "X-Real-IP: 127.0.0.1",
            "Forwarded: for=127.0.0.1;proto=http",
            "Via: 1.1 roundel",
        ],
    );
}

#[test]
fn the_claims_of_a_trusted_proxy_are_kept_and_added_to() {
    let backend = Backend::manual();
    let roundel = Roundel::over(&[&backend], &["--trust", "127.0.0.0/8"]);
    let mut client = roundel.client();
    client.send(CLAIMS);
    let request = backend.accept().request().expect("a request");
    assert_head(
        &request.head,
        "GET / HTTP/1.1",
        &[
            "Host: a.example",
            "X-Request-Id: chosen-1",
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

#[test]
fn a_request_id_is_made_passed_on_and_logged() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    let mut client = roundel.client();
    for id in ["", "X-Request-Id: two words\r\n", "X-Request-Id: good\r\n"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{id}\r\n"));
        assert_eq!(client.response().text(), "ok");
    }
    let seen = text(&backend.received().concat());
    let ids: Vec<&str> =
        seen.lines().filter_map(|line| line.strip_prefix("X-Request-Id: ")).collect();
    assert_eq!(ids.len(), 3, "{seen}");
    assert!(is_fresh_request_id(&format!("X-Request-Id: {}", ids[0])), "{ids:?}");
    assert!(is_fresh_request_id(&format!("X-Request-Id: {}", ids[1])), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[2], "good");
    let logged: Vec<String> =
        roundel.access_log(3).into_iter().map(|line| line.request_id).collect();
    assert_eq!(logged, ids);
}

#[test]
fn options_ends_where_its_hops_end() {
    let backend = Backend::named("the backend");
    let roundel = Roundel::over(&[&backend], &[]);
    let mut client = roundel.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 0\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("proxy-status"), None, "nothing failed");
    assert!(answer.text().contains("hop_limit"), "{}", answer.text());
    assert!(backend.received().is_empty());
    client.send("OPTIONS / HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 1\r\n\r\n");
    assert_eq!(client.response().text(), "the backend");
    assert!(text(&backend.received().concat()).contains("\r\nMax-Forwards: 0\r\n"));
    client.send("OPTIONS / HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: -1\r\n\r\n");
    client.response().expect_reply(400, "bad_field");
}
