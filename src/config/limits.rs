//! Every timeout and every limit, with its name, unit and default.
//!
//! Nothing that a peer can make long or large is without a row here, and each row has a defined
//! answer when it is reached: the documentation of the field says which.

use std::time::Duration;

/// How long anything may take. A timeout is a duration; the code turns it into a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first octet of a request head to its last, however it trickles. Then 408.
    pub head: Duration,
    /// Silence while octets of a request body are awaited. Then 408.
    pub body: Duration,
    /// How long a request body may be slower than [`Limits::body_bytes_per_second_min`] at first; each
    /// octet prolongs that by what it would have taken at this rate, up to [`Timeouts::body`]. Then 408.
    pub body_grace: Duration,
    /// A client connection on which no request has begun. Then it is closed without a word.
    pub idle: Duration,
    /// Until TCP to a backend is there, over whichever of its addresses. Then the next backend, and
    /// 504 when there is none left.
    pub connect: Duration,
    /// Until one address of a backend has answered before the next is tried beside it.
    pub connect_stagger: Duration,
    /// From TCP to the end of the TLS handshake with a backend. Then the next backend, and 504 when
    /// there is none left.
    pub handshake: Duration,
    /// From the first try of a request to its last: no other begins later, and a connection that is
    /// not there by then is waited for no longer. Then 504; or, where the request had been sent, why it was
    /// lost then.
    pub tries: Duration,
    /// How long a request waits in the queue while all backends have as many connections as they
    /// may. Then 503.
    pub queue: Duration,
    /// From the last octet that went to the backend to the head of its response. Then 504.
    pub response_head: Duration,
    /// No octet in either direction while a response is under way. Then the exchange is broken off.
    pub silence: Duration,
    /// No octet in either direction of a tunnel. Then both sides are closed.
    pub tunnel: Duration,
    /// No octet in a tunnel of which one direction has ended. Then both sides are closed.
    pub half_closed: Duration,
    /// From the request to stop until what still runs is cut.
    pub drain: Duration,
    /// How long new clients are still let in after the request to stop, so that whoever sends them learns of
    /// it first.
    pub drain_delay: Duration,
    /// How long a client may still send its next request after its last answer, or after it came, once
    /// no new ones are let in; no longer than a quarter of [`Timeouts::drain`]. Then it is closed.
    pub drain_grace: Duration,
    /// How long an unused connection to a backend is kept, unless the backend announced less.
    pub pool_idle: Duration,
    /// How long a connection that we are closing may still send what nobody reads.
    pub linger: Duration,
    /// How long the answer about a name is good, at most: up to a tenth less, so that many names do not
    /// come together. Then it is asked for again.
    pub name_refresh: Duration,
    /// How soon a name is asked for again that could not be resolved, or whose addresses do not work;
    /// doubles up to [`Timeouts::name_refresh`] while it cannot be resolved.
    pub name_retry: Duration,
    /// How long accepting rests after the descriptors ran out.
    pub accept_pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            body_grace: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            connect_stagger: Duration::from_millis(250),
            handshake: Duration::from_secs(5),
            tries: Duration::from_secs(15),
            queue: Duration::from_secs(5),
            response_head: Duration::from_secs(60),
            silence: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
            half_closed: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            drain_grace: Duration::from_secs(1),
            pool_idle: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            name_refresh: Duration::from_secs(30),
            name_retry: Duration::from_secs(1),
            accept_pause: Duration::from_millis(100),
        }
    }
}

impl Timeouts {
    /// How long a client without a request is left open during the drain.
    #[must_use]
    pub fn last_request(&self) -> Duration {
        self.drain_grace.min(self.drain / 4)
    }
}

/// The most fields that a head may have: 431 towards a client, 502 for a backend's.
pub const FIELDS_COUNT_MAX: usize = 100;

/// The most options that the `Connection` fields of one message may name; then `bad_field`.
pub const CONNECTION_OPTIONS_COUNT_MAX: usize = 32;

/// The most octets of one read: what the shared buffer holds behind its headroom.
pub const READ_BYTES_MAX: usize = 256 * 1024;

/// Where the size of reads starts for each exchange; it grows to [`READ_BYTES_MAX`] while the other
/// side takes everything at once.
pub const READ_BYTES_START: usize = 64 * 1024;

/// Where the size of reads falls to when the other side refuses octets.
pub const READ_BYTES_MIN: usize = 16 * 1024;

/// How many octets of a request body are taken from the client before there is a connection to send
/// them on.
pub const HELD_BYTES_MAX: usize = 64 * 1024;

/// How many octets one exchange may move in a turn of the loop before others get theirs.
pub const DRIVE_BYTES_MAX: usize = 1024 * 1024;

/// How many reads one exchange may make in a turn of the loop before others get theirs.
pub const DRIVE_READS_MAX: u32 = 16;

/// How much a pipe is asked to hold through which octets go that nobody needs to see. The kernel may grant
/// less.
pub const PIPE_BYTES: usize = 256 * 1024;

/// The most octets of unfinished TLS records and handshake messages that a connection keeps. The largest
/// handshake message has 64 KiB.
pub const CARRY_BYTES_MAX: usize = 128 * 1024;

/// How long a successor may take until it serves; then it is ended, and we go on.
pub const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(10);

/// The most connections accepted in one turn of the loop.
pub const ACCEPT_COUNT_MAX: usize = 64;

/// The backlog asked for each listening socket; the kernel may hold it lower (`somaxconn`).
pub const BACKLOG_MAX: i32 = 4096;

/// How much of anything there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request head, from its first octet to the empty line. Then 431.
    pub request_head_bytes_max: usize,
    /// A request target. Then 414.
    pub target_bytes_max: usize,
    /// A response head. Then 502. At most [`crate::net::HEADROOM_BYTES`].
    pub response_head_bytes_max: usize,
    /// Interim responses (1xx) before a final one. Then 502.
    pub interim_count_max: u8,
    /// The extensions of one chunk. Then 400 or 502.
    pub chunk_extension_bytes_max: u32,
    /// The extensions of all chunks of a message together. Then 400 or 502.
    pub chunk_extensions_bytes_max: u32,
    /// The trailer section. Then 400 or 502.
    pub trailer_bytes_max: usize,
    /// The content of a request. Then 413, before a backend is bothered where the length is known.
    pub request_body_bytes_max: Option<u64>,
    /// How fast a request body must arrive on average, in octets a second; 0 asks nothing. Then 408.
    /// What a backend does not take is not held against the client, nor is anything once it answers.
    pub body_bytes_per_second_min: u64,
    /// How much of a request body is kept for a second try. Beyond it there is none.
    pub replay_bytes_max: usize,
    /// From how many octets on that are still to come a plain body is moved inside the kernel, past our
    /// memory (`splice`), where both sides take and give a quarter of that at a time. `None` reads all.
    pub splice_bytes_min: Option<u64>,
    /// The most pipes for that, of two descriptors each. One is enough while all sides take what they are
    /// sent; each that does not keeps one until it does. Where there is none left, octets are read. No
    /// more than one for 64 descriptors that there are.
    pub pipes_count_max: usize,
    /// How much is read and thrown away from a connection that we are closing.
    pub linger_bytes_max: usize,
    /// The most connections that wait in the pool of one backend; the oldest leaves.
    pub pool_idle_count_max: usize,
    /// The most connections to one backend, those in its pool included. Then requests wait.
    pub backend_connections_count_max: Option<usize>,
    /// The most requests that wait because all backends have as many connections as they may. Then
    /// 503.
    pub queue_count_max: usize,
    /// The most clients at a time; those beyond wait in the kernel. What the limit of descriptors
    /// allows is the most in any case.
    pub clients_count_max: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_head_bytes_max: 16 * 1024,
            target_bytes_max: 8 * 1024,
            response_head_bytes_max: 16 * 1024,
            interim_count_max: 8,
            chunk_extension_bytes_max: 256,
            chunk_extensions_bytes_max: 4 * 1024,
            trailer_bytes_max: 8 * 1024,
            request_body_bytes_max: None,
            body_bytes_per_second_min: 100,
            replay_bytes_max: 64 * 1024,
            splice_bytes_min: Some(256 * 1024),
            pipes_count_max: 64,
            linger_bytes_max: 64 * 1024,
            pool_idle_count_max: 4096,
            backend_connections_count_max: None,
            queue_count_max: 1024,
            clients_count_max: None,
        }
    }
}
