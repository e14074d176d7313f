//! One end of a TCP connection in the hands of a test.
//!
//! Reading is by framing that is as simple as can be: the harness is not a second HTTP parser, it
//! only has to find where a well-formed message ends. Everything received is kept in
//! [`Wire::received`], so a test can assert on the exact octets whatever the helpers made of them.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::PATIENCE;

/// Held while a child process is made: until it has become another program, it has a copy of every
/// socket of this process, and closing the original has no effect yet. (That `spawn` has returned
/// does not mean that the copies are gone.)
static SOCKETS_ARE_COPIED: RwLock<()> = RwLock::new(());

/// Waits until no child process is in the making; none is begun until the guard is dropped.
pub(super) fn no_copies_of_sockets() -> RwLockReadGuard<'static, ()> {
    SOCKETS_ARE_COPIED.read().unwrap_or_else(PoisonError::into_inner)
}

/// To be held from before a child process is made until it has shown that it runs.
pub(super) fn copies_of_sockets() -> RwLockWriteGuard<'static, ()> {
    SOCKETS_ARE_COPIED.write().unwrap_or_else(PoisonError::into_inner)
}

/// How the peer ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN: an orderly end.
    Closed,
    /// RST: the peer gave up.
    Reset,
}

/// A connected socket with a memory of all that came in.
pub(crate) struct Wire {
    stream: TcpStream,
    /// Received and not yet taken by a reading helper.
    pending: Vec<u8>,
    log: Arc<Mutex<Vec<u8>>>,
    end: Option<End>,
    patience: Duration,
}

impl Wire {
    /// Connects as a client.
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).expect("connect")
    }

    /// Connects as a client, where nobody may listen.
    pub(crate) fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        Ok(Self::new(stream, Arc::default()))
    }

    /// Takes over a connected stream; what it receives is logged into `log` as well.
    pub(crate) fn new(stream: TcpStream, log: Arc<Mutex<Vec<u8>>>) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self::over(stream, log)
    }

    /// Connects to a Unix socket as a client.
    #[track_caller]
    pub(crate) fn connect_unix(path: &Path) -> Self {
        Self::unix(UnixStream::connect(path).expect("connect"))
    }

    /// Takes over a connected Unix socket. For std it is a stream socket by another name, of which the same
    /// can be asked, but for what is TCP's own.
    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self::over(OwnedFd::from(stream).into(), Arc::default())
    }

    fn over(stream: TcpStream, log: Arc<Mutex<Vec<u8>>>) -> Self {
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        Self { stream, pending: Vec::new(), log, end: None, patience: PATIENCE }
    }

    /// Waits as long as the other side does: for a backend that serves until the test ends.
    pub(crate) fn be_patient(&mut self) {
        self.patience = Duration::from_secs(3600);
        self.stream.set_write_timeout(None).expect("no write timeout");
    }

    /// Another handle on the same connection, for a thread that sends while this one reads.
    pub(crate) fn second_handle(&self) -> Self {
        let stream = self.stream.try_clone().expect("a second handle");
        Self::over(stream, Arc::default())
    }

    /// The bare stream, for a library that wants to speak over it; still bounded in time.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        self.stream
    }

    /// This end's address.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("a local address")
    }

    /// Every octet received so far, taken or not.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.log.lock().unwrap().clone()
    }

    /// Sends the octets in one write.
    #[track_caller]
    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.try_send(octets).expect("send");
    }

    /// Sends the octets; the peer may have gone.
    pub(crate) fn try_send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(octets.as_ref())
    }

    /// Sends the octets one by one, each in a segment of its own.
    #[track_caller]
    pub(crate) fn send_octet_by_octet(&mut self, octets: impl AsRef<[u8]>) {
        for octet in octets.as_ref() {
            self.send([*octet]);
        }
    }

    /// Ends this direction: FIN.
    pub(crate) fn half_close(&self) {
        self.try_half_close().expect("shutdown");
    }

    /// Ends this direction; the peer may have reset the connection already.
    pub(crate) fn try_half_close(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Ends the connection with FIN, at once (if all that was received has been read; the kernel turns
    /// it into a reset otherwise).
    pub(crate) fn close(self) {
        let _no_copies = no_copies_of_sockets();
        drop(self);
    }

    /// Ends the connection with RST, at once.
    pub(crate) fn reset(self) {
        let _no_copies = no_copies_of_sockets();
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(self);
    }

    /// The next head, with the empty line that ends it. Panics where none comes.
    #[track_caller]
    pub(crate) fn head(&mut self) -> String {
        match self.try_head() {
            Some(head) => head,
            None => panic!("{:?} instead of a head, after {:?}", self.end, text(&self.pending)),
        }
    }

    /// The next head, or `None` if the peer ends the connection before it.
    #[track_caller]
    pub(crate) fn try_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.pending, b"\r\n\r\n") {
                return Some(text(&self.take(at + 4)));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next `count` octets.
    #[track_caller]
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.pending.len() < count {
            if !self.fill() {
                panic!(
                    "{:?} after {} of {count} octets: {:?}",
                    self.end,
                    self.pending.len(),
                    excerpt(&self.pending)
                );
            }
        }
        self.take(count)
    }

    /// Reads as many octets as are expected and compares.
    #[track_caller]
    pub(crate) fn expect(&mut self, octets: impl AsRef<[u8]>) {
        let octets = octets.as_ref();
        assert_eq!(text(&self.exactly(octets.len())), text(octets));
    }

    /// The next request with its body, or `None` if the peer ends the connection before it.
    #[track_caller]
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut message = Message { head: self.try_head()?, body: Vec::new() };
        message.body = self.framed_body(&message).unwrap_or_default();
        Some(message)
    }

    /// The next response to a request that was not HEAD, to its end.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Message {
        let mut message = Message { head: self.head(), body: Vec::new() };
        if matches!(message.status(), 100..=199 | 204 | 304) {
            return message;
        }
        message.body = match self.framed_body(&message) {
            Some(body) => body,
            None => {
                let (body, end) = self.rest();
                assert_eq!(end, End::Closed, "after {message:?} and {:?}", text(&body));
                body
            }
        };
        message
    }

    /// The next response to HEAD: a head and nothing else.
    #[track_caller]
    pub(crate) fn response_to_head(&mut self) -> Message {
        Message { head: self.head(), body: Vec::new() }
    }

    /// Sends a GET for `target` and reads the answer.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Message {
        self.send(super::get(target));
        self.response()
    }

    /// The body as it stands on the wire, with all its framing. `None` if it goes on to the end.
    #[track_caller]
    fn framed_body(&mut self, message: &Message) -> Option<Vec<u8>> {
        if message.field("transfer-encoding").is_some() {
            return Some(self.chunked_body());
        }
        let length = message.field("content-length")?.parse().expect("a length in digits");
        Some(self.exactly(length))
    }

    /// A chunked body with all its framing, trailers included.
    #[track_caller]
    fn chunked_body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let size = text(&line);
            let size = size.trim_end().split(';').next().expect("a first part");
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            body.extend(line);
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size + 2));
        }
        loop {
            let line = self.line();
            body.extend(&line);
            if line == b"\r\n" {
                return body;
            }
        }
    }

    /// One line with its CRLF.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.pending, b"\r\n") {
                return self.take(at + 2);
            }
            if !self.fill() {
                panic!("{:?} inside a line: {:?}", self.end, text(&self.pending));
            }
        }
    }

    /// All that comes until the peer ends the connection, and how it ended it.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        while self.fill() {}
        (self.take(self.pending.len()), self.end.expect("an end"))
    }

    /// The peer ends the connection in order, and sends nothing more before it.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        let (rest, end) = self.rest();
        assert_eq!((text(&rest).as_str(), end), ("", End::Closed));
    }

    /// The peer ends the connection in some way, and sends nothing more before it.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) {
        let (rest, _) = self.rest();
        assert_eq!(text(&rest), "");
    }

    /// Whether anything arrives, or the connection ends, within this time.
    pub(crate) fn something_comes(&mut self, time: Duration) -> bool {
        !self.pending.is_empty() || self.end.is_some() || self.read_some(time)
    }

    /// Nothing arrives and nothing ends for a time. This is a wait: use it where time is the
    /// subject, and never to let something else happen.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        let (before, end) = (self.pending.len(), self.end);
        if self.end.is_none() {
            self.read_some(time);
        }
        assert_eq!((text(&self.pending[before..]).as_str(), self.end), ("", end));
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.pending.split_off(count);
        std::mem::replace(&mut self.pending, rest)
    }

    /// Reads once more; false after the end. Panics when nothing comes for `patience`.
    #[track_caller]
    fn fill(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        if !self.read_some(self.patience) {
            panic!("nothing for {:?}, after {:?}", self.patience, excerpt(&self.pending));
        }
        self.end.is_none()
    }

    /// One read; false if the time ran out.
    fn read_some(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 65536];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).expect("a read timeout");
            match self.stream.read(&mut buffer) {
                Ok(0) => self.end = Some(End::Closed),
                Ok(count) => {
                    self.log.lock().unwrap().extend(&buffer[..count]);
                    self.pending.extend(&buffer[..count]);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => continue,
                    _ => self.end = Some(End::Reset),
                },
            }
            return true;
        }
    }
}

/// The error types of RFC 9209 section 2.3.
const RFC_9209_TYPES: &[&str] = &[
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
];

/// A head and the octets of its body as they stood on the wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// From the start line to the empty line, both with their CRLF.
    pub(crate) head: String,
    /// With chunk sizes and trailers, if it was chunked.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Of a response.
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        let code = self.head.split(' ').nth(1).and_then(|code| code.get(..3));
        code.and_then(|code| code.parse().ok()).expect("a status code")
    }

    /// The start line, without CRLF.
    pub(crate) fn start(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as text, framing and all.
    pub(crate) fn text(&self) -> String {
        text(&self.body)
    }

    /// The content of a chunked body.
    #[track_caller]
    pub(crate) fn content(&self) -> Vec<u8> {
        dechunk(&self.body)
    }

    /// Is this roundel's own answer with this status and reason: readable, marked, and framed?
    #[track_caller]
    pub(crate) fn expect_reply(&self, status: u16, reason: &str) {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(self.field("content-type"), Some("text/plain; charset=utf-8"), "{self:?}");
        let date = self.field("date").unwrap_or_default();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "when was it? {self:?}");
        let marked = self.field("proxy-status").unwrap_or_default();
        let kind = marked
            .strip_prefix("roundel; error=")
            .and_then(|rest| rest.strip_suffix(&format!("; details=\"{reason}\"")));
        assert!(kind.is_some_and(|kind| RFC_9209_TYPES.contains(&kind)), "{self:?}");
        let body = self.text();
        assert!(body.starts_with(&format!("{status} ")), "{self:?}");
        assert!(body.ends_with(&format!("({reason})\n")), "{self:?}");
        assert_eq!(body.lines().count(), 1, "{self:?}");
        assert_eq!(self.field("content-length"), Some(body.len().to_string().as_str()), "{self:?}");
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} with body {:?}", self.head, self.text())
    }
}

/// Compares a head with its start line and its field lines. The order of lines with different
/// names means nothing and is not compared; that of lines with the same name is.
#[track_caller]
pub(crate) fn assert_head(head: &str, start: &str, lines: &[&str]) {
    let head = head.strip_suffix("\r\n\r\n").expect("a whole head");
    let mut got: Vec<&str> = head.split("\r\n").collect();
    let mut want = vec![start];
    want.extend(lines);
    // An id of our making is different each time; `tests/wire_forwarding.rs` looks at it.
    let is_request = !start.starts_with("HTTP/");
    if is_request && !lines.iter().any(|line| line.starts_with("X-Request-Id: ")) {
        let before = got.len();
        got.retain(|line| !is_fresh_request_id(line));
        assert_eq!(got.len(), before - 1, "one X-Request-Id in {head:?}");
    }
    let name = |line: &&str| line.split(':').next().map(str::to_ascii_lowercase);
    got[1..].sort_by_key(name);
    want[1..].sort_by_key(name);
    assert_eq!(got, want);
}

/// Whether this is the line of a request id that was made, not passed on.
pub(crate) fn is_fresh_request_id(line: &str) -> bool {
    line.strip_prefix("X-Request-Id: ")
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// One chunk.
pub(crate) fn chunk(content: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

/// The content of a well-formed chunked body.
#[track_caller]
pub(crate) fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let at = find(body, b"\r\n").expect("a chunk size line");
        let size = usize::from_str_radix(&text(&body[..at]), 16).expect("a bare chunk size");
        if size == 0 {
            return content;
        }
        content.extend(&body[at + 2..at + 2 + size]);
        body = &body[at + 2 + size + 2..];
    }
}

/// Octets as text for assertions; what is not UTF-8 is shown escaped.
pub(crate) fn text(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.escape_ascii().to_string(),
    }
}

/// The first of many octets, for a message.
fn excerpt(octets: &[u8]) -> String {
    text(&octets[..octets.len().min(500)])
}

fn find(octets: &[u8], pattern: &[u8]) -> Option<usize> {
    octets.windows(pattern.len()).position(|window| window == pattern)
}
