//! What has to be the same on both sides of roundel, whoever reads it.
//!
//! Written from RFC 9110 section 7.6.1 and the product's documentation, without a look at its tables.

use hyper::HeaderMap;

use crate::strict_reader::Field;

/// Fields that roundel writes itself, in requests.
const WRITTEN_IN_REQUESTS: &[&str] = &[
    "host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect",
];

/// Fields for one connection only, which go no further than to whoever reads them.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// What says who asked. Only roundel may say it; `_` for `-` is no way around that.
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
const PROTECTED: &[&str] = &["authorization", "cookie"];

/// Whether roundel alone says this field, in whatever spelling.
#[must_use]
pub fn is_forwarding(name: &[u8]) -> bool {
    let name: Vec<u8> = name
        .iter()
        .map(|octet| if *octet == b'_' { b'-' } else { octet.to_ascii_lowercase() })
        .collect();
    FORWARDING.iter().any(|other| name == other.as_bytes())
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

/// The fields of a received message that have to arrive at the other end, in order.
pub fn opaque<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    direction: Direction,
) -> Vec<Field> {
    let nominated: Vec<Vec<u8>> = fields
        .clone()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, value)| value.split(|octet| *octet == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .collect();
    fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
        .filter(|(name, _)| {
            let is_ours = match direction {
                Direction::Request => {
                    is_one_of(name, WRITTEN_IN_REQUESTS) || is_forwarding(name) || name == b"via"
                }
                Direction::Response => false,
            };
            let is_protected = is_one_of(name, PROTECTED)
                || is_forwarding(name)
                || (direction == Direction::Response && name == b"host");
            let is_dropped = nominated.contains(name) && !is_protected;
            !is_ours && !is_dropped && !is_one_of(name, HOP_BY_HOP)
        })
        .collect()
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
