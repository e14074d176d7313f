//! The texts of the command line: backends, durations, and all arguments together.
//!
//! The input is a command line with one argument on each line; the first is also read as a backend and
//! as a duration.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use hyper::Uri;
use libfuzzer_sys::fuzz_target;
use roundel::cli::{self, Complaint, Request};
use roundel::config::Backends;
use roundel::config::backend_url::{PREFIX_BYTES_MAX, WEIGHT_MAX, parse_backend};
use roundel::config::duration::{DURATION_MAX, parse_duration, show_duration};

fuzz_target!(|input: &[u8]| {
    let lines: Vec<&[u8]> = input.split(|octet| *octet == b'\n').collect();
    if let Some(Ok(text)) = lines.first().map(|line| std::str::from_utf8(line)) {
        check_backend(text);
        check_duration(text);
    }
    // The options that read files are left out: what these say is not the input's.
    let reads = |line: &&[u8]| line.starts_with(b"-") && line.contains(&b'c');
    if !lines.iter().any(reads) {
        check_arguments(lines.iter().map(|line| OsString::from_vec(line.to_vec())).collect());
    }
});

/// What is accepted has only legal values, is written so that it is read again, and is for another
/// parser the same URL.
fn check_backend(text: &str) {
    let backend = match parse_backend(text) {
        Ok(backend) => backend,
        Err(said) => return check_said(&said, text),
    };
    assert!(backend.port > 0 && (1..=WEIGHT_MAX).contains(&backend.weight), "{text}");
    assert!(backend.prefix.len() <= PREFIX_BYTES_MAX && !backend.prefix.ends_with('/'), "{text}");
    assert_eq!(parse_backend(&backend.to_string()).as_ref(), Ok(&backend), "{text}");
    let url = text.split_once(',').map_or(text, |(url, _)| url);
    let uri: Uri = url.parse().unwrap_or_else(|e| panic!("another parser refuses {url}: {e}"));
    let host = uri.host().unwrap_or_default();
    let own = backend.host.to_string();
    let is_same = own.eq_ignore_ascii_case(host) || is_same_address(&own, host);
    assert!(is_same, "{text}: {own} but {host}");
    let port = uri.port_u16().unwrap_or(backend.scheme.default_port());
    assert_eq!(port, backend.port, "{text}");
    assert_eq!(uri.path().trim_end_matches('/'), backend.prefix, "{text}");
}

/// IPv6 addresses have several spellings.
fn is_same_address(one: &str, other: &str) -> bool {
    let address = |text: &str| -> Option<std::net::Ipv6Addr> {
        text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    };
    address(one).is_some() && address(one) == address(other)
}

fn check_duration(text: &str) {
    match parse_duration(text) {
        Ok(duration) => {
            assert!(!duration.is_zero() && duration <= DURATION_MAX, "{text}");
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration), "{text}");
        }
        Err(said) => check_said(&said, text),
    }
}

fn check_arguments(arguments: Vec<OsString>) {
    match cli::parse(arguments) {
        Ok(Request::Run(config) | Request::Doctor(config) | Request::Check(config)) => {
            assert!(!config.listen.is_empty());
            if let Backends::Configured(backends) = &config.backends {
                assert!(!backends.is_empty());
            }
        }
        Ok(Request::Print(text)) => assert!(text.ends_with('\n')),
        Err(complaints) => {
            assert!(!complaints.is_empty());
            assert!(complaints.iter().all(|one| matches!(one, Complaint::Arguments(_))));
        }
    }
}

/// A complaint is one line, short, and not a copy of the input.
fn check_said(said: &str, text: &str) {
    assert!(!said.is_empty() && said.len() <= 200 + 2 * text.len(), "{said}");
    assert!(!said.contains('\n') || text.contains('\n'), "{said}");
}
