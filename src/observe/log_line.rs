//! What a line of the access log looks like, in each of its formats.
//!
//! Knows nothing of where lines go. Invariants: a record is one line, and no octet of a peer can end it,
//! leave its field, or reach a terminal as anything but a character; nothing is allocated but in the
//! lines themselves.
//!
//! Next: [`super::access_log`] hands them on.

use super::access_log::{Record, Reuse};
use super::json::Json;
use crate::config::address::UNIX_PREFIX;
use crate::config::{LogFormat, Peer};
use crate::h1::Version;
use crate::h1::reply::Reason;
use crate::h1::text::{push_address, push_clf_date, push_decimal, push_padded, push_timestamp};

/// How much of a field of the request is written.
const FIELD_BYTES_MAX: usize = 1024;

/// What nginx says where a client went away before it was answered.
const CLIENT_GONE: u64 = 499;

/// Appends the line of a record.
pub fn push_line(out: &mut Vec<u8>, record: &Record<'_>, format: LogFormat) {
    match format {
        LogFormat::Text => push_text(out, record),
        LogFormat::Json => push_json(out, record),
        LogFormat::Combined => push_combined(out, record),
    }
    out.push(b'\n');
}

fn push_text(out: &mut Vec<u8>, record: &Record<'_>) {
    push_timestamp(out, record.unix_ms);
    out.push(b' ');
    push_client(out, record.client);
    out.extend_from_slice(b" \"");
    if record.method.is_empty() {
        out.push(b'-');
    } else {
        // Neither can have a quote or a control octet: their grammars were checked.
        out.extend_from_slice(record.method);
        out.push(b' ');
        out.extend_from_slice(record.target);
    }
    out.extend_from_slice(b"\" ");
    match record.status {
        Some(status) => push_decimal(out, u64::from(status)),
        None => out.push(b'-'),
    }
    let ms = u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX);
    for number in [record.bytes_in, record.bytes_out, ms] {
        out.push(b' ');
        push_decimal(out, number);
    }
    out.push(b' ');
    out.extend_from_slice(record.backend.map_or("-", |(_, label)| label).as_bytes());
    out.push(b' ');
    push_decimal(out, u64::from(record.attempts));
    out.push(b' ');
    out.extend_from_slice(reuse_word(record.reuse).unwrap_or("-").as_bytes());
    out.push(b' ');
    out.extend_from_slice(record.reason.map_or("-", Reason::word).as_bytes());
    out.push(b' ');
    out.extend_from_slice(if record.request_id.is_empty() { b"-" } else { record.request_id });
}

/// `IP:PORT`, or `unix:`.
fn push_client(out: &mut Vec<u8>, client: Peer) {
    let address = match client {
        Peer::Ip(address) => address,
        Peer::Unix => return out.extend_from_slice(UNIX_PREFIX.as_bytes()),
    };
    let is_v6 = address.ip().to_canonical().is_ipv6();
    if is_v6 {
        out.push(b'[');
    }
    push_address(out, address.ip());
    if is_v6 {
        out.push(b']');
    }
    out.push(b':');
    push_decimal(out, u64::from(address.port()));
}

fn reuse_word(reuse: Reuse) -> Option<&'static str> {
    match reuse {
        Reuse::None => None,
        Reuse::New => Some("new"),
        Reuse::Reused => Some("reused"),
    }
}

fn none_if_empty(octets: &[u8]) -> Option<&[u8]> {
    Some(octets).filter(|octets| !octets.is_empty())
}

fn push_json(out: &mut Vec<u8>, record: &Record<'_>) {
    let port = match record.client {
        Peer::Ip(address) => Some(u64::from(address.port())),
        Peer::Unix => None,
    };
    let times = &record.times;
    Json::new(out).object(|json| {
        json.member("time").time(record.unix_ms);
        match record.client.ip() {
            Some(ip) => json.member("client").address(ip),
            None => json.member("client").text(UNIX_PREFIX),
        }
        json.member("client_port").maybe(port, Json::number);
        json.member("method").maybe(none_if_empty(record.method), Json::text);
        json.member("target").maybe(none_if_empty(record.target), Json::text);
        json.member("status").maybe(record.status.map(u64::from), Json::number);
        json.member("bytes_in").number(record.bytes_in);
        json.member("bytes_out").number(record.bytes_out);
        json.member("duration_ms").millis(record.duration);
        json.member("connect_ms").maybe(times.connect, Json::millis);
        json.member("wait_ms").maybe(times.wait, Json::millis);
        json.member("own_ms").maybe(times.own, Json::millis);
        json.member("backend").maybe(record.backend, |json, (_, label)| json.text(label));
        json.member("attempts").number(u64::from(record.attempts));
        json.member("reuse").maybe(reuse_word(record.reuse), Json::text);
        json.member("reason").maybe(record.reason.map(Reason::word), Json::text);
        json.member("request_id").maybe(none_if_empty(record.request_id), Json::text);
    });
}

/// As Apache and nginx write it, so that what reads theirs reads ours: the request is without the
/// authority that it may have had.
fn push_combined(out: &mut Vec<u8>, record: &Record<'_>) {
    match record.client.ip() {
        Some(ip) => push_address(out, ip),
        None => out.extend_from_slice(UNIX_PREFIX.as_bytes()),
    }
    out.extend_from_slice(b" - - [");
    push_clf_date(out, record.unix_ms);
    out.extend_from_slice(b"] \"");
    if record.method.is_empty() {
        out.push(b'-');
    } else {
        push_quoted(out, record.method);
        out.push(b' ');
        push_quoted(out, record.target);
        out.extend_from_slice(match record.version {
            Version::Http10 => b" HTTP/1.0",
            Version::Http11 => b" HTTP/1.1",
        });
    }
    out.extend_from_slice(b"\" ");
    push_padded(out, record.status.map_or_else(|| without_answer(record.reason), u64::from), 3);
    out.push(b' ');
    push_decimal(out, record.bytes_out);
    for field in [record.referer, record.user_agent] {
        out.extend_from_slice(b" \"");
        let shown = field.get(..FIELD_BYTES_MAX).unwrap_or(field);
        push_quoted(out, none_if_empty(shown).unwrap_or(b"-"));
        out.push(b'"');
    }
}

fn without_answer(reason: Option<Reason>) -> u64 {
    match reason {
        Some(Reason::ClientClosed | Reason::ClientReset | Reason::ClientStalled) => CLIENT_GONE,
        Some(_) | None => 0,
    }
}

/// As nginx does: what is no printable ASCII, and what the quotes are made of, becomes `\xXX`.
fn push_quoted(out: &mut Vec<u8>, octets: &[u8]) {
    for octet in octets {
        match octet {
            b'"' | b'\\' | 0..b' ' | 127.. => {
                out.extend_from_slice(b"\\x");
                for half in [octet >> 4, octet & 15] {
                    out.push(b"0123456789ABCDEF"[usize::from(half)]);
                }
            }
            plain => out.push(*plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Record<'static> {
        Record {
            client: Peer::Ip((std::net::Ipv6Addr::LOCALHOST, 1).into()),
            method: b"",
            target: b"",
            status: None,
            backend: None,
            attempts: 0,
            reuse: Reuse::None,
            reason: Some(Reason::ClientReset),
            request_id: b"",
            ..Record::example()
        }
    }

    fn line(record: &Record<'_>, format: LogFormat) -> String {
        let mut out = Vec::new();
        push_line(&mut out, record, format);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn lines() {
        for (record, format, want) in [
            (
                Record::example(),
                LogFormat::Text,
                "2024-12-31T23:59:59.007Z 127.0.0.1:40000 \"GET /a?b\" 200 0 12 3 127.0.0.1:3001 1 reused - r-1\n",
            ),
            (
                refused(),
                LogFormat::Text,
                "2024-12-31T23:59:59.007Z [::1]:1 \"-\" - 0 12 3 - 0 - client_reset -\n",
            ),
            (
                Record::example(),
                LogFormat::Json,
                "{\"time\":\"2024-12-31T23:59:59.007Z\",\"client\":\"127.0.0.1\",\"client_port\":40000,\
                 \"method\":\"GET\",\"target\":\"/a?b\",\"status\":200,\"bytes_in\":0,\"bytes_out\":12,\
                 \"duration_ms\":3.999,\"connect_ms\":null,\"wait_ms\":null,\"own_ms\":null,\
                 \"backend\":\"127.0.0.1:3001\",\"attempts\":1,\"reuse\":\"reused\",\"reason\":null,\
                 \"request_id\":\"r-1\"}\n",
            ),
            (
                refused(),
                LogFormat::Json,
                "{\"time\":\"2024-12-31T23:59:59.007Z\",\"client\":\"::1\",\"client_port\":1,\
                 \"method\":null,\"target\":null,\"status\":null,\"bytes_in\":0,\"bytes_out\":12,\
                 \"duration_ms\":3.999,\"connect_ms\":null,\"wait_ms\":null,\"own_ms\":null,\
                 \"backend\":null,\"attempts\":0,\"reuse\":null,\"reason\":\"client_reset\",\
                 \"request_id\":null}\n",
            ),
            (
                Record::example(),
                LogFormat::Combined,
                "127.0.0.1 - - [31/Dec/2024:23:59:59 +0000] \"GET /a?b HTTP/1.1\" 200 12 \"-\" \"-\"\n",
            ),
            (
                refused(),
                LogFormat::Combined,
                "::1 - - [31/Dec/2024:23:59:59 +0000] \"-\" 499 12 \"-\" \"-\"\n",
            ),
            (
                Record { client: Peer::Unix, ..Record::example() },
                LogFormat::Combined,
                "unix: - - [31/Dec/2024:23:59:59 +0000] \"GET /a?b HTTP/1.1\" 200 12 \"-\" \"-\"\n",
            ),
            (
                Record { reason: Some(Reason::DrainTimeout), ..refused() },
                LogFormat::Combined,
                "::1 - - [31/Dec/2024:23:59:59 +0000] \"-\" 000 12 \"-\" \"-\"\n",
            ),
        ] {
            assert_eq!(line(&record, format), want);
        }
    }

    #[test]
    fn who_comes_over_a_unix_socket_has_no_port() {
        let text = line(&Record { client: Peer::Unix, ..Record::example() }, LogFormat::Json);
        assert!(text.contains("\"client\":\"unix:\",\"client_port\":null,"), "{text}");
    }

    #[test]
    fn no_octet_leaves_its_field() {
        let all: Vec<u8> = (0..=255).collect();
        let hostile = Record {
            method: &all,
            target: &all,
            referer: &all,
            user_agent: &all,
            ..Record::example()
        };
        for format in [LogFormat::Json, LogFormat::Combined] {
            let text = line(&hostile, format);
            let inside = text.trim_end_matches('\n');
            assert_eq!(inside.len(), text.len() - 1);
            assert!(inside.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{text}");
        }
        let text = line(&hostile, LogFormat::Combined);
        assert_eq!(text.matches('"').count(), 6, "{text}");
        assert!(
            text.contains("\\x00\\x01") && text.contains("!\\x22#") && text.contains("[\\x5C]")
        );
        assert!(text.contains("~\\x7F\\x80") && text.ends_with("\\xFF\"\n"), "{text}");
    }

    #[test]
    fn of_a_field_so_much_is_written() {
        let long = [b'x'; FIELD_BYTES_MAX + 1];
        let text = line(&Record { user_agent: &long, ..Record::example() }, LogFormat::Combined);
        assert_eq!(text.matches('x').count(), FIELD_BYTES_MAX);
    }
}
