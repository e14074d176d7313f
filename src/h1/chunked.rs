//! Chunked transfer coding (RFC 9112 section 7.1), as it passes through.
//!
//! Octets in, octets out, in place: the decoder walks over a buffer and leaves in it what goes on.
//! Extensions are checked and dropped: nobody uses them, and parsers disagree about them. Trailers
//! are held until the section is complete, then those that are harmless go on.
//!
//! Knows nothing of sockets, heads, or limits on whole bodies.
//!
//! Invariant: octets after the last chunk are never used: they belong to the next message. Whatever
//! goes on is a chunked body of the strictest form, or with [`Emit::Data`] its bare content.
//!
//! Next: `body.rs` wraps this decoder together with the other framings.

use super::fields::{field_storage, is_harmless_trailer, is_token_octet};
use crate::config::Limits;

/// What is left in the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Emit {
    /// A chunked body.
    Chunks,
    /// The content alone, for a recipient of HTTP/1.0.
    Data,
}

/// The most digits of a chunk size: 15 hold more than any body, and cannot overflow 64 bits.
const SIZE_DIGITS_MAX: u8 = 15;

/// A body that breaks the rules of the coding, or a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadChunk;

/// Where in the coding we are; each state is named for the octet that it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A digit of a chunk size; after the first also what may follow it.
    Size { digits: u8, size: u64 },
    /// The next octet of an extension of a chunk of this size.
    Extension { size: u64, octets: u32, part: ExtensionPart },
    /// The LF after a chunk size.
    SizeLf { size: u64 },
    /// This many octets of content.
    Data { left: u64 },
    /// The CR after the content.
    DataCr,
    /// The LF after the content.
    DataLf,
    /// The first octet after the last chunk: CR, or the start of a trailer.
    End,
    /// The LF of the empty line that ends a body without trailers.
    EndLf,
    /// The rest of the trailer section.
    Trailer,
    /// Nothing: the body is complete.
    Done,
}

/// The grammar of a chunk extension (section 7.1.1), octet by octet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ExtensionPart {
    /// Blanks in front of a semicolon.
    BeforeSemicolon,
    /// Blanks or the first octet of a name.
    BeforeName,
    /// The name.
    Name,
    /// Blanks after a name: `=`, `;` or the end follow.
    AfterName,
    /// Blanks or the first octet of a value.
    BeforeValue,
    /// A value that is a token.
    Value,
    /// Behind the closing quote of a value.
    AfterQuoted,
    /// A value in quotes.
    Quoted,
    /// The octet after a backslash in quotes.
    QuotedPair,
}

/// What a walk over a buffer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walked {
    /// How many octets of the buffer belong to this body.
    pub used: usize,
    /// How many octets at the start of the buffer now go on.
    pub kept: usize,
    /// How many octets of the content there were among them.
    pub content: usize,
}

/// Follows one chunked body.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    emit: Emit,
    extension_bytes: u32,
    trailer: Vec<u8>,
}

impl ChunkedDecoder {
    /// At the start of a body.
    #[must_use]
    pub fn new(emit: Emit) -> Self {
        let state = State::Size { digits: 0, size: 0 };
        Self { state, emit, extension_bytes: 0, trailer: Vec::new() }
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Walks over the next octets of the body and leaves at the start of `buf` what goes on.
    ///
    /// # Errors
    /// [`BadChunk`]; what went on before cannot be taken back, so the message must be broken off.
    pub fn walk(&mut self, buf: &mut [u8], limits: &Limits) -> Result<Walked, BadChunk> {
        let mut used = 0;
        let mut kept = 0;
        let mut content = 0;
        while used < buf.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let take =
                    usize::try_from(left).map_or(buf.len() - used, |n| n.min(buf.len() - used));
                if used != kept {
                    buf.copy_within(used..used + take, kept);
                }
                used += take;
                kept += take;
                content += take;
                let left = left - take as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                continue;
            }
            let octet = buf[used];
            used += 1;
            if self.step(octet, limits)? && self.emit == Emit::Chunks {
                buf[kept] = octet;
                kept += 1;
            }
        }
        Ok(Walked { used, kept, content })
    }

    /// Takes one octet outside of content; says whether it goes on.
    fn step(&mut self, octet: u8, limits: &Limits) -> Result<bool, BadChunk> {
        let (next, goes_on) = match (self.state, octet) {
            (State::Size { digits: 1.., size }, b'\r') => (State::SizeLf { size }, true),
            (State::Size { digits: 1.., size }, b';' | b' ' | b'\t') => {
                let part = if octet == b';' {
                    ExtensionPart::BeforeName
                } else {
                    ExtensionPart::BeforeSemicolon
                };
                (self.extension(size, 1, part, limits)?, false)
            }
            (State::Size { digits, size }, _) => {
                let digit = hex_digit(octet).ok_or(BadChunk)?;
                if digits == SIZE_DIGITS_MAX {
                    return Err(BadChunk);
                }
                (State::Size { digits: digits + 1, size: size << 4 | digit }, true)
            }
            (State::Extension { size, part, .. }, b'\r') if part.may_end() => {
                (State::SizeLf { size }, true)
            }
            (State::Extension { size, octets, part }, _) => {
                let part = part.after(octet).ok_or(BadChunk)?;
                (self.extension(size, octets + 1, part, limits)?, false)
            }
            (State::SizeLf { size: 0 }, b'\n') => (State::End, true),
            (State::SizeLf { size }, b'\n') => (State::Data { left: size }, true),
            (State::DataCr, b'\r') => (State::DataLf, true),
            (State::DataLf, b'\n') => (State::Size { digits: 0, size: 0 }, true),
            (State::End, b'\r') => (State::EndLf, true),
            (State::EndLf, b'\n') => (State::Done, true),
            (State::End | State::Trailer, _) => (self.trailer(octet, limits)?, false),
            (
                State::SizeLf { .. }
                | State::DataCr
                | State::DataLf
                | State::EndLf
                | State::Data { .. }
                | State::Done,
                _,
            ) => return Err(BadChunk),
        };
        self.state = next;
        Ok(goes_on)
    }

    fn extension(
        &mut self,
        size: u64,
        octets: u32,
        part: ExtensionPart,
        limits: &Limits,
    ) -> Result<State, BadChunk> {
        self.extension_bytes += 1;
        if octets > limits.chunk_extension_bytes_max
            || self.extension_bytes > limits.chunk_extensions_bytes_max
        {
            return Err(BadChunk);
        }
        Ok(State::Extension { size, octets, part })
    }

    fn trailer(&mut self, octet: u8, limits: &Limits) -> Result<State, BadChunk> {
        if self.trailer.len() == limits.trailer_bytes_max
            || (octet == b'\n' && self.trailer.last() != Some(&b'\r'))
        {
            return Err(BadChunk);
        }
        self.trailer.push(octet);
        if !self.trailer.ends_with(b"\r\n\r\n") {
            return Ok(State::Trailer);
        }
        self.trailer = match self.emit {
            Emit::Chunks => harmless_trailers(&self.trailer)?,
            Emit::Data => harmless_trailers(&self.trailer).map(|_| Vec::new())?,
        };
        Ok(State::Done)
    }

    /// What goes on behind the octets of the walk that completed the body: the trailer section with
    /// its empty line where there was one, otherwise nothing.
    #[must_use]
    pub fn take_tail(&mut self) -> Vec<u8> {
        if self.is_done() { std::mem::take(&mut self.trailer) } else { Vec::new() }
    }
}

fn hex_digit(octet: u8) -> Option<u64> {
    char::from(octet).to_digit(16).map(u64::from)
}

/// The section with only those fields that mean nothing to framing, routing, authentication or the
/// connection (RFC 9110 section 6.5.1).
fn harmless_trailers(section: &[u8]) -> Result<Vec<u8>, BadChunk> {
    let mut out = Vec::with_capacity(section.len());
    // httparse wants initialised fields here; this is far from the fast path.
    let mut fields = field_storage().map(|_| httparse::EMPTY_HEADER);
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(section, &mut fields)
    else {
        return Err(BadChunk);
    };
    for field in fields.iter().filter(|field| is_harmless_trailer(field.name.as_bytes())) {
        out.extend_from_slice(field.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

impl ExtensionPart {
    /// Whether the line may end here.
    fn may_end(self) -> bool {
        match self {
            Self::Name | Self::Value | Self::AfterQuoted => true,
            // Blanks are only ever in front of something.
            Self::BeforeSemicolon
            | Self::BeforeName
            | Self::AfterName
            | Self::BeforeValue
            | Self::Quoted
            | Self::QuotedPair => false,
        }
    }

    /// The part after one more octet, if the grammar has it there.
    fn after(self, octet: u8) -> Option<Self> {
        let blank = matches!(octet, b' ' | b'\t');
        let token = is_token_octet(octet);
        match self {
            Self::BeforeSemicolon if octet == b';' => Some(Self::BeforeName),
            Self::BeforeSemicolon | Self::BeforeName | Self::BeforeValue if blank => Some(self),
            Self::BeforeName | Self::Name if token => Some(Self::Name),
            Self::Name | Self::AfterName if octet == b'=' => Some(Self::BeforeValue),
            Self::Name | Self::AfterName | Self::Value | Self::AfterQuoted if octet == b';' => {
                Some(Self::BeforeName)
            }
            Self::Name | Self::AfterName if blank => Some(Self::AfterName),
            // After a value only another extension may follow, as after blanks in front of one.
            Self::Value | Self::AfterQuoted if blank => Some(Self::BeforeSemicolon),
            Self::BeforeValue if octet == b'"' => Some(Self::Quoted),
            Self::BeforeValue | Self::Value if token => Some(Self::Value),
            Self::Quoted if octet == b'\\' => Some(Self::QuotedPair),
            Self::Quoted if octet == b'"' => Some(Self::AfterQuoted),
            Self::Quoted if octet == b'\t' || (octet >= b' ' && octet != 0x7f) => {
                Some(Self::Quoted)
            }
            Self::QuotedPair if octet == b'\t' || (octet >= b' ' && octet != 0x7f) => {
                Some(Self::Quoted)
            }
            Self::BeforeSemicolon
            | Self::BeforeName
            | Self::Name
            | Self::AfterName
            | Self::BeforeValue
            | Self::Value
            | Self::AfterQuoted
            | Self::Quoted
            | Self::QuotedPair => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        name: &'static str,
        wire: &'static str,
        /// What goes on as chunks, and as data.
        want: Result<(&'static str, &'static str), BadChunk>,
    }

    const CASES: &[Case] = &[
        Case { name: "empty body", wire: "0\r\n\r\n", want: Ok(("0\r\n\r\n", "")) },
        Case {
            name: "one chunk",
            wire: "5\r\nhello\r\n0\r\n\r\n",
            want: Ok(("5\r\nhello\r\n0\r\n\r\n", "hello")),
        },
        Case {
            name: "two chunks",
            wire: "1\r\na\r\n00A\r\n0123456789\r\n0\r\n\r\n",
            want: Ok(("1\r\na\r\n00A\r\n0123456789\r\n0\r\n\r\n", "a0123456789")),
        },
        Case {
            name: "CRLF as content",
            wire: "4\r\n\r\n\r\n\r\n0\r\n\r\n",
            want: Ok(("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n")),
        },
        Case {
            name: "fifteen digits",
            wire: "000000000000001\r\na\r\n0\r\n\r\n",
            want: Ok(("000000000000001\r\na\r\n0\r\n\r\n", "a")),
        },
        Case {
            name: "an extension",
            wire: "1;a\r\nx\r\n0;b=c\r\n\r\n",
            want: Ok(("1\r\nx\r\n0\r\n\r\n", "x")),
        },
        Case {
            name: "extensions of every form",
            wire: "1 ; a = b;c=\"d;\\\"\\\\ \"; e\r\nx\r\n0\r\n\r\n",
            want: Ok(("1\r\nx\r\n0\r\n\r\n", "x")),
        },
        Case {
            name: "a blank after a value, then more",
            wire: "1;a=b ;c\r\nx\r\n0\r\n\r\n",
            want: Ok(("1\r\nx\r\n0\r\n\r\n", "x")),
        },
        Case {
            name: "a trailer",
            wire: "0\r\nX-Sum: 1\r\n\r\n",
            want: Ok(("0\r\nX-Sum: 1\r\n\r\n", "")),
        },
        Case {
            name: "harmful trailers",
            wire: "0\r\nContent-Length: 5\r\nX: y\r\nHost: h\r\nSet-Cookie: a\r\nX_Forwarded_For: b\r\nIf-None-Match: *\r\nVia: 1.1 a\r\nA_B: c\r\n\r\n",
            want: Ok(("0\r\nX: y\r\n\r\n", "")),
        },
        Case {
            name: "only harmful trailers",
            wire: "0\r\nTrailer: X\r\n\r\n",
            want: Ok(("0\r\n\r\n", "")),
        },
        Case { name: "no size", wire: "\r\nx\r\n0\r\n\r\n", want: Err(BadChunk) },
        Case {
            name: "sixteen digits",
            wire: "0000000000000001\r\na\r\n0\r\n\r\n",
            want: Err(BadChunk),
        },
        Case { name: "0x", wire: "0x1\r\na\r\n", want: Err(BadChunk) },
        Case { name: "a sign", wire: "+1\r\na\r\n", want: Err(BadChunk) },
        Case { name: "a blank in front", wire: " 1\r\na\r\n", want: Err(BadChunk) },
        Case { name: "a blank behind", wire: "1 \r\na\r\n", want: Err(BadChunk) },
        Case { name: "an underscore", wire: "1_0\r\na\r\n", want: Err(BadChunk) },
        Case { name: "bare LF after the size", wire: "1\na\r\n0\r\n\r\n", want: Err(BadChunk) },
        Case { name: "bare CR after the size", wire: "1\ra\r\n", want: Err(BadChunk) },
        Case { name: "bare LF after content", wire: "1\r\na\n0\r\n\r\n", want: Err(BadChunk) },
        Case { name: "content longer than its size", wire: "1\r\nab\r\n", want: Err(BadChunk) },
        Case { name: "bare LF in an extension", wire: "1;a\nx\r\n0\r\n\r\n", want: Err(BadChunk) },
        Case { name: "LF in quotes", wire: "1;a=\"\n\"\r\nx\r\n", want: Err(BadChunk) },
        Case { name: "CR in quotes", wire: "1;a=\"\r\n\"\r\nx\r\n", want: Err(BadChunk) },
        Case { name: "an extension without a name", wire: "1;\r\nx\r\n", want: Err(BadChunk) },
        Case { name: "an extension without a value", wire: "1;a=\r\nx\r\n", want: Err(BadChunk) },
        Case { name: "two words as an extension", wire: "1;a b\r\nx\r\n", want: Err(BadChunk) },
        Case {
            name: "a blank at the end of an extension",
            wire: "1;a \r\nx\r\n",
            want: Err(BadChunk),
        },
        Case { name: "a blank behind a value", wire: "1;a=b \r\nx\r\n", want: Err(BadChunk) },
        Case {
            name: "a word right behind quotes",
            wire: "1;a=\"b\"c\r\nx\r\n",
            want: Err(BadChunk),
        },
        Case { name: "quotes that go on", wire: "1;a=\"b\" c\r\nx\r\n", want: Err(BadChunk) },
        Case { name: "bare LF at the end", wire: "0\r\n\n", want: Err(BadChunk) },
        Case { name: "bare CR at the end", wire: "0\r\n\rx", want: Err(BadChunk) },
        Case { name: "bare LF in a trailer", wire: "0\r\nA: b\n\r\n", want: Err(BadChunk) },
        Case { name: "a folded trailer", wire: "0\r\nA: b\r\n c\r\n\r\n", want: Err(BadChunk) },
        Case { name: "a trailer without a colon", wire: "0\r\nA\r\n\r\n", want: Err(BadChunk) },
        Case {
            name: "a blank in a trailer's name",
            wire: "0\r\nA : b\r\n\r\n",
            want: Err(BadChunk),
        },
    ];

    /// Feeds pieces of the wire one after the other, with `behind` after the last, and joins what
    /// goes on.
    fn run(pieces: &[&[u8]], behind: &[u8], emit: Emit) -> Result<Vec<u8>, BadChunk> {
        let mut decoder = ChunkedDecoder::new(emit);
        let mut out = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let mut buf = piece.to_vec();
            let is_last = i + 1 == pieces.len();
            if is_last {
                buf.extend_from_slice(behind);
            }
            let walked = decoder.walk(&mut buf, &Limits::default())?;
            out.extend_from_slice(&buf[..walked.kept]);
            assert_eq!(walked.used, piece.len(), "uses the body, and only that");
            assert_eq!(decoder.is_done(), is_last);
        }
        out.extend(decoder.take_tail());
        Ok(out)
    }

    #[test]
    fn whole_split_everywhere_octet_by_octet_and_with_octets_behind() {
        for Case { name, wire, want } in CASES {
            let wire = wire.as_bytes();
            for emit in [Emit::Chunks, Emit::Data] {
                let want = want.map(|(chunks, data)| {
                    if emit == Emit::Chunks {
                        chunks.as_bytes().to_vec()
                    } else {
                        data.as_bytes().to_vec()
                    }
                });
                assert_eq!(run(&[wire], b"", emit), want, "{name}");
                assert_eq!(run(&[wire], b"GET / HTTP/1.1\r\n", emit), want, "{name}, with more");
                for split in 1..wire.len() {
                    let (a, b) = wire.split_at(split);
                    assert_eq!(run(&[a, b], b"0\r\n\r\n", emit), want, "{name}, split at {split}");
                }
                let octets: Vec<&[u8]> = wire.chunks(1).collect();
                assert_eq!(run(&octets, b"", emit), want, "{name}, octet by octet");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_have_limits() {
        let limits = Limits::default();
        let refused = |wire: String| {
            let mut decoder = ChunkedDecoder::new(Emit::Chunks);
            decoder.walk(&mut wire.into_bytes(), &limits).is_err()
        };
        let extension = |octets: usize| format!("1;{}\r\nx\r\n", "a".repeat(octets - 1));
        let most = limits.chunk_extension_bytes_max as usize;
        assert!(!refused(extension(most)));
        assert!(refused(extension(most + 1)), "one chunk's extensions");
        let chunks = limits.chunk_extensions_bytes_max as usize / most;
        assert!(!refused(extension(most).repeat(chunks)));
        assert!(refused(extension(most).repeat(chunks + 1)), "all extensions together");
        let trailer = |octets: usize| format!("0\r\nX: {}\r\n\r\n", "a".repeat(octets - 7));
        assert!(!refused(trailer(limits.trailer_bytes_max)));
        assert!(refused(trailer(limits.trailer_bytes_max + 1)));
    }
}
