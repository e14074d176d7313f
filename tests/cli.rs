//! The command line: what it says, what it refuses and in which words, and with which code it ends.

mod support;

use std::net::TcpListener as Listener;

use support::*;

/// Every option of this version, with a legal value where it takes one.
const OPTIONS: &[(&str, &str)] = &[
    ("--config", "FILE"),
    ("--check", ""),
    ("--balance", "round-robin"),
    ("--listen", "127.0.0.1:0"),
    ("--ca", "FILE"),
    ("--trust", "127.0.0.1"),
    ("--head-timeout", "1s"),
    ("--body-timeout", "1s"),
    ("--idle-timeout", "1s"),
    ("--connect-timeout", "1s"),
    ("--timeout", "1s"),
    ("--drain-delay", "1s"),
    ("--drain-timeout", "1s"),
    ("--body-rate", "100B"),
    ("--max-body", "1MiB"),
    ("--max-conns", "100"),
    ("--tls-timeout", "5s"),
    ("--retry-timeout", "15s"),
    ("--response-timeout", "60s"),
    ("--tunnel-timeout", "1h"),
    ("--half-closed-timeout", "60s"),
    ("--pool-timeout", "60s"),
    ("--max-conns-per-backend", "10"),
    ("--queue-timeout", "5s"),
    ("--queue-max", "100"),
    ("--health", "/"),
    ("--health-interval", "5s"),
    ("--health-timeout", "2s"),
    ("--splice", "1MiB"),
    ("--access-log", "-"),
    ("--access-log-format", "json"),
    ("--server-timing", ""),
    ("--admin", "127.0.0.1:0"),
    ("--log", "info"),
    ("--demo", ""),
    ("--generate", "man"),
    ("--help", ""),
    ("--version", ""),
];

#[test]
fn help_names_every_option_and_nothing_that_does_not_work() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for (option, _) in OPTIONS {
        assert!(help.stdout.contains(option), "{option} is not in\n{}", help.stdout);
    }
    for short in ["-c", "-l", "-h", "-V"] {
        assert!(help.stdout.contains(short), "{short}");
    }
    for default in ["127.0.0.1:8000", "10s", "60s", "5s", "30s"] {
        assert!(help.stdout.contains(default), "{default}");
    }
    let named: Vec<&str> = help
        .stdout
        .split(|c: char| !(c.is_ascii_lowercase() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .collect();
    for word in named {
        let known = OPTIONS.iter().any(|(option, _)| *option == word);
        assert!(known, "the help names {word}, which this version has not");
    }
    assert_eq!(run(&["-h"]).stdout, help.stdout);
    assert_eq!(run(&["--listen", "127.0.0.1:0", "-h", "http://h"]).stdout, help.stdout);
}

#[test]
fn every_timeout_of_the_help_is_taken() {
    let backend = Backend::named("ok");
    let timeouts: Vec<&str> = OPTIONS
        .iter()
        .filter(|(option, _)| option.ends_with("timeout") && *option != "--health-timeout")
        .flat_map(|(option, value)| [*option, *value])
        .collect();
    let roundel = Roundel::over(&[&backend], &timeouts);
    assert_eq!(roundel.get("/").text(), "ok");
}

#[test]
fn version_is_the_name_and_the_number() {
    for flag in ["--version", "-V"] {
        let version = run(&[flag]);
        assert_eq!(version.code, Some(0));
        assert_eq!(version.stderr, "");
        let want = format!("roundel {}", env!("CARGO_PKG_VERSION"));
        assert!(version.stdout.starts_with(&want), "{}", version.stdout);
        assert_eq!(version.stdout.lines().count(), 1);
    }
}

#[test]
fn without_backends_there_are_three_lines_with_examples() {
    for args in [&[][..], &["--listen", "127.0.0.1:0"], &["--log", "debug"]] {
        let none = run(args);
        assert_eq!((none.code, none.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert_eq!(none.stderr.lines().count(), 3, "{}", none.stderr);
        assert!(none.stderr.contains("roundel http://"), "{}", none.stderr);
        assert!(none.stderr.contains("--demo"), "{}", none.stderr);
    }
}

/// Each is one line that names the text, says what is allowed, and the nearest right one.
#[test]
fn wrong_command_lines_are_explained_in_one_line() {
    let mut failures = Vec::new();
    for (args, parts) in [
        (&["--lisen", "127.0.0.1:0", "http://h"][..], &["--lisen", "--listen"][..]),
        (&["--dmeo"], &["--dmeo", "--demo"]),
        (&["--drain-timout", "1s", "http://h"], &["--drain-timout", "--drain-timeout"]),
        (&["--acess-log=-", "http://h"], &["--acess-log", "--access-log"]),
        (&["--helpme"], &["--helpme", "--help"]),
        (&["-x", "http://h"], &["-x"]),
        (&["--nothing-like-it", "http://h"], &["--nothing-like-it", "--help"]),
        (&["--demo=yes"], &["--demo"]),
        (&["--listen"], &["--listen"]),
        (&["http://h", "--timeout"], &["--timeout"]),
        (&["--listen", "8000", "http://h"], &["8000"]),
        (&["--listen", "127.0.0.1", "http://h"], &["127.0.0.1"]),
        (&["--listen", "127.0.0.1:65536", "http://h"], &["127.0.0.1:65536", "65535"]),
        (&["--listen", "127.0.0.1:x", "http://h"], &["127.0.0.1:x"]),
        (&["--listen", "::1:8000", "http://h"], &["::1:8000", "["]),
        (&["--listen", "http://127.0.0.1:8000", "http://h"], &["http://127.0.0.1:8000"]),
        (&["--timeout", "5", "http://h"], &["--timeout", "5", "5s"]),
        (&["--timeout", "5sec", "http://h"], &["--timeout", "5sec", "ms"]),
        (&["--timeout", "0s", "http://h"], &["--timeout", "0s", "1ms"]),
        (&["--timeout", "-5s", "http://h"], &["--timeout", "-5s"]),
        (&["--timeout", "", "http://h"], &["--timeout"]),
        (&["--head-timeout", "soon", "http://h"], &["--head-timeout", "soon", "5s"]),
        (&["--idle-timeout=1000h", "http://h"], &["--idle-timeout", "1000h", "720h"]),
        (&["--log", "loud", "http://h"], &["--log", "loud", "info", "trace"]),
        (&["--log", "inof", "http://h"], &["inof", "info"]),
        (&["127.0.0.1:3001"], &["127.0.0.1:3001", "http://127.0.0.1:3001"]),
        (&["ftp://h"], &["ftp://h", "http"]),
        (&["htps://h"], &["htps://h", "http"]),
        (&["http://"], &["http://", "host"]),
        (&["http://h:0"], &["http://h:0", "65535"]),
        (&["http://h:99999"], &["http://h:99999", "65535"]),
        (&["http://h:http"], &["http://h:http", "65535"]),
        (&["http://::1:80"], &["http://::1:80", "["]),
        (&["http://u:p@h"], &["user"]),
        (&["http://h/?q"], &["http://h/?q", "query"]),
        (&["http://h/a b"], &["http://h/a b", "%"]),
        (&["http://1.2.3.256"], &["1.2.3.256", "255"]),
        (&["http://h,weight=0"], &["http://h,weight=0", "1000"]),
        (&["http://h,wieght=2"], &["http://h,wieght=2", "weight"]),
        (&["http://h,insecure"], &["http://h,insecure", "https"]),
        (&["http://h,drain"], &["drained"]),
        (&["--balance", "random", "http://h"], &["random", "round-robin"]),
        (&["--config", "no-such.toml"], &["--config", "no-such.toml", "cannot be read"]),
        (&["http://good", "http://h:x", "http://good"], &["http://h:x"]),
        (&["--demo", "http://h"], &["--demo"]),
        (&["--ca", "no-such-file.pem", "https://h"], &["no-such-file.pem"]),
    ] {
        let outcome = run(args);
        let stderr = &outcome.stderr;
        let good = outcome.code == Some(2)
            && outcome.stdout.is_empty()
            && stderr.lines().count() == 1
            && stderr.starts_with("roundel: ")
            && parts.iter().all(|part| stderr.contains(part));
        if !good {
            failures.push(format!("{args:?} should say {parts:?}: {outcome:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn an_option_may_stand_before_and_after_backends_and_with_an_equals_sign() {
    let backend = Backend::named("ok");
    let url = backend.url();
    for args in [
        &["-l", "127.0.0.1:0", "--log", "info", &url][..],
        &[&url, "--listen", "127.0.0.1:0", "--log=info"],
        &["--log=debug", "-l", "127.0.0.1:0", "--", &url],
    ] {
        let roundel = Roundel::start(args);
        assert_eq!(roundel.get("/").text(), "ok", "{args:?}");
    }
}

#[test]
fn several_listeners_listen() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(
        &[&backend],
        &["--listen", "127.0.0.1:0", "-l", "127.0.0.1:0", "--listen", "[::1]:0"],
    );
    assert_eq!(roundel.addrs().len(), 3);
    assert!(roundel.addrs()[2].is_ipv6());
    for addr in roundel.addrs() {
        assert_eq!(Wire::connect(*addr).get("/").text(), "ok");
    }
}

#[test]
fn a_port_in_use_is_explained() {
    let holder = Listener::bind("127.0.0.1:0").expect("a port");
    let addr = holder.local_addr().expect("its address").to_string();
    let outcome = run(&["--listen", &addr, "http://127.0.0.1:1"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    for part in ["roundel", addr.as_str(), "in use"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    // How to find the holder.
    let tools = ["ss ", "lsof"];
    assert!(tools.iter().any(|tool| outcome.stderr.contains(tool)), "{}", outcome.stderr);
    let port = addr.rsplit(':').next().expect("a port");
    assert!(outcome.stderr.matches(port).count() >= 2, "{}", outcome.stderr);
}

#[test]
fn too_few_descriptors_are_explained() {
    let outcome = run_with_descriptors(4, &["-l", "127.0.0.1:0", "http://127.0.0.1:1"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome:?}");
    let last = outcome.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("descriptors") || last.contains("open files"), "{outcome:?}");
}

/// One listener that cannot be had ends it all: nobody should believe that it listens there.
#[test]
fn one_port_in_use_of_two_is_an_error() {
    let holder = Listener::bind("127.0.0.1:0").expect("a port");
    let addr = holder.local_addr().expect("its address").to_string();
    let outcome = run(&["-l", "127.0.0.1:0", "-l", &addr, "http://127.0.0.1:1"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains(&addr), "{}", outcome.stderr);
}

#[test]
fn an_access_log_that_cannot_be_opened_is_an_error() {
    let path = "no-such-directory/access.log";
    let outcome = run(&["-l", "127.0.0.1:0", "--access-log", path, "http://127.0.0.1:1"]);
    assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
    let lines: Vec<_> = outcome.stderr.lines().filter(|line| line.contains(path)).collect();
    assert_eq!(lines.len(), 1, "{outcome:?}");
}

/// A name that does not resolve is a backend that is down, not an error.
#[test]
fn an_unresolvable_name_is_a_warning() {
    let name = "no-such-host.invalid";
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let roundel = Roundel::start(&[&a.url(), &format!("http://{name}:81"), &b.url()]);
    let warning = roundel.wait_for_stderr(name);
    assert!(warning.starts_with("WARN"), "{warning}");
    let mut client = roundel.client();
    let got: String = (0..6).map(|_| client.get("/").text()).collect();
    assert!(got.contains('a') && got.contains('b'), "the others take its turns: {got}");
}

#[test]
fn with_no_name_resolved_there_is_nobody_to_ask() {
    let roundel = Roundel::start(&["http://no-such-host.invalid"]);
    roundel.wait_for_stderr("no-such-host.invalid");
    let reply = roundel.get("/");
    assert!(matches!(reply.status(), 502 | 503), "{reply:?}");
    let marked = reply.field("proxy-status").unwrap_or_default();
    let reasons = ["name_unresolved", "no_backend"];
    assert!(reasons.iter().any(|reason| marked.contains(reason)), "{reply:?}");
}

#[test]
fn a_name_is_resolved() {
    let backend = Backend::named("ok");
    let url = format!("http://localhost:{}", backend.addr().port());
    let roundel = Roundel::start(&[&url]);
    assert_eq!(roundel.get("/").text(), "ok");
}

/// The README's first command: three requests show the rotation.
#[test]
fn the_demo_shows_the_rotation() {
    let mut roundel = Roundel::start(&["--demo"]);
    let bodies: Vec<String> = (0..6).map(|_| roundel.get("/").text()).collect();
    let (first, second) = bodies.split_at(3);
    assert_eq!(first, second);
    let mut names = first.to_vec();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "each names itself: {bodies:?}");
    assert!(bodies.iter().all(|body| body.ends_with('\n')), "for a terminal: {bodies:?}");
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
}
