//! Ways to cut an input into pieces.
//!
//! A cut is chosen by the input itself, so that a corpus consists of plain messages that people can
//! read, and a crash is reproduced by its octets alone.

/// How an input is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Split {
    /// At once.
    Whole,
    /// Octet by octet.
    Octets,
    /// In pieces whose lengths follow from this number.
    Pieces(u64),
}

/// The ways in which this input is handed over: both extremes and two in between.
#[must_use]
pub fn splits_of(input: &[u8]) -> [Split; 4] {
    let hash = fnv(input);
    [Split::Whole, Split::Octets, Split::Pieces(hash), Split::Pieces(hash.rotate_left(23))]
}

/// The places at which the input is cut, its end included.
pub fn ends(split: Split, length: usize) -> impl Iterator<Item = usize> {
    let mut seed = match split {
        Split::Pieces(seed) => seed,
        Split::Whole | Split::Octets => 0,
    };
    let mut end = 0;
    std::iter::from_fn(move || {
        if end == length {
            return None;
        }
        let step = match split {
            Split::Whole => length,
            Split::Octets => 1,
            Split::Pieces(_) => {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Short pieces often, long ones sometimes.
                1 + (seed >> 40) as usize % if seed >> 63 == 0 { 4 } else { 64 }
            }
        };
        end = (end + step).min(length);
        Some(end)
    })
}

/// The hash of Fowler, Noll and Vo.
fn fnv(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_all_of_it() {
        for split in splits_of(b"any input") {
            let all: Vec<usize> = ends(split, 100).collect();
            assert!(all.is_sorted_by(|a, b| a < b), "{split:?}: {all:?}");
            assert_eq!(all.last(), Some(&100), "{split:?}");
            assert_eq!(ends(split, 0).count(), 0, "{split:?}");
        }
        assert_eq!(ends(Split::Octets, 3).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
