//! Whole exchanges: a client, the real worker, and backends, in memory.
//!
//! The input is a script; `world.rs` says how it is written. The client's octets are also given to
//! hyper, which is a server of the field: the backends together must get what hyper reads, as far as
//! roundel does not refuse it. What hyper's client reads from a backend's answer is what the client
//! must get, or a part that cannot be taken for the whole.
#![no_main]

use hyper::Method;
use libfuzzer_sys::fuzz_target;
use roundel_fuzz::hyper_reader::{self, Reading, Seen};
use roundel_fuzz::memory::peak_bytes_during;
use roundel_fuzz::strict_reader::{Ended, Framing, Message, read_response};
use roundel_fuzz::world::{Answer, Begins, End, Got, Outcome, Pace, Script, play};
use roundel_fuzz::{assert_same, show};

/// The worker's shared buffers, which are there from the start.
const SCRATCH_BYTES: usize = 900 * 1024;

/// What endless input may make memory grow by.
const GROWTH_BYTES_MAX: usize = 1024 * 1024;

/// How often an octet of the script is in memory at the same time on the world's side: on its way,
/// arrived, written, and read by the strict reader, mostly in vectors that double.
const COPIES: usize = 16;

/// How much of what nobody wants is read from a client before its connection is closed, less some.
const LINGER_BYTES: usize = 60 * 1024;

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

/// Whether every answer is exactly one response that waits for its request and leaves the connection
/// open: then nothing may depend on when octets come.
fn is_polite(script: &Script) -> bool {
    let asks_for_head = script.client.windows(4).any(|window| window == b"HEAD");
    !asks_for_head
        && script.answers.iter().all(|answer| {
            let read = read_response(&answer.octets, b"GET", Ended::No);
            let is_one = read.ok().flatten().is_some_and(|message| {
                let has_framing = matches!(message.framing, Framing::Length(_) | Framing::Chunked);
                message.is_whole && message.used == answer.octets.len() && has_framing
            });
            is_one && answer.end == End::Open && answer.begins == Begins::AfterRequest
        })
}

/// The requests that backends got whole, as text.
fn whole(outcome: &Outcome) -> Vec<String> {
    let requests = outcome.requests.iter().map(|got| &got.message);
    let told = |request: &Message| {
        let [method, target, _] = &request.start;
        format!("{} {} {}", show(method), show(target), show(&request.content))
    };
    requests.filter(|request| request.is_whole).map(told).collect()
}

/// Walks over the responses that the client got, each with the request that it answers.
fn check(script: &Script, outcome: &Outcome) {
    let sent = hyper_reader::read_requests(&script.client);
    let mut at = 0;
    for place in 0.. {
        let request = sent.requests.get(place);
        // Everything before `at` had gone to the client when these requests went to backends.
        let got: Vec<&Got> = outcome.requests.iter().filter(|got| got.sent_before == at).collect();
        check_requests(&got, request, &sent);
        let method = request.map_or(b"GET".as_slice(), |request| request.start[0].as_bytes());
        let Some(response) = read_final(outcome, at, method) else { break };
        at += response.used;
        if is_own(&response) {
            check_own(&response, script, outcome, at);
        } else {
            check_relayed(&response, got.last().copied(), method);
        }
        if response.start[1] == b"101" {
            return check_tunnel(script, outcome);
        }
    }
    let is_later = |got: &&Got| got.sent_before > at;
    assert_eq!(outcome.requests.iter().filter(is_later).count(), 0, "{outcome:?}");
}

/// The final response that begins at this octet, with the interim ones before it.
fn read_final(outcome: &Outcome, at: usize, method: &[u8]) -> Option<Message> {
    let end = if outcome.client_end == End::Fin { Ended::Yes } else { Ended::No };
    let octets = &outcome.to_client[at..];
    let mut start = 0;
    loop {
        let read = |method| match read_response(&octets[start..], method, end) {
            Ok(read) => read,
            Err(fault) => panic!("{fault}, in what the client got: {}", show(octets)),
        };
        let Some(mut response) = read(method) else {
            let is_cut = outcome.client_end == End::Reset;
            assert!(is_cut || start == octets.len(), "no response: {}", show(octets));
            return None;
        };
        // What roundel refuses, hyper may take for a request with another method, or for none.
        if is_own(&response) && closes(&response) && !ends_it(&response, &octets[start..]) {
            response = read(b"GET")?;
            if !ends_it(&response, &octets[start..]) {
                response = read(b"HEAD")?;
            }
        }
        let is_interim = response.start[1].starts_with(b"1") && response.start[1] != b"101";
        response.used += start;
        if !is_interim {
            return Some(response);
        }
        start = response.used;
    }
}

/// Whether roundel made this response.
fn is_own(response: &Message) -> bool {
    response.values("proxy-status").any(|status| status.starts_with(b"roundel; error="))
}

fn closes(response: &Message) -> bool {
    response.only("connection") == Ok(b"close")
}

fn ends_it(response: &Message, octets: &[u8]) -> bool {
    response.is_whole && response.used == octets.len()
}

/// An answer of roundel's is whole, and is not lost with the connection.
fn check_own(response: &Message, script: &Script, outcome: &Outcome, end: usize) {
    assert!(response.is_whole, "{response:?}");
    if !closes(response) {
        return;
    }
    assert_eq!(end, outcome.to_client.len(), "something behind the last response");
    if script.client.len() < LINGER_BYTES {
        assert_eq!(outcome.client_end, End::Fin, "the answer is lost in a reset: {response:?}");
    }
}

/// Backends got what hyper reads, and no part that looks whole.
fn check_requests(got: &[&Got], request: Option<&Seen>, sent: &Reading) {
    for got in got {
        check_cut(got);
        match request {
            Some(request) => check_request(&got.message, request),
            None => assert!(sent.is_refused, "nobody sent {got:?}"),
        }
    }
    // A request comes again only where the first one was lost, and twice does no harm.
    for lost in got.iter().rev().skip(1) {
        let [method, ..] = &lost.message.start;
        let is_idempotent =
            [&b"GET"[..], b"HEAD", b"PUT", b"DELETE", b"OPTIONS"].contains(&method.as_slice());
        let is_answered = lost.answer.as_ref().is_some_and(|answer| !answer.octets.is_empty());
        assert!(is_idempotent && !is_answered, "sent again: {lost:?}");
    }
}

/// A part of a body ends with a reset: there are servers that take it for the whole at a mere FIN.
fn check_cut(got: &Got) {
    let has_ended_itself = got.answer.as_ref().is_some_and(|answer| answer.end != End::Open);
    if !got.message.is_whole && !has_ended_itself {
        assert_eq!(got.cut, Some(End::Reset), "a part that could look whole: {got:?}");
    }
}

fn check_request(got: &Message, sent: &Seen) {
    let shown = format!("a backend got {got:?}\nof {sent:?}");
    let [method, target, _] = &got.start;
    let [sent_method, sent_target, authority] = sent.start.as_slice() else { unreachable!() };
    assert_eq!(method, sent_method.as_bytes(), "{shown}");
    let slash = if sent_target.starts_with('/') { "" } else { "/" };
    let is_asterisk = target == b"*" && (sent_target == "*" || sent_target == "/");
    let is_path = target == format!("/p{slash}{sent_target}").as_bytes();
    assert!(is_asterisk || is_path, "{shown}");
    let host = got.only("host").expect(&shown);
    match sent.fields.get("host") {
        _ if !authority.is_empty() => assert_eq!(host, authority.as_bytes(), "{shown}"),
        Some(sent_host) => assert_eq!(host, sent_host.as_bytes(), "{shown}"),
        None => assert_eq!(host, b"127.0.0.1:9001", "{shown}"),
    }
    match &sent.content {
        Some(content) if got.is_whole => assert_same(&got.content, content, &shown),
        Some(content) => assert!(content.starts_with(&got.content), "{shown}"),
        None => assert!(!got.is_whole, "{shown}"),
    }
}

/// What the client got is what the backend sent, or a part that says so.
fn check_relayed(response: &Message, got: Option<&Got>, method: &[u8]) {
    let answer = got.and_then(|got| got.answer.as_ref());
    let Some(answer) = answer else { panic!("nobody sent {response:?}") };
    let method = Method::from_bytes(method).expect("hyper gave it");
    let Ok(seen) = hyper_reader::read_response(&answer.octets, method.clone()) else { return };
    let shown = format!("the client got {response:?}\nof {}", show(&answer.octets));
    assert_eq!(response.start[1], seen.start[0].as_bytes(), "{shown}");
    match &seen.content {
        Some(content) if !response.is_whole => {
            assert!(content.starts_with(&response.content), "{shown}");
        }
        Some(content) => {
            assert_same(&response.content, content, &shown);
            assert!(!is_cut_short(answer, &seen, &method), "{shown}");
        }
        None => assert!(!response.is_whole, "{shown}"),
    }
}

/// Whether only the end of the connection could end this answer, and it did not come, or came as a
/// reset.
fn is_cut_short(answer: &Answer, seen: &Seen, method: &Method) -> bool {
    let has_framing =
        seen.fields.contains_key("content-length") || seen.fields.contains_key("transfer-encoding");
    let has_body =
        method != Method::HEAD && !["101", "204", "304"].contains(&seen.start[0].as_str());
    has_body && !has_framing && answer.end != End::Fin
}

/// What came through a tunnel is what the client sent behind its request.
fn check_tunnel(script: &Script, outcome: &Outcome) {
    let Some(got) = outcome.tunnelled.as_ref().filter(|got| !got.is_empty()) else { return };
    if script.client.len() <= 4096 {
        let is_sent = script.client.windows(got.len()).any(|window| window == got);
        assert!(is_sent, "nobody sent {} into the tunnel", show(got));
    }
}
