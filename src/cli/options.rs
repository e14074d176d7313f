//! The table of options, and how the texts of their values become values.
//!
//! Knows nothing of arguments and their order. Invariant: everything that is known of an option stands
//! in its row.
//!
//! Next: the parser and the help of [`crate::cli`] are driven by the table.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::{DEFAULT_LISTEN, help, nearest};
use crate::config::cidr::parse_cidr;
use crate::config::duration::{parse_duration, show_duration};
use crate::config::{BackendConfig, Cidr, LogDestination, Timeouts};

/// What has been said so far.
pub(super) struct Draft {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) backends: Vec<BackendConfig>,
    pub(super) demo: bool,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) trust: Vec<Cidr>,
    pub(super) timeouts: Timeouts,
    pub(super) access_log: Option<LogDestination>,
    pub(super) log_level: LevelFilter,
    pub(super) print: Option<String>,
}

/// One option. Everything that is known of it stands here and nowhere else.
pub(super) struct Opt {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// What its value is called; an option without one is a switch.
    pub(super) value: Option<&'static str>,
    pub(super) help: &'static str,
    pub(super) default: fn(&Timeouts) -> Option<String>,
    pub(super) set: fn(&mut Draft, &str) -> Result<(), String>,
}

macro_rules! timeout {
    ($long:literal, $field:ident, $help:literal) => {
        Opt {
            long: $long,
            short: None,
            value: Some("DURATION"),
            help: $help,
            default: |timeouts| Some(show_duration(timeouts.$field)),
            set: |draft, text| set_duration(&mut draft.timeouts.$field, text),
        }
    };
}

pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        long: "listen",
        short: Some('l'),
        value: Some("ADDR"),
        help: "accept clients on this address and port; repeatable",
        default: |_| Some(DEFAULT_LISTEN.into()),
        set: |draft, text| parse_listen(text).map(|address| draft.listen.push(address)),
    },
    Opt {
        long: "ca",
        short: None,
        value: Some("FILE"),
        help: "trust the certificates of this PEM file instead of the built-in roots",
        default: |_| None,
        set: |draft, text| {
            let read = std::fs::read(text).map_err(|e| format!("the file cannot be read: {e}"))?;
            draft.ca_pem = Some(read);
            Ok(())
        },
    },
    Opt {
        long: "trust",
        short: None,
        value: Some("CIDR"),
        help: "believe the forwarding fields of clients in this range; repeatable",
        default: |_| Some("nobody".into()),
        set: |draft, text| parse_cidr(text).map(|range| draft.trust.push(range)),
    },
    timeout!("head-timeout", head, "a request head must arrive within this time"),
    timeout!("body-timeout", body, "silence that ends a request whose body is awaited"),
    timeout!("idle-timeout", idle, "a client without a request is closed after this time"),
    timeout!(
        "connect-timeout",
        connect,
        "a backend must be reached within this time, TLS included"
    ),
    timeout!("timeout", silence, "silence that ends an open request"),
    timeout!("drain-timeout", drain, "open requests are cut this long after a stop"),
    Opt {
        long: "access-log",
        short: None,
        value: Some("DEST"),
        help: "write a line per request to this file, or to the standard output with -",
        default: |_| Some("off".into()),
        set: |draft, text| {
            draft.access_log = Some(match text {
                "" => {
                    return Err("a destination is a file name, or - for the standard output".into());
                }
                "-" => LogDestination::Stdout,
                path => LogDestination::File(PathBuf::from(path)),
            });
            Ok(())
        },
    },
    Opt {
        long: "log",
        short: None,
        value: Some("LEVEL"),
        help: "say this much on the standard error: off, error, warn, info, debug, trace",
        default: |_| Some("info".into()),
        set: |draft, text| parse_level(text).map(|level| draft.log_level = level),
    },
    Opt {
        long: "demo",
        short: None,
        value: None,
        help: "serve from three small backends inside this process",
        default: |_| None,
        set: |draft, _| {
            draft.demo = true;
            Ok(())
        },
    },
    Opt {
        long: "help",
        short: Some('h'),
        value: None,
        help: "print this text",
        default: |_| None,
        set: |draft, _| {
            draft.print = Some(help());
            Ok(())
        },
    },
    Opt {
        long: "version",
        short: Some('V'),
        value: None,
        help: "print the version",
        default: |_| None,
        set: |draft, _| {
            draft.print = Some(format!("roundel {}\n", env!("CARGO_PKG_VERSION")));
            Ok(())
        },
    },
];

fn set_duration(field: &mut Duration, text: &str) -> Result<(), String> {
    *field = parse_duration(text)?;
    Ok(())
}

pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
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
        Err(_) if has_bad_port(text) => ": a port is at most 65535".to_owned(),
        Err(_) => String::new(),
    };
    text.parse().map_err(|_| {
        format!("an address is IP:PORT, as in 127.0.0.1:8000 or [::1]:8000{suggestion}")
    })
}

/// Whether there is a number behind the last colon that is too large for a port.
fn has_bad_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_err()
    })
}

fn parse_level(text: &str) -> Result<LevelFilter, String> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    text.parse().map_err(|_| {
        let nearest = nearest(text, levels).map(|level| format!(": did you mean {level}?"));
        format!("a level is one of {}{}", levels.join(", "), nearest.unwrap_or_default())
    })
}
