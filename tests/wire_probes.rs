//! Probes: what a backend sees of them, which answers are good, what they do to its turns, and that
//! nobody else notices them.

#[path = "support/moody.rs"]
mod moody;
mod support;

use std::time::{Duration, Instant};

use moody::{Mood, Moody, lines_with};
use support::*;

const SORRY: &str = "HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n";

#[expect(clippy::disallowed_methods, reason = "time is the subject")]
fn now() -> Instant {
    Instant::now()
}

/// Asks often, and gives probes an hour to be answered: what is judged is never how fast this
/// machine is.
fn probing<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let options = ["--health", "/up", "--health-interval", "100ms", "--health-timeout", "1h"];
    [&options, more].concat()
}

/// Starts roundel over these backends, with probes.
fn over(backends: &[&Moody], options: &[&str]) -> Roundel {
    let backends: Vec<&Backend> = backends.iter().map(|moody| &moody.backend).collect();
    Roundel::over(&backends, &probing(options))
}

/// The bodies of so many GETs, each on a connection of its own.
fn bodies(roundel: &Roundel, count: usize) -> String {
    (0..count).map(|_| roundel.get("/").text()).collect()
}

#[test]
fn a_probe_is_a_get_below_the_prefix_on_a_connection_of_its_own() {
    let backend = Backend::manual();
    let url = format!("{}/app", backend.url());
    let begin = now();
    let roundel = Roundel::start(&probing(&["--access-log", "-", &url]));
    for _ in 0..6 {
        let mut probe = backend.accept();
        let head = probe.head();
        assert!(head.starts_with("GET /app/up HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nHost: {}\r\n", backend.addr())), "{head}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        // How it goes on after the head matters to nobody.
        probe.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nwell");
        probe.expect_gone();
    }
    let five_intervals = 5 * Duration::from_millis(90);
    assert!(begin.elapsed() >= five_intervals, "{:?}", begin.elapsed());
    // A request has a connection of its own as well, and only it is in the log.
    let mut client = roundel.client();
    client.send(get("/up"));
    loop {
        let mut next = backend.accept();
        let head = next.head();
        next.send(ok("hi"));
        if head.contains("X-Forwarded-For") {
            break;
        }
    }
    assert_eq!(client.response().text(), "hi");
    assert_eq!(roundel.access_log(1)[0].request, "GET /up");
}

#[test]
fn two_bad_probes_take_a_backend_out_and_two_good_ones_bring_it_back() {
    let (backend, other) = (Backend::manual(), Backend::named("b"));
    let roundel = Roundel::over(&[&backend, &other], &probing(&[]));
    let answer = |octets: &str, unheard: &str| {
        // When a probe has come, those before it have been judged.
        let mut probe = backend.accept();
        probe.head();
        assert_eq!(lines_with(&roundel, unheard), 0);
        probe.send(octets);
    };
    for octets in [SORRY, &ok(""), SORRY, SORRY] {
        answer(octets, "is out");
    }
    let label = backend.addr().to_string();
    let line = roundel.wait_for_stderr("is out after 2 failed probes: it answered 503");
    assert!(line.starts_with("WARN") && line.contains(&label), "{line}");
    assert_eq!(bodies(&roundel, 5), "bbbbb");
    for octets in [&ok(""), SORRY, &ok(""), &ok("")] {
        answer(octets, "is back");
    }
    let line = roundel.wait_for_stderr("is back after");
    assert!(line.starts_with("INFO") && line.contains(&label), "{line}");
    assert_eq!((lines_with(&roundel, "is out"), lines_with(&roundel, "is back")), (1, 1));
}

/// Each takes its backend out, with a line that says why, and keeps it out until it gets better.
#[test]
fn bad_probes_are_told_apart() {
    let endless = format!("HTTP/1.1 200 OK\r\nX-A: {}", "x".repeat(20_000)).leak();
    let long = format!("{endless}\r\n\r\n").leak();
    let babble = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(9).leak();
    let rows = [
        (Mood::Say("HTTP/1.1 400 Bad\r\n\r\n"), "it answered 400"),
        (Mood::Say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "it answered 404"),
        (Mood::Say("HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n"), "it answered 500"),
        (Mood::Say(SORRY), "it answered 503"),
        (Mood::Say("nonsense\r\n\r\n"), "its answer is none"),
        (Mood::Say("HTTP/1.1 200 OK\n\n"), "its answer is none"),
        (Mood::Say(endless), "the head of its answer is too long"),
        (Mood::Say(long), "the head of its answer is too long"),
        (Mood::Say(babble), "too many interim responses"),
        (Mood::Close, "it closed the connection without an answer"),
    ];
    let bad = rows.map(|(mood, _)| Moody::new("a", Mood::Answer, mood));
    let well = Moody::new("b", Mood::Answer, Mood::Answer);
    let all: Vec<&Moody> = bad.iter().chain([&well]).collect();
    let roundel = over(&all, &[]);
    for (moody, (_, why)) in bad.iter().zip(rows) {
        let _row = row(why);
        let line =
            roundel.wait_for_stderr(&format!("{} is out after 2 failed probes: ", moody.label()));
        assert!(line.starts_with("WARN") && line.contains(why), "{line}");
    }
    assert_eq!(bodies(&roundel, 12), "b".repeat(12));
    for moody in &bad {
        moody.probes.wait_for(5);
        moody.probes.becomes(Mood::Answer);
        roundel.wait_for_stderr(&format!("{} is back after", moody.label()));
    }
    assert_eq!(lines_with(&roundel, "is out"), rows.len(), "{:#?}", roundel.stderr());
    let got = bodies(&roundel, 2 * all.len());
    assert_eq!(got.matches('b').count(), 2, "all have their turns again: {got}");
}

#[test]
fn good_probes_have_many_faces() {
    let rows = [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200\r\n\r\nwell",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 399 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ];
    let backends = rows.map(|octets| Moody::new("a", Mood::Answer, Mood::Say(octets)));
    let roundel = over(&backends.each_ref(), &[]);
    for (moody, octets) in backends.iter().zip(rows) {
        let _row = row(octets);
        // With the fourth, three have been judged.
        moody.probes.wait_for(4);
        assert_eq!(lines_with(&roundel, &format!("{} is", moody.label())), 0);
    }
    assert_eq!(lines_with(&roundel, "is out"), 0);
}

#[test]
fn a_probe_that_is_not_answered_in_time_has_failed() {
    let backend = Moody::new("a", Mood::Answer, Mood::Silence);
    let options = ["--health", "/up", "--health-interval", "100ms", "--health-timeout", "200ms"];
    let begin = now();
    let roundel = Roundel::over(&[&backend.backend], &options);
    let line = roundel.wait_for_stderr("is out after 2 failed probes: it did not answer in time");
    assert!(line.contains(&backend.label()), "{line}");
    // Two of them, and the time between.
    assert!(begin.elapsed() >= Duration::from_millis(490), "{:?}", begin.elapsed());
    backend.probes.becomes(Mood::Answer);
    roundel.wait_for_stderr("is back after");
}

#[test]
fn a_backend_that_takes_no_connection_fails_its_probes() {
    let port = ClosedPort::new();
    let other = Backend::named("b");
    let roundel = Roundel::start(&probing(&[&port.url(), &other.url()]));
    let label = port.addr().to_string();
    let line = roundel.wait_for_stderr(&format!("{label} is out after 2 failed probes: "));
    assert!(line.to_ascii_lowercase().contains("refused"), "{line}");
    assert_eq!(bodies(&roundel, 4), "bbbb", "no request had to find out");
    let backend = port.open();
    for _ in 0..2 {
        assert_eq!(lines_with(&roundel, "is back"), 0);
        let mut probe = backend.accept();
        probe.head();
        probe.send(ok(""));
    }
    roundel.wait_for_stderr(&format!("{label} is back after"));
}

/// Requests may find that it answers; that it is well is for the probes to say.
#[test]
fn where_all_are_out_all_are_asked_and_probes_have_the_last_word() {
    let backends = ["a", "b"].map(|name| Moody::new(name, Mood::Answer, Mood::Say(SORRY)));
    let roundel = over(&backends.each_ref(), &[]);
    for moody in &backends {
        roundel.wait_for_stderr(&format!("{} is out after 2 failed probes", moody.label()));
    }
    let got = bodies(&roundel, 8);
    assert_eq!((got.matches('a').count(), got.matches('b').count()), (4, 4), "{got}");
    for moody in &backends {
        moody.probes.wait_for(moody.probes.seen() + 3);
    }
    assert_eq!(lines_with(&roundel, "is back"), 0);
}

/// Requests fail, but probes pass: a backend is brought back by a request then, as without probes.
#[test]
fn good_probes_do_not_outweigh_requests_that_fail() {
    let backend = Moody::new("a", Mood::Close, Mood::Answer);
    let other = Backend::named("b");
    let roundel = Roundel::over(&[&backend.backend, &other], &probing(&[]));
    while backend.requests.seen() < 3 {
        roundel.get("/");
    }
    roundel.wait_for_stderr("is out after 3 failures in a row");
    backend.probes.wait_for(backend.probes.seen() + 4);
    assert_eq!(lines_with(&roundel, "is back"), 0);
}

/// As long as there is no answer there is no verdict, and nobody waits for it.
#[test]
fn a_probe_that_hangs_holds_up_nothing() {
    let backend = Moody::new("a", Mood::Answer, Mood::Hold);
    let options = ["--access-log", "-", "--max-conns-per-backend", "1"];
    let roundel = over(&[&backend], &options);
    backend.probes.wait_for(1);
    assert_eq!(bodies(&roundel, 20), "a".repeat(20));
    assert_eq!(backend.probes.seen(), 1, "there is one at a time");
    assert_eq!(lines_with(&roundel, "is out"), 0);
    for line in roundel.access_log(20) {
        assert_eq!(line.request, "GET /", "{line:?}");
    }
}

/// A backend that has as much to do as it may have is not ill.
#[test]
fn a_probe_needs_no_place_among_the_connections() {
    let backend = Moody::new("a", Mood::Hold, Mood::Answer);
    let roundel = over(&[&backend], &["--max-conns-per-backend", "1"]);
    let mut client = roundel.client();
    client.send(get("/"));
    backend.requests.wait_for(1);
    backend.probes.wait_for(backend.probes.seen() + 4);
    backend.requests.becomes(Mood::Answer);
    assert_eq!(client.response().text(), "a");
    assert_eq!(lines_with(&roundel, "is out"), 0);
}

#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

/// A probe trusts whom requests trust, and asks the host that the certificate is for.
#[cfg(feature = "tls")]
#[test]
fn a_probe_of_a_tls_backend_is_made_over_tls() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    let authority = tls::Authority::new();
    let identity = authority.issue(&["localhost"], tls::Validity::Now);
    let is_well = Arc::new(AtomicBool::new(true));
    let its_state = Arc::clone(&is_well);
    let config = tls::server_config(&identity, tls::BOTH_VERSIONS);
    let backend = tls::TlsBackend::serve(config, move |wire, _| {
        let is_well = its_state.load(Ordering::SeqCst);
        let _ = wire.try_send(if is_well { ok("hi") } else { SORRY.to_owned() });
    });
    let url = backend.url();
    let roundel = Roundel::start(&probing(&["--ca", authority.file(), &url]));
    let begin = now();
    while text(&backend.received()).matches("\r\n\r\n").count() < 4 {
        assert!(begin.elapsed() < PATIENCE, "no probes");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let start = format!("GET /up HTTP/1.1\r\nHost: {}\r\n", backend.authority());
    let received = text(&backend.received());
    assert!(received.starts_with(&start), "{received}");
    assert_eq!(lines_with(&roundel, "is out"), 0);
    is_well.store(false, Ordering::SeqCst);
    roundel.wait_for_stderr("is out after 2 failed probes: it answered 503");
    is_well.store(true, Ordering::SeqCst);
    roundel.wait_for_stderr("is back after");

    let untrusting = Roundel::start(&probing(&[&url]));
    let line = untrusting.wait_for_stderr("is out after 2 failed probes: ");
    assert!(line.contains("unknown issuer"), "{line}");
}
