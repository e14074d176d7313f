//! One request and its responses: everything that is known of them.
//!
//! Knows nothing of connections and of how octets get anywhere. Invariants: a final response head is
//! noted at most once; what is kept of a request body is either all of it or nothing.
//!
//! Next: `drive.rs` moves it on.

use std::time::{Duration, Instant};

use crate::backend::BackendId;
use crate::backend::health::Outage;
use crate::config::Limits;
use crate::config::limits::{READ_BYTES_MAX, READ_BYTES_MIN, READ_BYTES_START};
use crate::h1::Version;
use crate::h1::body::BodyState;
use crate::h1::forward::{AfterResponse, ClientFacts, OutboundHead, ServerTiming};
use crate::h1::reply::Reason;
use crate::h1::request::{Method, RequestHead};
use crate::h1::scan::HeadScan;
use crate::net::link::Sent;
use crate::observe::access_log::{Reuse, Times};

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
    /// How much of them was content.
    pub content_in: u64,
    /// How fast they come.
    pub pace: Pace,
    /// Octets of the response body that went.
    pub bytes_out: u64,
    /// How much is read at once: follows how much the other side takes.
    pub read_bytes: usize,
    /// When a connection carried the request: the last one, where there were several.
    pub carried: Option<Instant>,
    /// When the head of the final response was there.
    pub responded: Option<Instant>,
    /// How much of the time was our own doing so far, where that is measured: from the event that brought
    /// the request to its first octet on the way, and from the one that brought the end of the response
    /// to its last.
    pub own: Option<Duration>,
    /// How many octets came at once the last time.
    pub burst: usize,
}

/// How fast a request body comes. A client need not be fast, but one that sends an octet now and then
/// would hold a connection to a backend for as long as it likes. So it lives on an allowance of time that
/// its first octet opens and every octet extends.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pace {
    /// When the allowance is used up; `None` before the first octet.
    until: Option<Instant>,
}

/// What a body has to bring, and what that earns.
#[derive(Clone, Copy, Debug)]
pub struct PaceRule {
    /// What keeps the allowance as it is; 0 asks nothing.
    pub bytes_per_second_min: u64,
    /// The allowance at first.
    pub grace: Duration,
    /// The most that can be saved.
    pub allowance_max: Duration,
}

impl Pace {
    /// Octets came.
    pub fn advance(&mut self, octets: usize, rule: PaceRule, now: Instant) {
        if octets == 0 {
            return;
        }
        let Some(earned_us) =
            (octets as u64).saturating_mul(1_000_000).checked_div(rule.bytes_per_second_min)
        else {
            return;
        };
        let until = self.until.unwrap_or(now + rule.grace) + Duration::from_micros(earned_us);
        self.until = Some(until.min(now + rule.allowance_max.max(rule.grace)));
    }

    /// When the client will have been too slow, if nothing comes; `None` where silence alone counts.
    #[must_use]
    pub fn ends(&self) -> Option<Instant> {
        self.until
    }
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
    pub onward: Onward,
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

/// Whether a request goes any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Onward {
    /// It does.
    GoOn,
    /// It is answered here: the client wants the answer of whoever it reaches (RFC 9110 section
    /// 7.6.2), or it announces more content than is allowed.
    EndHere(Reason),
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
    /// Where the request waits while no connection carries it.
    pub place: Place,
    /// What the request is to show about the backend.
    pub evidence: Evidence,
    /// Until when there may be another try; told with the first.
    pub tries_until: Option<Instant>,
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

/// Where a request waits that no connection carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Nowhere: a backend has to be found.
    Nowhere,
    /// In the queue of those for whom no backend has room.
    Queue,
    /// At a backend, until it has a connection.
    Backend,
}

/// What a request shows about the health of the backend that is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Whether it answers, for better or worse. It was sent in this time of health, or outage.
    Owed(Outage),
    /// The same, and whether it is back depends on that.
    OwedByTrial(Outage),
    /// That is known.
    Given,
}

impl Evidence {
    /// In which time of health, or outage, the request was sent that is to show something.
    #[must_use]
    pub fn sent(self) -> Option<Outage> {
        match self {
            Self::Owed(sent) | Self::OwedByTrial(sent) => Some(sent),
            Self::Given => None,
        }
    }
}

/// Which connections will do for a try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Every one.
    Any,
    /// Only one that has not served: one that had has just failed.
    New,
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
                onward: Onward::GoOn,
                expect: Expect::Nothing,
            },
            request: RequestState::Relay(BodyState::Complete),
            kept: Kept::All(Vec::new()),
            response: ResponseState::AwaitHead { scan: HeadScan::default(), interim: 0 },
            route: Route {
                backend: None,
                place: Place::Nowhere,
                evidence: Evidence::Given,
                tries_until: None,
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
            content_in: 0,
            pace: Pace::default(),
            bytes_out: 0,
            read_bytes: READ_BYTES_START,
            carried: None,
            responded: None,
            own: None,
            burst: 0,
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
            onward: match head.max_forwards {
                Some(0) => Onward::EndHere(Reason::HopLimit),
                Some(_) | None => Onward::GoOn,
            },
        };
        self.started = now;
        self.pace = Pace::default();
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

    /// Whether the client asked for a 100 in front of its body, and a final response comes instead.
    #[must_use]
    pub fn awaits_continue_in_vain(&self) -> bool {
        self.facts.expect == Expect::Continue
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

    /// How many octets of a body may go on unseen now: none as long as they come in small pieces, which
    /// cost less when they are read.
    pub(super) fn unseen(&self, body: &BodyState, limits: &Limits) -> Option<usize> {
        let bytes_min = limits.splice_bytes_min?;
        let octets = body.unwatched(bytes_min)?;
        let is_worth_it = self.burst as u64 >= bytes_min / 4;
        is_worth_it.then(|| usize::try_from(octets).unwrap_or(usize::MAX))
    }

    /// So much more time was our own doing, if that is known.
    pub fn note_own(&mut self, time: Option<Duration>) {
        if let Some(time) = time {
            self.own = Some(self.own.unwrap_or_default() + time);
        }
    }

    /// A connection carries the request, or so much later, if that is known.
    pub fn note_carried(&mut self, now: Instant, later: Option<Duration>) {
        self.carried = Some(later.map_or(now, |later| now + later));
        self.responded = None;
    }

    /// Of what the time was made so far.
    #[must_use]
    pub fn times(&self) -> Times {
        let carried = self.carried.map(|at| at.saturating_duration_since(self.started));
        let wait = self.responded.zip(self.carried);
        Times {
            connect: carried,
            wait: wait.map(|(responded, carried)| responded.saturating_duration_since(carried)),
            own: self.own,
        }
    }

    /// What a client is told of that, if so much more was our own doing.
    pub(super) fn server_timing(&self, own_besides: Duration) -> ServerTiming {
        let Times { connect, wait, own } = self.times();
        ServerTiming {
            connect: connect.unwrap_or_default(),
            wait: wait.unwrap_or_default(),
            own: own.unwrap_or_default() + own_besides,
        }
    }

    /// Octets went on unseen.
    pub(super) fn note_unseen(&mut self, octets: usize) {
        self.burst = octets;
    }

    /// Follows how much the other side takes.
    pub(super) fn adapt(&mut self, received: usize, sent: Sent) {
        self.burst = received;
        match sent {
            Sent::Waiting => self.read_bytes = READ_BYTES_MIN,
            Sent::All if received >= self.read_bytes => {
                self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
            }
            Sent::All => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RULE: PaceRule = PaceRule {
        bytes_per_second_min: 100,
        grace: SECOND,
        allowance_max: Duration::from_secs(3),
    };

    #[test]
    fn octets_buy_time_and_it_cannot_be_hoarded() {
        let start = crate::clock::now().instant;
        let mut pace = Pace::default();
        assert_eq!(pace.ends(), None, "silence is for another deadline");
        pace.advance(1, RULE, start);
        assert_eq!(pace.ends(), Some(start + SECOND + SECOND / 100));
        pace.advance(100, RULE, start + SECOND);
        assert_eq!(pace.ends(), Some(start + 2 * SECOND + SECOND / 100));
        pace.advance(1_000_000, RULE, start + 2 * SECOND);
        assert_eq!(pace.ends(), Some(start + 5 * SECOND));
    }

    #[test]
    fn an_octet_now_and_then_is_too_slow_in_the_end() {
        let start = crate::clock::now().instant;
        let mut pace = Pace::default();
        for tenth in 0..13 {
            let now = start + SECOND * tenth / 10;
            let is_over = pace.ends().is_some_and(|end| end <= now);
            assert_eq!(is_over, tenth >= 12, "{tenth}");
            pace.advance(1, RULE, now);
        }
    }

    #[test]
    fn no_rate_asks_nothing() {
        let mut pace = Pace::default();
        pace.advance(1, PaceRule { bytes_per_second_min: 0, ..RULE }, crate::clock::now().instant);
        assert_eq!(pace.ends(), None);
    }
}
