//! After a 101: octets go both ways, and none of them is ours to read.
//!
//! Each direction ends on its own: when one side has said its last, the other is told so as soon as
//! everything before it has gone, and may still answer. Knows nothing of what is spoken.

use super::Context;
use super::client::{Client, Input};
use super::exchange::{Budget, Exchange};
use super::upstream::Upstream;
use crate::h1::reply::Reason;
use crate::net::link::{Link, Received, Sent};
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
        let mut moved = false;
        let flushed = (client.link.flush(), upstream.link.flush());
        match flushed {
            (Ok(a), Ok(b)) => moved |= a + b > 0,
            (Err(_), _) => break TunnelVerdict::Broken(Reason::ClientReset),
            (_, Err(_)) => break TunnelVerdict::Broken(Reason::UpstreamReset),
        }
        if !client.part.is_empty() && !upstream.link.is_clogged() {
            let early = std::mem::take(&mut client.part);
            exchange.bytes_in += early.len() as u64;
            if upstream.link.send(&early, &mut ctx.scratch.tls).is_err() {
                break TunnelVerdict::Broken(Reason::UpstreamReset);
            }
            moved = true;
        }
        if directions.up == Direction::Open && client.part.is_empty() {
            let ended = client.input == Input::Ended;
            match step(&mut client.link, &mut upstream.link, ended, exchange, &mut budget, ctx) {
                Step::Still => {}
                Step::Moved(octets) => {
                    exchange.bytes_in += octets;
                    moved = true;
                }
                Step::Ended => {
                    directions.up = Direction::Ended;
                    moved = true;
                }
                Step::SourceBroke => break TunnelVerdict::Broken(Reason::ClientReset),
                Step::SinkBroke => break TunnelVerdict::Broken(Reason::UpstreamReset),
            }
        }
        if directions.down == Direction::Open {
            match step(&mut upstream.link, &mut client.link, false, exchange, &mut budget, ctx) {
                Step::Still => {}
                Step::Moved(octets) => {
                    exchange.bytes_out += octets;
                    moved = true;
                }
                Step::Ended => {
                    directions.down = Direction::Ended;
                    moved = true;
                }
                Step::SourceBroke => break TunnelVerdict::Broken(Reason::UpstreamReset),
                Step::SinkBroke => break TunnelVerdict::Broken(Reason::ClientReset),
            }
        }
        has_moved |= moved;
        if directions.up == Direction::Ended && directions.down == Direction::Ended {
            break TunnelVerdict::Ended;
        }
        if !moved {
            break TunnelVerdict::Blocked;
        }
        if budget.is_spent() {
            break TunnelVerdict::OutOfBudget;
        }
    };
    if has_moved {
        client.deadline.at = ctx.now.instant + ctx.timeouts.tunnel;
    }
    verdict
}

/// Which directions still carry octets.
#[derive(Clone, Copy, Debug)]
pub struct Directions {
    /// From the client to the backend.
    pub up: Direction,
    /// From the backend to the client.
    pub down: Direction,
}

/// Whether a direction still carries octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// It does.
    Open,
    /// Its source has said its last, and its sink knows.
    Ended,
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
    source_ended: bool,
    exchange: &mut Exchange,
    budget: &mut Budget,
    ctx: &mut Context<'_>,
) -> Step {
    if sink.is_clogged() {
        return Step::Still;
    }
    let Scratch { area, tls, .. } = &mut *ctx.scratch;
    if source_ended {
        sink.end(tls);
        return Step::Ended;
    }
    if !source.is_readable() {
        return Step::Still;
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
