//! What is to happen in one world: who there is, what everybody says, and what goes wrong.
//!
//! A script is made from a seed, and is plain data, so that a failing one can be cut down piece by
//! piece. Each seed draws first which kinds of things may occur in its world at all ("swarm testing"):
//! a world in which nearly everything occurs hides the bugs that need one thing often.

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
            Self::Octets => 1 + rng.below(2),
            Self::Small => rng.within(1, 24),
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
    fn body(self, rng: &mut Rng) -> usize {
        match (self, rng.below(4)) {
            (_, 0) => rng.below(12),
            (Self::Octets, _) => rng.below(60),
            (Self::Small, _) => rng.below(600),
            (Self::Mixed, _) => rng.below(24_000),
            (Self::Bulk, _) => rng.below(700_000),
        }
    }

    /// The buffers of a connection, both ways.
    fn capacity(self, rng: &mut Rng) -> usize {
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

/// The kinds of things that may occur in a world.
struct Swarm {
    bodies: bool,
    chunks: bool,
    pipelining: bool,
    old_clients: bool,
    old_backends: bool,
    interims: bool,
    early: bool,
    tunnels: bool,
    client_faults: bool,
    answer_faults: bool,
    closing: bool,
    silent_closing: bool,
    connect_trouble: bool,
    names: bool,
    padding: bool,
}

impl Swarm {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            bodies: rng.percent(65),
            chunks: rng.percent(50),
            pipelining: rng.percent(40),
            old_clients: rng.percent(25),
            old_backends: rng.percent(20),
            interims: rng.percent(30),
            early: rng.percent(25),
            tunnels: rng.percent(25),
            client_faults: rng.percent(30),
            answer_faults: rng.percent(35),
            closing: rng.percent(40),
            silent_closing: rng.percent(15),
            connect_trouble: rng.percent(20),
            names: rng.percent(20),
            padding: rng.percent(20),
        }
    }
}

impl Script {
    /// The world of this seed. With `tls`, some of its backends are behind TLS.
    pub(crate) fn of_seed(seed: u64, tls: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut swarm = Swarm::draw(&mut rng);
        let texture = match rng.below(16) {
            0..4 => Texture::Octets,
            4..9 => Texture::Small,
            9..15 => Texture::Mixed,
            _ => Texture::Bulk,
        };
        swarm.padding &= texture != Texture::Octets;
        let backends = (0..rng.within(1, 4)).map(|_| backend(&swarm, tls, &mut rng)).collect();
        let clients_max = if texture == Texture::Bulk { 2 } else { 5 };
        let mut id = 0;
        let mut script = Self {
            seed,
            texture,
            capacity: texture.capacity(&mut rng),
            noise: rng.percent(30),
            lazy: rng.percent(40),
            backends,
            clients: (0..rng.within(1, clients_max))
                .map(|_| client(&swarm, texture, &mut id, &mut rng))
                .collect(),
            drain_after: rng.percent(10).then(|| rng.below(6)),
        };
        script.keep_the_peace();
        script
    }

    /// Mends what would make a world's outcome undecidable.
    pub(crate) fn keep_the_peace(&mut self) {
        let named = |plan: &BackendPlan| plan.address != AddressPlan::Literal;
        if self.backends.iter().all(|plan| plan.address == AddressPlan::Late) {
            for plan in &mut self.backends {
                plan.address = AddressPlan::Named { dead: 0 };
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

fn backend(swarm: &Swarm, tls: bool, rng: &mut Rng) -> BackendPlan {
    let trouble = swarm.connect_trouble && rng.percent(50);
    let security = match rng.below(12) {
        _ if !tls => Security::Plain,
        0..4 => Security::Plain,
        4 if trouble => Security::TlsWrongName,
        _ => Security::Tls,
    };
    BackendPlan {
        weight: if rng.percent(20) { u32::try_from(rng.within(1, 4)).expect("small") } else { 1 },
        prefix: if rng.percent(15) { "/pre/fix" } else { "" },
        security,
        address: match rng.below(5) {
            _ if !swarm.names => AddressPlan::Literal,
            0 => AddressPlan::Late,
            1 => AddressPlan::Moving,
            dead => AddressPlan::Named { dead: dead - 2 },
        },
        connect: match rng.below(6) {
            _ if !trouble => ConnectPlan::Takes,
            0 => ConnectPlan::Refuses,
            1 => ConnectPlan::Silent,
            2 => ConnectPlan::EndsAtOnce,
            3 => ConnectPlan::ResetsAtOnce,
            _ => ConnectPlan::Moody,
        },
        idle: match rng.below(4) {
            0 => IdlePlan::EndsAsAnnounced(u32::try_from(rng.within(1, 20)).expect("small")),
            1 if swarm.silent_closing => {
                IdlePlan::EndsAfter(u32::try_from(rng.below(20)).expect("small"))
            }
            _ => IdlePlan::Keeps,
        },
    }
}

fn client(swarm: &Swarm, texture: Texture, id: &mut usize, rng: &mut Rng) -> ClientPlan {
    let pause_ms = match rng.below(8) {
        0..4 => 0,
        4 | 5 => rng.within(1, 2_000) as u64,
        6 => rng.within(2_000, 30_000) as u64,
        // Longer than roundel waits for it.
        _ if swarm.client_faults => 70_000,
        _ => 0,
    };
    let most = if texture == Texture::Bulk { 3 } else { 5 };
    let count = rng.within(1, most);
    let mut requests = Vec::new();
    for place in 0..count {
        let is_last = place + 1 == count;
        requests.push(request(swarm, texture, *id, is_last, rng));
        *id += 1;
    }
    ClientPlan {
        arrives_ms: if rng.percent(70) { 0 } else { rng.below(40_000) as u64 },
        pipelined: swarm.pipelining && rng.percent(60),
        pause_ms,
        requests,
        leaves: match rng.below(8) {
            0 | 1 => Leaving::HalfCloses,
            2 => Leaving::Waits,
            3 => Leaving::Resets,
            _ => Leaving::Closes,
        },
    }
}

fn request(
    swarm: &Swarm,
    texture: Texture,
    id: usize,
    is_last: bool,
    rng: &mut Rng,
) -> RequestPlan {
    let http10 = swarm.old_clients && rng.percent(40);
    if is_last && swarm.tunnels && rng.percent(50) {
        return upgrade(swarm, texture, id, rng);
    }
    let body = match rng.below(3) {
        _ if !swarm.bodies => BodyPlan::Nothing,
        0 => BodyPlan::Nothing,
        1 if swarm.chunks && !http10 => chunks(texture, rng),
        _ => BodyPlan::Length(texture.body(rng)),
    };
    let method = match body {
        BodyPlan::Nothing => rng.pick(&["GET", "GET", "GET", "HEAD", "DELETE", "POST"]),
        _ => rng.pick(&["POST", "POST", "PUT", "PATCH"]),
    };
    let mut answers = vec![answer(swarm, texture, rng)];
    while answers.len() < 3 && answers.last().is_some_and(|last| last.fault.is_some()) {
        answers.push(answer(swarm, texture, rng));
    }
    RequestPlan {
        id,
        method,
        http10,
        wish: match rng.below(10) {
            0 => Wish::Close,
            1..5 if http10 => Wish::KeepAlive,
            _ => Wish::Unsaid,
        },
        absolute: rng.percent(5),
        padding: padding(swarm, rng),
        body,
        expects: !http10 && body.size() > 0 && rng.percent(15),
        fault: if is_last && swarm.client_faults && rng.percent(50) {
            Some(client_fault(body, texture, rng))
        } else {
            None
        },
        answers,
        tunnel: None,
    }
}

fn padding(swarm: &Swarm, rng: &mut Rng) -> usize {
    if swarm.padding { rng.below(7_000) } else { rng.below(20) }
}

fn chunks(texture: Texture, rng: &mut Rng) -> BodyPlan {
    let size = texture.body(rng);
    BodyPlan::Chunks {
        size,
        chunk: rng.within(1, (size / 2).max(1)).max(size / 300),
        extensions: rng.percent(30),
        trailers: rng.percent(30),
    }
}

fn client_fault(body: BodyPlan, texture: Texture, rng: &mut Rng) -> ClientFault {
    let octets = texture.body(rng);
    let in_body = rng.below(body.size().max(1));
    let has_body = body.size() > 0;
    let chunked = matches!(body, BodyPlan::Chunks { .. });
    match rng.below(12) {
        0 => ClientFault::BadHead(rng.below(100)),
        1 => ClientFault::StallsInHead(rng.within(1, 40)),
        2 => ClientFault::ResetsInHead(rng.within(1, 40)),
        3 => ClientFault::EndsInHead(rng.within(1, 40)),
        4 if has_body => ClientFault::StallsInBody(in_body),
        5 if has_body => ClientFault::ResetsInBody(in_body),
        6 if has_body => ClientFault::EndsInBody(in_body),
        7 if chunked => ClientFault::BadChunk(rng.below(100)),
        8 => ClientFault::StopsReading(octets),
        9 => ClientFault::ResetsReading(octets),
        10 => ClientFault::ClosesReading(octets),
        _ => ClientFault::ResetsWaiting(rng.below(3_000) as u64),
    }
}

fn answer(swarm: &Swarm, texture: Texture, rng: &mut Rng) -> AnswerPlan {
    let http10 = swarm.old_backends && rng.percent(50);
    let body = match rng.below(6) {
        0 if swarm.closing => BodyPlan::UntilClose(texture.body(rng)),
        1 | 2 if swarm.chunks && !http10 => chunks(texture, rng),
        _ => BodyPlan::Length(texture.body(rng)),
    };
    let status = match rng.below(12) {
        0 => 204,
        1 => 304,
        2 => 404,
        _ => 200,
    };
    let until_close = matches!(body, BodyPlan::UntilClose(_)) && status != 204 && status != 304;
    AnswerPlan {
        after: match rng.below(5) {
            0 if swarm.early => When::Head,
            1 if swarm.early => When::Octets(texture.body(rng)),
            _ => When::Whole,
        },
        stops_reading: rng.percent(50),
        interims: match rng.below(3) {
            0 if swarm.interims && !http10 => {
                (0..rng.within(1, 4)).map(|_| rng.pick(&[100, 103, 102])).collect()
            }
            _ => Vec::new(),
        },
        http10,
        status,
        body,
        padding: padding(swarm, rng),
        then: match rng.below(8) {
            _ if until_close => Then::Closes,
            0 if swarm.closing => Then::Closes,
            1 if swarm.silent_closing => Then::ClosesSilently,
            _ => Then::GoesOn,
        },
        fault: if swarm.answer_faults && rng.percent(35) {
            Some(answer_fault(body, rng))
        } else {
            None
        },
    }
}

fn answer_fault(body: BodyPlan, rng: &mut Rng) -> AnswerFault {
    let in_body = rng.below(body.size().max(1));
    let has_body = body.size() > 0;
    let ends_itself = matches!(body, BodyPlan::Length(_) | BodyPlan::Chunks { .. });
    let in_head = rng.within(1, 60);
    match rng.below(18) {
        0 | 1 => AnswerFault::ClosesBefore,
        2 | 3 => AnswerFault::ResetsBefore,
        4 => AnswerFault::StallsBefore,
        5 => AnswerFault::NeverReads,
        6 => AnswerFault::ClosesInHead(in_head),
        7 => AnswerFault::ResetsInHead(in_head),
        8 => AnswerFault::StallsInHead(in_head),
        9 => AnswerFault::BadHead(rng.below(100)),
        10 => AnswerFault::BadFraming(rng.below(100)),
        11 => rng.pick(&[
            AnswerFault::HeadTooLong,
            AnswerFault::TooManyInterims,
            AnswerFault::UnaskedUpgrade,
        ]),
        12 if has_body && ends_itself => AnswerFault::ClosesInBody(in_body),
        13 if has_body => AnswerFault::ResetsInBody(in_body),
        14 if has_body => AnswerFault::StallsInBody(in_body),
        15 if matches!(body, BodyPlan::Chunks { .. }) => AnswerFault::BadChunk(rng.below(100)),
        _ if ends_itself => AnswerFault::Surplus,
        _ => AnswerFault::ResetsBefore,
    }
}

fn upgrade(swarm: &Swarm, texture: Texture, id: usize, rng: &mut Rng) -> RequestPlan {
    let up = texture.body(rng);
    let down = texture.body(rng);
    let mut answer = answer(swarm, texture, rng);
    answer.after = When::Whole;
    answer.fault = None;
    let declined = rng.percent(20);
    let tunnel = TunnelPlan {
        up,
        // Who is declined must not have spoken already.
        early: if declined || rng.percent(50) { 0 } else { rng.below(up + 1) },
        down,
        glued: if rng.percent(50) { 0 } else { rng.below(down + 1) },
        ending: match rng.below(10) {
            0 | 1 => TunnelEnding::ClientFirst,
            2 | 3 => TunnelEnding::BackendFirst,
            4 if swarm.client_faults => TunnelEnding::ClientResets(rng.below(up + 1)),
            5 if swarm.answer_faults => TunnelEnding::BackendResets(rng.below(down + 1)),
            6 if swarm.client_faults => TunnelEnding::Idle,
            _ => TunnelEnding::Freely,
        },
    };
    if !declined {
        answer.status = 101;
        answer.http10 = false;
        answer.then = Then::GoesOn;
        answer.body = BodyPlan::Nothing;
    }
    RequestPlan {
        id,
        method: "GET",
        http10: false,
        wish: Wish::Unsaid,
        absolute: false,
        padding: 0,
        body: BodyPlan::Nothing,
        expects: false,
        fault: None,
        answers: vec![answer],
        tunnel: Some(tunnel),
    }
}
