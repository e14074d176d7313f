//! What the fuzz targets share.
//!
//! Each target holds the product to four invariants: no panic; the whole input and any split of it
//! give the same result; what roundel writes is understood in the same way by readers that share no
//! code with its own; and memory stays within the limits that `config::limits` names.
//!
//! The readers are two, because each is blind where the other sees: [`hyper_reader`] is what a server
//! in the field makes of the octets (its framing and its chunked decoder are its own, its heads are
//! httparse's as ours are); [`strict_reader`] is written straight from the grammar of RFC 9112 and
//! accepts nothing that a sender must not write.

pub mod hyper_reader;
pub mod meaning;
pub mod memory;
pub mod split;
pub mod strict_reader;
pub mod world;

/// Octets as people can read them in a panic message.
#[must_use]
pub fn show(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}
