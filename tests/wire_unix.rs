//! Unix sockets on each side: clients, operators and backends, what is done about files that are there
//! already, and what can and cannot be told without a reset.
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test: a panic is how it reports, threads and waits are its means"
)]

mod support;

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};
use support::*;

/// roundel on a Unix socket (and a port), with these arguments.
#[track_caller]
fn start_at(url: &str, arguments: &[&str]) -> Roundel {
    Roundel::start(&[&["--listen", url], arguments].concat())
}

#[test]
fn clients_come_over_a_unix_socket() {
    let folder = Folder::new();
    let backend = Backend::manual();
    let url = folder.url("l.sock");
    let mut roundel = start_at(&url, &["--access-log", "-", &backend.url()]);
    roundel.wait_for_stderr(&format!("listening on {url}"));
    let mut client = Wire::connect_unix(&folder.path("l.sock"));
    let mut connection = None;
    for target in ["/1", "/2"] {
        client.send(get(target));
        let upstream = connection.get_or_insert_with(|| backend.accept());
        let lines = [
            "Host: a.example",
            "X-Forwarded-For: unknown",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: a.example",
            "Via: 1.1 roundel",
        ];
        assert_head(&upstream.head(), &format!("GET {target} HTTP/1.1"), &lines);
        upstream.send(ok("hello"));
        assert_eq!(client.response().text(), "hello");
    }
    let lines = roundel.access_log(2);
    assert!(lines.iter().all(|line| line.client == "unix:"), "{lines:?}");

    // Who asks for the end of the connection gets it, after everything.
    client.send("GET /3 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    let upstream = connection.as_mut().expect("a connection");
    upstream.head();
    upstream.send(ok("bye"));
    assert_eq!(client.response().text(), "bye");
    client.expect_closed();

    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    assert_eq!(folder.names(), [""; 0], "its own file is gone");
}

#[test]
fn what_a_client_without_an_address_claims_is_believed_only_if_asked() {
    let folder = Folder::new();
    let backend = Backend::manual();
    let claims = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.9\r\n\
                  X-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n\r\n";
    for (trust, present, absent) in [
        (
            ["--trust", "unix"],
            &[
                "X-Forwarded-For: 203.0.113.9, unknown",
                "X-Real-IP: 203.0.113.9",
                "Forwarded: for=203.0.113.9, for=unknown;proto=http",
            ][..],
            "for=unknown\r\n",
        ),
        (
            ["--trust", "0.0.0.0/0"],
            &["X-Forwarded-For: unknown", "Forwarded: for=unknown;proto=http"],
            "203.0.113.9",
        ),
    ] {
        let url = folder.url("l.sock");
        let roundel = start_at(&url, &[&trust[..], &[&backend.url()]].concat());
        let mut client = Wire::connect_unix(&folder.path("l.sock"));
        client.send(claims);
        let mut upstream = backend.accept();
        let head = upstream.head();
        for line in present {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{trust:?}: {head}");
        }
        assert!(!head.contains(absent), "{trust:?}: {head}");
        upstream.send(ok(""));
        client.response();
        drop(roundel);
    }
    // To trust what is local says nothing about who comes over TCP.
    let roundel = Roundel::over(&[&backend], &["--trust", "unix"]);
    let mut client = roundel.client();
    client.send(claims);
    let mut upstream = backend.accept();
    assert!(!upstream.head().contains("203.0.113.9"));
    upstream.send(ok(""));
    client.response();
}

#[test]
fn operators_come_over_a_unix_socket() {
    let folder = Folder::new();
    let (url, backend_url) = (folder.url("admin.sock"), folder.url("b.sock"));
    let mut roundel = Roundel::start(&["--admin", &url, &backend_url]);
    roundel.wait_for_stderr(&format!("admin on {url}"));
    let desk = folder.path("admin.sock");
    assert_eq!(Wire::connect_unix(&desk).get("/healthz").text(), "ok\n");
    let metrics = Wire::connect_unix(&desk).get("/metrics").text();
    assert!(metrics.contains(&format!("\"{backend_url}\"")), "{metrics}");
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_backend_on_a_unix_socket() {
    let folder = Folder::new();
    let backend = UnixBackend::manual(&folder.path("b.sock"));
    let url = format!("{}:/app/", backend.url());
    let roundel = Roundel::start(&["--access-log", "-", &url]);
    let mut client = roundel.client();
    client.send(get("/a?b"));
    let mut upstream = backend.accept();
    assert_head(&upstream.head(), "GET /app/a?b HTTP/1.1", FORWARDED);
    upstream.send(ok("one"));
    assert_eq!(client.response().text(), "one");
    let mut old = roundel.client();
    old.send("GET / HTTP/1.0\r\n\r\n");
    let head = upstream.head();
    assert!(head.contains("\r\nHost: localhost\r\n"), "{head}");
    upstream.send(ok("two"));
    assert_eq!(old.response().text(), "two");
    assert_eq!(backend.connections(), 1, "the connection is used again");
    let label = backend.url();
    let summaries = roundel.access_log(2);
    let summaries: Vec<_> = summaries.iter().map(LogLine::summary).collect();
    assert_eq!(
        summaries,
        [format!("200 0 3 {label} 1 new -"), format!("200 0 3 {label} 1 reused -")]
    );
}

#[test]
fn a_backend_sees_the_host_that_was_configured() {
    let folder = Folder::new();
    let backend = UnixBackend::manual(&folder.path("b.sock"));
    for (setting, want) in
        [("", "a.example"), (",host=backend", "localhost"), (",host=w.example", "w.example")]
    {
        let roundel = Roundel::start(&[&format!("{}{setting}", backend.url())]);
        let mut client = roundel.client();
        client.send(get("/"));
        let mut upstream = backend.accept();
        let head = upstream.head();
        assert!(head.contains(&format!("\r\nHost: {want}\r\n")), "{setting}: {head}");
        upstream.send(ok(""));
        client.response();
    }
}

/// Leaves a socket behind at which nobody listens.
fn leave_stale(folder: &Folder, name: &str) {
    drop(UnixBackend::manual(&folder.path(name)));
    assert!(UnixStream::connect(folder.path(name)).is_err());
}

#[test]
fn a_backend_that_is_not_there_costs_no_request() {
    let folder = Folder::new();
    leave_stale(&folder, "stale.sock");
    fs::write(folder.path("file"), "no socket").expect("written");
    // Room for one in the queue, which is taken: others are turned away at once, and no event would
    // ever tell them that there is room.
    let full = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    full.bind(&SockAddr::unix(folder.path("full.sock")).expect("an address")).expect("bind");
    full.listen(0).expect("listen");
    let _first = UnixStream::connect(folder.path("full.sock")).expect("room for one");
    let alive = Backend::named("alive");
    for (name, reason) in [
        ("nothing.sock", "connect_unreachable"),
        ("stale.sock", "connect_refused"),
        ("file", "connect_refused"),
        ("full.sock", "connect_refused"),
    ] {
        let roundel = Roundel::start(&["--access-log", "-", &folder.url(name)]);
        let response = roundel.get("/");
        assert_eq!(response.status(), 502, "{name}");
        assert_eq!(roundel.access_log(1)[0].reason(), reason, "{name}");
        roundel.wait_for_stderr(&format!("backend {} failed", folder.url(name)));

        let roundel = Roundel::start(&[&folder.url(name), &alive.url()]);
        for _ in 0..4 {
            let mut client = roundel.client();
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
            assert_eq!(client.response().text(), "alive", "{name}");
        }
    }
}

#[test]
fn a_backend_that_was_killed_is_reached_again() {
    let folder = Folder::new();
    let path = folder.path("b.sock");
    let backend = UnixBackend::manual(&path);
    let roundel = Roundel::start(&["--access-log", "-", &backend.url()]);
    let mut client = roundel.client();
    client.send(get("/1"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
    assert_eq!(client.head().lines().next(), Some("HTTP/1.1 200 OK"));
    client.expect("hel");
    upstream.close();
    drop(backend);
    client.expect_gone();
    assert_eq!(roundel.access_log(1)[0].reason(), "response_truncated");
    assert_eq!(roundel.get("/2").status(), 502);

    fs::remove_file(&path).expect("it was left");
    let backend = UnixBackend::manual(&path);
    let mut client = roundel.client();
    client.send(get("/3"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("again"));
    assert_eq!(client.response().text(), "again");

    // A connection that rested and is gone costs nobody anything.
    upstream.close();
    let mut client = roundel.client();
    client.send(get("/4"));
    let mut upstream = backend.accept();
    upstream.head();
    upstream.send(ok("fresh"));
    assert_eq!(client.response().text(), "fresh");
}

/// Without a reset only the framing tells a backend that a request broke off: no octet that would make
/// it look whole may follow, and the connection has to end.
#[test]
fn a_request_that_breaks_off_stays_broken() {
    let folder = Folder::new();
    let backend = UnixBackend::manual(&folder.path("b.sock"));
    let roundel = Roundel::start(&[&backend.url()]);
    for (framing, part) in
        [("Content-Length: 10", "half "), ("Transfer-Encoding: chunked", "5\r\nhalf \r\n")]
    {
        let mut client = roundel.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n{part}"));
        let mut upstream = backend.accept();
        assert_head(&upstream.head(), "POST / HTTP/1.1", &forwarded_and(&[framing]));
        upstream.expect(part);
        client.close();
        upstream.expect_gone();
    }
}

/// An answer to a request of which not everything was read arrives whole.
#[test]
fn an_early_answer_arrives() {
    let folder = Folder::new();
    let backend = UnixBackend::script(&folder.path("b.sock"), |wire| {
        wire.head();
        wire.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
    });
    let roundel = start_at(&folder.url("l.sock"), &[&backend.url()]);
    let mut client = Wire::connect_unix(&folder.path("l.sock"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    let mut sender = client.second_handle();
    let sending = thread::spawn(move || {
        // It may be told in the middle that nobody wants it.
        let _ = sender.try_send(vec![b'x'; 10_000_000]);
    });
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (413, "no!"));
    drop(client);
    drop(roundel);
    sending.join().expect("no panic");
}

#[test]
fn large_bodies_pass_both_ways() {
    let folder = Folder::new();
    let echo = |wire: &mut Wire| {
        while let Some(request) = wire.request() {
            let body = match request.field("transfer-encoding") {
                Some(_) => request.content(),
                None => request.body,
            };
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            wire.send(body);
        }
    };
    let on_unix = UnixBackend::script(&folder.path("b.sock"), echo);
    let on_tcp = Backend::script(echo);
    let octets: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let url = folder.url("l.sock");
    for (backend, splice) in [
        (on_unix.url(), "256KiB"),
        (on_unix.url(), "off"),
        (on_tcp.url(), "256KiB"),
        (on_tcp.url(), "off"),
    ] {
        let roundel = start_at(&url, &["--splice", splice, &backend]);
        for mut client in [Wire::connect_unix(&folder.path("l.sock")), roundel.client()] {
            let head = format!("Host: a\r\nContent-Length: {}", octets.len());
            client.send(format!("PUT / HTTP/1.1\r\n{head}\r\n\r\n"));
            client.send(&octets);
            assert!(client.response().body == octets, "{backend} with splice {splice}");
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            for part in octets.chunks(1_000_000) {
                client.send(chunk(part));
            }
            client.send("0\r\n\r\n");
            assert!(client.response().body == octets, "{backend} with splice {splice}");
        }
    }
}

#[test]
fn a_tunnel_passes_both_ways() {
    let folder = Folder::new();
    let backend = UnixBackend::manual(&folder.path("b.sock"));
    for splice in ["256KiB", "off"] {
        let arguments = ["--splice", splice, &backend.url()];
        let _roundel = start_at(&folder.url("l.sock"), &arguments);
        let mut client = Wire::connect_unix(&folder.path("l.sock"));
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let mut upstream = backend.accept();
        upstream.head();
        upstream.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert_eq!(client.response().status(), 101);
        let much = vec![b'x'; 3_000_000];
        for octets in [b"hello".as_slice(), &much] {
            let mut sender = client.second_handle();
            let sent = octets.to_vec();
            let sending = thread::spawn(move || sender.send(sent));
            assert!(upstream.exactly(octets.len()) == octets);
            sending.join().expect("sent");
            let mut sender = upstream.second_handle();
            let sent = octets.to_vec();
            let sending = thread::spawn(move || sender.send(sent));
            assert!(client.exactly(octets.len()) == octets);
            sending.join().expect("sent");
        }
        client.half_close();
        upstream.expect_closed();
        upstream.send("still");
        client.expect("still");
        upstream.close();
        client.expect_closed();
    }
}

#[test]
fn a_stale_socket_makes_room() {
    let folder = Folder::new();
    leave_stale(&folder, "l.sock");
    let backend = Backend::named("one");
    let mut roundel = start_at(&folder.url("l.sock"), &[&backend.url()]);
    roundel.wait_for_stderr("was left by somebody who is gone");
    assert_eq!(Wire::connect_unix(&folder.path("l.sock")).get("/").text(), "one");

    // One that was killed leaves its socket, and the next one takes the place.
    roundel.signal("KILL");
    roundel.wait();
    assert_eq!(folder.names(), ["l.sock"]);
    let _roundel = start_at(&folder.url("l.sock"), &[&backend.url()]);
    assert_eq!(Wire::connect_unix(&folder.path("l.sock")).get("/").text(), "one");
}

/// Runs roundel where it cannot listen; gives what it says.
fn complaint(url: &str) -> String {
    let outcome = run(&["--listen", url, "http://127.0.0.1:9"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    outcome.stderr
}

#[test]
fn what_is_not_ours_stays() {
    let folder = Folder::new();
    let _alive = UnixBackend::manual(&folder.path("alive.sock"));
    assert!(complaint(&folder.url("alive.sock")).contains("in use"));
    // Its queue is full, but it is there.
    let full = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    full.bind(&SockAddr::unix(folder.path("full.sock")).expect("an address")).expect("bind");
    full.listen(0).expect("listen");
    let _first = UnixStream::connect(folder.path("full.sock")).expect("room for one");
    assert!(complaint(&folder.url("full.sock")).contains("in use"));
    fs::write(folder.path("file"), "precious").expect("written");
    assert!(complaint(&folder.url("file")).contains("is no socket; it is not ours to remove"));
    std::os::unix::fs::symlink("nowhere", folder.path("link")).expect("a link");
    assert!(complaint(&folder.url("link")).contains("is no socket"));
    fs::create_dir(folder.path("folder")).expect("a folder");
    assert!(complaint(&folder.url("folder")).contains("is no socket"));
    assert!(complaint(&folder.url("no/l.sock")).contains("there is no such folder"));
    assert_eq!(folder.names(), ["alive.sock", "file", "folder", "full.sock", "link"]);
    assert_eq!(fs::read(folder.path("file")).expect("it is there"), b"precious");
    UnixStream::connect(folder.path("alive.sock")).expect("it still listens");
}

#[test]
fn the_socket_of_a_successor_stays() {
    let folder = Folder::new();
    let backend = Backend::named("one");
    let mut roundel = start_at(&folder.url("l.sock"), &[&backend.url()]);
    fs::remove_file(folder.path("l.sock")).expect("it is there");
    let _successor = UnixListener::bind(folder.path("l.sock")).expect("bind");
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    assert_eq!(folder.names(), ["l.sock"]);
}

/// The process has nothing more to do. Its outputs may stay open: they are a successor's then.
fn wait_for_end(roundel: &mut Roundel) {
    wait_until("it ends", || !roundel.is_running());
}

/// Waits until something is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}: it does not come true");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_successor_takes_the_file_over_with_the_socket() {
    let folder = Folder::new();
    let backend = Backend::named("one");
    let admin = folder.url("admin.sock");
    let mut roundel = start_at(&folder.url("l.sock"), &["--admin", &admin, &backend.url()]);
    roundel.signal("USR2");
    let first = heir(&roundel, 1);
    wait_for_end(&mut roundel);
    let serves = || {
        assert_eq!(folder.names(), ["admin.sock", "l.sock"]);
        assert_eq!(Wire::connect_unix(&folder.path("l.sock")).get("/").text(), "one");
        assert_eq!(Wire::connect_unix(&folder.path("admin.sock")).get("/healthz").text(), "ok\n");
    };
    serves();
    // Once more: who inherits has to hand it on as well.
    kill("USR2", &first);
    let second = heir(&roundel, 2);
    wait_until("the first goes", || {
        roundel.stderr().iter().filter(|line| line.contains("stopped: ")).count() == 2
    });
    serves();
    kill("TERM", &second);
    wait_until("the files go with the last", || folder.names().is_empty());
}

/// The number of the process that was the so-many-th to take over.
fn heir(roundel: &Roundel, count: usize) -> String {
    let mut heirs: Vec<String> = Vec::new();
    wait_until("somebody takes over", || {
        let lines = roundel.stderr();
        let lines = lines.iter().filter_map(|line| line.split_once(" has taken over"));
        let numbers = lines.filter_map(|(line, _)| line.rsplit_once(' '));
        heirs = numbers.map(|(_, number)| number.to_owned()).collect();
        heirs.len() == count
    });
    heirs.swap_remove(count - 1)
}

fn kill(signal: &str, process: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), process]).status();
    assert!(status.expect("kill runs").success());
}

#[test]
fn a_successor_that_fails_leaves_the_file() {
    let folder = Folder::new();
    let backend = Backend::named("one");
    let _alive = UnixBackend::manual(&folder.path("alive.sock"));
    let file = folder.path("roundel.toml");
    let write = |more: &str| {
        let text = format!(
            "listen = [\"127.0.0.1:0\", \"{}\"{more}]\n[[backend]]\nurl = \"{}\"\n",
            folder.url("l.sock"),
            backend.url()
        );
        fs::write(&file, text).expect("written");
    };
    write("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
    command.stdin(Stdio::null());
    let mut roundel = Roundel::start_as(command, &["--config", &file.display().to_string()]);
    // It has the sockets already when it finds that it cannot have this one.
    write(&format!(", \"{}\"", folder.url("alive.sock")));
    roundel.signal("USR2");
    roundel.wait_for_stderr("it ended before it was ready");
    assert_eq!(Wire::connect_unix(&folder.path("l.sock")).get("/").text(), "one");
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    assert_eq!(folder.names(), ["alive.sock", "roundel.toml"]);
}

#[test]
fn a_socket_comes_and_goes_with_the_configuration() {
    let folder = Folder::new();
    let (backend, other) = (Backend::named("one"), UnixBackend::manual(&folder.path("b.sock")));
    let file = folder.path("roundel.toml");
    let write = |listen: &str, admin: &str, backend: &str| {
        let text = format!(
            "listen = [\"127.0.0.1:0\", \"{}\"]\nadmin = \"{}\"\n[[backend]]\nurl = \"{backend}\"\n",
            folder.url(listen),
            folder.url(admin)
        );
        fs::write(&file, text).expect("written");
    };
    write("1.sock", "a.sock", &backend.url());
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
    command.stdin(Stdio::null());
    let roundel = Roundel::start_as(command, &["--config", &file.display().to_string()]);
    assert_eq!(Wire::connect_unix(&folder.path("1.sock")).get("/").text(), "one");
    write("2.sock", "z.sock", &other.url());
    roundel.signal("HUP");
    roundel.wait_for_stderr(": +1 backend, -1, ");
    let mut client = Wire::connect_unix(&folder.path("2.sock"));
    client.send(get("/"));
    let mut upstream = other.accept();
    upstream.head();
    upstream.send(ok("two"));
    assert_eq!(client.response().text(), "two");
    assert_eq!(Wire::connect_unix(&folder.path("z.sock")).get("/healthz").text(), "ok\n");
    assert_eq!(folder.names(), ["2.sock", "b.sock", "roundel.toml", "z.sock"]);
    // The same again: everything stays, the connection to the backend too.
    roundel.signal("HUP");
    roundel.wait_for_stderr(": +0 backends, -0, ");
    client.send(get("/"));
    upstream.head();
    upstream.send(ok("three"));
    assert_eq!(client.response().text(), "three");
}

#[test]
fn a_service_manager_looks_after_its_own_socket() {
    let folder = Folder::new();
    let backend = Backend::named("one");
    let listener = UnixListener::bind(folder.path("l.sock")).expect("bind");
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_roundel")]);
    command.stdin(Stdio::from(OwnedFd::from(listener)));
    let arguments = ["--listen", "127.0.0.1:0", "--listen", &folder.url("l.sock"), &backend.url()];
    let mut roundel = Roundel::start_as(command, &arguments);
    assert_eq!(Wire::connect_unix(&folder.path("l.sock")).get("/").text(), "one");
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    assert_eq!(folder.names(), ["l.sock"]);
}

#[test]
fn one_socket_is_not_listened_on_twice() {
    let folder = Folder::new();
    let url = folder.url("l.sock");
    let outcome = run(&["--listen", &url, "--listen", &url, "http://127.0.0.1:9"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("in use"), "{outcome:?}");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_socket_in_no_file_system() {
    let name = format!("rl-{}", std::process::id());
    let (front, back) = (format!("unix:@{name}-front"), format!("unix:@{name}-back"));
    let backend = Backend::named("one");
    let _inner = start_at(&back, &[&backend.url()]);
    let outer = start_at(&front, &[&back]);
    assert_eq!(outer.get("/").text(), "one");
    assert!(complaint(&front).contains("in use"));
}

#[test]
fn a_path_that_cannot_be_is_a_wrong_option() {
    let too_long = format!("unix:/{}", "x".repeat(200));
    for (arguments, words) in [
        (["--listen", too_long.as_str(), "http://127.0.0.1:9"], "octets, not 201"),
        (["--admin", "unix:/a\u{1b}[2J", "http://127.0.0.1:9"], "no blanks, control"),
        (["--listen", "unix:l.sock", "http://127.0.0.1:9"], "a whole path"),
        (["--listen", "/run/l.sock", "http://127.0.0.1:9"], "did you mean unix:/run/l.sock?"),
        (["--log", "info", too_long.as_str()], "octets, not 201"),
        (["--log", "info", "unix:/a\nb"], "no blanks, control"),
    ] {
        let outcome = run(&arguments);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(words), "{outcome:?}");
        assert!(!outcome.stderr.contains('\u{1b}'), "{outcome:?}");
    }
}

#[test]
fn what_would_run_is_told() {
    let folder = Folder::new();
    let backend = UnixBackend::manual(&folder.path("b.sock"));
    let (listen, there, gone) = (folder.url("l.sock"), backend.url(), folder.url("gone.sock"));
    let file = folder.path("roundel.toml");
    let text = format!(
        "listen = \"{listen}\"\nadmin = \"unix:/a.sock\"\ntrust = [\"unix\"]\n\
         [[backend]]\nurl = \"{there}\"\n[[backend]]\nurl = \"{gone}:/app\"\n"
    );
    fs::write(&file, text).expect("written");
    let outcome = run(&["--check", "--config", &file.display().to_string()]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let want = format!(
        "listeners\n  {listen}\nbackends\n  {there}\n    at {there}\n  {gone}:/app\n    at {gone}, where \
         there is no socket now\n"
    );
    assert!(outcome.stdout.starts_with(&want), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("\n  admin unix:/a.sock, not off\n"), "{}", outcome.stdout);
    assert_eq!(folder.names(), ["b.sock", "roundel.toml"], "nothing is opened");
}
