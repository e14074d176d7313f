//! What operators do to a process that serves: another configuration, other log files, a successor. The
//! promise is always the same: no client notices.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test: a panic is how it reports, threads and waits are its means"
)]

#[path = "support/moody.rs"]
mod moody;
mod support;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use moody::{Mood, Moody};
use support::*;

/// A folder of this test's own; gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("operate-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A configuration over these backends, with some more lines.
fn file(more: &str, backends: &[&Backend]) -> String {
    let tables =
        backends.iter().map(|backend| format!("[[backend]]\nurl = \"{}\"\n", backend.url()));
    format!("listen = \"127.0.0.1:0\"\n{more}\n{}", tables.collect::<String>())
}

/// Clients that never stop asking, and never forgive.
struct Crowd {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Eight that keep their connections as long as they may, and eight that come anew each time.
    fn of_sixteen(address: SocketAddr) -> Self {
        let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let ask = move |keeps: bool, stop: &AtomicBool, served: &AtomicUsize| {
            let mut client = Wire::connect(address);
            while !stop.load(Ordering::SeqCst) {
                let end = if keeps { "" } else { "Connection: close\r\n" };
                client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{end}\r\n"));
                let response = client.response();
                assert_eq!(response.status(), 200, "{}", response.text());
                served.fetch_add(1, Ordering::SeqCst);
                if !keeps || response.field("connection") == Some("close") {
                    client = Wire::connect(address);
                }
            }
        };
        let start = |number| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            thread::spawn(move || ask(number < 8, &stop, &served))
        };
        let clients = (0..16).map(start).collect();
        Self { stop, served, clients }
    }

    /// Until so many more requests have been answered.
    fn goes_on(&self) {
        let end = self.served.load(Ordering::SeqCst) + 300;
        while self.served.load(Ordering::SeqCst) < end {
            let failed = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!failed, "a client has met an error");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn goes_home(self) {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("no client has met an error");
        }
    }
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
    command.stdin(Stdio::null());
    command
}

fn times(roundel: &Roundel, text: &str) -> usize {
    roundel.stderr().iter().filter(|line| line.contains(text)).count()
}

/// Waits until the log has said this so often.
fn wait_for_times(roundel: &Roundel, text: &str, count: usize) {
    for _ in 0..10_000 {
        if times(roundel, text) >= count {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("\"{text}\" was not said {count} times: {:#?}", roundel.stderr());
}

/// The number of the process that took over.
fn successor(roundel: &Roundel) -> String {
    let line = roundel.wait_for_stderr("has taken over");
    let (_, rest) = line.split_once("process ").expect("a number");
    rest.split(' ').next().expect("a number").to_owned()
}

/// The process has nothing more to do. Its outputs stay open: they are the successor's now.
fn wait_for_end(roundel: &mut Roundel) {
    for _ in 0..5_000 {
        if !roundel.is_running() {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("it does not end: {:#?}", roundel.stderr());
}

fn kill(signal: &str, process: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), process]).status();
    assert!(status.expect("kill runs").success());
}

#[test]
fn three_reloads_and_an_upgrade_cost_no_client_anything() {
    let backends = ["a", "b", "c"].map(Backend::named);
    let [a, b, c] = backends.each_ref();
    let folder = Folder::new();
    let path = folder.write("roundel.toml", &file("", &[a, b]));
    let mut roundel = Roundel::start_as(binary(), &["--config", &path]);
    let crowd = Crowd::of_sixteen(roundel.addr());
    crowd.goes_on();
    let versions = [
        file("timeout = \"30s\"\nhealth = \"/\"", &[b, c]),
        file("max_conns_per_backend = 4", &[c, a]),
        file("log = \"debug\"", &[a]),
    ];
    for (number, version) in (1..).zip(versions) {
        folder.write("roundel.toml", &version);
        roundel.signal("HUP");
        wait_for_times(&roundel, "reloaded ", number);
        crowd.goes_on();
    }
    roundel.signal("USR2");
    let process = successor(&roundel);
    crowd.goes_on();
    wait_for_end(&mut roundel);
    crowd.goes_on();
    crowd.goes_home();
    kill("TERM", &process);
}

#[test]
fn a_broken_file_changes_nothing() {
    let (old, new) = (Backend::named("old"), Backend::named("new"));
    let folder = Folder::new();
    let path = folder.write("roundel.toml", &file("admin = \"127.0.0.1:0\"", &[&old]));
    let roundel = Roundel::start_as(binary(), &["--config", &path]);
    let line = roundel.wait_for_stderr("admin on http://");
    let desk = line.rsplit_once("http://").and_then(|(_, address)| address.parse().ok());
    let desk: SocketAddr = desk.expect("an address");
    let succeeded = || {
        let page = Wire::connect(desk).get("/metrics").text();
        let name = "roundel_config_last_reload_successful ";
        let line = page.lines().find(|line| line.starts_with(name)).expect("the metric");
        line.ends_with('1')
    };
    assert!(succeeded());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address");
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    for (number, (broken, complaint)) in (1..).zip([
        (file("balence = \"x\"", &[&new]), "did you mean \"balance\"?".to_owned()),
        ("listen = [".to_owned(), "roundel.toml:1".to_owned()),
        (file("", &[&new]).replace("127.0.0.1:0", &taken.to_string()), format!("{taken}")),
        (file("access_log = \"nowhere/at/all\"", &[&new]), "nowhere/at/all".to_owned()),
        (file("ca = \"none.pem\"", &[&new]), "none.pem".to_owned()),
        (
            file(&format!("access_log = \"{pipe}\""), &[&new]),
            format!("the access log {pipe}: it is a pipe that nobody reads from"),
        ),
    ]) {
        let _row = row(complaint.clone());
        folder.write("roundel.toml", &broken);
        roundel.signal("HUP");
        wait_for_times(&roundel, "nothing has changed", number);
        assert!(times(&roundel, &complaint) > 0, "{:#?}", roundel.stderr());
        assert_eq!(roundel.get("/").text(), "old");
        assert!(!succeeded());
    }
    fs::remove_file(&path).expect("removed");
    roundel.signal("HUP");
    wait_for_times(&roundel, "nothing has changed", 7);
    folder.write("roundel.toml", &file("admin = \"127.0.0.1:0\"", &[&new]));
    roundel.signal("HUP");
    roundel.wait_for_stderr("reloaded ");
    assert_eq!(roundel.get("/").text(), "new");
    assert!(succeeded());
}

#[test]
fn a_new_configuration_is_in_force_as_a_whole() {
    let (old, new) = (Backend::manual(), Backend::named("new"));
    let folder = Folder::new();
    let path = folder.write("roundel.toml", &file("", &[&old]));
    let roundel = Roundel::start_as(binary(), &["--config", &path]);
    let mut client = roundel.client();
    client.send(get("/open"));
    let mut asked = old.accept();
    asked.head();

    // The door of before closes, another one opens, and what was said of it holds there.
    let second = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = second.local_addr().expect("an address");
    drop(second);
    let text = file("max_body = \"3B\"\naccess_log = \"access.log\"", &[&new]);
    folder.write("roundel.toml", &text.replace("127.0.0.1:0", &address.to_string()));
    roundel.signal("HUP");
    roundel.wait_for_stderr("reloaded roundel.toml: +1 backend, -1, 1 connections kept");
    let mut other = Wire::connect(address);
    assert_eq!(other.get("/").text(), "new");
    other.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    other.response().expect_reply(413, "body_too_large");
    let refused = (0..1000).any(|_| Wire::try_connect(roundel.addr()).is_err());
    assert!(refused, "nobody is let in there any more");

    // What was open goes on with the backend of before, and the connection lives on.
    asked.send(ok("old"));
    assert_eq!(client.response().text(), "old");
    assert_eq!(client.get("/").text(), "new");
    asked.expect_closed();
    wait_for_lines(&folder.path("access.log"), 4);
}

/// With names, a reload waits until they are known; another one may come before that.
#[test]
fn of_many_reloads_the_last_one_counts() {
    let (old, new) = (Backend::named("old"), Backend::named("new"));
    let folder = Folder::new();
    let over = |backend: &Backend| {
        let port = backend.addr().port();
        file("", &[backend]).replace(&backend.url(), &format!("http://localhost:{port}"))
    };
    let path = folder.write("roundel.toml", &over(&old));
    let mut roundel = Roundel::start_as(binary(), &["--config", &path]);
    let crowd = Crowd::of_sixteen(roundel.addr());
    for _ in 0..10 {
        for backend in [&old, &new] {
            // In the place of the one before, so that nobody reads half of it.
            folder.write("next.toml", &over(backend));
            fs::rename(folder.path("next.toml"), &path).expect("renamed");
            roundel.signal("HUP");
        }
        crowd.goes_on();
    }
    crowd.goes_home();
    // A reload may still be on its way.
    for _ in 0..1_000 {
        if (0..20).all(|_| roundel.get("/").text() == "new") {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    let asked = old.connections();
    for _ in 0..10 {
        assert_eq!(roundel.get("/").text(), "new");
    }
    assert_eq!(old.connections(), asked);
    assert_eq!(times(&roundel, "nothing has changed"), 0, "{:#?}", roundel.stderr());
    assert!(roundel.is_running());
}

#[test]
fn probes_come_as_often_as_the_new_configuration_says() {
    let probed = Moody::new("ok", Mood::Answer, Mood::Answer);
    let folder = Folder::new();
    let with = |interval: &str| {
        file(&format!("health = \"/up\"\nhealth_interval = \"{interval}\""), &[&probed.backend])
    };
    let path = folder.write("roundel.toml", &with("1h"));
    let roundel = Roundel::start_as(binary(), &["--config", &path]);
    probed.probes.wait_for(1);
    folder.write("roundel.toml", &with("100ms"));
    roundel.signal("HUP");
    probed.probes.wait_for(5);
    folder.write("roundel.toml", &file("", &[&probed.backend]));
    roundel.signal("HUP");
    wait_for_times(&roundel, "reloaded ", 2);
    let before = probed.probes.seen();
    thread::sleep(Duration::from_millis(300));
    assert!(probed.probes.seen() <= before + 1, "one may have been on its way");
}

#[test]
fn a_backend_that_stays_keeps_its_connections() {
    let (stays, goes) = (Backend::named("stays"), Backend::named("goes"));
    let folder = Folder::new();
    let path = folder.write("roundel.toml", &file("", &[&stays, &goes]));
    let roundel = Roundel::start_as(binary(), &["--config", &path]);
    let mut client = roundel.client();
    for _ in 0..2 {
        client.get("/");
    }
    assert_eq!((stays.connections(), goes.connections()), (1, 1));
    folder.write("roundel.toml", &file("timeout = \"7s\"", &[&stays]));
    roundel.signal("HUP");
    roundel.wait_for_stderr("reloaded roundel.toml: +0 backends, -1, 1 connections kept");
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "stays");
    }
    assert_eq!((stays.connections(), goes.connections()), (1, 1));
    // Back again, it is somebody new.
    folder.write("roundel.toml", &file("", &[&stays, &goes]));
    roundel.signal("HUP");
    roundel.wait_for_stderr("reloaded roundel.toml: +1 backend, -0, 1 connections kept");
    let mut answers: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["goes", "goes", "stays", "stays"]);
}

#[test]
fn without_a_file_the_same_arguments_are_read_again() {
    let backend = Backend::named("ok");
    let roundel = Roundel::over(&[&backend], &[]);
    roundel.signal("HUP");
    roundel.wait_for_stderr("reloaded the arguments: +0 backends, -0, 0 connections kept");
    assert_eq!(roundel.get("/").text(), "ok");
}

fn count_lines(path: &str) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

fn wait_for_lines(path: &str, count: usize) {
    for _ in 0..5_000 {
        if count_lines(path) == count {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("{} lines in {path} instead of {count}", count_lines(path));
}

#[test]
fn a_log_that_was_moved_away_is_begun_anew() {
    let backend = Backend::named("ok");
    let folder = Folder::new();
    let (path, moved) = (folder.path("access.log"), folder.path("access.log.1"));
    let roundel = Roundel::over(&[&backend], &["--access-log", &path]);
    let mut client = roundel.client();
    client.get("/1");
    wait_for_lines(&path, 1);
    fs::rename(&path, &moved).expect("moved");
    client.get("/2");
    wait_for_lines(&moved, 2);
    roundel.signal("USR1");
    roundel.wait_for_stderr("anew");
    client.get("/3");
    wait_for_lines(&path, 1);
    assert_eq!(count_lines(&moved), 2);
}

/// Puts another program in the place of the one that runs, and tells it to upgrade.
fn replaced_by(script: &str) -> (Folder, Roundel, Backend) {
    let backend = Backend::named("ok");
    let folder = Folder::new();
    let program = folder.path("roundel");
    fs::copy(env!("CARGO_BIN_EXE_roundel"), &program).expect("a copy");
    let roundel =
        Roundel::start_as(Command::new(&program), &["--listen", "127.0.0.1:0", &backend.url()]);
    // A new file: the one that runs cannot be written to.
    fs::remove_file(&program).expect("removed");
    folder.write("roundel", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    roundel.signal("USR2");
    (folder, roundel, backend)
}

#[test]
fn a_successor_that_dies_leaves_everything_as_it_was() {
    let (_folder, mut roundel, _backend) = replaced_by("#!/bin/sh\nexit 3\n");
    roundel.wait_for_stderr("it ended before it was ready (exit status: 3)");
    assert_eq!(roundel.get("/").text(), "ok");
    assert!(roundel.is_running());
    // And the next attempt may be better.
    roundel.signal("USR2");
    wait_for_times(&roundel, "it ended before it was ready", 2);
    assert_eq!(roundel.get("/").text(), "ok");
}

#[test]
fn a_successor_that_cannot_read_its_file_says_so() {
    let backend = Backend::named("ok");
    let folder = Folder::new();
    let path = folder.write("roundel.toml", &file("", &[&backend]));
    let mut roundel = Roundel::start_as(binary(), &["--config", &path]);
    folder.write("roundel.toml", &file("balence = \"x\"", &[&backend]));
    roundel.signal("USR2");
    roundel.wait_for_stderr("it ended before it was ready (exit status: 2)");
    assert!(times(&roundel, "did you mean \"balance\"?") > 0, "{:#?}", roundel.stderr());
    assert_eq!(roundel.get("/").text(), "ok");
    assert!(roundel.is_running());
}

#[test]
fn a_successor_that_is_silent_is_ended() {
    let (_folder, mut roundel, _backend) = replaced_by("#!/bin/sh\nexec sleep 100\n");
    roundel.wait_for_stderr("is to take over");
    assert_eq!(roundel.get("/").text(), "ok");
    wait_for_times(&roundel, "it was not ready in time", 1);
    assert_eq!(roundel.get("/").text(), "ok");
    assert!(roundel.is_running());
}

#[test]
fn a_program_that_is_gone_leaves_everything_as_it_was() {
    let (folder, mut roundel, _backend) = replaced_by("");
    roundel.wait_for_stderr("this process goes on");
    fs::remove_file(folder.path("roundel")).expect("removed");
    roundel.signal("USR2");
    roundel.wait_for_stderr("cannot start a successor");
    assert_eq!(roundel.get("/").text(), "ok");
    assert!(roundel.is_running());
}

/// The program with a socket as its third descriptor, as a service manager starts it.
fn activated(listener: TcpListener, environment: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("exec 3<&0 </dev/null; {environment} LISTEN_FDS=1 exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_roundel")]);
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    command
}

#[test]
fn a_service_manager_may_have_opened_the_socket() {
    let backend = Backend::named("ok");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // Who came before the process did is served as well.
    let mut early = Wire::connect(address);
    early.send(get("/"));
    let command = activated(listener, "LISTEN_PID=$$");
    let mut roundel = Roundel::start_as(command, &[&backend.url()]);
    assert_eq!(roundel.addrs(), [address], "and nowhere else");
    assert_eq!(early.response().text(), "ok");
    assert_eq!(roundel.get("/").text(), "ok");
    // It stays open whatever is read anew, and goes to a successor.
    roundel.signal("HUP");
    roundel.wait_for_stderr("reloaded ");
    assert_eq!(roundel.get("/").text(), "ok");
    assert_eq!(times(&roundel, "listening on"), 2);
    roundel.signal("USR2");
    let process = successor(&roundel);
    wait_for_end(&mut roundel);
    assert_eq!(roundel.get("/").text(), "ok");
    let elsewhere = format!("listening on http://{address}");
    assert_eq!((times(&roundel, "listening on"), times(&roundel, &elsewhere)), (3, 3));
    kill("TERM", &process);
}

#[test]
fn a_socket_for_another_process_is_left_alone() {
    let backend = Backend::named("ok");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let command = activated(listener, "LISTEN_PID=1");
    let roundel = Roundel::start_as(command, &["--listen", "127.0.0.1:0", &backend.url()]);
    assert_ne!(roundel.addr(), address);
    assert_eq!(roundel.get("/").text(), "ok");
}

#[test]
fn the_service_manager_is_told() {
    let backend = Backend::named("ok");
    let folder = Folder::new();
    let path = folder.path("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("set");
    let hear = || {
        let mut octets = [0; 1000];
        let count = manager.recv(&mut octets).expect("a word");
        text(&octets[..count])
    };
    let mut command = binary();
    command.env("NOTIFY_SOCKET", &path);
    let mut roundel = Roundel::start_as(command, &["--listen", "127.0.0.1:0", &backend.url()]);
    assert_eq!(hear(), "READY=1\nSTATUS=serving\n");
    roundel.signal("HUP");
    assert!(hear().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(hear(), "READY=1\nSTATUS=serving\n");
    roundel.signal("USR2");
    let process = successor(&roundel);
    let (mut words, mut main) = (Vec::new(), String::new());
    while main.is_empty() || words.is_empty() {
        match hear() {
            word if word.starts_with("MAINPID=") => main = word,
            word => words.push(word),
        }
    }
    assert_eq!(main, format!("MAINPID={process}\n"));
    assert_eq!(words, ["READY=1\nSTATUS=serving\n"], "from the successor");
    wait_for_end(&mut roundel);
    kill("TERM", &process);
    assert!(hear().starts_with("STOPPING=1\n"), "only the one that is the service says so");
}

/// Where nobody serves any more, nobody is let in to wait.
#[test]
fn a_successor_closes_what_its_configuration_does_not_name() {
    let backend = Backend::named("ok");
    let folder = Folder::new();
    let [first, second, old, new] = [0; 4].map(|_| {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port");
        port.local_addr().expect("an address")
    });
    let file = folder.path("a.sock");
    let tables = format!("[[backend]]\nurl = \"{}\"\n", backend.url());
    let more =
        format!("listen = [\"{first}\", \"{second}\", \"unix:{file}\"]\nadmin = \"{old}\"\n");
    let path = folder.write("roundel.toml", &format!("{more}{tables}"));
    let mut command = binary();
    command.args(["--config", &path]);
    let mut roundel = Roundel::start_as(command, &[]);
    roundel.wait_for_stderr("admin on ");
    let less = format!("listen = \"{first}\"\nadmin = \"{new}\"\n");
    folder.write("roundel.toml", &format!("{less}{tables}"));
    roundel.signal("USR2");
    let process = successor(&roundel);
    wait_for_end(&mut roundel);
    assert_eq!(Wire::connect(first).get("/").text(), "ok");
    assert_eq!(Wire::connect(new).get("/healthz").text(), "ok\n");
    for gone in [second, old] {
        let refused = (0..1000).any(|_| Wire::try_connect(gone).is_err());
        assert!(refused, "{gone} is open");
    }
    assert!(!PathBuf::from(&file).exists(), "its file is removed");
    kill("TERM", &process);
}

#[test]
fn a_stop_is_for_the_successor_as_well() {
    let (_folder, mut roundel, _backend) = replaced_by("#!/bin/sh\nexec sleep 100\n");
    roundel.wait_for_stderr("is to take over");
    roundel.signal("TERM");
    roundel.wait_for_stderr("does not take over: this process was told to stop");
    assert_eq!(roundel.wait(), Some(0));
}

/// A deployment points a link at the new version.
#[test]
fn a_link_is_followed_when_the_time_has_come() {
    let backend = Backend::named("ok");
    let folder = Folder::new();
    let (one, two) = (folder.path("one"), folder.path("two"));
    for copy in [&one, &two] {
        fs::copy(env!("CARGO_BIN_EXE_roundel"), copy).expect("a copy");
    }
    let link = folder.path("current");
    std::os::unix::fs::symlink(&one, &link).expect("a link");
    let mut command = Command::new(&link);
    command.stdin(Stdio::null());
    let arguments = ["--listen", "127.0.0.1:0", &backend.url()];
    let mut roundel = Roundel::start_as(command, &arguments);
    fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink(&two, &link).expect("a link");
    roundel.signal("USR2");
    let process = successor(&roundel);
    wait_for_end(&mut roundel);
    let runs = fs::read_link(format!("/proc/{process}/exe")).expect("a program");
    assert_eq!(runs, PathBuf::from(two));
    kill("TERM", &process);
}

#[test]
fn requests_that_wait_get_what_room_a_reload_brings() {
    let backend = Backend::manual();
    let folder = Folder::new();
    let path = folder.write("roundel.toml", &file("max_conns_per_backend = 1", &[&backend]));
    let roundel = Roundel::start_as(binary(), &["--config", &path]);
    let (mut first, mut second) = (roundel.client(), roundel.client());
    first.send(get("/1"));
    let mut upstream = backend.accept();
    upstream.head();
    second.send(get("/2"));
    // It is in the queue once roundel has read it; a third that is refused would not tell.
    second.expect_silence(Duration::from_millis(50));
    folder.write("roundel.toml", &file("max_conns_per_backend = 2", &[&backend]));
    roundel.signal("HUP");
    let mut other = backend.accept();
    assert!(other.head().starts_with("GET /2 "));
    other.send(ok("2"));
    assert_eq!(second.response().text(), "2");
    upstream.send(ok("1"));
    assert_eq!(first.response().text(), "1");
}
