//! What roundel is asked to do: values of which only legal ones exist.
//!
//! Texts (of the command line and of a file) become these values in one step; whoever holds a
//! [`Config`] need not check anything again. Knows nothing of sockets and of how the texts arrive.
//!
//! Next: [`crate::cli`] fills it, [`crate::server`] runs it.

pub mod address;
pub mod backend_url;
pub mod cidr;
pub mod duration;
pub mod health;
pub mod limits;
pub mod nearest;
pub mod size;

use std::fmt;
use std::path::PathBuf;

use log::LevelFilter;

pub use address::{Address, Peer, SocketPath};
pub use backend_url::{BackendConfig, Host, HostField, Intake, Role, Scheme, Verify};
pub use cidr::{Cidr, Trusted};
pub use health::HealthConfig;
pub use limits::{Limits, Timeouts};

/// Where clients are awaited unless `--listen` says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8000";

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// The standard output.
    Stdout,
    /// This file, appended to.
    File(PathBuf),
}

impl fmt::Display for LogDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a line of the access log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Words with spaces between them.
    #[default]
    Text,
    /// An object of JSON.
    Json,
    /// As Apache and nginx call it.
    Combined,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Combined => "combined",
        })
    }
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Where it goes.
    pub destination: LogDestination,
    /// What its lines look like.
    pub format: LogFormat,
}

/// How backends take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other, by their weights.
    RoundRobin,
}

/// Where the backends come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backends {
    /// Named by the operator; at least one.
    Configured(Vec<BackendConfig>),
    /// Three small ones inside this process.
    Demo,
}

/// Everything that one run needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses to accept clients on; at least one.
    pub listen: Vec<Address>,
    /// Whom to balance over.
    pub backends: Backends,
    /// How they take turns.
    pub balance: Balance,
    /// The text of a PEM file whose certificates are trusted instead of the built-in roots.
    pub ca_pem: Option<Vec<u8>>,
    /// Clients whose word about other clients is believed: their forwarding fields are kept and added
    /// to. Those of all others are replaced.
    pub trust: Vec<Trusted>,
    /// How long anything may take.
    pub timeouts: Timeouts,
    /// How much of anything there may be.
    pub limits: Limits,
    /// When a backend is given no more requests.
    pub health: HealthConfig,
    /// Where one line per exchange goes; `None` writes none.
    pub access_log: Option<LogConfig>,
    /// The file that it came from, if it was not said by arguments alone.
    pub file: Option<PathBuf>,
    /// Where operators can ask how things are; `None` nowhere.
    pub admin: Option<Address>,
    /// Whether clients are told how long a request took, and where.
    pub server_timing: bool,
    /// How much is said on the standard error.
    pub log_level: LevelFilter,
    /// All of that once more in words, for operators: option by option, but for where clients are awaited, and
    /// backends.
    pub settings: Vec<Setting>,
}

/// An option in force, in words. Shown, it is a line about one that was not left as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, without the hyphens in front.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// The value that it has where nobody says anything, if there is one.
    pub default: Option<String>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, default } = self;
        match default {
            Some(default) => write!(f, "{name} {value}, not {default}"),
            None => write!(f, "{name} {value}"),
        }
    }
}

impl Config {
    /// The settings that are not what they would be anyway.
    pub fn differences(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(|setting| !setting.is_default())
    }
}

impl Setting {
    /// Whether it is what it would be anyway.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.default.as_ref() == Some(&self.value)
    }
}
