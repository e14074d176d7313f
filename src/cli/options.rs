//! The table of options, and how the texts of their values become values.
//!
//! Knows nothing of arguments and their order. Invariant: everything that is known of an option stands
//! in its row.
//!
//! Next: the parser and the help of [`crate::cli`] are driven by the table.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str;
use std::time::Duration;

use log::LevelFilter;

use super::generate::generate;
use super::help;
use crate::config::DEFAULT_LISTEN;
use crate::config::address::{UNIX_PREFIX, parse_socket_path};
use crate::config::backend_url::parse_count;
use crate::config::cidr::parse_trusted;
use crate::config::duration::{parse_delay, parse_duration, show_duration};
use crate::config::health::{PROBE_INTERVAL, PROBE_TIMEOUT, parse_probe_path};
use crate::config::nearest::suggestion;
use crate::config::size::{parse_size, show_size};
use crate::config::{
    Address, BackendConfig, Balance, Limits, LogDestination, LogFormat, Timeouts, Trusted,
};

/// The most octets of a file that is read as a whole: all public authorities together have a tenth.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The words of `--balance`.
pub(super) const POLICIES: [&str; 1] = ["round-robin"];

/// The words of `--access-log-format`.
pub(super) const FORMATS: [&str; 3] = ["text", "json", "combined"];

/// The words of `--log`.
pub(super) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What has been said so far.
pub(super) struct Draft {
    /// The file that says some of it.
    pub(super) file: Option<PathBuf>,
    /// Where the names of files begin that are not absolute.
    pub(super) base: PathBuf,
    pub(super) listen: Vec<Address>,
    pub(super) backends: Vec<BackendConfig>,
    pub(super) demo: bool,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) trust: Vec<Trusted>,
    pub(super) timeouts: Timeouts,
    /// Follows [`Timeouts::silence`] unless it was named.
    pub(super) response_head: Option<Duration>,
    /// Follows [`Timeouts::connect`] unless it was named.
    pub(super) handshake: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) health: HealthDraft,
    pub(super) access_log: Option<LogDestination>,
    pub(super) access_log_format: Option<LogFormat>,
    pub(super) admin: Option<Address>,
    pub(super) server_timing: bool,
    pub(super) log_level: LevelFilter,
    pub(super) balance: Balance,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            file: None,
            base: PathBuf::new(),
            listen: Vec::new(),
            backends: Vec::new(),
            demo: false,
            ca_pem: None,
            trust: Vec::new(),
            timeouts: Timeouts::default(),
            response_head: None,
            handshake: None,
            limits: Limits::default(),
            health: HealthDraft::default(),
            access_log: None,
            access_log_format: None,
            admin: None,
            server_timing: false,
            log_level: LevelFilter::Info,
            balance: Balance::RoundRobin,
        }
    }
}

/// What is to be done with it all.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Command {
    /// Traffic.
    #[default]
    Run,
    /// A look whether traffic would get through.
    Doctor,
}

/// What the arguments ask for beside values.
#[derive(Default)]
pub(super) struct Errand {
    pub(super) command: Command,
    pub(super) file: Option<PathBuf>,
    pub(super) check: bool,
    pub(super) print: Option<String>,
}

/// What has been said of probes. Without a path there are none.
#[derive(Default)]
pub(super) struct HealthDraft {
    pub(super) path: Option<String>,
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
}

/// One option. Everything that is known of it stands here and nowhere else.
pub(super) struct Opt {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// What its value is called; an option without one is a switch.
    pub(super) value: Option<&'static str>,
    pub(super) help: &'static str,
    /// What a draft says of it, for people: of an empty one, the default.
    pub(super) shown: fn(&Draft) -> Option<String>,
    pub(super) set: Set,
}

/// What an option does.
pub(super) enum Set {
    /// It has one value: the last that is said.
    Once(fn(&mut Draft, &str) -> Result<(), String>),
    /// It has several.
    Many {
        /// Adds one.
        add: fn(&mut Draft, &str) -> Result<(), String>,
        /// Forgets those that were said.
        clear: fn(&mut Draft),
    },
    /// It is for the command line alone.
    Line(fn(&mut Errand, &str) -> Result<(), String>),
}

impl Opt {
    /// What it is called in a file; `None` for one that is for the command line alone.
    pub(super) fn key(&self) -> Option<String> {
        match self.set {
            Set::Once(_) | Set::Many { .. } => Some(self.long.replace('-', "_")),
            Set::Line(_) => None,
        }
    }
}

macro_rules! timeout {
    ($long:literal, $field:ident, $help:literal) => {
        Opt {
            long: $long,
            short: None,
            value: Some("DURATION"),
            help: $help,
            shown: |draft| Some(show_duration(draft.timeouts.$field)),
            set: Set::Once(|draft, text| {
                draft.timeouts.$field = parse_duration(text)?;
                Ok(())
            }),
        }
    };
}

pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        long: "config",
        short: Some('c'),
        value: Some("FILE"),
        help: "read options and backends from this file; those of the command line win",
        shown: |_| None,
        set: Set::Line(|errand, text| {
            errand.file = Some(PathBuf::from(text));
            Ok(())
        }),
    },
    Opt {
        long: "check",
        short: None,
        value: None,
        help: "read everything, print what would run and what it may cost, and exit",
        shown: |_| None,
        set: Set::Line(|errand, _| {
            errand.check = true;
            Ok(())
        }),
    },
    Opt {
        long: "listen",
        short: Some('l'),
        value: Some("ADDR"),
        help: "accept clients at IP:PORT or unix:/PATH; repeatable",
        // Settings leave it out: only the default is ever shown.
        shown: |_| Some(DEFAULT_LISTEN.into()),
        set: Set::Many {
            add: |draft, text| parse_listen(text).map(|address| draft.listen.push(address)),
            clear: |draft| draft.listen.clear(),
        },
    },
    Opt {
        long: "ca",
        short: None,
        value: Some("FILE"),
        help: "trust the certificates of this PEM file instead of the built-in roots",
        shown: |draft| draft.ca_pem.as_ref().map(|_| "a file of its own".into()),
        set: Set::Once(|draft, text| {
            draft.ca_pem = Some(read_certificates(&draft.base.join(text))?);
            Ok(())
        }),
    },
    Opt {
        long: "trust",
        short: None,
        value: Some("CIDR"),
        help: "believe forwarding fields of clients in this range, or of unix; repeatable",
        shown: |draft| {
            Some(match draft.trust.len() {
                0 => "nobody".into(),
                1 => "1 range".into(),
                count => format!("{count} ranges"),
            })
        },
        set: Set::Many {
            add: |draft, text| parse_trusted(text).map(|range| draft.trust.push(range)),
            clear: |draft| draft.trust.clear(),
        },
    },
    Opt {
        long: "balance",
        short: None,
        value: Some("POLICY"),
        help: "how backends take turns: round-robin, by their weights",
        shown: |draft| match draft.balance {
            Balance::RoundRobin => Some("round-robin".into()),
        },
        set: Set::Once(|draft, text| parse_balance(text).map(|policy| draft.balance = policy)),
    },
    timeout!("head-timeout", head, "a request head must arrive within this time"),
    timeout!("body-timeout", body, "silence that ends a request whose body is awaited"),
    Opt {
        long: "body-rate",
        short: None,
        value: Some("SIZE"),
        help: "a request body must bring so much a second, after 10s; 0B asks nothing",
        shown: |draft| Some(show_size(draft.limits.body_bytes_per_second_min)),
        set: Set::Once(|draft, text| {
            draft.limits.body_bytes_per_second_min = parse_size(text)?;
            Ok(())
        }),
    },
    Opt {
        long: "max-body",
        short: None,
        value: Some("SIZE"),
        help: "refuse requests with more content than this",
        shown: |draft| Some(or(draft.limits.request_body_bytes_max.map(show_size), "none")),
        set: Set::Once(|draft, text| {
            draft.limits.request_body_bytes_max = Some(parse_size(text)?);
            Ok(())
        }),
    },
    timeout!("idle-timeout", idle, "a client without a request is closed after this time"),
    Opt {
        long: "max-conns",
        short: None,
        value: Some("N"),
        help: "accept so many clients at a time; others wait in the kernel",
        shown: |draft| Some(or(draft.limits.clients_count_max, "as descriptors allow")),
        set: Set::Once(|draft, text| {
            draft.limits.clients_count_max = Some(parse_count(text)?);
            Ok(())
        }),
    },
    timeout!("connect-timeout", connect, "a backend must take a connection within this time"),
    Opt {
        long: "tls-timeout",
        short: None,
        value: Some("DURATION"),
        help: "a TLS handshake with a backend must end within this time",
        shown: |draft| Some(or(draft.handshake.map(show_duration), "as --connect-timeout")),
        set: Set::Once(|draft, text| {
            draft.handshake = Some(parse_duration(text)?);
            Ok(())
        }),
    },
    timeout!("retry-timeout", tries, "all tries of a request together end after this time"),
    timeout!("timeout", silence, "silence that ends an open request"),
    Opt {
        long: "response-timeout",
        short: None,
        value: Some("DURATION"),
        help: "a response must begin within this time",
        shown: |draft| Some(or(draft.response_head.map(show_duration), "as --timeout")),
        set: Set::Once(|draft, text| {
            draft.response_head = Some(parse_duration(text)?);
            Ok(())
        }),
    },
    timeout!("tunnel-timeout", tunnel, "silence that ends a tunnel, such as a WebSocket"),
    timeout!(
        "half-closed-timeout",
        half_closed,
        "silence that ends a tunnel of which one side has ended"
    ),
    timeout!("pool-timeout", pool_idle, "a connection to a backend is kept unused this long"),
    Opt {
        long: "max-conns-per-backend",
        short: None,
        value: Some("N"),
        help: "open so many connections to a backend; then requests wait",
        shown: |draft| Some(or(draft.limits.backend_connections_count_max, "none")),
        set: Set::Once(|draft, text| {
            draft.limits.backend_connections_count_max = Some(parse_count(text)?);
            Ok(())
        }),
    },
    timeout!("queue-timeout", queue, "a request waits for a connection no longer than this"),
    Opt {
        long: "queue-max",
        short: None,
        value: Some("N"),
        help: "so many requests wait; those beyond are refused",
        shown: |draft| Some(draft.limits.queue_count_max.to_string()),
        set: Set::Once(|draft, text| {
            draft.limits.queue_count_max = parse_count(text)?;
            Ok(())
        }),
    },
    Opt {
        long: "health",
        short: None,
        value: Some("PATH"),
        help: "ask each backend for this path, and use those that answer with 200 to 399",
        shown: |draft| Some(or(draft.health.path.as_ref(), "off")),
        set: Set::Once(|draft, text| {
            draft.health.path = Some(parse_probe_path(text)?);
            Ok(())
        }),
    },
    Opt {
        long: "health-interval",
        short: None,
        value: Some("DURATION"),
        help: "ask that often",
        shown: |draft| Some(show_duration(draft.health.interval.unwrap_or(PROBE_INTERVAL))),
        set: Set::Once(|draft, text| {
            draft.health.interval = Some(parse_duration(text)?);
            Ok(())
        }),
    },
    Opt {
        long: "health-timeout",
        short: None,
        value: Some("DURATION"),
        help: "an answer must come within this time",
        shown: |draft| Some(show_duration(draft.health.timeout.unwrap_or(PROBE_TIMEOUT))),
        set: Set::Once(|draft, text| {
            draft.health.timeout = Some(parse_duration(text)?);
            Ok(())
        }),
    },
    Opt {
        long: "splice",
        short: None,
        value: Some("SIZE"),
        help: "bodies of this size pass inside the kernel (Linux); off copies all",
        shown: |draft| Some(or(draft.limits.splice_bytes_min.map(show_size), "off")),
        set: Set::Once(|draft, text| {
            draft.limits.splice_bytes_min =
                if text == "off" { None } else { Some(parse_size(text)?) };
            Ok(())
        }),
    },
    Opt {
        long: "drain-delay",
        short: None,
        value: Some("DURATION"),
        help: "clients are still let in this long after a stop",
        shown: |draft| Some(show_duration(draft.timeouts.drain_delay)),
        set: Set::Once(|draft, text| {
            draft.timeouts.drain_delay = parse_delay(text)?;
            Ok(())
        }),
    },
    timeout!("drain-timeout", drain, "open requests are cut this long after a stop"),
    Opt {
        long: "access-log",
        short: None,
        value: Some("DEST"),
        help: "write a line per request to this file, or to the standard output with -",
        shown: |draft| Some(or(draft.access_log.as_ref(), "off")),
        set: Set::Once(|draft, text| {
            draft.access_log = Some(match text {
                "" => {
                    return Err("a destination is a file name, or - for the standard output".into());
                }
                "-" => LogDestination::Stdout,
                path => LogDestination::File(draft.base.join(path)),
            });
            Ok(())
        }),
    },
    Opt {
        long: "access-log-format",
        short: None,
        value: Some("FORMAT"),
        help: "what such a line looks like: text, json, combined",
        shown: |draft| Some(draft.access_log_format.unwrap_or_default().to_string()),
        set: Set::Once(|draft, text| {
            draft.access_log_format = Some(parse_log_format(text)?);
            Ok(())
        }),
    },
    Opt {
        long: "admin",
        short: None,
        value: Some("ADDR"),
        help: "tell operators how things are, as --listen: a page, /status, /metrics, /ready",
        shown: |draft| Some(or(draft.admin.as_ref(), "off")),
        set: Set::Once(|draft, text| parse_listen(text).map(|address| draft.admin = Some(address))),
    },
    Opt {
        long: "server-timing",
        short: None,
        value: None,
        help: "tell clients how long a request took, in a Server-Timing field",
        shown: |draft| Some(if draft.server_timing { "on" } else { "off" }.into()),
        set: Set::Once(|draft, _| {
            draft.server_timing = true;
            Ok(())
        }),
    },
    Opt {
        long: "log",
        short: None,
        value: Some("LEVEL"),
        help: "say this much on the standard error: off, error, warn, info, debug, trace",
        shown: |draft| Some(draft.log_level.to_string().to_lowercase()),
        set: Set::Once(|draft, text| parse_level(text).map(|level| draft.log_level = level)),
    },
    Opt {
        long: "demo",
        short: None,
        value: None,
        help: "serve from three small backends inside this process",
        shown: |_| None,
        set: Set::Once(|draft, _| {
            draft.demo = true;
            Ok(())
        }),
    },
    Opt {
        long: "generate",
        short: None,
        value: Some("WHAT"),
        help: "print the man page, or completions for a shell: man, bash, zsh, fish",
        shown: |_| None,
        set: Set::Line(|errand, text| {
            errand.print = Some(generate(text)?);
            Ok(())
        }),
    },
    Opt {
        long: "help",
        short: Some('h'),
        value: None,
        help: "print this text",
        shown: |_| None,
        set: Set::Line(|errand, _| {
            errand.print = Some(help());
            Ok(())
        }),
    },
    Opt {
        long: "version",
        short: Some('V'),
        value: None,
        help: "print the version",
        shown: |_| None,
        set: Set::Line(|errand, _| {
            errand.print = Some(format!("roundel {}\n", env!("CARGO_PKG_VERSION")));
            Ok(())
        }),
    },
];

/// A value, or what goes without one.
fn or(value: Option<impl ToString>, without: &str) -> String {
    value.map_or_else(|| without.to_owned(), |value| value.to_string())
}

pub(super) fn parse_listen(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
        return parse_socket_path(path).map(Address::Unix);
    }
    let digits = text.strip_prefix(':').unwrap_or(text);
    let port_of_localhost = text.strip_prefix("localhost:");
    let suggestion = match port_of_localhost.unwrap_or(digits).parse::<u16>() {
        Ok(port) => format!(": did you mean 127.0.0.1:{port}?"),
        Err(_) if text.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => {
            format!(": did you mean [{text}]:8000?")
        }
        Err(_) if text.parse::<std::net::IpAddr>().is_ok() => {
            format!(": did you mean {text}:8000?")
        }
        Err(_) if text.starts_with('/') => format!(": did you mean {UNIX_PREFIX}{text}?"),
        Err(_) if has_bad_port(text) => ": a port is at most 65535".to_owned(),
        Err(_) => String::new(),
    };
    text.parse().map(Address::Ip).map_err(|_| {
        format!("an address is IP:PORT, as in 127.0.0.1:8000 or [::1]:8000{suggestion}")
    })
}

/// Whether there is a number behind the last colon that is too large for a port.
fn has_bad_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_err()
    })
}

/// Reads a file that an option names, if it is of a size that makes sense.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut octets))
        .map_err(|e| format!("the file cannot be read: {e}"))?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(format!("the file is larger than {}", show_size(FILE_BYTES_MAX)));
    }
    Ok(octets)
}

/// Reads a file of certificates. Whether they are good is for TLS to say; that there are some can be
/// told here, where it is known who named the file.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<u8>, String> {
    read_pem(path, |line| line == "-----BEGIN CERTIFICATE-----", "certificate")
}

/// Reads a file with a private key, of whatever kind.
pub(super) fn read_key(path: &Path) -> Result<Vec<u8>, String> {
    let is_key = |line: &str| line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----");
    read_pem(path, is_key, "private key")
}

fn read_pem(path: &Path, begins: fn(&str) -> bool, what: &str) -> Result<Vec<u8>, String> {
    let octets = read_file(path)?;
    let mut lines = octets.split(|octet| *octet == b'\n');
    let is_there = |line: &[u8]| str::from_utf8(line).is_ok_and(|line| begins(line.trim_end()));
    if lines.any(is_there) { Ok(octets) } else { Err(format!("there is no {what} in the file")) }
}

fn parse_balance(text: &str) -> Result<Balance, String> {
    match text {
        "round-robin" => Ok(Balance::RoundRobin),
        _ => Err("the policy is round-robin, there is no other: did you mean round-robin?".into()),
    }
}

fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    let formats = [LogFormat::Text, LogFormat::Json, LogFormat::Combined];
    let found = formats.into_iter().find(|format| format.to_string() == text);
    found.ok_or_else(|| {
        format!("a format is one of {}{}", FORMATS.join(", "), suggestion(text, FORMATS))
    })
}

fn parse_level(text: &str) -> Result<LevelFilter, String> {
    text.parse()
        .map_err(|_| format!("a level is one of {}{}", LEVELS.join(", "), suggestion(text, LEVELS)))
}
