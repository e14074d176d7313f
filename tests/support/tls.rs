//! TLS backends: certificates from rcgen, servers from rustls, connections in the hands of a test.
//!
//! [`Authority`] issues an [`Identity`] for any names and any time; [`server_config`] makes a
//! server's configuration of it. [`TlsBackend`] listens like the plain `Backend` does, and
//! [`TlsWire`] is to it what `Wire` is to that one: exact octets out, every octet in remembered,
//! and an end that tells a `close_notify` from a connection that just stopped. [`dribble`] stands
//! between and passes octets on one by one.
//!
//! As in the rest of the harness, every wait ends in a panic after [`PATIENCE`].
#![allow(dead_code, reason = "each test file uses its own part of the harness")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "test harness: a panic is how it reports, and blocking sockets and threads are its means"
)]

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{Acceptor, WebPkiClientVerifier},
};
use socket2::SockRef;
use time::OffsetDateTime;

use crate::support::{Message, PATIENCE, text};

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Validity {
    /// From yesterday to tomorrow.
    Now,
    /// From yesterday on, for so many days to come and half a one.
    Days(i32),
    /// Until yesterday.
    Expired,
    /// From tomorrow.
    NotYet,
}

/// A certificate authority of its own, and the PEM file that makes roundel trust it.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PemFile,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        Self::named(&format!("Authority {}", COUNT.fetch_add(1, Ordering::SeqCst)))
    }

    /// One with a name that another may have as well.
    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let file = PemFile::new(&issuer.pem());
        Self { issuer, file }
    }

    /// What to give to `--ca`.
    pub(crate) fn file(&self) -> &str {
        self.file.path()
    }

    /// A certificate for these names, and its key.
    pub(crate) fn issue(&self, names: &[&str], validity: Validity) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate =
            params(names, validity).signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }
}

/// A certificate that vouches for itself, and the PEM file that makes roundel trust it.
pub(crate) fn self_signed(names: &[&str]) -> (Identity, PemFile) {
    let key = KeyPair::generate().expect("a key");
    let certificate = params(names, Validity::Now).self_signed(&key).expect("a certificate");
    let identity = Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key };
    (identity, PemFile::new(&certificate.pem()))
}

fn params(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let day = time::Duration::days(1);
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = match validity {
        Validity::Now => (now - day, now + day),
        Validity::Days(days) => (now - day, now + day * days + day / 2),
        Validity::Expired => (now - day * 3, now - day),
        Validity::NotYet => (now + day, now + day * 3),
    };
    params
}

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Identity {
    /// What to name as `cert` and as `key`.
    pub(crate) fn files(&self) -> [PemFile; 2] {
        [PemFile::new(&self.pem), PemFile::new(&self.key.serialize_pem())]
    }
}

/// A file that goes when it is dropped.
pub(crate) struct PemFile(PathBuf);

impl PemFile {
    fn new(pem: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("ca-{}-{number}.pem", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, pem).expect("a file can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for PemFile {
    fn drop(&mut self) {
        // What is left behind is in the build's own folder.
        let _ = fs::remove_file(&self.0);
    }
}

/// Both versions, for [`server_config`].
pub(crate) const BOTH_VERSIONS: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;
/// TLS 1.2 alone.
pub(crate) const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
/// TLS 1.3 alone.
pub(crate) const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// A server that shows this certificate and agrees to `http/1.1`.
pub(crate) fn server_config(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).expect("a PKCS #8 key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions of this provider")
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], key)
        .expect("a usable certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// The same, for clients alone who show a certificate of this authority.
pub(crate) fn demanding_config(identity: &Identity, of_clients: &Authority) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(of_clients.issuer.der().clone()).expect("a certificate");
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).expect("a PKCS #8 key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(BOTH_VERSIONS)
        .expect("versions of this provider")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![identity.certificate.clone()], key)
        .expect("a usable certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// What a backend saw of one connection.
#[derive(Clone, Default)]
struct Seen {
    /// Octets of HTTP, after decryption.
    received: Arc<Mutex<Vec<u8>>>,
    /// Why there was no connection, if the handshake failed.
    failure: Arc<Mutex<Option<String>>>,
}

/// A TLS server that a test wrote.
pub(crate) struct TlsBackend {
    addr: SocketAddr,
    config: Arc<ServerConfig>,
    seen: Arc<Mutex<Vec<Seen>>>,
    arrivals: Option<mpsc::Receiver<(TcpStream, Seen)>>,
    stopped: Arc<AtomicBool>,
}

impl TlsBackend {
    /// Leaves every connection to the test: see [`Self::accept`].
    pub(crate) fn manual(config: ServerConfig) -> Self {
        let (sender, receiver) = mpsc::channel();
        let mut backend = Self::listen(config, move |_, stream, seen| {
            // The test may have ended already; the connection then just closes.
            let _ = sender.send((stream, seen));
        });
        backend.arrivals = Some(receiver);
        backend
    }

    /// Runs `answer` for each request on each connection, from threads of its own.
    pub(crate) fn serve(
        config: ServerConfig,
        answer: impl Fn(&mut TlsWire, Message) + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::listen(config, move |config, stream, seen| {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                // A handshake that fails is remembered; the test will ask.
                if let Ok(mut wire) = TlsWire::shake_hands(stream, config, seen) {
                    while let Some(request) = wire.request() {
                        answer(&mut wire, request);
                    }
                }
            });
        })
    }

    fn listen(
        config: ServerConfig,
        on_connection: impl Fn(Arc<ServerConfig>, TcpStream, Seen) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        let addr = listener.local_addr().expect("a local address");
        let config = Arc::new(config);
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let (its_config, its_seen) = (Arc::clone(&config), Arc::clone(&seen));
        let its_stop = Arc::clone(&stopped);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if its_stop.load(Ordering::SeqCst) {
                    break;
                }
                // A connection that died in the queue is nobody's.
                let Ok(stream) = stream else { continue };
                let one = Seen::default();
                its_seen.lock().unwrap().push(one.clone());
                on_connection(Arc::clone(&its_config), stream, one);
            }
        });
        Self { addr, config, seen, arrivals: None, stopped }
    }

    /// The next connection of a [`Self::manual`] backend, with its handshake done.
    #[track_caller]
    pub(crate) fn accept(&self) -> TlsWire {
        let (stream, seen) = self.accept_stream();
        match TlsWire::shake_hands(stream, Arc::clone(&self.config), seen) {
            Ok(wire) => wire,
            Err(error) => panic!("no handshake: {error}"),
        }
    }

    #[track_caller]
    fn accept_stream(&self) -> (TcpStream, Seen) {
        let arrivals = self.arrivals.as_ref().expect("a manual backend");
        arrivals.recv_timeout(PATIENCE).expect("roundel connects to this backend")
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `localhost:PORT`
    pub(crate) fn authority(&self) -> String {
        format!("localhost:{}", self.addr.port())
    }

    /// What to call it on roundel's command line.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// How many connections it got so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// All octets of HTTP received so far, from all connections.
    pub(crate) fn received(&self) -> Vec<u8> {
        let seen = self.seen.lock().unwrap();
        seen.iter().flat_map(|one| one.received.lock().unwrap().clone()).collect()
    }

    /// Why the first failed handshake failed. roundel may have answered its client before the
    /// server knows, so this waits.
    #[track_caller]
    pub(crate) fn failure(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen.lock().unwrap().clone();
            let failure = seen.iter().find_map(|one| one.failure.lock().unwrap().clone());
            if let Some(failure) = failure {
                return failure;
            }
            assert!(Instant::now() < deadline, "no handshake failed");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for TlsBackend {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then closes the listener.
        let _ = TcpStream::connect(self.addr);
    }
}

/// How the peer ended its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsEnd {
    /// With a `close_notify` alert: all that was sent has arrived.
    CloseNotify,
    /// With a FIN and no `close_notify`: nobody can say whether this was all.
    Truncated,
    /// With a RST.
    Reset,
}

/// What roundel offered in its `ClientHello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// SNI.
    pub(crate) server_name: Option<String>,
    /// ALPN.
    pub(crate) protocols: Vec<String>,
}

/// The backend's end of a TLS connection.
pub(crate) struct TlsWire {
    stream: TcpStream,
    tls: ServerConnection,
    hello: Hello,
    /// Received and not yet taken by a reading helper.
    pending: Vec<u8>,
    log: Arc<Mutex<Vec<u8>>>,
    end: Option<TlsEnd>,
}

impl TlsWire {
    fn shake_hands(
        mut stream: TcpStream,
        config: Arc<ServerConfig>,
        seen: Seen,
    ) -> Result<Self, String> {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        match handshake(&mut stream, config) {
            Ok((tls, hello)) => {
                Ok(Self { stream, tls, hello, pending: Vec::new(), log: seen.received, end: None })
            }
            Err(error) => {
                *seen.failure.lock().unwrap() = Some(error.clone());
                // With what is still unread, dropping the socket now would reset the connection,
                // and roundel would not see the alert that it was sent.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = io::copy(&mut stream, &mut io::sink());
                Err(error)
            }
        }
    }

    /// What roundel offered.
    pub(crate) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Was the handshake a full one, or was a session resumed?
    pub(crate) fn handshake_kind(&self) -> HandshakeKind {
        self.tls.handshake_kind().expect("a handshake that is done")
    }

    /// The version that was agreed on.
    pub(crate) fn version(&self) -> ProtocolVersion {
        self.tls.protocol_version().expect("a handshake that is done")
    }

    /// The ALPN protocol that was agreed on.
    pub(crate) fn protocol(&self) -> Option<String> {
        self.tls.alpn_protocol().map(text)
    }

    /// Sends the octets in as few records as possible.
    #[track_caller]
    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.try_send(octets).expect("send");
    }

    /// Sends the octets; roundel may have gone.
    pub(crate) fn try_send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        for part in octets.as_ref().chunks(16 * 1024) {
            self.tls.writer().write_all(part)?;
            self.flush()?;
        }
        Ok(())
    }

    /// Sends the octets one by one, each in a record and a segment of its own.
    #[track_caller]
    pub(crate) fn send_octet_by_octet(&mut self, octets: impl AsRef<[u8]>) {
        for octet in octets.as_ref() {
            self.send([*octet]);
        }
    }

    /// Sends octets in records, and behind them in the same segment some that are no TLS.
    #[track_caller]
    pub(crate) fn send_with_raw(&mut self, octets: impl AsRef<[u8]>, raw: impl AsRef<[u8]>) {
        let mut wire = Vec::new();
        self.tls.writer().write_all(octets.as_ref()).expect("a buffer");
        while self.tls.wants_write() {
            self.tls.write_tls(&mut wire).expect("a vector");
        }
        wire.extend(raw.as_ref());
        self.send_raw(wire);
    }

    /// Sends octets that are no TLS.
    #[track_caller]
    pub(crate) fn send_raw(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).expect("send");
    }

    /// Changes the keys of this direction (TLS 1.3): a record that carries no octet of HTTP.
    #[track_caller]
    pub(crate) fn update_keys(&mut self) {
        self.tls.refresh_traffic_keys().expect("TLS 1.3");
        self.flush().expect("send");
    }

    /// Ends this direction as TLS wants it; the TCP connection stays as it is.
    #[track_caller]
    pub(crate) fn close_notify(&mut self) {
        self.tls.send_close_notify();
        self.flush().expect("send");
    }

    /// Sends octets and then the end of this direction, all in one segment.
    #[track_caller]
    pub(crate) fn send_and_close_notify(&mut self, octets: impl AsRef<[u8]>) {
        self.tls.writer().write_all(octets.as_ref()).expect("a buffer");
        self.close_notify();
    }

    /// Ends the connection in order: `close_notify`, FIN.
    #[track_caller]
    pub(crate) fn close(mut self) {
        self.close_notify();
        self.finish();
    }

    /// Ends the connection with FIN and no `close_notify`.
    pub(crate) fn truncate(self) {
        self.finish();
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(self);
    }

    /// FIN. The socket stays until roundel has closed as well, or has no more to say: closed with
    /// unread octets, it would send a RST instead. The thread ends with the connection.
    fn finish(self) {
        // The peer may have been first.
        let _ = self.stream.shutdown(Shutdown::Write);
        thread::spawn(move || {
            let mut stream = self.stream;
            let _ = io::copy(&mut stream, &mut io::sink());
        });
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// The next head, with the empty line that ends it. Panics where none comes.
    #[track_caller]
    pub(crate) fn head(&mut self) -> String {
        match self.try_head() {
            Some(head) => head,
            None => panic!("{:?} instead of a head, after {:?}", self.end, text(&self.pending)),
        }
    }

    #[track_caller]
    fn try_head(&mut self) -> Option<String> {
        self.until(b"\r\n\r\n").map(|head| text(&head))
    }

    /// The next request with its body, or `None` if roundel ends its direction before it.
    #[track_caller]
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut message = Message { head: self.try_head()?, body: Vec::new() };
        if message.field("transfer-encoding").is_some() {
            message.body = self.chunked_body();
        } else if let Some(length) = message.field("content-length") {
            let length = length.parse().expect("a length in digits");
            message.body = self.exactly(length);
        }
        Some(message)
    }

    /// A chunked body without trailers, with all its framing.
    #[track_caller]
    fn chunked_body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").expect("a chunk size");
            let digits = text(&line);
            let size = usize::from_str_radix(digits.trim_end(), 16).expect("a chunk size");
            body.extend(line);
            body.extend(self.exactly(size + 2));
            if size == 0 {
                return body;
            }
        }
    }

    /// The next `count` octets.
    #[track_caller]
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.pending.len() < count {
            assert!(self.fill(), "{:?} after {} of {count} octets", self.end, self.pending.len());
        }
        self.take(count)
    }

    /// Reads as many octets as are expected and compares.
    #[track_caller]
    pub(crate) fn expect(&mut self, octets: impl AsRef<[u8]>) {
        let octets = octets.as_ref();
        assert_eq!(text(&self.exactly(octets.len())), text(octets));
    }

    /// All that comes until roundel ends its direction, and how it ended it.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (String, TlsEnd) {
        while self.fill() {}
        let rest = self.take(self.pending.len());
        (text(&rest), self.end.expect("an end"))
    }

    /// The octets up to and with `end`; `None` if the direction ends before it.
    #[track_caller]
    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let mut searched = 0;
        loop {
            let found =
                self.pending[searched..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Some(self.take(searched + at + end.len()));
            }
            searched = self.pending.len().saturating_sub(end.len());
            if !self.fill() {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.pending.split_off(count);
        std::mem::replace(&mut self.pending, rest)
    }

    /// Reads until there are more octets of HTTP; false after the end. Panics when nothing comes.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 65536];
        while self.end.is_none() {
            match self.tls.reader().read(&mut buffer) {
                Ok(0) => self.end = Some(TlsEnd::CloseNotify),
                Ok(count) => {
                    self.log.lock().unwrap().extend(&buffer[..count]);
                    self.pending.extend(&buffer[..count]);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.read_records(),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.end = Some(TlsEnd::Truncated);
                }
                Err(error) => panic!("cannot read: {error}"),
            }
        }
        false
    }

    #[track_caller]
    fn read_records(&mut self) {
        match self.tls.read_tls(&mut self.stream) {
            Ok(_) => {
                let state = self.tls.process_new_packets();
                // There may be an answer, to a change of keys for one.
                let _ = self.flush();
                state.expect("roundel sends valid records");
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    panic!("nothing for {PATIENCE:?}, after {:?}", text(&self.pending))
                }
                io::ErrorKind::Interrupted => {}
                _ => self.end = Some(TlsEnd::Reset),
            },
        }
    }
}

/// Reads the `ClientHello` by itself, for what it offers, and does the rest.
fn handshake(
    stream: &mut TcpStream,
    config: Arc<ServerConfig>,
) -> Result<(ServerConnection, Hello), String> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        match acceptor.read_tls(stream) {
            Ok(0) => return Err("closed before a ClientHello".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err((error, mut alert)) => {
                // The error is what counts; roundel may not be there any more.
                let _ = alert.write_all(stream);
                return Err(error.to_string());
            }
        }
    };
    let hello = {
        let offered = accepted.client_hello();
        Hello {
            server_name: offered.server_name().map(str::to_owned),
            protocols: offered.alpn().into_iter().flatten().map(text).collect(),
        }
    };
    let mut tls = accepted.into_connection(config).map_err(|(error, mut alert)| {
        let _ = alert.write_all(stream);
        error.to_string()
    })?;
    while tls.is_handshaking() {
        tls.complete_io(stream).map_err(|error| error.to_string())?;
    }
    while tls.wants_write() {
        tls.write_tls(stream).map_err(|error| error.to_string())?;
    }
    Ok((tls, hello))
}

/// Listens, and passes what comes on to `to`, and what comes back, octet by octet: each in a
/// segment of its own, a little apart, so that who reads at once gets one at a time.
pub(crate) fn dribble(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let addr = listener.local_addr().expect("a local address");
    thread::spawn(move || {
        // Ends with the test's process.
        for stream in listener.incoming() {
            let Ok(near) = stream else { continue };
            let far = TcpStream::connect(to).expect("connect");
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (from, to) = (from.try_clone(), to.try_clone());
                let (from, to) = (from.expect("a socket"), to.expect("a socket"));
                thread::spawn(move || pass_octets(from, to));
            }
        }
    });
    addr
}

fn pass_octets(mut from: TcpStream, mut to: TcpStream) {
    to.set_nodelay(true).expect("TCP_NODELAY");
    let mut octet = [0];
    while matches!(from.read(&mut octet), Ok(1)) && to.write_all(&octet).is_ok() {
        thread::sleep(Duration::from_micros(20));
    }
    // Either end may have gone.
    let _ = to.shutdown(Shutdown::Write);
}
