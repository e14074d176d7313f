//! A response head, from its first octet to the head that a client gets.
//!
//! The input is a head. It is judged as the answer to every method and written for every client.
#![no_main]

use hyper::Method as HyperMethod;
use libfuzzer_sys::fuzz_target;
use roundel::config::Limits;
use roundel::h1::Version;
use roundel::h1::fields::field_storage;
use roundel::h1::forward::{AfterResponse, write_response};
use roundel::h1::framing::Framing;
use roundel::h1::request::Method;
use roundel::h1::response::{ResponseHead, parse_response};
use roundel::h1::scan::{BareLf, HeadScan};
use roundel_fuzz::meaning::{self, Direction, passed_on, sorted, to_pass_on};
use roundel_fuzz::memory::peak_bytes_during;
use roundel_fuzz::split::{Split, ends, splits_of};
use roundel_fuzz::strict_reader::{Ended, Field, Message};
use roundel_fuzz::{hyper_reader, show, strict_reader};

/// What is written for a head of 16 KiB, in a vector that has doubled, and was copied for that.
const MEMORY_BYTES_MAX: usize = 4 * 16 * 1024;

/// Bodies up to this length are written out.
const BODY_BYTES_MAX: u64 = 2048;

/// Follows an interim response.
const FINAL: &[u8] = b"HTTP/1.1 299 Final\r\nContent-Length: 0\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let input = &input[..input.len().min(limits.response_head_bytes_max)];
    let [first, others @ ..] = splits_of(input).map(|split| scan(input, split));
    for other in others {
        assert_eq!(other, first, "{}", show(input));
    }
    let Ok(Some(end)) = first else { return };
    for (method, name) in [
        (Method::Head, HyperMethod::HEAD),
        (Method::Idempotent, HyperMethod::GET),
        (Method::Other, HyperMethod::POST),
    ] {
        let mut storage = field_storage();
        let Ok(head) = parse_response(&input[..end], &mut storage, method) else { continue };
        check_received(&head, &input[..end], &name);
        for client in [Version::Http10, Version::Http11] {
            for after in [AfterResponse::Persist, AfterResponse::Close, AfterResponse::Tunnel] {
                if is_possible(&head, client, after) {
                    check_written(&head, client, after, &name);
                }
            }
        }
    }
});

fn scan(input: &[u8], split: Split) -> Result<Option<usize>, BareLf> {
    let mut progress = HeadScan::default();
    for end in ends(split, input.len()) {
        if let Some(length) = progress.advance(&input[..end])? {
            return Ok(Some(length));
        }
    }
    Ok(None)
}

/// Whether the proxy would write this head in this way.
fn is_possible(head: &ResponseHead<'_>, client: Version, after: AfterResponse) -> bool {
    let ends_by_close = head.framing == Framing::UntilClose
        || (head.framing == Framing::Chunked && client == Version::Http10);
    match after {
        AfterResponse::Persist => !ends_by_close && head.status != 101,
        AfterResponse::Close => !head.is_interim() && head.status != 101,
        AfterResponse::Tunnel => {
            let names_protocol = |name: &str| name.eq_ignore_ascii_case("upgrade");
            head.status == 101 && head.fields.iter().any(|field| names_protocol(field.name))
        }
    }
}

/// A body of this framing for this client, or `None` where it would be too long to be written out. It
/// looks like a response, for whoever thinks that the head has no body.
fn body_of(framing: Framing, client: Version) -> Option<Vec<u8>> {
    const CONTENT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    match framing {
        Framing::NoBody => Some(Vec::new()),
        Framing::UntilClose => Some(CONTENT.to_vec()),
        Framing::Length(length) if length <= BODY_BYTES_MAX => {
            Some(CONTENT.iter().copied().cycle().take(length as usize).collect())
        }
        Framing::Length(_) => None,
        Framing::Chunked if client == Version::Http10 => Some(CONTENT.to_vec()),
        Framing::Chunked => {
            let size = format!("{:x}\r\n", CONTENT.len());
            Some([size.as_bytes(), CONTENT, b"\r\n0\r\n\r\n"].concat())
        }
    }
}

/// What goes on is what was understood.
fn check_written(
    head: &ResponseHead<'_>,
    client: Version,
    after: AfterResponse,
    method: &HyperMethod,
) {
    let (written, peak) = peak_bytes_during(|| {
        let mut written = Vec::new();
        write_response(&mut written, head, client, after);
        written
    });
    let shown = show(&written);
    assert!(peak <= MEMORY_BYTES_MAX, "{peak} octets for {shown}");
    let Some(body) = body_of(head.framing, client) else { return };
    let wire = [written.as_slice(), &body].concat();
    let message = strict_reader::read_response(&wire, method.as_str().as_bytes(), Ended::Yes)
        .expect(&shown)
        .expect(&shown);
    assert!(message.is_whole, "{shown}");
    assert_eq!(message.used, wire.len(), "{shown}");
    assert_eq!(message.start[1], head.status.to_string().as_bytes(), "{shown}");
    assert_eq!(message.start[2], head.phrase, "{shown}");
    let came = head.fields.iter().map(|field| (field.name.as_bytes(), field.value));
    let want = to_pass_on(came, Direction::Response);
    assert_eq!(passed_on(&message.fields, Direction::Response), want, "{shown}");
    check_connection(&message, client, after);
    check_hyper(&message, &wire, method, head.is_interim());
}

/// The client is told the truth about its connection.
fn check_connection(message: &Message, client: Version, after: AfterResponse) {
    let says = |option: &[u8]| {
        let mut options = message.values("connection").flat_map(|v| v.split(|o| *o == b','));
        options.any(|o| o.trim_ascii() == option)
    };
    let shown = format!("{message:?}");
    assert_eq!(says(b"close"), after == AfterResponse::Close, "{shown}");
    let keeps = after == AfterResponse::Persist && client == Version::Http10;
    assert_eq!(says(b"keep-alive"), keeps && message.start[1] != b"426", "{shown}");
}

/// hyper reads the same.
fn check_hyper(message: &Message, wire: &[u8], method: &HyperMethod, is_interim: bool) {
    let shown = show(wire);
    let wire = if is_interim { [wire, FINAL].concat() } else { wire.to_vec() };
    let seen = hyper_reader::read_response(&wire, method.clone()).expect(&shown);
    if is_interim {
        assert_eq!(seen.start, ["299"], "{shown}");
        return;
    }
    assert_eq!(seen.start[0].as_bytes(), message.start[1], "{shown}");
    // A 101 is handed out without its body; there is none.
    assert_eq!(seen.content.as_deref(), Some(message.content.as_slice()), "{shown}");
    let fields: Vec<Field> = meaning::of_map(&seen.fields);
    assert_eq!(sorted(fields), sorted(message.fields.clone()), "{shown}");
}

/// What came is understood by others as it was understood here, or refused by them.
fn check_received(head: &ResponseHead<'_>, received: &[u8], method: &HyperMethod) {
    let Some(body) = body_of(head.framing, Version::Http11) else { return };
    let shown = show(received);
    let after = if head.is_interim() { FINAL } else { b"" };
    let wire = [received, &body, after].concat();
    let Ok(seen) = hyper_reader::read_response(&wire, method.clone()) else { return };
    let status = if head.is_interim() { "299".to_owned() } else { head.status.to_string() };
    assert_eq!(seen.start, [status], "{shown}");
    let content = match head.framing {
        Framing::Chunked => strict_reader::read_chunks(&body).expect("written here").content,
        Framing::NoBody | Framing::Length(_) | Framing::UntilClose => body,
    };
    assert_eq!(seen.content, Some(content), "{shown}");
}
