//! Which connections go on after an exchange (RFC 9112 section 9.3), and when one must not.
//!
//! A connection that is reused wrongly hands one client's octets to another. So every doubt ends it.

use super::Context;
use super::exchange::{BackendPromise, Exchange, Offer, RequestState, Wish};
use super::upstream::Upstream;
use crate::h1::Version;
use crate::h1::body::BodyState;
use crate::h1::chunked::Emit;
use crate::h1::fields::{Known, known, list};
use crate::h1::forward::AfterResponse;
use crate::h1::framing::Framing;
use crate::h1::reply::Reason;
use crate::h1::response::ResponseHead;
use crate::net::link::Received;
use crate::net::{HEADROOM_BYTES, Scratch, Sock};

/// What a final response head means for both connections.
#[derive(Debug)]
pub(super) struct Decided {
    /// The body that follows.
    pub(super) body: BodyState,
    /// What the client is told.
    pub(super) after: AfterResponse,
    /// What the backend said.
    pub(super) promise: BackendPromise,
}

/// How much of a request was with the backend's socket when the final response head came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Took {
    /// All of it.
    All,
    /// A part.
    Part,
}

/// Judges a final response head in the light of its request.
pub(super) fn decide(
    head: &ResponseHead<'_>,
    exchange: &Exchange,
    took: Took,
    stopping: bool,
) -> Result<Decided, Reason> {
    if head.status == 101 {
        // A server must not change to what it was not offered (RFC 9110 section 7.8).
        let upgrades =
            head.fields.iter().filter(|field| known(field.name.as_bytes()) == Known::Upgrade);
        let mut protocols = upgrades.flat_map(|field| list(field.value)).peekable();
        let names_protocol =
            protocols.peek().is_some() && protocols.all(|protocol| exchange.head.offers(protocol));
        // HTTP/1.0 has no 101 (RFC 9110 section 15.2).
        let knows_upgrade = head.version == Version::Http11;
        if exchange.facts.upgrade != Offer::Made || !names_protocol || !knows_upgrade {
            return Err(Reason::UnexpectedUpgrade);
        }
        let body = BodyState::Complete;
        let promise = BackendPromise::Close;
        return Ok(Decided { body, after: AfterResponse::Tunnel, promise });
    }
    // Chunks are not for HTTP/1.0: such a client gets the content, until the connection closes.
    let (emit, ends_by_close) = match (head.framing, exchange.facts.version) {
        (Framing::Chunked, Version::Http10) => (Emit::Data, true),
        (Framing::UntilClose, _) => (Emit::Chunks, true),
        (Framing::NoBody | Framing::Length(_) | Framing::Chunked, _) => (Emit::Chunks, false),
    };
    let goes_on = exchange.facts.connection == Wish::Persist
        && exchange.request.is_complete()
        && !ends_by_close
        && !stopping;
    // A backend that answers before it has the whole body, or without the 100 that the client waits for,
    // may take what is still to come of it for a request.
    let is_in_step = took == Took::All && !exchange.awaits_continue_in_vain();
    let promise = if head.may_persist() && is_in_step {
        BackendPromise::Persist { keep_alive: head.keep_alive }
    } else {
        BackendPromise::Close
    };
    Ok(Decided {
        body: BodyState::new(head.framing, emit),
        after: if goes_on { AfterResponse::Persist } else { AfterResponse::Close },
        promise,
    })
}

/// Whether an upstream may serve again: its response is complete, the request has gone completely,
/// nothing lies behind the response, and neither side wants to end it.
pub(super) fn reusable<S: Sock>(
    upstream: &mut Upstream<S>,
    exchange: &Exchange,
    promise: BackendPromise,
    surplus: usize,
    ctx: &mut Context<'_>,
) -> BackendPromise {
    if surplus > 0 {
        log::warn!("a backend sent {surplus} octets behind its response; its connection is closed");
    }
    let is_clean = surplus == 0
        && exchange.request.is_complete()
        && !upstream.link.is_clogged()
        && !upstream.link.is_closing();
    if !is_clean || promise == BackendPromise::Close {
        return BackendPromise::Close;
    }
    // The last read filled its buffer: only another one can tell whether something is behind it.
    if upstream.link.is_readable() {
        let Scratch { area, tls, .. } = &mut *ctx.scratch;
        let probe = upstream.link.read(&mut area[HEADROOM_BYTES..], 1, tls);
        if probe != Received::Blocked {
            return BackendPromise::Close;
        }
    }
    promise
}

/// The backend takes no more of the request. Nothing of it is read from the client any more, and the
/// connection ends with this exchange; but an answer that has been sent is still relayed. A request
/// that was taken from the client as a whole stays so: it may be sent again, and the client's
/// connection may go on.
pub(super) fn abandon<S: Sock>(exchange: &mut Exchange, upstream: &mut Upstream<S>) {
    if !exchange.request.is_complete() {
        exchange.request = RequestState::Abandoned;
    }
    upstream.link.discard_unsent();
}
