//! A connection that a client opened to us, and how a request head is read from it.
//!
//! Knows nothing of backends. Invariants: a client has at most one open exchange, and what it sends
//! beyond that stays in `part` or in the kernel; an idle client holds no heap.
//!
//! Next: the worker finds an upstream for the exchange that [`read_head`] gives.

use std::ops::Range;

use super::Context;
use super::exchange::{Exchange, Onward, RequestState};
use super::tunnel::Directions;
use crate::clock::Deadline;
use crate::config::Peer;
use crate::config::limits::{HELD_BYTES_MAX, READ_BYTES_START};
use crate::h1::body::BodyState;
use crate::h1::chunked::Emit;
use crate::h1::fields::field_storage;
use crate::h1::forward::{ClientFacts, Trust};
use crate::h1::framing::Framing;
use crate::h1::reply::{Reason, ReplyBody};
use crate::h1::request::{leading_empty_line, parse_request};
use crate::h1::scan::HeadScan;
use crate::key::Key;
use crate::net::link::{Link, Received};
use crate::net::{HEADROOM_BYTES, Sock};

/// What a client's connection waits for.
#[derive(Debug)]
pub enum ClientState {
    /// A request head, of which a part may be here.
    AwaitHead(HeadProgress),
    /// The request is judged; no connection to a backend carries it yet, so every retry is free.
    AwaitUpstream(Box<Exchange>),
    /// Octets go both ways between the client and this upstream.
    Relay {
        /// The request and its responses.
        exchange: Box<Exchange>,
        /// The connection that carries it.
        upstream: Key,
    },
    /// The protocol has changed: octets go both ways, and none of them is ours to read.
    Tunnel {
        /// The exchange that opened it.
        exchange: Box<Exchange>,
        /// The other end.
        upstream: Key,
        /// Which way octets still go.
        directions: Directions,
    },
    /// The last octets have to go, then the connection ends.
    AwaitFlush,
    /// We have said our last, and let the client say its own: closing at once would reset the
    /// connection and could take our last octets with it (RFC 9112 section 9.6).
    AwaitClose {
        /// How many octets are still read and thrown away.
        left: usize,
    },
}

/// How far a head has been read that is not complete.
#[derive(Clone, Copy, Default, Debug)]
pub struct HeadProgress {
    scan: HeadScan,
    blank_skipped: bool,
}

/// Whether more can come from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// It can.
    Open,
    /// The client has ended its direction. It may still wait for answers.
    Ended,
}

/// A client's connection.
#[derive(Debug)]
pub struct Client<S> {
    /// The connection itself.
    pub link: Link<S>,
    /// What it waits for.
    pub state: ClientState,
    /// Who it is.
    pub peer: Peer,
    /// Octets that came before their time: part of a head, or requests behind the open one.
    pub part: Vec<u8>,
    /// Whether more can come.
    pub input: Input,
    /// When the present state is over.
    pub deadline: Deadline,
}

impl<S> Client<S> {
    /// A connection that was just accepted.
    pub fn accepted(link: Link<S>, peer: Peer, deadline: Deadline) -> Self {
        let state = ClientState::AwaitHead(HeadProgress::default());
        Self { link, state, peer, part: Vec::new(), input: Input::Open, deadline }
    }
}

/// What reading a head came to.
#[derive(Debug)]
pub enum HeadOutcome {
    /// An event will tell.
    Blocked,
    /// The connection ended where a request might have begun: nobody is to blame.
    Closed,
    /// It ended inside a head.
    Aborted(Reason),
    /// The request gets this answer, and the connection ends.
    Refused(Reason, ReplyBody),
    /// A request is there.
    Ready {
        /// The request.
        exchange: Box<Exchange>,
        /// Where in the scratch area octets of its body are that go on.
        body: Range<usize>,
    },
}

/// Reads until a head is whole, or nothing more is there. `spare` is filled when it is.
///
/// What belongs to the body is put through its framing at once; what lies behind the request stays in
/// `part`.
pub fn read_head<S: Sock>(
    client: &mut Client<S>,
    spare: &mut Option<Box<Exchange>>,
    ctx: &mut Context<'_>,
) -> HeadOutcome {
    let ClientState::AwaitHead(mut progress) = client.state else {
        return HeadOutcome::Blocked;
    };
    let part = std::mem::take(&mut client.part);
    let mut start = HEADROOM_BYTES;
    let mut end = start + part.len();
    ctx.scratch.area[start..end].copy_from_slice(&part);
    let was_empty = part.is_empty();
    loop {
        if start < end {
            match find_head(&mut progress, &ctx.scratch.area[..end], &mut start, ctx.limits) {
                Ok(Some(head_end)) => {
                    return take_request(client, spare, start..head_end, end, ctx);
                }
                Ok(None) => {}
                Err(reason) => {
                    let body = body_for(&ctx.scratch.area[start..end]);
                    return HeadOutcome::Refused(reason, body);
                }
            }
        }
        if client.input == Input::Ended {
            return ended(start, end);
        }
        let room = &mut ctx.scratch.area[end..];
        match client.link.read(room, READ_BYTES_START, &mut ctx.scratch.tls) {
            Received::Octets(n) => end += n,
            Received::Closed => client.input = Input::Ended,
            Received::Broken(_) if start == end => return HeadOutcome::Closed,
            Received::Broken(_) => return HeadOutcome::Aborted(Reason::ClientReset),
            Received::Blocked => {
                match (was_empty, start == end) {
                    // Absolute: octets that trickle in do not move it.
                    (true, false) => client.deadline.at = ctx.now.instant + ctx.timeouts.head,
                    // It was the second half of an empty line.
                    (false, true) => client.deadline.at = ctx.now.instant + ctx.timeouts.idle,
                    (true, true) | (false, false) => {}
                }
                client.part = part;
                client.part.clear();
                client.part.extend_from_slice(&ctx.scratch.area[start..end]);
                client.state = ClientState::AwaitHead(progress);
                return HeadOutcome::Blocked;
            }
        }
    }
}

/// An answer to HEAD has no body, also where nothing else of the request is understood.
#[must_use]
pub fn body_for(head: &[u8]) -> ReplyBody {
    if head.starts_with(b"HEAD ") { ReplyBody::Omitted } else { ReplyBody::Sent }
}

fn ended(start: usize, end: usize) -> HeadOutcome {
    if start == end { HeadOutcome::Closed } else { HeadOutcome::Aborted(Reason::ClientClosed) }
}

/// Looks for the end of the head in what is there, from `start` on; moves `start` over an empty line.
fn find_head(
    progress: &mut HeadProgress,
    octets: &[u8],
    start: &mut usize,
    limits: &crate::config::Limits,
) -> Result<Option<usize>, Reason> {
    if progress.scan == HeadScan::default() && !progress.blank_skipped {
        match leading_empty_line(&octets[*start..]) {
            None => return Ok(None),
            Some(0) => {}
            Some(blank) => {
                *start += blank;
                progress.blank_skipped = true;
            }
        }
    }
    // What lies beyond the limit is not looked at, so that it does not matter how much came at once.
    let head = &octets[*start..octets.len().min(*start + limits.request_head_bytes_max + 1)];
    let found = progress.scan.advance(head).map_err(|_| bare_lf(head))?;
    let length = found.unwrap_or(head.len());
    if length > limits.request_head_bytes_max {
        return Err(too_long(head, limits.target_bytes_max));
    }
    Ok(found.map(|length| *start + length))
}

/// Names the part of the head in which a line ends without CR.
fn bare_lf(head: &[u8]) -> Reason {
    let first_lf = head.iter().position(|octet| *octet == b'\n').unwrap_or(0);
    if head[..first_lf].ends_with(b"\r") { Reason::BadField } else { Reason::BadRequestLine }
}

/// Names what makes a head too long: the target, if it alone is over its limit.
fn too_long(head: &[u8], target_bytes_max: usize) -> Reason {
    let line = head.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let target = line.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
    if target.len() > target_bytes_max { Reason::TargetTooLong } else { Reason::HeadTooLong }
}

/// Judges the head and sorts out what lies behind it.
fn take_request<S: Sock>(
    client: &mut Client<S>,
    spare: &mut Option<Box<Exchange>>,
    head: Range<usize>,
    end: usize,
    ctx: &mut Context<'_>,
) -> HeadOutcome {
    let area = &mut ctx.scratch.area;
    let mut exchange = spare.take().unwrap_or_else(|| Box::new(Exchange::new(ctx.now.instant)));
    let mut storage = field_storage();
    let parsed = match parse_request(&area[head.clone()], &mut storage, ctx.limits) {
        Ok(parsed) => parsed,
        Err(reason) => {
            *spare = Some(exchange);
            return HeadOutcome::Refused(reason, body_for(&area[head]));
        }
    };
    let is_trusted = ctx.trust.iter().any(|trusted| trusted.covers(client.peer));
    let trust = if is_trusted { Trust::Full } else { Trust::None };
    let facts = ClientFacts {
        address: client.peer.ip(),
        proto: "http",
        trust,
        fresh_id: ctx.ids.next_id(),
    };
    exchange.open(&parsed, facts, ctx.now.instant);
    let framing = parsed.framing;
    let mut body = BodyState::new(framing, Emit::Chunks);
    let mut tail = Vec::new();
    // No more than what can be held until there is a connection; the rest stays in `part`.
    let first = end.min(head.end + HELD_BYTES_MAX);
    let Ok(walked) = body.walk(&mut area[head.end..first], &mut tail, ctx.limits) else {
        *spare = Some(exchange);
        return HeadOutcome::Refused(Reason::BadChunk, body_for(&area[head]));
    };
    exchange.bytes_in = walked.used as u64;
    exchange.content_in = walked.content as u64;
    exchange.request = RequestState::Relay(body);
    let announced = match framing {
        Framing::Length(octets) => octets,
        Framing::NoBody | Framing::Chunked | Framing::UntilClose => exchange.content_in,
    };
    if ctx.limits.request_body_bytes_max.is_some_and(|max| announced > max) {
        exchange.facts.onward = Onward::EndHere(Reason::BodyTooLarge);
        exchange.request = RequestState::Abandoned;
    }
    let rest = head.end + walked.used..end;
    let mut kept = head.end..head.end + walked.kept;
    if !tail.is_empty() {
        exchange.hold(&area[kept.clone()]);
        exchange.hold(&tail);
        kept = kept.end..kept.end;
    }
    if !rest.is_empty() {
        client.part.extend_from_slice(&area[rest]);
    }
    HeadOutcome::Ready { exchange, body: kept }
}
