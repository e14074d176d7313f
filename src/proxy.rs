//! The life of a request between its two connections.
//!
//! A [`client::Client`] is a connection that came to us, an [`upstream::Upstream`] one that we opened,
//! an [`exchange::Exchange`] is one request with its responses. Everything that moves octets between
//! the two is [`drive::drive`]: it can be called at any time, does what can be done now, and says
//! what came of it. Nothing here knows where connections are kept or how backends are chosen.
//!
//! The way of a request: [`client::read_head`], [`drive::start`], [`relay_request`],
//! [`relay_response`]; [`persist`] says which connections go on afterwards, [`retry`] what happens
//! when a backend fails, [`tunnel`] what happens after a 101.

pub mod client;
pub mod drive;
pub mod exchange;
pub mod persist;
pub mod relay_request;
pub mod relay_response;
pub mod request_id;
pub mod retry;
pub mod tunnel;
pub mod upstream;

use crate::clock::{Now, Stopwatch};
use crate::config::{Limits, Timeouts, Trusted};
use crate::net::Scratch;
use request_id::RequestIds;

/// What clients are told beside the response of the backend.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Telling {
    /// Nothing.
    #[default]
    Nothing,
    /// How long it took, with the help of this clock.
    Times(Stopwatch),
}

/// What a drive borrows from the worker.
#[derive(Debug)]
pub struct Context<'a> {
    /// The shared buffers.
    pub scratch: &'a mut Scratch,
    /// This turn's reading of the clocks.
    pub now: Now,
    /// How much of anything there may be.
    pub limits: &'a Limits,
    /// How long anything may take.
    pub timeouts: &'a Timeouts,
    /// Whose forwarding fields are believed.
    pub trust: &'a [Trusted],
    /// Ids for requests that bring none.
    pub ids: &'a mut RequestIds,
    /// What clients are told beside the response.
    pub telling: Telling,
    /// Whether we are about to stop: no connection of a client goes on.
    pub stopping: bool,
}
