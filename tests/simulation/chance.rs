//! Makes a script from a seed.
//!
//! Each seed draws first which kinds of things may occur in its world at all ("swarm testing"): a world
//! in which nearly everything occurs hides the bugs that need one thing often. Every fifth seed is
//! turned into one of a few scenes: combinations that chance brings together too rarely, and in which
//! proxies have failed.

use super::{
    rng::Rng,
    script::{
        AddressPlan, AnswerFault, AnswerPlan, BackendPlan, BodyPlan, ClientFault, ClientPlan,
        ConnectPlan, IdlePlan, Leaving, RequestPlan, Script, Security, Texture, Then, TunnelEnding,
        TunnelPlan, When, Wish,
    },
};

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
    slow: bool,
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
            slow: rng.percent(20),
        }
    }
}

/// The world of this seed. With `tls`, some of its backends are behind TLS.
pub(crate) fn script_of(seed: u64, tls: bool) -> Script {
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
    let mut script = Script {
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
        conns_max: None,
        splice: None,
    };
    if seed % 5 == 0 {
        set_scene(&mut script, &mut rng);
    }
    script.keep_the_peace();
    // Who sends into a tunnel before it is open must not be told to come again later.
    let is_hasty = script.requests().any(|request| request.tunnel.is_some());
    script.splice = rng.percent(60).then(|| (2 << rng.below(8), rng.below(3)));
    script.conns_max = (rng.percent(15) && !is_hasty).then(|| rng.within(1, 3));
    script
}

/// Turns a world into one of the scenes.
fn set_scene(script: &mut Script, rng: &mut Rng) {
    script.drain_after = None;
    match rng.below(8) {
        0 => early_answer_breaks_off(script, rng),
        1 => idle_connections_end(script, rng),
        2 => bodies_behind_bodies(script, rng),
        3 => early_answers_and_crowds(script, rng),
        4 => nobody_takes_what_is_sent(script, rng),
        5 => tunnels_by_the_drop(script, rng),
        6 => all_at_once(script, rng),
        _ => bodies_that_break_off(script, rng),
    }
}

/// A request that everybody can understand and that goes well.
fn plain_request(id: usize, body: BodyPlan) -> RequestPlan {
    RequestPlan {
        id,
        method: if body == BodyPlan::Nothing { "GET" } else { "PUT" },
        http10: false,
        wish: Wish::Unsaid,
        absolute: false,
        padding: 0,
        pauses: 0,
        body,
        expects: false,
        fault: None,
        answers: vec![plain_answer(BodyPlan::Length(20))],
        tunnel: None,
    }
}

fn plain_answer(body: BodyPlan) -> AnswerPlan {
    AnswerPlan {
        after: When::Whole,
        stops_reading: false,
        interims: Vec::new(),
        http10: false,
        status: 200,
        body,
        padding: 0,
        pauses: 0,
        then: if matches!(body, BodyPlan::UntilClose(_)) { Then::Closes } else { Then::GoesOn },
        fault: None,
    }
}

/// So many clients, each with so many requests, each of which is made here from its id.
fn crowd(
    clients: usize,
    requests: usize,
    rng: &mut Rng,
    mut make: impl FnMut(usize, &mut Rng) -> RequestPlan,
) -> Vec<ClientPlan> {
    let plans = |client| (0..requests).map(move |place| client * requests + place);
    (0..clients)
        .map(|client| ClientPlan {
            arrives_ms: 0,
            pipelined: rng.percent(50),
            pause_ms: 0,
            requests: plans(client).map(|id| make(id, rng)).collect(),
            leaves: rng.pick(&[Leaving::Closes, Leaving::HalfCloses, Leaving::Waits]),
        })
        .collect()
}

fn sound_backends(script: &mut Script, count: usize) {
    script.backends.truncate(count);
    for plan in &mut script.backends {
        plan.connect = ConnectPlan::Takes;
        plan.idle = IdlePlan::Keeps;
        if plan.security == Security::TlsWrongName {
            plan.security = Security::Tls;
        }
        plan.address = AddressPlan::Literal;
    }
}

/// The error of the reset may be told to who writes, and who reads sees an ordinary end.
fn early_answer_breaks_off(script: &mut Script, rng: &mut Rng) {
    sound_backends(script, 2);
    let texture = script.texture;
    script.clients = crowd(2, 1, rng, |id, rng| {
        let mut request = plain_request(id, BodyPlan::Length(texture.body(rng) + 20));
        let size = texture.body(rng) + 2;
        let mut answer = plain_answer(rng.pick(&[
            BodyPlan::UntilClose(size),
            BodyPlan::UntilClose(size),
            BodyPlan::Length(size),
        ]));
        answer.after = rng.pick(&[When::Head, When::Octets(1)]);
        answer.fault = Some(AnswerFault::ResetsInBody(rng.below(size)));
        request.answers = vec![answer];
        request
    });
}

/// A pooled connection ends in the moment in which it is used.
fn idle_connections_end(script: &mut Script, rng: &mut Rng) {
    sound_backends(script, 2);
    let texture = script.texture;
    script.clients = crowd(3, 4, rng, |id, rng| {
        let body = if rng.percent(50) {
            BodyPlan::Nothing
        } else {
            BodyPlan::Length(texture.body(rng).min(30_000))
        };
        let mut request = plain_request(id, body);
        request.method = match body {
            BodyPlan::Nothing => rng.pick(&["GET", "DELETE", "POST"]),
            _ => rng.pick(&["PUT", "POST"]),
        };
        let mut answer = plain_answer(BodyPlan::Length(5));
        answer.then = rng.pick(&[Then::GoesOn, Then::ClosesSilently]);
        request.answers = vec![answer];
        request
    });
}

/// A read takes the end of one request and the beginning of a large next one.
fn bodies_behind_bodies(script: &mut Script, rng: &mut Rng) {
    sound_backends(script, 2);
    script.texture = Texture::Bulk;
    script.capacity = 3_000_000;
    script.clients = crowd(1, 3, rng, |id, rng| {
        let size = rng.within(100_000, 600_000);
        let chunk = rng.within(1_000, 300_000);
        let body = rng.pick(&[
            BodyPlan::Length(size),
            BodyPlan::Chunks { size, chunk, extensions: false, trailers: true },
        ]);
        plain_request(id, body)
    });
    script.clients[0].pipelined = true;
}

/// An answer is complete before its request, and others wait for the connection.
fn early_answers_and_crowds(script: &mut Script, rng: &mut Rng) {
    sound_backends(script, 1);
    let texture = script.texture;
    script.clients = crowd(4, 2, rng, |id, rng| {
        let mut request = plain_request(id, BodyPlan::Length(texture.body(rng).min(30_000) + 1));
        request.method = "POST";
        let mut answer = plain_answer(BodyPlan::Length(7));
        answer.after = rng.pick(&[When::Head, When::Whole, When::Octets(1)]);
        request.answers = vec![answer];
        request
    });
}

/// One side stalls while the other has a lot to say.
fn nobody_takes_what_is_sent(script: &mut Script, rng: &mut Rng) {
    sound_backends(script, 2);
    script.texture = Texture::Bulk;
    script.capacity = rng.within(20_000, 100_000);
    script.clients = crowd(2, 1, rng, |id, rng| {
        let much = rng.within(500_000, 1_500_000);
        if rng.percent(50) {
            let mut request = plain_request(id, BodyPlan::Length(much));
            request.answers[0].fault = Some(AnswerFault::NeverReads);
            request
        } else {
            let mut request = plain_request(id, BodyPlan::Nothing);
            request.answers = vec![plain_answer(BodyPlan::Length(much))];
            request.fault = Some(ClientFault::StopsReading(rng.below(50_000)));
            request
        }
    });
}

/// Both directions of a tunnel end on their own, through sockets that take little.
fn tunnels_by_the_drop(script: &mut Script, rng: &mut Rng) {
    sound_backends(script, 2);
    script.capacity = rng.within(10, 200);
    script.texture = rng.pick(&[Texture::Octets, Texture::Small]);
    script.clients = crowd(3, 1, rng, |id, rng| {
        let mut request = plain_request(id, BodyPlan::Nothing);
        request.answers[0].status = 101;
        request.answers[0].body = BodyPlan::Nothing;
        let (up, down) = (rng.below(150), rng.below(150));
        request.tunnel = Some(TunnelPlan {
            up,
            early: rng.below(up + 1),
            down,
            glued: rng.below(down + 1),
            ending: rng.pick(&[
                TunnelEnding::Freely,
                TunnelEnding::ClientFirst,
                TunnelEnding::BackendFirst,
            ]),
        });
        request
    });
}

/// Many small requests fight for few connections.
fn all_at_once(script: &mut Script, rng: &mut Rng) {
    sound_backends(script, 2);
    script.clients = crowd(6, 5, rng, |id, _| plain_request(id, BodyPlan::Nothing));
}

/// Answers that are not whole, in every framing, to clients of every kind.
fn bodies_that_break_off(script: &mut Script, rng: &mut Rng) {
    sound_backends(script, 2);
    let texture = script.texture;
    script.clients = crowd(4, 1, rng, |id, rng| {
        let mut request = plain_request(id, BodyPlan::Nothing);
        request.http10 = rng.percent(40);
        let size = texture.body(rng) + 2;
        let at = rng.below(size);
        let chunk = rng.within(1, size).max(size / 300);
        let body = rng.pick(&[
            BodyPlan::Length(size),
            BodyPlan::Chunks { size, chunk, extensions: false, trailers: false },
            BodyPlan::UntilClose(size),
        ]);
        let mut answer = plain_answer(body);
        answer.fault = Some(match body {
            BodyPlan::UntilClose(_) => AnswerFault::ResetsInBody(at),
            BodyPlan::Chunks { .. } => rng.pick(&[
                AnswerFault::ResetsInBody(at),
                AnswerFault::ClosesInBody(at),
                AnswerFault::BadChunk(at),
            ]),
            _ => rng.pick(&[AnswerFault::ResetsInBody(at), AnswerFault::ClosesInBody(at)]),
        });
        request.answers = vec![answer];
        request
    });
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
        pauses: pauses(swarm, rng),
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

fn pauses(swarm: &Swarm, rng: &mut Rng) -> usize {
    if swarm.slow && rng.percent(40) { rng.within(1, 3) } else { 0 }
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
        after: match rng.below(4) {
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
        pauses: pauses(swarm, rng),
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
    let in_head = rng.within(1, 60);
    let kind = rng.below(100);
    if has_body && rng.percent(40) {
        return match body {
            BodyPlan::UntilClose(_) => rng.pick(&[
                AnswerFault::ResetsInBody(in_body),
                AnswerFault::ResetsInBody(in_body),
                AnswerFault::StallsInBody(in_body),
            ]),
            BodyPlan::Chunks { .. } if rng.percent(30) => AnswerFault::BadChunk(kind),
            BodyPlan::Chunks { .. } | BodyPlan::Length(_) | BodyPlan::Nothing => rng.pick(&[
                AnswerFault::Surplus,
                AnswerFault::ClosesInBody(in_body),
                AnswerFault::ResetsInBody(in_body),
                AnswerFault::StallsInBody(in_body),
            ]),
        };
    }
    rng.pick(&[
        AnswerFault::ClosesBefore,
        AnswerFault::ClosesBefore,
        AnswerFault::ResetsBefore,
        AnswerFault::ResetsBefore,
        AnswerFault::StallsBefore,
        AnswerFault::NeverReads,
        AnswerFault::ClosesInHead(in_head),
        AnswerFault::ResetsInHead(in_head),
        AnswerFault::StallsInHead(in_head),
        AnswerFault::BadHead(kind),
        AnswerFault::BadHead(kind),
        AnswerFault::BadFraming(kind),
        AnswerFault::HeadTooLong,
        AnswerFault::TooManyInterims,
        AnswerFault::UnaskedUpgrade,
        AnswerFault::Surplus,
    ])
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
        pauses: 0,
        body: BodyPlan::Nothing,
        expects: false,
        fault: None,
        answers: vec![answer],
        tunnel: Some(tunnel),
    }
}
