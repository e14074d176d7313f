//! A connection that we opened to a backend.
//!
//! Knows nothing of why it was opened. Invariant: octets of HTTP are sent or taken only while a client
//! is attached, or a probe is under way.

use std::time::Instant;

use crate::backend::BackendId;
use crate::backend::health::Outage;
use crate::clock::Deadline;
use crate::config::Address;
use crate::h1::scan::HeadScan;
use crate::key::Key;
use crate::net::link::Link;

/// What a connection to a backend waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamState {
    /// TCP has not told yet whether the backend takes the connection.
    AwaitConnect(Attempt),
    /// TCP is there, TLS is being agreed on.
    AwaitHandshake(Attempt),
    /// It is usable and in the pool: no request is on it, and nothing may arrive.
    Idle,
    /// It serves this client.
    Busy {
        /// Whose exchange or tunnel it carries.
        client: Key,
    },
    /// A probe was sent; its answer is awaited.
    AwaitProbe {
        /// How far its head was looked at.
        scan: HeadScan,
        /// Interim responses so far.
        interim: u8,
    },
}

/// An attempt to reach a backend. It goes to one address after the other; where one takes its time, the
/// next is tried beside it, and whichever is usable first wins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// What the connection is for.
    pub purpose: Purpose,
    /// In which time of health, or outage, of the backend it began.
    pub began: Outage,
    /// The place of this address among the backend's.
    pub place: usize,
    /// How many more addresses may be tried after this one.
    pub addresses_left: usize,
    /// When it is over, for all addresses together.
    pub until: Instant,
    /// The connection to the address before this one, which is still on its way.
    pub elder: Option<Key>,
    /// The connection to the address after this one, likewise.
    pub younger: Option<Key>,
}

/// What a connection is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To carry requests.
    Requests,
    /// To ask the backend whether it is well.
    Probe,
}

/// A connection to a backend.
#[derive(Debug)]
pub struct Upstream<S> {
    /// The connection itself.
    pub link: Link<S>,
    /// What it waits for.
    pub state: UpstreamState,
    /// Whose it is.
    pub backend: BackendId,
    /// Where it goes.
    pub address: Address,
    /// How many exchanges it has carried.
    pub served: u32,
    /// A response head that has not arrived whole.
    pub part: Vec<u8>,
    /// When waiting is over, unless a client is attached: then the client's deadline counts.
    pub deadline: Deadline,
}

impl<S> Upstream<S> {
    /// A connection that is being made.
    pub fn connecting(
        link: Link<S>,
        backend: BackendId,
        address: Address,
        attempt: Attempt,
        deadline: Deadline,
    ) -> Self {
        let state = UpstreamState::AwaitConnect(attempt);
        Self { link, state, backend, address, served: 0, part: Vec::new(), deadline }
    }

    /// The attempt that it is part of, while it is being made.
    #[must_use]
    pub fn attempt(&self) -> Option<Attempt> {
        match self.state {
            UpstreamState::AwaitConnect(attempt) | UpstreamState::AwaitHandshake(attempt) => {
                Some(attempt)
            }
            UpstreamState::Idle | UpstreamState::Busy { .. } | UpstreamState::AwaitProbe { .. } => {
                None
            }
        }
    }

    /// The same, to be changed.
    pub fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match &mut self.state {
            UpstreamState::AwaitConnect(attempt) | UpstreamState::AwaitHandshake(attempt) => {
                Some(attempt)
            }
            UpstreamState::Idle | UpstreamState::Busy { .. } | UpstreamState::AwaitProbe { .. } => {
                None
            }
        }
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        match self.state {
            UpstreamState::AwaitConnect(attempt) | UpstreamState::AwaitHandshake(attempt) => {
                attempt.purpose
            }
            UpstreamState::Idle | UpstreamState::Busy { .. } => Purpose::Requests,
            UpstreamState::AwaitProbe { .. } => Purpose::Probe,
        }
    }
}
