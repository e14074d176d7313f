//! Reads a response head as strictly as a request head: a backend's mistakes can desynchronise a
//! connection just as well.
//!
//! Knows nothing of clients. Invariant: as for requests.
//!
//! Next: `forward.rs` writes the head that the client gets.

use std::time::Duration;

use super::Version;
use super::fields::{ConnectionOptions, Field, FieldSet, FieldStorage, Known, known, list};
use super::framing::{ContentLength, Framing, HasBody, TransferCoding, response_framing};
use super::reply::Reason;
use super::request::Method;

/// A response head, read and judged. Borrows from the octets that it was read from.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The version of the sender.
    pub version: Version,
    /// 100 to 599.
    pub status: u16,
    /// The reason phrase, octet for octet; may be empty.
    pub phrase: &'a [u8],
    /// All field lines.
    pub fields: &'a [Field<'a>],
    /// Those of them that do not go on as they are.
    pub ours: FieldSet,
    /// Where the body ends.
    pub framing: Framing,
    /// The length that it states, which a response without a body may do as well.
    pub length: ContentLength,
    /// The coding that it states, likewise.
    pub coding: TransferCoding,
    /// Whether the backend lets the connection go on.
    pub persistent: bool,
    /// For how long the backend says that it keeps an idle connection.
    pub keep_alive: Option<Duration>,
}

impl ResponseHead<'_> {
    /// Whether it states content, whether or not its status can have any.
    #[must_use]
    pub fn announces_content(&self) -> bool {
        self.coding != TransferCoding::Absent
            || match self.length {
                ContentLength::Absent | ContentLength::Octets(0) => false,
                ContentLength::Octets(_) | ContentLength::Bad => true,
            }
    }

    /// Whether another response may follow on its connection: the backend lets it, and this is no 204 that
    /// announces content, for such a one may send some.
    #[must_use]
    pub fn may_persist(&self) -> bool {
        self.persistent && !(self.status == 204 && self.announces_content())
    }

    /// Whether another response to the same request follows. A 101 is the last one in HTTP.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Reads a whole response head to a request with this method.
///
/// # Errors
/// The reason to answer the client with.
pub fn parse_response<'a>(
    head: &'a [u8],
    storage: &'a mut FieldStorage<'a>,
    method: Method,
) -> Result<ResponseHead<'a>, Reason> {
    // httparse skips empty lines here.
    if !head.starts_with(b"HTTP/") {
        return Err(Reason::BadResponseHead);
    }
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, storage) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Reason::ResponseHeadTooLong),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Reason::BadResponseHead),
    }
    let (Some(version), Some(status)) = (parsed.version, parsed.code) else {
        return Err(Reason::BadResponseHead);
    };
    if !(100..600).contains(&status) {
        return Err(Reason::BadResponseHead);
    }
    let line = StatusLine {
        version: if version == 0 { Version::Http10 } else { Version::Http11 },
        status,
        phrase: raw_phrase(head),
    };
    judge(line, parsed.headers, method)
}

struct StatusLine<'a> {
    version: Version,
    status: u16,
    phrase: &'a [u8],
}

/// httparse gives an empty phrase where it has octets beyond ASCII; we pass it on as it is.
fn raw_phrase(head: &[u8]) -> &[u8] {
    let rest = head.get("HTTP/1.1 200".len()..).unwrap_or_default();
    let line = rest.split(|octet| *octet == b'\r').next().unwrap_or_default();
    line.strip_prefix(b" ").unwrap_or_default()
}

fn judge<'a>(
    line: StatusLine<'a>,
    fields: &'a [Field<'a>],
    method: Method,
) -> Result<ResponseHead<'a>, Reason> {
    let mut length = ContentLength::default();
    let mut coding = TransferCoding::default();
    let mut options = ConnectionOptions::default();
    let mut keep_alive = None;
    let mut ours = FieldSet::default();
    for (place, field) in fields.iter().enumerate() {
        match known(field.name.as_bytes()) {
            Known::ContentLength => length.add(field.value),
            Known::TransferEncoding => coding.add(field.value),
            Known::Connection => {
                options.add(field.value).map_err(|_| Reason::BadResponseHead)?;
            }
            Known::KeepAlive => keep_alive = keep_alive_timeout(field.value).or(keep_alive),
            Known::HopByHop | Known::Te | Known::Upgrade => {}
            Known::Host
            | Known::Forwarding(_)
            | Known::LookAlike
            | Known::RequestId
            | Known::MaxForwards
            | Known::Expect
            | Known::Credentials
            | Known::HeadOnly
            | Known::Other => continue,
        }
        ours.insert(place);
    }
    if options.nominates_any() {
        for (place, field) in fields.iter().enumerate() {
            if options.nominates(field.name.as_bytes()) {
                ours.insert(place);
            }
        }
    }
    let has_body = match line.status {
        100..200 | 204 | 304 => HasBody::Never,
        _ if method == Method::Head => HasBody::Never,
        _ => HasBody::ByFields,
    };
    let framing = response_framing(line.version, has_body, length, coding)
        .map_err(|_| Reason::BadResponseFraming)?;
    let persistent = match line.version {
        Version::Http10 => options.keep_alive && !options.close,
        Version::Http11 => !options.close,
    };
    let head = ResponseHead {
        version: line.version,
        status: line.status,
        phrase: line.phrase,
        fields,
        ours,
        framing,
        length,
        coding,
        persistent,
        keep_alive,
    };
    // Nobody could say where the next response begins (RFC 9112 section 6.1, RFC 9110 section 8.6).
    if head.is_interim() && head.announces_content() {
        return Err(Reason::BadResponseFraming);
    }
    // The sender has to name the option (RFC 9110 section 7.8).
    if line.status == 101 && !options.upgrade {
        return Err(Reason::UnexpectedUpgrade);
    }
    Ok(head)
}

/// `Keep-Alive: timeout=5, max=100`: only the timeout is of use, and only if it is a whole number.
fn keep_alive_timeout(value: &[u8]) -> Option<Duration> {
    let seconds = list(value).find_map(|parameter| {
        let (name, number) = parameter.split_at_checked("timeout=".len())?;
        name.eq_ignore_ascii_case(b"timeout=").then_some(number)
    })?;
    let all_digits = !seconds.is_empty() && seconds.iter().all(u8::is_ascii_digit);
    let seconds = std::str::from_utf8(seconds).ok()?.parse::<u32>().ok()?;
    all_digits.then(|| Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::super::fields::field_storage;
    use super::*;

    fn read(wire: &str, method: Method) -> Result<String, Reason> {
        // One octet per character, so that rows can have octets beyond ASCII.
        let octets: Vec<u8> = wire.chars().map(|c| u8::try_from(c).expect("one octet")).collect();
        let mut storage = field_storage();
        let head = parse_response(&octets, &mut storage, method)?;
        let ours: Vec<usize> = (0..head.fields.len()).filter(|i| head.ours.contains(*i)).collect();
        Ok(format!(
            "{} {} {:?} {:?} persistent={} keep={} ours={ours:?}",
            head.status,
            head.phrase.iter().map(|b| char::from(*b)).collect::<String>(),
            head.version,
            head.framing,
            u8::from(head.persistent),
            head.keep_alive.map_or(0, |keep| keep.as_secs()),
        ))
    }

    #[test]
    fn heads_that_go_on() {
        let other = Method::Idempotent;
        for (wire, method, want) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                other,
                "200 OK Http11 Length(5) persistent=1 keep=0 ours=[0]",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                Method::Head,
                "200 OK Http11 NoBody persistent=1 keep=0 ours=[0]",
            ),
            (
                "HTTP/1.1 204 No Content\r\n\r\n",
                other,
                "204 No Content Http11 NoBody persistent=1 keep=0 ours=[]",
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                other,
                "304 Not Modified Http11 NoBody persistent=1 keep=0 ours=[0]",
            ),
            (
                "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nConnection: close, X\r\nX: 1\r\n\r\n",
                other,
                "200  Http11 Chunked persistent=0 keep=0 ours=[0, 1, 2]",
            ),
            ("HTTP/1.1 200\r\n\r\n", other, "200  Http11 UntilClose persistent=1 keep=0 ours=[]"),
            (
                "HTTP/1.0 200 Gr\u{fc}n\r\nDate: x\r\n\r\n",
                other,
                "200 Gr\u{fc}n Http10 UntilClose persistent=0 keep=0 ours=[]",
            ),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: max=2, timeout=7\r\nContent-Length: 0\r\n\r\n",
                other,
                "200 OK Http10 Length(0) persistent=1 keep=7 ours=[0, 1, 2]",
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
                other,
                "103 Early Hints Http11 NoBody persistent=1 keep=0 ours=[]",
            ),
        ] {
            assert_eq!(read(wire, method).as_deref(), Ok(want), "{wire:?}");
        }
    }

    #[test]
    fn heads_that_are_refused() {
        for (wire, reason) in [
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 20 OK\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 2000 OK\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 099 OK\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 600 OK\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1  200 OK\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 200OK\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 200 O\u{0}K\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/2.0 200 OK\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", Reason::BadResponseHead),
            ("HTTP/1.1 200 OK\r\nA\r\n\r\n", Reason::BadResponseHead),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                Reason::BadResponseFraming,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                Reason::BadResponseFraming,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                Reason::BadResponseFraming,
            ),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::BadResponseFraming),
            ("hello", Reason::BadResponseHead),
        ] {
            assert_eq!(read(wire, Method::Other), Err(reason), "{wire:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
        assert_eq!(read(&many, Method::Other), Err(Reason::ResponseHeadTooLong));
    }
}
