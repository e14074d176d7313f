//! The backends as the worker has them: their configuration, addresses and connections.
//!
//! Knows nothing of clients. What changes about a backend is logged here, once per change and in
//! words.

use std::net::SocketAddr;

use crate::backend::pool::Pool;
use crate::config::backend_url::HostField;
use crate::config::{BackendConfig, Host};
use crate::h1::forward::BackendView;
use crate::h1::reply::Reason;
use crate::net::resolve::Name;
use crate::net::transport::Security;

/// One backend.
#[derive(Debug)]
pub struct Backend {
    /// `host:port`, for logs.
    pub label: String,
    /// How its connections are secured.
    pub security: Security,
    /// Its connections.
    pub pool: Pool,
    addresses: Vec<SocketAddr>,
    preferred: usize,
    authority: String,
    prefix: String,
    host_field: HostField,
    condition: Condition,
    name: NameCondition,
}

/// What is known of a backend from the last try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition {
    /// Nothing is known against it.
    Good,
    /// The last connect failed.
    Failing(Reason),
}

/// What is known of a backend's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NameCondition {
    /// It has addresses, or needs none to be asked for.
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
            Host::Address(address) => vec![SocketAddr::new(*address, config.port)],
            Host::Name(_) => Vec::new(),
        };
        let name =
            if addresses.is_empty() { NameCondition::Awaited } else { NameCondition::Resolved };
        Self {
            label: config.label(),
            security,
            pool: Pool::default(),
            addresses,
            preferred: 0,
            authority: config.authority(),
            prefix: config.prefix.clone(),
            host_field: config.host_field,
            condition: Condition::Good,
            name,
        }
    }

    /// Whether there is an address to connect to.
    #[must_use]
    pub fn has_address(&self) -> bool {
        !self.addresses.is_empty()
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

    /// The address at a place, counted round; with its true place.
    #[must_use]
    pub fn address(&self, place: usize) -> Option<(usize, SocketAddr)> {
        let index = place.checked_rem(self.addresses.len())?;
        Some((index, self.addresses[index]))
    }

    /// What it changes in a request head.
    #[must_use]
    pub fn view(&self) -> BackendView<'_> {
        BackendView {
            prefix: self.prefix.as_bytes(),
            authority: self.authority.as_bytes(),
            sees_itself: self.host_field == HostField::Backend,
        }
    }

    /// A connection became usable.
    pub fn note_success(&mut self, address_index: usize) {
        self.preferred = address_index;
        if self.condition != Condition::Good {
            log::info!("backend {} is reachable again", self.label);
            self.condition = Condition::Good;
        }
    }

    /// A connection could not be made.
    pub fn note_failure(&mut self, reason: Reason, text: &str) {
        if self.condition != Condition::Failing(reason) {
            log::warn!("backend {} cannot be used: {text} ({})", self.label, reason.word());
            self.condition = Condition::Failing(reason);
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
                self.addresses = addresses;
                self.preferred = 0;
            }
            Err(text) => self.note_unresolved(&text),
        }
    }
}

/// The names that have to be resolved, each with its backend's place.
#[must_use]
pub fn names(configs: &[BackendConfig]) -> Vec<Name> {
    configs
        .iter()
        .enumerate()
        .filter_map(|(id, config)| match &config.host {
            Host::Address(_) => None,
            Host::Name(host) => Some(Name { id, host: host.clone(), port: config.port }),
        })
        .collect()
}
