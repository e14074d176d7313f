//! What is said about one backend alone: whose `Host` it sees, how many connections it may have, that
//! others come before it, that it gets nothing more.

#[path = "support/moody.rs"]
mod moody;
mod support;

use std::time::Instant;

use moody::{Mood, Moody};
use support::*;

#[expect(clippy::disallowed_methods, reason = "a patience that ends")]
fn now() -> Instant {
    Instant::now()
}

/// Sends a request on a connection of its own.
fn ask(roundel: &Roundel, target: &str) -> Wire {
    let mut client = roundel.client();
    client.send(get(target));
    client
}

/// The next request on this connection is for this target; answers with it.
#[track_caller]
fn serve(upstream: &mut Wire, target: &str) {
    let head = upstream.head();
    assert!(head.starts_with(&format!("GET {target} ")), "{target} is next, not {head}");
    upstream.send(ok(target));
}

/// The bodies of so many GETs on one connection.
fn bodies(client: &mut Wire, count: usize) -> String {
    (0..count).map(|_| client.get("/").text()).collect()
}

/// Starts roundel over these URLs.
fn start(urls: &[String], options: &[&str]) -> Roundel {
    let urls = urls.iter().map(String::as_str);
    let args: Vec<&str> = options.iter().copied().chain(urls).collect();
    Roundel::start(&args)
}

#[test]
fn a_backend_sees_the_host_that_was_chosen_for_it() {
    for (setting, want) in [
        ("", "a.example"),
        (",host=client", "a.example"),
        (",host=backend", "{own}"),
        (",host=www.example.org:8080", "www.example.org:8080"),
    ] {
        let _row = row(setting);
        let backend = Backend::manual();
        let roundel = start(&[format!("{}{setting}", backend.url())], &[]);
        let mut client = ask(&roundel, "/");
        let mut upstream = backend.accept();
        let head = upstream.head();
        let host = want.replace("{own}", &backend.addr().to_string());
        assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{head}");
        assert!(head.contains("\r\nX-Forwarded-Host: a.example\r\n"), "{head}");
        upstream.send(ok("hi"));
        assert_eq!(client.response().text(), "hi");
    }
}

/// Who finds its site by the name is asked under that name whether it is well.
#[test]
fn probes_and_clients_without_a_host_bring_the_chosen_one() {
    let backend = Backend::manual();
    let roundel = start(&[format!("{},host=www.example.org", backend.url())], &["--health", "/up"]);
    let mut probe = backend.accept();
    let head = probe.head();
    assert!(
        head.starts_with("GET /up ") && head.contains("\r\nHost: www.example.org\r\n"),
        "{head}"
    );
    probe.send(ok("well"));
    let mut client = roundel.client();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    let mut upstream = backend.accept();
    let head = upstream.head();
    assert!(head.contains("\r\nHost: www.example.org\r\n"), "{head}");
    upstream.send(ok("old"));
    assert_eq!(client.response().text(), "old");
}

/// Here fewer than for all, there more.
#[test]
fn a_backend_has_its_own_number_of_connections() {
    for (for_all, own, count) in [(3, 1, 1), (1, 2, 2)] {
        let _row = row(format!("{own} of {for_all}"));
        let backend = Backend::manual();
        let url = format!("{},max_conns={own}", backend.url());
        let roundel = start(&[url], &["--max-conns-per-backend", &for_all.to_string()]);
        let mut busy: Vec<(Wire, Wire)> = (0..count)
            .map(|number| {
                let client = ask(&roundel, &format!("/{number}"));
                let mut upstream = backend.accept();
                assert!(upstream.head().starts_with(&format!("GET /{number} ")));
                (client, upstream)
            })
            .collect();
        let mut waiting = ask(&roundel, "/waiting");
        let (mut client, mut upstream) = busy.remove(0);
        upstream.send(ok("done"));
        assert_eq!(client.response().text(), "done");
        serve(&mut upstream, "/waiting");
        assert_eq!(waiting.response().text(), "/waiting");
        assert_eq!(backend.connections(), count);
    }
}

#[test]
fn a_backup_gets_nothing_while_others_are_well() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let roundel = start(&[format!("{},backup", a.url()), b.url(), c.url()], &[]);
    assert_eq!(bodies(&mut roundel.client(), 6), "bcbcbc");
    assert_eq!(a.connections(), 0);
}

/// A request goes on to it where the others fail, and goes there at once while these are out.
#[test]
fn a_backup_stands_in_for_those_that_are_out_until_they_are_back() {
    let main = Moody::new("m", Mood::Close, Mood::Close);
    let spare = Backend::named("s");
    let roundel = start(&[format!("{},backup", spare.url()), main.backend.url()], &[]);
    let mut client = roundel.client();
    assert_eq!(bodies(&mut client, 3), "sss", "each asks the other first");
    roundel.wait_for_stderr("is out after 3 failures");
    assert_eq!(main.requests.seen(), 3);
    main.requests.becomes(Mood::Answer);
    // Its trial comes when its time is over.
    let (begin, mut turns) = (now(), String::new());
    while !turns.ends_with('m') {
        assert!(begin.elapsed() < PATIENCE, "{turns}");
        turns += &bodies(&mut client, 1);
    }
    assert!(turns.starts_with('s'), "{turns}");
    assert_eq!(bodies(&mut client, 4), "mmmm");
}

#[test]
fn a_backup_takes_what_others_have_no_room_for() {
    let (main, spare) = (Backend::manual(), Backend::named("s"));
    let urls = [format!("{},max_conns=1", main.url()), format!("{},backup", spare.url())];
    let roundel = start(&urls, &[]);
    let mut first = ask(&roundel, "/busy");
    let mut upstream = main.accept();
    assert!(upstream.head().starts_with("GET /busy "));
    assert_eq!(bodies(&mut roundel.client(), 3), "sss");
    upstream.send(ok("done"));
    assert_eq!(first.response().text(), "done");
    first.send(get("/next"));
    serve(&mut upstream, "/next");
    assert_eq!(first.response().text(), "/next", "there is room again");
}

#[test]
fn of_several_backups_each_has_its_turns() {
    let port = ClosedPort::new();
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let backups = [format!("{},backup,weight=2", a.url()), format!("{},backup", b.url())];
    let urls = [&[port.url()], &backups[..]].concat();
    let roundel = start(&urls, &["--retry-timeout", "1h"]);
    let mut client = roundel.client();
    bodies(&mut client, 3);
    roundel.wait_for_stderr("is out after 3 failures");
    let got = bodies(&mut client, 12);
    assert_eq!((got.matches('a').count(), got.matches('b').count()), (8, 4), "{got}");
}

#[test]
fn a_drained_backend_gets_nothing_not_even_as_the_last_resort() {
    let (a, b) = (Backend::named("a"), Moody::new("b", Mood::Answer, Mood::Answer));
    let options = ["--health", "/up", "--health-interval", "50ms"];
    let roundel = start(&[format!("{},drain", a.url()), b.backend.url()], &options);
    assert_eq!(bodies(&mut roundel.client(), 4), "bbbb");
    b.probes.wait_for(3);
    b.requests.becomes(Mood::Close);
    for _ in 0..5 {
        assert_eq!(roundel.get("/").status(), 502, "there is nobody else");
    }
    assert_eq!(a.connections(), 0, "nor is it asked whether it is well");
}
