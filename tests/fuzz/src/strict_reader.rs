//! Reads messages as a sender must write them: by the grammar of RFC 9112, with nothing forgiven.
//!
//! The product may forgive its peers this and that; whoever receives from the product need not
//! forgive anything. Written to be obviously right, not fast: it starts over for every call.

use std::fmt;

use crate::show;

/// What a sender must not write, in words.
pub type Fault = String;

/// A field: its name in lower case, and its value.
pub type Field = (Vec<u8>, Vec<u8>);

/// A message, as far as it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The three parts of the start line.
    pub start: [Vec<u8>; 3],
    /// The header section.
    pub fields: Vec<Field>,
    /// The content, without transfer coding.
    pub content: Vec<u8>,
    /// The trailer section.
    pub trailers: Vec<Field>,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the end of the body is there.
    pub is_whole: bool,
    /// How many octets of the input it takes.
    pub used: usize,
}

/// How the end of a body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two, three] = self.start.each_ref().map(|part| show(part));
        write!(f, "{one} {two} {three}, {:?}, whole: {},", self.framing, self.is_whole)?;
        for (name, value) in &self.fields {
            write!(f, " [{}: {}]", show(name), show(value))?;
        }
        write!(f, " {}", show(&self.content))
    }
}

impl Message {
    /// The values of all fields with this name, which is in lower case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(n, _)| n == name.as_bytes()).map(|(_, v)| v.as_slice())
    }

    /// The value of the only field with this name.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn only(&self, name: &str) -> Result<&[u8], Fault> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(format!("no {name}")),
            (Some(_), Some(_)) => Err(format!("several {name}")),
        }
    }
}

/// Reads the request at the start of `octets`; `None` while its head is not whole.
///
/// # Errors
/// What no sender may write.
pub fn read_request(octets: &[u8]) -> Result<Option<Message>, Fault> {
    let Some(mut message) = read_head(octets)? else { return Ok(None) };
    let [method, target, version] = &message.start;
    require(is_token(method), "the method is no token")?;
    require(version == b"HTTP/1.1", "the version is not HTTP/1.1")?;
    let is_asterisk = target == b"*" && method == b"OPTIONS";
    let is_origin = target.starts_with(b"/") && target.iter().all(|o| is_target_octet(*o));
    require(is_asterisk || is_origin, "the target is neither origin-form nor asterisk-form")?;
    message.only("host")?;
    message.framing = match stated_framing(&message)? {
        Framing::UntilClose => Framing::None,
        stated => stated,
    };
    read_body(&mut message, octets, Ended::No)?;
    Ok(Some(message))
}

/// Whether the connection has ended behind the octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// In good order.
    Yes,
    /// More may come, or it was reset.
    No,
}

/// Reads the response to a request with this method at the start of `octets`; `None` while its head
/// is not whole.
///
/// # Errors
/// What no sender may write.
pub fn read_response(octets: &[u8], method: &[u8], end: Ended) -> Result<Option<Message>, Fault> {
    let Some(mut message) = read_head(octets)? else { return Ok(None) };
    let [version, status, _] = &message.start;
    require(version == b"HTTP/1.1" || version == b"HTTP/1.0", "the version is none")?;
    let is_status = status.len() == 3 && status.iter().all(u8::is_ascii_digit);
    require(is_status && (b'1'..=b'5').contains(&status[0]), "the status is none")?;
    let stated = stated_framing(&message)?;
    message.framing = match (status[0], status.as_slice()) {
        (b'1', _) | (_, b"204") => {
            require(stated == Framing::UntilClose, "framing fields in a 1xx or 204")?;
            Framing::None
        }
        (_, b"304") => Framing::None,
        _ if method == b"HEAD" => Framing::None,
        _ => stated,
    };
    read_body(&mut message, octets, end)?;
    Ok(Some(message))
}

/// What the fields say alone; without any, [`Framing::UntilClose`].
fn stated_framing(message: &Message) -> Result<Framing, Fault> {
    let lengths: Vec<_> = message.values("content-length").collect();
    let codings: Vec<_> = message.values("transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Framing::UntilClose),
        ([], [b"chunked"]) => Ok(Framing::Chunked),
        ([digits], []) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let number = String::from_utf8_lossy(digits).parse::<usize>();
            number.map(Framing::Length).map_err(|e| format!("content-length: {e}"))
        }
        _ => Err(format!("framing fields: {lengths:?} {codings:?}")),
    }
}

fn read_head(octets: &[u8]) -> Result<Option<Message>, Fault> {
    let Some(end) = octets.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = split_lines(&octets[..end]);
    let first = lines.next().unwrap_or_default();
    let mut parts = first.splitn(3, |octet| *octet == b' ').map(<[u8]>::to_vec);
    let (Some(a), Some(b), Some(c)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("the start line has no three parts: {}", show(first)));
    };
    require(c.iter().all(|octet| is_text(*octet)), "the start line has control octets")?;
    Ok(Some(Message {
        start: [a, b, c],
        fields: lines.map(read_field).collect::<Result<_, _>>()?,
        content: Vec::new(),
        trailers: Vec::new(),
        framing: Framing::None,
        is_whole: false,
        used: end + 4,
    }))
}

/// The lines of a section without its last CRLF.
fn split_lines(mut section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let end = section.windows(2).position(|window| window == b"\r\n");
        is_over = end.is_none();
        let line = &section[..end.unwrap_or(section.len())];
        section = &section[end.map_or(section.len(), |end| end + 2)..];
        Some(line)
    })
}

fn read_field(line: &[u8]) -> Result<Field, Fault> {
    let colon = line.iter().position(|octet| *octet == b':');
    let (name, rest) = line.split_at(colon.ok_or_else(|| format!("no colon: {}", show(line)))?);
    let value = &rest[1..];
    let value = value.strip_prefix(b" ").unwrap_or(value);
    require(is_token(name), "a field name is no token")?;
    require(value.iter().all(|octet| is_text(*octet)), "a field value has control octets")?;
    let has_blank_end = |end: Option<&u8>| end.is_some_and(|octet| b" \t".contains(octet));
    let has_blank_ends = has_blank_end(value.first()) || has_blank_end(value.last());
    require(!has_blank_ends, "white space around a field value")?;
    Ok((name.to_ascii_lowercase(), value.to_vec()))
}

fn read_body(message: &mut Message, octets: &[u8], end: Ended) -> Result<(), Fault> {
    let rest = &octets[message.used..];
    match message.framing {
        Framing::None => message.is_whole = true,
        Framing::Length(length) => {
            let here = length.min(rest.len());
            message.content = rest[..here].to_vec();
            message.used += here;
            message.is_whole = here == length;
        }
        Framing::UntilClose => {
            message.content = rest.to_vec();
            message.used += rest.len();
            message.is_whole = end == Ended::Yes;
        }
        Framing::Chunked => {
            let chunks = read_chunks(rest)?;
            message.content = chunks.content;
            message.trailers = chunks.trailers;
            message.used += chunks.used;
            message.is_whole = chunks.is_whole;
        }
    }
    Ok(())
}

/// What a chunked body carries.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Chunks {
    /// The content.
    pub content: Vec<u8>,
    /// The trailer section.
    pub trailers: Vec<Field>,
    /// How many octets the body takes.
    pub used: usize,
    /// Whether it is whole.
    pub is_whole: bool,
}

/// Reads a chunked body without extensions, as far as it is there.
///
/// # Errors
/// What no sender may write.
pub fn read_chunks(octets: &[u8]) -> Result<Chunks, Fault> {
    let mut chunks = Chunks::default();
    loop {
        let rest = &octets[chunks.used..];
        let Some(line_end) = rest.windows(2).position(|window| window == b"\r\n") else {
            let could_be = rest.iter().all(|o| o.is_ascii_hexdigit() || *o == b'\r');
            require(could_be, "what begins here is no chunk size")?;
            chunks.used = octets.len();
            return Ok(chunks);
        };
        let size = std::str::from_utf8(&rest[..line_end]).map_err(|e| e.to_string())?;
        let digits = !size.is_empty() && size.bytes().all(|o| o.is_ascii_hexdigit());
        require(digits && size.len() <= 15, "a chunk size is none")?;
        let size = usize::from_str_radix(size, 16).map_err(|e| e.to_string())?;
        let data = &rest[line_end + 2..];
        if size == 0 {
            return read_trailers(chunks, octets, line_end + 2);
        }
        if data.len() < size + 2 {
            let here = size.min(data.len());
            require(data.len() <= size || data[size] == b'\r', "no CRLF behind a chunk")?;
            chunks.content.extend_from_slice(&data[..here]);
            chunks.used = octets.len();
            return Ok(chunks);
        }
        require(&data[size..size + 2] == b"\r\n", "no CRLF behind a chunk")?;
        chunks.content.extend_from_slice(&data[..size]);
        chunks.used += line_end + 2 + size + 2;
    }
}

/// Reads what follows the last chunk, whose line takes so many octets.
fn read_trailers(mut chunks: Chunks, octets: &[u8], line: usize) -> Result<Chunks, Fault> {
    let section = &octets[chunks.used + line..];
    if section.starts_with(b"\r\n") {
        chunks.used += line + 2;
        chunks.is_whole = true;
    } else if let Some(end) = section.windows(4).position(|window| window == b"\r\n\r\n") {
        chunks.trailers = split_lines(&section[..end]).map(read_field).collect::<Result<_, _>>()?;
        chunks.used += line + end + 4;
        chunks.is_whole = true;
    } else {
        chunks.used = octets.len();
    }
    Ok(chunks)
}

fn require(holds: bool, otherwise: &str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn is_token(octets: &[u8]) -> bool {
    let is_tchar = |o: &u8| o.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(o);
    !octets.is_empty() && octets.iter().all(is_tchar)
}

/// `HTAB`, `SP`, `VCHAR` and `obs-text`.
fn is_text(octet: u8) -> bool {
    octet == b'\t' || (octet >= b' ' && octet != 0x7f)
}

/// RFC 3986: what may stand in a path or query.
fn is_target_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"\"#<>[\\]^`{|}".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline() {
        let wire = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\nok\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let first = read_request(wire).unwrap().unwrap();
        assert_eq!((first.content.as_slice(), first.is_whole), (&b"ok"[..], true));
        assert_eq!(first.trailers, [(b"x".to_vec(), b"y".to_vec())]);
        let second = read_request(&wire[first.used..]).unwrap().unwrap();
        assert_eq!((second.start[1].as_slice(), second.is_whole), (&b"/"[..], true));
    }

    #[test]
    fn what_no_sender_writes() {
        for wire in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\nHost: h\r\n\r\n",
            b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nX: y\nZ: z\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert!(read_request(wire).is_err(), "{}", show(wire));
        }
    }
}
