//! A simulated backend's end of a connection: it answers as the request's plan says, and checks every
//! octet of every request.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use super::{
    client::compare,
    http::{Body, Head, Item, Matter, Reader, content},
    messages::{answer, check_request, effective_fault, id_of, trailers_that_go_on},
    peer::{Channel, Pen, Step, Until, with_pauses},
    rng::Rng,
    script::{
        AnswerFault, AnswerPlan, BackendPlan, IdlePlan, RequestPlan, Script, Then, TunnelEnding,
        TunnelPlan, When,
    },
    trace::say,
    wire::{End, Peer},
};

/// What is known of a request at the backends' side.
#[derive(Clone, Default, Debug)]
pub(crate) struct Record {
    /// Each time that its head reached a backend.
    pub(crate) tries: Vec<Try>,
    /// Octets that came up its tunnel, and how that ended.
    pub(crate) tunnel: Option<(usize, End)>,
    /// How much roundel read of the last answer.
    pub(crate) taken: Option<u64>,
    /// How much roundel had written of it when it was over, where the backend did not read.
    pub(crate) stalled: Option<u64>,
}

/// One time that a request's head reached a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try {
    pub(crate) backend: usize,
    /// Whether the connection had served before.
    pub(crate) reused: bool,
    /// The backend had closed: nobody answers.
    pub(crate) lost: bool,
}

/// Everything that the connections of all backends share.
pub(crate) struct Ledger<'a> {
    pub(crate) script: &'a Script,
    /// By id.
    pub(crate) records: Vec<Record>,
    /// The ids that roundel gave, and to whom.
    names: HashMap<String, usize>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(script: &'a Script) -> Self {
        let ids = script.requests().map(|request| request.id + 1).max().unwrap_or(0);
        Self { script, records: vec![Record::default(); ids], names: HashMap::new() }
    }

    /// The client that said it, and the request.
    fn plan(&self, id: usize) -> Option<(usize, &'a RequestPlan)> {
        self.script.clients.iter().enumerate().find_map(|(client, plan)| {
            plan.requests.iter().find(|request| request.id == id).map(|request| (client, request))
        })
    }

    /// Whether the client of this request does something wrong, which may be in a later request that is
    /// already on its way.
    fn client_goes_wrong(&self, id: usize) -> bool {
        let (client, plan) = self.plan(id).expect("it was sent");
        let client = &self.script.clients[client];
        let later = client.requests.last().is_some_and(|last| last.fault.is_some());
        plan.fault.is_some() || client.pipelined && later
    }

    /// Each request has one id for clients, backends and logs, and no other request has it.
    fn note_request_id(&mut self, id: usize, head: &Head) -> Result<(), String> {
        let name = head.only("X-Request-Id").ok_or("a request without an id")?.to_owned();
        match self.names.insert(name.clone(), id) {
            Some(other) if other != id => Err(format!("{other} and {id} share the id {name}")),
            _ => Ok(()),
        }
    }

    /// How many requests have reached a backend.
    pub(crate) fn arrived(&self) -> usize {
        self.records.iter().filter(|record| !record.tries.is_empty()).count()
    }
}

/// What a connection is busy with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    /// Nothing: the next request may come.
    Rests,
    /// It answers a request.
    Serves,
    Tunnel,
    /// No request may follow.
    Done {
        why: &'static str,
    },
}

/// The request that came last.
#[derive(Clone, Copy)]
struct Incoming<'a> {
    plan: &'a RequestPlan,
    answer: &'a AnswerPlan,
    /// So many octets of its content have come, or of its tunnel once that is open.
    at: usize,
    whole: bool,
    /// What roundel had read from this connection before.
    taken_before: u64,
}

pub(crate) struct Connection<'a> {
    pub(crate) backend: usize,
    pub(crate) address: SocketAddr,
    plan: &'a BackendPlan,
    pub(crate) channel: Channel,
    pen: Pen,
    reader: Reader,
    work: Work,
    incoming: Option<Incoming<'a>>,
    served: usize,
    end: End,
    /// When it has rested for long enough.
    rests_until: Option<Duration>,
    /// What a backend that is closed does not see any more is still checked.
    posthumous: bool,
    /// It was the backend that ended the connection.
    left_first: bool,
    now: Duration,
    pub(crate) is_over: bool,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(channel: Channel, plan: &'a BackendPlan, address: SocketAddr) -> Self {
        let peer = channel.wire.borrow().peer;
        let backend = match peer {
            Peer::Backend { backend, .. } => backend,
            Peer::Client(_) => unreachable!("clients have no backends"),
        };
        // Some end before anything was said.
        let left_first = channel.is_closed();
        Self {
            backend,
            address,
            plan,
            channel,
            pen: Pen::default(),
            reader: Reader::default(),
            work: Work::Rests,
            incoming: None,
            served: 0,
            end: End::Open,
            rests_until: None,
            posthumous: false,
            left_first,
            now: Duration::ZERO,
            is_over: false,
        }
    }

    /// Whether roundel keeps it without a request on it, after it has served.
    pub(crate) fn rests(&self) -> bool {
        let is_open = !self.is_over && self.end == End::Open && !self.channel.wire.borrow().gone;
        is_open && self.work == Work::Rests && self.served > 0
    }

    /// When it acts by itself.
    pub(crate) fn wake(&self) -> Option<Duration> {
        self.pen.wake.or(self.rests_until)
    }

    /// Does something; says whether there was anything to do.
    pub(crate) fn act(
        &mut self,
        ledger: &mut Ledger<'a>,
        now: Duration,
        grain: usize,
        rng: &mut Rng,
    ) -> Result<bool, String> {
        if self.is_over {
            return Ok(false);
        }
        self.now = now;
        let mut acted = false;
        // Who is about to close does not look any more.
        let closes = matches!(self.pen.steps.front(), Some(Step::Close | Step::Reset));
        if !closes && let Some(octets) = self.channel.read(grain)? {
            acted = true;
            self.hear(&octets, ledger)?;
        }
        acted |= self.see_end(ledger);
        acted |= self.do_next(grain, rng);
        acted |= self.rest();
        if self.channel.is_closed() {
            self.is_over = true;
            self.left_first |= self.end == End::Open;
        }
        Ok(acted)
    }

    fn hear(&mut self, octets: &[u8], ledger: &mut Ledger<'a>) -> Result<(), String> {
        self.reader.push(octets);
        while let Some(item) = self.reader.next()? {
            match item {
                Item::Head(head) => self.take_head(&head, ledger)?,
                Item::Data(data) => self.take_data(&data, ledger)?,
                Item::End(trailers) => self.take_end(&trailers)?,
            }
        }
        Ok(())
    }

    fn take_head(&mut self, head: &Head, ledger: &mut Ledger<'a>) -> Result<(), String> {
        self.rests_until = None;
        match self.work {
            Work::Rests => {}
            Work::Done { why } => return Err(format!("a request after {why}: {:?}", head.start)),
            Work::Serves | Work::Tunnel => {
                return Err(format!("a request while one is not answered: {:?}", head.start));
            }
        }
        let target = head.start.split(' ').nth(1).unwrap_or_default();
        let id = id_of(target).ok_or_else(|| format!("no request of ours: {:?}", head.start))?;
        let (client, plan) =
            ledger.plan(id).ok_or_else(|| format!("nobody sent {:?}", head.start))?;
        let body = check_request(head, plan, self.plan, self.backend, client)?;
        ledger.note_request_id(id, head)?;
        self.reader.expect(body);
        let record = &mut ledger.records[id];
        let number = record.tries.iter().filter(|earlier| !earlier.lost).count();
        record.tries.push(Try {
            backend: self.backend,
            reused: self.served > 0,
            lost: self.posthumous,
        });
        if record.tries.len() > 1 && !plan.is_idempotent() {
            return Err(format!("{} {id} is sent again: {:?}", plan.method, record.tries));
        }
        self.served += 1;
        let answer = &plan.answers[number.min(plan.answers.len() - 1)];
        let taken_before = self.channel.wire.borrow().taken;
        self.incoming = Some(Incoming { plan, answer, at: 0, whole: false, taken_before });
        self.work = Work::Serves;
        if !self.posthumous {
            say(|| format!("backend {} gets {} {id}, try {number}", self.backend, plan.method));
            self.pen.steps.extend(steps(plan, number, answer, self.plan));
        }
        Ok(())
    }

    fn take_data(&mut self, data: &[u8], ledger: &mut Ledger<'a>) -> Result<(), String> {
        let incoming = self.incoming.as_mut().ok_or("content of nothing")?;
        let Incoming { plan, at, .. } = incoming;
        if self.work != Work::Tunnel {
            compare(plan.id, Matter::RequestBody, *at, plan.body.size(), data)?;
            *at += data.len();
            return Ok(());
        }
        if self.pen.is_before_switch() {
            return Err("octets of a tunnel before it is open".into());
        }
        let size = plan.tunnel.map_or(0, |tunnel| tunnel.up);
        compare(plan.id, Matter::TunnelUp, *at, size, data)?;
        *at += data.len();
        ledger.records[plan.id].tunnel = Some((*at, self.end));
        Ok(())
    }

    fn take_end(&mut self, trailers: &[(String, String)]) -> Result<(), String> {
        let incoming = self.incoming.as_mut().ok_or("the end of nothing")?;
        let Incoming { plan, answer, at, whole, .. } = incoming;
        let size = plan.body.size();
        if *at != size {
            return Err(format!("a request body of {at} octets ends as if it were {size}"));
        }
        let goes_on = trailers_that_go_on(plan.id, plan.body);
        if trailers != goes_on {
            return Err(format!("trailers {trailers:?}, not {goes_on:?}"));
        }
        *whole = true;
        if answer.status == 101 && plan.tunnel.is_some() {
            // Nothing may come before the 101 has been sent, and roundel cannot have seen it yet.
            *at = 0;
            self.reader.expect(Body::Everything);
            self.work = Work::Tunnel;
        }
        // Where only that was awaited, the next request may be right behind.
        if self.pen.is_only(Until::Whole) {
            self.pen.clear();
            self.finish();
        }
        Ok(())
    }

    /// roundel has ended its direction, or broken off.
    fn see_end(&mut self, ledger: &mut Ledger<'_>) -> bool {
        let seen = self.channel.sees_end();
        if seen == self.end || self.end == End::Reset {
            return false;
        }
        self.end = seen;
        if let (Work::Tunnel, Some(Incoming { plan, at, .. })) = (self.work, self.incoming) {
            ledger.records[plan.id].tunnel = Some((at, seen));
            if seen == End::Fin {
                return true;
            }
        }
        self.pen.clear();
        self.pen.steps.push_back(Step::Close);
        true
    }

    fn do_next(&mut self, grain: usize, rng: &mut Rng) -> bool {
        if self.pen.steps.is_empty() {
            return false;
        }
        let (at, whole) = self.incoming.map_or((0, true), |request| (request.at, request.whole));
        let end = self.end;
        let met = |until| match until {
            Until::End => end != End::Open,
            Until::Body(octets) => whole || at >= octets,
            Until::Whole => whole,
            Until::Finals(_) | Until::Told(_) | Until::Received(_) => false,
        };
        let acted = self.pen.act(&mut self.channel, met, self.now, grain, rng);
        if whole && self.pen.is_only(Until::Whole) {
            self.pen.clear();
        }
        if self.pen.steps.is_empty() && self.end == End::Open {
            self.finish();
        }
        acted
    }

    /// The plan of a request is carried out.
    fn finish(&mut self) {
        let (Work::Serves, Some(Incoming { plan, answer, .. })) = (self.work, self.incoming) else {
            return;
        };
        let fault = effective_fault(plan, answer);
        self.work = match (answer.then, fault) {
            (_, Some(AnswerFault::Surplus)) => Work::Done { why: "surplus octets" },
            (_, Some(_)) => Work::Done { why: "a faulty answer" },
            (Then::Closes, _) => Work::Done { why: "an answer that announced the end" },
            (Then::GoesOn | Then::ClosesSilently, None) => Work::Rests,
        };
        self.rests_until = match self.plan.idle {
            IdlePlan::Keeps => None,
            IdlePlan::EndsAsAnnounced(seconds) | IdlePlan::EndsAfter(seconds) => {
                Some(self.now + Duration::from_secs(u64::from(seconds)))
            }
        };
    }

    fn rest(&mut self) -> bool {
        match (self.work, self.rests_until) {
            (Work::Rests, Some(over)) if self.now >= over && self.reader.is_between_messages() => {
                self.rests_until = None;
                self.channel.close();
                true
            }
            _ => false,
        }
    }

    /// Everything is over: looks at what roundel wrote and nobody read, and at how it ended.
    pub(crate) fn conclude(&mut self, ledger: &mut Ledger<'a>) -> Result<(), String> {
        if let Some(Incoming { plan, answer, taken_before, .. }) = self.incoming {
            let wire = self.channel.wire.borrow();
            let record = &mut ledger.records[plan.id];
            record.taken = Some(wire.taken - taken_before);
            if answer.fault == Some(AnswerFault::NeverReads) {
                record.stalled = Some(wire.sent.len() as u64);
            }
        }
        self.posthumous = true;
        if !self.channel.is_tls() {
            let rest = self.channel.wire.borrow().rest().to_vec();
            self.hear(&rest, ledger)?;
        }
        let Some(Incoming { plan, answer, whole: false, .. }) = self.incoming else {
            return Ok(());
        };
        let excused = self.left_first
            || ledger.client_goes_wrong(plan.id)
            || answer.is_early()
            || answer.fault.is_some()
            || ledger.script.drain_after.is_some()
            || self.channel.is_tls();
        if excused {
            return Ok(());
        }
        Err(format!("only a part of request {} came, and nothing was wrong with it", plan.id))
    }
}

/// What a backend does about a request.
fn steps(
    plan: &RequestPlan,
    number: usize,
    planned: &AnswerPlan,
    backend: &BackendPlan,
) -> Vec<Step> {
    let octets = answer(plan, number, planned, backend);
    let fault = effective_fault(plan, planned);
    let mut steps = Vec::new();
    if fault == Some(AnswerFault::NeverReads) {
        return vec![Step::StopReading, Step::Await(Until::End), Step::Close];
    }
    if !octets.interims.is_empty() {
        steps.push(Step::Send(octets.interims));
    }
    match planned.after {
        When::Head => {}
        When::Octets(count) => steps.push(Step::Await(Until::Body(count))),
        When::Whole => steps.push(Step::Await(Until::Whole)),
    }
    // Who stops reading has to say that the connection ends: roundel may have sent everything.
    if planned.is_early() && planned.stops_reading && planned.then == Then::Closes {
        steps.push(Step::StopReading);
    }
    if planned.status == 101
        && let Some(tunnel) = plan.tunnel
    {
        steps.extend(tunnel_steps(plan, tunnel, octets.head));
        return steps;
    }
    let part = |octets: &[u8], at: usize| Step::Send(octets[..at.min(octets.len() - 1)].to_vec());
    let head = || Step::Send(octets.head.clone());
    let wait = [Step::Await(Until::End), Step::Close];
    match fault {
        Some(AnswerFault::ClosesBefore) => steps.push(Step::Close),
        Some(AnswerFault::ResetsBefore) => steps.push(Step::Reset),
        Some(AnswerFault::StallsBefore) => steps.extend(wait),
        Some(AnswerFault::ClosesInHead(at)) => steps.extend([part(&octets.head, at), Step::Close]),
        Some(AnswerFault::ResetsInHead(at)) => steps.extend([part(&octets.head, at), Step::Reset]),
        Some(AnswerFault::StallsInHead(at)) => {
            steps.push(part(&octets.head, at));
            steps.extend(wait);
        }
        Some(AnswerFault::ClosesInBody(at)) => {
            steps.extend([head(), part(&octets.body, at), Step::Close]);
        }
        Some(AnswerFault::ResetsInBody(at)) => {
            steps.extend([head(), part(&octets.body, at), Step::Reset]);
        }
        Some(AnswerFault::StallsInBody(at)) => {
            steps.extend([head(), part(&octets.body, at)]);
            steps.extend(wait);
        }
        Some(AnswerFault::Surplus) => {
            let whole = [octets.head, octets.body].concat();
            steps.push(Step::SendGlued(whole, octets.surplus));
            steps.extend(wait);
        }
        Some(
            AnswerFault::BadHead(_)
            | AnswerFault::BadFraming(_)
            | AnswerFault::HeadTooLong
            | AnswerFault::TooManyInterims
            | AnswerFault::UnaskedUpgrade
            | AnswerFault::BadChunk(_)
            | AnswerFault::NeverReads,
        ) => {
            steps.push(Step::Send([octets.head, octets.body].concat()));
            steps.extend(wait);
        }
        None => {
            let whole = [octets.head, octets.body].concat();
            steps.extend(with_pauses(&whole, planned.pauses));
            match planned.then {
                // What is left of the request is read before anything new can begin.
                Then::GoesOn => steps.push(Step::Await(Until::Whole)),
                Then::Closes | Then::ClosesSilently => steps.push(Step::Close),
            }
        }
    }
    steps
}

fn tunnel_steps(plan: &RequestPlan, tunnel: TunnelPlan, head: Vec<u8>) -> Vec<Step> {
    let down = content(plan.id, Matter::TunnelDown, 0, tunnel.down);
    let glued = tunnel.glued.min(tunnel.down);
    let mut steps = vec![Step::SendGlued(head, down[..glued].to_vec())];
    let rest = Step::Send(down[glued..].to_vec());
    let end = [Step::Await(Until::End), Step::Close];
    match tunnel.ending {
        TunnelEnding::Freely | TunnelEnding::BackendFirst => {
            steps.extend([rest, Step::Fin]);
            steps.extend(end);
        }
        TunnelEnding::ClientFirst => {
            steps.extend([Step::Await(Until::End), rest, Step::Fin, Step::Close]);
        }
        TunnelEnding::BackendResets(at) => {
            let at = at.clamp(glued, down.len());
            steps.extend([Step::Send(down[glued..at].to_vec()), Step::Reset]);
        }
        TunnelEnding::ClientResets(_) | TunnelEnding::Idle => {
            steps.push(rest);
            steps.extend(end);
        }
    }
    steps
}
