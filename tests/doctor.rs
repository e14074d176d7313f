//! `roundel doctor`: what it finds, in which words, and with which code it ends.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: a panic is how it reports, and threads are its means"
)]

mod support;
#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

use std::{
    fs,
    net::TcpListener as Listener,
    os::unix::net::UnixListener,
    process::Command,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use self::support::{
    Backend, ClosedPort, Folder, Outcome, Roundel, UnixBackend, Wire, ok, row, run,
};

/// Long enough that nothing ends for it, short enough that a test may wait that long.
const SHORT_REST: [&str; 2] = ["--pool-timeout", "100ms"];

/// Looks at these backends, with a port of the kernel's choice.
fn doctor(arguments: &[&str]) -> Outcome {
    let mut all = vec!["doctor", "--listen", "127.0.0.1:0"];
    all.extend_from_slice(arguments);
    let outcome = run(&all);
    assert_eq!(outcome.stderr, "", "{outcome:?}");
    for line in outcome.stdout.lines() {
        assert!(!line.contains('\x1b'), "no colour but on a terminal: {line:?}");
    }
    outcome
}

/// What is said behind `VERDICT SUBJECT CHECK: `, which one line begins with.
#[track_caller]
fn finding<'a>(outcome: &'a Outcome, verdict: &str, subject: &str, check: &str) -> &'a str {
    let begin = format!("{verdict:<4} {subject} {check}: ");
    let mut lines = outcome.stdout.lines().filter_map(|line| line.strip_prefix(&begin));
    match (lines.next(), lines.next()) {
        (Some(rest), None) => rest,
        other => panic!("{other:?}, not one line that begins {begin:?}: {outcome:#?}"),
    }
}

/// How many findings there are of each kind, as the last line has it.
fn summary(outcome: &Outcome) -> &str {
    outcome.stdout.lines().last().unwrap_or_default()
}

#[test]
fn a_healthy_backend_is_well() {
    let backend = Backend::named("ok");
    let outcome = doctor(&[&SHORT_REST[..], &[&backend.url()]].concat());
    let url = backend.url();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(finding(&outcome, "ok", "127.0.0.1:0", "listen"), "is free");
    let accepts = format!("{} accepts after ", backend.addr());
    assert!(finding(&outcome, "ok", &url, "connect").starts_with(&accepts));
    assert!(finding(&outcome, "ok", &url, "answer").starts_with("200 to GET / after "));
    let idle = finding(&outcome, "ok", &url, "idle");
    assert_eq!(idle, "a connection is kept for at least 100ms");
    assert!(outcome.stdout.contains(" machine descriptors: "), "{outcome:?}");
    assert!(summary(&outcome).ends_with(", 0 fail"), "{outcome:?}");
    assert_eq!(backend.connections(), 1, "it is asked once, and keeps that connection");
    let received = String::from_utf8(backend.received().concat()).expect("ASCII");
    let host = format!("\r\nHost: {}\r\n", backend.addr());
    assert!(received.contains(&host), "{received}");
    assert!(received.contains("\r\nVia: 1.1 roundel\r\n"), "as traffic would: {received}");
}

#[test]
fn the_demo_is_well() {
    let outcome = doctor(&[&SHORT_REST[..], &["--demo"]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout.matches(" answer: 200 to GET / ").count(), 3, "{outcome:?}");
}

#[test]
fn a_dead_port_is_told() {
    let dead = ClosedPort::new();
    let outcome = doctor(&[&dead.url()]);
    let said = finding(&outcome, "fail", &dead.url(), "connect");
    let want = format!("{} refuses; start it, or correct the address and the port", dead.addr());
    assert_eq!(said, want);
    assert_eq!(outcome.code, Some(1));
    assert!(summary(&outcome).ends_with(", 1 fail"), "{outcome:?}");
}

/// Nothing is sent to it, so nothing fails.
#[test]
fn a_drained_backend_may_be_dead() {
    let (dead, backend) = (ClosedPort::new(), Backend::named("ok"));
    let drained = format!("{},drain", dead.url());
    let outcome = doctor(&[&SHORT_REST[..], &[&drained, &backend.url()]].concat());
    finding(&outcome, "warn", &dead.url(), "connect");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn a_name_that_does_not_resolve_is_told() {
    let url = "http://no-such-host.invalid";
    let outcome = doctor(&[url]);
    let said = finding(&outcome, "fail", url, "name");
    assert!(said.starts_with("does not resolve: ") && said.contains("; correct it"), "{said}");
    assert_eq!(outcome.code, Some(1));
}

#[test]
fn a_name_is_resolved() {
    let backend = Backend::named("ok");
    let url = format!("http://localhost:{}", backend.addr().port());
    let outcome = doctor(&[&SHORT_REST[..], &[&url]].concat());
    assert!(finding(&outcome, "ok", &url, "name").contains("127.0.0.1"));
    finding(&outcome, "ok", &url, "answer");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

/// A name, options, what the backend does, and with what its finding begins.
type Case = (&'static str, &'static [&'static str], fn(&mut Wire), &'static str, &'static str);

/// Answers that are none, or none that is wanted, and what is said of them.
#[test]
fn answers_are_judged() {
    const QUICK: &[&str] = &["--response-timeout", "200ms", "--pool-timeout", "100ms"];
    const ASKED: &[&str] = &["--health", "/up", "--pool-timeout", "100ms"];
    let rows: &[(Case, i32)] = &[
        (("500", QUICK, |wire| answer(wire, "500 Oh No"), "fail", "500 to GET / after "), 1),
        (("404", QUICK, |wire| answer(wire, "404 Not Found"), "warn", "404 to GET / after "), 0),
        (("302", QUICK, |wire| answer(wire, "302 Found"), "ok", "302 to GET / after "), 0),
        (
            (
                "404 to --health",
                ASKED,
                |wire| answer(wire, "404 No"),
                "fail",
                "404 to GET /up after ",
            ),
            1,
        ),
        (
            (
                "204 to --health",
                ASKED,
                |wire| answer(wire, "204 Yes"),
                "ok",
                "204 to GET /up after ",
            ),
            0,
        ),
        (("silence", QUICK, wait_for_end, "fail", "none to GET / within 200ms; see what"), 1),
        (("no word", QUICK, |wire| drop(wire.request()), "fail", "none to GET /: it closed"), 1),
        (
            (
                "no HTTP",
                QUICK,
                |wire| {
                    drop(wire.request());
                    wire.send("220 mail.example\r\n\r\n");
                    wait_for_end(wire);
                },
                "fail",
                "none that is HTTP/1.1 to GET / (bad_response_head); if it is TLS, say https://",
            ),
            1,
        ),
        (
            (
                "a head beyond the limit",
                QUICK,
                |wire| {
                    drop(wire.request());
                    wire.send(format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "x".repeat(20_000)));
                    wait_for_end(wire);
                },
                "fail",
                "none that is HTTP/1.1 to GET / (response_head_too_long)",
            ),
            1,
        ),
        (
            (
                "interim answers without end",
                QUICK,
                |wire| {
                    drop(wire.request());
                    wire.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20));
                    wait_for_end(wire);
                },
                "fail",
                "none that is HTTP/1.1 to GET / (too_many_interim)",
            ),
            1,
        ),
    ];
    for ((name, options, script, verdict, begin), code) in rows {
        let _row = row(*name);
        let backend = Backend::script(*script);
        let outcome = doctor(&[*options, &[&*backend.url()]].concat());
        let said = finding(&outcome, verdict, &backend.url(), "answer");
        assert!(said.starts_with(begin), "{said}");
        assert_eq!(outcome.code, Some(*code), "{outcome:?}");
    }
}

/// Answers all requests with this status and nothing else.
fn answer(wire: &mut Wire, status: &str) {
    while wire.request().is_some() {
        // Whether the doctor is still there is its own business.
        let length = if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
        let _ = wire.try_send(format!("HTTP/1.1 {status}\r\n{length}\r\n"));
    }
}

fn wait_for_end(wire: &mut Wire) {
    while wire.request().is_some() {}
}

/// What becomes of a connection that nobody uses, against how long we would keep it.
#[test]
fn how_long_a_connection_rests_is_compared() {
    const MINUTE: &[&str] = &["--pool-timeout", "60s"];
    let rows: &[Case] = &[
        (
            "closed after a while",
            MINUTE,
            |wire| {
                drop(wire.request());
                wire.send(ok("hi"));
                thread::sleep(Duration::from_secs(1));
            },
            "warn",
            "a connection is kept for ",
        ),
        (
            "a word unasked",
            MINUTE,
            |wire| {
                drop(wire.request());
                wire.send(ok("hi"));
                thread::sleep(Duration::from_millis(100));
                wire.send("HTTP/1.1 408 Request Timeout\r\n\r\n");
                wait_for_end(wire);
            },
            "warn",
            "a connection is kept for ",
        ),
        (
            "an announcement that is kept",
            MINUTE,
            |wire| {
                drop(wire.request());
                wire.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n");
                wait_for_end(wire);
            },
            "ok",
            "a connection is kept for at least 1s, as it says for 2s (Keep-Alive)",
        ),
        (
            "an announcement that is too short",
            MINUTE,
            |wire| {
                drop(wire.request());
                wire.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n");
                wait_for_end(wire);
            },
            "warn",
            "it keeps a connection too short a time to be of use",
        ),
        (
            "no persistence",
            MINUTE,
            |wire| {
                drop(wire.request());
                wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
                wait_for_end(wire);
            },
            "warn",
            "it ends the connection with each answer",
        ),
        (
            "octets behind the answer",
            MINUTE,
            |wire| {
                drop(wire.request());
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhighs");
                wait_for_end(wire);
            },
            "warn",
            "octets come behind its answer",
        ),
        (
            "chunks",
            &SHORT_REST,
            |wire| {
                drop(wire.request());
                wire.send(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                );
                wait_for_end(wire);
            },
            "ok",
            "a connection is kept for at least 100ms",
        ),
        (
            "a long answer",
            MINUTE,
            |wire| {
                drop(wire.request());
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n");
                while wire.try_send([b'x'; 65536]).is_ok() {}
            },
            "ok",
            "its answer is too long to see what follows",
        ),
    ];
    for (name, options, script, verdict, begin) in rows {
        let _row = row(*name);
        let backend = Backend::script(*script);
        let outcome = doctor(&[*options, &[&*backend.url()]].concat());
        let said = finding(&outcome, verdict, &backend.url(), "idle");
        assert!(said.starts_with(begin), "{said}");
        if *begin == "a connection is kept for " {
            assert!(said.contains(", and by us for 60s; --pool-timeout "), "{said}");
        }
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
}

/// Each answers only once both were asked.
#[test]
fn backends_are_asked_side_by_side() {
    let both = Arc::new(Barrier::new(2));
    let backends = [Arc::clone(&both), both].map(|both| {
        Backend::serve(move |wire, _| {
            both.wait();
            let _ = wire.try_send(ok("hi"));
        })
    });
    let [one, other] = backends.each_ref().map(Backend::url);
    let outcome = doctor(&[&SHORT_REST[..], &[&one, &other]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let place = |url: &str| outcome.stdout.find(&format!("{url} answer")).expect("an answer");
    assert!(place(&one) < place(&other), "in the order in which they were named: {outcome:?}");
}

#[test]
fn a_port_that_is_taken_is_told() {
    let backend = Backend::named("ok");
    let holder = Listener::bind("127.0.0.1:0").expect("a port");
    let addr = holder.local_addr().expect("an address").to_string();
    for option in ["listen", "admin"] {
        let _row = row(option);
        let flag = format!("--{option}");
        let outcome = doctor(&[&SHORT_REST[..], &[&flag, &addr, &backend.url()]].concat());
        let said = finding(&outcome, "fail", &addr, option);
        assert!(said.starts_with("is taken"), "{said}");
        if cfg!(target_os = "linux") {
            let process = format!(", process {}; stop it", std::process::id());
            assert!(said.contains(&process), "{said}");
        }
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
    }
}

/// Perhaps it is just that one about which somebody asks.
#[test]
#[cfg(target_os = "linux")]
fn a_port_that_roundel_has_is_worth_a_warning() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &[]);
    let addr = roundel.addr().to_string();
    let outcome = doctor(&[&SHORT_REST[..], &["-l", &addr, &backend.url()]].concat());
    let said = finding(&outcome, "warn", &addr, "listen");
    let want = format!("is taken by roundel, process {}; ", roundel.id());
    assert!(said.starts_with(&want), "{said}");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn a_port_that_is_asked_for_twice_is_told() {
    let backend = Backend::named("ok");
    // Free a moment ago; somebody else may have it now, which is a failure as well.
    let free = Listener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let free = free.to_string();
    let outcome =
        doctor(&[&SHORT_REST[..], &["-l", &free, "--admin", &free, &backend.url()]].concat());
    finding(&outcome, "fail", &free, "admin");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
}

#[test]
fn an_access_log_that_could_not_be_written_is_told() {
    let backend = Backend::named("ok");
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).to_str().expect("a path in UTF-8").to_owned();
    let _socket = UnixListener::bind(path("socket")).expect("a socket");
    assert!(Command::new("mkfifo").arg(path("pipe")).status().expect("mkfifo").success());
    fs::write(path("there"), "one line\n").expect("a file");
    let rows = [
        ("there", "ok", "can be written", 0),
        ("new", "ok", "can be written", 0),
        (
            "pipe",
            "warn",
            "is a pipe; see that somebody reads from it: the start fails otherwise",
            0,
        ),
        ("socket", "fail", "cannot be written: it is a socket, not a file", 1),
        ("", "fail", "cannot be written: it is a directory", 1),
        ("no/where", "fail", "cannot be written: its folder is not there", 1),
    ];
    for (name, verdict, said, code) in rows {
        let _row = row(name);
        let log = path(name);
        let outcome = doctor(&[&SHORT_REST[..], &["--access-log", &log, &*backend.url()]].concat());
        assert_eq!(finding(&outcome, verdict, &log, "access-log"), said);
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        let checked = run(&["--check", "--access-log", &log, &backend.url()]);
        assert_eq!(checked.code, Some(2 * code), "{checked:?}");
        let why = said.strip_prefix("cannot be written: ").unwrap_or_default();
        assert!(checked.stderr.contains(why), "{checked:?}");
    }
    assert_eq!(fs::read_to_string(path("there")).expect("a file"), "one line\n");
    assert!(!folder.path("new").exists(), "nothing was made");
}

#[test]
fn too_few_descriptors_are_told() {
    let backend = Backend::named("ok");
    let arguments = ["doctor", "--listen", "127.0.0.1:0", "--max-conns", "1000", "--pool-timeout"];
    let url = backend.url();
    let arguments = [&arguments[..], &["100ms", &url]].concat();
    let outcome = support::run_with_descriptors(1024, &arguments);
    let said = finding(&outcome, "warn", "machine", "descriptors");
    assert_eq!(said, "1024 are for 480 clients, not for 1000; raise the limit (ulimit -n) to 2064");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn wrong_arguments_end_with_2() {
    for arguments in [
        &["doctor"][..],
        &["doctor", "127.0.0.1:3001"],
        &["doctor", "doctor", "http://127.0.0.1:3001"],
        &["docter", "http://127.0.0.1:3001"],
        &["doctor", "--check", "http://127.0.0.1:3001"],
        &["doctor", "--config", "no-such.toml"],
    ] {
        let outcome = run(arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
        assert!(outcome.stderr.starts_with("roundel: "), "{outcome:?}");
    }
}

#[cfg(feature = "tls")]
mod with_tls {
    use super::*;
    use crate::tls::{
        Authority, BOTH_VERSIONS, Identity, TlsBackend, Validity, demanding_config, server_config,
    };

    fn serve(identity: &Identity) -> TlsBackend {
        TlsBackend::serve(server_config(identity, BOTH_VERSIONS), |wire, _| {
            let _ = wire.try_send(ok("hi"));
        })
    }

    #[test]
    fn a_healthy_backend_is_well() {
        let authority = Authority::new();
        let backend = serve(&authority.issue(&["localhost"], Validity::Days(90)));
        let url = backend.url();
        let outcome = doctor(&[&SHORT_REST[..], &["--ca", authority.file(), &url]].concat());
        assert!(finding(&outcome, "ok", &url, "tls").starts_with("TLS 1.3 with 127.0.0.1:"));
        let said = finding(&outcome, "ok", &url, "certificate");
        assert!(said.starts_with("is for localhost and good until 20"), "{said}");
        assert!(said.ends_with(", 90 days"), "{said}");
        assert!(finding(&outcome, "ok", &url, "answer").starts_with("200 to GET / after "));
        finding(&outcome, "ok", &url, "idle");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }

    /// Each with one thing that is not as it should be, and what is said of it.
    #[test]
    fn certificates_are_judged() {
        let authority = Authority::new();
        let stranger = Authority::new();
        let ca = ["--ca", authority.file()];
        let other = ["--ca", stranger.file()];
        for (name, names, validity, options, verdict, words, code) in [
            ("soon over", "localhost", Validity::Days(20), &ca, "warn", ", 20 days; renew it", 0),
            ("good for long", "localhost", Validity::Days(21), &ca, "ok", ", 21 days", 0),
            ("over", "localhost", Validity::Expired, &ca, "fail", "has expired (it was good", 1),
            ("not yet", "localhost", Validity::NotYet, &ca, "fail", "is not valid yet (it is", 1),
            (
                "another name",
                "other.example",
                Validity::Days(90),
                &ca,
                "fail",
                "(it is for other.example, not for localhost); call the backend by a name",
                1,
            ),
            (
                "nobody's",
                "localhost",
                Validity::Days(90),
                &other,
                "fail",
                "unknown issuer (invalid peer certificate: UnknownIssuer); name who vouches",
                1,
            ),
        ] {
            let _row = row(name);
            let backend = serve(&authority.issue(&[names], validity));
            let url = backend.url();
            let outcome = doctor(&[&SHORT_REST[..], options, &[&url]].concat());
            let said = finding(&outcome, verdict, &url, "certificate");
            assert!(said.contains(words), "{said}");
            assert_eq!(outcome.code, Some(code), "{outcome:?}");
        }
    }

    #[test]
    fn a_certificate_that_nobody_checks_is_told() {
        let backend = serve(&Authority::new().issue(&["other.example"], Validity::Expired));
        let url = backend.url();
        let insecure = format!("{url},insecure");
        let outcome = doctor(&[&SHORT_REST[..], &[&insecure]].concat());
        let said = finding(&outcome, "warn", &url, "certificate");
        assert!(said.starts_with("is not checked; "), "{said}");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }

    #[test]
    fn a_backend_that_wants_our_certificate_is_told() {
        let (authority, of_clients) = (Authority::new(), Authority::new());
        let identity = authority.issue(&["localhost"], Validity::Days(90));
        let backend = TlsBackend::serve(demanding_config(&identity, &of_clients), |wire, _| {
            let _ = wire.try_send(ok("hi"));
        });
        let url = backend.url();
        let outcome = doctor(&["--ca", authority.file(), &url]);
        let said = finding(&outcome, "fail", &url, "answer");
        assert!(said.contains("certificate of ours, name cert and key"), "{said}");
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
    }

    #[test]
    fn plain_http_where_tls_is_awaited_and_the_other_way_round() {
        let plain = Backend::named("ok");
        let url = format!("https://localhost:{}", plain.addr().port());
        let outcome = doctor(&["--tls-timeout", "300ms", &url]);
        finding(&outcome, "fail", &url, "tls");
        assert_eq!(outcome.code, Some(1), "{outcome:?}");

        let secure = serve(&Authority::new().issue(&["localhost"], Validity::Days(90)));
        let url = format!("http://{}", secure.addr());
        let outcome = doctor(&[&url]);
        let said = finding(&outcome, "fail", &url, "answer");
        assert!(said.starts_with("none"), "{said}");
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
    }
}

#[test]
fn unix_sockets_are_looked_at_like_ports() {
    let folder = Folder::new();
    let backend = UnixBackend::script(&folder.path("b.sock"), |wire| {
        while wire.request().is_some() {
            wire.send(ok("hello"));
        }
    });
    let url = format!("{}:/app", backend.url());
    let free = folder.url("free.sock");
    let outcome = doctor(&[&["--listen", &free], &SHORT_REST[..], &[&url]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(finding(&outcome, "ok", &free, "listen"), "is free");
    let accepts = format!("{} accepts after ", backend.url());
    assert!(finding(&outcome, "ok", &url, "connect").starts_with(&accepts), "{outcome:?}");
    let answer = finding(&outcome, "ok", &url, "answer");
    assert!(answer.starts_with("200 to GET /app/ after "), "{answer}");
    assert_eq!(folder.names(), ["b.sock"], "what was tried is gone");

    drop(UnixBackend::manual(&folder.path("stale.sock")));
    fs::write(folder.path("file"), "no socket").expect("written");
    let roundel = Roundel::start(&["--listen", &folder.url("l.sock"), &url]);
    let (stale, gone) = (folder.url("stale.sock"), folder.url("gone.sock"));
    let (taken, alive, file) = (folder.url("l.sock"), backend.url(), folder.url("file"));
    let no_folder = folder.url("no/l.sock");
    let listeners = [&taken, &alive, &file, &no_folder, &free, &free];
    let mut arguments = vec![stale.as_str(), &gone];
    arguments.extend(listeners.iter().flat_map(|address| ["--listen", address.as_str()]));
    let outcome = doctor(&arguments);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(finding(&outcome, "fail", &stale, "connect").contains(" refuses; "), "{outcome:?}");
    assert!(finding(&outcome, "fail", &gone, "connect").contains(" is not there; "));
    assert!(finding(&outcome, "fail", &alive, "listen").starts_with("is taken by doctor"));
    assert!(finding(&outcome, "fail", &file, "listen").starts_with("is there, and no socket; "));
    assert!(finding(&outcome, "fail", &no_folder, "listen").starts_with("would be in a folder"));
    assert!(finding(&outcome, "fail", &free, "listen").starts_with("is asked for twice; "));
    let want = format!("is taken by roundel, process {}; ", roundel.id());
    assert!(finding(&outcome, "warn", &taken, "listen").starts_with(&want), "{outcome:?}");
    assert_eq!(folder.names(), ["b.sock", "file", "l.sock", "stale.sock"]);
}
