//! roundel's command line, less what this version does not do.
//!
//! The parser is roundel's own, so that both understand the same words. Invariant: an option that
//! would have no effect is refused, never ignored.
//!
//! Next: [`crate::server`] runs what is left.

use std::ffi::OsString;
use std::net::SocketAddr;

use log::LevelFilter;
use roundel::cli;
use roundel::config::backend_url::BackendTls;
use roundel::config::{
    Address, BackendConfig, Backends, Cidr, Config, HealthConfig, Host, Intake, Limits, Role,
    Timeouts, Trusted, Verify,
};

/// What the arguments ask for.
pub(crate) enum Request {
    /// To run.
    Run(Box<Options>),
    /// To print this text and be done.
    Print(String),
}

/// What one run needs to know.
pub(crate) struct Options {
    /// Addresses to accept clients on; at least one.
    pub(crate) listen: Vec<SocketAddr>,
    /// Whom to balance over; at least one.
    pub(crate) backends: Vec<BackendConfig>,
    /// The text of a PEM file whose certificates are trusted instead of the built-in roots.
    pub(crate) ca_pem: Option<Vec<u8>>,
    /// Clients whose word about other clients is believed.
    pub(crate) trust: Vec<Cidr>,
    /// Of these only `head`, `idle`, `connect`, `handshake`, `response_head`, `silence`,
    /// `pool_idle` and `drain` are kept.
    pub(crate) timeouts: Timeouts,
    /// How much is said on the standard error.
    pub(crate) log_level: LevelFilter,
}

const PREFACE: &str = "tokio_version: roundel once more on tokio and hyper, to be measured against.\n\
    It takes --listen, --ca, --trust, --head-timeout, --idle-timeout, --connect-timeout,\n\
    --tls-timeout, --timeout, --response-timeout, --pool-timeout, --drain-timeout and --log\n\
    of roundel's options, which are:\n\n";

/// Reads the arguments, without the name of the program.
///
/// # Errors
/// What is wrong with them, in words.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let request = cli::parse(arguments).map_err(|complaints| {
        let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    match request {
        cli::Request::Check(_) => Err("--check is for roundel alone".into()),
        cli::Request::Doctor(_) => Err("the doctor is for roundel alone".into()),
        cli::Request::Print(text) => Ok(Request::Print(format!("{PREFACE}{text}"))),
        cli::Request::Run(config) => subset(*config).map(|options| Request::Run(Box::new(options))),
    }
}

/// Whether more was said of a backend than its URL, its weight and whose `Host` it sees, or it is on a
/// Unix socket.
fn is_particular(backend: &BackendConfig) -> bool {
    let plain = BackendConfig {
        role: Role::Main,
        intake: Intake::Open,
        connections_count_max: None,
        tls: BackendTls { verify: Verify::Full, ca_pem: None, identity: None },
        ..backend.clone()
    };
    *backend != plain || matches!(backend.host, Host::Unix(_))
}

/// Without an equal in hyper, and so without an effect here, are all settings but those that are
/// named.
fn subset(config: Config) -> Result<Options, String> {
    let kept = Timeouts {
        head: config.timeouts.head,
        idle: config.timeouts.idle,
        connect: config.timeouts.connect,
        handshake: config.timeouts.handshake,
        response_head: config.timeouts.response_head,
        silence: config.timeouts.silence,
        pool_idle: config.timeouts.pool_idle,
        drain: config.timeouts.drain,
        ..Timeouts::default()
    };
    let Backends::Configured(backends) = config.backends else {
        return Err("--demo is for roundel alone".into());
    };
    if config.timeouts != kept
        || config.limits != Limits::default()
        || config.health != HealthConfig::default()
        || config.access_log.is_some()
        || config.admin.is_some()
        || config.server_timing
        || backends.iter().any(is_particular)
    {
        return Err(
            "one of these options is for roundel alone; --help lists those that are not".into()
        );
    }
    let listen: Option<Vec<_>> = config.listen.iter().map(Address::ip).collect();
    let range = |trusted: &Trusted| match trusted {
        Trusted::Range(range) => Some(*range),
        Trusted::Unix => None,
    };
    let trust: Option<Vec<_>> = config.trust.iter().map(range).collect();
    let (Some(listen), Some(trust)) = (listen, trust) else {
        return Err("Unix sockets are for roundel alone".into());
    };
    Ok(Options {
        listen,
        backends,
        ca_pem: config.ca_pem,
        trust,
        timeouts: kept,
        log_level: config.log_level,
    })
}
