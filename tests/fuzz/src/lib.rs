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

/// The most octets that a panic message shows of a piece.
const SHOWN_BYTES_MAX: usize = 4096;

/// Octets as people can read them in a panic message.
#[must_use]
pub fn show(octets: &[u8]) -> String {
    let shown = octets.len().min(SHOWN_BYTES_MAX);
    let left = octets.len() - shown;
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    format!("{}{more}", octets[..shown].escape_ascii())
}

/// Holds that two pieces are the same; says where they are not.
///
/// # Panics
/// When they differ.
pub fn assert_same(got: &[u8], want: &[u8], context: &str) {
    if got != want {
        let at = got.iter().zip(want).take_while(|(a, b)| a == b).count();
        panic!(
            "{} octets instead of {}, the first {at} are right\n got: {}\nwant: {}\n{context}",
            got.len(),
            want.len(),
            show(&got[at..]),
            show(&want[at..])
        );
    }
}
