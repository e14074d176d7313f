//! Three small backends inside this process, so that `roundel --demo` needs nothing else.
//!
//! They are also the shortest HTTP server that can be made of the parts of this crate: a poll, a
//! [`Link`] for each connection, and [`crate::h1`]. One thread serves all three; each names itself in
//! its answers.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use mio::{Events, Interest, Poll, Token};

use crate::config::{Address, BackendConfig, Host, Limits, Scheme};
use crate::h1::body::BodyState;
use crate::h1::chunked::Emit;
use crate::h1::fields::field_storage;
use crate::h1::request::{Method, parse_request};
use crate::h1::scan::HeadScan;
use crate::net::link::{Link, Received};
use crate::net::listener::{Accepted, Listener, accept, listen};
use crate::net::stream::Stream;
use crate::net::tcp::{INTEREST, event_readiness};
use crate::net::{HEADROOM_BYTES, Scratch};

/// How many there are.
pub const DEMO_BACKENDS_COUNT: usize = 3;

/// The demo backends. They end with the process.
#[derive(Debug)]
pub struct Demo {
    addresses: Vec<SocketAddr>,
}

impl Demo {
    /// How to reach them.
    #[must_use]
    pub fn backends(&self) -> Vec<BackendConfig> {
        let backend = |address: &SocketAddr| {
            BackendConfig::new(Scheme::Http, Host::Address(address.ip()), address.port())
        };
        self.addresses.iter().map(backend).collect()
    }
}

/// Starts them on ports that the kernel chooses.
///
/// # Errors
/// When there are no sockets or threads to be had.
pub fn start() -> io::Result<Demo> {
    let poll = Poll::new()?;
    let mut listeners = Vec::new();
    for index in 0..DEMO_BACKENDS_COUNT {
        let mut listener = listen(&SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0).into())?;
        poll.registry().register(&mut listener, Token(index), Interest::READABLE)?;
        listeners.push(listener);
    }
    let addresses = listeners.iter().map(Listener::address).collect::<io::Result<Vec<_>>>()?;
    let addresses = addresses.iter().filter_map(Address::ip).collect();
    thread::Builder::new().name("demo".into()).spawn(move || {
        if let Err(error) = serve(poll, &listeners) {
            log::error!("the demo backends stopped: {error}");
        }
    })?;
    Ok(Demo { addresses })
}

/// One connection to one of the three.
struct Visit {
    link: Link<Stream>,
    backend: usize,
    part: Vec<u8>,
    body: BodyState,
}

fn serve(mut poll: Poll, listeners: &[Listener]) -> io::Result<()> {
    let mut events = Events::with_capacity(256);
    let mut visits: HashMap<usize, Visit> = HashMap::new();
    let mut next = DEMO_BACKENDS_COUNT;
    let mut scratch = Scratch::default();
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            let Token(token) = event.token();
            if let Some(listener) = listeners.get(token) {
                loop {
                    let mut sock = match accept(listener) {
                        Accepted::Client(sock, _) => sock,
                        Accepted::Again => continue,
                        Accepted::Nobody | Accepted::Exhausted(_) => break,
                    };
                    poll.registry().register(&mut sock, Token(next), INTEREST)?;
                    let visit = Visit {
                        link: Link::plain(sock),
                        backend: token,
                        part: Vec::new(),
                        body: BodyState::Complete,
                    };
                    visits.insert(next, visit);
                    next += 1;
                }
            } else if let Some(visit) = visits.get_mut(&token) {
                visit.link.on_event(event_readiness(event));
                if !attend(visit, &mut scratch) {
                    visits.remove(&token);
                }
            }
        }
    }
}

/// Serves a connection as far as possible; says whether it goes on.
fn attend(visit: &mut Visit, scratch: &mut Scratch) -> bool {
    loop {
        if visit.link.flush().is_err() {
            return false;
        }
        if visit.link.is_clogged() {
            return true;
        }
        let Scratch { area, tls, .. } = &mut *scratch;
        match visit.link.read(area, HEADROOM_BYTES, tls) {
            Received::Octets(n) => visit.part.extend_from_slice(&area[..n]),
            Received::Blocked => return true,
            Received::Closed | Received::Broken(_) => return false,
        }
        while !visit.part.is_empty() {
            match step(visit, scratch) {
                Some(true) => {}
                Some(false) => break,
                None => return false,
            }
        }
    }
}

/// Takes a piece of a body or a head from what is there; says whether there may be more to take.
/// `None` means that this is no HTTP.
fn step(visit: &mut Visit, scratch: &mut Scratch) -> Option<bool> {
    let limits = Limits::default();
    if !visit.body.is_complete() {
        let walked = visit.body.walk(&mut visit.part, &mut Vec::new(), &limits).ok()?;
        visit.part.drain(..walked.used);
        return Some(visit.body.is_complete());
    }
    let Some(length) = HeadScan::default().advance(&visit.part).ok()? else {
        return (visit.part.len() <= limits.request_head_bytes_max).then_some(false);
    };
    let mut storage = field_storage();
    let head = parse_request(&visit.part[..length], &mut storage, &limits).ok()?;
    let text = format!("Hello from demo backend {} of {DEMO_BACKENDS_COUNT}.\n", visit.backend + 1);
    let body = if head.method == Method::Head { "" } else { text.as_str() };
    let interim = if head.expects_continue { "HTTP/1.1 100 Continue\r\n\r\n" } else { "" };
    let answer = format!(
        "{interim}HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        text.len()
    );
    visit.body = BodyState::new(head.framing, Emit::Data);
    visit.part.drain(..length);
    visit.link.send(answer.as_bytes(), &mut scratch.tls).ok()?;
    Some(true)
}
