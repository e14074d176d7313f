//! Another configuration while everything runs.
//!
//! Backends that stay keep what is known of them: their connections, their health, their addresses. Those that
//! are no more get no new requests; what they are answering goes on. Knows nothing of files and signals.
//!
//! Invariants: a backend keeps its number for as long as the process lives, so that whoever holds one never
//! holds somebody else's; nothing that is open is broken off.

use super::backends::Backend;
use super::roster::Roster;
use super::worker::{Settings, Worker};
use crate::backend::BackendId;
use crate::backend::balance::Balancer;
use crate::clock::{Deadline, Now};
use crate::config::{BackendConfig, HealthConfig, Intake};
use crate::net::Net;
use crate::observe::metrics::Metrics;

/// What became of the backends.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Adopted {
    /// The number of each that was wanted, in that order.
    pub ids: Vec<BackendId>,
    /// Those that are new.
    pub added: usize,
    /// Those that are no more.
    pub retired: usize,
}

impl<N: Net> Worker<N> {
    /// Goes on with these backends and settings. `is_same` says whether a backend that there is and one that
    /// is wanted are the same server, reached in the same way. The access log stays as it is.
    pub fn adopt(
        &mut self,
        backends: Vec<(Backend, u32)>,
        is_same: impl Fn(&BackendConfig, &BackendConfig) -> bool,
        settings: Settings,
        now: Now,
    ) -> Adopted {
        self.shared.now = now;
        (self.shared.stopwatch, self.shared.telling) = (settings.stopwatch(), settings.telling());
        let probes_before = self.roster.config().probe.clone();
        let known_count = self.roster.len();
        let adopted = self.roster.adopt(backends, is_same, settings.health);
        for id in self.roster.ids() {
            let for_all = settings.limits.backend_connections_count_max;
            let backend = &mut self.roster[id];
            backend.pool.set_open_max(backend.connections_count_max.or(for_all));
            // Those that are busy go as they come free.
            if backend.intake == Intake::Drained {
                self.close_idle_of(id);
            }
        }
        self.alarms.resize(self.roster.len(), Deadline::new(now.instant));
        self.shared.scratch.pipes.set_count_max(settings.limits.pipes_count_max);
        self.shared.timeouts = settings.timeouts;
        self.shared.limits = settings.limits;
        self.shared.trust = settings.trust;
        self.count_from_now_on(settings.counts, now);
        match (probes_before, &self.roster.config().probe) {
            (Some(before), Some(now)) if before == *now => self.begin_probes(known_count),
            // The next one may have been planned for long after what is wanted now.
            (_, Some(_)) => self.begin_probes(0),
            (Some(_), None) => self.roster.forget_probes(),
            (None, None) => {}
        }
        // There may be room now where there was none.
        self.serve_queue();
        adopted
    }

    fn count_from_now_on(&mut self, counts: bool, now: Now) {
        if counts {
            let metrics = self.metrics.get_or_insert_with(|| Metrics::new(0, now.instant));
            metrics.backends.resize_with(self.roster.len(), Default::default);
        } else {
            self.metrics = None;
        }
    }
}

impl Roster {
    /// Goes on with these backends: see [`Worker::adopt`].
    pub(super) fn adopt(
        &mut self,
        wanted: Vec<(Backend, u32)>,
        is_same: impl Fn(&BackendConfig, &BackendConfig) -> bool,
        config: HealthConfig,
    ) -> Adopted {
        let mut adopted = Adopted::default();
        let mut weights = vec![1; self.backends.len()];
        let mut has_place = vec![false; self.backends.len()];
        for (fresh, weight) in wanted {
            let mut places = self.backends.iter().zip(&has_place);
            let place = places.position(|(known, taken)| {
                !known.is_retired && !taken && is_same(&known.config, &fresh.config)
            });
            match place {
                Some(place) => {
                    self.backends[place].take_over(&fresh);
                    (weights[place], has_place[place]) = (weight, true);
                    adopted.ids.push(BackendId(place));
                }
                None => {
                    adopted.ids.push(BackendId(self.backends.len()));
                    self.backends.push(fresh);
                    weights.push(weight);
                    has_place.push(true);
                    adopted.added += 1;
                }
            }
        }
        for (backend, has_place) in self.backends.iter_mut().zip(&has_place) {
            if !has_place && !backend.is_retired {
                backend.is_retired = true;
                backend.intake = Intake::Drained;
                adopted.retired += 1;
            }
        }
        self.config = config;
        self.turns = Balancer::new(weights);
        self.second_tries.clone_from(&self.turns);
        self.reserves.clone_from(&self.turns);
        self.last_resort.clone_from(&self.turns);
        self.set_last_resort();
        self.let_turns_begin_anew();
        self.list_trials();
        adopted
    }

    /// Nobody asks the backends any more: what such answers said is no longer held against them.
    fn forget_probes(&mut self) {
        for backend in &mut self.backends {
            backend.probe_due = None;
            backend.health.forget_probes();
        }
        self.let_turns_begin_anew();
        self.list_trials();
    }

    fn list_trials(&mut self) {
        self.trials.clear();
        self.reserve_trials.clear();
        for id in 0..self.backends.len() {
            if self.backends[id].health.awaits_trial() {
                self.await_trial(BackendId(id));
            }
        }
    }
}
