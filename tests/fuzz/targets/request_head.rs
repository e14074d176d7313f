//! A request head, from its first octet to the head that a backend gets.
//!
//! The input is a head. Whatever roundel accepts, both readers must understand as it did: in what came,
//! and in what goes on.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use roundel::config::Limits;
use roundel::h1::fields::field_storage;
use roundel::h1::forward::{BackendView, ClientFacts, OutboundHead, Trust};
use roundel::h1::framing::Framing;
use roundel::h1::reply::Reason;
use roundel::h1::request::{RequestHead, leading_empty_line, parse_request};
use roundel::h1::scan::{BareLf, HeadScan};
use roundel::h1::target::Target;
use roundel_fuzz::meaning::{self, Direction, passed_on, sorted, to_pass_on};
use roundel_fuzz::memory::peak_bytes_during;
use roundel_fuzz::split::{Split, ends, splits_of};
use roundel_fuzz::{hyper_reader, show, strict_reader};

/// What the head of 16 KiB may take: itself, what is kept of it and what is written, each in a vector
/// that has doubled, and was copied for that.
const MEMORY_BYTES_MAX: usize = 8 * 16 * 1024;

const PREFIX: &str = "/p";
const AUTHORITY: &str = "backend.example:8080";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A request behind the first, to see where the readers find it.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next.example\r\n\r\n";

/// Bodies up to this length are written out.
const BODY_BYTES_MAX: u64 = 2048;

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let input = &input[..input.len().min(limits.request_head_bytes_max)];
    let [first, others @ ..] = splits_of(input).map(|split| scan(input, split));
    for other in others {
        assert_eq!(other, first, "{}", show(input));
    }
    let Ok(Some((start, end))) = first else { return };
    for trust in [Trust::None, Trust::Full] {
        let ((), peak) = peak_bytes_during(|| {
            let _ = forward(&input[start..end], trust, &limits, |_, _| ());
        });
        assert!(peak <= MEMORY_BYTES_MAX, "{peak} octets for {}", show(input));
        let _ = forward(&input[start..end], trust, &limits, |head, written| {
            check_written(head, written, trust);
            check_received(head, &input[..end]);
        });
    }
});

/// Finds the head as a connection does: where it begins and ends.
fn scan(input: &[u8], split: Split) -> Result<Option<(usize, usize)>, BareLf> {
    let mut progress = HeadScan::default();
    let mut start = None;
    for end in ends(split, input.len()) {
        if start.is_none() {
            start = leading_empty_line(&input[..end]);
        }
        let Some(start) = start else { continue };
        if let Some(length) = progress.advance(&input[start..end])? {
            return Ok(Some((start, start + length)));
        }
    }
    Ok(None)
}

/// Reads a head and writes it for a backend.
fn forward(
    octets: &[u8],
    trust: Trust,
    limits: &Limits,
    check: impl Fn(&RequestHead<'_>, &[u8]),
) -> Result<(), Reason> {
    let mut storage = field_storage();
    let head = parse_request(octets, &mut storage, limits)?;
    let mut outbound = OutboundHead::default();
    outbound.fill(&head, ClientFacts { address: Some(CLIENT), proto: "http", trust, fresh_id: 1 });
    let (prefix, authority) = (PREFIX.as_bytes(), AUTHORITY.as_bytes());
    let mut written = Vec::new();
    outbound.write_for(&mut written, BackendView { prefix, authority, sees_itself: false });
    check(&head, &written);
    Ok(())
}

/// A body of this framing, or `None` where it would be too long to be written out. It looks like a
/// request, for whoever thinks that the head has no body.
fn body_of(framing: Framing) -> Option<Vec<u8>> {
    const CONTENT: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: smuggled.example\r\n\r\n";
    match framing {
        Framing::NoBody | Framing::UntilClose => Some(Vec::new()),
        Framing::Length(length) if length <= BODY_BYTES_MAX => {
            Some(CONTENT.iter().copied().cycle().take(length as usize).collect())
        }
        Framing::Length(_) => None,
        Framing::Chunked => {
            let size = format!("{:x}\r\n", CONTENT.len());
            Some([size.as_bytes(), CONTENT, b"\r\n0\r\n\r\n"].concat())
        }
    }
}

fn path_of(head: &RequestHead<'_>) -> String {
    let text = |octets| String::from_utf8_lossy(octets).into_owned();
    match head.target {
        Target::Origin(path) => text(path),
        Target::Asterisk => "*".to_owned(),
        Target::Absolute { path_and_query: b"", .. } if head.method_text == b"OPTIONS" => {
            "*".to_owned()
        }
        Target::Absolute { path_and_query, .. } if path_and_query.starts_with(b"/") => {
            text(path_and_query)
        }
        Target::Absolute { path_and_query, .. } => format!("/{}", text(path_and_query)),
    }
}

/// What goes on is what was understood.
fn check_written(head: &RequestHead<'_>, written: &[u8], trust: Trust) {
    let shown = show(written);
    let Some(body) = body_of(head.framing) else {
        let message = strict_reader::read_request(written).expect(&shown).expect(&shown);
        let Framing::Length(length) = head.framing else { unreachable!("only lengths are long") };
        let want = strict_reader::Framing::Length(usize::try_from(length).expect("64 bits"));
        assert_eq!(message.framing, want, "{shown}");
        return;
    };
    let wire = [written, &body, NEXT].concat();
    let message = strict_reader::read_request(&wire).expect(&shown).expect(&shown);
    assert!(message.is_whole, "{shown}");
    assert_eq!(message.used, written.len() + body.len(), "{shown}");
    let path = path_of(head);
    let target = if path == "*" { path } else { format!("{PREFIX}{path}") };
    assert_eq!(message.start[0], head.method_text, "{shown}");
    assert_eq!(message.start[1], target.as_bytes(), "{shown}");
    let host = head.host.unwrap_or(AUTHORITY.as_bytes());
    assert_eq!(message.only("host"), Ok(host), "{shown}");
    let address = CLIENT.to_string();
    let said = message.only("x-forwarded-for").expect(&shown);
    match trust {
        Trust::None => assert_eq!(said, address.as_bytes(), "{shown}"),
        Trust::Full => assert!(said.ends_with(address.as_bytes()), "{shown}"),
    }
    assert!(message.only("x-request-id").is_ok_and(|id| !id.is_empty()), "{shown}");
    let via = message.values("via").last();
    assert!(via.is_some_and(|via| via.ends_with(b" roundel")), "{shown}");
    let came = head.fields.iter().map(|field| (field.name.as_bytes(), field.value));
    let want = to_pass_on(came, Direction::Request);
    assert_eq!(passed_on(&message.fields, Direction::Request), want, "{shown}");

    let seen = hyper_reader::read_requests(&wire).requests;
    let [first, second] = seen.as_slice() else { panic!("hyper: {seen:?}, {shown}") };
    assert_eq!(first.start[0].as_bytes(), head.method_text, "{shown}");
    assert_eq!(first.start[1], target, "{shown}");
    assert_eq!(first.content.as_deref(), Some(message.content.as_slice()), "{shown}");
    assert_eq!(sorted(meaning::of_map(&first.fields)), sorted(message.fields), "{shown}");
    assert_eq!(second.start[1], "/next", "{shown}");
}

/// What came is understood by others as it was understood here, or refused by them.
fn check_received(head: &RequestHead<'_>, received: &[u8]) {
    let Some(body) = body_of(head.framing) else { return };
    let shown = show(received);
    let wire = [received, &body, NEXT].concat();
    let seen = hyper_reader::read_requests(&wire).requests;
    let Some(first) = seen.first() else { return };
    assert_eq!(first.start[0].as_bytes(), head.method_text, "{shown}");
    // An absolute target without a path is `/` for hyper, also with OPTIONS.
    let path = path_of(head);
    let hyper_path = match (path.as_str(), head.target) {
        ("*", Target::Absolute { .. }) => "/",
        (path, _) => path,
    };
    let seen_path = &first.start[1];
    assert!(seen_path == hyper_path || format!("/{seen_path}") == hyper_path, "{shown}");
    let content = strict_reader::read_chunks(&body);
    let content = match head.framing {
        Framing::Chunked => content.expect("written here").content,
        Framing::NoBody | Framing::Length(_) | Framing::UntilClose => body,
    };
    assert_eq!(first.content, Some(content), "{shown}");
    let next = seen.get(1).map(|next| next.start[1].as_str());
    assert_eq!(next, head.persistent.then_some("/next"), "{shown}");
}
