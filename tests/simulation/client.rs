//! A simulated client: it says what its plan has, and checks every octet that it gets.

use std::time::Duration;

use super::{
    http::{Body, Head, Item, Matter, Reader, content},
    messages::{
        bad_request_body, bad_request_head, check_answer, own_answer, request_body, request_head,
        same, trailers_that_go_on,
    },
    oracle::A_WRITE_MAY_HIDE_A_RESET,
    peer::{Channel, Pen, Step, Until, with_pauses},
    rng::Rng,
    script::{
        AnswerFault, ClientFault, ClientPlan, Leaving, RequestPlan, TunnelEnding, TunnelPlan,
    },
    wire::{End, Shared, Wire},
};

/// How long a client waits for a 100 before it sends the body all the same.
const CONTINUE_MS: u64 = 1_000;

/// What became of a request, as its client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Unanswered,
    /// The final answer with this number has begun and is not complete.
    Partial {
        answer: usize,
    },
    /// It is complete.
    Complete {
        answer: usize,
        last: bool,
    },
    /// An answer of roundel's own has begun and is not complete.
    OwnPartial,
    /// It is complete.
    Own {
        status: u16,
        word: String,
        last: bool,
    },
}

/// What is being received.
enum Current {
    Nothing,
    /// A backend's answer: its number, how many octets of content came, whether it is the last.
    Answer {
        answer: usize,
        at: usize,
        last: bool,
        body: Body,
    },
    Own {
        status: u16,
        word: String,
        last: bool,
    },
    Tunnel {
        at: usize,
    },
}

pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) plan: ClientPlan,
    channel: Option<Channel>,
    pen: Pen,
    reader: Reader,
    current: Current,
    /// Final answers that are complete; a 101 counts.
    pub(crate) finals: usize,
    /// Interim answers to the present request.
    interims: usize,
    received: usize,
    pub(crate) outcomes: Vec<Outcome>,
    /// How the connection ended for it.
    pub(crate) end: End,
    /// Where in what it sends each request ends.
    pub(crate) ends_at: Vec<u64>,
    pub(crate) is_over: bool,
    /// What came down the tunnel, and how it ended.
    pub(crate) tunnel: Option<(usize, End)>,
}

impl Client {
    pub(crate) fn new(number: usize, plan: &ClientPlan) -> Self {
        let mut ends_at = Vec::new();
        let mut total = 0;
        for request in &plan.requests {
            total += (request_head(request).len() + request_body(request).len()) as u64;
            ends_at.push(total);
        }
        Self {
            number,
            plan: plan.clone(),
            channel: None,
            pen: Pen::default(),
            reader: Reader::default(),
            current: Current::Nothing,
            finals: 0,
            interims: 0,
            received: 0,
            outcomes: vec![Outcome::Unanswered; plan.requests.len()],
            end: End::Open,
            ends_at,
            is_over: false,
            tunnel: None,
        }
    }

    pub(crate) fn arrives_at(&self) -> Option<Duration> {
        let waits = self.channel.is_none() && !self.is_over;
        waits.then(|| Duration::from_millis(self.plan.arrives_ms))
    }

    pub(crate) fn arrive(&mut self, wire: &Shared<Wire>) {
        self.channel = Some(Channel::plain(wire));
        self.pen.steps = steps(&self.plan).into();
    }

    /// It comes too late: nobody lets it in.
    pub(crate) fn turn_away(&mut self) {
        self.is_over = true;
    }

    pub(crate) fn wire(&self) -> Option<&Shared<Wire>> {
        self.channel.as_ref().map(|channel| &channel.wire)
    }

    pub(crate) fn wake(&self) -> Option<Duration> {
        self.pen.wake
    }

    /// Does something; says whether there was anything to do.
    pub(crate) fn act(
        &mut self,
        now: Duration,
        grain: usize,
        rng: &mut Rng,
    ) -> Result<bool, String> {
        let Some(channel) = &mut self.channel else { return Ok(false) };
        if self.is_over {
            return Ok(false);
        }
        let mut acted = false;
        // Reading is bounded where the plan stops at an octet.
        let grain = match self.plan.requests.last().and_then(|last| last.fault) {
            Some(ClientFault::StopsReading(at)) => {
                if self.received >= at {
                    channel.stop_reading();
                }
                grain.min(at - self.received.min(at))
            }
            _ => grain,
        };
        if let Some(octets) = channel.read(grain)? {
            acted = true;
            self.received += octets.len();
            self.reader.push(&octets);
            while let Some(item) = self.reader.next()? {
                self.take(item)?;
            }
        }
        acted |= self.see_end()?;
        Ok(acted | self.do_next(now, grain.max(1), rng))
    }

    fn do_next(&mut self, now: Duration, grain: usize, rng: &mut Rng) -> bool {
        let Some(channel) = &mut self.channel else { return false };
        let (finals, interims, received) = (self.finals, self.interims, self.received);
        let (count, end) = (self.plan.requests.len(), self.end);
        let met = |until| match until {
            Until::End => end != End::Open,
            Until::Finals(number) => finals >= number,
            Until::Told(place) => finals > place || finals == place && interims > 0,
            Until::Received(octets) => received >= octets || finals == count,
            Until::Body(_) | Until::Whole => false,
        };
        let acted = self.pen.act(channel, met, now, grain, rng);
        if channel.is_closed() {
            self.is_over = true;
        }
        acted
    }

    /// roundel has ended its direction, or broken off.
    fn see_end(&mut self) -> Result<bool, String> {
        let Some(channel) = &mut self.channel else { return Ok(false) };
        let seen = channel.sees_end();
        if seen == self.end || self.end == End::Reset {
            return Ok(false);
        }
        self.end = seen;
        let has_read_all = channel.is_reading();
        match self.current {
            Current::Answer { answer, at, last, body: Body::Everything }
                if seen == End::Fin && has_read_all && !self.may_be_a_part(answer, at) =>
            {
                self.check_size(answer, at)?;
                self.outcomes[self.finals] = Outcome::Complete { answer, last };
                self.finals += 1;
                self.current = Current::Nothing;
            }
            Current::Answer { .. } | Current::Own { .. } | Current::Nothing => {}
            Current::Tunnel { at } => self.tunnel = Some((at, seen)),
        }
        // A tunnel goes on in the other direction.
        let goes_on = self.tunnel.is_some() && seen == End::Fin;
        if !goes_on {
            self.pen.clear();
            self.pen.steps.push_back(Step::Close);
        }
        Ok(true)
    }

    /// Whether what ends here is a part, and roundel is known to take it for the whole.
    fn may_be_a_part(&self, answer: usize, at: usize) -> bool {
        let plan = &self.plan.requests[self.finals];
        let planned = &plan.answers[answer.min(plan.answers.len() - 1)];
        let breaks = matches!(planned.fault, Some(AnswerFault::ResetsInBody(_)));
        A_WRITE_MAY_HIDE_A_RESET && breaks && planned.is_early() && at < planned.body.size()
    }

    /// The answer ends here: that must not be before its end.
    fn check_size(&self, answer: usize, at: usize) -> Result<(), String> {
        let plan = &self.plan.requests[self.finals];
        let planned = &plan.answers[answer.min(plan.answers.len() - 1)];
        let bodiless = plan.method == "HEAD" || planned.has_no_body_by_status();
        let size = if bodiless { 0 } else { planned.body.size() };
        if at == size {
            return Ok(());
        }
        Err(format!(
            "content of {at} octets of exchange {} ends as if it were all of {size}",
            plan.id
        ))
    }

    fn take(&mut self, item: Item) -> Result<(), String> {
        match item {
            Item::Head(head) => self.take_head(&head),
            Item::Data(data) => self.take_data(&data),
            Item::End(trailers) => self.take_end(&trailers),
        }
    }

    fn take_head(&mut self, head: &Head) -> Result<(), String> {
        let place = self.finals;
        let Some(plan) = self.plan.requests.get(place) else {
            return Err(format!("an answer that nobody asked for: {head:?}"));
        };
        let status = head.start.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('1') && status != "101" {
            if plan.http10 {
                return Err(format!("HTTP/1.0 has no interim answers: {head:?}"));
            }
            same("an interim answer's id", head.only("X-Id").unwrap_or("-"), &plan.id.to_string())?;
            self.interims += 1;
            self.reader.expect(Body::Nothing);
            return Ok(());
        }
        let last = match head.only("Connection").unwrap_or_default() {
            "close" => true,
            "keep-alive" => false,
            "" => plan.http10,
            "upgrade" if status == "101" => false,
            other => return Err(format!("Connection: {other}")),
        };
        if let Some(own) = own_answer(head, plan.method)? {
            self.reader.expect(own.body);
            self.outcomes[place] = Outcome::OwnPartial;
            self.current = Current::Own { status: own.status, word: own.word, last };
            return Ok(());
        }
        let number = head.only("X-Answer").and_then(|text| text.parse::<usize>().ok());
        let Some(number) = number else {
            return Err(format!("whose answer is that? {head:?}"));
        };
        let answer = &plan.answers[number.min(plan.answers.len() - 1)];
        let body = check_answer(head, plan, answer)?;
        self.reader.expect(body);
        if answer.status == 101 {
            self.outcomes[place] = Outcome::Complete { answer: number, last: false };
            self.finals += 1;
            self.current = Current::Tunnel { at: 0 };
            self.tunnel = Some((0, End::Open));
        } else {
            self.outcomes[place] = Outcome::Partial { answer: number };
            let last = last || body == Body::Everything;
            self.current = Current::Answer { answer: number, at: 0, last, body };
        }
        Ok(())
    }

    fn take_data(&mut self, data: &[u8]) -> Result<(), String> {
        let request = |place: usize| &self.plan.requests[place];
        let (id, matter, at, size) = match &mut self.current {
            Current::Nothing => return Err("content of nothing".into()),
            // The text is for people.
            Current::Own { .. } => return Ok(()),
            Current::Answer { answer, at, .. } => {
                let plan = request(self.finals);
                let size = plan.answers[(*answer).min(plan.answers.len() - 1)].body.size();
                (plan.id, Matter::ResponseBody(*answer), at, size)
            }
            Current::Tunnel { at } => {
                let plan = request(self.finals - 1);
                (plan.id, Matter::TunnelDown, at, plan.tunnel.map_or(0, |tunnel| tunnel.down))
            }
        };
        compare(id, matter, *at, size, data)?;
        *at += data.len();
        if let (Matter::TunnelDown, at) = (matter, *at) {
            self.tunnel = Some((at, End::Open));
        }
        Ok(())
    }

    fn take_end(&mut self, trailers: &[(String, String)]) -> Result<(), String> {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            // The end of an interim answer.
            Current::Nothing => return Ok(()),
            Current::Tunnel { .. } => return Err("a tunnel has no messages".into()),
            Current::Own { status, word, last } => {
                self.outcomes[self.finals] = Outcome::Own { status, word, last };
                self.finish(last);
            }
            Current::Answer { answer, at, last, .. } => {
                self.check_size(answer, at)?;
                let plan = &self.plan.requests[self.finals];
                let planned = &plan.answers[answer.min(plan.answers.len() - 1)];
                let bodiless = plan.method == "HEAD" || planned.has_no_body_by_status();
                let goes_on = trailers_that_go_on(plan.id, planned.body);
                if !bodiless && trailers != goes_on {
                    return Err(format!("trailers {trailers:?}, not {goes_on:?}"));
                }
                self.outcomes[self.finals] = Outcome::Complete { answer, last };
                self.finish(last);
            }
        }
        Ok(())
    }

    fn finish(&mut self, last: bool) {
        self.finals += 1;
        self.interims = 0;
        let declined = self.plan.requests[self.finals - 1].tunnel.is_some();
        if last {
            // Nothing that is said now would be heard.
            self.pen.clear();
            self.pen.steps.extend([Step::Await(Until::End), Step::Close]);
        } else if declined {
            // What was to go through the tunnel is no request.
            self.pen.clear();
            self.pen.steps.push_back(Step::Close);
        }
    }
}

/// Compares content with what it has to be.
pub(crate) fn compare(
    id: usize,
    matter: Matter,
    at: usize,
    size: usize,
    data: &[u8],
) -> Result<(), String> {
    if at + data.len() > size {
        return Err(format!("{matter:?} of exchange {id} is longer than {size} octets"));
    }
    let wanted = content(id, matter, at, data.len());
    match wanted.iter().zip(data).position(|(wanted, found)| wanted != found) {
        None => Ok(()),
        Some(place) => Err(format!(
            "{matter:?} of exchange {id} is wrong from octet {} on: \"{}\"",
            at + place,
            data[place..data.len().min(place + 40)].escape_ascii()
        )),
    }
}

/// What a client does from its arrival to its end.
fn steps(plan: &ClientPlan) -> Vec<Step> {
    let mut steps = Vec::new();
    let count = plan.requests.len();
    for (place, request) in plan.requests.iter().enumerate() {
        if place > 0 && !plan.pipelined {
            steps.push(Step::Await(Until::Finals(place)));
            if plan.pause_ms > 0 {
                steps.push(Step::AwaitAtMost(Until::End, plan.pause_ms));
            }
        }
        if let Some(fault) = request.fault {
            steps.extend(faulty(request, place, fault));
            return steps;
        }
        steps.push(Step::Send(request_head(request)));
        if let Some(tunnel) = request.tunnel {
            steps.extend(tunnel_steps(request, place, tunnel));
            return steps;
        }
        if request.expects {
            steps.push(Step::AwaitAtMost(Until::Told(place), CONTINUE_MS));
        }
        steps.extend(with_pauses(&request_body(request), request.pauses));
    }
    match plan.leaves {
        Leaving::Closes => steps.extend([Step::Await(Until::Finals(count)), Step::Close]),
        Leaving::HalfCloses => steps.extend([Step::Fin, Step::Await(Until::End), Step::Close]),
        Leaving::Waits => steps.extend([Step::Await(Until::End), Step::Close]),
        Leaving::Resets => steps.extend([Step::Await(Until::Finals(count)), Step::Reset]),
    }
    steps
}

fn faulty(request: &RequestPlan, place: usize, fault: ClientFault) -> Vec<Step> {
    let head = request_head(request);
    let body = request_body(request);
    let in_head = |at: usize| Step::Send(head[..at.min(head.len() - 1)].to_vec());
    let in_body = |at: usize| Step::Send([&head, &body[..at.min(body.len())]].concat());
    let whole = || Step::Send([&head[..], &body].concat());
    let wait = [Step::Await(Until::End), Step::Close];
    let mut steps = Vec::new();
    match fault {
        ClientFault::BadHead(kind) => {
            steps.push(Step::Send(bad_request_head(request, kind)));
            steps.extend(wait);
        }
        ClientFault::StallsInHead(at) => {
            steps.push(in_head(at));
            steps.extend(wait);
        }
        ClientFault::ResetsInHead(at) => steps.extend([in_head(at), Step::Reset]),
        ClientFault::EndsInHead(at) => {
            steps.extend([in_head(at), Step::Fin]);
            steps.extend(wait);
        }
        ClientFault::StallsInBody(at) => {
            steps.push(in_body(at));
            steps.extend(wait);
        }
        ClientFault::ResetsInBody(at) => steps.extend([in_body(at), Step::Reset]),
        ClientFault::EndsInBody(at) => {
            steps.extend([in_body(at), Step::Fin]);
            steps.extend(wait);
        }
        ClientFault::BadChunk(kind) => {
            steps.push(Step::Send([head, bad_request_body(request, kind)].concat()));
            steps.extend(wait);
        }
        ClientFault::ResetsWaiting(ms) => {
            let all = Until::Finals(place + 1);
            steps.extend([whole(), Step::AwaitAtMost(all, ms), Step::Reset]);
        }
        ClientFault::StopsReading(_) => {
            steps.push(whole());
            steps.extend(wait);
        }
        ClientFault::ResetsReading(octets) => {
            steps.extend([whole(), Step::Await(Until::Received(octets)), Step::Reset]);
        }
        ClientFault::ClosesReading(octets) => {
            steps.extend([whole(), Step::Await(Until::Received(octets)), Step::Close]);
        }
    }
    steps
}

fn tunnel_steps(request: &RequestPlan, place: usize, tunnel: TunnelPlan) -> Vec<Step> {
    let up = content(request.id, Matter::TunnelUp, 0, tunnel.up);
    let early = tunnel.early.min(tunnel.up);
    let switched = Step::Await(Until::Finals(place + 1));
    let mut steps = vec![Step::Send(up[..early].to_vec()), switched];
    if request.answers.iter().any(|answer| answer.status != 101) {
        // It will be declined: there is no tunnel.
        steps.truncate(0);
        steps.extend([Step::Await(Until::Finals(place + 1)), Step::Close]);
        return steps;
    }
    let rest = Step::Send(up[early..].to_vec());
    let end = [Step::Await(Until::End), Step::Close];
    match tunnel.ending {
        TunnelEnding::Freely | TunnelEnding::ClientFirst => {
            steps.extend([rest, Step::Fin]);
            steps.extend(end);
        }
        TunnelEnding::BackendFirst => {
            steps.extend([Step::Await(Until::End), rest, Step::Fin, Step::Close]);
        }
        TunnelEnding::ClientResets(at) => {
            let at = at.clamp(early, up.len());
            steps.extend([Step::Send(up[early..at].to_vec()), Step::Reset]);
        }
        TunnelEnding::BackendResets(_) | TunnelEnding::Idle => {
            steps.push(rest);
            steps.extend(end);
        }
    }
    steps
}
