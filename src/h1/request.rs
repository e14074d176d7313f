//! Reads a request head: httparse finds the parts, this file refuses what it is lenient about.
//!
//! A [`RequestHead`] is judged: its framing is decided, its host is known, the fields that are for us
//! are told apart from those that go on. Knows nothing of backends and connections.
//!
//! Invariant: a head that two sound parsers could understand differently never becomes a value.
//!
//! Next: `forward.rs` turns it into the head that we send on.

use super::Version;
use super::fields::{
    ConnectionOptions, Field, FieldSet, FieldStorage, Known, is_token, known, list,
};
use super::framing::{ContentLength, Framing, FramingError, TransferCoding, request_framing};
use super::reply::Reason;
use super::target::{Target, is_host, parse_target, same_authority};
use crate::config::Limits;

/// What a method means to an intermediary (RFC 9110 section 9). Methods are case-sensitive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// HEAD: its response has no body.
    Head,
    /// GET, PUT, DELETE, OPTIONS: doing it twice is doing it once (section 9.2.2).
    Idempotent,
    /// POST, PATCH, and every method that we do not know.
    Other,
}

impl Method {
    /// Whether a request may be sent a second time when it is not known what became of the first.
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        match self {
            Self::Head | Self::Idempotent => true,
            Self::Other => false,
        }
    }
}

/// A request head, read and judged. Borrows from the octets that it was read from.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// What the method means to us.
    pub method: Method,
    /// The method as it came.
    pub method_text: &'a [u8],
    /// The target, in one of its forms.
    pub target: Target<'a>,
    /// The version of the sender.
    pub version: Version,
    /// The authority of an absolute target, else the value of `Host`, which only 1.0 may lack.
    pub host: Option<&'a [u8]>,
    /// All field lines.
    pub fields: &'a [Field<'a>],
    /// Those of them that do not go on as they are.
    pub ours: FieldSet,
    /// Those of these that claim who asked.
    pub forwarding: FieldSet,
    /// Where the body ends.
    pub framing: Framing,
    /// A well-formed `X-Request-Id`.
    pub request_id: Option<&'a [u8]>,
    /// How many hops OPTIONS may still go (RFC 9110 section 7.6.2), where that is limited.
    pub max_forwards: Option<u64>,
    /// Whether the client wants the connection to go on (RFC 9112 section 9.3).
    pub persistent: bool,
    /// Whether another protocol is asked for that may be asked for through us.
    pub wants_upgrade: bool,
    /// Whether the client takes trailers.
    pub takes_trailers: bool,
    /// Whether the client waits for a 100 before it sends the body.
    pub expects_continue: bool,
}

/// Skips the one empty line that a client may have sent after its last request (RFC 9112 section
/// 2.2): gives how many octets to skip, or `None` where that cannot be told yet.
#[must_use]
pub fn leading_empty_line(octets: &[u8]) -> Option<usize> {
    match octets {
        [b'\r', b'\n', ..] => Some(2),
        [b'\r'] | [] => None,
        _ => Some(0),
    }
}

/// Reads a whole request head, from the request line to the empty line.
///
/// # Errors
/// The reason to answer with; the connection cannot go on after it.
pub fn parse_request<'a>(
    head: &'a [u8],
    storage: &'a mut FieldStorage<'a>,
    limits: &Limits,
) -> Result<RequestHead<'a>, Reason> {
    if head.starts_with(b"\r") {
        return Err(Reason::BadRequestLine);
    }
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, storage) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Reason::BadField),
        Err(error) => return Err(explain(head, error)),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Reason::BadRequestLine);
    };
    let line = RequestLine {
        method: method.as_bytes(),
        target: target.as_bytes(),
        version: if version == 0 { Version::Http10 } else { Version::Http11 },
    };
    judge(line, parsed.headers, limits)
}

/// Finds out what httparse disliked: it does not say in which part of the request line it was.
fn explain(head: &[u8], error: httparse::Error) -> Reason {
    match error {
        httparse::Error::TooManyHeaders => return Reason::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => return Reason::BadField,
        httparse::Error::NewLine => return Reason::BadRequestLine,
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {}
    }
    let line = head.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let mut words = line.split(|octet| *octet == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(version), None) if is_token(method) => match version {
            b"HTTP/1.0" | b"HTTP/1.1" if target.is_empty() => Reason::BadRequestLine,
            b"HTTP/1.0" | b"HTTP/1.1" => Reason::BadTarget,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                Reason::UnsupportedVersion
            }
            _ => Reason::BadRequestLine,
        },
        _ => Reason::BadRequestLine,
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

/// What the fields say that we have to understand.
#[derive(Default)]
struct Said<'a> {
    ours: FieldSet,
    forwarding: FieldSet,
    length: ContentLength,
    coding: TransferCoding,
    options: ConnectionOptions<'a>,
    host: Option<&'a [u8]>,
    hosts: usize,
    request_id: Option<&'a [u8]>,
    request_ids: usize,
    /// Reads like a length: digits, and nothing that could be read in two ways.
    hops: ContentLength,
    names_protocol: bool,
    names_trailers: bool,
    expects_continue: bool,
}

fn judge<'a>(
    line: RequestLine<'a>,
    fields: &'a [Field<'a>],
    limits: &Limits,
) -> Result<RequestHead<'a>, Reason> {
    if line.target.len() > limits.target_bytes_max {
        return Err(Reason::TargetTooLong);
    }
    if !is_token(line.method) {
        return Err(Reason::BadRequestLine);
    }
    let method = match line.method {
        b"HEAD" => Method::Head,
        b"GET" | b"PUT" | b"DELETE" | b"OPTIONS" => Method::Idempotent,
        b"CONNECT" | b"TRACE" => return Err(Reason::UnsupportedMethod),
        // Methods are case-sensitive and all of them upper-case, but not every server reads them so:
        // what is `get` for one is GET for another.
        text if text.iter().any(u8::is_ascii_lowercase) => return Err(Reason::UnsupportedMethod),
        _ => Method::Other,
    };
    let target = parse_target(line.method, line.target).map_err(|_| Reason::BadTarget)?;
    let mut said = Said::default();
    said.listen(fields)?;
    let host = agree_on_host(target, &said, line.version)?;
    let framing = request_framing(line.version, said.length, said.coding).map_err(|e| match e {
        FramingError::Ambiguous => Reason::BadFraming,
        FramingError::UnknownCoding => Reason::UnsupportedCoding,
    })?;
    let max_forwards = match (line.method, said.hops) {
        (b"OPTIONS", ContentLength::Octets(hops)) => Some(hops),
        (b"OPTIONS", ContentLength::Bad) => return Err(Reason::BadField),
        // For other methods it means nothing, and is passed on as it is.
        _ => None,
    };
    if max_forwards.is_some() {
        for (place, field) in fields.iter().enumerate() {
            if known(field.name.as_bytes()) == Known::MaxForwards {
                said.ours.insert(place);
            }
        }
    }
    if said.options.nominates_any() {
        for (place, field) in fields.iter().enumerate() {
            if said.options.nominates(field.name.as_bytes()) {
                said.ours.insert(place);
            }
        }
    }
    let is_11 = line.version == Version::Http11;
    Ok(RequestHead {
        method,
        method_text: line.method,
        target,
        version: line.version,
        host,
        fields,
        ours: said.ours,
        forwarding: said.forwarding,
        framing,
        request_id: said.request_id.filter(|id| said.request_ids == 1 && is_request_id(id)),
        max_forwards,
        persistent: !said.options.close && (is_11 || said.options.keep_alive),
        // With a body in front, the other protocol's first octets could not be told from it.
        wants_upgrade: is_11
            && said.options.upgrade
            && said.names_protocol
            && matches!(framing, Framing::NoBody | Framing::Length(0)),
        takes_trailers: is_11 && said.options.te && said.names_trailers,
        // Without a body there is nothing to wait for, and it must not be said (section 10.1.1).
        expects_continue: is_11
            && said.expects_continue
            && !matches!(framing, Framing::NoBody | Framing::Length(0)),
    })
}

impl<'a> Said<'a> {
    /// Walks over the fields once and keeps what is for us. In place: it is large, with room for all that
    /// `Connection` may name.
    fn listen(&mut self, fields: &'a [Field<'a>]) -> Result<(), Reason> {
        for (place, field) in fields.iter().enumerate() {
            match known(field.name.as_bytes()) {
                Known::Other | Known::Credentials | Known::HeadOnly => continue,
                Known::RequestId => {
                    self.request_ids += 1;
                    self.request_id = Some(field.value);
                }
                Known::MaxForwards => {
                    self.hops.add(field.value);
                    continue;
                }
                Known::Host => {
                    self.hosts += 1;
                    self.host = Some(field.value);
                }
                Known::ContentLength => self.length.add(field.value),
                Known::TransferEncoding => self.coding.add(field.value),
                Known::Connection => {
                    self.options.add(field.value).map_err(|_| Reason::BadField)?;
                }
                Known::Te => {
                    self.names_trailers |=
                        list(field.value).any(|e| e.eq_ignore_ascii_case(b"trailers"));
                }
                Known::Upgrade => {
                    self.names_protocol |= offered_protocols(field.value).next().is_some();
                }
                Known::Expect => {
                    if !field.value.eq_ignore_ascii_case(b"100-continue") {
                        // Not ours to judge (RFC 9110 section 10.1.1): the backend may answer 417.
                        continue;
                    }
                    self.expects_continue = true;
                }
                Known::Forwarding(_) => self.forwarding.insert(place),
                Known::KeepAlive | Known::HopByHop | Known::LookAlike => {}
            }
            self.ours.insert(place);
        }
        Ok(())
    }
}

/// The longest request id that is passed on.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Whether an id can go into logs and fields as it is: short, and without white space, quotes, commas
/// and whatever else a log or a list could be split at.
#[must_use]
pub fn is_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-._~+/=@:".contains(octet))
}

/// The protocols of an `Upgrade` field that may be asked for through us. `h2c` may not: after it the
/// backend speaks a protocol in which we could not tell requests apart (RFC 9110 section 7.8).
pub fn offered_protocols(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    list(value).filter(|protocol| {
        let mut parts = protocol.splitn(2, |octet| *octet == b'/');
        parts.all(is_token) && !protocol.eq_ignore_ascii_case(b"h2c")
    })
}

/// RFC 9112 section 3.2: exactly one `Host` in 1.1; the authority of an absolute target wins. Where
/// the two disagree we do not choose: a backend might choose the other.
fn agree_on_host<'a>(
    target: Target<'a>,
    said: &Said<'a>,
    version: Version,
) -> Result<Option<&'a [u8]>, Reason> {
    let allowed = match version {
        Version::Http10 => said.hosts <= 1,
        Version::Http11 => said.hosts == 1,
    };
    if !allowed || said.host.is_some_and(|host| !is_host(host)) {
        return Err(Reason::BadHost);
    }
    match target {
        Target::Origin(_) | Target::Asterisk => Ok(said.host),
        Target::Absolute { default_port, authority, .. } => match said.host {
            Some(host) if !same_authority(host, authority, default_port) => Err(Reason::BadHost),
            _ => Ok(Some(authority)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::field_storage;
    use super::*;

    fn read(wire: &str) -> Result<String, Reason> {
        let mut storage = field_storage();
        let head = parse_request(wire.as_bytes(), &mut storage, &Limits::default())?;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let ours: Vec<usize> = (0..head.fields.len()).filter(|i| head.ours.contains(*i)).collect();
        Ok(format!(
            "{} {:?} {:?} host={} {:?} persistent={} upgrade={} trailers={} continue={} ours={ours:?}",
            text(head.method_text),
            head.method,
            head.version,
            head.host.map_or("-".into(), text),
            head.framing,
            u8::from(head.persistent),
            u8::from(head.wants_upgrade),
            u8::from(head.takes_trailers),
            u8::from(head.expects_continue),
        ))
    }

    #[test]
    fn heads_that_go_on() {
        for (wire, want) in [
            (
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET Idempotent Http11 host=a NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0]",
            ),
            (
                "GET / HTTP/1.0\r\n\r\n",
                "GET Idempotent Http10 host=- NoBody persistent=0 upgrade=0 trailers=0 continue=0 ours=[]",
            ),
            (
                "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
                "GET Idempotent Http10 host=- NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0]",
            ),
            (
                "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
                "M-SEARCH Other Http11 host=a NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0]",
            ),
            (
                "HEAD http://b/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
                "HEAD Head Http11 host=b NoBody persistent=0 upgrade=0 trailers=0 continue=0 ours=[0, 1]",
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                "POST Other Http11 host=a Length(5) persistent=1 upgrade=0 trailers=0 continue=1 ours=[0, 1, 2]",
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
                "PUT Idempotent Http11 host=a Chunked persistent=1 upgrade=0 trailers=1 continue=0 ours=[0, 1, 2, 3]",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, websocket\r\nConnection: upgrade\r\n\r\n",
                "GET Idempotent Http11 host=a NoBody persistent=1 upgrade=1 trailers=0 continue=0 ours=[0, 1, 2]",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
                "GET Idempotent Http11 host=a NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0, 1, 2]",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
                "GET Idempotent Http11 host=a NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0, 1]",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nConnection: x-a, host, cookie\r\nCookie: c\r\n\r\n",
                "GET Idempotent Http11 host=a NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0, 1, 2]",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1\r\nKeep-Alive: 1\r\nAccept: */*\r\n\r\n",
                "GET Idempotent Http11 host=a NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0, 1, 2]",
            ),
            (
                "OPTIONS * HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n",
                "OPTIONS Idempotent Http11 host=a NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0]",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\t\u{ff}\r\n\r\n",
                "GET Idempotent Http11 host=a NoBody persistent=1 upgrade=0 trailers=0 continue=0 ours=[0]",
            ),
        ] {
            assert_eq!(read(wire).as_deref(), Ok(want), "{wire:?}");
        }
    }

    #[test]
    fn heads_that_are_refused() {
        let host = "Host: a\r\n\r\n";
        for (line, reason) in [
            ("\r\nGET / HTTP/1.1", Reason::BadRequestLine),
            (" GET / HTTP/1.1", Reason::BadRequestLine),
            ("GET  / HTTP/1.1", Reason::BadRequestLine),
            ("GET /  HTTP/1.1", Reason::BadRequestLine),
            ("GET / HTTP/1.1 ", Reason::BadRequestLine),
            ("GET\t/ HTTP/1.1", Reason::BadRequestLine),
            ("GET /", Reason::BadRequestLine),
            ("GET / http/1.1", Reason::BadRequestLine),
            ("GET / HTTP/1.10", Reason::BadRequestLine),
            ("GET / HTTP/01.1", Reason::BadRequestLine),
            ("G@T / HTTP/1.1", Reason::BadRequestLine),
            ("GET / HTTP/1.1\rX", Reason::BadRequestLine),
            ("GET / HTTP/0.9", Reason::UnsupportedVersion),
            ("GET / HTTP/1.2", Reason::UnsupportedVersion),
            ("PRI * HTTP/2.0", Reason::UnsupportedVersion),
            ("GET /a b HTTP/1.1", Reason::BadRequestLine),
            ("GET /\u{0} HTTP/1.1", Reason::BadTarget),
            ("GET /\u{e9} HTTP/1.1", Reason::BadTarget),
            ("GET /#x HTTP/1.1", Reason::BadTarget),
            ("GET * HTTP/1.1", Reason::BadTarget),
            ("GET a HTTP/1.1", Reason::BadTarget),
            ("GET http://b/ HTTP/1.1", Reason::BadHost),
            ("CONNECT a:1 HTTP/1.1", Reason::UnsupportedMethod),
            ("TRACE / HTTP/1.1", Reason::UnsupportedMethod),
            ("get / HTTP/1.1", Reason::UnsupportedMethod),
            ("Post / HTTP/1.1", Reason::UnsupportedMethod),
        ] {
            assert_eq!(read(&format!("{line}\r\n{host}")), Err(reason), "{line:?}");
        }
    }

    #[test]
    fn fields_that_are_refused() {
        for (fields, reason) in [
            ("", Reason::BadHost),
            ("Host: a\r\nHost: a", Reason::BadHost),
            ("Host:", Reason::BadHost),
            ("Host: a, b", Reason::BadHost),
            ("Host: a/b", Reason::BadHost),
            ("Host: u@a", Reason::BadHost),
            (" Host: a", Reason::BadField),
            ("Host : a", Reason::BadField),
            ("Host\t: a", Reason::BadField),
            (": a\r\nHost: a", Reason::BadField),
            ("Host: a\r\nX: b\r\n c", Reason::BadField),
            ("Host: a\r\nX: b\r\n\tc", Reason::BadField),
            ("Host: a\r\nX", Reason::BadField),
            ("Host: a\r\nX: \u{0}", Reason::BadField),
            ("Host: a\r\nX: \u{1}", Reason::BadField),
            ("Host: a\r\nX: \u{7f}", Reason::BadField),
            ("Host: a\r\nX: b\rc", Reason::BadField),
            ("Host: a\r\nX\u{e9}: b", Reason::BadField),
            ("Host: a\r\nX(: b", Reason::BadField),
            ("Host: a\r\nConnection: a b", Reason::BadField),
            ("Host: a\r\nContent-Length: +1", Reason::BadFraming),
            ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1", Reason::BadFraming),
            ("Host: a\r\nTransfer-Encoding: gzip, chunked", Reason::UnsupportedCoding),
        ] {
            let end = if fields.is_empty() { "" } else { "\r\n" };
            let wire = format!("POST / HTTP/1.1\r\n{fields}{end}\r\n");
            assert_eq!(read(&wire), Err(reason), "{fields:?}");
        }
    }

    #[test]
    fn limits() {
        let get = |path: usize, fields: usize| {
            let fields = "X: y\r\n".repeat(fields);
            read(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", "a".repeat(path)))
        };
        assert!(get(8191, 99).is_ok());
        assert_eq!(get(8192, 0), Err(Reason::TargetTooLong));
        assert_eq!(get(0, 100), Err(Reason::TooManyFields));
    }

    #[test]
    fn one_empty_line_in_front() {
        for (octets, want) in [
            (&b""[..], None),
            (b"\r", None),
            (b"\r\n", Some(2)),
            (b"\r\n\r\n", Some(2)),
            (b"GET", Some(0)),
            (b"\rG", Some(0)),
            (b"\n", Some(0)),
        ] {
            assert_eq!(leading_empty_line(octets), want, "{octets:?}");
        }
    }
}
