//! The poll loop and everything that it owns.
//!
//! [`run`] builds what the configuration asks for and turns the loop until it is told to stop.
//! [`worker`] is the proxy itself, generic over the network; [`drives`], [`dispatch`], [`connects`],
//! [`upstreams`], [`settle`], [`overdue`] and [`probes`] are its chapters, [`roster`] chooses between
//! backends; [`plan`] says what would run;
//! [`event_loop`] gives it events, clients, time and names from the real world.

pub mod admin;
pub mod backends;
pub mod connects;
pub mod demo;
pub mod dispatch;
pub mod drain;
pub mod drives;
pub mod event_loop;
pub mod overdue;
pub mod plan;
pub mod probes;
pub mod record;
pub mod roster;
mod secured;
pub mod settle;
pub mod slots;
pub mod timers;
pub mod upstreams;
pub mod worker;

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpListener;

use crate::clock;
use crate::config::{BackendConfig, Backends, Config, Verify};
use crate::net::listener::listen;
use crate::net::resolve::{Questions, SystemLookup};
use crate::net::sys::raise_descriptor_limit;
use crate::observe::access_log::AccessLog;
use event_loop::EventLoop;
use secured::secured;
use worker::Settings;

/// How long the start waits for the first addresses of names. Whoever has none by then is down until
/// it gets some.
pub const FIRST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the proxy does not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunError {
    /// What was asked for cannot be: exit code 2.
    Wrong(String),
    /// The machine does not allow it: exit code 1.
    Failed(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

/// Runs until it is told to stop and has stopped.
///
/// # Errors
/// When it cannot begin, in one line for the operator.
pub fn run(config: &Config) -> Result<(), RunError> {
    let descriptors = raise_descriptor_limit()
        .map_err(|e| RunError::Failed(format!("cannot read the limit of descriptors: {e}")))?;
    let (configs, _demo) = match &config.backends {
        Backends::Configured(configs) => (configs.clone(), None),
        Backends::Demo => {
            let demo = demo::start()
                .map_err(|e| RunError::Failed(format!("cannot start the demo backends: {e}")))?;
            (demo.backends(), Some(demo))
        }
    };
    let backends = secured(&configs, config.ca_pem.as_deref())?;
    let access_log = match &config.access_log {
        None => None,
        Some(destination) => {
            let log = AccessLog::open(destination).map_err(|e| {
                RunError::Wrong(format!("cannot write the access log {destination}: {e}"))
            })?;
            Some(log)
        }
    };
    let listeners = config.listen.iter().map(|address| open(*address)).collect::<Result<_, _>>()?;
    let settings = Settings {
        timeouts: config.timeouts.clone(),
        limits: config.limits.clone(),
        health: config.health.clone(),
        trust: config.trust.clone(),
        seed: random_number(),
        access_log,
        counts: config.admin.is_some(),
    };
    let questions = Questions { names: backends::names(&configs), lookup: SystemLookup };
    let event_loop = EventLoop::new(listeners, backends, questions, settings, descriptors);
    let mut event_loop =
        event_loop.map_err(|e| RunError::Failed(format!("cannot start the loop: {e}")))?;
    if let Some(address) = config.admin {
        open_desk(&mut event_loop, address)?;
    }
    event_loop.await_first_answers(FIRST_ANSWERS_TIMEOUT);
    announce(&event_loop, &configs);
    event_loop.turn_until_stopped().map_err(|e| RunError::Failed(format!("the poll failed: {e}")))
}

fn announce(event_loop: &EventLoop, configs: &[BackendConfig]) {
    let labels: Vec<String> = configs.iter().map(BackendConfig::to_string).collect();
    log::info!("balancing over {}", labels.join(", "));
    for backend in configs.iter().filter(|backend| backend.tls.verify == Verify::Nothing) {
        let label = backend.label();
        log::warn!(
            "backend {label} is insecure: its certificate is not checked, so anybody in between can \
             read and change what goes there"
        );
    }
    for address in event_loop.addresses() {
        log::info!("listening on http://{address}");
    }
    if let Some(address) = event_loop.desk_address() {
        log::info!("admin on http://{address}");
    }
}

fn open_desk(event_loop: &mut EventLoop, address: SocketAddr) -> Result<(), RunError> {
    if !address.ip().is_loopback() {
        log::warn!("--admin {address}: everybody who reaches this address can see how things are");
    }
    let listener = open(address)?;
    event_loop
        .open_desk(listener)
        .map_err(|e| RunError::Failed(format!("cannot watch the admin address: {e}")))
}

/// Opens a listening socket, or says why not and what to do about it.
fn open(address: SocketAddr) -> Result<TcpListener, RunError> {
    listen(address).map_err(|error| {
        let port = address.port();
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse if cfg!(target_os = "linux") => {
                format!("; to see who has it: ss -ltnp 'sport = :{port}'")
            }
            io::ErrorKind::AddrInUse => {
                format!("; to see who has it: lsof -iTCP:{port} -sTCP:LISTEN")
            }
            io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address".to_owned(),
            _ => String::new(),
        };
        RunError::Failed(format!("cannot listen on {address}: {error}{advice}"))
    })
}

/// A number that is different in each process: the standard library seeds its hash maps with one.
fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The time as a worker starts.
fn start_time() -> clock::Now {
    clock::now()
}
