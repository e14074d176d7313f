//! HTTP/1.1 as pure functions: octets in, values and octets out (RFC 9110, RFC 9112).
//!
//! Knows nothing of sockets, clocks, logs and backends, so that every rule can be tested with a table
//! of octets. Each decision about a message is made once, here, and handed on as a value: the reader
//! and the writer of a message cannot disagree about where it ends.
//!
//! The way of a request: [`scan`] finds the end of its head, [`request`] judges it (with [`target`],
//! [`fields`] and [`framing`]), [`forward`] writes the head that we send on, [`body`] and [`chunked`]
//! follow its body. A response goes [`scan`], [`response`], [`forward`], [`body`]. What we answer
//! ourselves is in [`reply`].

pub mod body;
pub mod chunked;
pub mod fields;
pub mod forward;
pub mod framing;
pub mod reply;
pub mod request;
pub mod response;
pub mod scan;
pub mod target;
pub mod text;

/// The two versions that are spoken. Anything else is refused with 505.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// HTTP/1.0: connections end with each exchange unless agreed otherwise; no chunked, no 1xx.
    Http10,
    /// HTTP/1.1.
    Http11,
}
