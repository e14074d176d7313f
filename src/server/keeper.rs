//! What an operator asks of a process that runs: another configuration, other log files, a successor.
//!
//! The loop turns until it is told something that it does not know how to do itself; the keeper does it and
//! lets it turn on. Knows nothing of connections and requests.
//!
//! Invariants: everything that can fail is done before anything is changed, so a configuration is in
//! force as a whole or not at all; a successor serves before we let go.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Instant;

use mio::net::UnixStream;

use super::backends::{self, Backend};
use super::event_loop::{EventLoop, Told};
use super::log_file;
use super::secured::secured;
use super::worker::Settings;
use super::{
    Demos, FIRST_ANSWERS_TIMEOUT, RunError, configured, open, settings, wanted, warn_of_insecure,
};
use crate::clock::{self, Now};
use crate::config::limits::SUCCESSOR_TIMEOUT;
use crate::config::{Address, BackendConfig, Config, Verify};
use crate::net::handover::hand_over;
use crate::net::listener::Listener;
use crate::net::notify::{Notice, notify};
use crate::net::resolve::{Questions, SystemLookup};
use crate::observe::access_log::{AccessLog, Writers};

/// Under which name a service manager passes the desk's socket.
pub(super) const DESK_NAME: &str = "admin";

/// Under which name the desk's socket is handed over that was asked for in these words.
pub(super) fn desk_name(asked: &Address) -> String {
    format!("{DESK_NAME} {asked}")
}

/// The program as it was called. A link in its name is not followed yet: what it leads to at the time of an
/// upgrade is what is wanted then.
pub(super) fn program() -> Option<PathBuf> {
    let called = PathBuf::from(std::env::args_os().next()?);
    let is_path = called.components().count() > 1;
    let absolute = std::env::current_dir().ok().map(|folder| folder.join(&called));
    absolute.filter(|path| is_path && path.exists()).or_else(|| std::env::current_exe().ok())
}

/// Reads the configuration anew: whatever the process was started with, as it is now. Errors are lines for
/// the operator.
pub type ReadAgain<'a> = dyn FnMut() -> Result<Config, Vec<String>> + 'a;

/// Does what operators ask for.
pub(super) struct Keeper<'a> {
    config: Config,
    read_again: &'a mut ReadAgain<'a>,
    demos: Demos,
    writers: Writers,
    wanted: Option<Wanted>,
    successor: Option<Successor>,
    /// The program as it was called when it started: by now there may be another one of that name.
    program: Option<PathBuf>,
}

/// A configuration that waits for the addresses of its backends.
struct Wanted {
    config: Config,
    configs: Vec<BackendConfig>,
    backends: Vec<(Backend, u32)>,
    doors: Vec<(Address, Listener)>,
    desk: Option<(Address, Listener)>,
    access_log: Option<AccessLog>,
    until: Instant,
}

/// A process that is to take over.
struct Successor {
    child: Child,
    pipe: UnixStream,
    until: Instant,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(
        config: &Config,
        demos: Demos,
        writers: Writers,
        program: Option<PathBuf>,
        read_again: &'a mut ReadAgain<'a>,
    ) -> Self {
        Self {
            config: config.clone(),
            read_again,
            demos,
            writers,
            wanted: None,
            successor: None,
            program,
        }
    }

    /// Lets the loop turn until all is over.
    pub(super) fn keep(&mut self, event_loop: &mut EventLoop) -> Result<(), RunError> {
        loop {
            let wanted = self.wanted.as_ref().map(|wanted| wanted.until);
            let successor = self.successor.as_ref().map(|successor| successor.until);
            let end = [wanted, successor].into_iter().flatten().min();
            let told = event_loop
                .turn_until_told(end)
                .map_err(|e| RunError::Failed(format!("the poll failed: {e}")))?;
            let now = clock::now();
            match told {
                Told::Over => break,
                Told::Reload => self.reload(event_loop, now),
                // It may have been said of names that are not wanted any more.
                Told::Names if !event_loop.names_are_known() => {}
                Told::Names => self.adopt(event_loop, now),
                Told::Reopen => self.reopen(event_loop),
                Told::Upgrade => self.upgrade(event_loop, now),
                Told::Successor => self.hear_successor(event_loop, now),
                Told::Deadline => {
                    if wanted.is_some_and(|until| until <= now.instant) {
                        self.adopt(event_loop, now);
                    }
                    if successor.is_some_and(|until| until <= now.instant) {
                        self.give_successor_up("it was not ready in time", event_loop);
                    }
                }
            }
        }
        self.give_successor_up("this process was told to stop", event_loop);
        event_loop.end();
        Ok(())
    }

    fn reload(&mut self, event_loop: &mut EventLoop, now: Now) {
        if event_loop.is_stopping() {
            log::warn!("the configuration is not read anew: this process is about to stop");
            return;
        }
        log::info!("reading the configuration anew");
        notify(Notice::Reloading);
        // One that still waits for names is out of date, and holds what this one may want to open.
        self.forget_wanted(event_loop);
        let wanted = (self.read_again)().and_then(|config| {
            self.prepare(config, event_loop, now).map_err(|error| vec![error.to_string()])
        });
        match wanted {
            Ok(wanted) => self.wanted = Some(wanted),
            Err(complaints) => return self.refuse(&complaints, event_loop, now),
        }
        if event_loop.names_are_known() {
            self.adopt(event_loop, now);
        }
    }

    /// Does everything of a new configuration that can fail, and changes nothing.
    fn prepare(
        &mut self,
        config: Config,
        event_loop: &mut EventLoop,
        now: Now,
    ) -> Result<Wanted, RunError> {
        let configs = configured(&config, &mut self.demos)?;
        let backends = secured(&configs, config.ca_pem.as_deref())?;
        let open_now = event_loop.asked();
        let wanted = wanted(&config, event_loop.given());
        let missing = wanted.filter(|address| !open_now.contains(address));
        let doors = missing
            .map(|address| Ok((address.clone(), open(address)?)))
            .collect::<Result<Vec<_>, RunError>>()?;
        let desk = match &config.admin {
            Some(address) if self.config.admin.as_ref() != Some(address) => {
                Some((address.clone(), open(address)?))
            }
            Some(_) | None => None,
        };
        let access_log = match &config.access_log {
            Some(log) if self.config.access_log.as_ref() != Some(log) => {
                Some(log_file::open(log, &self.writers)?)
            }
            Some(_) | None => None,
        };
        let questions = Questions { names: backends::names(&configs), lookup: SystemLookup };
        event_loop
            .ask_names(questions, &config.timeouts)
            .map_err(|e| RunError::Failed(format!("cannot ask for names: {e}")))?;
        let until = now.instant + FIRST_ANSWERS_TIMEOUT;
        Ok(Wanted { config, configs, backends, doors, desk, access_log, until })
    }

    /// The configuration stays as it is.
    fn refuse(&mut self, complaints: &[String], event_loop: &mut EventLoop, now: Now) {
        complaints.iter().for_each(|complaint| log::error!("{complaint}"));
        log::error!("nothing has changed: the configuration that was in force still is");
        self.forget_wanted(event_loop);
        event_loop.note_reload(false, now.unix_ms);
        notify(Notice::Ready("serving; the last reload failed, see the log"));
    }

    fn forget_wanted(&mut self, event_loop: &mut EventLoop) {
        self.wanted = None;
        event_loop.forget_asked_names();
    }

    /// From now on, the configuration that was prepared is in force.
    fn adopt(&mut self, event_loop: &mut EventLoop, now: Now) {
        if event_loop.is_stopping() {
            return self.forget_wanted(event_loop);
        }
        let Some(wanted) = self.wanted.take() else { return };
        let Wanted { config, configs, backends, doors, desk, access_log, .. } = wanted;
        for (asked, listener) in doors {
            let shown = asked.to_string();
            if let Err(error) = event_loop.open_door(asked, listener) {
                let complaint = format!("the poll has no room for {shown}: {error}");
                return self.refuse(&[complaint], event_loop, now);
            }
        }
        if let Some((address, listener)) = desk
            && let Err(error) = event_loop.open_desk(address, listener)
        {
            let complaint = format!("the poll has no room for the admin address: {error}");
            return self.refuse(&[complaint], event_loop, now);
        }
        event_loop.keep_doors(&config.listen, now);
        if config.admin.is_none() {
            event_loop.close_desk();
        }
        let is_same_trust = self.config.ca_pem == config.ca_pem;
        let is_same = |known: &BackendConfig, wanted: &BackendConfig| {
            is_same_server(known, wanted, is_same_trust)
        };
        let settings: Settings = settings(&config);
        let adopted = event_loop.adopt(backends, is_same, settings, now);
        if config.access_log != self.config.access_log {
            event_loop.set_access_log(access_log);
        }
        log::set_max_level(config.log_level);
        event_loop.show_settings(config.settings.clone());
        self.config = config;
        let source = self.config.file.as_ref().map_or_else(
            || "the arguments".to_owned(),
            |file| file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned(),
        );
        let backends = if adopted.added == 1 { "backend" } else { "backends" };
        log::info!(
            "reloaded {source}: +{} {backends}, -{}, {} connections kept",
            adopted.added,
            adopted.retired,
            event_loop.clients_count()
        );
        if let Some(address) = &self.config.admin {
            super::warn_of_public_desk(address);
        }
        super::announce(event_loop, &configs);
        warn_of_insecure(&configs);
        event_loop.note_reload(true, now.unix_ms);
        notify(Notice::Ready("serving"));
    }

    /// Log files may have been moved away: begins new ones.
    fn reopen(&self, event_loop: &mut EventLoop) {
        let Some(config) = &self.config.access_log else {
            log::info!("there is no log file to open anew");
            return;
        };
        match log_file::open(config, &self.writers) {
            Ok(log) => {
                event_loop.set_access_log(Some(log));
                log::info!("opened the access log {} anew", config.destination);
            }
            Err(error) => log::error!("{error}; the one that is open stays open"),
        }
    }

    fn upgrade(&mut self, event_loop: &mut EventLoop, now: Now) {
        if self.successor.is_some() || event_loop.is_stopping() {
            log::warn!(
                "no successor is started: one is on its way already, or this process is stopping"
            );
            return;
        }
        // The successor reads the configuration itself, and may want what this one holds for it.
        self.forget_wanted(event_loop);
        match self.start_successor(event_loop, now) {
            Ok(successor) => {
                log::info!("process {} is to take over", successor.child.id());
                self.successor = Some(successor);
            }
            Err(error) => log::error!("cannot start a successor: {error}; this process goes on"),
        }
    }

    fn start_successor(&self, event_loop: &EventLoop, now: Now) -> io::Result<Successor> {
        let program = self.program.as_ref();
        let program = program.ok_or_else(|| io::Error::other("the program's name is not known"))?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut pipe = UnixStream::from_std(ours);
        event_loop.watch_successor(&mut pipe)?;
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1));
        let copies = hand_over(&mut command, event_loop.sockets(), theirs)?;
        let child = command.spawn()?;
        drop(copies);
        Ok(Successor { child, pipe, until: now.instant + SUCCESSOR_TIMEOUT })
    }

    /// The successor is ready, or has ended.
    fn hear_successor(&mut self, event_loop: &mut EventLoop, now: Now) {
        let Some(successor) = &mut self.successor else { return };
        match successor.pipe.read(&mut [0]) {
            Ok(0) => self.give_successor_up("it ended before it was ready", event_loop),
            Ok(_) if event_loop.is_stopping() => {
                self.give_successor_up("this process was told to stop", event_loop);
            }
            Ok(_) => {
                let id = successor.child.id();
                log::info!("process {id} has taken over; this one finishes what it has begun");
                notify(Notice::MainProcess(id));
                self.successor = None;
                event_loop.let_go(now);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.give_successor_up(&format!("its pipe broke: {error}"), event_loop),
        }
    }

    /// It will not be needed, or is of no use. What this process does then is said if it goes on.
    fn give_successor_up(&mut self, why: &str, event_loop: &EventLoop) {
        let Some(mut successor) = self.successor.take() else { return };
        let id = successor.child.id();
        // One that has ended already cannot be killed, and is only to be buried.
        let _ = successor.child.kill();
        let status = successor.child.wait();
        let status = status.map_or_else(|e| e.to_string(), |status| status.to_string());
        let then = if event_loop.is_stopping() { "" } else { "; this process goes on" };
        log::error!("process {id} does not take over: {why} ({status}){then}");
    }
}

/// Whether two descriptions mean the same server, reached in the same way: then its connections, and what is
/// known of its health, stay.
fn is_same_server(known: &BackendConfig, wanted: &BackendConfig, is_same_trust: bool) -> bool {
    let needs_common_trust = wanted.tls.verify == Verify::Full && wanted.tls.ca_pem.is_none();
    known.scheme == wanted.scheme
        && known.host == wanted.host
        && known.port == wanted.port
        && known.tls == wanted.tls
        && (is_same_trust || !needs_common_trust)
}
