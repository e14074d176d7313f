//! Follows a body to its end, whatever its framing.
//!
//! Knows nothing of heads and sockets. Invariant: never takes an octet of the next message.
//!
//! Next: `proxy::exchange` relays what goes on.

use super::chunked::{BadChunk, ChunkedDecoder, Emit, Walked};
use super::framing::Framing;
use crate::config::Limits;

/// What is still to come of a body.
#[derive(Debug)]
pub enum BodyState {
    /// Nothing: it is complete, or there was none.
    Complete,
    /// This many octets, at least one.
    Length(u64),
    /// Chunks.
    Chunked(ChunkedDecoder),
    /// Everything until the connection ends.
    UntilClose,
}

impl BodyState {
    /// At the start of a body of this framing.
    #[must_use]
    pub fn new(framing: Framing, emit: Emit) -> Self {
        match framing {
            Framing::NoBody | Framing::Length(0) => Self::Complete,
            Framing::Length(octets) => Self::Length(octets),
            Framing::Chunked => Self::Chunked(ChunkedDecoder::new(emit)),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether nothing is still to come. Never so for [`BodyState::UntilClose`]: that is for the
    /// connection to say, with [`BodyState::end`].
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Complete => true,
            Self::Length(_) | Self::Chunked(_) | Self::UntilClose => false,
        }
    }

    /// Whether every octet until the end of the connection belongs to it.
    #[must_use]
    pub fn is_until_close(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// Walks over octets that arrived and leaves at the start of `buf` those that go on; behind
    /// them goes `tail`, which is empty except for trailers.
    ///
    /// # Errors
    /// [`BadChunk`] when the coding is broken.
    pub fn walk(
        &mut self,
        buf: &mut [u8],
        tail: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Walked, BadChunk> {
        match self {
            Self::Complete => Ok(Walked { used: 0, kept: 0, content: 0 }),
            Self::UntilClose => Ok(Walked { used: buf.len(), kept: buf.len(), content: buf.len() }),
            Self::Length(left) => {
                let take = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
                *left -= take as u64;
                if *left == 0 {
                    *self = Self::Complete;
                }
                Ok(Walked { used: take, kept: take, content: take })
            }
            Self::Chunked(decoder) => {
                let walked = decoder.walk(buf, limits)?;
                if decoder.is_done() {
                    *tail = decoder.take_tail();
                    *self = Self::Complete;
                }
                Ok(walked)
            }
        }
    }

    /// How many octets may pass unseen, when that is of use from so many on that are still to come: all
    /// but the last, which go the ordinary way, so that a body ends in one place only.
    #[must_use]
    pub fn unwatched(&self, bytes_min: u64) -> Option<u64> {
        match self {
            Self::Length(left) if *left >= bytes_min.max(2) => Some(left - (bytes_min / 4).max(1)),
            Self::UntilClose => Some(u64::MAX),
            Self::Length(_) | Self::Complete | Self::Chunked(_) => None,
        }
    }

    /// So many octets have passed unseen, no more than [`BodyState::unwatched`] gave.
    pub fn pass(&mut self, octets: u64) {
        if let Self::Length(left) = self {
            debug_assert!(octets < *left, "the end of a body is always seen");
            *left = left.saturating_sub(octets);
        }
    }

    /// The connection has ended in good order. Says whether the body is complete with that.
    pub fn end(&mut self) -> bool {
        if self.is_until_close() {
            *self = Self::Complete;
        }
        self.is_complete()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(body: &mut BodyState, octets: &[u8]) -> (usize, Vec<u8>) {
        let mut buf = octets.to_vec();
        let mut tail = Vec::new();
        let walked = body.walk(&mut buf, &mut tail, &Limits::default()).expect("sound");
        buf.truncate(walked.kept);
        buf.extend(tail);
        (walked.used, buf)
    }

    #[test]
    fn content_is_counted_without_its_coding() {
        let mut body = BodyState::new(Framing::Chunked, Emit::Chunks);
        let mut counts = Vec::new();
        for part in [&b"5;x=y\r\nhel"[..], b"lo\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n"] {
            let mut buf = part.to_vec();
            let walked = body.walk(&mut buf, &mut Vec::new(), &Limits::default()).expect("sound");
            counts.push(walked.content);
        }
        assert!(body.is_complete());
        assert_eq!(counts, [3, 5]);
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let mut body = BodyState::new(Framing::Length(5), Emit::Chunks);
        assert_eq!(walk(&mut body, b"hel"), (3, b"hel".to_vec()));
        assert!(!body.is_complete());
        assert_eq!(walk(&mut body, b"loGET"), (2, b"lo".to_vec()));
        assert!(body.is_complete());
        assert_eq!(walk(&mut body, b"GET"), (0, b"".to_vec()));
    }

    #[test]
    fn nothing_belongs_to_no_body() {
        for framing in [Framing::NoBody, Framing::Length(0)] {
            let mut body = BodyState::new(framing, Emit::Chunks);
            assert!(body.is_complete());
            assert_eq!(walk(&mut body, b"GET"), (0, b"".to_vec()));
        }
    }

    #[test]
    fn only_until_close_ends_with_the_connection() {
        let mut body = BodyState::new(Framing::UntilClose, Emit::Chunks);
        assert_eq!(walk(&mut body, b"all"), (3, b"all".to_vec()));
        assert!(!body.is_complete());
        assert!(body.end());
        assert!(!BodyState::new(Framing::Length(1), Emit::Chunks).end());
        assert!(!BodyState::new(Framing::Chunked, Emit::Chunks).end());
    }

    #[test]
    fn trailers_come_as_a_tail() {
        let mut body = BodyState::new(Framing::Chunked, Emit::Chunks);
        assert_eq!(walk(&mut body, b"1\r\na\r\n0\r\nX: ").1, b"1\r\na\r\n0\r\n");
        assert_eq!(walk(&mut body, b"y\r\n\r\nGET"), (5, b"X: y\r\n\r\n".to_vec()));
        assert!(body.is_complete());
    }
}
