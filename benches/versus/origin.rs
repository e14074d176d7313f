//! The server behind both programs: one response for everything, at as little cost as can be.
//!
//! One thread, one poll, no parsing: the end of a head is the end of a request. Three listeners, so
//! that there is something to balance over.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

const LISTENERS: usize = 3;

/// A running origin; it ends when dropped.
pub(crate) struct Origin {
    addresses: Vec<SocketAddr>,
    /// The authority behind its certificate, as PEM, where it speaks TLS.
    authority: Option<String>,
    stop: Waker,
}

/// How it speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speech {
    Plain,
    Tls,
}

impl Origin {
    /// Answers every request with this much content.
    pub(crate) fn start(content_bytes: usize, speech: Speech) -> Self {
        let listeners: Vec<TcpListener> = (0..LISTENERS)
            .map(|_| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind"))
            .collect();
        let addresses =
            listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect();
        let (tls, authority) = match speech {
            Speech::Plain => (None, None),
            Speech::Tls => {
                let (config, authority) = certify();
                (Some(config), Some(authority))
            }
        };
        let poll = Poll::new().expect("a poll");
        let stop = Waker::new(poll.registry(), STOP).expect("a waker");
        let response = format!(
            "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Wed, 25 Nov 2026 22:00:00 GMT\r\n\
             Content-Type: text/plain\r\nContent-Length: {content_bytes}\r\n\r\n{}",
            "x".repeat(content_bytes)
        );
        let serving =
            Serving { poll, listeners, tls, response: response.into_bytes(), peers: Vec::new() };
        thread::spawn(move || serving.run());
        Self { addresses, authority, stop }
    }

    /// What to call its listeners on a command line.
    pub(crate) fn urls(&self) -> impl Iterator<Item = String> + '_ {
        let scheme =
            if self.authority.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        self.addresses.iter().map(move |address| format!("{scheme}:{}", address.port()))
    }

    /// The authority to be trusted, as PEM.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.wake().expect("the thread of the origin is there");
    }
}

/// A certificate for localhost, and the authority that vouches for it.
fn certify() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, "benches/versus");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let issuer = issuer.expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate").der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a PKCS #8 key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of this provider")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a usable certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (Arc::new(config), issuer.pem())
}

const STOP: Token = Token(usize::MAX);

/// What the thread of an origin has.
struct Serving {
    poll: Poll,
    listeners: Vec<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    response: Vec<u8>,
    /// By token, behind the listeners. Places are not used again: an origin sees few connections.
    peers: Vec<Option<Peer>>,
}

impl Serving {
    fn run(mut self) {
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            let registry = self.poll.registry();
            registry.register(listener, Token(number), Interest::READABLE).expect("register");
        }
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled.expect("the poll"),
            }
            for event in &events {
                match event.token() {
                    STOP => return,
                    Token(number) if number < LISTENERS => self.accept(number),
                    Token(number) => self.serve(number - LISTENERS),
                }
            }
        }
    }

    fn accept(&mut self, number: usize) {
        while let Ok((mut stream, _)) = self.listeners[number].accept() {
            stream.set_nodelay(true).expect("TCP_NODELAY");
            let token = Token(LISTENERS + self.peers.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, both).expect("register");
            let tls = self.tls.as_ref().map(|config| {
                Box::new(ServerConnection::new(Arc::clone(config)).expect("a connection"))
            });
            self.peers.push(Some(Peer { stream, tls, matched: 0, owed: 0, sent: 0 }));
        }
    }

    fn serve(&mut self, place: usize) {
        let Some(peer) = self.peers.get_mut(place).and_then(Option::as_mut) else { return };
        if peer.serve(&self.response).is_err() {
            self.peers[place] = None;
        }
    }
}

/// One connection.
struct Peer {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// How many octets of the end of a head have been seen in a row.
    matched: usize,
    /// Octets of responses asked for and sent, since the beginning.
    owed: u64,
    sent: u64,
}

impl Peer {
    /// Reads what is there and sends what is owed.
    ///
    /// # Errors
    /// When the connection is over.
    fn serve(&mut self, response: &[u8]) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = match &mut self.tls {
                None => self.stream.read(&mut buffer),
                Some(tls) => read_tls(tls, &mut self.stream, &mut buffer),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.owed += self.heads_in(&buffer[..count]) * response.len() as u64;
                    // A short read of a plain socket means that nothing is left.
                    if self.tls.is_none() && count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.send(response)
    }

    /// How many heads end in these octets.
    fn heads_in(&mut self, octets: &[u8]) -> u64 {
        const END: &[u8] = b"\r\n\r\n";
        let mut heads = 0;
        for octet in octets {
            self.matched = match (*octet == END[self.matched], *octet) {
                (true, _) => self.matched + 1,
                (false, b'\r') => 1,
                (false, _) => 0,
            };
            if self.matched == END.len() {
                self.matched = 0;
                heads += 1;
            }
        }
        heads
    }

    fn send(&mut self, response: &[u8]) -> io::Result<()> {
        let length = response.len() as u64;
        while self.sent < self.owed {
            let offset = usize::try_from(self.sent % length).expect("a response is in memory");
            let written = match &mut self.tls {
                None => self.stream.write(&response[offset..]),
                Some(tls) => tls.writer().write(&response[offset..]),
            };
            match written {
                // The buffer of TLS is full.
                Ok(0) => break,
                Ok(count) => self.sent += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => flush(tls, &mut self.stream),
        }
    }
}

fn read_tls(
    tls: &mut ServerConnection,
    stream: &mut TcpStream,
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        if tls.read_tls(stream)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
        flush(tls, stream)?;
    }
}

fn flush(tls: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            written => written?,
        };
    }
    Ok(())
}
