//! The configuration file: what it may say, what is refused and how that is shown, and how the command
//! line wins over it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: a panic is how it reports"
)]

mod support;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use log::LevelFilter;
use roundel::cli::{self, Complaint, Request};
use roundel::config::{
    Address, Backends, Balance, Config, HostField, Intake, LogDestination, Role, Timeouts, Verify,
    backend_url::parse_backend,
};
use support::*;

/// A folder of its own for each test, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("config-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over disturbs nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parse(arguments: &[&str]) -> Result<Config, Vec<Complaint>> {
    match cli::parse(arguments.iter().map(OsString::from))? {
        Request::Run(config) | Request::Doctor(config) | Request::Check(config) => Ok(*config),
        Request::Print(text) => panic!("{text}"),
    }
}

fn config(arguments: &[&str]) -> Config {
    parse(arguments).unwrap_or_else(|complaints| {
        let shown: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        panic!("{arguments:?}: {}", shown.join("\n"))
    })
}

const GOOD_BACKEND: &str = "[[backend]]\nurl = 'http://a'\n";

/// A broken file, and all that is said about it.
const BROKEN: &[(&str, &str)] = &[
    (
        "balence = \"round-robin\"\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:1: unknown key \"balence\"\n  1 | balence = \"round-robin\"\n    | ^^^^^^^ did you mean \"balance\"?\n",
    ),
    (
        "timeout = 5\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:11: a duration needs a unit\n  1 | timeout = 5\n    |           ^ did you mean \"5s\"?\n",
    ),
    (
        "\ttimeout = \"5\"\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:12: a duration needs a unit\n  1 |  timeout = \"5\"\n    |            ^^^ did you mean \"5s\"?\n",
    ),
    (
        "timeout = 5s\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:11: text stands in quotes\n  1 | timeout = 5s\n    |           ^^ did you mean \"5s\"?\n",
    ),
    (
        "max_body = 1024\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:12: a size needs a unit\n  1 | max_body = 1024\n    |            ^^^^ did you mean \"1024B\"?\n",
    ),
    (
        "max_conns = \"100\"\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:13: a number stands without quotes\n  1 | max_conns = \"100\"\n    |             ^^^^^ did you mean 100?\n",
    ),
    (
        "max_conns = 0x10\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:13: a number is a whole one from 1 to 536870912\n  1 | max_conns = 0x10\n    |             ^^^^\n",
    ),
    (
        "listen = [\"127.0.0.1:80\", \"8000\"]\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:27: an address is IP:PORT, as in 127.0.0.1:8000 or [::1]:8000\n  1 | listen = [\"127.0.0.1:80\", \"8000\"]\n    |                           ^^^^^^ did you mean \"127.0.0.1:8000\"?\n",
    ),
    (
        "max-body = \"1MiB\"\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:1: unknown key \"max-body\"\n  1 | max-body = \"1MiB\"\n    | ^^^^^^^^ did you mean \"max_body\"?\n",
    ),
    (
        "log = \"info\"\ntimeout = \"5s\"\nlog = \"warn\"\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:3:1: the key \"log\" stands here twice\n  3 | log = \"warn\"\n    | ^^^ the first is in line 1\n",
    ),
    (
        "health_interval = \"5s\"\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:1: \"health_interval\" needs \"health\" beside it\n  1 | health_interval = \"5s\"\n    | ^^^^^^^^^^^^^^^ add health = \"/\", or another path\n",
    ),
    (
        "demo = true\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:1: demo brings its own backends\n  1 | demo = true\n    | ^^^^ name none beside it\n",
    ),
    (
        "# nothing\n",
        "error: roundel.toml:1:1: there is no backend in this file\n  1 | # nothing\n    | ^ add [[backend]], and below it url = \"http://127.0.0.1:3001\"\n",
    ),
    (
        "[[backend]]\nurl = \"http://a:80\"\n\n[[backend]]\nurl = \"http://A/\"\n",
        "error: roundel.toml:5:7: this backend is named twice\n  5 | url = \"http://A/\"\n    |       ^^^^^^^^^^^ the first is in line 2; for more turns, give it a weight\n",
    ),
    (
        "[[backend]]\nweight = 2\n",
        "error: roundel.toml:1:1: a backend needs a url\n  1 | [[backend]]\n    | ^^^^^^^^^^^ add url = \"http://127.0.0.1:3001\"\n",
    ),
    (
        "[[backend]]\nurl = \"127.0.0.1:80\"\nwieght = 2\nweight = 0\n",
        "error: roundel.toml:2:7: a backend begins with http://, https:// or unix:, as in http://127.0.0.1:80\n  2 | url = \"127.0.0.1:80\"\n    |       ^^^^^^^^^^^^^^\n\
         error: roundel.toml:3:1: unknown key \"wieght\"\n  3 | wieght = 2\n    | ^^^^^^ did you mean \"weight\"?\n\
         error: roundel.toml:4:10: a weight is a whole number from 1 to 1000\n  4 | weight = 0\n    |          ^\n",
    ),
    (
        "[[backend]]\nurl = \"http://a\"\ntimeout = \"5s\"\n",
        "error: roundel.toml:3:1: unknown key \"timeout\"\n  3 | timeout = \"5s\"\n    | ^^^^^^^ this belongs above the first [[backend]]\n",
    ),
    (
        "weight = 2\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:1: unknown key \"weight\"\n  1 | weight = 2\n    | ^^^^^^ this belongs below a [[backend]]\n",
    ),
    (
        "[backend]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:1: a backend stands in two brackets\n  1 | [backend]\n    | ^^^^^^^^^ did you mean [[backend]]?\n",
    ),
    (
        "[[server]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:1: there is no table of this name\n  1 | [[server]]\n    | ^^^^^^^^^^ the only ones are [[backend]]\n",
    ),
    (
        "backend = \"http://a\"\n",
        "error: roundel.toml:1:11: a backend is a table\n  1 | backend = \"http://a\"\n    |           ^^^^^^^^^^ write [[backend]], and below it url = \"http://…\"\n",
    ),
    (
        "[[backend]]\nurl = \"http://a,weight=2\"\n",
        "error: roundel.toml:2:7: a url has nothing behind it: what is said besides has its own key\n  2 | url = \"http://a,weight=2\"\n    |       ^^^^^^^^^^^^^^^^^^^\n",
    ),
    (
        "[[backend]]\nurl = \"http://a\"\ninsecure = true\n",
        "error: roundel.toml:3:1: \"insecure\" is for https backends\n  3 | insecure = true\n    | ^^^^^^^^ the url of this one does not begin with https://\n",
    ),
    (
        "[[backend]]\nurl = \"https://a\"\ncert = \"c.pem\"\n",
        "error: roundel.toml:3:1: \"cert\" needs \"key\" beside it\n  3 | cert = \"c.pem\"\n    | ^^^^ add key = \"FILE\"\n",
    ),
    (
        "[[backend]]\nurl = \"https://a\"\ncert = \"k.pem\"\nkey = \"c.pem\"\n",
        "error: roundel.toml:3:8: there is no certificate in the file\n  3 | cert = \"k.pem\"\n    |        ^^^^^^^\n\
         error: roundel.toml:4:7: there is no private key in the file\n  4 | key = \"c.pem\"\n    |       ^^^^^^^\n",
    ),
    (
        "[[backend]]\nurl = \"https://a\"\nca = \"nowhere.pem\"\n",
        "error: roundel.toml:3:6: the file cannot be read: No such file or directory (os error 2)\n  3 | ca = \"nowhere.pem\"\n    |      ^^^^^^^^^^^^^\n",
    ),
    (
        "[[backend]]\nurl = \"https://a\"\ninsecure = true\nca = \"c.pem\"\n",
        "error: roundel.toml:4:1: with insecure = true nobody is asked for trust\n  4 | ca = \"c.pem\"\n    | ^^ leave one of the two out\n",
    ),
    (
        "[[backend]]\nurl = \"http://a\"\nbackup = \"yes\"\nhost = \"a b\"\n",
        "error: roundel.toml:3:10: a switch is true or false\n  3 | backup = \"yes\"\n    |          ^^^^^\n\
         error: roundel.toml:4:8: a host is client, backend or HOST[:PORT], as in www.example.org\n  4 | host = \"a b\"\n    |        ^^^^^\n",
    ),
    (
        "[[backend]]\nurl = \"http://a\"\ndrain = true\n",
        "error: roundel.toml:3:1: every backend is drained\n  3 | drain = true\n    | ^^^^^ nobody is left for requests\n",
    ),
    (
        "timeout = \"5s\nlog = \"loud\"\nidle_timeout =\nqueue_max 5\n[[backend\nurl = \"http://a\"\n",
        "error: roundel.toml:1:14: invalid basic string\n  1 | timeout = \"5s\n    |              ^ expected \"\n\
         error: roundel.toml:2:7: a level is one of off, error, warn, info, debug, trace\n  2 | log = \"loud\"\n    |       ^^^^^^\n\
         error: roundel.toml:3:15: a value is missing\n  3 | idle_timeout =\n    |               ^\n\
         error: roundel.toml:4:11: key with no value\n  4 | queue_max 5\n    |           ^ expected =\n\
         error: roundel.toml:5:10: unclosed array table\n  5 | [[backend\n    |          ^ expected ]]\n",
    ),
    (
        "log = \"größer\" # ä\n'ä' = \"ö\"; timeout = 1\n[[backend]]\nurl = \"http://a\"\n",
        "error: roundel.toml:1:7: a level is one of off, error, warn, info, debug, trace\n  1 | log = \"größer\" # ä\n    |       ^^^^^^^^\n\
         error: roundel.toml:2:1: unknown key \"ä\"\n  2 | 'ä' = \"ö\"; timeout = 1\n    | ^^^ the keys are those of roundel --help, with _ for -\n\
         error: roundel.toml:2:10: unexpected key or value\n  2 | 'ä' = \"ö\"; timeout = 1\n    |          ^ expected the end of the line or #\n",
    ),
];

/// Each through the real binary: exit code 2, nothing on the standard output.
#[test]
fn broken_files_are_explained_where_they_are_broken() {
    let folder = Folder::new();
    folder.write("c.pem", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
    folder.write("k.pem", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");
    let mut failures = Vec::new();
    for (text, want) in BROKEN {
        let path = folder.write("roundel.toml", text);
        for arguments in [&["--check", "--config", &path][..], &["-c", &path]] {
            let outcome = run(arguments);
            let said = outcome.stderr.replace(&path, "roundel.toml");
            if (outcome.code, &*outcome.stdout, &*said) != (Some(2), "", want) {
                failures.push(format!("---- {text}\n{said}---- not\n{want}{outcome:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_is_no_text_is_told_with_its_place() {
    let folder = Folder::new();
    let path = folder.write("roundel.toml", b"log = \"info\"\n# \xff\n");
    let said = run(&["--check", "-c", &path]).stderr.replace(&path, "roundel.toml");
    assert_eq!(said, "error: roundel.toml:2:3: this is not UTF-8\n  2 | # \u{fffd}\n    |   ^\n");
}

const GOOD: &str = r#"
listen = ["127.0.0.1:0", "[::1]:0"]
balance = "round-robin"
ca = "ca.pem"
trust = "10.0.0.0/8"
head_timeout = "1s"
body_timeout = "2s"
body_rate = "1kB"
max_body = "1MiB"
idle_timeout = "3s"
max_conns = 1_00
connect_timeout = "4s"
retry_timeout = "5s"
timeout = '6s'
tunnel_timeout = "7s"
half_closed_timeout = "8s"
pool_timeout = "9s"
max_conns_per_backend = 7
queue_timeout = "10s"
queue_max = 9
health = "/up"
health_interval = "11s"
health_timeout = "1s"
drain_timeout = "250ms"
access_log = "access.log"
log = "debug"
demo = false

[[backend]]
url = "http://127.0.0.1:3001/app"   # comments are fine
weight = 3
host = "backend"

[[backend]]
url = "https://name.example"
host = "www.example.org"
ca = "ca.pem"
cert = "ca.pem"
key = "key.pem"
max_conns = 5
backup = true

[[backend]]
url = "https://other.example"
insecure = true
drain = true
"#;

#[test]
fn a_whole_file_is_understood() {
    let folder = Folder::new();
    let certificate = "-----BEGIN CERTIFICATE-----\r\nAA==\r\n-----END CERTIFICATE-----\r\n";
    let key = "text\n-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n";
    folder.write("ca.pem", certificate);
    folder.write("key.pem", key);
    let path = folder.write("roundel.toml", GOOD);
    let all = config(&["--config", &path]);
    let seconds = Duration::from_secs;
    assert_eq!(all.listen.len(), 2);
    assert_eq!(all.balance, Balance::RoundRobin);
    assert_eq!(all.ca_pem.as_deref(), Some(certificate.as_bytes()));
    assert_eq!(all.trust.len(), 1);
    let timeouts = Timeouts {
        head: seconds(1),
        body: seconds(2),
        idle: seconds(3),
        connect: seconds(4),
        handshake: seconds(4),
        tries: seconds(5),
        silence: seconds(6),
        response_head: seconds(6),
        tunnel: seconds(7),
        half_closed: seconds(8),
        pool_idle: seconds(9),
        queue: seconds(10),
        drain: Duration::from_millis(250),
        ..Timeouts::default()
    };
    assert_eq!(all.timeouts, timeouts);
    assert_eq!(all.limits.body_bytes_per_second_min, 1000);
    assert_eq!(all.limits.request_body_bytes_max, Some(1 << 20));
    assert_eq!(all.limits.clients_count_max, Some(100));
    assert_eq!(all.limits.backend_connections_count_max, Some(7));
    assert_eq!(all.limits.queue_count_max, 9);
    let probe = all.health.probe.expect("probes");
    assert_eq!(
        (probe.path.as_str(), probe.interval, probe.timeout),
        ("/up", seconds(11), seconds(1))
    );
    let log = folder.0.join("access.log");
    let destination = all.access_log.map(|log| log.destination);
    assert_eq!(destination, Some(LogDestination::File(log)), "relative to the file");
    assert_eq!(all.log_level, LevelFilter::Debug);
    let Backends::Configured(backends) = all.backends else { panic!("configured") };
    let [one, two, three] = backends.as_slice() else { panic!("{backends:?}") };
    let want = parse_backend("http://127.0.0.1:3001/app,weight=3,host=backend").expect("good");
    assert_eq!(*one, want);
    assert_eq!(two.host_field, HostField::Literal("www.example.org".into()));
    assert_eq!((two.role, two.intake, two.tls.verify), (Role::Backup, Intake::Open, Verify::Full));
    assert_eq!(two.connections_count_max, Some(5));
    assert_eq!(two.tls.ca_pem.as_deref(), Some(certificate.as_bytes()));
    let identity = two.tls.identity.as_ref().expect("an identity");
    assert_eq!(identity.cert_pem, certificate.as_bytes());
    assert_eq!(identity.key_pem, key.as_bytes());
    assert_eq!(*three, parse_backend("https://other.example,insecure,drain").expect("good"));
}

#[test]
fn the_command_line_wins_over_the_file() {
    let folder = Folder::new();
    let path = folder.write(
        "roundel.toml",
        "listen = ['127.0.0.1:1', '127.0.0.1:2']\ntrust = ['10.0.0.0/8', '::1']\ntimeout = '5s'\n\
         health = '/a'\nhealth_interval = '5s'\n\
         [[backend]]\nurl = 'http://a'\n[[backend]]\nurl = 'http://b'\n",
    );
    let file = config(&["--config", &path]);
    let line = config(&[
        "--timeout",
        "6s",
        "-c",
        &path,
        "--listen",
        "127.0.0.1:3",
        "--trust",
        "::2",
        "http://c",
        "--health-timeout",
        "1s",
    ]);
    assert_eq!((file.listen.len(), file.trust.len()), (2, 2));
    assert_eq!(line.listen, [Address::Ip(([127, 0, 0, 1], 3).into())], "a list is replaced");
    assert_eq!(line.trust.len(), 1);
    assert_eq!(line.timeouts.silence, Duration::from_secs(6), "wherever --config stands");
    assert_eq!(line.timeouts.response_head, Duration::from_secs(6), "what follows it, follows");
    let probe = line.health.probe.as_ref().expect("probes");
    let want = ("/a", Duration::from_secs(5), Duration::from_secs(1));
    assert_eq!((probe.path.as_str(), probe.interval, probe.timeout), want, "one beside the other");
    let names = |config: &Config| match &config.backends {
        Backends::Configured(backends) => {
            backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Backends::Demo => "demo".to_owned(),
    };
    assert_eq!(names(&file), "http://a http://b");
    assert_eq!(names(&line), "http://c");
    assert_eq!(names(&config(&["-c", &path, "--demo"])), "demo");
    let demo = folder.write("demo.toml", "demo = true\n");
    assert_eq!(names(&config(&["-c", &demo])), "demo");
    assert_eq!(names(&config(&["-c", &demo, "http://c"])), "http://c");
    let empty = folder.write("empty.toml", "");
    assert_eq!(names(&config(&["-c", &empty, "http://c"])), "http://c");
}

/// What the file needs may stand on the command line, and what is wrong with it is told beside what is
/// wrong there.
#[test]
fn the_file_and_the_command_line_are_judged_together() {
    let folder = Folder::new();
    let path = folder.write("roundel.toml", format!("health_interval = '5s'\n{GOOD_BACKEND}"));
    assert!(config(&["-c", &path, "--health", "/"]).health.probe.is_some());
    let complaints = parse(&["-c", &path, "--timeout", "5", "ftp://h"]).expect_err("three faults");
    let kinds: Vec<bool> = complaints.iter().map(|one| matches!(one, Complaint::File(_))).collect();
    assert_eq!(kinds, [true, false, false], "{complaints:?}");
}

/// As a reload does.
#[test]
fn the_same_arguments_are_read_again() {
    let folder = Folder::new();
    let path = folder.write("roundel.toml", format!("timeout = '5s'\n{GOOD_BACKEND}"));
    let arguments = ["-c", &path, "--log", "warn"];
    assert_eq!(config(&arguments).timeouts.silence, Duration::from_secs(5));
    folder.write("roundel.toml", format!("timeout = '6s'\nlog = 'info'\n{GOOD_BACKEND}"));
    let again = config(&arguments);
    assert_eq!((again.timeouts.silence.as_secs(), again.log_level), (6, LevelFilter::Warn));
}

/// Every option but those of the command line alone is a key of the file.
#[test]
fn every_option_is_a_key() {
    let folder = Folder::new();
    let help = run(&["--help"]).stdout;
    let options: Vec<&str> = help
        .lines()
        .filter(|line| line.starts_with("  -") || line.starts_with("      --"))
        .filter_map(|line| line.split_once("--")?.1.split(' ').next())
        .collect();
    assert!(options.len() > 25, "{options:?}");
    for option in options {
        let key = option.replace('-', "_");
        let path = folder.write("roundel.toml", format!("{key} = []\n{GOOD_BACKEND}"));
        let said = parse(&["-c", &path]).err().unwrap_or_default();
        let is_unknown = said.iter().any(|one| one.to_string().contains("unknown key"));
        let is_for_the_line = ["config", "check", "generate", "help", "version"].contains(&option);
        assert_eq!(is_unknown, is_for_the_line, "{option}: {said:?}");
    }
}

#[test]
fn a_file_runs() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let folder = Folder::new();
    let text = format!(
        "listen = '127.0.0.1:0'\n[[backend]]\nurl = '{}'\nweight = 2\n[[backend]]\nurl = '{}'\n",
        a.url(),
        b.url()
    );
    let path = folder.write("roundel.toml", text);
    let roundel = Roundel::start(&["--config", &path, "--listen", "127.0.0.1:0"]);
    let mut client = roundel.client();
    let got: String = (0..6).map(|_| client.get("/").text()).collect();
    assert_eq!(got, "abaaba");
}

/// What would run is told, and nothing is done: a port in use, and a log that is not there, stay so.
#[cfg(feature = "tls")]
#[test]
fn check_tells_what_would_run() {
    let backend = Backend::named("ok");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("its address").port();
    let folder = Folder::new();
    let text = format!(
        "listen = '127.0.0.1:{port}'\ntimeout = '5s'\naccess_log = 'access.log'\n\
         [[backend]]\nurl = '{}'\nmax_conns = 7\n\
         [[backend]]\nurl = 'http://localhost:81'\nbackup = true\n\
         [[backend]]\nurl = 'https://127.0.0.1:82'\ninsecure = true\n\
         [[backend]]\nurl = 'http://no-such-host.invalid'\ndrain = true\n",
        backend.url()
    );
    let path = folder.write("roundel.toml", text);
    let outcome = run(&["--config", &path, "--check"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
    let plan = &outcome.stdout;
    let own = backend.addr();
    for line in [
        format!("  http://127.0.0.1:{port}"),
        format!("  http://{own},max_conns=7"),
        format!("    at {own}"),
        "  http://localhost:81,backup".to_owned(),
        "    gets only what no other can take".to_owned(),
        "    INSECURE: its certificate is not checked, so anybody in between can read and change all"
            .to_owned(),
        "    gets no new requests".to_owned(),
        "  timeout 5s, not 60s".to_owned(),
    ] {
        assert!(plan.lines().any(|one| one == line), "{line:?} is not in\n{plan}");
    }
    for part in ["127.0.0.1:81", "nowhere until", "clients at a time", "descriptors", "of memory"] {
        assert!(plan.contains(part), "{part:?} is not in\n{plan}");
    }
    assert_eq!(plan.lines().last(), Some("ok"));
    assert!(!folder.0.join("access.log").exists());
    assert_eq!(backend.connections(), 0);
}

#[test]
fn check_does_without_a_file() {
    let good = run(&["--check", "--demo", "--queue-max", "5"]);
    assert_eq!((good.code, good.stderr.as_str()), (Some(0), ""));
    assert!(good.stdout.contains("queue-max 5, not 1024") && good.stdout.ends_with("\nok\n"));
    let few = run_with_descriptors(100, &["--check", "--max-conns", "90", "http://127.0.0.1:1"]);
    assert_eq!(few.code, Some(0), "{few:?}");
    assert!(few.stdout.contains("not 90: of 100 descriptors"), "{}", few.stdout);
    let no_folder = ["--check", "--access-log", "no-such-folder/x.log", "http://127.0.0.1:1"];
    for arguments in [&["--check"][..], &["--check", "ftp://h"], &no_folder] {
        let bad = run(arguments);
        assert_eq!((bad.code, bad.stdout.as_str()), (Some(2), ""), "{arguments:?}");
    }
}
