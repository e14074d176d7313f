//! What is written about an exchange: one line of the access log, field by field; and what stderr
//! says at which level.

mod support;

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    process::{self, Command},
    thread,
};

use support::*;

/// A file of this test's own; gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        Self(dir.join(format!("{name}-{}", process::id())))
    }

    #[expect(clippy::expect_used, reason = "a helper of tests")]
    fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

/// Is it `2026-11-23T13:10:27.123Z`?
fn is_timestamp(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

#[test]
fn each_exchange_is_one_line() {
    let backend = Backend::serve(|wire, request| {
        let answer = match request.start() {
            "GET /chunked HTTP/1.1" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                    .into()
            }
            "HEAD / HTTP/1.1" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into(),
            "GET /404 HTTP/1.1" => {
                "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".into()
            }
            _ => ok("hello"),
        };
        wire.send(answer);
    });
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    let mut client = roundel.client();
    client.get("/?a=b");
    client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.response_to_head();
    client.send("POST /p HTTP/1.1\r\nHost: a.example\r\nContent-Length: 7\r\n\r\n1234567");
    client.response();
    client.send("POST /q HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    for part in ["3\r\nabc\r\n", "4\r\ndefg\r\n", "0\r\n\r\n"] {
        // Each on its own: the backend has the one before.
        let before = backend.received().concat().len();
        client.send(part);
        while backend.received().concat().len() == before {
            thread::yield_now();
        }
    }
    client.response();
    client.get("http://a.example/absolute");
    client.get("/404");
    client.get("/");
    client.send("GET / HTTP/1.1\r\n\r\n");
    client.response().expect_reply(400, "bad_host");

    let reply = "400 0 ".to_owned() + &client_body_length(&client);
    let at = backend.addr();
    let log = roundel.access_log(8);
    let got: Vec<_> = log.iter().map(|line| (line.request.as_str(), line.summary())).collect();
    let want = [
        ("GET /?a=b", format!("200 0 5 {at} 1 new -")),
        ("HEAD /", format!("200 0 0 {at} 1 reused -")),
        ("POST /p", format!("200 7 5 {at} 1 reused -")),
        ("POST /q", format!("200 22 5 {at} 1 reused -")),
        ("GET /absolute", format!("200 0 5 {at} 1 reused -")),
        ("GET /404", format!("404 0 0 {at} 1 reused -")),
        ("GET /", format!("200 0 5 {at} 1 new -")),
        ("GET /", format!("{reply} - 0 - bad_host")),
    ];
    for (index, (got, want)) in got.iter().zip(&want).enumerate() {
        // How an absolute target is shown is free, and so is what is shown of a refused head.
        if ![4, 7].contains(&index) {
            assert_eq!(got.0, want.0);
        }
        assert_eq!(got.1, want.1, "{}", want.0);
    }
    for line in &log {
        assert!(is_timestamp(&line.time), "{line:?}");
        assert_eq!(line.client, client.local_addr().to_string());
    }
    let mut times: Vec<_> = log.iter().map(|line| &line.time).collect();
    times.sort();
    assert!(
        times.iter().zip(&log).all(|(time, line)| **time == line.time),
        "in order of their ends"
    );
}

/// The length of the last body that this client received.
fn client_body_length(client: &Wire) -> String {
    let octets = text(&client.received());
    octets.rsplit("\r\n\r\n").next().unwrap_or_default().len().to_string()
}

#[test]
fn attempts_and_backends_are_told() {
    let refusing = ClosedPort::new();
    let backend = Backend::named("ok");
    let roundel = Roundel::start(&["--access-log", "-", &refusing.url(), &backend.url()]);
    assert_eq!(roundel.get("/").text(), "ok");
    let log = roundel.access_log(1);
    let body = "2";
    assert_eq!(log[0].summary(), format!("200 0 {body} {} 2 new -", backend.addr()));
}

/// A target cannot make a line look like another one.
#[test]
fn a_line_is_a_line_whatever_is_asked() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    for request in [
        "GET /\" HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(),
        b"GET /\xff\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x01\" 200 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = roundel.client();
        client.send(request);
        assert_eq!(client.response().status(), 400);
    }
    for line in roundel.access_log(3) {
        assert_eq!(line.rest[0], "400");
        assert!(line.request.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' '));
        assert!(!line.request.contains('"'), "{line:?}");
    }
}

#[test]
fn a_connection_that_asked_nothing_is_no_exchange() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &["--access-log", "-"]);
    roundel.client().close();
    roundel.client().reset();
    assert_eq!(roundel.get("/").text(), "ok");
    assert_eq!(roundel.access_log(1)[0].rest[0], "200");
}

#[test]
fn a_file_is_appended_to() {
    let scratch = Scratch::new("access-log");
    fs::write(&scratch.0, "what was there\n").expect("a file");
    let backend = Backend::named("ok");
    for _ in 0..2 {
        let mut roundel = Roundel::over(&[&backend], &["--access-log", scratch.path()]);
        assert_eq!(roundel.get("/").text(), "ok");
        roundel.signal("TERM");
        assert_eq!(roundel.wait(), Some(0));
        assert_eq!(roundel.stdout(), Vec::<String>::new());
    }
    let written = fs::read_to_string(&scratch.0).expect("the file");
    let lines: Vec<_> = written.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "what was there"), "{written}");
    assert!(lines[1..].iter().all(|line| line.contains(" \"GET /\" 200 ")), "{written}");
    assert!(written.ends_with('\n'));
}

#[test]
fn a_pipe_that_is_read_is_written_to() {
    let scratch = Scratch::new("access-log-pipe");
    assert!(Command::new("mkfifo").arg(&scratch.0).status().expect("mkfifo").success());
    // Who may write as well need not wait for a writer, and is a reader at once.
    let first = File::options().read(true).write(true).open(&scratch.0).expect("a pipe");
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &["--access-log", scratch.path()]);
    let pipe = File::open(&scratch.0).expect("a pipe");
    drop(first);
    // More than a pipe holds while nobody reads, and so more than can be written without a wait.
    let target = format!("/{}", "x".repeat(4000));
    let mut client = roundel.client();
    for _ in 0..50 {
        assert_eq!(client.get(&target).text(), "ok");
    }
    let reader = thread::spawn(move || io::read_to_string(pipe).expect("what was written"));
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    let read = reader.join().expect("a reader");
    assert_eq!(read.lines().filter(|line| line.contains(" 200 ")).count(), 50);
}

#[test]
fn without_the_option_there_is_no_log_and_stderr_is_quiet() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &[]);
    let before = roundel.stderr().len();
    let mut client = roundel.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "ok");
    }
    let after = roundel.stderr();
    assert_eq!(after.len(), before, "start, stop and changes only: {after:#?}");
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    assert_eq!(roundel.stdout(), Vec::<String>::new());
}

#[test]
fn at_trace_a_connection_can_be_followed() {
    let backend = Backend::named("ok");
    let mut roundel = Roundel::over(&[&backend], &["--log", "trace"]);
    let mut client = roundel.client();
    assert_eq!(client.get("/").text(), "ok");
    let name = client.local_addr().to_string();
    client.close();
    roundel.signal("TERM");
    assert_eq!(roundel.wait(), Some(0));
    let lines = roundel.stderr();
    assert!(lines.iter().any(|line| line.contains(&name)), "{name} is not in {lines:#?}");
    let traces = lines.iter().filter(|line| line.starts_with("TRACE")).count();
    assert!(traces >= 3, "accepted, sent on, closed at least: {lines:#?}");
}

/// An access log that nobody takes may lose lines. It may not hold anybody up.
#[test]
fn a_log_that_is_not_read_stalls_nothing() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over_with_unread_stdout(&[&backend], &["--access-log", "-"]);
    let mut client = roundel.client();
    let target = format!("/{}", "x".repeat(4000));
    // Far more than a pipe holds.
    for _ in 0..200 {
        assert_eq!(client.get(&target).text(), "ok");
    }
}

/// Waits for so many lines on the standard output, whatever they look like.
fn lines(roundel: &Roundel, count: usize) -> Vec<String> {
    let lines = roundel.stdout_lines(count);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

#[test]
fn json_says_all_in_an_object_each_line() {
    let backend = Backend::named("hello");
    let roundel = Roundel::over(&[&backend], &["--access-log", "-", "--access-log-format", "json"]);
    let mut client = roundel.client();
    client.send(
        "POST /a?b='&c HTTP/1.1\r\nHost: a\r\nX-Request-Id: r-1\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert_eq!(client.response().status(), 200);
    client.send(b"GET /\"\xff\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    let local = client.local_addr();
    let at = backend.addr().to_string();
    let lines = lines(&roundel, 2);
    let good = json(&lines[0]);
    for (name, want) in [
        ("client", "127.0.0.1"),
        ("client_port", &local.port().to_string()),
        ("method", "POST"),
        ("target", "/a?b='&c"),
        ("status", "200"),
        ("bytes_in", "2"),
        ("bytes_out", "5"),
        ("own_ms", "null"),
        ("backend", &at),
        ("attempts", "1"),
        ("reuse", "new"),
        ("reason", "null"),
        ("request_id", "r-1"),
    ] {
        assert_eq!(good[name], want, "{name} in {}", lines[0]);
    }
    assert!(is_timestamp(&good["time"]));
    let ms = |name: &str| good[name].parse::<f64>().expect("milliseconds");
    assert!(ms("connect_ms") + ms("wait_ms") <= ms("duration_ms") + 0.01, "{}", lines[0]);
    let bad = json(&lines[1]);
    for (name, want) in [
        ("method", "null"),
        ("status", "400"),
        ("backend", "null"),
        ("attempts", "0"),
        ("reuse", "null"),
        ("reason", "bad_target"),
    ] {
        assert_eq!(bad[name], want, "{name} in {}", lines[1]);
    }
    assert_eq!(good.len(), bad.len(), "the same members always");
}

/// Where the desk is open, a line knows what roundel itself took.
#[test]
fn json_knows_the_own_part_where_it_is_measured() {
    let backend = Backend::named("hello");
    let options = ["--admin", "127.0.0.1:0", "--access-log", "-", "--access-log-format", "json"];
    let roundel = Roundel::over(&[&backend], &options);
    assert_eq!(roundel.get("/").text(), "hello");
    let line = json(&lines(&roundel, 1)[0]);
    let own = line["own_ms"].parse::<f64>().expect("milliseconds");
    assert!(own > 0.0, "{line:#?}");
}

/// The shape that tools for the logs of Apache and nginx expect, whatever the client says.
#[test]
fn combined_is_what_nginx_writes() {
    let backend = Backend::named("hello");
    let roundel =
        Roundel::over(&[&backend], &["--access-log", "-", "--access-log-format", "combined"]);
    let mut client = roundel.client();
    let long = "x".repeat(3000);
    for request in [
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nuser-agent: curl/8 (x; \"y\")\r\nREFERER: http://a/\\\r\n\r\n"
            .as_slice(),
        b"HEAD / HTTP/1.1\r\nHost: a\r\nUser-Agent: \xe4\t\xff\r\nUser-Agent-2: no\r\n\r\n",
        format!("GET / HTTP/1.0\r\nConnection: keep-alive\r\nUser-Agent: {long}\r\n\r\n").as_bytes(),
        b"GET /\x01\" HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        client.send(request);
        match request.starts_with(b"HEAD") {
            true => client.response_to_head(),
            false => client.response(),
        };
    }
    let lines = lines(&roundel, 4);
    let (parts, dates): (Vec<_>, Vec<_>) = lines
        .iter()
        .map(|line| {
            let rest = line.strip_prefix("127.0.0.1 - - [").expect("the client");
            let (date, rest) = rest.split_once("] ").expect("a date");
            (rest.to_owned(), date.to_owned())
        })
        .unzip();
    for date in dates {
        let shape: String =
            date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let (before, after) = (shape.get(..3), shape.get(6..));
        assert_eq!((before, after), (Some("00/"), Some("/0000:00:00:00 +0000")), "{date}");
    }
    let reply = client_body_length(&client);
    assert_eq!(
        parts[0],
        "\"GET /a?b HTTP/1.1\" 200 5 \"http://a/\\x5C\" \"curl/8 (x; \\x22y\\x22)\""
    );
    assert_eq!(parts[1], "\"HEAD / HTTP/1.1\" 200 0 \"-\" \"\\xE4\\x09\\xFF\"");
    assert_eq!(parts[2], format!("\"GET / HTTP/1.0\" 200 5 \"-\" \"{}\"", "x".repeat(1024)));
    assert_eq!(parts[3], format!("\"-\" 400 {reply} \"-\" \"-\""));
}
