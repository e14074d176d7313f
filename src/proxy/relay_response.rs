//! The direction from the backend to the client.
//!
//! A read lands behind the headroom; when it holds a response head, the head that the client gets is
//! written right in front of the body octets behind it, and both leave in one write.
//!
//! Knows nothing of who else could answer. Invariants: nothing is read while the client does not take
//! what it has; an octet behind the end of a response goes nowhere.

use std::ops::Range;
use std::time::Instant;

use super::client::Client;
use super::drive::{Budget, Ending, Failure, Flow, Verdict, put_in_front};
use super::exchange::{BackendPromise, Exchange, ResponseState};
use super::persist::{self, Decided, Took};
use super::upstream::Upstream;
use super::{Context, Telling};
use crate::h1::Version;
use crate::h1::fields::field_storage;
use crate::h1::forward::{AfterResponse, add_server_timing, write_response};
use crate::h1::reply::Reason;
use crate::h1::response::parse_response;
use crate::h1::scan::HeadScan;
use crate::net::link::{Broken, Received};
use crate::net::splice::{Spliced, splice};
use crate::net::{HEADROOM_BYTES, Scratch, Sock};

fn upstream_failed(reason: Reason) -> Flow {
    Flow::End(Verdict::Failed(Failure::Upstream(reason)))
}

fn client_gone() -> Flow {
    Flow::End(Verdict::Failed(Failure::Client(Reason::ClientReset)))
}

/// Reads once from the backend and sends what goes on.
pub(super) fn relay_response<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    budget: &mut Budget,
    ctx: &mut Context<'_>,
) -> Flow {
    // Heads behind an interim one that the client could not take at once.
    let has_unread_part = match &exchange.response {
        ResponseState::AwaitHead { scan, .. } => {
            *scan == HeadScan::default() && !upstream.part.is_empty()
        }
        ResponseState::RelayBody { .. } => false,
    };
    if client.link.is_clogged() || !(has_unread_part || upstream.link.is_readable()) {
        return Flow::Still;
    }
    if let Some(flow) = pass_body(client, upstream, exchange, budget, ctx) {
        return flow;
    }
    let Scratch { area, tls, .. } = &mut *ctx.scratch;
    let start = HEADROOM_BYTES;
    let kept = start + upstream.part.len();
    area[start..kept].copy_from_slice(&upstream.part);
    let end = if has_unread_part {
        kept
    } else {
        match upstream.link.read(&mut area[kept..], exchange.read_bytes, tls) {
            Received::Octets(n) => kept + n,
            Received::Blocked => return Flow::Still,
            Received::Closed => return closed(exchange),
            Received::Broken(how) => return broken(exchange, how),
        }
    };
    budget.spend(end - kept);
    upstream.part = Vec::new();
    match exchange.response {
        ResponseState::AwaitHead { .. } => take_heads(client, upstream, exchange, start..end, ctx),
        ResponseState::RelayBody { .. } => {
            ctx.scratch.head.clear();
            relay_body(client, upstream, exchange, start..end, ctx)
        }
    }
}

/// Moves body octets on unseen, where that is possible and worth it.
fn pass_body<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    budget: &mut Budget,
    ctx: &mut Context<'_>,
) -> Option<Flow> {
    let body = match &exchange.response {
        ResponseState::AwaitHead { .. } => return None,
        ResponseState::RelayBody { body, .. } => body,
    };
    let octets = exchange.unseen(body, ctx.limits)?;
    match splice(&mut upstream.link, &mut client.link, octets, &mut ctx.scratch.pipes) {
        Spliced::Moved(octets, _) => {
            if let ResponseState::RelayBody { body, .. } = &mut exchange.response {
                body.pass(octets as u64);
            }
            budget.spend(octets);
            exchange.bytes_out += octets as u64;
            exchange.note_unseen(octets);
            Some(Flow::Moved)
        }
        Spliced::Blocked => Some(Flow::Still),
        Spliced::Closed => Some(closed(exchange)),
        Spliced::SourceBroke(how) => Some(broken(exchange, how)),
        Spliced::SinkBroke => Some(client_gone()),
        Spliced::Unsuitable => None,
    }
}

/// The backend ended its direction in good order.
fn closed(exchange: &mut Exchange) -> Flow {
    match &mut exchange.response {
        ResponseState::AwaitHead { .. } => upstream_failed(Reason::UpstreamClosed),
        ResponseState::RelayBody { body, after, .. } => {
            if body.end() {
                let ending = Ending { client: *after, upstream: BackendPromise::Close };
                Flow::End(Verdict::Done(ending))
            } else {
                upstream_failed(Reason::ResponseTruncated)
            }
        }
    }
}

/// The connection to the backend broke.
fn broken(exchange: &Exchange, how: Broken) -> Flow {
    match (&exchange.response, how) {
        (ResponseState::RelayBody { .. }, _) => upstream_failed(Reason::ResponseTruncated),
        (ResponseState::AwaitHead { .. }, Broken::TlsTruncated) => {
            upstream_failed(Reason::UpstreamClosed)
        }
        (ResponseState::AwaitHead { .. }, Broken::Reset | Broken::TlsRecord) => {
            upstream_failed(Reason::UpstreamReset)
        }
    }
}

/// Takes interim heads, and then the final one, from these octets.
fn take_heads<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    octets: Range<usize>,
    ctx: &mut Context<'_>,
) -> Flow {
    let Range { mut start, end } = octets;
    loop {
        let ResponseState::AwaitHead { scan, interim } = &mut exchange.response else {
            return Flow::Moved;
        };
        // What lies beyond the limit is not looked at: it does not matter how much came at once.
        let seen = end.min(start + ctx.limits.response_head_bytes_max + 1);
        let Ok(found) = scan.advance(&ctx.scratch.area[start..seen]) else {
            return upstream_failed(Reason::BadResponseHead);
        };
        if found.unwrap_or(seen - start) > ctx.limits.response_head_bytes_max {
            return upstream_failed(Reason::ResponseHeadTooLong);
        }
        let Some(length) = found else {
            upstream.part.extend_from_slice(&ctx.scratch.area[start..end]);
            return Flow::Moved;
        };
        let Scratch { area, head: written, tls, .. } = &mut *ctx.scratch;
        let mut storage = field_storage();
        let head_octets = &area[start..start + length];
        let head = match parse_response(head_octets, &mut storage, exchange.facts.method) {
            Ok(head) => head,
            Err(reason) => return upstream_failed(reason),
        };
        start += length;
        if !head.is_interim() {
            let is_sent = exchange.request.is_complete() && !upstream.link.is_clogged();
            let took = if is_sent { Took::All } else { Took::Part };
            let decided = match persist::decide(&head, exchange, took, ctx.stopping) {
                Ok(decided) => decided,
                Err(reason) => return upstream_failed(reason),
            };
            written.clear();
            write_response(written, &head, exchange.facts.version, decided.after);
            exchange.status = Some(head.status);
            exchange.responded = Some(ctx.now.instant);
            tell_times(written, exchange, ctx.telling, ctx.now.instant);
            return take_final(client, upstream, exchange, decided, start..end, ctx);
        }
        *interim += 1;
        if *interim > ctx.limits.interim_count_max {
            return upstream_failed(Reason::TooManyInterim);
        }
        *scan = HeadScan::default();
        // A client of HTTP/1.0 does not know them (RFC 9110 section 15.2).
        if exchange.facts.version == Version::Http11 {
            written.clear();
            write_response(written, &head, Version::Http11, AfterResponse::Persist);
            if client.link.send(written, tls).is_err() {
                return client_gone();
            }
        }
        if client.link.is_clogged() {
            upstream.part.extend_from_slice(&area[start..end]);
            return Flow::Moved;
        }
        if start == end {
            return Flow::Moved;
        }
    }
}

/// Adds how long it took to the head for a client that is told.
fn tell_times(head: &mut Vec<u8>, exchange: &Exchange, telling: Telling, now: Instant) {
    match telling {
        Telling::Nothing => {}
        Telling::Times(stopwatch) => {
            let spent = stopwatch.since(now).unwrap_or_default();
            add_server_timing(head, exchange.server_timing(spent));
        }
    }
}

/// The final head is written and waits in the scratch; the body begins.
fn take_final<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    decided: Decided,
    octets: Range<usize>,
    ctx: &mut Context<'_>,
) -> Flow {
    let Decided { body, after, promise } = decided;
    if after == AfterResponse::Tunnel {
        // What the backend sent already in the new protocol goes with the head.
        exchange.bytes_out += octets.len() as u64;
        let Scratch { area, head, tls, .. } = &mut *ctx.scratch;
        let message = put_in_front(area, head, octets);
        if client.link.send(&area[message], tls).is_err() {
            return client_gone();
        }
        return Flow::End(Verdict::Tunnel);
    }
    exchange.response = ResponseState::RelayBody { body, after, promise };
    relay_body(client, upstream, exchange, octets, ctx)
}

/// Takes body octets, and sends what goes on behind the head that waits in the scratch, if any.
fn relay_body<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    octets: Range<usize>,
    ctx: &mut Context<'_>,
) -> Flow {
    let ResponseState::RelayBody { body, after, promise } = &mut exchange.response else {
        return Flow::Moved;
    };
    let Scratch { area, head, tls, .. } = &mut *ctx.scratch;
    let mut tail = Vec::new();
    let Ok(walked) = body.walk(&mut area[octets.clone()], &mut tail, ctx.limits) else {
        if !head.is_empty() {
            // The head has not gone: the client can still be told.
            exchange.status = None;
            exchange.response = ResponseState::AwaitHead { scan: HeadScan::default(), interim: 0 };
        }
        return upstream_failed(Reason::BadResponseChunk);
    };
    let is_complete = body.is_complete();
    let ending = Ending { client: *after, upstream: *promise };
    exchange.bytes_out += (walked.kept + tail.len()) as u64;
    let message = put_in_front(area, head, octets.start..octets.start + walked.kept);
    let sent = client
        .link
        .send(&area[message], tls)
        .and_then(|sent| if tail.is_empty() { Ok(sent) } else { client.link.send(&tail, tls) });
    let Ok(sent) = sent else { return client_gone() };
    exchange.adapt(octets.len(), sent);
    if !is_complete {
        return Flow::Moved;
    }
    let surplus = octets.len() - walked.used;
    let upstream_after = persist::reusable(upstream, exchange, ending.upstream, surplus, ctx);
    Flow::End(Verdict::Done(Ending { upstream: upstream_after, ..ending }))
}
