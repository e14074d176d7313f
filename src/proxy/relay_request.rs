//! The direction from the client to the backend, once the head has gone.
//!
//! Knows nothing of responses, except that one may come early. Invariant: nothing is taken from the
//! client beyond the open request, except to find out whether it is still there.

use super::Context;
use super::client::{Client, Input};
use super::drive::{Budget, Failure, Flow, Verdict};
use super::exchange::{Exchange, Kept, PaceRule, RequestState};
use super::persist;
use super::upstream::Upstream;
use crate::config::limits::READ_BYTES_MIN;
use crate::config::{Limits, Timeouts};
use crate::h1::reply::Reason;
use crate::net::link::Received;
use crate::net::splice::{Spliced, splice};
use crate::net::{HEADROOM_BYTES, Scratch, Sock};

fn client_failed(reason: Reason) -> Flow {
    Flow::End(Verdict::Failed(Failure::Client(reason)))
}

/// Reads once from the client and sends what goes on.
pub(super) fn relay_request<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    budget: &mut Budget,
    ctx: &mut Context<'_>,
) -> Flow {
    if !exchange.request.is_awaited() {
        return match watch_for_reset(client, ctx) {
            Watched::StillThere => Flow::Still,
            Watched::Gone => client_failed(Reason::ClientReset),
        };
    }
    if upstream.link.is_clogged() {
        return Flow::Still;
    }
    if let Some(flow) = pass_body(client, upstream, exchange, budget, ctx) {
        return flow;
    }
    let end = match take_octets(client, exchange.read_bytes, ctx) {
        Ok(end) => end,
        Err(flow) => return flow,
    };
    let Scratch { area, tls, .. } = &mut *ctx.scratch;
    budget.spend(end - HEADROOM_BYTES);
    let RequestState::Relay(body) = &mut exchange.request else {
        return Flow::Still;
    };
    let mut tail = Vec::new();
    let Ok(walked) = body.walk(&mut area[HEADROOM_BYTES..end], &mut tail, ctx.limits) else {
        return client_failed(Reason::BadChunk);
    };
    exchange.bytes_in += walked.used as u64;
    exchange.content_in += walked.content as u64;
    if ctx.limits.request_body_bytes_max.is_some_and(|max| exchange.content_in > max) {
        // Also where all of it is here: none of these octets goes on.
        exchange.request = RequestState::Abandoned;
        return client_failed(Reason::BodyTooLarge);
    }
    exchange.pace.advance(walked.used, pace_rule(ctx.limits, ctx.timeouts), ctx.now.instant);
    client.part.extend_from_slice(&area[HEADROOM_BYTES + walked.used..end]);
    let goes_on = &area[HEADROOM_BYTES..HEADROOM_BYTES + walked.kept];
    exchange.remember(goes_on, ctx.limits.replay_bytes_max);
    exchange.remember(&tail, ctx.limits.replay_bytes_max);
    let sent = upstream
        .link
        .send(goes_on, tls)
        .and_then(|sent| if tail.is_empty() { Ok(sent) } else { upstream.link.send(&tail, tls) });
    match sent {
        Ok(sent) => exchange.adapt(end - HEADROOM_BYTES, sent),
        // What it has answered already is still to be read.
        Err(_) => persist::abandon(exchange, upstream),
    }
    Flow::Moved
}

/// Moves body octets on unseen, where that is possible and worth it. There is no second try then.
fn pass_body<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    budget: &mut Budget,
    ctx: &mut Context<'_>,
) -> Option<Flow> {
    let body = match &exchange.request {
        RequestState::Abandoned => return None,
        RequestState::Relay(body) => body,
    };
    if !client.part.is_empty() || client.input == Input::Ended {
        return None;
    }
    let octets = exchange.unseen(body, ctx.limits)?;
    match splice(&mut client.link, &mut upstream.link, octets, &mut ctx.scratch.pipes) {
        Spliced::Moved(octets, _) => {
            if let RequestState::Relay(body) = &mut exchange.request {
                body.pass(octets as u64);
            }
            budget.spend(octets);
            exchange.bytes_in += octets as u64;
            exchange.content_in += octets as u64;
            exchange.pace.advance(octets, pace_rule(ctx.limits, ctx.timeouts), ctx.now.instant);
            exchange.kept = Kept::Gone;
            exchange.note_unseen(octets);
            Some(Flow::Moved)
        }
        Spliced::Blocked => Some(Flow::Still),
        Spliced::Closed => Some(client_failed(Reason::ClientClosed)),
        Spliced::SourceBroke(_) => Some(client_failed(Reason::ClientReset)),
        Spliced::SinkBroke => {
            persist::abandon(exchange, upstream);
            Some(Flow::Moved)
        }
        Spliced::Unsuitable => None,
    }
}

/// Puts octets of the client behind the headroom: those that came with the head or behind an earlier
/// request, or else what a read brings. Gives where they end, or what happens instead.
fn take_octets<S: Sock>(
    client: &mut Client<S>,
    bytes_max: usize,
    ctx: &mut Context<'_>,
) -> Result<usize, Flow> {
    let Scratch { area, tls, .. } = &mut *ctx.scratch;
    if !client.part.is_empty() {
        let part = std::mem::take(&mut client.part);
        let end = HEADROOM_BYTES + part.len();
        area[HEADROOM_BYTES..end].copy_from_slice(&part);
        return Ok(end);
    }
    if client.input == Input::Ended {
        return Err(client_failed(Reason::ClientClosed));
    }
    if !client.link.is_readable() {
        return Err(Flow::Still);
    }
    match client.link.read(&mut area[HEADROOM_BYTES..], bytes_max, tls) {
        Received::Octets(n) => Ok(HEADROOM_BYTES + n),
        Received::Blocked => Err(Flow::Still),
        Received::Closed => Err(client_failed(Reason::ClientClosed)),
        Received::Broken(_) => Err(client_failed(Reason::ClientReset)),
    }
}

/// How fast a body has to come.
pub(super) fn pace_rule(limits: &Limits, timeouts: &Timeouts) -> PaceRule {
    PaceRule {
        bytes_per_second_min: limits.body_bytes_per_second_min,
        grace: timeouts.body_grace,
        allowance_max: timeouts.body,
    }
}

/// Whether a client is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// As far as can be told.
    StillThere,
    /// Its connection is broken.
    Gone,
}

/// The request is complete, and nothing more is wanted from the client. But when an event said that
/// it closed or broke, a read tells which: a half-close is legal and the answer is still wanted, a
/// reset means that nobody waits any more.
pub fn watch_for_reset<S: Sock>(client: &mut Client<S>, ctx: &mut Context<'_>) -> Watched {
    // What comes behind the request is kept for later, within a bound: a client that fills it and
    // then goes away is found out when it is answered.
    while client.link.is_closing()
        && client.link.is_readable()
        && client.input == Input::Open
        && client.part.len() < READ_BYTES_MIN
    {
        let Scratch { area, tls, .. } = &mut *ctx.scratch;
        match client.link.read(&mut area[HEADROOM_BYTES..], READ_BYTES_MIN, tls) {
            Received::Octets(n) => {
                client.part.extend_from_slice(&area[HEADROOM_BYTES..HEADROOM_BYTES + n]);
            }
            Received::Blocked => break,
            Received::Closed => client.input = Input::Ended,
            Received::Broken(_) => return Watched::Gone,
        }
    }
    Watched::StillThere
}
