//! The desk for operators: what it tells after a mixed load, whom it turns away, and that nobody who
//! misbehaves there is felt by the traffic.

mod support;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use support::*;

/// roundel with a desk, and where that is.
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn with_desk(arguments: &[&str]) -> (Roundel, SocketAddr) {
    let arguments: Vec<&str> = [&["--admin", "127.0.0.1:0"], arguments].concat();
    let roundel = Roundel::start(&arguments);
    let line = roundel.wait_for_stderr("admin on http://");
    let (_, address) = line.split_once("admin on http://").expect("an address");
    let address = address.split('\x1b').next().and_then(|text| text.parse().ok());
    (roundel, address.expect("an address"))
}

fn ask(desk: SocketAddr, target: &str) -> Message {
    Wire::connect(desk).get(target)
}

/// Every value of a page of metrics under its name and labels.
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn metrics(desk: SocketAddr) -> BTreeMap<String, f64> {
    let page = ask(desk, "/metrics");
    assert_eq!(page.status(), 200);
    let text = page.text();
    let values = text.lines().filter(|line| !line.starts_with('#'));
    values
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn health_and_readiness() {
    let backend = Backend::manual();
    let (roundel, desk) = with_desk(&["--drain-timeout", "60s", &backend.url()]);
    assert_eq!(ask(desk, "/healthz").text(), "ok\n");
    assert_eq!(ask(desk, "/ready").text(), "ready\n");
    assert_eq!(ask(desk, "/ready?verbose").status(), 200);
    assert_eq!(ask(desk, "/nothing").status(), 404);

    // With a request open it goes on for a while, and says so.
    let mut client = roundel.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    let mut asked = backend.accept();
    asked.head();
    roundel.signal("TERM");
    roundel.wait_for_stderr("stopping");
    let ready = ask(desk, "/ready");
    assert_eq!((ready.status(), ready.text().as_str()), (503, "stopping\n"));
    assert_eq!(ask(desk, "/healthz").status(), 200);
    client.send("llo");
    asked.send(ok("hello"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn nobody_in_is_not_ready() {
    let dead = ClosedPort::new();
    let url = dead.url();
    let (roundel, desk) = with_desk(&[&url]);
    assert_eq!(ask(desk, "/ready").status(), 200, "nobody knows yet");
    for _ in 0..3 {
        assert_eq!(roundel.get("/").status(), 502);
    }
    let ready = ask(desk, "/ready");
    assert_eq!((ready.status(), ready.text().as_str()), (503, "no backend is in\n"));
    let values = metrics(desk);
    let label = url.trim_start_matches("http://");
    assert_eq!(values[&format!("roundel_backend_up{{backend=\"{label}\"}}")], 0.0);
    assert_eq!(values["roundel_ready"], 0.0);
}

#[test]
fn what_happened_is_counted() {
    let backend = Backend::serve(|wire, request| match request.start() {
        "GET /404 HTTP/1.1" => wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        "GET /broken HTTP/1.1" => wire.send("HTTP/1.1 nonsense\r\n\r\n"),
        _ => wire.send(ok("hello")),
    });
    let dead = ClosedPort::new();
    let dead_url = dead.url();
    let url = backend.url();
    let (roundel, desk) = with_desk(&[&url, &dead_url]);

    assert_eq!(roundel.get("/broken").status(), 502);
    let mut client = roundel.client();
    for _ in 0..6 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(client.get("/404").status(), 404);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().status(), 200);
    client.send("BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    let mut wrong = roundel.client();
    wrong.send("nonsense\r\n\r\n");
    assert_eq!(wrong.response().status(), 400);

    let values = metrics(desk);
    let value = |name: &str| values.get(name).copied().unwrap_or_default();
    let label = url.trim_start_matches("http://");
    let dead_label = dead_url.trim_start_matches("http://");
    for (name, want) in [
        ("roundel_http_requests_total{code=\"200\",method=\"GET\"}", 6.0),
        ("roundel_http_requests_total{code=\"404\",method=\"GET\"}", 1.0),
        ("roundel_http_requests_total{code=\"200\",method=\"POST\"}", 1.0),
        ("roundel_http_requests_total{code=\"200\",method=\"other\"}", 1.0),
        ("roundel_http_requests_total{code=\"502\",method=\"GET\"}", 1.0),
        ("roundel_http_requests_total{code=\"400\",method=\"other\"}", 1.0),
        (&format!("roundel_backend_requests_total{{backend=\"{label}\",code=\"200\"}}"), 8.0),
        (&format!("roundel_backend_requests_total{{backend=\"{label}\",code=\"404\"}}"), 1.0),
        (
            &format!(
                "roundel_backend_errors_total{{backend=\"{label}\",reason=\"bad_response_head\"}}"
            ),
            1.0,
        ),
        (&format!("roundel_backend_up{{backend=\"{label}\"}}"), 1.0),
        ("roundel_http_request_duration_seconds_count", 10.0),
        ("roundel_http_request_duration_seconds_bucket{le=\"+Inf\"}", 10.0),
        ("roundel_proxy_overhead_seconds_count", 9.0),
        ("roundel_body_bytes_total{direction=\"in\"}", 5.0),
        ("roundel_connections{side=\"client\",state=\"idle\"}", 1.0),
        ("roundel_connections{side=\"backend\",state=\"idle\"}", 1.0),
        ("roundel_ready", 1.0),
        ("roundel_config_last_reload_successful", 1.0),
        ("roundel_access_log_lost_lines_total", 0.0),
    ] {
        assert_eq!(value(name), want, "{name} in {values:#?}");
    }
    // Every second first try met nobody, until three in a row had.
    let refused = format!(
        "roundel_backend_errors_total{{backend=\"{dead_label}\",reason=\"connect_refused\"}}"
    );
    assert_eq!(
        (value(&refused), value("roundel_retries_total{reason=\"connect_refused\"}")),
        (3.0, 3.0)
    );
    assert_eq!(value(&format!("roundel_backend_up{{backend=\"{dead_label}\"}}")), 0.0);
    assert!(value("roundel_pool_reused_total") >= 8.0);
    let spent = value("roundel_proxy_overhead_seconds_sum");
    assert!(spent > 0.0 && spent < value("roundel_http_request_duration_seconds_sum") + 10.0);
}

#[test]
fn metrics_have_help_and_type_once_each() {
    let backend = Backend::named("ok");
    let (roundel, desk) = with_desk(&[&backend.url()]);
    roundel.get("/");
    let page = ask(desk, "/metrics");
    assert_eq!(page.field("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = page.text();
    let mut families: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help");
            assert!(help.ends_with('.') && !families.contains(&name), "{line}");
            families.push(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.starts_with(families.last().expect("help before type")), "{line}");
        } else {
            assert!(line.starts_with(families.last().expect("a family")), "{line}");
        }
    }
    assert!(families.len() >= 18, "{families:?}");
}

#[test]
fn whom_the_desk_does_not_serve() {
    let backend = Backend::named("ok");
    let (_roundel, desk) = with_desk(&[&backend.url()]);
    let cases = [
        ("a post", "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        ("nonsense", "nonsense\r\n\r\n", 400),
        ("a bare line feed", "GET / HTTP/1.1\nHost: a\n\n", 400),
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n", 400),
    ];
    for (name, request, status) in cases {
        let _row = row(name);
        let mut visit = Wire::connect(desk);
        visit.send(request);
        let answer = visit.response();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.field("Connection"), Some("close"));
        visit.expect_closed();
    }
    let mut long = Wire::connect(desk);
    long.send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)));
    assert!([414, 431].contains(&long.response().status()));
    let mut head = Wire::connect(desk);
    head.send("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.response_to_head().status(), 200);
    head.expect_closed();
    let mut half = Wire::connect(desk);
    half.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    half.half_close();
    assert_eq!(half.response().status(), 200);
}

#[test]
fn a_crowd_at_the_desk_is_not_felt_by_clients() {
    let backend = Backend::named("ok");
    let (roundel, desk) = with_desk(&[&backend.url()]);
    // More than are let in, and none of them says anything.
    let crowd: Vec<Wire> = (0..100).map(|_| Wire::connect(desk)).collect();
    for _ in 0..20 {
        assert_eq!(roundel.get("/").text(), "ok");
    }
    let mut late = Wire::connect(desk);
    late.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    late.expect_silence(Duration::from_millis(50));
    drop(crowd);
    assert_eq!(late.response().text(), "ok\n");
}

#[test]
fn an_address_that_others_reach_is_warned_of() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--admin", "0.0.0.0:0"]);
    roundel.wait_for_stderr("everybody who reaches this address");
}
