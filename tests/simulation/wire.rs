//! The network: TCP connections as a Linux kernel shows them to a program that uses epoll.
//!
//! A [`Wire`] is one connection. roundel has one end as a [`SimSock`]; the other end belongs to a
//! simulated client or backend. In between is a network that moves octets when the world says so, as
//! many as it says, and keeps their order:
//!
//! ```text
//!   peer_send ─► flight ─ deliver ─► arrived ─► SimSock::read
//!   peer_take ◄─────────── sent ◄────────────── SimSock::write (as long as there is credit)
//! ```
//!
//! What is imitated, because roundel builds on it:
//! - An edge comes when something arrives, when a refused write would find room again, and with the
//!   registration; what it says is the state at the moment when it is delivered, as with epoll.
//! - A short read means that nothing is left; data and end may come as one edge.
//! - A reset leaves what arrived before it readable. Its error is given once, to whichever of read and
//!   write asks first; afterwards reading gives 0, which looks like an end in good order.
//! - Closing with unread octets resets, and octets that reach a closed end are answered by a reset,
//!   which may eat what has not been read at the other end.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    rc::Rc,
};

use roundel::{
    config::Address,
    key::Token,
    net::{Net, Sock, latch::Readiness, splice::Pipe, sys::PipeEnds},
};

use super::{rng::Rng, trace::say};

pub(crate) type Shared<T> = Rc<RefCell<T>>;

/// How many calls roundel may make on its sockets in one turn: far beyond what its budgets allow.
const CALLS_PER_TURN_MAX: u64 = 50_000;

/// Octets in order, taken from the front.
#[derive(Default)]
pub(crate) struct Queue {
    octets: Vec<u8>,
    start: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.octets.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    pub(crate) fn front(&self) -> &[u8] {
        &self.octets[self.start..]
    }

    pub(crate) fn drop_front(&mut self, count: usize) {
        self.start += count;
        if self.start == self.octets.len() {
            self.octets.clear();
            self.start = 0;
        }
    }

    /// Forgets all but the first octets.
    fn keep(&mut self, count: usize) {
        self.octets.truncate(self.start + count);
    }
}

/// How far a connection has come into being.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Connect {
    Pending,
    Established,
    Failed,
}

/// How a direction stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Open,
    Fin,
    Reset,
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Client(usize),
    Backend { backend: usize, connection: usize },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "client {client}"),
            Self::Backend { backend, connection } => {
                write!(f, "backend {backend} (connection {connection})")
            }
        }
    }
}

/// What roundel's calls came to, counted over all sockets.
#[derive(Default)]
pub(crate) struct Meters {
    /// Octets moved, connections opened and closed: anything that is progress.
    pub(crate) progress: Cell<u64>,
    /// Calls in this turn.
    pub(crate) calls: Cell<u64>,
}

impl Meters {
    fn count_call(&self) {
        self.calls.set(self.calls.get() + 1);
        assert!(self.calls.get() < CALLS_PER_TURN_MAX, "endless: a turn makes too many calls");
    }

    fn count_progress(&self, count: usize) {
        self.progress.set(self.progress.get() + count as u64);
    }
}

/// One connection.
pub(crate) struct Wire {
    pub(crate) peer: Peer,
    meters: Rc<Meters>,
    rng: Rng,
    /// Whether calls are interrupted now and then.
    noisy: bool,
    pub(crate) token: Option<Token>,
    connect: Connect,
    /// Something happened that epoll has to tell.
    pub(crate) edge: bool,

    // Towards roundel.
    flight: Queue,
    /// Where, counted from the first octet, delivery may not stop.
    glued_at: Option<u64>,
    arrived: Queue,
    delivered: u64,
    /// What the peer said last: nothing, that it ends, or that it breaks off.
    peer_end: End,
    peer_resets: bool,
    pub(crate) peer_closed: bool,
    fin_arrived: bool,
    reset_arrived: bool,
    error: Option<ErrorKind>,
    /// How many octets roundel has read.
    pub(crate) taken: u64,

    // Away from roundel.
    /// Everything that roundel ever wrote.
    pub(crate) sent: Vec<u8>,
    seen: usize,
    /// From here on a reset has eaten it.
    lost_from: Option<usize>,
    credit: usize,
    capacity: usize,
    starved: bool,
    sent_end: End,
    reset_on_close: bool,
    /// roundel has closed its end.
    pub(crate) gone: bool,
}

impl Wire {
    pub(crate) fn new(
        peer: Peer,
        meters: &Rc<Meters>,
        rng: Rng,
        capacity: usize,
        noisy: bool,
    ) -> Self {
        Self {
            peer,
            meters: Rc::clone(meters),
            rng,
            noisy,
            token: None,
            connect: Connect::Established,
            edge: false,
            flight: Queue::default(),
            glued_at: None,
            arrived: Queue::default(),
            delivered: 0,
            peer_end: End::Open,
            peer_resets: false,
            peer_closed: false,
            fin_arrived: false,
            reset_arrived: false,
            error: None,
            taken: 0,
            sent: Vec::new(),
            seen: 0,
            lost_from: None,
            credit: capacity.div_ceil(2),
            capacity,
            starved: false,
            sent_end: End::Open,
            reset_on_close: false,
            gone: false,
        }
    }

    fn connecting(mut self) -> Self {
        self.connect = Connect::Pending;
        self
    }

    // --- the peer's end ---

    /// How many octets the peer may send before the network pushes back.
    pub(crate) fn peer_room(&self) -> usize {
        self.capacity.saturating_sub(self.flight.len() + self.arrived.len())
    }

    pub(crate) fn peer_may_send(&self) -> bool {
        self.peer_end == End::Open && !self.peer_closed
    }

    pub(crate) fn peer_send(&mut self, octets: &[u8]) {
        debug_assert!(self.peer_end == End::Open, "the peer has ended its direction");
        say(|| format!("{} sends {}", self.peer, excerpt(octets)));
        self.flight.push(octets);
    }

    /// The last so many octets that were sent come together with the one in front of them.
    pub(crate) fn glue(&mut self, behind: usize) {
        self.glued_at = Some(self.delivered + (self.flight.len().saturating_sub(behind)) as u64);
    }

    /// How many octets the peer's program could read now.
    pub(crate) fn peer_unread(&self) -> usize {
        self.lost_from.unwrap_or(self.sent.len()) - self.seen
    }

    /// A reset overtakes what the peer has not read, all or some of it.
    fn lose_unread(&mut self) -> usize {
        let kept = self.rng.below(self.peer_unread() + 1);
        let lost = self.peer_unread() - kept;
        self.lost_from = Some(self.seen + kept);
        self.sent_end = End::Reset;
        self.flight.keep(0);
        lost
    }

    pub(crate) fn peer_take(&mut self, count: usize) -> Vec<u8> {
        let octets = self.sent[self.seen..self.seen + count].to_vec();
        self.seen += count;
        say(|| format!("{} reads {}", self.peer, excerpt(&octets)));
        octets
    }

    /// What the peer never read.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.sent[self.seen..]
    }

    /// How roundel's direction has ended for the peer's program, once it has read all of it. A reset
    /// is told at once: waiting for it is how programs notice that nobody is there any more.
    pub(crate) fn peer_sees_end(&self) -> End {
        match self.sent_end {
            End::Reset => End::Reset,
            End::Fin if self.peer_unread() == 0 => End::Fin,
            End::Fin | End::Open => End::Open,
        }
    }

    pub(crate) fn peer_fin(&mut self) {
        if self.peer_end == End::Open {
            say(|| format!("{} ends its direction", self.peer));
            self.peer_end = End::Fin;
        }
    }

    /// The peer's program closes: with unread octets that is a reset.
    pub(crate) fn peer_close(&mut self) {
        if self.peer_closed {
            return;
        }
        self.peer_closed = true;
        if self.peer_unread() > 0 {
            say(|| format!("{} closes and leaves octets unread: that resets", self.peer));
            self.peer_resets = true;
        } else {
            say(|| format!("{} closes", self.peer));
            self.peer_fin();
        }
    }

    /// The peer breaks off; some of what is on its way is lost.
    pub(crate) fn peer_reset(&mut self) {
        if self.peer_closed {
            return;
        }
        let kept = self.rng.below(self.flight.len() + 1);
        say(|| format!("{} resets, {} octets get lost", self.peer, self.flight.len() - kept));
        self.flight.keep(kept);
        self.peer_closed = true;
        self.peer_resets = true;
    }

    // --- the network ---

    /// A connect of roundel's is answered.
    pub(crate) fn establish(&mut self) {
        say(|| format!("{}: established", self.peer));
        self.connect = Connect::Established;
        self.credit = self.grain(self.capacity);
        self.edge = true;
    }

    pub(crate) fn refuse(&mut self, error: ErrorKind) {
        say(|| format!("{}: connect fails, {error:?}", self.peer));
        self.connect = Connect::Failed;
        self.error = Some(error);
        self.peer_closed = true;
        self.edge = true;
    }

    fn grain(&mut self, texture_max: usize) -> usize {
        1 + self.rng.below(texture_max.max(1))
    }

    /// Moves something, about so many octets; says whether anything was to be moved.
    pub(crate) fn convey(&mut self, grain: usize) -> bool {
        if self.connect != Connect::Established {
            return false;
        }
        if self.gone {
            return self.convey_to_the_gone();
        }
        let arrived = self.arrive(grain);
        arrived | self.grant(grain)
    }

    fn convey_to_the_gone(&mut self) -> bool {
        if self.flight.is_empty() || self.sent_end == End::Reset {
            return false;
        }
        let lost = self.lose_unread();
        say(|| {
            format!("octets of {} reach nobody: it is reset and loses {lost} octets", self.peer)
        });
        true
    }

    fn arrive(&mut self, grain: usize) -> bool {
        let mut moved = false;
        if !self.flight.is_empty() {
            let mut count = grain.min(self.flight.len());
            if self.glued_at == Some(self.delivered + count as u64) {
                count = (count + 1).min(self.flight.len());
            }
            self.arrived.push(&self.flight.front()[..count]);
            self.flight.drop_front(count);
            self.delivered += count as u64;
            say(|| format!("{} octets of {} arrive", count, self.peer));
            moved = true;
        }
        let goes_on = self.flight.is_empty() && (!moved || self.rng.percent(50));
        if goes_on && self.peer_end == End::Fin && !self.fin_arrived {
            say(|| format!("the end of {} arrives", self.peer));
            self.fin_arrived = true;
            moved = true;
        } else if goes_on && self.peer_resets && !self.reset_arrived {
            self.take_reset();
            moved = true;
        }
        self.edge |= moved;
        moved
    }

    fn take_reset(&mut self) {
        say(|| format!("a reset from {} arrives", self.peer));
        self.reset_arrived = true;
        let kind =
            if self.fin_arrived { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset };
        self.error = Some(kind);
        self.sent_end = End::Reset;
    }

    fn grant(&mut self, grain: usize) -> bool {
        if self.peer_closed && self.peer_unread() > 0 && !self.reset_arrived {
            // Nobody is there who could read it.
            self.peer_resets = true;
            return self.arrive(grain);
        }
        let room = self.capacity.saturating_sub(self.peer_unread() + self.credit);
        if room == 0 || !(self.starved || self.credit == 0) || self.reset_arrived {
            return false;
        }
        self.credit += grain.min(room);
        if self.starved {
            self.starved = false;
            self.edge = true;
        }
        true
    }

    // --- what epoll tells ---

    /// What is ready now.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut readiness = Readiness::default();
        let ends = self.fin_arrived || self.reset_arrived || self.connect == Connect::Failed;
        if !self.arrived.is_empty() {
            readiness = readiness.and(Readiness::READABLE);
        }
        if self.connect == Connect::Established && self.credit > 0 {
            readiness = readiness.and(Readiness::WRITABLE);
        }
        if ends {
            readiness = readiness.and(Readiness::CLOSING);
        }
        readiness
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.connect == Connect::Pending
    }

    /// Whether nothing can happen on this connection any more.
    pub(crate) fn is_over(&self) -> bool {
        self.gone && self.peer_closed && (self.flight.is_empty() || self.sent_end == End::Reset)
    }

    /// Octets that reached roundel's kernel.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    // --- roundel's end ---

    fn is_interrupted(&mut self) -> bool {
        self.noisy && self.rng.below(64) == 0
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.meters.count_call();
        if self.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.connect == Connect::Pending {
            return Err(ErrorKind::WouldBlock.into());
        }
        if !self.arrived.is_empty() {
            let count = buf.len().min(self.arrived.len());
            buf[..count].copy_from_slice(&self.arrived.front()[..count]);
            self.arrived.drop_front(count);
            self.taken += count as u64;
            self.meters.count_progress(count);
            say(|| format!("    reads {count} of {} from {}", buf.len(), self.peer));
            return Ok(count);
        }
        if self.fin_arrived {
            say(|| format!("    reads the end of {}", self.peer));
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            say(|| format!("    reads {error:?} from {}", self.peer));
            return Err(error.into());
        }
        if self.reset_arrived || self.connect == Connect::Failed {
            say(|| format!("    reads 0 from {}: another call had the error", self.peer));
            return Ok(0);
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let count = self.admit(octets.len())?;
        self.put(&octets[..count]);
        Ok(count)
    }

    /// How many of so many octets roundel may write now, as a write would say it.
    fn admit(&mut self, wanted: usize) -> io::Result<usize> {
        self.meters.count_call();
        if self.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.connect == Connect::Pending {
            self.starved = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.reset_arrived || self.connect == Connect::Failed || self.sent_end != End::Open {
            let error = self.error.take().unwrap_or(ErrorKind::BrokenPipe);
            say(|| format!("    writes to {}: {error:?}", self.peer));
            return Err(error.into());
        }
        let count = wanted.min(self.credit);
        self.starved = count < wanted;
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    /// roundel writes octets that were admitted.
    fn put(&mut self, octets: &[u8]) {
        self.credit -= octets.len();
        self.sent.extend_from_slice(octets);
        self.meters.count_progress(octets.len());
        say(|| format!("    writes {} to {}", excerpt(octets), self.peer));
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.meters.count_call();
        if self.sent_end != End::Open || self.connect != Connect::Established {
            return Err(ErrorKind::NotConnected.into());
        }
        say(|| format!("    ends its direction to {}", self.peer));
        self.sent_end = End::Fin;
        self.meters.count_progress(1);
        Ok(())
    }

    fn close(&mut self) {
        self.meters.count_progress(1);
        self.gone = true;
        if self.sent_end == End::Reset {
            return;
        }
        if self.reset_on_close || !self.arrived.is_empty() {
            let lost = self.lose_unread();
            say(|| format!("    closes {}: that resets, {lost} octets are lost", self.peer));
        } else {
            say(|| format!("    closes {}", self.peer));
            self.sent_end = End::Fin;
        }
    }
}

/// The first octets, for people.
fn excerpt(octets: &[u8]) -> String {
    const SHOWN: usize = 48;
    let shown = &octets[..octets.len().min(SHOWN)];
    let more = if octets.len() > SHOWN { "…" } else { "" };
    format!("{} octets \"{}{more}\"", octets.len(), shown.escape_ascii())
}

/// roundel's end of a wire.
pub(crate) struct SimSock(Shared<Wire>);

impl SimSock {
    pub(crate) fn new(wire: &Shared<Wire>) -> Self {
        Self(Rc::clone(wire))
    }
}

/// What surely fits into a pipe, however small the kernel made it.
const PIPED_BYTES_MAX: usize = 4096;

fn put_into(ends: &PipeEnds, octets: &[u8]) -> io::Result<usize> {
    File::from(ends.writer().try_clone_to_owned()?).write_all(octets)?;
    Ok(octets.len())
}

fn take_from(ends: &PipeEnds, count: usize) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; count];
    File::from(ends.reader().try_clone_to_owned()?).read_exact(&mut octets)?;
    Ok(octets)
}

impl Sock for SimSock {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buf)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(buf)
    }

    fn read_into(&mut self, pipe: &mut Pipe, bytes_max: usize) -> io::Result<usize> {
        let mut octets = vec![0; bytes_max.min(PIPED_BYTES_MAX)];
        let count = self.0.borrow_mut().read(&mut octets)?;
        pipe.fill(|ends| put_into(ends, &octets[..count]))
    }

    fn write_from(&mut self, pipe: &mut Pipe) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        pipe.drain(|ends, held| {
            let count = wire.admit(held)?;
            wire.put(&take_from(ends, count)?);
            Ok(count)
        })
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shutdown_write()
    }

    fn is_delivered(&self) -> bool {
        let wire = self.0.borrow();
        wire.seen == wire.sent.len()
    }

    fn reset_on_close(&mut self) {
        self.0.borrow_mut().reset_on_close = true;
    }
}

impl Drop for SimSock {
    fn drop(&mut self) {
        // A panic that is on its way must not become two.
        if let Ok(mut wire) = self.0.try_borrow_mut() {
            wire.close();
        }
    }
}

/// What roundel asked of the network and the world has not answered yet.
pub(crate) struct Fabric {
    pub(crate) meters: Rc<Meters>,
    pub(crate) connects: VecDeque<(SocketAddr, Shared<Wire>)>,
    rng: Rng,
    capacity: usize,
    noisy: bool,
    /// For each backend, in how many of a hundred cases there is no socket to be had.
    pub(crate) exhausted_percent: Vec<usize>,
    connections: usize,
}

impl Fabric {
    pub(crate) fn new(rng: Rng, capacity: usize, noisy: bool) -> Self {
        Self {
            meters: Rc::default(),
            connects: VecDeque::new(),
            rng,
            capacity,
            noisy,
            exhausted_percent: Vec::new(),
            connections: 0,
        }
    }

    /// A wire to this client.
    pub(crate) fn wire_to_client(&mut self, client: usize) -> Shared<Wire> {
        Rc::new(RefCell::new(self.wire(Peer::Client(client))))
    }

    fn wire(&mut self, peer: Peer) -> Wire {
        let capacity = self.rng.within(self.capacity.div_ceil(4), self.capacity);
        Wire::new(peer, &self.meters, self.rng.fork(), capacity, self.noisy)
    }
}

/// The network as roundel has it.
pub(crate) struct SimNet(pub(crate) Shared<Fabric>);

impl Net for SimNet {
    type Sock = SimSock;

    fn connect(&mut self, address: &Address, token: Token) -> io::Result<SimSock> {
        let address = match address {
            Address::Ip(address) => *address,
            Address::Unix(_) => unreachable!("there are none here"),
        };
        let mut fabric = self.0.borrow_mut();
        fabric.meters.count_call();
        let (backend, connection) = (super::world::backend_of(address), fabric.connections);
        let share = fabric.exhausted_percent.get(backend).copied().unwrap_or_default();
        if fabric.rng.percent(share) {
            say(|| format!("    connects to {address}: no socket to be had"));
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        fabric.connections += 1;
        let mut wire = fabric.wire(Peer::Backend { backend, connection }).connecting();
        wire.token = Some(token);
        say(|| format!("    connects to {address}: {}", wire.peer));
        fabric.meters.count_progress(1);
        let wire = Rc::new(RefCell::new(wire));
        fabric.connects.push_back((address, Rc::clone(&wire)));
        Ok(SimSock(wire))
    }

    fn register(&mut self, sock: &mut SimSock, token: Token) -> io::Result<()> {
        let mut wire = sock.0.borrow_mut();
        wire.token = Some(token);
        wire.edge = true;
        Ok(())
    }
}
