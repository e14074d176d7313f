//! The loop: what the operating system says becomes calls of the worker.
//!
//! One turn: wait for events, read the clock once, mark what became ready, accept new clients, drive
//! what was marked, act on what is over, hand the log on. Knows nothing of HTTP.
//!
//! Invariants: a turn is bounded (so many events, so many accepts, a budget for each drive); nothing
//! in it blocks but the poll.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Waker};

use super::admin::{Answer, DOOR, Desk, Page, plain};
use super::backends::Backend;
use super::start_time;
use super::worker::{Settings, Worker};
use crate::clock::{self, Now};
use crate::config::duration::show_duration;
use crate::config::limits::{ACCEPT_COUNT_MAX, BACKLOG_MAX};
use crate::config::{Limits, Timeouts};
use crate::key::{Subject, Token};
use crate::net::listener::{Accepted, accept};
use crate::net::resolve::{Lookup, Questions, Resolver};
use crate::net::sys::{Signal, Signals};
use crate::net::tcp::{OsNet, event_readiness, event_token, poll_token};
use crate::observe::exposition::{CONTENT_TYPE, exposition};
use crate::observe::snapshot::{Readiness, Snapshot};

/// How many events one turn takes.
const EVENTS_COUNT_MAX: usize = 1024;

/// What the signal pipe is called in the poll.
const SIGNALS: Subject = Subject::Process(0);

/// What the desk says when there is nothing good to say.
const UNAVAILABLE: &str = "503 Service Unavailable";

/// What the waker is called in the poll.
const WAKER: Subject = Subject::Process(1);

/// Descriptors that are not for clients and their upstreams: listeners, log, poll, names.
pub(super) const DESCRIPTORS_RESERVED: u64 = 64;

/// So many descriptors there must be for each pipe: they are for connections first.
const DESCRIPTORS_PER_PIPE: u64 = 64;

/// The most descriptors that are kept free for connections to backends. Most clients are idle, and an
/// idle one needs none: half of all descriptors, as some proxies keep, would turn clients away for
/// nothing.
const UPSTREAMS_RESERVED_MAX: u64 = 4096;

/// How often at most the same trouble is told.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// A listening socket, and whether somebody may be waiting at it.
#[derive(Debug)]
struct Door {
    listener: TcpListener,
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
    /// Whose turn it was last.
    next_door: usize,
    signals: Signals,
    resolver: Option<Resolver>,
    names_count: usize,
    worker: Worker<OsNet>,
    desk: Option<Desk>,
    started_unix_ms: u64,
    timeouts: Timeouts,
    clients_count_max: usize,
    gate: Gate,
    stage: Stage,
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
        listeners: Vec<TcpListener>,
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
        let mut doors = Vec::new();
        for (index, mut listener) in (0..).zip(listeners) {
            let token = poll_token(Token::from(Subject::Listener(index)));
            poll.registry().register(&mut listener, token, Interest::READABLE)?;
            doors.push(Door { listener, somebody_waits: true });
        }
        let names_count = questions.names.len();
        let resolver = if questions.names.is_empty() {
            None
        } else {
            let waker = Waker::new(poll.registry(), poll_token(Token::from(WAKER)))?;
            let wake = move || {
                // A poll that cannot be woken has ended, and nobody wants the answer.
                let _ = waker.wake();
            };
            Some(Resolver::start(questions, &settings.timeouts, wake)?)
        };
        let net = OsNet::new(poll.registry().try_clone()?);
        let now = start_time();
        let timeouts = settings.timeouts.clone();
        let clients_count_max = clients_max(settings.limits.clients_count_max, descriptors);
        Ok(Self {
            worker: Worker::new(net, backends, settings, now),
            poll,
            doors,
            next_door: 0,
            signals,
            resolver,
            names_count,
            desk: None,
            started_unix_ms: now.unix_ms,
            timeouts,
            clients_count_max,
            gate: Gate::Open,
            stage: Stage::Serving,
            lost_lines: 0,
            lost_lines_total: 0,
            complaint_due: now.instant,
        })
    }

    /// Waits until each name has been asked for once, but not longer than this.
    pub fn await_first_answers(&mut self, timeout: Duration) {
        let Some(resolver) = &self.resolver else {
            return;
        };
        let end = clock::now().instant + timeout;
        for _ in 0..self.names_count {
            let left = end.saturating_duration_since(clock::now().instant);
            match resolver.wait(left) {
                Some(answer) => self.worker.on_answer(answer),
                None => break,
            }
        }
    }

    /// The addresses at which clients are awaited.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().filter_map(|door| door.listener.local_addr().ok()).collect()
    }

    /// Opens the desk for operators.
    ///
    /// # Errors
    /// When the kernel has no room for it in the poll.
    pub fn open_desk(&mut self, listener: TcpListener) -> io::Result<()> {
        self.desk = Some(Desk::new(listener, self.poll.registry().try_clone()?)?);
        Ok(())
    }

    /// The address at which operators are awaited.
    #[must_use]
    pub fn desk_address(&self) -> Option<SocketAddr> {
        self.desk.as_ref().and_then(|desk| desk.listener().local_addr().ok())
    }

    /// Turns until it was told to stop and everything is over.
    ///
    /// # Errors
    /// When the poll itself fails.
    pub fn turn_until_stopped(&mut self) -> io::Result<()> {
        self.worker.begin_probes();
        let mut events = Events::with_capacity(EVENTS_COUNT_MAX);
        while self.stage != Stage::Over {
            let timeout = self.patience(clock::now().instant);
            match self.poll.poll(&mut events, timeout) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.turn(&events, clock::now());
        }
        if let Some(log) = self.worker.take_access_log() {
            self.lost_lines += log.close();
            if self.lost_lines > 0 {
                log::warn!("{} lines of the access log were lost", self.lost_lines);
            }
        }
        Ok(())
    }

    /// How long the poll may wait: not at all while there is something to do.
    fn patience(&self, now: Instant) -> Option<Duration> {
        let desk_has_work = self.desk.as_ref().is_some_and(Desk::has_work);
        if self.worker.has_work() || self.may_accept(now) || desk_has_work {
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
                Subject::Listener(index) => {
                    if let Some(door) = self.doors.get_mut(index as usize) {
                        door.somebody_waits = true;
                    }
                }
                subject if subject == SIGNALS => {
                    stops += self.signals.arrived().filter(|s| *s == Signal::Stop).count();
                }
                subject if subject == WAKER => {
                    for answer in self.resolver.iter().flat_map(Resolver::news) {
                        self.worker.on_answer(answer);
                    }
                }
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
        if let Some(resolver) = &self.resolver {
            self.worker.take_doubts().into_iter().for_each(|id| resolver.doubt(id.0));
        }
        self.worker.end_turn();
        self.attend_desk(now);
        self.complain_of_lost_lines(now);
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
            Page::Metrics => match self.snapshot(now, exposition) {
                Some(body) => Answer { status: "200 OK", content_type: CONTENT_TYPE, body },
                None => plain(UNAVAILABLE, "nothing is counted\n"),
            },
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
        Some(show(&Snapshot {
            unix_ms: now.unix_ms,
            started_unix_ms: self.started_unix_ms,
            readiness,
            metrics: self.worker.metrics()?,
            backends: &backends,
            clients: self.worker.client_counts(),
            queued: self.worker.queued_count(),
            lost_lines: self.lost_lines_total,
            settings: &[],
            reload: None,
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
            let door = &mut self.doors[self.next_door];
            if !door.somebody_waits {
                continue;
            }
            match accept(&door.listener) {
                Accepted::Client(sock, address) => self.worker.accept(sock, address, now),
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
            Stage::Serving if self.timeouts.drain_delay.is_zero() => self.begin_drain(now),
            Stage::Serving => {
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
