//! The poll loop and everything that it owns.
//!
//! [`run`] builds what the configuration asks for and turns the loop until it is told to stop.
//! [`worker`] is the proxy itself, generic over the network; [`drives`], [`dispatch`], [`connects`],
//! [`upstreams`], [`settle`], [`overdue`] and [`probes`] are its chapters, [`roster`] chooses between
//! backends; [`plan`] says what would run, [`doctor`] whether it would do well;
//! [`event_loop`] gives it events, clients, time and names from the real world.

pub mod admin;
pub mod adopt;
pub mod answers;
pub mod backends;
pub mod connects;
pub mod demo;
mod descriptors;
pub mod dispatch;
pub mod doctor;
pub mod doors;
pub mod drain;
pub mod drives;
pub mod event_loop;
pub mod keeper;
mod log_file;
pub mod names;
pub mod overdue;
pub mod plan;
pub mod probes;
pub mod record;
pub mod roster;
mod secured;
pub mod settle;
pub mod slots;
pub mod stages;
pub mod timers;
pub mod upstreams;
pub mod worker;

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::Duration;

use crate::clock;
use crate::config::{Address, BackendConfig, Backends, Config, DEFAULT_LISTEN, Verify};
use crate::net::handover::Inherited;
use crate::net::listener::{Listener, listen};
use crate::net::notify::{Notice, notify};
use crate::net::resolve::{Questions, SystemLookup};
use crate::net::sys::raise_descriptor_limit;
use crate::observe::access_log::Writers;
use event_loop::EventLoop;
use keeper::{DESK_NAME, Keeper, ReadAgain, desk_name};
use secured::secured;
use worker::Settings;

/// How long the start waits for the first addresses of names. Whoever has none by then is down until
/// it gets some.
pub const FIRST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(2);

/// The demo, once it was started.
type Demos = Option<demo::Demo>;

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

/// Runs until it is told to stop and has stopped. `read_again` reads the configuration anew when an
/// operator asks for that; its errors are lines for the log.
///
/// # Errors
/// When it cannot begin, in one line for the operator.
pub fn run<'a>(config: &Config, read_again: &'a mut ReadAgain<'a>) -> Result<(), RunError> {
    // Before anything else is opened: the descriptors are known by their numbers only.
    let mut inherited = Inherited::take();
    let program = keeper::program();
    let descriptors = descriptors_possible()?;
    let mut demos = Demos::default();
    let configs = configured(config, &mut demos)?;
    let backends = secured(&configs, config.ca_pem.as_deref())?;
    let writers = Writers::default();
    let access_log = config.access_log.as_ref().map(|log| log_file::open(log, &writers));
    let access_log = access_log.transpose()?;
    let (listeners, given) = doors(config, &mut inherited)?;
    let settings = Settings { access_log, ..settings(config) };
    let questions = Questions { names: backends::names(&configs), lookup: SystemLookup };
    let event_loop = EventLoop::new(listeners, backends, questions, settings, descriptors);
    let mut event_loop =
        event_loop.map_err(|e| RunError::Failed(format!("cannot start the loop: {e}")))?;
    event_loop.set_given(given);
    if let Some(address) = &config.admin {
        let from_others = inherited.take_named(&desk_name(address));
        let listener = match from_others.or_else(|| inherited.take_named(DESK_NAME)) {
            Some(listener) => listener,
            None => open(address)?,
        };
        warn_of_public_desk(address);
        event_loop
            .open_desk(address.clone(), listener)
            .map_err(|e| RunError::Failed(format!("cannot watch the admin address: {e}")))?;
    }
    event_loop.show_settings(config.settings.clone());
    event_loop.await_first_answers(FIRST_ANSWERS_TIMEOUT);
    announce(&event_loop, &configs);
    warn_of_insecure(&configs);
    if inherited.say_ready() {
        event_loop.take_files();
    }
    inherited.close_others();
    notify(Notice::Ready("serving"));
    Keeper::new(config, demos, writers, program, read_again).keep(&mut event_loop)
}

/// Listening sockets, each with the address that was asked for.
type Doors = Vec<(Address, Listener)>;

/// The listening sockets, from a predecessor or a service manager where they have one, else our own; and the
/// addresses of those that a service manager has opened, which are served in any case.
fn doors(config: &Config, inherited: &mut Inherited) -> Result<(Doors, Vec<Address>), RunError> {
    let mut doors = Vec::new();
    let mut activated = Vec::new();
    for (name, listener) in std::mem::take(&mut inherited.activated) {
        if name == DESK_NAME {
            inherited.named.push((name, listener));
        } else if let Ok(address) = listener.address() {
            activated.push((address, listener));
        }
    }
    let given: Vec<Address> = activated.iter().map(|(address, _)| address.clone()).collect();
    for asked in wanted(config, &given) {
        if let Some(listener) = inherited.take_named(&asked.to_string()) {
            doors.push((asked.clone(), listener));
        } else if let Some(place) = activated.iter().position(|(address, _)| address == asked) {
            doors.push((asked.clone(), activated.swap_remove(place).1));
        } else {
            doors.push((asked.clone(), open(asked)?));
        }
    }
    doors.extend(activated);
    Ok((doors, given))
}

/// The addresses to listen on, when a service manager has opened these: they stand in the place of the address
/// that nobody asked for.
fn wanted<'a>(
    config: &'a Config,
    given: &[Address],
) -> impl Iterator<Item = &'a Address> + use<'a> {
    let is_default = config.listen.iter().map(ToString::to_string).eq([DEFAULT_LISTEN.to_owned()]);
    let count = if is_default && !given.is_empty() { 0 } else { config.listen.len() };
    config.listen.iter().take(count)
}

/// The backends that were asked for, or those of the demo, which are started for that.
fn configured(config: &Config, demos: &mut Demos) -> Result<Vec<BackendConfig>, RunError> {
    match &config.backends {
        Backends::Configured(configs) => Ok(configs.clone()),
        Backends::Demo => {
            let demo = match demos.take() {
                Some(demo) => demo,
                None => demo::start().map_err(|e| {
                    RunError::Failed(format!("cannot start the demo backends: {e}"))
                })?,
            };
            Ok(demos.insert(demo).backends())
        }
    }
}

/// What a worker is told, without the access log.
fn settings(config: &Config) -> Settings {
    Settings {
        timeouts: config.timeouts.clone(),
        limits: config.limits.clone(),
        health: config.health.clone(),
        trust: config.trust.clone(),
        seed: random_number(),
        access_log: None,
        counts: config.admin.is_some(),
        server_timing: config.server_timing,
    }
}

fn announce(event_loop: &EventLoop, configs: &[BackendConfig]) {
    let labels: Vec<String> = configs.iter().map(BackendConfig::to_string).collect();
    log::info!("balancing over {}", labels.join(", "));
    for address in event_loop.addresses() {
        log::info!("listening on {}", address.url());
    }
    if let Some(address) = event_loop.desk_address() {
        log::info!("admin on {}", address.url());
    }
}

fn warn_of_insecure(configs: &[BackendConfig]) {
    for backend in configs.iter().filter(|backend| backend.tls.verify == Verify::Nothing) {
        let label = backend.label();
        log::warn!(
            "backend {label} is insecure: its certificate is not checked, so anybody in between can \
             read and change what goes there"
        );
    }
}

fn warn_of_public_desk(address: &Address) {
    if let Address::Ip(address) = address
        && !address.ip().is_loopback()
    {
        log::warn!("--admin {address}: everybody who reaches this address can see how things are");
    }
}

/// Opens a listening socket, or says why not and what to do about it.
fn open(address: &Address) -> Result<Listener, RunError> {
    listen(address).map_err(|error| {
        let advice = match (address, error.kind()) {
            (_, io::ErrorKind::AddrInUse) => {
                format!("; to see who has it: {}", who_listens(address))
            }
            (Address::Ip(_), io::ErrorKind::PermissionDenied) => {
                "; ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
            }
            (Address::Unix(_), io::ErrorKind::PermissionDenied) => {
                "; a socket is made in a folder to which we may write".to_owned()
            }
            (Address::Unix(_), io::ErrorKind::NotFound) => "; there is no such folder".to_owned(),
            (Address::Unix(_), io::ErrorKind::AlreadyExists) => {
                "; it is not ours to remove".to_owned()
            }
            (Address::Ip(_), io::ErrorKind::AddrNotAvailable) => {
                "; this machine has no such address".to_owned()
            }
            _ => String::new(),
        };
        RunError::Failed(format!("cannot listen on {address}: {error}{advice}"))
    })
}

/// How many descriptors this process may have, once it has asked for as many as it can get.
fn descriptors_possible() -> Result<u64, RunError> {
    raise_descriptor_limit()
        .map_err(|e| RunError::Failed(format!("cannot read the limit of descriptors: {e}")))
}

/// The command that tells who listens at an address.
fn who_listens(address: &Address) -> String {
    match address {
        Address::Ip(ip) if cfg!(target_os = "linux") => {
            format!("ss -ltnp 'sport = :{}'", ip.port())
        }
        Address::Ip(ip) => format!("lsof -iTCP:{} -sTCP:LISTEN", ip.port()),
        Address::Unix(path) => format!("lsof -a -U {}", path.as_str()),
    }
}

/// A number that is different in each process: the standard library seeds its hash maps with one.
fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The time as a worker starts.
fn start_time() -> clock::Now {
    clock::now()
}
