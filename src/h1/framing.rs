//! Where does this body end? RFC 9112 section 6.3 as one function for requests, one for responses.
//!
//! This is the question on which request smuggling lives: two parties on one connection that answer
//! it differently see different messages. So there is one answer, a [`Framing`], and everything that
//! could be read in two ways is refused. Knows nothing of other fields.
//!
//! Invariant: whatever [`Framing`] comes out, the message that we send on states exactly that one.
//!
//! Next: `body.rs` follows a body by its framing.

use super::Version;
use super::fields::{is_token, list};

/// How the end of a body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    NoBody,
    /// It has this many octets.
    Length(u64),
    /// It is in chunks, the last of which is empty.
    Chunked,
    /// It ends with the connection. Responses only.
    UntilClose,
}

/// What the `Content-Length` fields of a head say together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ContentLength {
    /// There is none.
    #[default]
    Absent,
    /// This number, once or several times.
    Octets(u64),
    /// Not a number, too large a one, or different ones.
    Bad,
}

impl ContentLength {
    /// Adds a field value: `1*DIGIT`, or a list of the same number (RFC 9110 section 8.6).
    pub fn add(&mut self, value: &[u8]) {
        for element in list(value) {
            *self = match (*self, parse_length(element)) {
                (Self::Absent, Some(octets)) => Self::Octets(octets),
                (Self::Octets(before), Some(octets)) if before == octets => *self,
                (Self::Absent | Self::Octets(_) | Self::Bad, _) => Self::Bad,
            };
        }
    }
}

/// The longest body that can be announced. Servers that count in signed numbers, or use the largest
/// number as a mark, read what is beyond as something else.
pub const CONTENT_LENGTH_MAX: u64 = i64::MAX as u64;

/// Digits and nothing else: no sign, no white space, no `0x`, no overflow.
fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    (number <= CONTENT_LENGTH_MAX).then_some(number)
}

/// What the `Transfer-Encoding` fields of a head say together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TransferCoding {
    /// There is none.
    #[default]
    Absent,
    /// Exactly `chunked`, once.
    Chunked,
    /// Well-formed, with a coding that we do not know and no `chunked` yet.
    Unknown,
    /// Well-formed, with an unknown coding and `chunked` as the last.
    UnknownThenChunked,
    /// Anything else.
    Bad,
}

impl TransferCoding {
    /// Adds a field value.
    pub fn add(&mut self, value: &[u8]) {
        for coding in list(value) {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            *self = match *self {
                _ if !is_token(coding) => Self::Bad,
                Self::Absent if is_chunked => Self::Chunked,
                Self::Unknown if is_chunked => Self::UnknownThenChunked,
                Self::Absent | Self::Unknown => Self::Unknown,
                // Nothing may follow `chunked`, not even another one.
                Self::Chunked | Self::UnknownThenChunked | Self::Bad => Self::Bad,
            };
        }
    }
}

/// Why a message has no framing that everybody would agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FramingError {
    /// The fields contradict each other or themselves.
    Ambiguous,
    /// A transfer coding that we do not implement.
    UnknownCoding,
}

/// The framing of a request. Without either field there is no body.
///
/// # Errors
/// Both fields together are how requests are smuggled past a proxy that trusts one and a server that
/// trusts the other; RFC 9112 section 6.1 allows to pick, we refuse. Likewise chunked in HTTP/1.0,
/// which a 1.0 server behind would not see.
pub fn request_framing(
    version: Version,
    length: ContentLength,
    coding: TransferCoding,
) -> Result<Framing, FramingError> {
    match (coding, length) {
        (TransferCoding::Absent, ContentLength::Absent) => Ok(Framing::NoBody),
        (TransferCoding::Absent, ContentLength::Octets(octets)) => Ok(Framing::Length(octets)),
        (TransferCoding::Chunked, ContentLength::Absent) if version == Version::Http11 => {
            Ok(Framing::Chunked)
        }
        (TransferCoding::UnknownThenChunked, ContentLength::Absent)
            if version == Version::Http11 =>
        {
            Err(FramingError::UnknownCoding)
        }
        (
            TransferCoding::Absent
            | TransferCoding::Chunked
            | TransferCoding::Unknown
            | TransferCoding::UnknownThenChunked
            | TransferCoding::Bad,
            _,
        ) => Err(FramingError::Ambiguous),
    }
}

/// The framing of a final response: its status and the request come first (rules 1 and 2), then the
/// fields, which must be sound also where they do not count.
///
/// # Errors
/// As for requests: what two recipients could read differently.
pub fn response_framing(
    version: Version,
    has_body: HasBody,
    length: ContentLength,
    coding: TransferCoding,
) -> Result<Framing, FramingError> {
    let by_fields = match (coding, length) {
        (TransferCoding::Absent, ContentLength::Absent) => Framing::UntilClose,
        (TransferCoding::Absent, ContentLength::Octets(octets)) => Framing::Length(octets),
        (TransferCoding::Chunked, ContentLength::Absent) if version == Version::Http11 => {
            Framing::Chunked
        }
        (
            TransferCoding::Absent
            | TransferCoding::Chunked
            | TransferCoding::Unknown
            | TransferCoding::UnknownThenChunked
            | TransferCoding::Bad,
            _,
        ) => return Err(FramingError::Ambiguous),
    };
    match has_body {
        HasBody::Never => Ok(Framing::NoBody),
        HasBody::ByFields => Ok(by_fields),
    }
}

/// Whether a response can have a body at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HasBody {
    /// The answer to HEAD, and 1xx, 204 and 304: never, whatever the fields say.
    Never,
    /// All others: the fields decide.
    ByFields,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields as they stand in a head: `l` for Content-Length, `t` for Transfer-Encoding.
    fn read(fields: &[(char, &str)]) -> (ContentLength, TransferCoding) {
        let mut length = ContentLength::default();
        let mut coding = TransferCoding::default();
        for (kind, value) in fields {
            match kind {
                'l' => length.add(value.as_bytes()),
                _ => coding.add(value.as_bytes()),
            }
        }
        (length, coding)
    }

    type Row = (&'static str, &'static [(char, &'static str)], Result<Framing, FramingError>);

    const REQUESTS: &[Row] = &[
        ("nothing", &[], Ok(Framing::NoBody)),
        ("length", &[('l', "5")], Ok(Framing::Length(5))),
        ("length zero", &[('l', "0")], Ok(Framing::Length(0))),
        ("leading zeros", &[('l', "005")], Ok(Framing::Length(5))),
        ("the same length twice", &[('l', "5"), ('l', "5")], Ok(Framing::Length(5))),
        ("a list of the same length", &[('l', "5, 5")], Ok(Framing::Length(5))),
        ("largest", &[('l', "9223372036854775807")], Ok(Framing::Length(CONTENT_LENGTH_MAX))),
        ("one more", &[('l', "9223372036854775808")], Err(FramingError::Ambiguous)),
        ("overflow", &[('l', "18446744073709551616")], Err(FramingError::Ambiguous)),
        ("two lengths", &[('l', "5"), ('l', "6")], Err(FramingError::Ambiguous)),
        ("a list of two", &[('l', "5, 6")], Err(FramingError::Ambiguous)),
        ("plus sign", &[('l', "+5")], Err(FramingError::Ambiguous)),
        ("minus sign", &[('l', "-5")], Err(FramingError::Ambiguous)),
        ("hexadecimal", &[('l', "0x5")], Err(FramingError::Ambiguous)),
        ("empty", &[('l', "")], Err(FramingError::Ambiguous)),
        ("an empty element", &[('l', "5,")], Err(FramingError::Ambiguous)),
        ("inner blank", &[('l', "5 5")], Err(FramingError::Ambiguous)),
        ("chunked", &[('t', "chunked")], Ok(Framing::Chunked)),
        ("chunked in another case", &[('t', "CHUNKED")], Ok(Framing::Chunked)),
        ("chunked twice", &[('t', "chunked, chunked")], Err(FramingError::Ambiguous)),
        (
            "chunked in two fields",
            &[('t', "chunked"), ('t', "chunked")],
            Err(FramingError::Ambiguous),
        ),
        ("chunked not last", &[('t', "chunked, gzip")], Err(FramingError::Ambiguous)),
        ("unknown alone", &[('t', "gzip")], Err(FramingError::Ambiguous)),
        ("identity", &[('t', "identity")], Err(FramingError::Ambiguous)),
        ("unknown, then chunked", &[('t', "gzip, chunked")], Err(FramingError::UnknownCoding)),
        (
            "the same in two fields",
            &[('t', "gzip"), ('t', "chunked")],
            Err(FramingError::UnknownCoding),
        ),
        ("a parameter", &[('t', "chunked;q=1")], Err(FramingError::Ambiguous)),
        ("an empty coding", &[('t', "")], Err(FramingError::Ambiguous)),
        ("a comma at the end", &[('t', "chunked,")], Err(FramingError::Ambiguous)),
        ("a vertical tab", &[('t', "\u{b}chunked")], Err(FramingError::Ambiguous)),
        ("both", &[('l', "5"), ('t', "chunked")], Err(FramingError::Ambiguous)),
        ("both, the other way", &[('t', "chunked"), ('l', "0")], Err(FramingError::Ambiguous)),
    ];

    #[test]
    fn requests() {
        for (name, fields, want) in REQUESTS {
            let (length, coding) = read(fields);
            assert_eq!(request_framing(Version::Http11, length, coding), *want, "{name}");
        }
    }

    #[test]
    fn transfer_codings_are_refused_in_1_0() {
        for (name, fields, _) in REQUESTS.iter().filter(|row| row.1.iter().any(|f| f.0 == 't')) {
            let (length, coding) = read(fields);
            let got = request_framing(Version::Http10, length, coding);
            assert_eq!(got, Err(FramingError::Ambiguous), "{name}");
        }
    }

    #[test]
    fn responses() {
        for (name, version, has_body, fields, want) in [
            ("until close", Version::Http11, HasBody::ByFields, &[][..], Ok(Framing::UntilClose)),
            ("length", Version::Http10, HasBody::ByFields, &[('l', "5")], Ok(Framing::Length(5))),
            (
                "chunked",
                Version::Http11,
                HasBody::ByFields,
                &[('t', "chunked")],
                Ok(Framing::Chunked),
            ),
            (
                "chunked in 1.0",
                Version::Http10,
                HasBody::ByFields,
                &[('t', "chunked")],
                Err(FramingError::Ambiguous),
            ),
            (
                "unknown coding",
                Version::Http11,
                HasBody::ByFields,
                &[('t', "gzip, chunked")],
                Err(FramingError::Ambiguous),
            ),
            (
                "both",
                Version::Http11,
                HasBody::ByFields,
                &[('t', "chunked"), ('l', "5")],
                Err(FramingError::Ambiguous),
            ),
            (
                "two lengths",
                Version::Http11,
                HasBody::ByFields,
                &[('l', "5"), ('l', "6")],
                Err(FramingError::Ambiguous),
            ),
            ("HEAD", Version::Http11, HasBody::Never, &[('l', "5")], Ok(Framing::NoBody)),
            (
                "HEAD, bad length",
                Version::Http11,
                HasBody::Never,
                &[('l', "x")],
                Err(FramingError::Ambiguous),
            ),
        ] {
            let (length, coding) = read(fields);
            assert_eq!(response_framing(version, has_body, length, coding), want, "{name}");
        }
    }
}
