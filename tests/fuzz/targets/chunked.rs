//! A chunked body, from its first octet to the one behind its last.
//!
//! The input is a body and what follows it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roundel::config::Limits;
use roundel::h1::chunked::{ChunkedDecoder, Emit};
use roundel_fuzz::memory::peak_bytes_during;
use roundel_fuzz::split::{Split, ends, splits_of};
use roundel_fuzz::strict_reader::{Chunks, read_chunks};
use roundel_fuzz::{hyper_reader, meaning, show};

/// Fields of which a recipient could act on a trailer (RFC 9110 section 6.5.1).
const HARMFUL: &[&str] = &[
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-none-match",
    "keep-alive",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-forwarded-for",
];

/// What came of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    /// It is whole.
    Whole { used: usize, goes_on: Vec<u8> },
    /// More of it is to come.
    Part { goes_on: Vec<u8> },
    /// It is broken.
    Broken,
}

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let chunks = outcome_of(input, Emit::Chunks, &limits);
    let data = outcome_of(input, Emit::Data, &limits);
    match (&chunks, &data) {
        (Outcome::Broken, Outcome::Broken) => {}
        (Outcome::Part { goes_on: chunks }, Outcome::Part { goes_on: data }) => {
            assert_eq!(read_chunks(chunks).expect("strict").content, *data, "{}", show(input));
        }
        (
            Outcome::Whole { used, goes_on: chunks },
            Outcome::Whole { used: data_used, goes_on: data },
        ) => {
            assert_eq!(used, data_used, "{}", show(input));
            let read = read_chunks(chunks).expect("strict");
            assert!(read.is_whole && read.used == chunks.len(), "{}", show(chunks));
            assert_eq!(read.content, *data, "{}", show(input));
            check_trailers(&read);
            check_hyper(chunks, &read);
            check_received(&input[..*used], &read);
        }
        _ => panic!("{chunks:?} but {data:?}"),
    }
});

/// What comes of the input, which is the same in all pieces.
fn outcome_of(input: &[u8], emit: Emit, limits: &Limits) -> Outcome {
    let [first, others @ ..] = splits_of(input).map(|split| {
        let (outcome, peak) = peak_bytes_during(|| decode(input, split, emit, limits));
        // The pieces and what goes on are the test's own; what is left is the decoder's, with its
        // trailer section twice while a vector grows.
        let own = 4 * input.len();
        assert!(peak <= own + 4 * limits.trailer_bytes_max, "{peak} octets for {}", show(input));
        outcome
    });
    for other in others {
        assert_eq!(other, first, "{}", show(input));
    }
    first
}

fn decode(input: &[u8], split: Split, emit: Emit, limits: &Limits) -> Outcome {
    let mut decoder = ChunkedDecoder::new(emit);
    let mut goes_on = Vec::with_capacity(input.len());
    let mut used = 0;
    for end in ends(split, input.len()) {
        let mut piece = input[used..end].to_vec();
        let Ok(walked) = decoder.walk(&mut piece, limits) else { return Outcome::Broken };
        assert!(walked.kept <= walked.used && walked.used <= piece.len());
        goes_on.extend_from_slice(&piece[..walked.kept]);
        used += walked.used;
        if decoder.is_done() {
            goes_on.extend(decoder.take_tail());
            return Outcome::Whole { used, goes_on };
        }
        assert_eq!(used, end, "octets are left that nobody took");
    }
    Outcome::Part { goes_on }
}

fn check_trailers(read: &Chunks) {
    for (name, _) in &read.trailers {
        let is_harmful = HARMFUL.iter().any(|other| name == other.as_bytes());
        assert!(!is_harmful, "{} went on as a trailer", show(name));
    }
}

/// hyper reads what goes on as the strict reader does.
fn check_hyper(body: &[u8], read: &Chunks) {
    let seen = hyper_on(body);
    assert_eq!(seen.0.as_deref(), Some(read.content.as_slice()), "{}", show(body));
    assert_eq!(seen.1, read.trailers.len(), "{}", show(body));
    assert!(seen.2, "the next request is lost behind {}", show(body));
}

/// hyper reads what came in the same way, or refuses it.
fn check_received(body: &[u8], read: &Chunks) {
    let seen = hyper_on(body);
    if let Some(content) = seen.0 {
        assert_eq!(content, read.content, "{}", show(body));
        assert!(seen.2, "the next request is lost behind {}", show(body));
    }
}

/// The content, how many trailers there are, and whether the next request is found.
fn hyper_on(body: &[u8]) -> (Option<Vec<u8>>, usize, bool) {
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    let seen = hyper_reader::read_requests(&[HEAD, body, NEXT].concat()).requests;
    let Some(first) = seen.first() else { return (None, 0, false) };
    let trailers = first.trailers.as_ref().map_or(0, |map| meaning::of_map(map).len());
    let finds_next = seen.get(1).is_some_and(|next| next.start[1] == "/next");
    (first.content.clone(), trailers, finds_next)
}
