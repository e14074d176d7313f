//! One request and its responses, and the drive that moves it on.
//!
//! [`drive`] is the one place where octets go between a client and an upstream. It can be called at
//! any time and any number of times: it does what the two connections allow now, and says whether
//! the exchange goes on, is over, or failed, and through whose fault.
//!
//! Knows nothing of pools, backends and timers. Invariants: nothing is read from one side while
//! octets wait for the other; every turn of the loop moves an octet, changes a state, or leaves; a
//! final response head is written at most once.
//!
//! Next: the worker acts on the [`Verdict`].

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::client::Client;
use super::relay_request::relay_request;
use super::relay_response::relay_response;
use super::upstream::Upstream;
use super::{Context, persist};
use crate::backend::BackendId;
use crate::config::Timeouts;
use crate::config::limits::{
    DRIVE_BYTES_MAX, DRIVE_READS_MAX, READ_BYTES_MAX, READ_BYTES_MIN, READ_BYTES_START,
};
use crate::h1::Version;
use crate::h1::body::BodyState;
use crate::h1::forward::{AfterResponse, BackendView, ClientFacts, OutboundHead};
use crate::h1::reply::Reason;
use crate::h1::request::{Method, RequestHead};
use crate::h1::scan::HeadScan;
use crate::net::link::Sent;
use crate::net::{HEADROOM_BYTES, Scratch, Sock};
use crate::observe::access_log::Reuse;

/// How much memory of a head an exchange keeps when it is put aside to be used again.
const HEAD_BYTES_KEPT: usize = 1024;

/// One request and its responses.
#[derive(Debug)]
pub struct Exchange {
    /// The request head, ready to be written for any backend.
    pub head: OutboundHead,
    /// What the request head said that matters later.
    pub facts: Facts,
    /// Where the request body is.
    pub request: RequestState,
    /// What has been taken from the client of the request body and may have to be sent (again).
    pub kept: Kept,
    /// Where the response is.
    pub response: ResponseState,
    /// Who was asked.
    pub route: Route,
    /// When the request head was complete.
    pub started: Instant,
    /// The status that the client got, once it did.
    pub status: Option<u16>,
    /// Octets of the request body that came.
    pub bytes_in: u64,
    /// Octets of the response body that went.
    pub bytes_out: u64,
    /// How much is read at once: follows how much the other side takes.
    pub read_bytes: usize,
}

/// What the request head said that matters later.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// What the method means to us.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// Whether the client wants its connection to go on.
    pub connection: Wish,
    /// Whether the backend was offered another protocol.
    pub upgrade: Offer,
    /// Whether the request goes any further.
    pub hops: Hops,
    /// What the client waits for before it sends its body.
    pub expect: Expect,
}

/// What a client waits for before it sends its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// A 100, or a final response.
    Continue,
    /// Nothing.
    Nothing,
}

/// Whether a request goes any further (RFC 9110 section 7.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hops {
    /// It does.
    GoOn,
    /// The client wants the answer of whoever it reaches here.
    EndHere,
}

/// What a client wants to happen to its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// It goes on.
    Persist,
    /// It ends after the response.
    Close,
}

/// Whether a change of protocol was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    /// It was.
    Made,
    /// It was not.
    None,
}

/// Where a request body is.
#[derive(Debug)]
pub enum RequestState {
    /// Its octets go on as they come, until it is complete.
    Relay(BodyState),
    /// The backend takes no more of it. What it answered may still be on its way.
    Abandoned,
}

impl RequestState {
    /// Whether all of the request has been taken from the client.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Relay(body) => body.is_complete(),
            Self::Abandoned => false,
        }
    }

    /// Whether the client still owes octets that somebody wants.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        match self {
            Self::Relay(body) => !body.is_complete(),
            Self::Abandoned => false,
        }
    }
}

/// Octets of a request body that may have to be sent again.
#[derive(Debug)]
pub enum Kept {
    /// All that came so far.
    All(Vec<u8>),
    /// Something has been sent that is not here any more: there is no second try.
    Gone,
}

/// Where a response is.
#[derive(Debug)]
pub enum ResponseState {
    /// A head is awaited, after so many interim ones.
    AwaitHead {
        /// How far it was looked at.
        scan: HeadScan,
        /// Interim responses so far.
        interim: u8,
    },
    /// The head has gone to the client; its body follows.
    RelayBody {
        /// What is to come.
        body: BodyState,
        /// What the client was told about its connection.
        after: AfterResponse,
        /// What the backend said about its own.
        promise: BackendPromise,
    },
}

/// What a backend said about its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackendPromise {
    /// It goes on, for this long when it announced one.
    Persist {
        /// How long it is kept idle.
        keep_alive: Option<Duration>,
    },
    /// It ends.
    Close,
}

/// Who was asked, and how often.
#[derive(Clone, Debug)]
pub struct Route {
    /// Who is being asked.
    pub backend: Option<BackendId>,
    /// Who need not be asked again.
    pub tried: Vec<BackendId>,
    /// How many tries were made.
    pub attempts: u32,
    /// How many of them were retries after something had been sent.
    pub resends: u32,
    /// Whether the present connection had served before.
    pub reuse: Reuse,
    /// Why the last try failed.
    pub failure: Option<Reason>,
    /// Which connections will do for the next try.
    pub wanted: Freshness,
}

/// Which connections will do for a try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Every one.
    Any,
    /// Only one that has not served: one that had has just failed.
    New,
}

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

impl Exchange {
    /// An exchange without a request.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self {
            head: OutboundHead::default(),
            facts: Facts {
                method: Method::Other,
                version: Version::Http11,
                connection: Wish::Close,
                upgrade: Offer::None,
                hops: Hops::GoOn,
                expect: Expect::Nothing,
            },
            request: RequestState::Relay(BodyState::Complete),
            kept: Kept::All(Vec::new()),
            response: ResponseState::AwaitHead { scan: HeadScan::default(), interim: 0 },
            route: Route {
                backend: None,
                tried: Vec::new(),
                attempts: 0,
                resends: 0,
                reuse: Reuse::None,
                failure: None,
                wanted: Freshness::Any,
            },
            started,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            read_bytes: READ_BYTES_START,
        }
    }

    /// Begins with this request.
    pub fn open(&mut self, head: &RequestHead<'_>, client: ClientFacts, now: Instant) {
        self.head.fill(head, client);
        self.facts = Facts {
            method: head.method,
            version: head.version,
            connection: if head.persistent { Wish::Persist } else { Wish::Close },
            upgrade: if head.wants_upgrade { Offer::Made } else { Offer::None },
            expect: if head.expects_continue { Expect::Continue } else { Expect::Nothing },
            hops: if head.max_forwards == Some(0) { Hops::EndHere } else { Hops::GoOn },
        };
        self.started = now;
    }

    /// Forgets the request, so that the memory can serve another.
    pub fn reset(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        head.clear(HEAD_BYTES_KEPT);
        *self = Self { head, ..Self::new(self.started) };
    }

    /// Whether the client rightly waits for the backend's word before it sends its body (RFC 9110
    /// section 10.1.1): then it is the backend that is awaited.
    #[must_use]
    pub fn awaits_continue(&self) -> bool {
        self.facts.expect == Expect::Continue
            && self.bytes_in == 0
            && match self.response {
                ResponseState::AwaitHead { interim, .. } => interim == 0,
                ResponseState::RelayBody { .. } => false,
            }
    }

    /// Whether a final response head has gone to the client.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        match self.response {
            ResponseState::AwaitHead { .. } => false,
            ResponseState::RelayBody { .. } => true,
        }
    }

    /// Holds body octets until there is a connection to send them on.
    pub fn hold(&mut self, octets: &[u8]) {
        if let Kept::All(kept) = &mut self.kept {
            kept.extend_from_slice(octets);
        }
    }

    /// Octets of the body are about to go: keeps them where a second try may need them.
    pub(super) fn remember(&mut self, octets: &[u8], bytes_max: usize) {
        if octets.is_empty() {
            return;
        }
        match &mut self.kept {
            Kept::All(kept)
                if self.facts.method.is_idempotent() && kept.len() + octets.len() <= bytes_max =>
            {
                kept.extend_from_slice(octets);
            }
            Kept::All(_) | Kept::Gone => self.kept = Kept::Gone,
        }
    }

    /// Follows how much the other side takes.
    pub(super) fn adapt(&mut self, received: usize, sent: Sent) {
        match sent {
            Sent::Waiting => self.read_bytes = READ_BYTES_MIN,
            Sent::All if received >= self.read_bytes => {
                self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
            }
            Sent::All => {}
        }
    }
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
    let Scratch { area, head, tls } = &mut *ctx.scratch;
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
        client.deadline.at = ctx.now.instant + patience(client, upstream, exchange, ctx.timeouts);
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

/// How long the exchange may stay as it is: a client that owes body octets has another timeout than a
/// backend that owes an answer.
#[must_use]
pub fn patience<S: Sock>(
    client: &Client<S>,
    upstream: &Upstream<S>,
    exchange: &Exchange,
    timeouts: &Timeouts,
) -> Duration {
    match overdue(client, upstream, exchange) {
        Reason::BodyTimeout => timeouts.body,
        _ => timeouts.silence,
    }
}

/// Who is being waited for, as the reason to give when the wait is over.
#[must_use]
pub fn overdue<S: Sock>(client: &Client<S>, upstream: &Upstream<S>, exchange: &Exchange) -> Reason {
    if client.link.is_clogged() {
        Reason::ClientStalled
    } else if exchange.request.is_awaited()
        && !upstream.link.is_clogged()
        && !exchange.awaits_continue()
    {
        Reason::BodyTimeout
    } else {
        Reason::ResponseTimeout
    }
}
