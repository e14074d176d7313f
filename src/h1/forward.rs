//! Writes the head that we send on: always from values, never a copy of what came.
//!
//! A request is written in two steps. [`OutboundHead::fill`] takes everything that does not depend on
//! the backend, once; [`OutboundHead::write_for`] adds what does, as often as there are tries. What is
//! kept between the two is all that is kept of a request head.
//!
//! Knows nothing of sockets and of who is trusted. Invariant: what is written is strictly valid,
//! states one framing, has one `Host`, and no field that was for us.
//!
//! Next: `proxy::exchange` sends it in front of the body octets that are there already.

use std::net::IpAddr;
use std::time::Duration;

use super::Version;
use super::fields::{Field, FieldSet, Forwarding, Known, known};
use super::framing::{ContentLength, Framing, TransferCoding};
use super::request::{RequestHead, offered_protocols};
use super::response::ResponseHead;
use super::target::Target;
use super::text::{push_address, push_decimal, push_hexadecimal, push_millis};

/// Who sent a request, as the backend is told.
#[derive(Clone, Copy, Debug)]
pub struct ClientFacts {
    /// Its address; `None` where it came over a Unix socket and has none.
    pub address: Option<IpAddr>,
    /// How it reached us: `http`.
    pub proto: &'static str,
    /// Whether its word about others is believed.
    pub trust: Trust,
    /// An id that no other request has, for one that brings none.
    pub fresh_id: u128,
}

/// Whether what a client says about who asked is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It is: its forwarding fields are kept and added to.
    Full,
    /// It is not: they are replaced.
    None,
}

/// A request head on its way, without what depends on the backend.
#[derive(Default, Debug)]
pub struct OutboundHead {
    /// The whole head, as a backend without a prefix that sees the client's host gets it.
    octets: Vec<u8>,
    /// The ends of its parts; a part starts behind its `BEFORE_…`.
    method_end: usize,
    target_end: usize,
    host_end: usize,
    id_end: usize,
}

const BEFORE_TARGET: &[u8] = b" ";
const BEFORE_HOST: &[u8] = b" HTTP/1.1\r\nHost: ";
const BEFORE_ID: &[u8] = b"\r\nX-Request-Id: ";

/// What a backend changes in a request head.
#[derive(Clone, Copy, Debug)]
pub struct BackendView<'a> {
    /// Put in front of the path.
    pub prefix: &'a [u8],
    /// The `Host` that is the backend's own: its authority, or what was configured for it.
    pub authority: &'a [u8],
    /// Whether the backend sees that as `Host`, not the client's.
    pub sees_itself: bool,
}

impl OutboundHead {
    /// Takes over a head. Whatever was here before is gone; its memory is used again.
    pub fn fill(&mut self, head: &RequestHead<'_>, client: ClientFacts) {
        let out = &mut self.octets;
        out.clear();
        out.extend_from_slice(head.method_text);
        self.method_end = out.len();
        out.extend_from_slice(BEFORE_TARGET);
        push_target(out, head);
        self.target_end = out.len();
        out.extend_from_slice(BEFORE_HOST);
        out.extend_from_slice(head.host.unwrap_or_default());
        self.host_end = out.len();
        out.extend_from_slice(BEFORE_ID);
        match head.request_id {
            Some(id) => out.extend_from_slice(id),
            None => push_hexadecimal(out, client.fresh_id),
        }
        self.id_end = out.len();
        out.extend_from_slice(b"\r\n");
        push_fields(out, head.fields, head.ours);
        push_forwarding(out, head, client);
        match head.framing {
            Framing::NoBody | Framing::UntilClose => {}
            Framing::Length(octets) => push_length(out, octets),
            Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        if head.expects_continue {
            out.extend_from_slice(b"Expect: 100-continue\r\n");
        }
        push_request_connection(out, head);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the whole head as this backend gets it.
    pub fn write_for(&self, out: &mut Vec<u8>, backend: BackendView<'_>) {
        let method_end = self.method_end + BEFORE_TARGET.len();
        let Some((method, rest)) = self.octets.split_at_checked(method_end) else {
            debug_assert!(false, "a head is filled before it is written");
            return;
        };
        out.extend_from_slice(method);
        if self.target() != b"*" {
            out.extend_from_slice(backend.prefix);
        }
        let host = self.host();
        if backend.sees_itself || host.is_empty() {
            let (before, after) = rest.split_at(self.host_end - method_end);
            out.extend_from_slice(&before[..before.len() - host.len()]);
            out.extend_from_slice(backend.authority);
            out.extend_from_slice(after);
        } else {
            out.extend_from_slice(rest);
        }
    }

    /// The part that starts with `before` at `start`, without that; nothing in an empty head.
    fn behind(&self, start: usize, before: &[u8], end: usize) -> &[u8] {
        self.octets.get(start + before.len()..end).unwrap_or_default()
    }

    fn host(&self) -> &[u8] {
        self.behind(self.target_end, BEFORE_HOST, self.host_end)
    }

    /// The id under which client, backend and log know this request.
    #[must_use]
    pub fn request_id(&self) -> &[u8] {
        self.behind(self.host_end, BEFORE_ID, self.id_end)
    }

    /// The value of the first field of this name that goes on; empty where there is none.
    #[must_use]
    pub fn field(&self, name: &[u8]) -> &[u8] {
        // Written by us, so in this form.
        let mut fields = self.octets[self.id_end..].split(|octet| *octet == b'\n');
        let value = fields.find_map(|line| {
            let (found, rest) = line.split_at_checked(name.len())?;
            let rest = rest.strip_prefix(b": ")?;
            found.eq_ignore_ascii_case(name).then_some(rest)
        });
        value.and_then(|value| value.strip_suffix(b"\r")).unwrap_or_default()
    }

    /// Whether the backend is offered this protocol.
    #[must_use]
    pub fn offers(&self, protocol: &[u8]) -> bool {
        const UPGRADE: &[u8] = b"Upgrade: ";
        let fields = self.octets[self.id_end..].split(|octet| *octet == b'\n');
        // Written by us, so in this spelling.
        let offered = fields.filter_map(|line| line.strip_prefix(UPGRADE)?.strip_suffix(b"\r"));
        offered.flat_map(offered_protocols).any(|offer| offer.eq_ignore_ascii_case(protocol))
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        &self.octets[..self.method_end]
    }

    /// The target, without a backend's prefix.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.behind(self.method_end, BEFORE_TARGET, self.target_end)
    }

    /// Forgets the head; keeps at most `bytes_max` of its memory for the next one.
    pub fn clear(&mut self, bytes_max: usize) {
        self.octets.clear();
        self.octets.shrink_to(bytes_max);
        (self.method_end, self.target_end, self.host_end, self.id_end) = (0, 0, 0, 0);
    }
}

/// The origin-form of the target (RFC 9112 section 3.2.1). OPTIONS for a server as a whole is `*`
/// again once the authority is gone (section 3.2.4).
fn push_target(out: &mut Vec<u8>, head: &RequestHead<'_>) {
    match head.target {
        Target::Origin(path_and_query) => out.extend_from_slice(path_and_query),
        Target::Asterisk => out.push(b'*'),
        Target::Absolute { path_and_query: b"", .. } if head.method_text == b"OPTIONS" => {
            out.push(b'*');
        }
        Target::Absolute { path_and_query, .. } => {
            if !path_and_query.starts_with(b"/") {
                out.push(b'/');
            }
            out.extend_from_slice(path_and_query);
        }
    }
}

fn push_fields(out: &mut Vec<u8>, fields: &[Field<'_>], ours: FieldSet) {
    for (place, field) in fields.iter().enumerate() {
        if !ours.contains(place) {
            push_field(out, field.name.as_bytes(), field.value);
        }
    }
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn push_length(out: &mut Vec<u8>, octets: u64) {
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(out, octets);
    out.extend_from_slice(b"\r\n");
}

/// Tells the backend who asked, for what, and through whom (`Via`: RFC 9110 section 7.6.3, with the
/// version that we received). Three fields are always there; of the others only those that the client
/// sent are written, with the truth in the place of what it claimed.
fn push_forwarding(out: &mut Vec<u8>, head: &RequestHead<'_>, client: ClientFacts) {
    let believed = client.trust == Trust::Full;
    out.extend_from_slice(b"X-Forwarded-For: ");
    if believed {
        push_claims(out, head, Forwarding::For);
    }
    push_address_or_unknown(out, client.address);
    out.extend_from_slice(b"\r\n");
    let proto = client.proto.as_bytes();
    push_truth(out, head, believed, Forwarding::Proto, b"X-Forwarded-Proto", Some(proto));
    push_truth(out, head, believed, Forwarding::Host, b"X-Forwarded-Host", head.host);
    if claims(head, Forwarding::RealIp).next().is_some() {
        let mut octets = Vec::with_capacity(40);
        // A single address, or none: there is no word for one that is not known.
        let address = client.address.map(|address| {
            push_address(&mut octets, address);
            octets.as_slice()
        });
        push_truth(out, head, believed, Forwarding::RealIp, b"X-Real-IP", address);
    }
    if claims(head, Forwarding::Standard).next().is_some() {
        out.extend_from_slice(b"Forwarded: ");
        if believed {
            push_claims(out, head, Forwarding::Standard);
        }
        push_forwarded_element(out, client);
        out.extend_from_slice(b"\r\n");
    }
    if believed {
        for field in head.forwarding.of(head.fields) {
            if known(field.name.as_bytes()) == Known::Forwarding(Forwarding::Other) {
                push_field(out, field.name.as_bytes(), field.value);
            }
        }
    }
    if let Some(hops) = head.max_forwards {
        out.extend_from_slice(b"Max-Forwards: ");
        push_decimal(out, hops.saturating_sub(1));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(match head.version {
        Version::Http10 => b"Via: 1.0 roundel\r\n",
        Version::Http11 => b"Via: 1.1 roundel\r\n",
    });
}

/// What a client sent in one of the forwarding fields.
fn claims<'a>(head: &RequestHead<'a>, which: Forwarding) -> impl Iterator<Item = &'a [u8]> {
    head.forwarding
        .of(head.fields)
        .filter(move |field| known(field.name.as_bytes()) == Known::Forwarding(which))
        .map(|field| field.value)
        .filter(|value| !value.is_empty())
}

/// Writes the claims as the beginning of a list.
fn push_claims(out: &mut Vec<u8>, head: &RequestHead<'_>, which: Forwarding) {
    for claim in claims(head, which) {
        out.extend_from_slice(claim);
        out.extend_from_slice(b", ");
    }
}

/// Writes a field that holds one value: the claim of who is believed, else the truth.
fn push_truth(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    believed: bool,
    which: Forwarding,
    name: &[u8],
    truth: Option<&[u8]>,
) {
    let claim = if believed { claims(head, which).next() } else { None };
    if let Some(value) = claim.or(truth) {
        push_field(out, name, value);
    }
}

/// Who has no address is `unknown` (RFC 7239 section 6.2), also in the older field, whose lists are
/// counted by those that read them: a place must not be missing.
fn push_address_or_unknown(out: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        Some(address) => push_address(out, address),
        None => out.extend_from_slice(b"unknown"),
    }
}

/// One element of RFC 7239 section 4, an IPv6 address in brackets and quotes (section 6).
fn push_forwarded_element(out: &mut Vec<u8>, client: ClientFacts) {
    let is_v6 = client.address.is_some_and(|address| address.to_canonical().is_ipv6());
    out.extend_from_slice(if is_v6 { b"for=\"[".as_slice() } else { b"for=" });
    push_address_or_unknown(out, client.address);
    out.extend_from_slice(if is_v6 { b"]\";proto=".as_slice() } else { b";proto=" });
    out.extend_from_slice(client.proto.as_bytes());
}

/// Our own options for the connection to the backend. That it persists goes without saying.
fn push_request_connection(out: &mut Vec<u8>, head: &RequestHead<'_>) {
    match (head.wants_upgrade, head.takes_trailers) {
        (false, false) => return,
        (true, false) => out.extend_from_slice(b"Connection: upgrade\r\n"),
        (false, true) => out.extend_from_slice(b"Connection: te\r\n"),
        (true, true) => out.extend_from_slice(b"Connection: upgrade, te\r\n"),
    }
    if head.takes_trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    if head.wants_upgrade {
        push_upgrade(out, head.fields);
    }
}

/// One `Upgrade` field with the protocols that may be asked for through us.
fn push_upgrade(out: &mut Vec<u8>, fields: &[Field<'_>]) {
    let mut before: &[u8] = b"Upgrade: ";
    let upgrades = fields.iter().filter(|field| known(field.name.as_bytes()) == Known::Upgrade);
    for protocol in upgrades.flat_map(|field| offered_protocols(field.value)) {
        out.extend_from_slice(before);
        out.extend_from_slice(protocol);
        before = b", ";
    }
    if before == b", " {
        out.extend_from_slice(b"\r\n");
    }
}

/// What follows on the client's connection after a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterResponse {
    /// It goes on.
    Persist,
    /// It ends with this response.
    Close,
    /// It becomes a tunnel.
    Tunnel,
}

/// Appends the request of a health probe: a GET of this path, below the backend's prefix.
pub fn write_probe(out: &mut Vec<u8>, path: &[u8], backend: BackendView<'_>) {
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(backend.prefix);
    out.extend_from_slice(path);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(backend.authority);
    out.extend_from_slice(b"\r\nUser-Agent: roundel-health\r\nConnection: close\r\n\r\n");
}

/// Appends a response head as a client of this version gets it.
pub fn write_response(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    client: Version,
    after: AfterResponse,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.phrase);
    out.extend_from_slice(b"\r\n");
    push_fields(out, head.fields, head.ours);
    // A 1xx or 204 has no framing fields at all (RFC 9110 section 8.6, RFC 9112 section 6.1); the
    // answer to HEAD and a 304 state what a GET would get.
    if head.status >= 200 && head.status != 204 {
        match (head.coding, head.length) {
            (_, ContentLength::Octets(octets)) => push_length(out, octets),
            (TransferCoding::Chunked, _) if client == Version::Http11 => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
            (_, ContentLength::Absent | ContentLength::Bad) => {}
        }
    }
    match after {
        AfterResponse::Tunnel => {
            out.extend_from_slice(b"Connection: upgrade\r\n");
            push_upgrade(out, head.fields);
        }
        // 426 has to name the protocol that it asks for (RFC 9110 section 15.5.22).
        AfterResponse::Persist | AfterResponse::Close if head.status == 426 => {
            let close = after == AfterResponse::Close;
            out.extend_from_slice(if close {
                b"Connection: upgrade, close\r\n".as_slice()
            } else {
                b"Connection: upgrade\r\n"
            });
            push_upgrade(out, head.fields);
        }
        AfterResponse::Close => out.extend_from_slice(b"Connection: close\r\n"),
        AfterResponse::Persist if client == Version::Http10 => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        AfterResponse::Persist => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// How long a request took so far, as a client is told.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ServerTiming {
    /// Until a connection carried it.
    pub connect: Duration,
    /// From then until the head of the response was there.
    pub wait: Duration,
    /// What was our own doing.
    pub own: Duration,
}

/// Adds a `Server-Timing` field to a head that is complete otherwise; one that is there already stays
/// beside it.
pub fn add_server_timing(head: &mut Vec<u8>, timing: ServerTiming) {
    let Some(fields_end) = head.len().checked_sub(b"\r\n".len()) else { return };
    head.truncate(fields_end);
    let parts = [
        (b"Server-Timing: connect;dur=".as_slice(), timing.connect),
        (b", wait;dur=", timing.wait),
        (b", own;dur=", timing.own),
    ];
    for (name, duration) in parts {
        head.extend_from_slice(name);
        push_millis(head, duration);
    }
    head.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::fields::field_storage;
    use super::super::request::{Method, parse_request};
    use super::super::response::parse_response;
    use super::*;
    use crate::config::Limits;

    const PLAIN: BackendView<'_> =
        BackendView { prefix: b"", authority: b"backend:1", sees_itself: false };

    fn request(wire: &str, backend: BackendView<'_>) -> String {
        request_from(wire, backend, Trust::None)
    }

    fn request_from(wire: &str, backend: BackendView<'_>, trust: Trust) -> String {
        written(wire, backend, trust, Some([127, 0, 0, 1].into()))
    }

    fn written(
        wire: &str,
        backend: BackendView<'_>,
        trust: Trust,
        address: Option<IpAddr>,
    ) -> String {
        let mut storage = field_storage();
        let head = parse_request(wire.as_bytes(), &mut storage, &Limits::default()).expect(wire);
        let client = ClientFacts { address, proto: "http", trust, fresh_id: 0xab };
        let mut outbound = OutboundHead::default();
        outbound.fill(&head, client);
        let mut out = Vec::new();
        outbound.write_for(&mut out, backend);
        let id = format!("X-Request-Id: {}\r\n", "000000000000000000000000000000ab");
        String::from_utf8(out).expect("ASCII").replacen(&id, "", 1)
    }

    const FORWARDING: &str = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n";

    #[test]
    fn a_field_of_times_stands_last() {
        let mut head = b"HTTP/1.1 200 OK\r\nServer-Timing: db;dur=1\r\n\r\n".to_vec();
        let [connect, wait, own] = [7, 50_123, 1_000].map(Duration::from_micros);
        add_server_timing(&mut head, ServerTiming { connect, wait, own });
        assert_eq!(
            String::from_utf8_lossy(&head),
            "HTTP/1.1 200 OK\r\nServer-Timing: db;dur=1\r\n\
             Server-Timing: connect;dur=0.007, wait;dur=50.123, own;dur=1.000\r\n\r\n"
        );
    }

    #[test]
    fn requests() {
        for (wire, want) in [
            (
                "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n",
                "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n{F}X-Forwarded-Host: h\r\nVia: 1.1 roundel\r\n\r\n",
            ),
            (
                "GET / HTTP/1.0\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: backend:1\r\n{F}Via: 1.0 roundel\r\n\r\n",
            ),
            (
                "GET http://A:80?q HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /?q HTTP/1.1\r\nHost: A:80\r\n{F}X-Forwarded-Host: A:80\r\nVia: 1.1 roundel\r\n\r\n",
            ),
            (
                "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
                "OPTIONS * HTTP/1.1\r\nHost: a\r\n{F}X-Forwarded-Host: a\r\nVia: 1.1 roundel\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 05, 5\r\nExpect: 100-continue\r\nVia: 1.0 x\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: h\r\nVia: 1.0 x\r\n{F}X-Forwarded-Host: h\r\nVia: 1.1 roundel\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: Chunked\r\nTE: trailers;q=1, trailers\r\nConnection: te, x-a, close\r\nX-A: 1\r\nX-B: 2\r\nX-Forwarded-For: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: h\r\nX-B: 2\r\n{F}X-Forwarded-Host: h\r\nVia: 1.1 roundel\r\nTransfer-Encoding: chunked\r\nConnection: te\r\nTE: trailers\r\n\r\n",
            ),
            (
                "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket, h2c\r\nUpgrade: x/1\r\nConnection: Upgrade\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\n{F}X-Forwarded-Host: h\r\nVia: 1.1 roundel\r\nConnection: upgrade\r\nUpgrade: websocket, x/1\r\n\r\n",
            ),
        ] {
            assert_eq!(request(wire, PLAIN), want.replace("{F}", FORWARDING), "{wire:?}");
        }
    }

    const CLAIMS: &str = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\n\
         X-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: w\r\n\
         X-Real-IP: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-Port: 443\r\n\
         X_Forwarded_For: 3.3.3.3\r\nX-Request-Id: r-1\r\n\r\n";

    #[test]
    fn the_claims_of_a_stranger_are_replaced() {
        assert_eq!(
            request(CLAIMS, PLAIN),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r-1\r\nX-Forwarded-For: 127.0.0.1\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Real-IP: 127.0.0.1\r\n\
             Forwarded: for=127.0.0.1;proto=http\r\nVia: 1.1 roundel\r\n\r\n"
        );
    }

    #[test]
    fn the_claims_of_a_trusted_proxy_are_kept_and_added_to() {
        assert_eq!(
            request_from(CLAIMS, PLAIN, Trust::Full),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r-1\r\n\
             X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: w\r\nX-Real-IP: 1.1.1.1\r\n\
             Forwarded: for=1.1.1.1, for=127.0.0.1;proto=http\r\nX-Forwarded-Port: 443\r\n\
             Via: 1.1 roundel\r\n\r\n"
        );
    }

    #[test]
    fn who_has_no_address_is_unknown() {
        assert_eq!(
            written(CLAIMS, PLAIN, Trust::None, None),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r-1\r\nX-Forwarded-For: unknown\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\
             Forwarded: for=unknown;proto=http\r\nVia: 1.1 roundel\r\n\r\n"
        );
        assert_eq!(
            written(CLAIMS, PLAIN, Trust::Full, None),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r-1\r\n\
             X-Forwarded-For: 1.1.1.1, 2.2.2.2, unknown\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: w\r\nX-Real-IP: 1.1.1.1\r\n\
             Forwarded: for=1.1.1.1, for=unknown;proto=http\r\nX-Forwarded-Port: 443\r\n\
             Via: 1.1 roundel\r\n\r\n"
        );
    }

    #[test]
    fn a_request_id_is_kept_only_if_it_is_well_formed() {
        for (field, kept) in [
            ("X-Request-Id: a-B.9_~+/=@:\r\n", true),
            ("X-Request-Id: a b\r\n", false),
            ("X-Request-Id: a,b\r\n", false),
            ("X-Request-Id: \"a\"\r\n", false),
            ("X-Request-Id:\r\n", false),
            ("X-Request-Id: a\r\nX-Request-Id: a\r\n", false),
            ("X_Request_Id: a\r\n", false),
        ] {
            let got = request(&format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n"), PLAIN);
            // The made one is taken out by the harness.
            assert_eq!(got.contains("equest"), kept, "{field:?}: {got}");
        }
    }

    #[test]
    fn options_counts_its_hops() {
        let options = "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 5\r\n\r\n";
        assert!(request(options, PLAIN).contains("\r\nMax-Forwards: 4\r\n"));
        let get = "GET / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 5\r\n\r\n";
        assert!(request(get, PLAIN).contains("\r\nMax-Forwards: 5\r\n"));
    }

    #[test]
    fn an_expectation_is_the_backends_to_judge() {
        for (version, expect, seen) in [
            ("1.1", "100-Continue", "Expect: 100-continue"),
            ("1.1", "a-miracle", "Expect: a-miracle"),
            // A client of 1.0 cannot be sent a 100 (RFC 9110 section 10.1.1).
            ("1.0", "100-continue", ""),
        ] {
            let head = format!(
                "POST / HTTP/{version}\r\nHost: h\r\nContent-Length: 1\r\nExpect: {expect}\r\n\r\n"
            );
            let got = request(&head, PLAIN);
            let line = got.lines().find(|line| line.starts_with("Expect")).unwrap_or_default();
            assert_eq!(line, seen, "{head:?}");
        }
    }

    #[test]
    fn a_backend_sees_its_prefix_and_its_own_name() {
        let backend = BackendView { prefix: b"/app", sees_itself: true, ..PLAIN };
        let got = request("GET //x/../y HTTP/1.1\r\nHost: h\r\n\r\n", backend);
        let want = format!(
            "GET /app//x/../y HTTP/1.1\r\nHost: backend:1\r\n{FORWARDING}\
             X-Forwarded-Host: h\r\nVia: 1.1 roundel\r\n\r\n"
        );
        assert_eq!(got, want);
        let star = request("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", backend);
        assert!(star.starts_with("OPTIONS * HTTP/1.1\r\n"), "{star}");
    }

    #[test]
    fn responses() {
        use AfterResponse::{Close, Persist, Tunnel};
        use Version::{Http10, Http11};
        let get = Method::Idempotent;
        for (wire, method, client, after, want) in [
            (
                "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\nKeep-Alive: timeout=5\r\n\r\n",
                get,
                Http11,
                Persist,
                "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n",
            ),
            (
                "HTTP/1.0 404 No\r\nContent-Length: 5\r\n\r\n",
                get,
                Http10,
                Persist,
                "HTTP/1.1 404 No\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
                get,
                Http11,
                Persist,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                get,
                Http10,
                Close,
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Method::Head,
                Http11,
                Persist,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                "HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n",
                get,
                Http11,
                Persist,
                "HTTP/1.1 204 None\r\n\r\n",
            ),
            (
                "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
                get,
                Http11,
                Persist,
                "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
            ),
            (
                "HTTP/1.1 103 Hints\r\nLink: </a>\r\nContent-Length: 0\r\n\r\n",
                get,
                Http11,
                Persist,
                "HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: x-y\r\nX-Y: 1\r\nUpgrade: h2c\r\n\r\n",
                get,
                Http11,
                Close,
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            ),
            (
                "HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\nConnection: upgrade\r\nA: b\r\n\r\n",
                get,
                Http11,
                Tunnel,
                "HTTP/1.1 101 Switch\r\nA: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            ),
            (
                "HTTP/1.1 426 Up\r\nUpgrade: x/2\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
                get,
                Http11,
                Persist,
                "HTTP/1.1 426 Up\r\nContent-Length: 0\r\nConnection: upgrade\r\nUpgrade: x/2\r\n\r\n",
            ),
        ] {
            let mut storage = field_storage();
            let head = parse_response(wire.as_bytes(), &mut storage, method).expect(wire);
            let mut out = Vec::new();
            write_response(&mut out, &head, client, after);
            assert_eq!(String::from_utf8(out).expect("ASCII"), want, "{wire:?}");
        }
    }
}
