//! Moves an exchange on: the one place where octets go between a client and an upstream.
//!
//! [`drive`] can be called at any time and any number of times: it does what the two connections
//! allow now, and says whether the exchange goes on, is over, or failed, and through whose fault.
//!
//! Knows nothing of pools, backends and timers. Invariants: nothing is read from one side while
//! octets wait for the other; every turn of the loop moves an octet, changes a state, or leaves.
//!
//! Next: the worker acts on the [`Verdict`].

use std::io;
use std::ops::Range;
use std::time::Instant;

use super::client::Client;
use super::exchange::{BackendPromise, Exchange, Kept, Pace};
use super::relay_request::{pace_rule, relay_request};
use super::relay_response::relay_response;
use super::upstream::Upstream;
use super::{Context, persist};
use crate::config::limits::{DRIVE_BYTES_MAX, DRIVE_READS_MAX};
use crate::h1::forward::{AfterResponse, BackendView};
use crate::h1::reply::Reason;
use crate::net::{HEADROOM_BYTES, Scratch, Sock};

/// How a drive ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Until an event or a deadline, nothing can be done.
    Blocked,
    /// There is more to do, but others have to get their turn.
    OutOfBudget,
    /// The response is complete.
    Done(Ending),
    /// The protocol has changed.
    Tunnel,
    /// Something went wrong.
    Failed(Failure),
}

/// What becomes of the two connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    /// What the client was told.
    pub client: AfterResponse,
    /// Whether the upstream may serve again.
    pub upstream: BackendPromise,
}

/// Who is at fault, and what is said about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The client.
    Client(Reason),
    /// The backend.
    Upstream(Reason),
}

/// Sends the request head, with the body octets that are there already, on a fresh or idle upstream.
/// `body` is where in the scratch area they are, unless the exchange holds them.
///
/// # Errors
/// When nothing at all could be sent. The exchange then holds everything for another try.
pub fn start<S: Sock>(
    exchange: &mut Exchange,
    upstream: &mut Upstream<S>,
    view: BackendView<'_>,
    body: Range<usize>,
    ctx: &mut Context<'_>,
) -> io::Result<()> {
    let Scratch { area, head, tls, .. } = &mut *ctx.scratch;
    head.clear();
    exchange.head.write_for(head, view);
    let held = match &mut exchange.kept {
        Kept::All(kept) => std::mem::take(kept),
        Kept::Gone => Vec::new(),
    };
    let body = if held.is_empty() && !body.is_empty() {
        body
    } else {
        // Far enough behind the start for the longest head.
        let start = 2 * HEADROOM_BYTES;
        area[start..start + held.len()].copy_from_slice(&held);
        start..start + held.len()
    };
    let message = put_in_front(area, head, body.clone());
    match upstream.link.send(&area[message], tls) {
        Ok(_) => {
            exchange.remember(&area[body], ctx.limits.replay_bytes_max);
            // What the request waited for until now was not the client.
            exchange.pace = Pace::default();
            let octets = usize::try_from(exchange.bytes_in).unwrap_or(usize::MAX);
            exchange.pace.advance(octets, pace_rule(ctx.limits, ctx.timeouts), ctx.now.instant);
            Ok(())
        }
        Err(error) => {
            exchange.hold(&area[body]);
            Err(error)
        }
    }
}

/// Copies a head into the room right before a body; gives where both are.
pub(super) fn put_in_front(area: &mut [u8], head: &[u8], body: Range<usize>) -> Range<usize> {
    // Heads are limited to what the headroom holds, and grow by a few short fields of our own in
    // the place of the received head, which lies in front of the body as well.
    let start = body.start - head.len();
    area[start..body.start].copy_from_slice(head);
    start..body.end
}

/// How much one drive may do.
#[derive(Debug)]
pub(super) struct Budget {
    reads: u32,
    bytes: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { reads: DRIVE_READS_MAX, bytes: DRIVE_BYTES_MAX }
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.reads = self.reads.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.reads == 0 || self.bytes == 0
    }
}

/// What one direction of the relay did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// Nothing: it waits for one of the sockets.
    Still,
    /// It moved octets, or changed a state.
    Moved,
    /// It ends the drive.
    End(Verdict),
}

/// Moves the exchange on as far as both connections allow now.
pub fn drive<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    ctx: &mut Context<'_>,
) -> Verdict {
    let mut budget = Budget::new();
    let mut has_moved = false;
    let verdict = loop {
        let mut moved = match flush(client, upstream, exchange) {
            Ok(moved) => moved,
            Err(failure) => break Verdict::Failed(failure),
        };
        match relay_request(client, upstream, exchange, &mut budget, ctx) {
            Flow::Still => {}
            Flow::Moved => moved = true,
            Flow::End(verdict) => break verdict,
        }
        match relay_response(client, upstream, exchange, &mut budget, ctx) {
            Flow::Still => {}
            Flow::Moved => moved = true,
            Flow::End(verdict) => break verdict,
        }
        has_moved |= moved;
        if !moved {
            break Verdict::Blocked;
        }
        if budget.is_spent() {
            break Verdict::OutOfBudget;
        }
    };
    if has_moved {
        client.deadline.at = patience_ends(client, upstream, exchange, ctx);
    }
    verdict
}

/// Sends what waits on both sides; says whether something went.
fn flush<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
) -> Result<bool, Failure> {
    let to_client = client.link.flush().map_err(|_| Failure::Client(Reason::ClientReset))?;
    match upstream.link.flush() {
        Ok(to_upstream) => Ok(to_client + to_upstream > 0),
        Err(_) => {
            // The backend takes no more, but may have answered before it stopped taking.
            persist::abandon(exchange, upstream);
            Ok(true)
        }
    }
}

/// Until when the exchange may stay as it is, now that something has moved. Most waits begin anew
/// then; a client that sends its body has to keep its pace, as long as it is the one to be waited for.
#[must_use]
pub fn patience_ends<S: Sock>(
    client: &Client<S>,
    upstream: &Upstream<S>,
    exchange: &mut Exchange,
    ctx: &Context<'_>,
) -> Instant {
    let (now, timeouts) = (ctx.now.instant, ctx.timeouts);
    match awaited(client, upstream, exchange) {
        Awaited::Body => {
            let silence = now + timeouts.body;
            too_slow_from(exchange).map_or(silence, |end| end.min(silence))
        }
        Awaited::ResponseHead => {
            exchange.pace = Pace::default();
            now + timeouts.response_head
        }
        Awaited::Response | Awaited::ClientToTake => now + timeouts.silence,
    }
}

/// Whom an exchange waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaited {
    /// The client, which has more of its body to send.
    Body,
    /// The client, which does not take what is there.
    ClientToTake,
    /// The backend, which has to begin its response, or to take the request.
    ResponseHead,
    /// The backend, which has begun its response.
    Response,
}

fn awaited<S: Sock>(client: &Client<S>, upstream: &Upstream<S>, exchange: &Exchange) -> Awaited {
    if client.link.is_clogged() {
        Awaited::ClientToTake
    } else if exchange.request.is_awaited()
        && !upstream.link.is_clogged()
        && !exchange.awaits_continue()
    {
        Awaited::Body
    } else if exchange.has_answered() {
        Awaited::Response
    } else {
        Awaited::ResponseHead
    }
}

/// When the client will have been too slow with its body. Two that talk to each other may take their
/// time.
fn too_slow_from(exchange: &Exchange) -> Option<Instant> {
    if exchange.has_answered() { None } else { exchange.pace.ends() }
}

/// The reason to give when the wait is over.
#[must_use]
pub fn overdue<S: Sock>(
    client: &Client<S>,
    upstream: &Upstream<S>,
    exchange: &Exchange,
    now: Instant,
) -> Reason {
    match awaited(client, upstream, exchange) {
        Awaited::Body if too_slow_from(exchange).is_some_and(|end| end <= now) => {
            Reason::BodyTooSlow
        }
        Awaited::Body => Reason::BodyTimeout,
        Awaited::ClientToTake => Reason::ClientStalled,
        Awaited::ResponseHead => Reason::ResponseTimeout,
        Awaited::Response => Reason::ResponseStalled,
    }
}
