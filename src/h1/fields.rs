//! Field lines: what the names mean to an intermediary, lists, and the options of `Connection`.
//!
//! An intermediary treats most fields as opaque; the few that it must understand are [`Known`].
//! Knows nothing of whole messages.
//!
//! Next: `request.rs` and `response.rs` walk the fields of a head once and classify each.

use std::mem::MaybeUninit;

use crate::config::limits::{CONNECTION_OPTIONS_COUNT_MAX, FIELDS_COUNT_MAX};

/// One field line: a name that is a token, and a value without the white space around it.
pub type Field<'a> = httparse::Header<'a>;

/// Room for the fields of one head, on the stack of whoever parses it.
pub type FieldStorage<'a> = [MaybeUninit<Field<'a>>; FIELDS_COUNT_MAX];

/// Empty storage. Costs nothing: it is not written to.
#[must_use]
pub const fn field_storage<'a>() -> FieldStorage<'a> {
    [const { MaybeUninit::uninit() }; FIELDS_COUNT_MAX]
}

/// A set of fields of one head, by their places in it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FieldSet(u128);

const _: () = assert!(FIELDS_COUNT_MAX <= 128, "a FieldSet has 128 places");

impl FieldSet {
    /// Adds the field at this place.
    pub fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    /// Whether the field at this place is in the set.
    #[must_use]
    pub fn contains(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }

    /// Those of these fields that are in the set, in their order. Costs nothing where the set is empty.
    pub fn of<'a>(self, fields: &'a [Field<'a>]) -> impl Iterator<Item = &'a Field<'a>> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let place = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            fields.get(place)
        })
    }
}

/// What a field name means to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// `Host`: written anew.
    Host,
    /// `Content-Length`: framing, written anew from the number.
    ContentLength,
    /// `Transfer-Encoding`: framing, written anew.
    TransferEncoding,
    /// `Connection`: its options are ours, the fields it names go.
    Connection,
    /// `TE`: written anew where we can honour it.
    Te,
    /// `Upgrade`: written anew where we can honour it.
    Upgrade,
    /// `Keep-Alive`: for this connection only; a backend's tells how long it keeps an idle one.
    KeepAlive,
    /// Further fields for this connection only (RFC 9110 section 7.6.1, and what is de facto so).
    HopByHop,
    /// One of the forwarding fields: only who is trusted may say these.
    Forwarding(Forwarding),
    /// A forwarding field in a spelling that a server may take for it: nobody may say these.
    LookAlike,
    /// `X-Request-Id`: written anew unless it is well-formed.
    RequestId,
    /// `Max-Forwards`: counts down for OPTIONS.
    MaxForwards,
    /// `Expect`.
    Expect,
    /// Credentials: passed on, and nothing may nominate them away.
    Credentials,
    /// Fields that have no meaning, or a dangerous one, in a trailer section (RFC 9110 section 6.5.1).
    HeadOnly,
    /// Opaque: passed on.
    Other,
}

/// The fields in which proxies tell who asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarding {
    /// `X-Forwarded-For`.
    For,
    /// `X-Forwarded-Proto`.
    Proto,
    /// `X-Forwarded-Host`.
    Host,
    /// `X-Real-IP`.
    RealIp,
    /// `Forwarded` (RFC 7239).
    Standard,
    /// `X-Forwarded-Port` and `X-Forwarded-Server`, which we do not write ourselves.
    Other,
}

/// Tells what a field name means. Names are compared without regard to case. A forwarding or framing
/// field whose name has another octet in the place of a `-` is a look-alike, because CGI-like servers
/// cannot tell the two apart.
#[must_use]
pub fn known(name: &[u8]) -> Known {
    let is = |other: &str| is_spelled(name, other.as_bytes());
    // By length and first letter: most names are told apart by these alone.
    let Some(first) = name.first() else { return Known::Other };
    match (name.len(), first | 0x20) {
        (2, b't') if is("te") => Known::Te,
        (4, b'h') if is("host") => Known::Host,
        (6, b'e') if is("expect") => Known::Expect,
        (6, b'c') if is("cookie") => Known::Credentials,
        (7, b'u') if is("upgrade") => Known::Upgrade,
        (7, b't') if is("trailer") => Known::HopByHop,
        (9, b'f') if is("forwarded") => Known::Forwarding(Forwarding::Standard),
        (9, b'x') if is("x-real-ip") => Known::Forwarding(Forwarding::RealIp),
        (10, b'c') if is("connection") => Known::Connection,
        (10, b'k') if is("keep-alive") => Known::KeepAlive,
        (10, b's') if is("set-cookie") => Known::HeadOnly,
        (12, b'c') if is("content-type") => Known::HeadOnly,
        (12, b'm') if is("max-forwards") => Known::MaxForwards,
        (12, b'x') if is("x-request-id") => Known::RequestId,
        (13, b'a') if is("authorization") => Known::Credentials,
        (13, b'c') if is("cache-control") || is("content-range") => Known::HeadOnly,
        (14, b'c') if is("content-length") => Known::ContentLength,
        (15, b'x') if is("x-forwarded-for") => Known::Forwarding(Forwarding::For),
        (16, b'x') if is("x-forwarded-host") => Known::Forwarding(Forwarding::Host),
        (16, b'x') if is("x-forwarded-port") => Known::Forwarding(Forwarding::Other),
        (16, b'p') if is("proxy-connection") => Known::HopByHop,
        (16, b'c') if is("content-encoding") => Known::HeadOnly,
        (16, b'w') if is("www-authenticate") => Known::HeadOnly,
        (17, b't') if is("transfer-encoding") => Known::TransferEncoding,
        (17, b'x') if is("x-forwarded-proto") => Known::Forwarding(Forwarding::Proto),
        (18, b'p') if is("proxy-authenticate") => Known::HopByHop,
        (18, b'x') if is("x-forwarded-server") => Known::Forwarding(Forwarding::Other),
        (19, b'p') if is("proxy-authorization") => Known::HopByHop,
        (9.., b'c' | b't' | b'x') if looks_alike(name) => Known::LookAlike,
        _ => Known::Other,
    }
}

/// Whether a name becomes one of these when each octet that is no letter and no digit is a hyphen.
fn looks_alike(name: &[u8]) -> bool {
    const TAKEN_FOR: [&str; 9] = [
        "x-real-ip",
        "x-request-id",
        "content-length",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "transfer-encoding",
        "x-forwarded-proto",
        "x-forwarded-server",
    ];
    let fold = |b: &u8| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' };
    TAKEN_FOR
        .iter()
        .any(|other| name.len() == other.len() && name.iter().map(fold).eq(other.bytes()))
}

/// Whether a token is this one, which has lower-case letters and hyphens, and the same length.
///
/// The bit that makes letters lower-case changes a hyphen into itself, and nothing that a token may have
/// into one. All octets are compared, whether or not the first differ: then it is a few instructions for
/// all of them rather than a few for each.
fn is_spelled(token: &[u8], lower: &[u8]) -> bool {
    debug_assert_eq!(token.len(), lower.len(), "told apart by length first");
    let differing = token.iter().zip(lower).map(|(octet, lower)| (octet | 0x20) ^ lower);
    differing.fold(0, |all, bits| all | bits) == 0
}

/// What a trailer section must not say, besides what [`known`] knows: fields that change what a request
/// asks for, how a response is handled, or what its content is (RFC 9110 section 6.5.1). An element that
/// ends with `-` stands for all that begin so.
const NOT_FOR_TRAILERS: &[&str] = &[
    "accept",
    "accept-",
    "access-control-",
    "age",
    "allow",
    "alt-svc",
    "authentication-",
    "clear-site-data",
    "content-",
    "cookie2",
    "date",
    "dnt",
    "early-data",
    "expires",
    "from",
    "http2-settings",
    "if-",
    "last-modified",
    "link",
    "location",
    "mime-version",
    "origin",
    "pragma",
    "priority",
    "proxy-",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "sec-",
    "server",
    "set-cookie2",
    "status",
    "strict-transport-security",
    "upgrade-",
    "user-agent",
    "vary",
    "via",
    "warning",
    "x-forwarded-",
    "x-frame-options",
    "x-http-method-",
    "x-original-",
    "x-rewrite-",
];

/// Of those that begin like one of [`NOT_FOR_TRAILERS`], the ones that are made for trailers.
const FOR_TRAILERS: &[&str] = &["content-digest"];

/// Whether a trailer field means nothing to framing, routing, credentials, or to how the message is
/// handled. Nor may its name be one that CGI-like servers cannot tell from another.
#[must_use]
pub fn is_harmless_trailer(name: &[u8]) -> bool {
    let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
    let is_one_of = |other: &&str| match other.strip_suffix('-') {
        Some(_) => name
            .get(..other.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(other.as_bytes())),
        None => is(other),
    };
    known(name) == Known::Other
        && name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
        && (!NOT_FOR_TRAILERS.iter().any(is_one_of) || FOR_TRAILERS.iter().any(is))
}

/// Whether an octet may stand in a token (RFC 9110 section 5.6.2).
#[must_use]
pub fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// Whether these octets are a token: not empty, and nothing but token octets.
#[must_use]
pub fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| is_token_octet(*octet))
}

/// The elements of a comma-separated list (RFC 9110 section 5.6.1), without the white space around
/// them. Empty elements are given too: whoever must not accept them can see them.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|octet| *octet == b',').map(trim)
}

/// The octets without spaces and tabs at both ends.
#[must_use]
pub fn trim(octets: &[u8]) -> &[u8] {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let start = octets.iter().position(|octet| !blank(octet)).unwrap_or(octets.len());
    let end = octets.iter().rposition(|octet| !blank(octet)).map_or(start, |last| last + 1);
    &octets[start..end]
}

/// The options of all `Connection` fields of a message (RFC 9110 section 7.6.1).
#[derive(Clone, Copy, Default, Debug)]
pub struct ConnectionOptions<'a> {
    /// `close` was among them.
    pub close: bool,
    /// `keep-alive` was among them.
    pub keep_alive: bool,
    /// `upgrade` was among them: without it an `Upgrade` field is nobody's.
    pub upgrade: bool,
    /// `te` was among them: without it a `TE` field is nobody's.
    pub te: bool,
    nominated: Option<Nominated<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Nominated<'a> {
    names: [&'a [u8]; CONNECTION_OPTIONS_COUNT_MAX],
    count: usize,
}

/// A `Connection` field that is not a list of tokens, or has too many of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadConnection;

impl<'a> ConnectionOptions<'a> {
    /// Adds the options of one field value.
    ///
    /// # Errors
    /// [`BadConnection`] for what is not a token, and beyond [`CONNECTION_OPTIONS_COUNT_MAX`].
    pub fn add(&mut self, value: &'a [u8]) -> Result<(), BadConnection> {
        for option in list(value) {
            if option.is_empty() {
                continue;
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if option.eq_ignore_ascii_case(b"te") {
                self.te = true;
            } else if is_token(option) {
                self.nominate(option)?;
            } else {
                return Err(BadConnection);
            }
        }
        Ok(())
    }

    fn nominate(&mut self, name: &'a [u8]) -> Result<(), BadConnection> {
        let empty = Nominated { names: [&[]; CONNECTION_OPTIONS_COUNT_MAX], count: 0 };
        let nominated = self.nominated.get_or_insert(empty);
        let slot = nominated.names.get_mut(nominated.count).ok_or(BadConnection)?;
        *slot = name;
        nominated.count += 1;
        Ok(())
    }

    /// Whether any field was named that is not one of the well-known options.
    #[must_use]
    pub fn nominates_any(&self) -> bool {
        self.nominated.is_some()
    }

    /// Whether this field was named, and so is for this connection only. Nobody can nominate away
    /// what tells messages apart, who is asked, or who asks: those fields answer `false`.
    #[must_use]
    pub fn nominates(&self, name: &[u8]) -> bool {
        let Some(nominated) = &self.nominated else {
            return false;
        };
        let named = nominated.names[..nominated.count]
            .iter()
            .any(|nominee| nominee.eq_ignore_ascii_case(name));
        named
            && match known(name) {
                Known::Host
                | Known::ContentLength
                | Known::TransferEncoding
                | Known::Credentials
                | Known::Forwarding(_)
                | Known::LookAlike
                | Known::RequestId => false,
                Known::Connection
                | Known::Te
                | Known::Upgrade
                | Known::KeepAlive
                | Known::HopByHop
                | Known::Expect
                | Known::MaxForwards
                | Known::HeadOnly
                | Known::Other => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_every_case() {
        for (name, want) in [
            ("Host", Known::Host),
            ("HOST", Known::Host),
            ("content-length", Known::ContentLength),
            ("Content_Length", Known::LookAlike),
            ("Transfer.Encoding", Known::LookAlike),
            ("X~Forwarded~For", Known::LookAlike),
            ("Transfer-Encoding", Known::TransferEncoding),
            ("connection", Known::Connection),
            ("TE", Known::Te),
            ("Upgrade", Known::Upgrade),
            ("Keep-Alive", Known::KeepAlive),
            ("Proxy-Connection", Known::HopByHop),
            ("Proxy-Authenticate", Known::HopByHop),
            ("Proxy-Authorization", Known::HopByHop),
            ("Trailer", Known::HopByHop),
            ("X-Forwarded-For", Known::Forwarding(Forwarding::For)),
            ("X_Forwarded_For", Known::LookAlike),
            ("x-forwarded_proto", Known::LookAlike),
            ("X-Forwarded-Host", Known::Forwarding(Forwarding::Host)),
            ("X-Real-IP", Known::Forwarding(Forwarding::RealIp)),
            ("X_REAL_IP", Known::LookAlike),
            ("Forwarded", Known::Forwarding(Forwarding::Standard)),
            ("X-Request-ID", Known::RequestId),
            ("Max-Forwards", Known::MaxForwards),
            ("Expect", Known::Expect),
            ("Cookie", Known::Credentials),
            ("Authorization", Known::Credentials),
            ("Set-Cookie", Known::HeadOnly),
            ("Accept", Known::Other),
            ("", Known::Other),
        ] {
            assert_eq!(known(name.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn lists() {
        let elements = |value: &'static str| list(value.as_bytes()).collect::<Vec<_>>();
        assert_eq!(elements("a"), [b"a"]);
        assert_eq!(elements(" a ,\tb"), [b"a", b"b"]);
        assert_eq!(elements(""), [b""]);
        assert_eq!(elements("a,,b"), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn connection_options() {
        let mut options = ConnectionOptions::default();
        assert_eq!(options.add(b"close, X-Private ,, Upgrade"), Ok(()));
        assert_eq!(options.add(b"TE, host, cookie"), Ok(()));
        assert!(options.close && options.upgrade && options.te && !options.keep_alive);
        assert!(options.nominates(b"x-private"));
        assert!(!options.nominates(b"X-Other"));
        assert!(!options.nominates(b"Host"), "nobody nominates Host");
        assert!(!options.nominates(b"Cookie"), "nobody nominates credentials");
        assert_eq!(options.add(b"a b"), Err(BadConnection));
    }

    #[test]
    fn connection_options_are_counted() {
        let mut options = ConnectionOptions::default();
        for _ in 0..CONNECTION_OPTIONS_COUNT_MAX {
            assert_eq!(options.add(b"x"), Ok(()));
        }
        assert_eq!(options.add(b"x"), Err(BadConnection));
    }

    #[test]
    fn trailers() {
        for name in
            ["X-Sum", "grpc-status", "Server-Timing", "ETag", "Content-Digest", "Repr-Digest"]
        {
            assert!(is_harmless_trailer(name.as_bytes()), "{name}");
        }
        for name in [
            "Content-Length",
            "Content-Location",
            "Transfer-Encoding",
            "Host",
            "Cookie",
            "If-None-Match",
            "Range",
            "Accept",
            "Accept-Encoding",
            "Via",
            "Age",
            "Date",
            "Vary",
            "Location",
            "Expires",
            "Pragma",
            "Origin",
            "X-Original-URL",
            "X-HTTP-Method-Override",
            "X-Forwarded-For",
            "Content_Length",
            "a_b",
            "x.y",
        ] {
            assert!(!is_harmless_trailer(name.as_bytes()), "{name}");
        }
    }
}
