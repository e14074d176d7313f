//! A connection that we opened to a backend.
//!
//! Knows nothing of why it was opened. Invariant: octets of HTTP are sent or taken only while a client
//! is attached.

use crate::backend::BackendId;
use crate::clock::Deadline;
use crate::key::Key;
use crate::net::link::Link;

/// What a connection to a backend waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamState {
    /// TCP has not told yet whether the backend takes the connection.
    AwaitConnect,
    /// TCP is there, TLS is being agreed on.
    AwaitHandshake,
    /// It is usable and in the pool: no request is on it, and nothing may arrive.
    Idle,
    /// It serves this client.
    Busy {
        /// Whose exchange or tunnel it carries.
        client: Key,
    },
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
    /// Which of the backend's addresses it goes to.
    pub address_index: usize,
    /// How many more of the backend's addresses may be tried when this one fails.
    pub addresses_left: usize,
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
        address_index: usize,
        deadline: Deadline,
    ) -> Self {
        Self {
            link,
            state: UpstreamState::AwaitConnect,
            backend,
            address_index,
            addresses_left: 0,
            served: 0,
            part: Vec::new(),
            deadline,
        }
    }
}
