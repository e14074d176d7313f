//! A simulated backend's end of a connection: it answers as the request's plan says, and checks every
//! octet of every request.

use std::time::Duration;

use super::{
    client::compare,
    http::{Body, Head, Item, Matter, Reader, content},
    messages::{answer, check_request, effective_fault, id_of, trailers_that_go_on},
    peer::{Channel, Pen, Step, Until},
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
    /// How much roundel had written of it when it was over, where the backend did not read.
    pub(crate) stalled: Option<u64>,
}

/// One time that a request's head reached a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try {
    pub(crate) backend: usize,
    pub(crate) connection: usize,
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
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(script: &'a Script) -> Self {
        let ids = script.requests().map(|request| request.id + 1).max().unwrap_or(0);
        Self { script, records: vec![Record::default(); ids] }
    }

    /// The client that said it, and the request.
    fn plan(&self, id: usize) -> Option<(usize, &'a RequestPlan)> {
        self.script.clients.iter().enumerate().find_map(|(client, plan)| {
            plan.requests.iter().find(|request| request.id == id).map(|request| (client, request))
        })
    }

    /// How many requests have reached a backend.
    pub(crate) fn arrived(&self) -> usize {
        self.records.iter().filter(|record| !record.tries.is_empty()).count()
    }
}

/// What a connection is busy with.
enum Work<'a> {
    /// Nothing: the next request may come.
    Rests,
    /// A request of which so many octets of content have come, and its answer.
    Serves {
        plan: &'a RequestPlan,
        at: usize,
        whole: bool,
        answer: &'a AnswerPlan,
    },
    Tunnel {
        plan: &'a RequestPlan,
        at: usize,
    },
    /// No request may follow.
    Done {
        why: &'static str,
    },
}

pub(crate) struct Connection<'a> {
    pub(crate) backend: usize,
    number: usize,
    plan: &'a BackendPlan,
    pub(crate) channel: Channel,
    pen: Pen,
    reader: Reader,
    work: Work<'a>,
    served: usize,
    end: End,
    /// When it has rested for long enough.
    rests_until: Option<Duration>,
    /// What a backend that is closed does not see any more is still checked.
    posthumous: bool,
    /// Where in what roundel wrote the present request began.
    began_at: usize,
    pub(crate) is_over: bool,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(channel: Channel, plan: &'a BackendPlan) -> Self {
        let peer = channel.wire.borrow().peer;
        let (backend, number) = match peer {
            Peer::Backend { backend, connection } => (backend, connection),
            Peer::Client(_) => unreachable!("clients have no backends"),
        };
        Self {
            backend,
            number,
            plan,
            channel,
            pen: Pen::default(),
            reader: Reader::default(),
            work: Work::Rests,
            served: 0,
            end: End::Open,
            rests_until: None,
            posthumous: false,
            began_at: 0,
            is_over: false,
        }
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
        let mut acted = false;
        if let Some(octets) = self.channel.read(grain)? {
            acted = true;
            self.hear(&octets, ledger)?;
        }
        acted |= self.see_end(ledger);
        acted |= self.do_next(now, grain, rng);
        acted |= self.rest(now);
        if self.channel.is_closed() {
            self.is_over = true;
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
        match &self.work {
            Work::Rests => {}
            Work::Done { why } => return Err(format!("a request after {why}: {:?}", head.start)),
            Work::Serves { plan, .. } | Work::Tunnel { plan, .. } => {
                let id = plan.id;
                return Err(format!("a request while {id} is not answered: {:?}", head.start));
            }
        }
        let target = head.start.split(' ').nth(1).unwrap_or_default();
        let id = id_of(target).ok_or_else(|| format!("no request of ours: {:?}", head.start))?;
        let (client, plan) =
            ledger.plan(id).ok_or_else(|| format!("nobody sent {:?}", head.start))?;
        let body = check_request(head, plan, self.plan, self.backend, client)?;
        self.reader.expect(body);
        let record = &mut ledger.records[id];
        let number = record.tries.iter().filter(|earlier| !earlier.lost).count();
        record.tries.push(Try {
            backend: self.backend,
            connection: self.number,
            reused: self.served > 0,
            lost: self.posthumous,
        });
        if record.tries.len() > 1 && !plan.is_idempotent() {
            return Err(format!("{} {id} is sent again: {:?}", plan.method, record.tries));
        }
        self.served += 1;
        let planned = &plan.answers[number.min(plan.answers.len() - 1)];
        self.began_at = self.channel.wire.borrow().sent.len();
        self.work = Work::Serves { plan, at: 0, whole: false, answer: planned };
        if !self.posthumous {
            say(|| format!("backend {} gets {} {id}, try {number}", self.backend, plan.method));
            self.pen.steps.extend(steps(plan, number, planned, self.plan));
        }
        Ok(())
    }

    fn take_data(&mut self, data: &[u8], ledger: &mut Ledger<'a>) -> Result<(), String> {
        match &mut self.work {
            Work::Rests | Work::Done { .. } => Err("content of nothing".into()),
            Work::Serves { plan, at, .. } => {
                compare(plan.id, Matter::RequestBody, *at, plan.body.size(), data)?;
                *at += data.len();
                Ok(())
            }
            Work::Tunnel { .. } if self.pen.is_before_switch() => {
                Err("octets of a tunnel before it is open".into())
            }
            Work::Tunnel { plan, at } => {
                let size = plan.tunnel.map_or(0, |tunnel| tunnel.up);
                compare(plan.id, Matter::TunnelUp, *at, size, data)?;
                *at += data.len();
                ledger.records[plan.id].tunnel = Some((*at, self.end));
                Ok(())
            }
        }
    }

    fn take_end(&mut self, trailers: &[(String, String)]) -> Result<(), String> {
        let Work::Serves { plan, at, whole, answer } = &mut self.work else {
            return Err("the end of nothing".into());
        };
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
            self.reader.expect(Body::Everything);
            self.work = Work::Tunnel { plan, at: 0 };
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
        if let Work::Tunnel { plan, at } = &self.work {
            ledger.records[plan.id].tunnel = Some((*at, seen));
            if seen == End::Fin {
                return true;
            }
        }
        self.pen.clear();
        self.pen.steps.push_back(Step::Close);
        true
    }

    fn do_next(&mut self, now: Duration, grain: usize, rng: &mut Rng) -> bool {
        if self.pen.steps.is_empty() {
            return false;
        }
        let (at, whole) = match &self.work {
            Work::Serves { at, whole, .. } => (*at, *whole),
            Work::Rests | Work::Tunnel { .. } | Work::Done { .. } => (0, true),
        };
        let end = self.end;
        let met = |until| match until {
            Until::End => end != End::Open,
            Until::Body(octets) => whole || at >= octets,
            Until::Whole => whole,
            Until::Finals(_) | Until::Told(_) | Until::Received(_) | Until::Nothing => false,
        };
        let acted = self.pen.act(&mut self.channel, met, now, grain, rng);
        if self.pen.steps.is_empty() && self.end == End::Open {
            self.finish(now);
        }
        acted
    }

    /// The plan of a request is carried out.
    fn finish(&mut self, now: Duration) {
        let Work::Serves { plan, answer, .. } = &self.work else { return };
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
                Some(now + Duration::from_secs(u64::from(seconds)))
            }
        };
    }

    fn rest(&mut self, now: Duration) -> bool {
        match (&self.work, self.rests_until) {
            (Work::Rests, Some(over)) if now >= over && self.reader.is_between_messages() => {
                self.rests_until = None;
                self.channel.close();
                true
            }
            _ => false,
        }
    }

    /// Everything is over: looks at what roundel wrote and nobody read, and at how it ended.
    pub(crate) fn conclude(&mut self, ledger: &mut Ledger<'a>) -> Result<(), String> {
        if let Work::Serves { plan, answer, .. } = &self.work
            && answer.fault == Some(AnswerFault::NeverReads)
        {
            let written = self.channel.wire.borrow().sent.len() - self.began_at;
            ledger.records[plan.id].stalled = Some(written as u64);
        }
        let excused_by_peer = self.channel.wire.borrow().peer_closed && self.end == End::Open;
        self.posthumous = true;
        if !self.channel.is_tls() {
            let rest = self.channel.wire.borrow().rest().to_vec();
            self.hear(&rest, ledger)?;
        }
        let Work::Serves { plan, whole: false, answer, .. } = &self.work else {
            return Ok(());
        };
        let excused = excused_by_peer
            || plan.fault.is_some()
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
    if planned.is_early() && planned.stops_reading {
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
            steps.push(Step::Send([octets.head, octets.body].concat()));
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
