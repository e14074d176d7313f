//! The desk for operators: what it tells after a mixed load, whom it turns away, and that nobody who
//! misbehaves there is felt by the traffic.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::PathBuf,
};

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

/// Prometheus would take nothing at all of a page on which two values have the same labels.
#[test]
fn no_two_values_have_the_same_labels() {
    let backend = Backend::named("ok");
    let urls = ["", "/a", "/b"].map(|prefix| format!("{}{prefix}", backend.url()));
    let (roundel, desk) = with_desk(&urls.each_ref().map(String::as_str));
    for _ in 0..3 {
        assert_eq!(roundel.get("/").text(), "ok");
    }
    let text = ask(desk, "/metrics").text();
    let names: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(distinct.len(), names.len(), "{text}");
    let label = backend.url().replace("http://", "");
    assert!(text.contains(&format!("roundel_backend_up{{backend=\"{label}#3\"}} 1")), "{text}");
}

/// A mixed load over a backend that is well, one that is not there, and one whose certificate nobody
/// checks, with what an attacker would like to see on the page.
fn after_a_mixed_load() -> (Roundel, SocketAddr, [String; 3]) {
    let backend = Backend::serve(|wire, request| match request.start() {
        "GET /404 HTTP/1.1" => wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        start if start.starts_with("GET /broken") => wire.send("HTTP/1.1 nonsense\r\n\r\n"),
        _ => wire.send(ok("hello")),
    });
    let dead = ClosedPort::new();
    let urls = [
        backend.url(),
        format!("{},drain", dead.url()),
        format!("{},insecure,backup", dead.url().replace("http:", "https:")),
    ];
    let log = format!("{}/<b>&'.log", env!("CARGO_TARGET_TMPDIR"));
    let options = ["--timeout", "5s", "--access-log", &log];
    let arguments = [&options[..], &urls.each_ref().map(String::as_str)].concat();
    let (roundel, desk) = with_desk(&arguments);
    for _ in 0..3 {
        assert_eq!(roundel.get("/").status(), 200);
    }
    assert_eq!(roundel.get("/404").status(), 404);
    assert_eq!(roundel.get("/broken?&lt;script&gt;'").status(), 502);
    let mut wrong = roundel.client();
    wrong.send(b"GET /<script>\"\xff\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wrong.response().status(), 400);
    let label = |url: &String| {
        let (_, rest) = url.split_once("//").unwrap_or_default();
        rest.split(',').next().unwrap_or_default().to_owned()
    };
    let labels = urls.each_ref().map(label);
    (roundel, desk, labels)
}

#[test]
fn the_status_is_json() {
    let (roundel, desk, labels) = after_a_mixed_load();
    let answer = ask(desk, "/status");
    assert_eq!(answer.field("Content-Type"), Some("application/json"));
    let status = json(&answer.text());
    let listener = roundel.addr().to_string();
    for (name, want) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("readiness", "ready"),
        ("listeners.0", &listener),
        ("reload", "null"),
        ("access_log_lost_lines", "0"),
        ("backends.0.backend", &labels[0]),
        ("backends.0.state", "up"),
        ("backends.0.is_in", "true"),
        ("backends.0.since", "null"),
        ("backends.0.backup", "false"),
        ("backends.0.insecure", "false"),
        ("backends.0.connections.busy", "0"),
        ("backends.0.responses.200", "3"),
        ("backends.0.responses.404", "1"),
        ("backends.0.errors.bad_response_head", "1"),
        ("backends.0.waiting", "0"),
        ("backends.1.drained", "true"),
        ("backends.1.state", "drained"),
        ("backends.1.is_in", "false"),
        ("backends.2.backend", &labels[2]),
        ("backends.2.backup", "true"),
        ("backends.2.insecure", "true"),
        ("queued", "0"),
        ("requests.200", "3"),
        ("requests.404", "1"),
        ("requests.502", "1"),
        ("requests.400", "1"),
        ("body_bytes.out", &body_bytes(&status)),
        ("history.step_seconds", "5"),
        ("troubles.0.reason", "bad_response_head"),
        ("troubles.0.sentence", "The server's response is malformed."),
        ("troubles.0.status", "502"),
        ("troubles.0.backend", &labels[0]),
        ("troubles.0.request", "GET /broken?&lt;script&gt;'"),
        ("troubles.1.reason", "bad_target"),
        ("troubles.1.backend", "null"),
        ("troubles.1.request", ""),
    ] {
        assert_eq!(status.get(name).map(String::as_str), Some(want), "{name} in {status:#?}");
    }
    assert!(status["time"] >= status["started"]);
    let setting = |name: &str| setting(&status, name);
    let pair = |value: &str, default: &str| (value.to_owned(), default.to_owned());
    assert_eq!(setting("timeout"), pair("5s", "60s"));
    assert!(setting("access-log").0.ends_with("/<b>&'.log"));
    assert_eq!(setting("queue-timeout"), pair("5s", "5s"));
}

/// The value of an option, and its default.
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn setting(status: &BTreeMap<String, String>, name: &str) -> (String, String) {
    let is_it = |entry: &(&String, &String)| entry.1 == name && entry.0.ends_with(".name");
    let (place, _) = status.iter().find(is_it).expect(name);
    let place = place.trim_end_matches(".name");
    (status[&format!("{place}.value")].clone(), status[&format!("{place}.default")].clone())
}

/// After another configuration is in force, that is what is shown.
#[test]
fn the_settings_are_those_in_force() {
    let backend = Backend::named("ok");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("settings-in-force.toml");
    let write = |timeout: &str| {
        let backend = format!("[[backend]]\nurl = '{}'\n", backend.url());
        fs::write(&file, format!("timeout = '{timeout}'\n{backend}")).expect("a file");
    };
    write("5s");
    let (roundel, desk) = with_desk(&["--config", file.to_str().expect("a path in UTF-8")]);
    let shown = || json(&ask(desk, "/status").text());
    let (before, default) = setting(&shown(), "timeout");
    assert_eq!((before.as_str(), default.as_str()), ("5s", "60s"));
    write("7s");
    roundel.signal("HUP");
    roundel.wait_for_stderr("reloaded ");
    let status = shown();
    assert_eq!(setting(&status, "timeout").0, "7s");
    assert_eq!(status["reload.succeeded"], "true");
    write("nonsense");
    roundel.signal("HUP");
    roundel.wait_for_stderr("nothing has changed");
    let status = shown();
    assert_eq!(setting(&status, "timeout").0, "7s");
    assert_eq!(status["reload.succeeded"], "false");
    assert!(ask(desk, "/").text().contains("<strong>Not reloaded:</strong>"));
}

/// What is free to be worded otherwise, but has to be more than the three hellos.
fn body_bytes(status: &BTreeMap<String, String>) -> String {
    let octets = status.get("body_bytes.out").cloned().unwrap_or_default();
    assert!(octets.parse::<u64>().is_ok_and(|octets| octets > 15), "{octets:?}");
    octets
}

/// The text in the element with this id, without markup.
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn text_of(page: &str, element: &str, id: &str) -> String {
    let (_, rest) = page.split_once(&format!("id=\"{id}\"")).expect(id);
    let (inside, _) = rest.split_once(&format!("</{element}>")).expect("its end");
    let (_, inside) = inside.split_once('>').expect("the end of its tag");
    let pieces: Vec<&str> =
        inside.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    pieces.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_says_everything_without_scripts() {
    let (roundel, desk, labels) = after_a_mixed_load();
    let answer = ask(desk, "/");
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    let page = answer.text();
    assert_eq!(text_of(&page, "strong", "readiness"), "Ready");
    let backends = text_of(&page, "table", "backends");
    for part in [
        format!("{} ● up since the start", labels[0]),
        "3 200 1 404 1 bad_response_head".to_owned(),
        format!("{} ○ drained", labels[1]),
        format!("{} backup insecure", labels[2]),
    ] {
        assert!(backends.contains(&part), "{part} in {backends}");
    }
    assert_eq!(text_of(&page, "table", "answers"), "Status Requests 200 3 400 1 404 1 502 1");
    assert!(text_of(&page, "table", "connections").contains("requests that wait for room 0"));
    let settings = text_of(&page, "table", "settings");
    assert!(settings.starts_with("timeout 5s not 60s"), "{settings}");
    let troubles = text_of(&page, "ol", "troubles");
    let sentence = "bad_response_head The server&#39;s response is malformed.";
    assert!(troubles.contains(sentence), "{troubles}");
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>"));
    assert!(page.contains(&format!("listening on {}", roundel.addr())));
    assert!(page.contains("<strong>Insecure:</strong> the certificate of"), "loudly");
    // Each drawing says in words what it shows.
    let drawings = page.matches("<svg role=\"img\"").count();
    assert_eq!((drawings, page.matches("five minutes: ").count()), (2, 2));
}

#[test]
fn nothing_on_the_page_is_markup_that_should_be_text() {
    let (_roundel, desk, _) = after_a_mixed_load();
    let page = ask(desk, "/").text();
    assert!(page.contains("GET /broken?&amp;lt;script&amp;gt;&#39;"), "{page}");
    assert!(page.contains("/&lt;b&gt;&amp;&#39;.log"), "{page}");
    let (_, content) = page.split_once("<main").expect("its content");
    assert!(!content.contains("<script>\"") && !content.contains("<b>&"), "{content}");
    assert_eq!(page.matches("<script").count(), 1, "ours");
}

/// The style and the script are allowed by their digests, and nothing else is allowed at all.
#[test]
fn the_policy_names_what_stands_in_the_page() {
    let backend = Backend::named("ok");
    let (_roundel, desk) = with_desk(&[&backend.url()]);
    let answer = ask(desk, "/");
    let policy = answer.field("Content-Security-Policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let page = answer.text();
    for inline in [" style=", " onload=", "javascript:", " src=", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline}");
    }
    for target in ["/status", "/metrics", "/ready", "/nothing"] {
        assert_eq!(ask(desk, target).field("Content-Security-Policy"), Some(policy), "{target}");
    }
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
    // Nor for long by who has something to ask there: those who are silent make room.
    assert_eq!(ask(desk, "/healthz").text(), "ok\n");
    drop(crowd);
}

/// More than are let in at a time, and each is answered, however long it waits for that.
#[test]
fn a_crowd_that_asks_is_answered() {
    let backend = Backend::named("ok");
    let (_roundel, desk) = with_desk(&[&backend.url()]);
    let asking = |_| {
        let mut visitor = Wire::connect(desk);
        visitor.send("GET /status HTTP/1.1\r\nHost: a\r\n\r\n");
        visitor
    };
    let crowd: Vec<Wire> = (0..100).map(asking).collect();
    for mut visitor in crowd {
        assert_eq!(visitor.response().status(), 200);
    }
}

/// What nobody asked for is read for a while, so that the answer arrives, but not without end.
#[test]
fn who_goes_on_talking_is_cut() {
    let backend = Backend::named("ok");
    let (_roundel, desk) = with_desk(&[&backend.url()]);
    for request in ["GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "nonsense\r\n\r\n"] {
        let _row = row(request);
        let mut visit = Wire::connect(desk);
        visit.send(request);
        // More than the buffers of both systems hold; in ten seconds much more would go.
        let is_cut = (0..1024).any(|_| visit.try_send([b'x'; 65_536]).is_err());
        assert!(is_cut);
    }
    assert_eq!(ask(desk, "/healthz").text(), "ok\n");
}

#[test]
fn an_address_that_others_reach_is_warned_of() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--admin", "0.0.0.0:0"]);
    roundel.wait_for_stderr("everybody who reaches this address");
}
