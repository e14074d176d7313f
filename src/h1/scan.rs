//! Finds the end of a head, as often as more of it arrives, without starting over.
//!
//! A head ends with an empty line, and only CRLF ends a line (RFC 9112 section 2.2 allows a
//! recipient to accept a bare LF; two recipients of which one does and one does not see two different
//! messages, so we never do). Knows nothing of what stands in the lines.
//!
//! Invariant: every octet is looked at once, so a head that arrives octet by octet costs as much as
//! one that arrives whole.
//!
//! Next: `request.rs` or `response.rs` reads the head that was found.

/// A line that ends with LF alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BareLf;

/// How far a head has been looked at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HeadScan {
    line_start: u32,
    scanned: u32,
}

impl HeadScan {
    /// Looks at the octets that were added to `head` since the last call. Gives the length of the
    /// head, its empty line included, once that has arrived.
    ///
    /// # Errors
    /// [`BareLf`] as soon as a line ends without CR.
    #[expect(clippy::cast_possible_truncation, reason = "heads are limited far below 4 GiB")]
    pub fn advance(&mut self, head: &[u8]) -> Result<Option<usize>, BareLf> {
        loop {
            let from = self.scanned as usize;
            let line_end = from + octets_through_lf(&head[from..]);
            if line_end == from || head[line_end - 1] != b'\n' {
                self.scanned = head.len() as u32;
                return Ok(None);
            }
            let before_lf = &head[self.line_start as usize..line_end - 1];
            if before_lf.last() != Some(&b'\r') {
                return Err(BareLf);
            }
            self.line_start = line_end as u32;
            self.scanned = line_end as u32;
            if before_lf.len() == 1 {
                return Ok(Some(line_end));
            }
        }
    }
}

/// How many octets there are up to and including the first LF, or all where there is none.
///
/// Eight at a time: lines of a head are too short for what pays off in long texts.
fn octets_through_lf(octets: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    const LF: u64 = ONES * b'\n' as u64;
    let mut rest = octets;
    while let Some((word, after)) = rest.split_first_chunk() {
        // Octets that are LF become zero, and borrowing from a zero octet sets its high bit: the lowest
        // bit that is set belongs to the first LF (those above it may be false).
        let zeroed = u64::from_le_bytes(*word) ^ LF;
        let found = zeroed.wrapping_sub(ONES) & !zeroed & HIGH;
        if found != 0 {
            return octets.len() - rest.len() + (found.trailing_zeros() / 8) as usize + 1;
        }
        rest = after;
    }
    let at = rest.iter().position(|octet| *octet == b'\n');
    at.map_or(octets.len(), |at| octets.len() - rest.len() + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static str, &'static [u8], Result<Option<usize>, BareLf>);

    const CASES: &[Row] = &[
        ("nothing yet", b"", Ok(None)),
        ("an open line", b"GET / HTTP/1.1", Ok(None)),
        ("lines, no end", b"GET / HTTP/1.1\r\nHost: a\r\n", Ok(None)),
        ("CR of the end", b"GET / HTTP/1.1\r\n\r", Ok(None)),
        ("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Some(27))),
        ("no fields", b"GET / HTTP/1.1\r\n\r\n", Ok(Some(18))),
        ("only an empty line", b"\r\n", Ok(Some(2))),
        ("bare LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", Err(BareLf)),
        ("bare LF after a field", b"GET / HTTP/1.1\r\nHost: a\n\r\n", Err(BareLf)),
        ("bare LF as the end", b"GET / HTTP/1.1\r\n\n", Err(BareLf)),
        ("bare LF at the start", b"\n", Err(BareLf)),
        ("CR CR LF is not an empty line", b"G\r\n\r\r\n", Ok(None)),
    ];

    #[test]
    fn whole_split_everywhere_and_with_octets_behind() {
        for (name, wire, want) in CASES {
            assert_eq!(HeadScan::default().advance(wire), *want, "{name}");
            for split in 0..wire.len() {
                let mut scan = HeadScan::default();
                let first = scan.advance(&wire[..split]);
                let got = if first == Ok(None) { scan.advance(wire) } else { first };
                assert_eq!(got, *want, "{name}, split at {split}");
            }
            let mut scan = HeadScan::default();
            let octet_by_octet = (1..=wire.len())
                .map(|n| scan.advance(&wire[..n]))
                .find(|result| *result != Ok(None))
                .unwrap_or(Ok(None));
            assert_eq!(octet_by_octet, *want, "{name}, octet by octet");
            if *want != Ok(None) {
                let mut longer = wire.to_vec();
                longer.extend_from_slice(b"more\n\r\n");
                assert_eq!(HeadScan::default().advance(&longer), *want, "{name}, with more");
            }
        }
    }

    #[test]
    fn a_line_feed_is_found_wherever_it_is() {
        // Neighbours that look like it: one bit off, or with the high bit.
        for filler in [b'x', 0x0b, 0x09, 0x8a, 0xff, 0] {
            for length in 0..40 {
                let mut octets = vec![filler; length];
                assert_eq!(octets_through_lf(&octets), length, "{filler:#x}, none of {length}");
                for place in 0..length {
                    octets[place..].fill(b'\n');
                    assert_eq!(octets_through_lf(&octets), place + 1, "{filler:#x}, {place}");
                    octets[place..].fill(filler);
                    octets[place] = b'\n';
                    assert_eq!(octets_through_lf(&octets), place + 1, "{filler:#x}, {place}");
                    octets[place] = filler;
                }
            }
        }
    }
}
