//! The loop: what the operating system says becomes calls of the worker.
//!
//! One turn: wait for events, read the clock once, mark what became ready, accept new clients, drive
//! what was marked, act on what is over, hand the log on. Knows nothing of HTTP.
//!
//! Invariants: a turn is bounded (so many events, so many accepts, a budget for each drive); nothing
//! in it blocks but the poll.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll};

use super::admin::{Answer, DOOR, Desk, Page, plain};
use super::adopt::Adopted;
use super::backends::Backend;
use super::keeper::DESK_NAME;
use super::names::{Names, WAKER};
use super::start_time;
use super::worker::{Settings, Worker};
use crate::clock::{self, Now};
use crate::config::duration::show_duration;
use crate::config::limits::{ACCEPT_COUNT_MAX, BACKLOG_MAX};
use crate::config::{Address, BackendConfig, Limits, Setting, Timeouts};
use crate::key::{Subject, Token};
use crate::net::handover::name_of_given;
use crate::net::listener::{Accepted, Listener, accept};
use crate::net::notify::{Notice, notify};
use crate::net::resolve::{Lookup, Questions};
use crate::net::sys::{Signal, Signals, give_memory_back};
use crate::net::tcp::{OsNet, event_readiness, event_token, poll_token};
use crate::observe::access_log::AccessLog;
use crate::observe::snapshot::{Readiness, Snapshot};
use crate::observe::{exposition, page, status};

/// How many events one turn takes.
const EVENTS_COUNT_MAX: usize = 1024;

/// What the signal pipe is called in the poll.
const SIGNALS: Subject = Subject::Process(0);

/// What the pipe from a successor is called in the poll.
pub const SUCCESSOR: Subject = Subject::Process(4);

/// What the desk says when there is nothing good to say.
const UNAVAILABLE: &str = "503 Service Unavailable";

/// Descriptors that are not for clients and their upstreams: listeners, log, poll, names.
pub(super) const DESCRIPTORS_RESERVED: u64 = 64;

/// So many descriptors there must be for each pipe: they are for connections first.
const DESCRIPTORS_PER_PIPE: u64 = 64;

/// The most descriptors that are kept free for connections to backends. Most clients are idle, and an
/// idle one needs none: half of all descriptors, as some proxies keep, would turn clients away for
/// nothing.
pub(super) const UPSTREAMS_RESERVED_MAX: u64 = 4096;

/// So many connections make a crowd: fewer leave no memory behind that is worth the work.
const CROWD_COUNT_MIN: usize = 256;

/// How often at most the same trouble is told.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// Something that the loop was told and others have to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// It was told to stop, and everything is over.
    Over,
    /// To read the configuration anew.
    Reload,
    /// The names of the next configuration are known.
    Names,
    /// To open log files anew.
    Reopen,
    /// To start a successor.
    Upgrade,
    /// The successor has said something, or has ended.
    Successor,
    /// The time is over.
    Deadline,
}

/// A listening socket, and whether somebody may be waiting at it.
#[derive(Debug)]
struct Door {
    /// For as long as the process lives.
    number: u32,
    /// What was asked for; the port may have been left to the kernel.
    asked: Address,
    listener: Listener,
    somebody_waits: bool,
}

/// Whether clients are let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    Open,
    /// The descriptors ran out; closed until then.
    Paused(Instant),
}

/// What the loop is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Serving,
    /// Told to stop, and to let clients in until then.
    Leaving {
        until: Instant,
    },
    /// Nobody is let in any more: cut at this instant.
    Draining {
        until: Instant,
    },
    Over,
}

/// The loop and what it owns.
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    doors: Vec<Door>,
    /// Those that are not ours to close.
    given: Vec<Address>,
    /// How many there have been.
    doors_count: u32,
    /// Whose turn it was last.
    next_door: usize,
    descriptors: u64,
    signals: Signals,
    names: Names,
    told: VecDeque<Told>,
    worker: Worker<OsNet>,
    desk: Option<Desk>,
    /// The options in force, for operators.
    shown_settings: Vec<Setting>,
    started_unix_ms: u64,
    timeouts: Timeouts,
    clients_count_max: usize,
    gate: Gate,
    stage: Stage,
    /// Whether the configuration that was read last is in force, and when it was read.
    reload: Option<(bool, u64)>,
    /// The most connections that there were since memory was given back.
    crowd: usize,
    lost_lines: u64,
    lost_lines_total: u64,
    complaint_due: Instant,
}

impl EventLoop {
    /// Puts everything into the poll.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    pub fn new(
        listeners: Vec<(Address, Listener)>,
        backends: Vec<(Backend, u32)>,
        questions: Questions<impl Lookup>,
        mut settings: Settings,
        descriptors: u64,
    ) -> io::Result<Self> {
        settings.limits.pipes_count_max = pipes_max(&settings.limits, descriptors);
        let poll = Poll::new()?;
        let mut signals = Signals::take()?;
        let token = poll_token(Token::from(SIGNALS));
        poll.registry().register(signals.source(), token, Interest::READABLE)?;
        let mut names = Names::default();
        names.ask(questions, &settings.timeouts, poll.registry())?;
        let net = OsNet::new(poll.registry().try_clone()?);
        let now = start_time();
        let timeouts = settings.timeouts.clone();
        let clients_count_max = clients_max(settings.limits.clients_count_max, descriptors);
        let mut worker = Worker::new(net, backends, settings, now);
        worker.begin_probes(0);
        let mut event_loop = Self {
            worker,
            poll,
            doors: Vec::new(),
            given: Vec::new(),
            doors_count: 0,
            next_door: 0,
            descriptors,
            signals,
            names,
            told: VecDeque::new(),
            desk: None,
            shown_settings: Vec::new(),
            started_unix_ms: now.unix_ms,
            timeouts,
            clients_count_max,
            gate: Gate::Open,
            stage: Stage::Serving,
            reload: None,
            crowd: 0,
            lost_lines: 0,
            lost_lines_total: 0,
            complaint_due: now.instant,
        };
        for (asked, listener) in listeners {
            event_loop.open_door(asked, listener)?;
        }
        Ok(event_loop)
    }

    /// Awaits clients at another socket, which was asked for in these words.
    ///
    /// # Errors
    /// When the kernel has no room for it in the poll.
    pub fn open_door(&mut self, asked: Address, mut listener: Listener) -> io::Result<()> {
        let number = self.doors_count;
        let token = poll_token(Token::from(Subject::Listener(number)));
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        self.doors_count += 1;
        self.doors.push(Door { number, asked, listener, somebody_waits: true });
        Ok(())
    }

    /// Awaits clients nowhere but at these addresses any more; who stands at another door is let in first.
    pub fn keep_doors(&mut self, asked: &[Address], now: Now) {
        let Self { doors, given, .. } = self;
        let stays = |door: &Door| asked.contains(&door.asked) || given.contains(&door.asked);
        if doors.iter().all(stays) {
            return;
        }
        self.let_in(BACKLOG_MAX.unsigned_abs() as usize, now);
        let Self { doors, given, .. } = self;
        doors.retain(|door| asked.contains(&door.asked) || given.contains(&door.asked));
        self.next_door = 0;
    }

    /// A service manager has opened the sockets of these addresses: they stay, whatever the configuration
    /// says.
    pub fn set_given(&mut self, given: Vec<Address>) {
        self.given = given;
    }

    /// The addresses whose sockets a service manager has opened.
    #[must_use]
    pub fn given(&self) -> &[Address] {
        &self.given
    }

    /// The addresses at which clients are awaited, in the words in which they were asked for.
    #[must_use]
    pub fn asked(&self) -> Vec<Address> {
        self.doors.iter().map(|door| door.asked.clone()).collect()
    }

    /// Waits until each name has been asked for once, but not longer than this.
    pub fn await_first_answers(&mut self, timeout: Duration) {
        self.names.await_known(timeout);
        let ids = self.worker.backend_ids();
        for answer in self.names.adopt(ids) {
            self.worker.on_answer(answer);
        }
    }

    /// The addresses at which clients are awaited.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.doors.iter().filter_map(|door| door.listener.address().ok()).collect()
    }

    /// Opens the desk for operators.
    ///
    /// # Errors
    /// When the kernel has no room for it in the poll.
    pub fn open_desk(&mut self, listener: Listener) -> io::Result<()> {
        self.desk = Some(Desk::new(listener, self.poll.registry().try_clone()?)?);
        Ok(())
    }

    /// What operators are told of the options in force.
    pub fn show_settings(&mut self, settings: Vec<Setting>) {
        self.shown_settings = settings;
    }

    /// The address at which operators are awaited.
    #[must_use]
    pub fn desk_address(&self) -> Option<Address> {
        self.desk.as_ref().and_then(|desk| desk.listener().address().ok())
    }

    /// Closes the desk for operators.
    pub fn close_desk(&mut self) {
        self.desk = None;
    }

    /// Begins to ask for the names of a configuration that is not in force yet; [`Told::Names`] follows.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn ask_names(
        &mut self,
        questions: Questions<impl Lookup>,
        timeouts: &Timeouts,
    ) -> io::Result<()> {
        self.names.ask(questions, timeouts, self.poll.registry())
    }

    /// Whether they have been asked for.
    pub fn names_are_known(&mut self) -> bool {
        self.names.are_known()
    }

    /// That configuration will not be in force.
    pub fn forget_asked_names(&mut self) {
        self.names.forget_next();
    }

    /// Goes on with these backends, whose names were asked for, and with these settings: see
    /// [`Worker::adopt`].
    pub fn adopt(
        &mut self,
        backends: Vec<(Backend, u32)>,
        is_same: impl Fn(&BackendConfig, &BackendConfig) -> bool,
        mut settings: Settings,
        now: Now,
    ) -> Adopted {
        settings.limits.pipes_count_max = pipes_max(&settings.limits, self.descriptors);
        self.clients_count_max = clients_max(settings.limits.clients_count_max, self.descriptors);
        self.timeouts = settings.timeouts.clone();
        let adopted = self.worker.adopt(backends, is_same, settings, now);
        // First what was known already, then what is new.
        let _ = self.names.are_known();
        for answer in self.names.adopt(adopted.ids.clone()) {
            self.worker.on_answer(answer);
        }
        adopted
    }

    /// Lines of the access log go there from now on.
    pub fn set_access_log(&mut self, log: Option<AccessLog>) {
        self.lost_lines += self.worker.set_access_log(log);
    }

    /// The configuration was read anew at this time, and is in force or not.
    pub fn note_reload(&mut self, has_succeeded: bool, unix_ms: u64) {
        self.reload = Some((has_succeeded, unix_ms));
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stage != Stage::Serving
    }

    /// The listening sockets, each under the name by which a successor asks for it.
    pub fn sockets(&self) -> impl Iterator<Item = (String, &Listener)> {
        let name = |door: &Door| match self.given.contains(&door.asked) {
            true => name_of_given(&door.asked),
            false => door.asked.to_string(),
        };
        let doors = self.doors.iter().map(move |door| (name(door), &door.listener));
        let desk = self.desk.iter().map(|desk| (DESK_NAME.to_owned(), desk.listener()));
        doors.chain(desk)
    }

    /// Listens to what a successor says; [`Told::Successor`] follows.
    ///
    /// # Errors
    /// When the kernel has no room for it in the poll.
    pub fn watch_successor(&self, pipe: &mut UnixStream) -> io::Result<()> {
        let token = poll_token(Token::from(SUCCESSOR));
        self.poll.registry().register(pipe, token, Interest::READABLE)
    }

    /// The files of sockets that a predecessor had are ours to remove from now on.
    pub fn take_files(&mut self) {
        self.doors.iter_mut().for_each(|door| door.listener.take_file());
        self.desk.iter_mut().for_each(|desk| desk.listener_mut().take_file());
    }

    /// A successor serves at the same sockets: who waits there is for it.
    pub fn let_go(&mut self, now: Now) {
        self.doors.iter_mut().for_each(|door| door.listener.leave_file());
        self.desk.iter_mut().for_each(|desk| desk.listener_mut().leave_file());
        self.doors.clear();
        self.desk = None;
        self.finish(now);
    }

    /// Turns until it was told something that it does not know how to do itself, or until this time.
    ///
    /// # Errors
    /// When the poll itself fails.
    pub fn turn_until_told(&mut self, end: Option<Instant>) -> io::Result<Told> {
        let mut events = Events::with_capacity(EVENTS_COUNT_MAX);
        loop {
            if self.stage == Stage::Over {
                return Ok(Told::Over);
            }
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            let now = clock::now().instant;
            if end.is_some_and(|end| end <= now) {
                return Ok(Told::Deadline);
            }
            let patience = self.patience(now);
            let left = end.map(|end| end.saturating_duration_since(now));
            let timeout = [patience, left].into_iter().flatten().min();
            match self.poll.poll(&mut events, timeout) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.turn(&events, clock::now());
        }
    }

    /// Closes the access log: everything is over.
    pub fn end(&mut self) {
        if let Some(log) = self.worker.take_access_log() {
            self.lost_lines += log.close();
            if self.lost_lines > 0 {
                log::warn!("{} lines of the access log were lost", self.lost_lines);
            }
        }
    }

    /// How long the poll may wait: not at all while there is something to do.
    fn patience(&self, now: Instant) -> Option<Duration> {
        let desk_has_work = self.desk.as_ref().is_some_and(Desk::has_work);
        let is_drained = self.worker.is_drained();
        if self.worker.has_work() || self.may_accept(now) || desk_has_work || is_drained {
            return Some(Duration::ZERO);
        }
        let paused = match self.gate {
            Gate::Open => None,
            Gate::Paused(until) => Some(until),
        };
        let cut = match self.stage {
            Stage::Serving | Stage::Over => None,
            Stage::Leaving { until } | Stage::Draining { until } => Some(until),
        };
        let visit = self.desk.as_ref().and_then(Desk::next_deadline);
        let next = [self.worker.next_deadline(), paused, cut, visit].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    fn turn(&mut self, events: &Events, now: Now) {
        let mut stops = 0;
        for event in events {
            match Subject::from(event_token(event)) {
                Subject::Listener(number) => {
                    let door = self.doors.iter_mut().find(|door| door.number == number);
                    door.into_iter().for_each(|door| door.somebody_waits = true);
                }
                subject if subject == SIGNALS => {
                    for signal in self.signals.arrived() {
                        match signal {
                            Signal::Stop => stops += 1,
                            Signal::Reload => self.told.push_back(Told::Reload),
                            Signal::Reopen => self.told.push_back(Told::Reopen),
                            Signal::Upgrade => self.told.push_back(Told::Upgrade),
                        }
                    }
                }
                subject if subject == WAKER => {
                    for answer in self.names.news() {
                        self.worker.on_answer(answer);
                    }
                    if self.names.has_next() && self.names.are_known() {
                        self.told.push_back(Told::Names);
                    }
                }
                subject if subject == SUCCESSOR => self.told.push_back(Told::Successor),
                subject if subject == DOOR => self.desk.iter_mut().for_each(Desk::on_knock),
                Subject::Visit(key) => {
                    if let Some(desk) = &mut self.desk {
                        desk.on_event(key, event_readiness(event));
                    }
                }
                Subject::Client(_)
                | Subject::Upstream(_)
                | Subject::Backend(_)
                | Subject::Process(_) => {
                    self.worker.on_event(event_token(event), event_readiness(event));
                }
            }
        }
        self.let_in(ACCEPT_COUNT_MAX, now);
        self.worker.run(now);
        self.worker.expire(now);
        for _ in 0..stops {
            self.stop(now);
        }
        self.check_drain(now);
        self.worker.take_doubts().into_iter().for_each(|id| self.names.doubt(id));
        self.worker.end_turn();
        self.attend_desk(now);
        self.give_memory_back();
        self.complain_of_lost_lines(now);
    }

    /// Once most of a crowd has gone, its memory goes too.
    fn give_memory_back(&mut self) {
        let (clients, upstreams) = self.worker.connections();
        let count = clients + upstreams;
        self.crowd = self.crowd.max(count);
        if self.crowd >= CROWD_COUNT_MIN && count <= self.crowd / 4 {
            self.crowd = count;
            give_memory_back();
        }
    }

    /// Tells one operator at most how things are.
    fn attend_desk(&mut self, now: Now) {
        let Some((key, page)) =
            self.desk.as_mut().and_then(|desk| desk.turn(now.instant, now.unix_ms))
        else {
            return;
        };
        let answer = self.page(page, now);
        if let Some(desk) = &mut self.desk {
            desk.answer(key, &answer, now.unix_ms);
        }
    }

    fn page(&mut self, page: Page, now: Now) -> Answer {
        let readiness = self.readiness();
        match page {
            Page::Health => plain("200 OK", "ok\n"),
            Page::Ready => match readiness {
                Readiness::Ready => plain("200 OK", "ready\n"),
                Readiness::Draining => plain(UNAVAILABLE, "stopping\n"),
                Readiness::NoBackend => plain(UNAVAILABLE, "no backend is in\n"),
            },
            Page::Metrics => self.shown(now, exposition::CONTENT_TYPE, |snapshot| {
                exposition::exposition(snapshot).into_bytes()
            }),
            Page::Status => self.shown(now, status::CONTENT_TYPE, status::status),
            Page::Front => {
                self.shown(now, page::CONTENT_TYPE, |snapshot| page::page(snapshot).into_bytes())
            }
        }
    }

    fn shown(
        &mut self,
        now: Now,
        content_type: &'static str,
        show: impl FnOnce(&Snapshot<'_>) -> Vec<u8>,
    ) -> Answer {
        match self.snapshot(now, show) {
            Some(body) => Answer { status: "200 OK", content_type, body },
            None => plain(UNAVAILABLE, "nothing is counted\n"),
        }
    }

    /// Whether requests should be sent here.
    fn readiness(&self) -> Readiness {
        match self.stage {
            Stage::Leaving { .. } | Stage::Draining { .. } | Stage::Over => Readiness::Draining,
            Stage::Serving if self.worker.backend_states().any(|backend| backend.is_in) => {
                Readiness::Ready
            }
            Stage::Serving => Readiness::NoBackend,
        }
    }

    /// Shows how things are; `None` where nothing is counted.
    fn snapshot<T>(&mut self, now: Now, show: impl FnOnce(&Snapshot<'_>) -> T) -> Option<T> {
        let readiness = self.readiness();
        self.worker.advance_history(now.instant);
        let backends: Vec<_> = self.worker.backend_states().collect();
        let listeners: Vec<_> = self.addresses().iter().map(ToString::to_string).collect();
        Some(show(&Snapshot {
            unix_ms: now.unix_ms,
            started_unix_ms: self.started_unix_ms,
            readiness,
            metrics: self.worker.metrics()?,
            backends: &backends,
            clients: self.worker.client_counts(),
            queued: self.worker.queued_count(),
            lost_lines: self.lost_lines_total,
            listeners: &listeners,
            settings: &self.shown_settings,
            reload: self.reload,
        }))
    }

    /// Whether somebody may be waiting who can be let in.
    fn may_accept(&self, now: Instant) -> bool {
        let is_open = match self.gate {
            Gate::Open => true,
            Gate::Paused(until) => until <= now,
        };
        is_open
            && self.worker.connections().0 < self.clients_count_max
            && self.doors.iter().any(|door| door.somebody_waits)
    }

    /// Accepts clients, at most so many. Those beyond the limit wait in the kernel.
    fn let_in(&mut self, count_max: usize, now: Now) {
        let mut left = count_max;
        while left > 0 && self.may_accept(now.instant) {
            self.gate = Gate::Open;
            // In turn, so that a crowd at one door does not block the others.
            self.next_door = (self.next_door + 1) % self.doors.len();
            let Some(door) = self.doors.get_mut(self.next_door) else { return };
            if !door.somebody_waits {
                continue;
            }
            match accept(&door.listener) {
                Accepted::Client(sock, client) => self.worker.accept(sock, client, now),
                Accepted::Nobody => door.somebody_waits = false,
                Accepted::Again => {}
                Accepted::Exhausted(error) => {
                    self.gate = Gate::Paused(now.instant + self.timeouts.accept_pause);
                    if now.instant >= self.complaint_due {
                        self.complaint_due = now.instant + COMPLAINT_INTERVAL;
                        log::error!("no more clients can be accepted for a moment: {error}");
                    }
                }
            }
            left -= 1;
        }
    }

    /// Told to stop. The first time: finish; the second time: cut.
    fn stop(&mut self, now: Now) {
        match self.stage {
            Stage::Serving if self.timeouts.drain_delay.is_zero() => {
                notify(Notice::Stopping);
                self.begin_drain(now);
            }
            Stage::Serving => {
                notify(Notice::Stopping);
                let delay = show_duration(self.timeouts.drain_delay);
                log::info!("stopping: clients are let in for another {delay}");
                self.stage = Stage::Leaving { until: now.instant + self.timeouts.drain_delay };
            }
            Stage::Leaving { .. } | Stage::Draining { .. } => self.cut(),
            Stage::Over => {}
        }
    }

    /// Nobody is let in any more; who is in is served.
    fn begin_drain(&mut self, now: Now) {
        // Who has connected before this moment may count on being served.
        self.let_in(BACKLOG_MAX.unsigned_abs() as usize, now);
        self.doors.clear();
        self.finish(now);
    }

    /// Nobody else will come: ends when everybody who is there has been served.
    fn finish(&mut self, now: Now) {
        let (clients, _) = self.worker.connections();
        log::info!("stopping: {clients} connections are open, no more are accepted");
        self.worker.begin_drain();
        self.worker.run(now);
        self.worker.expire(now);
        self.stage = Stage::Draining { until: now.instant + self.timeouts.drain };
    }

    fn check_drain(&mut self, now: Now) {
        if let Stage::Leaving { until } = self.stage
            && now.instant >= until
        {
            self.begin_drain(now);
        }
        if let Stage::Draining { until } = self.stage
            && (self.worker.is_drained() || now.instant >= until)
        {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let cut = self.worker.cut();
        log::info!("stopped: {} exchanges finished, {cut} cut", self.worker.finished());
        self.stage = Stage::Over;
    }

    fn complain_of_lost_lines(&mut self, now: Now) {
        let lost = self.worker.take_lost_lines();
        self.lost_lines += lost;
        self.lost_lines_total += lost;
        if self.lost_lines > 0 && now.instant >= self.complaint_due {
            self.complaint_due = now.instant + COMPLAINT_INTERVAL;
            let lost = std::mem::take(&mut self.lost_lines);
            log::warn!("the access log does not keep up: {lost} lines are lost");
        }
    }
}

/// How many pipes there may be: as many as was asked for, if the descriptors go round.
pub(super) fn pipes_max(limits: &Limits, descriptors: u64) -> usize {
    let possible = usize::try_from(descriptors / DESCRIPTORS_PER_PIPE).unwrap_or(0);
    limits.pipes_count_max.min(possible)
}

/// How many clients the descriptors allow.
pub(super) fn clients_possible(descriptors: u64) -> usize {
    let free = descriptors.saturating_sub(DESCRIPTORS_RESERVED);
    let clients = free - (free / 2).min(UPSTREAMS_RESERVED_MAX);
    usize::try_from(clients.max(1)).unwrap_or(usize::MAX)
}

/// How many clients there may be: as many as was asked for, if the descriptors go round.
fn clients_max(asked: Option<usize>, descriptors: u64) -> usize {
    let possible = clients_possible(descriptors);
    match asked {
        Some(asked) if asked > possible => {
            log::warn!(
                "{possible} clients at a time, not {asked}: there are {descriptors} descriptors \
                 (ulimit -n)"
            );
            possible
        }
        Some(asked) => asked,
        None => possible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_descriptors_allow() {
        for (asked, descriptors, want) in [
            (None, 1024, 480),
            (None, 20_000, 15_840),
            (Some(100), 1024, 100),
            (Some(1000), 1024, 480),
            (None, 10, 1),
        ] {
            assert_eq!(clients_max(asked, descriptors), want, "{asked:?} of {descriptors}");
        }
    }
}
