//! One run of one script: the world turns until everybody has gone, and then looks at what is left.
//!
//! A turn lets peers and network do something, each with a probability, and then gives roundel what
//! epoll would give it, in the way of the real event loop: events, new clients, `run`, `expire`. Only
//! where nobody can do anything does time pass, to the next deadline or alarm of anybody. So a healthy
//! exchange never meets a deadline, and a wake-up that roundel loses shows as one.

use std::{cell::RefCell, io::ErrorKind, net::SocketAddr, rc::Rc, time::Duration};

use roundel::{
    clock::{self, Now},
    config::{BackendConfig, Host, Limits, Scheme, Timeouts, backend_url::HostField},
    key::Token,
    net::{latch::Readiness, resolve::Answer, transport},
    server::{
        backends::Backend,
        worker::{Settings, Worker},
    },
};

#[cfg(feature = "tls")]
use super::tls::{TlsEnd, TlsServer, authority_pem};
use super::{
    backend::{Connection, Ledger},
    client::Client,
    messages::{client_address, name_of},
    oracle,
    peer::Channel,
    rng::Rng,
    script::{AddressPlan, BackendPlan, ConnectPlan, Script, Security},
    trace::{self, say},
    wire::{End, Fabric, Peer, Shared, SimNet, SimSock, Wire},
};

/// No world needs more turns: one that does is stuck in some new way.
const TURNS_MAX: u64 = 1_000_000;

/// How many turns in a row may have work without anything moving: some only change a state.
const IDLE_TURNS_MAX: u64 = 16;

/// Whether a writable event may come for a socket that is still connecting. epoll never tells one, and
/// roundel takes it for the end of the connect; mio does not promise that it cannot happen.
const SPURIOUS_WRITABLE_WHILE_CONNECTING: bool = false;

/// What went wrong, in words whose first line names the kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure(pub(crate) String);

/// What a run came to.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) turns: u64,
    pub(crate) octets: u64,
    pub(crate) answers: usize,
    pub(crate) own_answers: usize,
    /// A number that two runs share only if they are the same.
    pub(crate) fingerprint: u64,
}

/// What happened to the whole of roundel.
#[derive(Default)]
pub(crate) struct Drained {
    /// For each client how many requests had to be answered all the same; `None` before the drain.
    pub(crate) owed: Option<Vec<usize>>,
}

pub(crate) struct World<'a> {
    pub(crate) script: &'a Script,
    rng: Rng,
    start: Now,
    elapsed: Duration,
    turn: u64,
    worker: Worker<SimNet>,
    fabric: Shared<Fabric>,
    wires: Vec<Shared<Wire>>,
    /// Connects that wait for an answer: who is asked, and from when on it may come.
    connects: Vec<(SocketAddr, Shared<Wire>)>,
    pub(crate) clients: Vec<Client>,
    connections: Vec<Connection<'a>>,
    /// For each backend whose name has led somewhere, where it leads now.
    addresses: Vec<Option<Vec<SocketAddr>>>,
    pub(crate) ledger: Ledger<'a>,
    stale: Vec<Token>,
    news: Vec<News>,
    pub(crate) drained: Drained,
    cut_at: Option<Duration>,
    #[cfg(feature = "tls")]
    tls: Vec<TlsServer>,
}

/// News about a name, once so many requests have reached a backend.
struct News {
    arrived: usize,
    answer: Answer,
}

/// The backend at this address.
pub(crate) fn backend_of(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(address) => usize::from(address.ip().octets()[2]),
        SocketAddr::V6(_) => unreachable!("there are none here"),
    }
}

/// Below this, addresses of a backend are alive.
const DEAD_FROM: u8 = 100;

fn address_of(backend: usize, number: u8) -> SocketAddr {
    let [.., backend] = backend.to_be_bytes();
    SocketAddr::from(([10, 1, backend, number], 80))
}

/// Runs a script to its end.
pub(crate) fn run(script: &Script) -> Result<Tally, Failure> {
    let mut world = World::new(script);
    let outcome = world.live().and_then(|()| world.conclude());
    outcome.map_err(Failure)
}

impl<'a> World<'a> {
    fn new(script: &'a Script) -> Self {
        let mut rng = Rng::new(script.seed ^ 0x5eed);
        let mut fabric = Fabric::new(rng.fork(), script.capacity, script.noise);
        let moody = |plan: &BackendPlan| plan.connect == ConnectPlan::Moody;
        fabric.exhausted_percent =
            script.backends.iter().map(|plan| if moody(plan) { 20 } else { 0 }).collect();
        let fabric = Rc::new(RefCell::new(fabric));
        let start = clock::now();
        let backends = backends(script);
        let settings = Settings {
            // Simulated clients pause as they like.
            limits: Limits {
                body_bytes_per_second_min: 0,
                backend_connections_count_max: script.conns_max,
                splice_bytes_min: script.splice.map(|(bytes_min, _)| bytes_min),
                pipes_count_max: script.splice.map_or(0, |(_, pipes)| pipes),
                ..Limits::default()
            },
            seed: script.seed,
            ..Settings::default()
        };
        let worker = Worker::new(SimNet(Rc::clone(&fabric)), backends, settings, start);
        let mut world = Self {
            script,
            rng,
            start,
            elapsed: Duration::ZERO,
            turn: 0,
            worker,
            fabric,
            wires: Vec::new(),
            connects: Vec::new(),
            clients: script.clients.iter().enumerate().map(|(i, c)| Client::new(i, c)).collect(),
            connections: Vec::new(),
            addresses: vec![None; script.backends.len()],
            ledger: Ledger::new(script),
            stale: Vec::new(),
            news: Vec::new(),
            drained: Drained::default(),
            cut_at: None,
            #[cfg(feature = "tls")]
            tls: script
                .backends
                .iter()
                .filter(|plan| plan.security != Security::Plain)
                .map(|_| ())
                .next()
                .map_or_else(Vec::new, |()| vec![TlsServer::new(true), TlsServer::new(false)]),
        };
        world.resolve_names();
        world
    }

    /// The first answers about names come before the first client, the others later.
    fn resolve_names(&mut self) {
        for (id, plan) in self.script.backends.iter().enumerate() {
            let good = address_of(id, 1);
            let mut first = Ok(vec![good]);
            match plan.address {
                AddressPlan::Literal => continue,
                AddressPlan::Named { dead } => {
                    let dead = (0..dead).filter_map(|n| u8::try_from(n).ok());
                    let dead = dead.map(|number| address_of(id, DEAD_FROM + number));
                    first = Ok(dead.chain([good]).collect());
                }
                AddressPlan::Moving => self.news.extend((1..4).map(|arrived| News {
                    arrived,
                    answer: Answer {
                        id,
                        outcome: match arrived {
                            2 => Err("nobody answers".to_owned()),
                            _ => Ok(vec![address_of(id, 1 + u8::try_from(arrived).expect("few"))]),
                        },
                    },
                })),
                AddressPlan::Late => {
                    first = Err("nobody answers".to_owned());
                    self.news
                        .push(News { arrived: 1, answer: Answer { id, outcome: Ok(vec![good]) } });
                }
            }
            self.tell(Answer { id, outcome: first });
        }
    }

    fn now(&self) -> Now {
        self.start.after(self.elapsed)
    }

    /// Turns until nobody is left.
    fn live(&mut self) -> Result<(), String> {
        let mut idle_turns = 0;
        loop {
            self.turn += 1;
            trace::stamp(self.turn, self.elapsed);
            if self.turn > TURNS_MAX {
                return Err("endless: the world does not come to an end".into());
            }
            let before = self.progress();
            let acted = self.let_others_act(false)?;
            let told = self.turn_roundel();
            self.count_connections()?;
            if acted || told || self.progress() != before {
                idle_turns = 0;
                continue;
            }
            if self.worker.has_work() {
                idle_turns += 1;
                if idle_turns > IDLE_TURNS_MAX {
                    return Err("endless: roundel has work and does nothing".into());
                }
                continue;
            }
            idle_turns = 0;
            if self.let_others_act(true)? || self.has_edges() {
                continue;
            }
            if !self.pass_time()? {
                return Ok(());
            }
        }
    }

    /// Nobody has more connections than allowed.
    fn count_connections(&self) -> Result<(), String> {
        let Some(max) = self.script.conns_max else { return Ok(()) };
        let fabric = self.fabric.borrow();
        let fresh = fabric.connects.iter().chain(&self.connects).map(|(_, wire)| wire);
        let mut counts = vec![0; self.script.backends.len()];
        for wire in self.wires.iter().chain(fresh) {
            let wire = wire.borrow();
            if let (Peer::Backend { backend, .. }, false) = (wire.peer, wire.gone) {
                counts[backend] += 1;
            }
        }
        match counts.iter().position(|count| *count > max) {
            Some(backend) => {
                Err(format!("crowd: {} connections to backend {backend}", counts[backend]))
            }
            None => Ok(()),
        }
    }

    fn progress(&self) -> u64 {
        self.fabric.borrow().meters.progress.get()
    }

    /// Peers and network do something, each with a probability, or each that can.
    fn let_others_act(&mut self, all: bool) -> Result<bool, String> {
        let mut acted = self.pass_on_news();
        acted |= self.begin_drain();
        acted |= self.let_clients_arrive();
        acted |= self.answer_connects(all);
        let texture = self.script.texture;
        let share = if self.script.lazy { 40 } else { 75 };
        for wire in &self.wires {
            if all || self.rng.percent(share) {
                acted |= wire.borrow_mut().convey(texture.grain(&mut self.rng));
            }
        }
        for client in &mut self.clients {
            if all || self.rng.percent(share) {
                let grain = texture.grain(&mut self.rng);
                let did = client.act(self.elapsed, grain, &mut self.rng);
                acted |= did.map_err(|e| format!("client {}: {e}", client.number))?;
            }
        }
        for connection in &mut self.connections {
            if all || self.rng.percent(share) {
                let grain = texture.grain(&mut self.rng);
                let did = connection.act(&mut self.ledger, self.elapsed, grain, &mut self.rng);
                acted |= did.map_err(|e| format!("backend {}: {e}", connection.backend))?;
            }
        }
        self.bury();
        Ok(acted)
    }

    /// Forgets what is over.
    fn bury(&mut self) {
        let stale = &mut self.stale;
        self.wires.retain(|wire| {
            let wire = wire.borrow();
            if wire.is_over() {
                stale.extend(wire.token);
            }
            !wire.is_over()
        });
    }

    fn pass_on_news(&mut self) -> bool {
        let arrived = self.ledger.arrived();
        let (due, later) = std::mem::take(&mut self.news)
            .into_iter()
            .partition::<Vec<_>, _>(|news| news.arrived <= arrived);
        self.news = later;
        let any = !due.is_empty();
        for news in due {
            say(|| {
                format!(
                    "news about the name of backend {}: {:?}",
                    news.answer.id, news.answer.outcome
                )
            });
            self.tell(news.answer);
        }
        any
    }

    /// Gives roundel an answer about a name.
    fn tell(&mut self, answer: Answer) {
        if let Ok(addresses) = &answer.outcome {
            self.addresses[answer.id] = Some(addresses.clone());
        }
        self.worker.on_answer(answer);
    }

    /// Nothing rests at an address that a name does not lead to any more.
    fn check_addresses(&self) -> Result<(), String> {
        // While there are clients, what looks at rest to a backend may not be so to them.
        if self.worker.connections().0 > 0 {
            return Ok(());
        }
        let rest = self.connections.iter().filter(|connection| connection.rests());
        for connection in rest {
            let known = self.addresses[connection.backend].as_ref();
            if known.is_some_and(|known| !known.contains(&connection.address)) {
                return Err(format!(
                    "stale: a connection rests at {}, where backend {} is no more",
                    connection.address, connection.backend
                ));
            }
        }
        Ok(())
    }

    fn let_clients_arrive(&mut self) -> bool {
        let mut any = false;
        let now = self.now();
        for client in &mut self.clients {
            if client.arrives_at().is_none_or(|at| at > self.elapsed) {
                continue;
            }
            any = true;
            if self.drained.owed.is_some() {
                client.turn_away();
                continue;
            }
            let wire = self.fabric.borrow_mut().wire_to_client(client.number);
            say(|| format!("client {} connects", client.number));
            client.arrive(&wire);
            let address = SocketAddr::from((client_address(client.number), 40_000));
            self.worker.accept(SimSock::new(&wire), address.into(), now);
            self.wires.push(wire);
        }
        any
    }

    fn answer_connects(&mut self, all: bool) -> bool {
        self.connects.extend(self.fabric.borrow_mut().connects.drain(..));
        let mut any = false;
        for (address, wire) in std::mem::take(&mut self.connects) {
            if wire.borrow().gone {
                any = true;
            } else if all || self.rng.percent(50) {
                any |= self.answer_connect(address, wire);
            } else {
                self.connects.push((address, wire));
            }
        }
        any
    }

    fn answer_connect(&mut self, address: SocketAddr, wire: Shared<Wire>) -> bool {
        let backend = backend_of(address);
        let plan = &self.script.backends[backend];
        let is_dead = matches!(address, SocketAddr::V4(v4) if v4.ip().octets()[3] >= DEAD_FROM);
        let connect = match plan.connect {
            _ if is_dead => self.rng.pick(&[ConnectPlan::Refuses, ConnectPlan::Silent]),
            ConnectPlan::Moody => self.rng.pick(&[
                ConnectPlan::Takes,
                ConnectPlan::Takes,
                ConnectPlan::Refuses,
                ConnectPlan::Silent,
            ]),
            steady => steady,
        };
        match connect {
            ConnectPlan::Takes | ConnectPlan::EndsAtOnce | ConnectPlan::ResetsAtOnce => {
                wire.borrow_mut().establish();
                let mut channel = self.channel(plan, &wire);
                match connect {
                    ConnectPlan::EndsAtOnce => channel.close(),
                    ConnectPlan::ResetsAtOnce => wire.borrow_mut().peer_reset(),
                    _ => {}
                }
                self.connections.push(Connection::new(channel, plan, address));
            }
            ConnectPlan::Refuses => {
                let error =
                    self.rng.pick(&[ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable]);
                wire.borrow_mut().refuse(error);
            }
            ConnectPlan::Silent | ConnectPlan::Moody => {
                say(|| format!("{}: nobody answers the connect", wire.borrow().peer));
                wire.borrow_mut().peer_closed = true;
            }
        }
        self.wires.push(wire);
        true
    }

    #[cfg(feature = "tls")]
    fn channel(&self, plan: &BackendPlan, wire: &Shared<Wire>) -> Channel {
        let channel = Channel::plain(wire);
        match plan.security {
            Security::Plain => channel,
            Security::Tls => channel.with_tls(TlsEnd::new(&self.tls[0])),
            Security::TlsWrongName => channel.with_tls(TlsEnd::new(&self.tls[1])),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn channel(&self, _plan: &BackendPlan, wire: &Shared<Wire>) -> Channel {
        Channel::plain(wire)
    }

    /// roundel is told to stop, as the event loop does it.
    fn begin_drain(&mut self) -> bool {
        let due = self.script.drain_after.is_some_and(|count| self.ledger.arrived() >= count);
        if let Some(at) = self.cut_at {
            if self.worker.is_drained() || self.elapsed >= at {
                say(|| "roundel: is drained, or cut");
                self.worker.cut();
                self.cut_at = None;
                return true;
            }
            return false;
        }
        if !due || self.drained.owed.is_some() {
            return false;
        }
        say(|| "roundel is told to stop");
        // A client that has been answered for all that it asked so far, and whose next request is in
        // roundel's kernel, has to be served; so has one whose request is open.
        let owed = self.clients.iter().map(|client| {
            let delivered = client.wire().map_or(0, |wire| wire.borrow().delivered());
            let arrived = client.ends_at.iter().take_while(|end| **end <= delivered).count();
            arrived.min(client.finals + 1)
        });
        self.drained.owed = Some(owed.collect());
        let now = self.now();
        self.worker.begin_drain();
        self.worker.run(now);
        self.worker.expire(now);
        self.cut_at = Some(self.elapsed + Timeouts::default().drain);
        true
    }

    fn has_edges(&self) -> bool {
        self.wires.iter().any(|wire| wire.borrow().edge && !wire.borrow().gone)
    }

    /// Gives roundel its turn; says whether any event was told.
    fn turn_roundel(&mut self) -> bool {
        let share = if self.script.lazy { 45 } else { 85 };
        let mut events = Vec::new();
        for wire in &self.wires {
            let mut wire = wire.borrow_mut();
            let Some(token) = wire.token else { continue };
            if wire.gone || !(wire.edge && self.rng.percent(share)) {
                continue;
            }
            wire.edge = false;
            let readiness = wire.readiness();
            if readiness != Readiness::default() {
                say(|| format!("event for {}: {readiness:?}", wire.peer));
                events.push((token, readiness));
            }
        }
        let told = !events.is_empty();
        if self.script.noise && self.rng.percent(10) {
            self.add_noise(&mut events);
        }
        self.rng.shuffle(&mut events);
        let now = self.now();
        self.fabric.borrow().meters.calls.set(0);
        for (token, readiness) in events {
            self.worker.on_event(token, readiness);
        }
        self.worker.run(now);
        self.worker.expire(now);
        self.worker.end_turn();
        told
    }

    /// Events that mean nothing, and events for those who are gone.
    fn add_noise(&mut self, events: &mut Vec<(Token, Readiness)>) {
        let both = Readiness::READABLE.and(Readiness::WRITABLE);
        let kinds = [Readiness::READABLE, Readiness::WRITABLE, both];
        if !self.wires.is_empty() {
            let wire = &self.wires[self.rng.below(self.wires.len())];
            let wire = wire.borrow();
            let may = SPURIOUS_WRITABLE_WHILE_CONNECTING || !wire.is_pending();
            if let Some(token) = wire.token
                && may
            {
                say(|| format!("an event without reason for {}", wire.peer));
                // What epoll tells is never less than the truth.
                events.push((token, self.rng.pick(&kinds).and(wire.readiness())));
            }
        }
        if !self.stale.is_empty() {
            say(|| "an event for somebody who is gone");
            events.push((self.rng.pick(&self.stale), Readiness::CLOSING));
        }
    }

    /// Nobody can do anything: goes to the next moment at which somebody can. Says whether there is one.
    fn pass_time(&mut self) -> Result<bool, String> {
        let deadline = self.worker.next_deadline();
        let deadline = deadline.map(|at| at.saturating_duration_since(self.start.instant));
        self.check_addresses()?;
        if deadline.is_some_and(|at| at <= self.elapsed) {
            return Err("endless: a deadline that is over stays over".into());
        }
        let arrivals = self.clients.iter().filter_map(Client::arrives_at);
        let clients = self.clients.iter().filter(|client| !client.is_over);
        let backends = self.connections.iter().filter(|connection| !connection.is_over);
        let next = arrivals
            .chain(clients.filter_map(Client::wake))
            .chain(backends.filter_map(Connection::wake))
            .chain(deadline)
            .chain(self.cut_at)
            .filter(|at| *at > self.elapsed)
            .min();
        let Some(next) = next else { return Ok(false) };
        say(|| format!("nothing else can happen: time passes to {:.3}s", next.as_secs_f64()));
        self.elapsed = next;
        Ok(true)
    }

    /// Everybody has gone: looks at what is left.
    fn conclude(&mut self) -> Result<Tally, String> {
        if let Some(client) = self.clients.iter().find(|client| !client.is_over) {
            return Err(format!("forgotten: client {} waits for ever", client.number));
        }
        let (clients, upstreams) = self.worker.connections();
        if (clients, upstreams) != (0, 0) || self.worker.has_work() {
            return Err(format!(
                "left over: {clients} clients and {upstreams} upstreams, and nobody is there"
            ));
        }
        for connection in &mut self.connections {
            let told = connection.conclude(&mut self.ledger);
            told.map_err(|e| format!("backend {}: {e}", connection.backend))?;
        }
        oracle::judge(self)?;
        Ok(self.tally())
    }

    fn tally(&self) -> Tally {
        let outcomes = || self.clients.iter().flat_map(|client| &client.outcomes);
        let mut rng = self.rng.clone();
        let reset = self.clients.iter().filter(|client| client.end == End::Reset).count();
        Tally {
            turns: self.turn,
            octets: self.progress(),
            answers: outcomes().filter(|o| oracle::is_complete(o)).count(),
            own_answers: outcomes().filter(|o| oracle::is_own(o)).count(),
            fingerprint: rng.next() ^ (reset as u64) << 32 ^ self.progress(),
        }
    }
}

fn backends(script: &Script) -> Vec<(Backend, u32)> {
    #[cfg(feature = "tls")]
    let trust = script.backends.iter().any(|plan| plan.security != Security::Plain).then(|| {
        let ca_pem = authority_pem();
        let set = roundel::net::tls::TrustSet {
            verify: roundel::config::Verify::Full,
            ca_pem: Some(ca_pem.as_bytes()),
            identity: None,
        };
        roundel::net::tls::Trust::new(set, script.backends.len())
            .expect("the authority's certificate")
    });
    let make = |(id, plan): (usize, &BackendPlan)| {
        let (scheme, host_field) = match plan.security {
            Security::Plain => (Scheme::Http, HostField::Client),
            Security::Tls | Security::TlsWrongName => (Scheme::Https, HostField::Backend),
        };
        let host = match plan.address {
            AddressPlan::Literal => Host::Address(address_of(id, 1).ip()),
            _ => Host::Name(name_of(id)),
        };
        let port = scheme.default_port();
        let prefix = plan.prefix.to_owned();
        let config = BackendConfig {
            prefix,
            weight: plan.weight,
            host_field,
            ..BackendConfig::new(scheme, host, port)
        };
        let security = match scheme {
            Scheme::Http => transport::Security::Plain,
            #[cfg(feature = "tls")]
            Scheme::Https => {
                let trust = trust.clone().expect("there are TLS backends");
                let client = roundel::net::tls::TlsClient::new(trust, &config.host);
                transport::Security::Tls(client.expect("a name that a certificate can have"))
            }
            #[cfg(not(feature = "tls"))]
            Scheme::Https => unreachable!("not without TLS"),
        };
        (Backend::new(&config, security), plan.weight)
    };
    script.backends.iter().enumerate().map(make).collect()
}
