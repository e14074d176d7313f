//! Cuts a failing script down, as long as it still fails in the same way.
//!
//! Each round tries to drop or to simplify one thing after the other and keeps what still fails. What
//! remains is mostly one client, one request, and the one thing that goes wrong with it.

use super::{
    runner::run_guarded,
    script::{
        AddressPlan, BodyPlan, ConnectPlan, IdlePlan, Leaving, Script, Security, Texture, Then,
        When, Wish,
    },
    world::Failure,
};

/// How many runs may be spent on it.
const RUNS_MAX: usize = 4_000;

/// How many schedules are tried for each smaller script.
const SEEDS_PER_TRY: u64 = 3;

/// A smaller script, or the same, that fails with the same kind of failure.
pub(crate) fn shrink(script: &Script, failure: &Failure) -> (Script, Failure) {
    let mut best = (script.clone(), failure.clone());
    let mut runs = 0;
    loop {
        let mut improved = false;
        let mut place = 0;
        loop {
            let candidates = candidates(&best.0);
            let Some(candidate) = candidates.into_iter().nth(place) else { break };
            if runs > RUNS_MAX {
                return best;
            }
            match still_fails(&candidate, failure, &mut runs) {
                // The candidates of the smaller script take the places of those that were tried.
                Some(smaller) => {
                    best = smaller;
                    improved = true;
                }
                None => place += 1,
            }
        }
        if !improved {
            return best;
        }
    }
}

/// The kind of a failure: what its text says apart from numbers and octets.
fn kind(failure: &Failure) -> String {
    let text = failure.0.split('"').next().unwrap_or_default();
    let words = text
        .split([' ', '(', '{', ':'])
        .filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())).take(12).collect()
}

fn still_fails(script: &Script, failure: &Failure, runs: &mut usize) -> Option<(Script, Failure)> {
    for step in 0..SEEDS_PER_TRY {
        let mut script = script.clone();
        script.seed = script.seed.wrapping_add(step);
        script.keep_the_peace();
        *runs += 1;
        if let Err(found) = run_guarded(&script)
            && kind(&found) == kind(failure)
        {
            return Some((script, found));
        }
    }
    None
}

/// Everything that can be left out or made simpler, the largest first.
fn candidates(script: &Script) -> Vec<Script> {
    let mut out = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Script)| {
        let mut candidate = script.clone();
        change(&mut candidate);
        if format!("{candidate:?}") != format!("{script:?}") {
            out.push(candidate);
        }
    };
    for client in 0..script.clients.len() {
        if script.clients.len() > 1 {
            offer(&|s| drop(s.clients.remove(client)));
        }
        for request in 0..script.clients[client].requests.len() {
            if script.clients[client].requests.len() > 1 {
                offer(&|s| drop(s.clients[client].requests.remove(request)));
            }
        }
    }
    if script.backends.len() > 1 {
        offer(&|s| {
            let _ = s.backends.pop();
        });
        offer(&|s| {
            let _ = s.backends.remove(0);
        });
    }
    offer(&|s| s.drain_after = None);
    offer(&|s| s.conns_max = None);
    offer(&|s| s.splice = None);
    offer(&|s| s.noise = false);
    offer(&|s| s.lazy = false);
    offer(&|s| s.capacity = s.capacity.max(1_000_000));
    offer(&|s| s.texture = Texture::Bulk);
    for backend in 0..script.backends.len() {
        offer(&|s| s.backends[backend].security = Security::Plain);
        offer(&|s| s.backends[backend].address = AddressPlan::Literal);
        offer(&|s| s.backends[backend].connect = ConnectPlan::Takes);
        offer(&|s| s.backends[backend].idle = IdlePlan::Keeps);
        offer(&|s| s.backends[backend].prefix = "");
        offer(&|s| s.backends[backend].weight = 1);
    }
    for client in 0..script.clients.len() {
        offer(&|s| s.clients[client].arrives_ms = 0);
        offer(&|s| s.clients[client].pause_ms = 0);
        offer(&|s| s.clients[client].pipelined = false);
        offer(&|s| s.clients[client].leaves = Leaving::Closes);
        for request in 0..script.clients[client].requests.len() {
            simplify_request(script, client, request, &mut offer);
        }
    }
    out
}

fn simplify_request(
    script: &Script,
    client: usize,
    request: usize,
    offer: &mut dyn FnMut(&dyn Fn(&mut Script)),
) {
    let plan = &script.clients[client].requests[request];
    let of = |s: &mut Script, change: &dyn Fn(&mut super::script::RequestPlan)| {
        change(&mut s.clients[client].requests[request]);
    };
    offer(&|s| of(s, &|r| r.fault = None));
    offer(&|s| {
        of(s, &|r| {
            r.tunnel = None;
            r.answers.iter_mut().filter(|a| a.status == 101).for_each(|a| a.status = 200);
        });
    });
    offer(&|s| of(s, &|r| r.body = BodyPlan::Nothing));
    offer(&|s| of(s, &|r| r.body = r.body.with_size(r.body.size() / 2)));
    offer(&|s| of(s, &|r| r.body = r.body.with_size(r.body.size().saturating_sub(1))));
    offer(&|s| of(s, &|r| r.body = plain(r.body)));
    offer(&|s| of(s, &|r| r.padding = 0));
    offer(&|s| of(s, &|r| r.pauses = 0));
    offer(&|s| of(s, &|r| r.expects = false));
    offer(&|s| of(s, &|r| r.absolute = false));
    offer(&|s| of(s, &|r| r.http10 = false));
    offer(&|s| of(s, &|r| r.wish = Wish::Unsaid));
    offer(&|s| of(s, &|r| r.method = if r.body == BodyPlan::Nothing { "GET" } else { "PUT" }));
    for number in 0..plan.answers.len() {
        let of = |s: &mut Script, change: &dyn Fn(&mut super::script::AnswerPlan)| {
            change(&mut s.clients[client].requests[request].answers[number]);
        };
        if plan.answers.len() > 1 {
            offer(&|s| drop(s.clients[client].requests[request].answers.remove(number)));
        }
        offer(&|s| of(s, &|a| a.fault = None));
        offer(&|s| of(s, &|a| a.interims.clear()));
        offer(&|s| of(s, &|a| a.after = When::Whole));
        offer(&|s| of(s, &|a| a.stops_reading = false));
        offer(&|s| of(s, &|a| a.http10 = false));
        offer(&|s| of(s, &|a| a.padding = 0));
        offer(&|s| of(s, &|a| a.pauses = 0));
        offer(&|s| {
            of(s, &|a| {
                if a.status != 101 {
                    a.body = BodyPlan::Length(0);
                    a.then = Then::GoesOn;
                }
            });
        });
        offer(&|s| of(s, &|a| a.body = a.body.with_size(a.body.size() / 2)));
        offer(&|s| of(s, &|a| a.body = a.body.with_size(a.body.size().saturating_sub(1))));
        offer(&|s| of(s, &|a| a.body = plain(a.body)));
        offer(&|s| {
            of(s, &|a| {
                if !a.is_until_close() {
                    a.then = Then::GoesOn;
                }
            });
        });
        offer(&|s| {
            of(s, &|a| {
                if a.status != 101 {
                    a.status = 200;
                    if matches!(a.body, BodyPlan::UntilClose(_)) {
                        a.then = Then::Closes;
                    }
                }
            });
        });
    }
}

/// One chunk without anything around it.
fn plain(body: BodyPlan) -> BodyPlan {
    match body {
        BodyPlan::Chunks { size, .. } => {
            BodyPlan::Chunks { size, chunk: size.max(1), extensions: false, trailers: false }
        }
        other => other,
    }
}
