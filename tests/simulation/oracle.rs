//! What has to be true when a world has come to its end.
//!
//! Octets were compared as they came; here it is about outcomes. For each request there is a set of
//! outcomes that its plan, and what else can go wrong in its world, allow. Where nothing goes wrong,
//! that set has one element: the whole answer of the backend whose turn it was.

use roundel::config::limits::{Limits, READ_BYTES_MAX};

use super::{
    client::{Client, Outcome},
    messages::effective_fault,
    script::{
        AddressPlan, AnswerFault, AnswerPlan, BodyPlan, ClientFault, ConnectPlan, IdlePlan,
        RequestPlan, Script, Security, Then, TunnelEnding, TunnelPlan,
    },
    wire::End,
    world::World,
};

/// Who sends more than this behind the request whose answer ends the connection may lose that answer:
/// roundel reads only so much of what nobody wants.
const LINGER_IS_ENOUGH_BYTES: usize = 40_000;

/// A reset whose error a write was told first looks to the next read like an end in good order, and so
/// a part of an early answer without framing like the whole. Known; to be `false` when that is mended.
pub(crate) const A_WRITE_MAY_HIDE_A_RESET: bool = true;

/// A request that could not be written to its end on a pooled connection that had died is not sent
/// again, although nothing speaks against it. Known; to be `false` when that is mended.
const A_CLOGGED_REQUEST_MAY_NOT_BE_SENT_AGAIN: bool = true;

/// How long roundel keeps a client that says nothing.
const IDLE_TIMEOUT_MS: u64 = 60_000;

pub(crate) fn is_complete(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Complete { .. })
}

pub(crate) fn is_own(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Own { .. })
}

/// So many answers that are none can take a backend out.
const FAILURES_COUNT_MAX: usize = 3;

/// So many connects that nobody answers take up the time of all tries.
const SILENT_CONNECTS_COUNT: usize = 3;

/// What can go wrong in a world apart from plans of requests.
struct Hazards {
    /// Connections end while they rest, and nobody was told.
    idle_ends: bool,
    /// Fresh connections end before they serve.
    fresh_ends: bool,
    /// No backend is sure to be reached.
    unreachable: bool,
    /// How often a connection is not what it seems cannot be told from outside.
    tls: bool,
}

impl Hazards {
    fn of(script: &Script) -> Self {
        let backends = || script.backends.iter();
        let silently = script
            .requests()
            .flat_map(|request| &request.answers)
            .any(|answer| answer.then == Then::ClosesSilently);
        let sound = |plan: &super::script::BackendPlan| {
            plan.connect == ConnectPlan::Takes
                && plan.security != Security::TlsWrongName
                && plan.address != AddressPlan::Late
        };
        Self {
            idle_ends: silently || backends().any(|b| matches!(b.idle, IdlePlan::EndsAfter(_))),
            fresh_ends: backends()
                .any(|b| matches!(b.connect, ConnectPlan::EndsAtOnce | ConnectPlan::ResetsAtOnce)),
            unreachable: !backends().any(sound),
            tls: backends().any(|b| b.security != Security::Plain),
        }
    }
}

/// Holds the whole world to what has to be true.
pub(crate) fn judge(world: &World<'_>) -> Result<(), String> {
    let hazards = Hazards::of(world.script);
    for client in &world.clients {
        judge_client(world, client, &hazards)
            .map_err(|e| format!("client {}: {e}", client.number))?;
    }
    judge_tries(world)?;
    judge_rotation(world, &hazards)
}

fn judge_client(world: &World<'_>, client: &Client, hazards: &Hazards) -> Result<(), String> {
    let mut is_gone = client.wire().is_none();
    for (place, plan) in client.plan.requests.iter().enumerate() {
        let outcome = &client.outcomes[place];
        let verdict = Verdict { world, client, plan, place, hazards };
        let told = |e: String| format!("request {} ({place}) is {outcome:?}: {e}", plan.id);
        if is_gone {
            if *outcome != Outcome::Unanswered {
                return Err(told("after the connection had ended".to_owned()));
            }
            continue;
        }
        is_gone = verdict.judge(outcome).map_err(told)?;
    }
    judge_end(world, client)?;
    judge_memory(world, client)
}

/// Everything that bears on the outcome of one request.
struct Verdict<'w> {
    world: &'w World<'w>,
    client: &'w Client,
    plan: &'w RequestPlan,
    place: usize,
    hazards: &'w Hazards,
}

impl Verdict<'_> {
    /// Whether the outcome is allowed; says whether the client's connection ended with it.
    fn judge(&self, outcome: &Outcome) -> Result<bool, String> {
        match outcome {
            Outcome::Complete { answer, last } => self.complete(*answer, *last),
            Outcome::Own { status, word, last } => self.own(*status, word, *last),
            Outcome::Partial { answer } => self.partial(*answer).map(|()| true),
            Outcome::OwnPartial if self.client_left() || self.is_drained() || self.may_be_cut() => {
                Ok(true)
            }
            Outcome::OwnPartial => Err("our own answer broke off".into()),
            Outcome::Unanswered => self.unanswered().map(|()| true),
        }
    }

    fn answer(&self, number: usize) -> &AnswerPlan {
        &self.plan.answers[number.min(self.plan.answers.len() - 1)]
    }

    fn fault(&self, number: usize) -> Option<AnswerFault> {
        effective_fault(self.plan, self.answer(number))
    }

    fn is_drained(&self) -> bool {
        self.world.drained.owed.is_some()
    }

    /// Whether the client's own behaviour may keep it from an answer. Some of it comes in the way of
    /// earlier requests as well.
    fn client_left(&self) -> bool {
        let requests = &self.client.plan.requests;
        let Some(fault) = requests.last().and_then(|last| last.fault) else { return false };
        let is_last = self.place + 1 == requests.len();
        match fault {
            ClientFault::StopsReading(_) => true,
            ClientFault::ResetsInHead(_)
            | ClientFault::ResetsInBody(_)
            | ClientFault::ResetsWaiting(_)
            | ClientFault::ResetsReading(_)
            | ClientFault::ClosesReading(_) => is_last || self.client.plan.pipelined,
            ClientFault::EndsInHead(_) | ClientFault::EndsInBody(_) => is_last,
            ClientFault::BadHead(_)
            | ClientFault::StallsInHead(_)
            | ClientFault::StallsInBody(_)
            | ClientFault::BadChunk(_) => false,
        }
    }

    /// Whether its tunnel may end so suddenly that what came before is lost.
    fn tunnel_breaks(&self) -> bool {
        tunnel_breaks(self.plan)
    }

    fn complete(&self, number: usize, last: bool) -> Result<bool, String> {
        let answer = self.answer(number);
        match self.fault(number) {
            None | Some(AnswerFault::Surplus) => {}
            Some(fault) => return Err(format!("but the backend's fault was {fault:?}")),
        }
        if matches!(self.plan.fault, Some(ClientFault::BadHead(_))) {
            return Err("but it is no request".into());
        }
        if let Some(tunnel) = self.plan.tunnel
            && answer.status == 101
        {
            return self.tunnel(tunnel).map(|()| true);
        }
        let must_end = !self.plan.persists()
            || answer.is_until_close() && self.plan.method != "HEAD"
            || self.plan.http10 && self.has_chunks(answer);
        let may_end = must_end
            || answer.is_early() && (self.plan.body.size() > 0 || self.plan.expects)
            || answer.is_early() && self.plan.body != BodyPlan::Nothing
            || answer.is_until_close()
            || self.plan.http10 && matches!(answer.body, BodyPlan::Chunks { .. })
            || self.plan.fault.is_some()
            || self.is_drained();
        match (last, must_end, may_end) {
            (true, _, false) => Err("and ended the connection without a reason".into()),
            (false, true, _) => Err("and did not say that the connection ends".into()),
            (ends, _, _) => Ok(ends),
        }
    }

    fn has_chunks(&self, answer: &AnswerPlan) -> bool {
        matches!(answer.body, BodyPlan::Chunks { .. })
            && !answer.has_no_body_by_status()
            && self.plan.method != "HEAD"
    }

    fn own(&self, status: u16, word: &str, last: bool) -> Result<bool, String> {
        if !self.allowed_words().contains(&word) {
            return Err("nothing here is a reason for that".into());
        }
        if !(400..600).contains(&status) {
            return Err("that is no status of ours".into());
        }
        let may_end = !self.plan.persists()
            || self.plan.body != BodyPlan::Nothing
            || self.plan.fault.is_some()
            // A request that could not be written to its end counts as not having been one.
            || word.starts_with("upstream_")
            || self.is_drained();
        if last && !may_end {
            return Err("and ended the connection without a reason".into());
        }
        if !last && !self.plan.persists() {
            return Err("and did not say that the connection ends".into());
        }
        Ok(last)
    }

    /// The numbers of the answers that may count: the one after the last try that anybody saw may
    /// count too, because that try can have failed.
    fn reachable(&self) -> impl Iterator<Item = usize> {
        0..=self.world.ledger.records[self.plan.id].tries.len()
    }

    /// The words of our own that may be said about this request.
    fn allowed_words(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        for number in self.reachable() {
            words.extend_from_slice(words_for(self.fault(number)));
        }
        words.extend_from_slice(match self.plan.fault {
            Some(ClientFault::BadHead(_)) => {
                return vec![
                    "bad_request_line",
                    "bad_field",
                    "bad_host",
                    "bad_framing",
                    "bad_target",
                    "unsupported_version",
                    "unsupported_coding",
                    "head_too_long",
                    "too_many_fields",
                ];
            }
            Some(ClientFault::StallsInHead(_)) => return vec!["head_timeout"],
            // Who waits for a 100 waits for the backend.
            Some(ClientFault::StallsInBody(_)) if self.plan.expects => {
                &["body_timeout", "response_timeout"]
            }
            Some(ClientFault::StallsInBody(_)) => &["body_timeout"],
            Some(ClientFault::BadChunk(_)) => &["bad_chunk"],
            _ => &[],
        });
        if self.hazards.fresh_ends || self.idle_end_is_fatal() || self.tunnel_breaks() {
            words.extend(["upstream_closed", "upstream_reset"]);
        }
        if self.world.script.conns_max.is_some() {
            words.extend(["queue_timeout"]);
        }
        // The time of all tries together may be over before somebody is found who answers.
        let silent = |plan: &&super::script::BackendPlan| {
            matches!(plan.connect, ConnectPlan::Silent | ConnectPlan::Moody)
                || matches!(plan.address, AddressPlan::Named { dead: 1.. })
        };
        let silent = self.world.script.backends.iter().filter(silent).count();
        let waits = usize::from(self.world.script.conns_max.is_some());
        if silent > 0 && silent + 2 * waits >= SILENT_CONNECTS_COUNT {
            words.extend(["connect_timeout", "connect_refused", "connect_unreachable"]);
        }
        if self.hazards.unreachable {
            words.extend([
                "connect_refused",
                "connect_unreachable",
                "connect_timeout",
                "tls_wrong_name",
                "tls_handshake_failed",
                "name_unresolved",
                "upstream_reset",
            ]);
        }
        words
    }

    /// Whether a connection that ended while it rested can have cost the request its answer.
    fn idle_end_is_fatal(&self) -> bool {
        let tries = self.world.ledger.records[self.plan.id].tries.len();
        self.hazards.idle_ends
            && (A_CLOGGED_REQUEST_MAY_NOT_BE_SENT_AGAIN
                || !self.plan.is_idempotent()
                || self.plan.body != BodyPlan::Nothing
                || tries >= 3
                || self.hazards.tls)
    }

    fn partial(&self, number: usize) -> Result<(), String> {
        let answer = self.answer(number);
        let breaks_off = breaks_off(self.fault(number));
        let ends_anyway = answer.is_early() || answer.is_until_close() || !self.plan.persists();
        if breaks_off || self.client_left() || self.is_drained() {
            return Ok(());
        }
        if self.may_be_cut() && (ends_anyway || self.plan.http10) || self.later_break_off() {
            return Ok(());
        }
        // A backend that is asked for more than it wanted may reset an answer that only its own end
        // would have ended; so may we, who cannot tell.
        if answer.is_early() && answer.is_until_close() && self.plan.body != BodyPlan::Nothing {
            return Ok(());
        }
        match self.plan.fault {
            Some(ClientFault::BadChunk(_) | ClientFault::StallsInBody(_)) if answer.is_early() => {
                Ok(())
            }
            _ => Err("nothing here breaks an answer off".into()),
        }
    }

    /// Whether the client may send so much behind what is answered that a connection that ends with
    /// the answer ends with a reset, which can cost the client the answer.
    fn may_be_cut(&self) -> bool {
        let ends_at = &self.client.ends_at;
        let began = self.place.checked_sub(1).map_or(0, |before| ends_at[before]);
        let total = ends_at.last().copied().unwrap_or_default();
        let requests = &self.client.plan.requests;
        let early: usize =
            requests.iter().filter_map(|request| request.tunnel).map(|t| t.early).sum();
        total - began + early as u64 > LINGER_IS_ENOUGH_BYTES as u64
    }

    /// Whether a later request that is on its way already may be broken off: that breaks the connection
    /// off, together with what the client has not read yet.
    fn later_break_off(&self) -> bool {
        let later = &self.client.plan.requests[self.place + 1..];
        self.client.plan.pipelined
            && later.iter().any(|request| {
                let may_break = |answer: &AnswerPlan| {
                    let is_cut_short = answer.is_early() && answer.is_until_close();
                    breaks_off(effective_fault(request, answer))
                        || is_cut_short && request.body != BodyPlan::Nothing
                };
                request.answers.iter().any(may_break) || tunnel_breaks(request)
            })
    }

    fn unanswered(&self) -> Result<(), String> {
        if self.client_left() || self.tunnel_breaks() {
            return Ok(());
        }
        if self.may_be_cut() && !self.allowed_words().is_empty() {
            return Ok(());
        }
        if self.reachable().any(|number| self.partial(number).is_ok()) {
            return Ok(());
        }
        if self.client.plan.pause_ms >= IDLE_TIMEOUT_MS && self.place > 0 {
            return Ok(());
        }
        match &self.world.drained.owed {
            Some(owed) if self.place >= owed[self.client.number] => return Ok(()),
            Some(_) | None => {}
        }
        Err("and nothing was wrong with it".into())
    }

    fn tunnel(&self, plan: TunnelPlan) -> Result<(), String> {
        let (down, down_end) = self.client.tunnel.unwrap_or((0, End::Open));
        let record = &self.world.ledger.records[self.plan.id];
        let (up, up_end) = record.tunnel.unwrap_or((0, End::Open));
        let found =
            format!("down {down} of {} {down_end:?}, up {up} of {} {up_end:?}", plan.down, plan.up);
        if self.is_drained() {
            return Ok(());
        }
        let whole = down == plan.down && up == plan.up;
        let sound = match plan.ending {
            TunnelEnding::Freely | TunnelEnding::ClientFirst | TunnelEnding::BackendFirst => {
                whole && down_end == End::Fin && up_end == End::Fin
            }
            TunnelEnding::ClientResets(_) => up_end == End::Reset,
            TunnelEnding::BackendResets(_) => down_end == End::Reset,
            TunnelEnding::Idle => whole && down_end == End::Reset && up_end == End::Reset,
        };
        if sound { Ok(()) } else { Err(format!("but its tunnel is not as it should be: {found}")) }
    }
}

/// Whether this request opens a tunnel that ends with a reset.
fn tunnel_breaks(request: &RequestPlan) -> bool {
    request.tunnel.is_some_and(|tunnel| match tunnel.ending {
        TunnelEnding::Freely | TunnelEnding::ClientFirst | TunnelEnding::BackendFirst => false,
        TunnelEnding::ClientResets(_) | TunnelEnding::BackendResets(_) | TunnelEnding::Idle => true,
    })
}

/// Whether a connection with this fault may end before anything of its answer is seen.
fn breaks_before_it_answers(fault: Option<AnswerFault>) -> bool {
    matches!(
        fault,
        Some(
            AnswerFault::ClosesBefore
                | AnswerFault::ResetsBefore
                | AnswerFault::ResetsInHead(_)
                | AnswerFault::ResetsInBody(_)
        )
    )
}

/// Whether an answer with this fault may begin and not end.
fn breaks_off(fault: Option<AnswerFault>) -> bool {
    matches!(
        fault,
        Some(
            AnswerFault::ClosesInBody(_)
                | AnswerFault::ResetsInBody(_)
                | AnswerFault::StallsInBody(_)
                | AnswerFault::BadChunk(_)
        )
    )
}

fn words_for(fault: Option<AnswerFault>) -> &'static [&'static str] {
    match fault {
        None | Some(AnswerFault::Surplus) => &[],
        Some(
            AnswerFault::ClosesBefore
            | AnswerFault::ResetsBefore
            | AnswerFault::ClosesInHead(_)
            | AnswerFault::ResetsInHead(_)
            | AnswerFault::ResetsInBody(_),
        ) => &["upstream_closed", "upstream_reset"],
        Some(
            AnswerFault::StallsBefore | AnswerFault::NeverReads | AnswerFault::StallsInHead(_),
        ) => &["response_timeout"],
        Some(AnswerFault::BadHead(_)) => &["bad_response_head"],
        Some(AnswerFault::BadFraming(_)) => &["bad_response_framing"],
        Some(AnswerFault::HeadTooLong) => &["response_head_too_long"],
        Some(AnswerFault::TooManyInterims) => &["too_many_interim"],
        Some(AnswerFault::UnaskedUpgrade) => &["unexpected_upgrade"],
        Some(AnswerFault::BadChunk(_)) => &["bad_response_chunk"],
        Some(AnswerFault::ClosesInBody(_) | AnswerFault::StallsInBody(_)) => &[],
    }
}

/// Who was answered completely and did nothing wrong is not reset.
fn judge_end(world: &World<'_>, client: &Client) -> Result<(), String> {
    let total = client.ends_at.last().copied().unwrap_or(0);
    let clean = client.outcomes.iter().all(|outcome| is_complete(outcome) || is_own(outcome))
        && client.plan.requests.iter().all(|r| r.fault.is_none() && r.tunnel.is_none())
        && client.plan.pause_ms < IDLE_TIMEOUT_MS
        && total < LINGER_IS_ENOUGH_BYTES as u64
        && world.drained.owed.is_none();
    if clean && client.end == End::Reset {
        return Err("it is reset, although everything went well".into());
    }
    Ok(())
}

/// While one side takes nothing, only so much is read from the other.
fn judge_memory(world: &World<'_>, client: &Client) -> Result<(), String> {
    let (Some(plan), Some(wire)) = (client.plan.requests.last(), client.wire()) else {
        return Ok(());
    };
    let limits = Limits::default();
    let held_max = READ_BYTES_MAX + 2 * limits.request_head_bytes_max + limits.linger_bytes_max;
    let record = &world.ledger.records[plan.id];
    let began = client.plan.requests.len().checked_sub(2).map_or(0, |last| client.ends_at[last]);
    let taken = wire.borrow().taken.saturating_sub(began);
    if let Some(written) = record.stalled
        && taken > written + held_max as u64
    {
        return Err(format!(
            "{taken} octets were read for a backend that took {written}: that is hoarding"
        ));
    }
    let written = wire.borrow().sent.len();
    match (plan.fault, record.taken) {
        (Some(ClientFault::StopsReading(_)), Some(taken))
            if taken > (written + held_max) as u64 =>
        {
            Err(format!(
                "{taken} octets were read for a client that took {written}: that is hoarding"
            ))
        }
        _ => Ok(()),
    }
}

/// A request is sent again only where that is allowed, and needed.
fn judge_tries(world: &World<'_>) -> Result<(), String> {
    for plan in world.script.requests() {
        let tries = &world.ledger.records[plan.id].tries;
        if !tries.is_empty() && matches!(plan.fault, Some(ClientFault::BadHead(_))) {
            return Err(format!("request {} is none and was passed on", plan.id));
        }
        let mut number = 0;
        let mut others = 0;
        for (place, one) in tries.iter().enumerate() {
            let fault = effective_fault(plan, &plan.answers[number.min(plan.answers.len() - 1)]);
            let broke = one.lost || breaks_before_it_answers(fault) || tunnel_breaks(plan);
            others += usize::from(!broke);
            number += usize::from(!one.lost);
            // A connection that somebody else wanted can have rested without having served.
            let rested = one.reused || world.script.clients.len() > 1;
            // Those that were lost are found only at the end.
            let next = tries.get(place + 1).filter(|next| !one.lost && !next.lost);
            if !rested && next.is_some_and(|next| next.backend == one.backend) {
                return Err(format!(
                    "request {} goes back to whom it broke on a fresh connection: {tries:?}",
                    plan.id
                ));
            }
        }
        // One try decides the matter; all others have to be reasons for another one.
        if others > 1 {
            return Err(format!("request {} is sent again without need: {tries:?}", plan.id));
        }
        if tries.len() > 3 {
            return Err(format!("request {} is sent too often: {tries:?}", plan.id));
        }
    }
    Ok(())
}

/// Where everything is well, turns are taken strictly, by weight.
fn judge_rotation(world: &World<'_>, hazards: &Hazards) -> Result<(), String> {
    let script = world.script;
    let healthy = !hazards.idle_ends
        && script.backends.iter().all(|plan| {
            plan.connect == ConnectPlan::Takes
                && plan.security != Security::TlsWrongName
                && plan.address != AddressPlan::Late
        })
        && script.requests().all(|request| {
            let moves_on = |answer| breaks_before_it_answers(effective_fault(request, answer));
            request.fault.is_none() && !request.answers.iter().any(moves_on)
        })
        && script.clients.iter().all(|client| client.pause_ms < IDLE_TIMEOUT_MS);
    let records = &world.ledger.records;
    let reached: Vec<_> =
        script.requests().filter_map(|request| records[request.id].tries.first()).collect();
    // Who was not served took no turn where the connection had ended; but where roundel stops, some
    // turns lead nowhere.
    // A backend that fails too often is out for a while.
    let faults = script.requests().flat_map(|request| &request.answers);
    if faults.filter(|answer| answer.fault.is_some()).count() >= FAILURES_COUNT_MAX {
        return Ok(());
    }
    // Nor are turns strict where a backend may be too busy for its own.
    if !healthy || script.drain_after.is_some() || script.conns_max.is_some() {
        return Ok(());
    }
    let turns = turns(script, reached.len());
    let count = |backends: &mut dyn Iterator<Item = usize>| {
        let mut counts = vec![0; script.backends.len()];
        backends.for_each(|backend| counts[backend] += 1);
        counts
    };
    let found: Vec<usize> = reached.iter().map(|one| one.backend).collect();
    let alone = script.clients.len() == 1;
    if alone && found != turns {
        return Err(format!("rotation: {found:?} instead of {turns:?}"));
    }
    let (found, wanted) = (count(&mut found.iter().copied()), count(&mut turns.iter().copied()));
    if found == wanted { Ok(()) } else { Err(format!("rotation: {found:?}, not {wanted:?}")) }
}

/// Smooth weighted round robin, written a second time.
fn turns(script: &Script, count: usize) -> Vec<usize> {
    let weights: Vec<i64> = script.backends.iter().map(|plan| i64::from(plan.weight)).collect();
    let total: i64 = weights.iter().sum();
    let mut credits = vec![0; weights.len()];
    (0..count)
        .map(|_| {
            for (credit, weight) in credits.iter_mut().zip(&weights) {
                *credit += weight;
            }
            // Of several that are equally rich it is the first.
            let most = credits.iter().max().copied().unwrap_or_default();
            let chosen = credits.iter().position(|credit| *credit == most).unwrap_or_default();
            credits[chosen] -= total;
            chosen
        })
        .collect()
}
