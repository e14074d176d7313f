//! What is to happen in one world: who there is, what everybody says, and what goes wrong.
//!
//! A script is plain data, so that a failing one can be cut down piece by piece. `chance.rs` makes one
//! from a seed.

use std::fmt;

use super::rng::Rng;

/// Octet sizes of everything that moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Texture {
    /// One octet at a time.
    Octets,
    /// A few.
    Small,
    /// From one to some thousand.
    Mixed,
    /// All that there is, and there is a lot.
    Bulk,
}

impl Texture {
    /// How much moves in one step.
    pub(crate) fn grain(self, rng: &mut Rng) -> usize {
        match self {
            Self::Octets => {
                if rng.percent(50) {
                    1
                } else {
                    rng.within(2, 5)
                }
            }
            Self::Small => rng.within(1, 48),
            Self::Mixed => match rng.below(8) {
                0 | 1 => 1,
                2 | 3 => rng.within(2, 40),
                4 | 5 => rng.within(40, 1500),
                _ => rng.within(1500, 65_536),
            },
            Self::Bulk => rng.within(1, 600_000),
        }
    }

    /// How long a body may be.
    pub(crate) fn body(self, rng: &mut Rng) -> usize {
        match (self, rng.below(4)) {
            (_, 0) => rng.below(12),
            (Self::Octets, _) => rng.below(60),
            (Self::Small, _) => rng.below(600),
            (Self::Mixed, _) => rng.below(24_000),
            (Self::Bulk, _) => rng.below(700_000),
        }
    }

    /// The buffers of a connection, both ways.
    pub(crate) fn capacity(self, rng: &mut Rng) -> usize {
        match self {
            Self::Octets => rng.within(8, 300),
            Self::Small => rng.within(30, 2_000),
            Self::Mixed => rng.within(500, 64_000),
            Self::Bulk => rng.within(20_000, 2_000_000),
        }
    }
}

/// A whole world.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Decides everything that the script leaves open.
    pub(crate) seed: u64,
    pub(crate) texture: Texture,
    /// Buffers of a connection.
    pub(crate) capacity: usize,
    /// Events that mean nothing, events for the dead, interrupted calls.
    pub(crate) noise: bool,
    /// Events come late and together.
    pub(crate) lazy: bool,
    pub(crate) backends: Vec<BackendPlan>,
    pub(crate) clients: Vec<ClientPlan>,
    /// roundel is told to stop when so many requests have reached a backend.
    pub(crate) drain_after: Option<usize>,
    /// The most connections to a backend at a time; then requests wait.
    pub(crate) conns_max: Option<usize>,
    /// From how many octets on bodies go through a pipe, and how many pipes there may be.
    pub(crate) splice: Option<(u64, usize)>,
}

#[derive(Clone, Debug)]
pub(crate) struct BackendPlan {
    pub(crate) weight: u32,
    pub(crate) prefix: &'static str,
    pub(crate) security: Security,
    pub(crate) address: AddressPlan,
    pub(crate) connect: ConnectPlan,
    pub(crate) idle: IdlePlan,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Security {
    Plain,
    Tls,
    /// The certificate is for another name.
    TlsWrongName,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AddressPlan {
    Literal,
    /// A name: so many dead addresses come first.
    Named {
        dead: usize,
    },
    /// A name whose addresses change while it is used.
    Moving,
    /// A name that resolves only after a request has reached another backend.
    Late,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnectPlan {
    Takes,
    Refuses,
    /// Never answers.
    Silent,
    /// One of the above, each time anew.
    Moody,
    /// Takes the connection and ends it before anything was said on it.
    EndsAtOnce,
    ResetsAtOnce,
}

/// What becomes of connections that rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IdlePlan {
    Keeps,
    /// They end after so many seconds, which is announced.
    EndsAsAnnounced(u32),
    /// They end unannounced.
    EndsAfter(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) arrives_ms: u64,
    pub(crate) pipelined: bool,
    /// Between an answer and the next request.
    pub(crate) pause_ms: u64,
    pub(crate) requests: Vec<RequestPlan>,
    pub(crate) leaves: Leaving,
}

/// How a client ends its connection after the last answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaving {
    Closes,
    /// It ends its direction right after the last request, and waits for the answers.
    HalfCloses,
    /// It waits until roundel ends the connection.
    Waits,
    Resets,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    Unsaid,
    Close,
    KeepAlive,
}

#[derive(Clone, Debug)]
pub(crate) struct RequestPlan {
    /// Unique in its world.
    pub(crate) id: usize,
    pub(crate) method: &'static str,
    pub(crate) http10: bool,
    pub(crate) wish: Wish,
    pub(crate) absolute: bool,
    pub(crate) padding: usize,
    /// How often it falls silent inside of its body, for nearly as long as roundel allows.
    pub(crate) pauses: usize,
    pub(crate) body: BodyPlan,
    /// Waits for a 100 before the body, but not for ever.
    pub(crate) expects: bool,
    pub(crate) fault: Option<ClientFault>,
    /// One for each time that it reaches a backend; the last serves for all further ones.
    pub(crate) answers: Vec<AnswerPlan>,
    pub(crate) tunnel: Option<TunnelPlan>,
}

impl RequestPlan {
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS")
    }

    pub(crate) fn persists(&self) -> bool {
        match self.wish {
            Wish::Unsaid => !self.http10,
            Wish::Close => false,
            Wish::KeepAlive => true,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyPlan {
    Nothing,
    Length(usize),
    Chunks {
        size: usize,
        chunk: usize,
        extensions: bool,
        trailers: bool,
    },
    /// Until the connection ends; answers only.
    UntilClose(usize),
}

impl BodyPlan {
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Length(size) | Self::Chunks { size, .. } | Self::UntilClose(size) => size,
        }
    }

    pub(crate) fn with_size(self, new: usize) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Length(_) => Self::Length(new),
            Self::Chunks { chunk, extensions, trailers, .. } => {
                Self::Chunks { size: new, chunk, extensions, trailers }
            }
            Self::UntilClose(_) => Self::UntilClose(new),
        }
    }
}

/// What a client does wrong in its last request. Numbers are octets of the part that is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientFault {
    BadHead(usize),
    StallsInHead(usize),
    ResetsInHead(usize),
    EndsInHead(usize),
    StallsInBody(usize),
    ResetsInBody(usize),
    EndsInBody(usize),
    BadChunk(usize),
    /// Breaks off after so many milliseconds of waiting for the answer.
    ResetsWaiting(u64),
    /// Reads so many octets of its answers and then no more.
    StopsReading(usize),
    ResetsReading(usize),
    ClosesReading(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct AnswerPlan {
    pub(crate) after: When,
    /// Reads no more of the request once it has answered.
    pub(crate) stops_reading: bool,
    pub(crate) interims: Vec<u16>,
    pub(crate) http10: bool,
    pub(crate) status: u16,
    pub(crate) body: BodyPlan,
    pub(crate) padding: usize,
    /// As for requests.
    pub(crate) pauses: usize,
    pub(crate) then: Then,
    pub(crate) fault: Option<AnswerFault>,
}

impl AnswerPlan {
    pub(crate) fn is_early(&self) -> bool {
        self.after != When::Whole
    }

    /// Whether the answer has its end in the end of the connection.
    pub(crate) fn is_until_close(&self) -> bool {
        matches!(self.body, BodyPlan::UntilClose(_)) && !self.has_no_body_by_status()
    }

    pub(crate) fn has_no_body_by_status(&self) -> bool {
        matches!(self.status, 204 | 304)
    }
}

/// How much of a request a backend awaits before it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    Head,
    Octets(usize),
    Whole,
}

/// What becomes of a backend's connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    GoesOn,
    /// It was announced that it ends.
    Closes,
    /// It ends, and nobody was told.
    ClosesSilently,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AnswerFault {
    ClosesBefore,
    ResetsBefore,
    StallsBefore,
    /// Neither reads the body nor answers.
    NeverReads,
    ClosesInHead(usize),
    ResetsInHead(usize),
    StallsInHead(usize),
    BadHead(usize),
    BadFraming(usize),
    HeadTooLong,
    TooManyInterims,
    UnaskedUpgrade,
    ClosesInBody(usize),
    ResetsInBody(usize),
    StallsInBody(usize),
    BadChunk(usize),
    /// Octets behind the answer that look like another one.
    Surplus,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TunnelPlan {
    pub(crate) up: usize,
    /// So many of them come right behind the request.
    pub(crate) early: usize,
    pub(crate) down: usize,
    /// So many of them come right behind the 101.
    pub(crate) glued: usize,
    pub(crate) ending: TunnelEnding,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TunnelEnding {
    /// Each side ends its direction when it has said everything.
    Freely,
    /// The backend waits with its octets for the end of the client's.
    ClientFirst,
    BackendFirst,
    ClientResets(usize),
    BackendResets(usize),
    /// Nobody says anything any more.
    Idle,
}

impl Script {
    /// Mends what would make a world's outcome undecidable.
    pub(crate) fn keep_the_peace(&mut self) {
        let named = |plan: &BackendPlan| plan.address != AddressPlan::Literal;
        if self.backends.iter().all(|plan| plan.address == AddressPlan::Late) {
            for plan in &mut self.backends {
                plan.address = AddressPlan::Named { dead: 0 };
            }
        }
        // Octets of a tunnel that come early are taken for a request where there is no tunnel.
        let announced = self
            .requests()
            .flat_map(|request| &request.answers)
            .all(|answer| answer.then != Then::ClosesSilently);
        let sound = self.backends.iter().all(|plan| {
            plan.connect == ConnectPlan::Takes
                && plan.security != Security::TlsWrongName
                && plan.address != AddressPlan::Late
                && !matches!(plan.idle, IdlePlan::EndsAfter(_))
        }) && announced;
        for request in self.clients.iter_mut().flat_map(|client| &mut client.requests) {
            if let Some(tunnel) = &mut request.tunnel
                && (!sound || matches!(tunnel.ending, TunnelEnding::BackendResets(_)))
            {
                tunnel.early = 0;
            }
        }
        // Who announces the end of its connection must not send more.
        for client in self.clients.iter_mut().filter(|client| client.pipelined) {
            if let Some((_, earlier)) = client.requests.split_last_mut() {
                for request in earlier.iter_mut().filter(|request| !request.persists()) {
                    request.wish = if request.http10 { Wish::KeepAlive } else { Wish::Unsaid };
                }
            }
        }
        for plan in &mut self.backends {
            // Certificates are for names.
            if plan.security != Security::Plain && !named(plan) {
                plan.address = AddressPlan::Named { dead: 0 };
            }
        }
    }

    /// All requests, in the order of their ids where nothing was dropped.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &RequestPlan> {
        self.clients.iter().flat_map(|client| &client.requests)
    }
}

/// For people: one line for each thing, and only what is not the plainest.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, texture, capacity, noise, lazy, drain_after, conns_max, splice, .. } =
            self;
        write!(f, "seed {seed}, {texture:?}, buffers of {capacity} octets at most")?;
        write!(f, "{}{}", said(*noise, "noise"), said(*lazy, "late events"))?;
        write!(f, "{}", asked("connections at most", conns_max.as_ref()))?;
        if let Some((bytes_min, pipes)) = splice {
            write!(f, ", {pipes} pipes for what is left of {bytes_min} octets")?;
        }
        writeln!(f, "{}", asked("stops after", drain_after.as_ref()))?;
        for (number, backend) in self.backends.iter().enumerate() {
            let BackendPlan { weight, prefix, security, address, connect, idle } = backend;
            write!(f, "backend {number}: {security:?}, {address:?}, {connect:?}, {idle:?}")?;
            writeln!(f, ", weight {weight}{}{prefix}", said(!prefix.is_empty(), "prefix "))?;
        }
        for (number, client) in self.clients.iter().enumerate() {
            let ClientPlan { arrives_ms, pipelined, pause_ms, leaves, requests } = client;
            write!(f, "client {number}: comes after {arrives_ms} ms, {leaves:?} at the end")?;
            writeln!(f, ", pauses {pause_ms} ms{}", said(*pipelined, "pipelines"))?;
            for request in requests {
                request.describe(f)?;
            }
        }
        Ok(())
    }
}

impl RequestPlan {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, method, http10, wish, absolute, padding, pauses, body, .. } = self;
        write!(f, "  {method} {id}: {body:?}{}", said(*http10, "HTTP/1.0"))?;
        write!(f, "{}", asked("wishes", (*wish != Wish::Unsaid).then_some(wish)))?;
        write!(f, "{}", said(*absolute, "absolute target"))?;
        write!(f, "{}", said(self.expects, "expects a 100"))?;
        write!(f, "{}", asked("padding", (*padding > 0).then_some(padding)))?;
        write!(f, "{}", asked("pauses", (*pauses > 0).then_some(pauses)))?;
        write!(f, "{}", asked("FAULT", self.fault.as_ref()))?;
        writeln!(f, "{}", asked("tunnel", self.tunnel.as_ref()))?;
        self.answers.iter().try_for_each(|answer| answer.describe(f))
    }
}

impl AnswerPlan {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, interims, status, body, padding, pauses, then, .. } = self;
        write!(f, "    {status}: {body:?} after {after:?}, {then:?}")?;
        write!(f, "{}", asked("interims", (!interims.is_empty()).then_some(interims)))?;
        write!(f, "{}", said(self.http10, "HTTP/1.0"))?;
        write!(f, "{}", said(self.stops_reading, "stops reading"))?;
        write!(f, "{}", asked("padding", (*padding > 0).then_some(padding)))?;
        write!(f, "{}", asked("pauses", (*pauses > 0).then_some(pauses)))?;
        writeln!(f, "{}", asked("FAULT", self.fault.as_ref()))
    }
}

fn said(is_so: bool, text: &str) -> String {
    if is_so { format!(", {text}") } else { String::new() }
}

fn asked(name: &str, value: Option<&impl fmt::Debug>) -> String {
    value.map(|value| format!(", {name} {value:?}")).unwrap_or_default()
}
