//! What has to be the same on both sides of roundel, whoever reads it.
//!
//! Written from RFC 9110 section 7.6.1 and the product's documentation, without a look at its tables.

use hyper::HeaderMap;

use crate::strict_reader::Field;

/// Fields that roundel writes itself, in requests.
const WRITTEN_IN_REQUESTS: &[&str] = &["expect", "host", "max-forwards", "via"];

/// Fields for one connection only, framing included: they go no further than to whoever reads them.
const HOP_BY_HOP: &[&str] = &[
    "close",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What says who asked. Only roundel may say it; another octet for `-` is no way around that.
const FORWARDING: &[&str] = &[
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
];

/// What `Connection` cannot nominate away.
const PROTECTED: &[&str] = &["authorization", "cookie", "host"];

/// Whether roundel alone says this field, in whatever spelling.
#[must_use]
pub fn is_forwarding(name: &[u8]) -> bool {
    let name = folded(name);
    FORWARDING.iter().any(|other| name == other.as_bytes())
}

/// The name as a CGI-like server may read it.
fn folded(name: &[u8]) -> Vec<u8> {
    let fold = |octet: &u8| {
        if octet.is_ascii_alphanumeric() { octet.to_ascii_lowercase() } else { b'-' }
    };
    name.iter().map(fold).collect()
}

/// Whether a server may take this field for one that tells where a body ends.
fn is_like_framing(name: &[u8]) -> bool {
    [&b"content-length"[..], b"transfer-encoding"].contains(&folded(name).as_slice())
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To a backend.
    Request,
    /// To a client.
    Response,
}

/// Whether whoever passes a message on writes this field itself, or not at all.
fn is_ours(name: &[u8], direction: Direction) -> bool {
    is_one_of(name, HOP_BY_HOP)
        || match direction {
            Direction::Request => {
                is_one_of(name, WRITTEN_IN_REQUESTS) || is_forwarding(name) || is_like_framing(name)
            }
            Direction::Response => false,
        }
}

/// The fields of a received message that have to arrive at the other end, in order.
pub fn to_pass_on<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    direction: Direction,
) -> Vec<Field> {
    let nominated: Vec<Vec<u8>> = fields
        .clone()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, value)| value.split(|octet| *octet == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .collect();
    let is_protected = |name: &[u8]| is_one_of(name, PROTECTED) || is_forwarding(name);
    fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
        .filter(|(name, _)| !is_ours(name, direction))
        .filter(|(name, _)| !nominated.contains(name) || is_protected(name))
        .collect()
}

/// The fields of a message that was passed on which the other end had sent, in order.
#[must_use]
pub fn passed_on(fields: &[Field], direction: Direction) -> Vec<Field> {
    fields.iter().filter(|(name, _)| !is_ours(name, direction)).cloned().collect()
}

/// The same fields as hyper has them, ready to be compared with a [`HeaderMap`] through [`sorted`].
#[must_use]
pub fn of_map(map: &HeaderMap) -> Vec<Field> {
    map.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().into())).collect()
}

/// Sorted by name; fields of the same name stay in their order.
#[must_use]
pub fn sorted(mut fields: Vec<Field>) -> Vec<Field> {
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}
