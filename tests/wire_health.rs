//! Who is given requests, as far as requests show it: what takes a backend out, what brings it
//! back, and what becomes of the turns of the others meanwhile.

#[path = "support/moody.rs"]
mod moody;
mod support;

use std::time::{Duration, Instant};

use moody::{Mood, Moody, lines_with};
use support::*;

const SORRY: &str = "HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n";
const SORRY_AND_BYE: &str = "HTTP/1.1 500 Sorry\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

const EMPTY_POST: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";

/// A second is how long a backend is out the first time.
const SECOND: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "time is the subject")]
fn now() -> Instant {
    Instant::now()
}

/// The bodies of so many GETs, each on a connection of its own.
fn bodies(roundel: &Roundel, count: usize) -> String {
    (0..count).map(|_| roundel.get("/").text()).collect()
}

/// Four turns in a row, of whoever is first.
#[track_caller]
fn expect_turns(got: &str) {
    assert!(["abababab", "babababa"].contains(&got), "{got}");
}

#[test]
fn three_failures_in_a_row_take_a_backend_out() {
    for (name, mood, status, reason) in [
        ("it closes", Mood::Close, 502, "upstream_closed"),
        ("it talks nonsense", Mood::Say("nonsense\r\n\r\n"), 502, "bad_response_head"),
        ("it is silent", Mood::Silence, 504, "response_timeout"),
    ] {
        let _row = row(name);
        let bad = Moody::new("a", mood, mood);
        let timeout = if mood == Mood::Silence { "300ms" } else { "1h" };
        let roundel = Roundel::over(&[&bad.backend], &["--timeout", timeout]);
        for failures in 0..3 {
            assert_eq!(lines_with(&roundel, "is out"), 0, "after {failures} failures");
            roundel.get("/").expect_reply(status, reason);
        }
        let line = roundel.wait_for_stderr("is out after 3 failures in a row");
        assert!(line.starts_with("WARN") && line.contains(&bad.label()), "{line}");
        assert!(line.ends_with(&format!("({reason})")), "{line}");
        assert_eq!(lines_with(&roundel, "is out"), 1);
    }
}

#[test]
fn a_backend_that_refuses_is_out_after_three_requests() {
    let refusing = ClosedPort::new();
    let good = Backend::named("b");
    let roundel = Roundel::start(&["--access-log", "-", &refusing.url(), &good.url()]);
    // Every other one goes there first.
    assert_eq!(bodies(&roundel, 6), "bbbbbb");
    let line = roundel.wait_for_stderr("is out after 3 failures in a row");
    assert!(line.starts_with("WARN") && line.ends_with("(connect_refused)"), "{line}");
    assert!(line.contains(&refusing.addr().to_string()), "{line}");
    let attempts: String = roundel.access_log(6).iter().map(|line| line.rest[5].as_str()).collect();
    assert_eq!(attempts, "212121");
}

/// Sends requests until one reaches the backend; gives its client, which waits for the answer. They
/// are POSTs, so that who gets none is told so, and nobody else is asked.
#[track_caller]
fn request_that_reaches(bad: &Moody, roundel: &Roundel) -> Wire {
    let (begin, seen) = (now(), bad.requests.seen());
    loop {
        let mut client = roundel.client();
        client.send(EMPTY_POST);
        while bad.requests.seen() == seen && !client.something_comes(Duration::from_millis(5)) {}
        if bad.requests.seen() > seen {
            return client;
        }
        assert_eq!(client.response().text(), "b");
        assert!(begin.elapsed() < PATIENCE, "it is never tried");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A second of nothing, then one request; where that fails two seconds of nothing, then one
/// request. Only that it went and that it came back is told.
#[test]
fn a_backend_that_is_out_is_tried_by_one_request_at_a_time() {
    let bad = Moody::new("a", Mood::Close, Mood::Close);
    let good = Backend::named("b");
    let roundel = Roundel::over(&[&bad.backend, &good], &[]);
    let mut out_from = now();
    for _ in 0..3 {
        out_from = now();
        request_that_reaches(&bad, &roundel).response().expect_reply(502, "upstream_closed");
    }
    roundel.wait_for_stderr("is out after 3 failures in a row");
    let lines = roundel.stderr().len();

    bad.requests.becomes(Mood::Hold);
    let mut trial = request_that_reaches(&bad, &roundel);
    assert!(out_from.elapsed() >= SECOND, "{:?}", out_from.elapsed());
    assert_eq!(bodies(&roundel, 6), "bbbbbb", "one is enough to see");
    assert_eq!(bad.requests.seen(), 4);
    out_from = now();
    bad.requests.becomes(Mood::Close);
    trial.response().expect_reply(502, "upstream_closed");

    bad.requests.becomes(Mood::Hold);
    let mut trial = request_that_reaches(&bad, &roundel);
    assert!(out_from.elapsed() >= 2 * SECOND, "{:?}", out_from.elapsed());
    assert_eq!(bodies(&roundel, 6), "bbbbbb");
    bad.requests.becomes(Mood::Answer);
    assert_eq!(trial.response().text(), "a");
    let line = roundel.wait_for_stderr("is back after");
    assert!(line.starts_with("INFO"), "{line}");
    assert!(line.contains(&bad.label()), "{line}");
    expect_turns(&bodies(&roundel, 8));
    assert_eq!(roundel.stderr().len(), lines + 1, "{:#?}", roundel.stderr());
}

#[test]
fn two_failures_and_an_answer_are_no_row() {
    let bad = Moody::new("a", Mood::Close, Mood::Close);
    let roundel = Roundel::over(&[&bad.backend], &[]);
    for _ in 0..4 {
        bad.requests.becomes(Mood::Close);
        for _ in 0..2 {
            roundel.get("/").expect_reply(502, "upstream_closed");
        }
        // That the client may not like the answer is its own affair.
        bad.requests.becomes(Mood::Say(SORRY_AND_BYE));
        assert_eq!(roundel.get("/").status(), 500);
    }
    assert_eq!(lines_with(&roundel, "is out"), 0, "{:#?}", roundel.stderr());
    bad.requests.becomes(Mood::Close);
    for _ in 0..3 {
        roundel.get("/").expect_reply(502, "upstream_closed");
    }
    roundel.wait_for_stderr("is out after 3 failures in a row");
}

/// A connection that had rested and ends when it is used was too old. That says nothing of the
/// backend.
#[test]
fn connections_that_rested_too_long_are_no_failures() {
    const COUNT: usize = 5;
    let backend = Moody::new("a", Mood::Hold, Mood::Hold);
    let roundel = Roundel::over(&[&backend.backend], &["--access-log", "-"]);
    let mut clients: Vec<Wire> = (0..COUNT).map(|_| roundel.client()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    backend.requests.wait_for(COUNT);
    backend.requests.becomes(Mood::Say(SORRY));
    for client in &mut clients {
        assert_eq!(client.response().status(), 500);
    }
    backend.requests.becomes(Mood::Close);
    for client in &mut clients {
        client.send(EMPTY_POST);
        client.response().expect_reply(502, "upstream_closed");
    }
    let log = roundel.access_log(2 * COUNT);
    assert!(log[COUNT..].iter().all(|line| line.rest[6] == "reused"), "{log:#?}");
    assert_eq!(lines_with(&roundel, "is out"), 0, "{:#?}", roundel.stderr());
}

#[test]
fn weights_are_exact_over_those_that_are_in() {
    // Where a heavy one goes, what the others were owed beside it must not be settled in a burst.
    for weights in [[3, 2, 1], [6, 2, 1]] {
        for out in 0..3 {
            let _row = row(format!("weights {weights:?}, number {out} is out"));
            expect_exact_turns(weights, out);
        }
    }
}

/// From the request on that was the last to find out.
#[track_caller]
fn expect_exact_turns(weights: [usize; 3], out: usize) {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let dead = ClosedPort::new();
    let backends = NAMES.map(Backend::named);
    let mut urls = backends.each_ref().map(Backend::url);
    urls[out] = dead.url();
    let args: Vec<String> =
        urls.iter().zip(weights).map(|(url, weight)| format!("{url},weight={weight}")).collect();
    let mut args: Vec<&str> = args.iter().map(|arg| &**arg).collect();
    args.extend(["--access-log", "-"]);
    let roundel = Roundel::start(&args);
    let mut client = roundel.client();
    // Six periods of all: even the lightest has had three turns after half of them.
    let count = 6 * weights.iter().sum::<usize>();
    let got: String = (0..count).map(|_| client.get("/").text()).collect();
    roundel.wait_for_stderr("is out after 3 failures in a row");
    let log = roundel.access_log(count);
    let refused: Vec<usize> = (0..count).filter(|number| log[*number].rest[5] == "2").collect();
    let from = refused[2];
    let others = (0..3).filter(|id| *id != out);
    let period: usize = others.clone().map(|id| weights[id]).sum();
    assert!(count - from > 2 * period, "{got}");
    for turns in got.as_bytes()[from..].windows(period) {
        for id in others.clone() {
            let turns = turns.iter().filter(|name| NAMES[id].as_bytes() == [**name]).count();
            assert_eq!(turns, weights[id], "{} in {got} from {from}", NAMES[id]);
        }
    }
}

/// A verdict that hits all of them is none: everybody is asked as before, and who answers is back.
#[test]
fn when_all_are_out_all_are_asked() {
    let (one, two) = (ClosedPort::new(), ClosedPort::new());
    let roundel = Roundel::start(&["--access-log", "-", &one.url(), &two.url()]);
    for _ in 0..5 {
        roundel.get("/").expect_reply(502, "connect_refused");
    }
    for port in [&one, &two] {
        roundel.wait_for_stderr(&format!("{} is out after 3 failures in a row", port.addr()));
    }
    let two = two.open();
    let mut client = roundel.client();
    client.send(get("/"));
    let mut upstream = two.accept();
    upstream.head();
    upstream.send(ok("two"));
    assert_eq!(client.response().text(), "two");
    roundel.wait_for_stderr(&format!("{} is back after", two.addr()));
    assert!(roundel.access_log(6).iter().take(5).all(|line| line.rest[5] == "2"));
}
