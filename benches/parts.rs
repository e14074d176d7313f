//! What the parts of a request cost, each by itself: heads, chunks, framing, turns.
//!
//! ```text
//! cargo bench --bench parts
//! ```
//!
//! Wall time on a shared machine is worth little by itself; take the ratios of one run.
#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark: a panic is how it reports, and criterion writes the entry point"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use roundel::backend::BackendId;
use roundel::backend::balance::Balancer;
use roundel::config::Limits;
use roundel::h1::Version;
use roundel::h1::chunked::{ChunkedDecoder, Emit};
use roundel::h1::fields::field_storage;
use roundel::h1::forward::{
    AfterResponse, BackendView, ClientFacts, OutboundHead, Trust, write_response,
};
use roundel::h1::framing::{ContentLength, TransferCoding, request_framing};
use roundel::h1::request::{Method, parse_request};
use roundel::h1::response::parse_response;
use roundel::h1::scan::HeadScan;

/// Request heads as they come: as short as possible, a browser's, one full of cookies.
fn request_heads() -> [String; 3] {
    let browser = "GET /articles/2026/how-a-proxy-works?ref=front HTTP/1.1\r\nHost: www.example.org\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
        Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
        Referer: https://www.example.org/\r\nConnection: keep-alive\r\n\
        Cookie: session=6f2b8c1d9e4a4f0b8d7c6a5e4f3b2a19; theme=dark; consent=1\r\n\
        Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
        Sec-Fetch-Site: same-origin\r\nPriority: u=0, i\r\n\r\n";
    let cookies: String =
        (0..45).map(|number| format!("Cookie: part{number}={}\r\n", "x".repeat(130))).collect();
    let long = format!("GET / HTTP/1.1\r\nHost: www.example.org\r\n{cookies}\r\n");
    ["GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n".into(), browser.into(), long]
}

const RESPONSE_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\
    Date: Wed, 25 Nov 2026 22:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n\
    Content-Length: 5120\r\nLast-Modified: Wed, 25 Nov 2026 20:00:00 GMT\r\nConnection: keep-alive\r\n\
    ETag: \"6745f1a0-1400\"\r\nCache-Control: max-age=300\r\nVary: Accept-Encoding\r\n\r\n";

/// From octets to the octets that go on: find the end, judge, rewrite for a backend.
fn heads(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("request head");
    for head in request_heads() {
        let octets = head.as_bytes();
        group.throughput(Throughput::Bytes(octets.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(octets.len()), octets, |b, octets| {
            let mut outbound = OutboundHead::default();
            let mut out = Vec::new();
            b.iter(|| {
                let end = HeadScan::default().advance(octets).expect("CRLF").expect("whole");
                let mut storage = field_storage();
                let head = parse_request(&octets[..end], &mut storage, &limits).expect("sound");
                let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
                let facts = ClientFacts {
                    address: Some(address),
                    proto: "http",
                    trust: Trust::None,
                    fresh_id: 7,
                };
                outbound.fill(&head, facts);
                let view = BackendView { prefix: b"", authority: b"b:80", sees_itself: false };
                out.clear();
                outbound.write_for(&mut out, view);
                black_box(out.len())
            });
        });
    }
    group.finish();
    c.bench_function("response head", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            let mut storage = field_storage();
            let head = parse_response(RESPONSE_HEAD, &mut storage, Method::Idempotent);
            let head = head.expect("sound");
            out.clear();
            write_response(&mut out, &head, Version::Http11, AfterResponse::Persist);
            black_box(out.len())
        });
    });
}

/// A body of 64 KiB in chunks of these sizes.
fn chunks(c: &mut Criterion) {
    const CONTENT_BYTES: usize = 64 * 1024;
    let limits = Limits::default();
    let mut group = c.benchmark_group("chunked, 64 KiB");
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
    for size in [64, 1024, 16 * 1024] {
        let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
        let body = chunk.repeat(CONTENT_BYTES / size) + "0\r\n\r\n";
        group.bench_with_input(BenchmarkId::new("chunks of", size), body.as_bytes(), |b, body| {
            let mut buf = body.to_vec();
            b.iter(|| {
                // Without extensions nothing in it moves.
                let mut decoder = ChunkedDecoder::new(Emit::Chunks);
                let walked = decoder.walk(black_box(&mut buf), &limits).expect("sound");
                assert!(decoder.is_done());
                black_box(walked.kept)
            });
        });
    }
    group.finish();
}

fn framing(c: &mut Criterion) {
    c.bench_function("framing of a request", |b| {
        b.iter(|| {
            let mut length = ContentLength::default();
            length.add(black_box(b"1234567"));
            request_framing(Version::Http11, length, TransferCoding::Absent)
        });
    });
}

/// Whose turn it is, among few and many, with half of them out.
fn turns(c: &mut Criterion) {
    let mut group = c.benchmark_group("a turn");
    for (name, weights) in [
        ("among 3", vec![1; 3]),
        ("among 1000", vec![1; 1000]),
        ("among 3 with weights", vec![5, 3, 1]),
        ("among 1000 with weights", (0..1000).map(|n| 1 + n % 7).collect()),
    ] {
        let mut balancer = Balancer::new(weights.clone());
        group.bench_function(name, |b| b.iter(|| balancer.next(|_| true)));
        balancer.set_members((0..weights.len()).step_by(2).map(BackendId));
        group.bench_function(format!("{name}, half of them out"), |b| {
            b.iter(|| balancer.next(|_| true));
        });
    }
    group.finish();
}

criterion_group!(parts, heads, chunks, framing, turns);
criterion_main!(parts);
