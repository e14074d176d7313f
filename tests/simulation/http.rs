//! The peers' own reading of HTTP/1.1: small, strict, and sharing nothing with roundel's.
//!
//! Whatever roundel passes on has to be readable by this without a single doubt: lines end with CRLF,
//! framing is stated once, chunks have sizes and nothing else.
//!
//! Here is also what bodies consist of. Each octet follows from the exchange, the direction and its
//! place, so that an octet in the wrong place, or of another exchange, is found by comparing. Much of it
//! looks like HTTP.

use super::{rng::mix, wire::Queue};

/// Which octets of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Matter {
    RequestBody,
    /// Of the answer with this number: each try gets another.
    ResponseBody(usize),
    TunnelUp,
    TunnelDown,
}

impl Matter {
    fn number(self) -> u64 {
        match self {
            Self::RequestBody => 0,
            Self::TunnelUp => 1,
            Self::TunnelDown => 2,
            Self::ResponseBody(answer) => 3 + answer as u64,
        }
    }
}

/// Octets of an exchange from this place on.
pub(crate) fn content(exchange: usize, matter: Matter, from: usize, count: usize) -> Vec<u8> {
    const WORD: usize = 8;
    let key = mix((exchange as u64) << 16 | matter.number());
    let first = from / WORD;
    let last = (from + count).div_ceil(WORD);
    let mut octets = Vec::with_capacity((last - first) * WORD);
    for place in first..last {
        let number = mix(key ^ place as u64);
        octets.extend_from_slice(&match number % 8 {
            0 => *b"\r\n0\r\n\r\n\r",
            1 => *b"HTTP/1.1",
            2 => *b"\r\n\r\nGET ",
            _ => number.to_be_bytes(),
        });
    }
    octets.drain(..from - first * WORD);
    octets.truncate(count);
    octets
}

/// A start line and its fields.
#[derive(Clone, Default, Debug)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    /// The values of a field.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = move |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(of_name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that stands there exactly once.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        let mut of_name = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        let (_, value) = of_name.next()?;
        of_name.next().is_none().then_some(value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

/// What stands in a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    Nothing,
    Length(usize),
    Chunks,
    /// Everything that still comes, which may be a tunnel.
    Everything,
}

/// What was read next.
#[derive(Debug)]
pub(crate) enum Item {
    /// A head; [`Reader::expect`] has to tell what follows it.
    Head(Head),
    /// Octets of content.
    Data(Vec<u8>),
    /// The end of a message, with its trailers.
    End(Vec<(String, String)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Head,
    Length(usize),
    ChunkSize,
    ChunkData(usize),
    ChunkEnd,
    Trailers,
    Everything,
}

/// Reads messages from octets that come in pieces.
pub(crate) struct Reader {
    state: State,
    octets: Queue,
    /// So many octets have no line end in them.
    searched: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { state: State::Head, octets: Queue::default(), searched: 0 }
    }
}

impl Reader {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.octets.push(octets);
    }

    /// Says what follows the head that was just read.
    pub(crate) fn expect(&mut self, body: Body) {
        self.state = match body {
            Body::Nothing => State::Length(0),
            Body::Length(count) => State::Length(count),
            Body::Chunks => State::ChunkSize,
            Body::Everything => State::Everything,
        };
    }

    /// Whether nothing of a message has been read that is not complete.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.state == State::Head && self.octets.is_empty()
    }

    /// The next part, if it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, String> {
        loop {
            return match self.state {
                State::Head => match self.section()? {
                    None => Ok(None),
                    Some(octets) => parse_head(&octets).map(|head| Some(Item::Head(head))),
                },
                State::Length(0) => {
                    self.state = State::Head;
                    Ok(Some(Item::End(Vec::new())))
                }
                State::Length(left) => Ok(self.data(left).map(|data| {
                    self.state = State::Length(left - data.len());
                    Item::Data(data)
                })),
                State::Everything => Ok(self.data(usize::MAX).map(Item::Data)),
                State::ChunkSize => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    self.state = match parse_size(&line)? {
                        0 => State::Trailers,
                        size => State::ChunkData(size),
                    };
                    continue;
                }
                State::ChunkData(left) => Ok(self.data(left).map(|data| {
                    let left = left - data.len();
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                    Item::Data(data)
                })),
                State::ChunkEnd => {
                    match self.line()? {
                        None => return Ok(None),
                        Some(line) if line.is_empty() => self.state = State::ChunkSize,
                        Some(line) => return Err(format!("{line:?} after a chunk")),
                    }
                    continue;
                }
                State::Trailers => {
                    let Some(octets) = self.section()? else { return Ok(None) };
                    self.state = State::Head;
                    let text = String::from_utf8(octets).map_err(|e| e.to_string())?;
                    let lines = text.trim_end_matches("\r\n").split("\r\n");
                    let lines = lines.filter(|line| !line.is_empty());
                    let trailers = lines.map(parse_field).collect::<Result<_, _>>()?;
                    Ok(Some(Item::End(trailers)))
                }
            };
        }
    }

    fn data(&mut self, count_max: usize) -> Option<Vec<u8>> {
        let count = self.octets.len().min(count_max);
        if count == 0 {
            return None;
        }
        let data = self.octets.front()[..count].to_vec();
        self.octets.drop_front(count);
        Some(data)
    }

    /// A line without its CRLF.
    fn line(&mut self) -> Result<Option<String>, String> {
        let octets = self.octets.front();
        let Some(at) = octets[self.searched..].iter().position(|octet| *octet == b'\n') else {
            self.searched = octets.len();
            return Ok(None);
        };
        let end = self.searched + at;
        let line = octets[..end].strip_suffix(b"\r").ok_or("a line ends without CR")?;
        let line = String::from_utf8(line.to_vec()).map_err(|e| e.to_string())?;
        self.octets.drop_front(end + 1);
        self.searched = 0;
        Ok(Some(line))
    }

    /// Lines up to and with an empty one.
    fn section(&mut self) -> Result<Option<Vec<u8>>, String> {
        const HEAD_BYTES_MAX: usize = 64 * 1024;
        let octets = self.octets.front();
        let from = self.searched.saturating_sub(3);
        let found = if octets.starts_with(b"\r\n") {
            Some(2)
        } else {
            let end = octets[from..].windows(4).position(|four| four == b"\r\n\r\n");
            end.map(|at| from + at + 4)
        };
        let Some(length) = found else {
            self.searched = octets.len();
            if octets.len() > HEAD_BYTES_MAX {
                return Err("a head without end".into());
            }
            return Ok(None);
        };
        let section = octets[..length].to_vec();
        self.octets.drop_front(length);
        self.searched = 0;
        Ok(Some(section))
    }
}

fn parse_size(line: &str) -> Result<usize, String> {
    let digits = !line.is_empty() && line.bytes().all(|octet| octet.is_ascii_hexdigit());
    match usize::from_str_radix(line, 16) {
        Ok(size) if digits => Ok(size),
        _ => Err(format!("{line:?} as a chunk size")),
    }
}

fn parse_head(octets: &[u8]) -> Result<Head, String> {
    let text = std::str::from_utf8(octets).map_err(|_| "a head that is no ASCII")?;
    let doubtful = |c: char| c.is_ascii_control() && !matches!(c, '\r' | '\n' | '\t');
    let lone = text.replace("\r\n", "");
    if text.contains(doubtful) || lone.contains(['\r', '\n']) {
        return Err(format!("a head with control octets: {text:?}"));
    }
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    if start.is_empty() {
        return Err("an empty line instead of a head".into());
    }
    let fields = lines.map(parse_field).collect::<Result<_, _>>()?;
    Ok(Head { start, fields })
}

fn parse_field(line: &str) -> Result<(String, String), String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match line.split_once(": ") {
        Some((name, value)) if !name.is_empty() && name.chars().all(token) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("{line:?} as a field")),
    }
}

/// So many chunks have extensions: there is a limit for all of a message together.
const EXTENSIONS_COUNT_MAX: usize = 100;

/// Puts content into chunks of these sizes, one after the other and all over again.
pub(crate) struct Chunking {
    pub(crate) sizes: Vec<usize>,
    pub(crate) extensions: bool,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Chunking {
    pub(crate) fn encode(&self, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = content;
        for (place, size) in self.sizes.iter().cycle().enumerate() {
            if rest.is_empty() {
                break;
            }
            let size = (*size).clamp(1, rest.len());
            let (chunk, behind) = rest.split_at(size);
            let extended = self.extensions && place < EXTENSIONS_COUNT_MAX;
            let extension = if extended { ";a;b=c;d=\"e f\"" } else { "" };
            out.extend_from_slice(format!("{size:x}{extension}\r\n").as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
            rest = behind;
        }
        out.extend_from_slice(b"0\r\n");
        for (name, value) in &self.trailers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}
