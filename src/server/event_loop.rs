//! The loop: what the operating system says becomes calls of the worker.
//!
//! One turn: wait for events, read the clock once, mark what became ready, accept new clients, drive
//! what was marked, act on what is over, hand the log on. Knows nothing of HTTP. The other chapters of this
//! type are `doors.rs` (where clients come in), `stages.rs` (from serving to the end) and `answers.rs`
//! (what operators are told).
//!
//! Invariants: a turn is bounded (so many events, so many accepts, a budget for each drive); nothing
//! in it blocks but the poll.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll};

use super::admin::{DOOR, Desk};
use super::adopt::Adopted;
use super::backends::Backend;
use super::descriptors::{clients_max, pipes_max};
use super::doors::{Door, Gate};
use super::names::{Names, WAKER};
use super::stages::Stage;
use super::start_time;
use super::worker::{Settings, Worker};
use crate::clock::{self, Now};
use crate::config::limits::ACCEPT_COUNT_MAX;
use crate::config::{Address, BackendConfig, Setting, Timeouts};
use crate::key::{Subject, Token};
use crate::net::listener::Listener;
use crate::net::resolve::{Lookup, Questions};
use crate::net::sys::{Signal, Signals, give_memory_back};
use crate::net::tcp::{OsNet, event_readiness, event_token, poll_token};
use crate::observe::access_log::AccessLog;

/// How many events one turn takes.
const EVENTS_COUNT_MAX: usize = 1024;

/// What the signal pipe is called in the poll.
const SIGNALS: Subject = Subject::Process(0);

/// What the pipe from a successor is called in the poll.
pub const SUCCESSOR: Subject = Subject::Process(4);

/// So many connections make a crowd: fewer leave no memory behind that is worth the work.
const CROWD_COUNT_MIN: usize = 256;

/// How often at most the same trouble is told.
pub(super) const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

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

/// The loop and what it owns.
#[derive(Debug)]
pub struct EventLoop {
    pub(super) poll: Poll,
    pub(super) doors: Vec<Door>,
    /// Those that are not ours to close.
    pub(super) given: Vec<Address>,
    /// How many there have been.
    pub(super) doors_count: u32,
    /// Whose turn it was last.
    pub(super) next_door: usize,
    descriptors: u64,
    signals: Signals,
    names: Names,
    told: VecDeque<Told>,
    pub(super) worker: Worker<OsNet>,
    pub(super) desk: Option<Desk>,
    /// The options in force, for operators.
    pub(super) shown_settings: Vec<Setting>,
    pub(super) started_unix_ms: u64,
    pub(super) timeouts: Timeouts,
    pub(super) clients_count_max: usize,
    pub(super) gate: Gate,
    pub(super) stage: Stage,
    /// Whether the configuration that was read last is in force, and when it was read.
    pub(super) reload: Option<(bool, u64)>,
    /// The most connections that there were since memory was given back.
    crowd: usize,
    lost_lines: u64,
    pub(super) lost_lines_total: u64,
    pub(super) complaint_due: Instant,
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

    /// Waits until each name has been asked for once, but not longer than this.
    pub fn await_first_answers(&mut self, timeout: Duration) {
        self.names.await_known(timeout);
        let ids = self.worker.backend_ids();
        for answer in self.names.adopt(ids) {
            self.worker.on_answer(answer);
        }
    }

    /// Begins to ask for the names of a configuration that is not in force yet; [`Told::Names`] follows.
    ///
    /// # Errors
    /// When there is no thread to be had, or too many of them still wait for answers.
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

    /// How many clients are connected.
    #[must_use]
    pub fn clients_count(&self) -> usize {
        self.worker.connections().0
    }

    /// Lines of the access log go there from now on.
    pub fn set_access_log(&mut self, log: Option<AccessLog>) {
        self.lost_lines += self.worker.set_access_log(log);
    }

    /// Listens to what a successor says; [`Told::Successor`] follows.
    ///
    /// # Errors
    /// When the kernel has no room for it in the poll.
    pub fn watch_successor(&self, pipe: &mut UnixStream) -> io::Result<()> {
        let token = poll_token(Token::from(SUCCESSOR));
        self.poll.registry().register(pipe, token, Interest::READABLE)
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
                let lines = if self.lost_lines == 1 { "line" } else { "lines" };
                log::warn!("{} {lines} of the access log lost", self.lost_lines);
            }
        }
    }

    /// How long the poll may wait: not at all while there is something to do.
    fn patience(&self, now: Instant) -> Option<Duration> {
        let desk_has_work = self.desk.as_ref().is_some_and(|desk| desk.has_work(now));
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

    fn complain_of_lost_lines(&mut self, now: Now) {
        let lost = self.worker.take_lost_lines();
        self.lost_lines += lost;
        self.lost_lines_total += lost;
        if self.lost_lines > 0 && now.instant >= self.complaint_due {
            self.complaint_due = now.instant + COMPLAINT_INTERVAL;
            let lost = std::mem::take(&mut self.lost_lines);
            let lines = if lost == 1 { "line is" } else { "lines are" };
            log::warn!("the access log does not keep up: {lost} {lines} lost");
        }
    }
}
