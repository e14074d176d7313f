//! One backend as the worker has it: its configuration, addresses, connections and health.
//!
//! Knows nothing of clients and of whose turn it is. What changes about a backend is told here, in words
//! and once per change.
//!
//! Next: `roster.rs` keeps all of them, and chooses.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::backend::health::{Change, Health};
use crate::backend::pool::Pool;
use crate::config::{Address, BackendConfig, Host, HostField, Intake, Role};
use crate::h1::forward::BackendView;
use crate::h1::reply::Reason;
use crate::net::resolve::Name;
use crate::net::transport::Security;

/// How often at most a failure is told that takes no backend out.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// One backend.
#[derive(Debug)]
pub struct Backend {
    /// `host:port` or `unix:/path`, for logs.
    pub label: String,
    /// How its connections are secured.
    pub security: Security,
    /// Its connections.
    pub pool: Pool,
    /// Whether it is well enough for requests.
    pub health: Health,
    /// When it is given requests.
    pub role: Role,
    /// Whether it is given any.
    pub intake: Intake,
    /// The most connections that were allowed for it alone.
    pub connections_count_max: Option<usize>,
    /// What was said of it.
    pub config: BackendConfig,
    /// Whether it is no longer in the configuration, and only finishes what it began.
    pub is_retired: bool,
    /// When the next probe is due, where there are probes and none is under way.
    pub probe_due: Option<Instant>,
    addresses: Vec<Address>,
    preferred: usize,
    own_host: String,
    prefix: String,
    host_field: HostField,
    name: NameCondition,
    /// Until then, failures are not told: one was.
    quiet_until: Option<Instant>,
}

/// What is known of a backend's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NameCondition {
    /// It has none: it was configured by its address.
    None,
    /// It has addresses.
    Resolved,
    /// Nobody has answered yet.
    Awaited,
    /// The last answer was that it has none.
    Unresolvable,
}

impl Backend {
    /// A backend that nobody has tried yet. One with a name has no address until an answer comes.
    #[must_use]
    pub fn new(config: &BackendConfig, security: Security) -> Self {
        let addresses = match &config.host {
            Host::Address(address) => vec![SocketAddr::new(*address, config.port).into()],
            Host::Unix(path) => vec![Address::Unix(path.clone())],
            Host::Name(_) => Vec::new(),
        };
        let name = if addresses.is_empty() { NameCondition::Awaited } else { NameCondition::None };
        Self {
            label: config.label(),
            security,
            pool: Pool::default(),
            health: Health::default(),
            role: config.role,
            intake: config.intake,
            connections_count_max: config.connections_count_max,
            config: config.clone(),
            is_retired: false,
            probe_due: None,
            addresses,
            preferred: 0,
            own_host: config.own_host(),
            prefix: config.prefix.clone(),
            host_field: config.host_field.clone(),
            name,
            quiet_until: None,
        }
    }

    /// The same server is configured differently from now on.
    pub fn take_over(&mut self, fresh: &Self) {
        self.label.clone_from(&fresh.label);
        self.role = fresh.role;
        self.intake = fresh.intake;
        self.connections_count_max = fresh.connections_count_max;
        self.own_host.clone_from(&fresh.own_host);
        self.prefix.clone_from(&fresh.prefix);
        self.host_field.clone_from(&fresh.host_field);
        self.config.clone_from(&fresh.config);
    }

    /// Whether it has a name, which may lead somewhere else by now.
    #[must_use]
    pub fn has_name(&self) -> bool {
        self.name != NameCondition::None
    }

    /// Whether there is an address to connect to.
    #[must_use]
    pub fn has_address(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// How it is, in a word or two.
    #[must_use]
    pub fn condition(&self) -> &'static str {
        if self.intake == Intake::Drained {
            return "drained";
        }
        match self.name {
            NameCondition::None | NameCondition::Resolved => self.health.word(),
            NameCondition::Awaited => "name not resolved yet",
            NameCondition::Unresolvable => "name cannot be resolved",
        }
    }

    /// Whether requests may go there, if it is well: it has an address and is not drained.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        self.has_address() && self.intake == Intake::Open
    }

    /// Whether it is (still) at this address.
    #[must_use]
    pub fn is_at(&self, address: &Address) -> bool {
        self.addresses.contains(address)
    }

    /// The place of the address that worked last.
    #[must_use]
    pub fn preferred_address(&self) -> usize {
        self.preferred
    }

    /// How many addresses there are.
    #[must_use]
    pub fn addresses_count(&self) -> usize {
        self.addresses.len()
    }

    /// The address at a place, counted round.
    #[must_use]
    pub fn address(&self, place: usize) -> Option<&Address> {
        let index = place.checked_rem(self.addresses.len())?;
        self.addresses.get(index)
    }

    /// What it changes in a request head.
    #[must_use]
    pub fn view(&self) -> BackendView<'_> {
        BackendView {
            prefix: self.prefix.as_bytes(),
            authority: self.own_host.as_bytes(),
            sees_itself: self.host_field != HostField::Client,
        }
    }

    /// A connection to this address became usable: the next one goes there first.
    pub fn prefer(&mut self, address: &Address) {
        if let Some(place) = self.addresses.iter().position(|known| known == address) {
            self.preferred = place;
        }
    }

    /// A request or probe failed: told where that takes the backend out, and now and then otherwise.
    pub fn tell_failure(
        &mut self,
        change: Option<Change>,
        reason: Reason,
        text: &str,
        now: Instant,
    ) {
        let (label, word) = (&self.label, reason.word());
        match change {
            Some(Change::Out { failures }) => {
                log::warn!(
                    "backend {label} is out after {failures} failures in a row: {text} ({word})"
                );
            }
            Some(Change::Back { .. }) => {}
            None if !self.health.is_in() => {
                log::debug!("backend {label} stays out: {text} ({word})");
            }
            None if self.quiet_until.is_none_or(|until| until <= now) => {
                self.quiet_until = Some(now + COMPLAINT_INTERVAL);
                log::warn!("backend {label} failed: {text} ({word})");
            }
            None => log::debug!("backend {label} failed: {text} ({word})"),
        }
    }

    /// A probe failed.
    pub fn tell_probe_failure(&self, change: Option<Change>, text: &str) {
        match change {
            Some(Change::Out { failures }) => {
                log::warn!("backend {} is out after {failures} failed probes: {text}", self.label);
            }
            Some(Change::Back { .. }) | None => {
                log::debug!("backend {}: a probe failed: {text}", self.label);
            }
        }
    }

    /// A request was answered, or a probe passed.
    pub fn tell_success(&self, change: Option<Change>) {
        if let Some(Change::Back { after }) = change {
            let seconds = after.as_secs_f64();
            log::info!("backend {} is back after {seconds:.1} s", self.label);
        }
    }

    /// Its name could not be resolved. Told once: the resolver tries for as long as it takes.
    fn note_unresolved(&mut self, text: &str) {
        let label = &self.label;
        match (self.addresses.is_empty(), self.name) {
            (_, NameCondition::Unresolvable) => {}
            (true, _) => {
                log::warn!("backend {label} is down: its name cannot be resolved ({text})");
            }
            (false, _) => {
                log::warn!(
                    "backend {label} keeps its addresses: its name cannot be resolved ({text})"
                );
            }
        }
        self.name = NameCondition::Unresolvable;
    }

    /// Its name was resolved, or could not be.
    pub fn note_addresses(&mut self, outcome: Result<Vec<SocketAddr>, String>) {
        match outcome {
            Ok(addresses) => {
                self.name = NameCondition::Resolved;
                let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                log::info!("backend {} is at {}", self.label, words.join(", "));
                let favourite = self.address(self.preferred).cloned();
                let addresses = in_turn_by_family(addresses);
                self.addresses = addresses.into_iter().map(Address::Ip).collect();
                self.preferred = 0;
                if let Some(favourite) = &favourite {
                    self.prefer(favourite);
                }
            }
            Err(text) => self.note_unresolved(&text),
        }
    }

    /// When something about it is due.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Instant> {
        [self.health.trial_due(), self.probe_due].into_iter().flatten().min()
    }
}

/// IPv6 and IPv4 in turn, beginning with the family that the resolver put first (RFC 8305 section 4):
/// where one family leads nowhere, the second try is of the other.
fn in_turn_by_family(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().copied() else { return addresses };
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first.is_ipv6());
    let count = ours.len().max(others.len());
    let (mut ours, mut others) = (ours.drain(..), others.drain(..));
    (0..count).flat_map(|_| [ours.next(), others.next()]).flatten().collect()
}

/// The names that have to be resolved, each with its backend's place.
#[must_use]
pub fn names(configs: &[BackendConfig]) -> Vec<Name> {
    configs
        .iter()
        .enumerate()
        .filter_map(|(id, config)| match &config.host {
            Host::Address(_) | Host::Unix(_) => None,
            Host::Name(host) => Some(Name { id, host: host.clone(), port: config.port }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').map(|address| address.parse().expect("an address")).collect()
        };
        for (given, want) in [
            ("1.1.1.1:1", "1.1.1.1:1"),
            ("[::1]:1 [::2]:1 1.1.1.1:1 2.2.2.2:1", "[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1"),
            ("1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1", "1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1"),
            ("1.1.1.1:1 2.2.2.2:1 [::1]:1", "1.1.1.1:1 [::1]:1 2.2.2.2:1"),
        ] {
            assert_eq!(in_turn_by_family(parse(given)), parse(want), "{given}");
        }
    }
}
