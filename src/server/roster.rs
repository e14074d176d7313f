//! All backends, and which of them gets the next request.
//!
//! Turns are taken among those that are in and have room: first among the main ones, and among the
//! backups where none of these can take a request. One that was out and may be tried gets the next request
//! of its rank as its trial, outside of the turns. Where nobody is in, everybody is tried (*fail open*):
//! a verdict that hits all at once says more about us, or about the network, than about them. One that
//! is drained is never chosen.
//!
//! Knows nothing of connections and clients. Invariant: a backend that has become eligible, or is no
//! longer, lets the turns begin anew, so that they are exact over whoever is in.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::time::Instant;

use super::backends::Backend;
use crate::backend::BackendId;
use crate::backend::balance::Balancer;
use crate::backend::health::{Change, Outage};
use crate::config::{HealthConfig, Intake, Role};
use crate::h1::reply::Reason;

/// All backends.
#[derive(Debug)]
pub struct Roster {
    pub(super) backends: Vec<Backend>,
    /// Turns among the main ones that are in and have an address.
    pub(super) turns: Balancer,
    /// Turns among the same for requests that come back from one of them, so that these cost nobody its
    /// turn.
    pub(super) second_tries: Balancer,
    /// Turns among the backups that are in and have an address, for first and second tries alike.
    pub(super) reserves: Balancer,
    /// Turns among all that are not drained, for where nobody of those is left.
    pub(super) last_resort: Balancer,
    /// The main ones whose next request is a trial, in the order in which their time was over.
    pub(super) trials: VecDeque<BackendId>,
    /// The same for backups. They wait for as long as the main ones do well, so nobody looks at them then.
    pub(super) reserve_trials: VecDeque<BackendId>,
    pub(super) config: HealthConfig,
}

/// Who gets a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// This one.
    Backend(BackendId),
    /// This one, which was out: the request is its trial.
    Trial(BackendId),
    /// Those that might are as busy as they may be: the request has to wait.
    Busy,
    /// Nobody who has not been tried already.
    Nobody,
}

impl Roster {
    /// These backends, each with its weight.
    #[must_use]
    pub fn new(backends: Vec<(Backend, u32)>, config: HealthConfig) -> Self {
        let (backends, weights): (Vec<Backend>, Vec<u32>) = backends.into_iter().unzip();
        let turns = Balancer::new(weights);
        let (second_tries, reserves, last_resort) = (turns.clone(), turns.clone(), turns.clone());
        let mut roster = Self {
            backends,
            turns,
            second_tries,
            reserves,
            last_resort,
            trials: VecDeque::new(),
            reserve_trials: VecDeque::new(),
            config,
        };
        roster.set_last_resort();
        roster.let_turns_begin_anew();
        roster
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.backends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }

    /// The places of all.
    pub fn ids(&self) -> impl Iterator<Item = BackendId> + use<> {
        (0..self.backends.len()).map(BackendId)
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Backend> {
        self.backends.iter_mut()
    }

    /// How health is judged.
    #[must_use]
    pub fn config(&self) -> &HealthConfig {
        &self.config
    }

    /// Who gets a request that these were asked already.
    pub fn choose(&mut self, tried: &[BackendId], now: Instant) -> Choice {
        for role in [Role::Main, Role::Backup] {
            if let Some(id) = self.next_trial(role, tried, now) {
                return Choice::Trial(id);
            }
            let backends = &self.backends;
            let turns = match role {
                Role::Main if tried.is_empty() => &mut self.turns,
                Role::Main => &mut self.second_tries,
                Role::Backup => &mut self.reserves,
            };
            let is_free = |id: BackendId| !tried.contains(&id) && backends[id.0].pool.has_room();
            if let Some(id) = turns.next(is_free) {
                return Choice::Backend(id);
            }
        }
        let backends = &self.backends;
        let is_new = |id: BackendId| !tried.contains(&id);
        if self.turns.members().chain(self.reserves.members()).any(is_new) {
            return Choice::Busy;
        }
        let is_possible = |id: BackendId| is_new(id) && backends[id.0].takes_requests();
        let is_free = |id: BackendId| is_possible(id) && backends[id.0].pool.has_room();
        if let Some(id) = self.last_resort.next(is_free) {
            return Choice::Backend(id);
        }
        if self.last_resort.members().any(is_possible) { Choice::Busy } else { Choice::Nobody }
    }

    /// Whether there is a backend to try besides this one and those that were tried.
    #[must_use]
    pub fn has_other(&self, tried: &[BackendId], this: BackendId) -> bool {
        let is_other = |id: BackendId| id != this && !tried.contains(&id);
        self.ids().any(|id| is_other(id) && self.backends[id.0].takes_requests())
    }

    /// Whether a backend besides this one is in.
    #[must_use]
    pub fn has_other_in(&self, this: BackendId) -> bool {
        self.turns.members().chain(self.reserves.members()).any(|id| id != this)
    }

    fn next_trial(&mut self, role: Role, tried: &[BackendId], now: Instant) -> Option<BackendId> {
        let Self { backends, trials, reserve_trials, .. } = self;
        let trials = match role {
            Role::Main => trials,
            Role::Backup => reserve_trials,
        };
        if trials.is_empty() {
            return None;
        }
        trials.retain(|id| backends[id.0].health.awaits_trial());
        let place = trials.iter().position(|id| {
            let backend = &backends[id.0];
            backend.takes_requests() && backend.pool.has_room() && !tried.contains(id)
        })?;
        let id = trials.remove(place)?;
        self.backends[id.0].health.begin_trial(now, &self.config.passive);
        log::debug!("backend {} is tried with a request", self.backends[id.0].label);
        Some(id)
    }

    /// The next request that may go there is a trial. None may where it is drained: then it stands in no
    /// list, so that nobody has to pass it over.
    pub(super) fn await_trial(&mut self, id: BackendId) {
        match (self.backends[id.0].intake, self.backends[id.0].role) {
            (Intake::Drained, _) => {}
            (Intake::Open, Role::Main) => self.trials.push_back(id),
            (Intake::Open, Role::Backup) => self.reserve_trials.push_back(id),
        }
    }

    /// A backend's time out may be over.
    pub fn came_due(&mut self, id: BackendId, now: Instant) {
        if self.backends[id.0].health.comes_due(now) {
            self.await_trial(id);
        }
    }

    /// The request that was to try a backend will not show anything.
    pub fn trial_lapsed(&mut self, id: BackendId, sent: Outage) {
        if self.backends[id.0].health.trial_lapsed(sent) {
            self.await_trial(id);
        }
    }

    /// A backend has answered a request that was sent in this outage, or time of health.
    pub fn note_success(&mut self, id: BackendId, sent: Outage, now: Instant) {
        let change = self.backends[id.0].health.on_success(sent, now);
        self.backends[id.0].tell_success(change);
        self.changed(change);
    }

    /// A backend could not be reached, or has not answered.
    pub fn note_failure(&mut self, id: BackendId, failure: &Fault<'_>, now: Instant) {
        let Fault { sent, reason, text, stretch } = *failure;
        let backend = &mut self.backends[id.0];
        let change = backend.health.on_failure(sent, now, stretch, &self.config.passive);
        backend.tell_failure(change, reason, text, now);
        self.changed(change);
    }

    /// A probe has passed, or failed for the reason in this text.
    pub fn note_probe(&mut self, id: BackendId, outcome: Result<(), &str>, now: Instant) {
        let Some(probe) = &self.config.probe else { return };
        let backend = &mut self.backends[id.0];
        let change = backend.health.on_probe(outcome.is_ok(), now, probe);
        match outcome {
            Ok(()) => backend.tell_success(change),
            Err(text) => backend.tell_probe_failure(change, text),
        }
        self.changed(change);
    }

    /// A backend's name was resolved, or could not be.
    pub fn note_addresses(
        &mut self,
        id: BackendId,
        outcome: Result<Vec<std::net::SocketAddr>, String>,
    ) {
        let Some(backend) = self.backends.get_mut(id.0) else { return };
        let had_address = backend.has_address();
        backend.note_addresses(outcome);
        if backend.has_address() != had_address {
            self.let_turns_begin_anew();
        }
    }

    fn changed(&mut self, change: Option<Change>) {
        if change.is_some() {
            self.let_turns_begin_anew();
        }
    }

    /// Somebody is in from now on, or no longer.
    pub(super) fn let_turns_begin_anew(&mut self) {
        let Self { backends, turns, second_tries, reserves, .. } = self;
        let is_in = |backend: &Backend| backend.takes_requests() && backend.health.is_in();
        let those = |role| {
            let all = backends.iter().enumerate();
            let chosen = all.filter(move |(_, one)| one.role == role && is_in(one));
            chosen.map(|(id, _)| BackendId(id))
        };
        turns.set_members(those(Role::Main));
        second_tries.clone_from(turns);
        reserves.set_members(those(Role::Backup));
    }

    pub(super) fn set_last_resort(&mut self) {
        let all = self.backends.iter().enumerate();
        let open = all.filter(|(_, one)| one.intake == Intake::Open);
        self.last_resort.set_members(open.map(|(id, _)| BackendId(id)));
    }
}

/// What went wrong with a request or connect.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'a> {
    /// In which outage, or time of health, it was sent.
    pub sent: Outage,
    /// Why it failed.
    pub reason: Reason,
    /// The same in words, for the log.
    pub text: &'a str,
    /// By how many hundredths the time out is lengthened, if this leads to one.
    pub stretch: u32,
}

impl Index<BackendId> for Roster {
    type Output = Backend;

    fn index(&self, id: BackendId) -> &Backend {
        &self.backends[id.0]
    }
}

impl IndexMut<BackendId> for Roster {
    fn index_mut(&mut self, id: BackendId) -> &mut Backend {
        &mut self.backends[id.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::backend_url::parse_backend;
    use crate::net::transport::Security;
    use std::time::Duration;

    fn roster(count: usize, conns_max: Option<usize>) -> Roster {
        let backend = |number: usize| {
            let config = parse_backend(&format!("http://127.0.0.1:{}", 9000 + number));
            let mut backend = Backend::new(&config.expect("a good URL"), Security::Plain);
            backend.pool = crate::backend::pool::Pool::new(conns_max);
            (backend, 1)
        };
        Roster::new((0..count).map(backend).collect(), HealthConfig::default())
    }

    /// Another configuration, in which one backend is drained or not.
    fn set_intake(roster: &mut Roster, place: usize, intake: Intake) {
        let wanted = roster.backends.iter().enumerate().map(|(id, backend)| {
            let mut config = backend.config.clone();
            if id == place {
                config.intake = intake;
            }
            (Backend::new(&config, Security::Plain), 1)
        });
        let wanted = wanted.collect();
        roster.adopt(wanted, |known, wanted| known.port == wanted.port, HealthConfig::default());
    }

    fn fails(roster: &mut Roster, id: usize, now: Instant) {
        let sent = roster.backends[id].health.outage();
        let fault = Fault { sent, reason: Reason::ConnectRefused, text: "refused", stretch: 0 };
        roster.note_failure(BackendId(id), &fault, now);
    }

    fn choices(roster: &mut Roster, count: usize) -> String {
        (0..count)
            .map(|_| match roster.choose(&[], crate::clock::now().instant) {
                Choice::Backend(id) | Choice::Trial(id) => {
                    char::from(b'a' + u8::try_from(id.0).expect("few"))
                }
                Choice::Busy => '!',
                Choice::Nobody => '-',
            })
            .collect()
    }

    #[test]
    fn who_is_out_gets_no_turn_until_its_trial() {
        let now = crate::clock::now().instant;
        let mut roster = roster(3, None);
        assert_eq!(choices(&mut roster, 4), "abca");
        for _ in 0..3 {
            fails(&mut roster, 1, now);
        }
        assert_eq!(choices(&mut roster, 6), "acacac");
        let due = now + Duration::from_secs(1);
        roster.came_due(BackendId(1), due);
        assert_eq!(roster.choose(&[], crate::clock::now().instant), Choice::Trial(BackendId(1)));
        assert_eq!(choices(&mut roster, 5), "acaca", "one request, outside of the turns");
        let sent = roster.backends[1].health.outage();
        roster.note_success(BackendId(1), sent, due);
        assert_eq!(choices(&mut roster, 6), "abcabc");
    }

    #[test]
    fn when_all_are_out_all_are_tried() {
        let now = crate::clock::now().instant;
        let mut roster = roster(2, None);
        for id in 0..2 {
            for _ in 0..3 {
                fails(&mut roster, id, now);
            }
        }
        assert_eq!(choices(&mut roster, 4), "abab");
        assert_eq!(
            roster.choose(&[BackendId(0), BackendId(1)], crate::clock::now().instant),
            Choice::Nobody
        );
    }

    #[test]
    fn who_is_out_is_the_last_resort_of_a_request() {
        let now = crate::clock::now().instant;
        let mut roster = roster(2, None);
        for _ in 0..3 {
            fails(&mut roster, 1, now);
        }
        assert_eq!(
            roster.choose(&[BackendId(0)], crate::clock::now().instant),
            Choice::Backend(BackendId(1))
        );
    }

    #[test]
    fn a_full_backend_is_passed_over_and_all_full_make_a_request_wait() {
        let mut roster = roster(2, Some(1));
        roster.backends[0].pool.opened();
        assert_eq!(choices(&mut roster, 3), "bbb");
        roster.backends[1].pool.opened();
        assert_eq!(choices(&mut roster, 1), "!");
        assert_eq!(
            roster.choose(&[BackendId(0), BackendId(1)], crate::clock::now().instant),
            Choice::Nobody
        );
    }

    #[test]
    fn a_trial_that_lapses_is_given_to_the_next_request() {
        let now = crate::clock::now().instant;
        let mut roster = roster(2, None);
        for _ in 0..3 {
            fails(&mut roster, 0, now);
        }
        roster.came_due(BackendId(0), now + Duration::from_secs(1));
        assert_eq!(choices(&mut roster, 2), "ab");
        let sent = roster.backends[0].health.outage();
        roster.trial_lapsed(BackendId(0), sent);
        assert_eq!(choices(&mut roster, 2), "ab");
    }

    #[test]
    fn a_backup_is_not_even_tried_while_a_main_one_is_well() {
        let now = crate::clock::now().instant;
        let mut roster = roster(3, Some(1));
        roster.backends[0].role = Role::Backup;
        roster.let_turns_begin_anew();
        for _ in 0..3 {
            fails(&mut roster, 0, now);
        }
        roster.came_due(BackendId(0), now + Duration::from_secs(1));
        assert_eq!(choices(&mut roster, 4), "bcbc");
        let tried = [BackendId(1), BackendId(2)];
        assert_eq!(roster.choose(&tried, now), Choice::Trial(BackendId(0)), "now it is needed");
        roster.backends[1].pool.opened();
        roster.backends[2].pool.opened();
        let sent = roster.backends[0].health.outage();
        roster.note_success(BackendId(0), sent, now);
        assert_eq!(choices(&mut roster, 2), "aa", "the others are full");
        roster.backends[0].pool.opened();
        assert_eq!(choices(&mut roster, 1), "!");
        assert!(roster.has_other_in(BackendId(1)));
    }

    #[test]
    fn a_drained_one_is_nobody() {
        let now = crate::clock::now().instant;
        let mut roster = roster(2, None);
        set_intake(&mut roster, 0, Intake::Drained);
        assert_eq!(choices(&mut roster, 3), "bbb");
        assert_eq!(roster.choose(&[BackendId(1)], now), Choice::Nobody);
        assert!(!roster.has_other(&[], BackendId(1)) && !roster.has_other_in(BackendId(1)));
        for _ in 0..3 {
            fails(&mut roster, 1, now);
        }
        assert_eq!(choices(&mut roster, 3), "bbb", "all that are left are tried");
    }

    #[test]
    fn one_that_was_drained_while_it_was_out_has_its_trial_when_it_is_opened() {
        let now = crate::clock::now().instant;
        let due = now + Duration::from_secs(1);
        let mut roster = roster(2, None);
        for _ in 0..3 {
            fails(&mut roster, 0, now);
        }
        set_intake(&mut roster, 0, Intake::Drained);
        roster.came_due(BackendId(0), due);
        assert_eq!(choices(&mut roster, 2), "bb");
        assert!(roster.trials.is_empty(), "nobody looks at it");
        set_intake(&mut roster, 0, Intake::Open);
        set_intake(&mut roster, 0, Intake::Open);
        assert_eq!(roster.choose(&[], due), Choice::Trial(BackendId(0)));
        assert_eq!(choices(&mut roster, 2), "bb", "one");
    }
}
