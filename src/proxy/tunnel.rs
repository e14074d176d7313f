//! After a 101: octets go both ways, and none of them is ours to read.
//!
//! Each direction ends on its own: when one side has said its last, the other is told so as soon as
//! everything before it has gone, and may still answer. Knows nothing of what is spoken.

use super::Context;
use super::client::{Client, Input};
use super::drive::Budget;
use super::exchange::Exchange;
use super::upstream::Upstream;
use crate::h1::body::BodyState;
use crate::h1::reply::Reason;
use crate::net::link::{Link, Received, Sent};
use crate::net::splice::{Spliced, splice};
use crate::net::{HEADROOM_BYTES, Scratch, Sock};

/// How a drive of a tunnel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TunnelVerdict {
    /// Until an event or the deadline, nothing can be done.
    Blocked,
    /// There is more to do, but others have to get their turn.
    OutOfBudget,
    /// Both directions have ended in good order.
    Ended,
    /// One side broke off; the other must learn that.
    Broken(Reason),
}

/// What one direction did.
enum Step {
    Still,
    Moved(u64),
    /// The source has said its last, and the other side has been told.
    Ended,
    SourceBroke,
    SinkBroke,
}

/// Moves octets both ways as far as both connections allow now. What the client sent behind its
/// request has waited in `part`, and goes first.
pub fn drive<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    directions: &mut Directions,
    ctx: &mut Context<'_>,
) -> TunnelVerdict {
    let mut budget = Budget::new();
    let mut has_moved = false;
    let verdict = loop {
        let mut moved = flush_both(client, upstream, directions);
        if directions.up == Direction::Open {
            let step = step_up(client, upstream, exchange, &mut budget, ctx);
            moved |= step.note(&mut directions.up, &mut exchange.bytes_in, Side::CLIENT_TO_BACKEND);
        }
        if directions.down == Direction::Open {
            let (source, sink) = (&mut upstream.link, &mut client.link);
            let step = step(source, sink, exchange, &mut budget, ctx);
            moved |=
                step.note(&mut directions.down, &mut exchange.bytes_out, Side::BACKEND_TO_CLIENT);
        }
        has_moved |= moved;
        match (directions.up, directions.down) {
            // A source that broke off has nothing more to say, and nobody to say anything to.
            (Direction::SourceBroke(reason), _) | (_, Direction::SourceBroke(reason)) => {
                break TunnelVerdict::Broken(reason);
            }
            (Direction::Ended, Direction::Ended) => break TunnelVerdict::Ended,
            // A sink that takes no more may still have said something that is on its way.
            (Direction::SinkBroke(reason), Direction::Ended | Direction::SinkBroke(_))
            | (Direction::Ended, Direction::SinkBroke(reason)) => {
                break TunnelVerdict::Broken(reason);
            }
            (Direction::Open, _) | (_, Direction::Open) => {}
        }
        if !moved {
            break TunnelVerdict::Blocked;
        }
        if budget.is_spent() {
            break TunnelVerdict::OutOfBudget;
        }
    };
    if has_moved {
        let timeouts = ctx.timeouts;
        let is_whole = directions.are_open();
        let silence = if is_whole { timeouts.tunnel } else { timeouts.half_closed };
        client.deadline.at = ctx.now.instant + silence;
    }
    verdict
}

/// Sends what waits on both sides; says whether something went.
fn flush_both<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    directions: &mut Directions,
) -> bool {
    let to_client = client.link.flush().unwrap_or_else(|_| {
        directions.down = Direction::SinkBroke(Reason::ClientReset);
        client.link.discard_unsent();
        1
    });
    let to_upstream = upstream.link.flush().unwrap_or_else(|_| {
        directions.up = Direction::SinkBroke(Reason::UpstreamReset);
        upstream.link.discard_unsent();
        1
    });
    to_client + to_upstream > 0
}

/// One step from the client: first what it sent behind its request, then what it sends now.
fn step_up<S: Sock>(
    client: &mut Client<S>,
    upstream: &mut Upstream<S>,
    exchange: &mut Exchange,
    budget: &mut Budget,
    ctx: &mut Context<'_>,
) -> Step {
    if upstream.link.is_clogged() {
        return Step::Still;
    }
    if !client.part.is_empty() {
        let early = std::mem::take(&mut client.part);
        return match upstream.link.send(&early, &mut ctx.scratch.tls) {
            Ok(_) => Step::Moved(early.len() as u64),
            Err(_) => Step::SinkBroke,
        };
    }
    if client.input == Input::Ended {
        upstream.link.end(&mut ctx.scratch.tls);
        return Step::Ended;
    }
    step(&mut client.link, &mut upstream.link, exchange, budget, ctx)
}

/// Which directions still carry octets.
#[derive(Clone, Copy, Debug)]
pub struct Directions {
    /// From the client to the backend.
    pub up: Direction,
    /// From the backend to the client.
    pub down: Direction,
}

impl Directions {
    /// Whether neither has ended.
    #[must_use]
    pub fn are_open(&self) -> bool {
        (self.up, self.down) == (Direction::Open, Direction::Open)
    }

    /// The reason to give when nothing has moved for too long.
    #[must_use]
    pub fn overdue(&self) -> Reason {
        if self.are_open() { Reason::TunnelIdle } else { Reason::TunnelHalfClosed }
    }
}

/// Whether a direction still carries octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// It does.
    Open,
    /// Its source has said its last, and its sink knows.
    Ended,
    /// Its source broke off.
    SourceBroke(Reason),
    /// Its sink takes no more.
    SinkBroke(Reason),
}

/// Whom to name when one end of a direction breaks.
struct Side {
    source: Reason,
    sink: Reason,
}

impl Side {
    const CLIENT_TO_BACKEND: Self =
        Self { source: Reason::ClientReset, sink: Reason::UpstreamReset };
    const BACKEND_TO_CLIENT: Self =
        Self { source: Reason::UpstreamReset, sink: Reason::ClientReset };
}

impl Step {
    /// Writes down what the step did; says whether it did anything.
    fn note(self, direction: &mut Direction, octets: &mut u64, side: Side) -> bool {
        *direction = match self {
            Self::Still => return false,
            Self::Moved(count) => {
                *octets += count;
                return true;
            }
            Self::Ended => Direction::Ended,
            Self::SourceBroke => Direction::SourceBroke(side.source),
            Self::SinkBroke => Direction::SinkBroke(side.sink),
        };
        true
    }
}

impl Default for Directions {
    fn default() -> Self {
        Self { up: Direction::Open, down: Direction::Open }
    }
}

/// Reads once from one side and sends it to the other.
fn step<S: Sock>(
    source: &mut Link<S>,
    sink: &mut Link<S>,
    exchange: &mut Exchange,
    budget: &mut Budget,
    ctx: &mut Context<'_>,
) -> Step {
    if sink.is_clogged() {
        return Step::Still;
    }
    if !source.is_readable() {
        return Step::Still;
    }
    // Like a body, it lasts until somebody ends it.
    let spliced = match exchange.unseen(&BodyState::UntilClose, ctx.limits) {
        Some(octets) => splice(source, sink, octets, &mut ctx.scratch.pipes),
        None => Spliced::Unsuitable,
    };
    let Scratch { area, tls, .. } = &mut *ctx.scratch;
    match spliced {
        Spliced::Unsuitable => {}
        Spliced::Moved(octets, _) => {
            budget.spend(octets);
            exchange.note_unseen(octets);
            return Step::Moved(octets as u64);
        }
        Spliced::Blocked => return Step::Still,
        Spliced::Closed => {
            sink.end(tls);
            return Step::Ended;
        }
        Spliced::SourceBroke(_) => return Step::SourceBroke,
        Spliced::SinkBroke => return Step::SinkBroke,
    }
    match source.read(&mut area[HEADROOM_BYTES..], exchange.read_bytes, tls) {
        Received::Octets(n) => {
            budget.spend(n);
            match sink.send(&area[HEADROOM_BYTES..HEADROOM_BYTES + n], tls) {
                Ok(sent @ (Sent::All | Sent::Waiting)) => {
                    exchange.adapt(n, sent);
                    Step::Moved(n as u64)
                }
                Err(_) => Step::SinkBroke,
            }
        }
        Received::Blocked => Step::Still,
        Received::Closed => {
            sink.end(tls);
            Step::Ended
        }
        Received::Broken(_) => Step::SourceBroke,
    }
}
