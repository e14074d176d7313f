//! TLS towards backends. The one file that names rustls.
//!
//! rustls is used through its unbuffered interface: ciphertext and plaintext are in the worker's
//! shared scratch, so that an idle connection holds its keys and nothing else. What a connection keeps
//! of its own is `carry`: a record that has not arrived whole.
//!
//! Knows nothing of HTTP. Invariants: SNI is always on, and so is verification unless the operator said
//! of a backend that it is not; no plaintext is accepted before the handshake is over; the end of the stream without TLS's own end is told apart from an
//! end in good order.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore,
    SignatureScheme,
};

use super::latch::{Latch, Readiness};
use super::link::{Broken, Handshake, Received, Sent, read_plain, send_through};
use super::outbox::Outbox;
use super::transport::{HandshakeError, TlsFacts};
use super::{Sock, TlsScratch};
use crate::config::backend_url::{Host, Identity, Verify};
use crate::config::limits::CARRY_BYTES_MAX;
use crate::h1::reply::Reason;
use crate::h1::text::push_timestamp;

/// How many tickets are kept for each backend: each is good for one handshake.
const TICKETS_PER_BACKEND: usize = 8;

/// The least room that a read has, so that a whole record always fits behind what is carried.
const READ_BYTES_MIN: usize = 32 * 1024;

/// Whom to trust, and who we are ourselves: what backends may have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TrustSet<'a> {
    /// How much of their certificates is checked.
    pub verify: Verify,
    /// A PEM text with those who vouch for them; `None` are the public roots that are built in.
    pub ca_pem: Option<&'a [u8]>,
    /// What they are shown if they ask who we are.
    pub identity: Option<&'a Identity>,
}

/// Why there is nothing to begin connections with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustError {
    /// What is of no use: `ca`, `cert` or `key`.
    pub what: &'static str,
    /// Why.
    pub text: String,
}

impl TrustError {
    fn new(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, text: text.into() }
    }
}

/// A [`TrustSet`] that can be used. Its backends share it, and with it the tickets of their sessions;
/// those of another set never get these.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    /// Who checks certificates, where somebody does.
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// For so many backends.
    ///
    /// # Errors
    /// When a text has no usable certificate or key.
    pub fn new(set: TrustSet<'_>, backends: usize) -> Result<Self, TrustError> {
        let provider = Arc::new(provider());
        let algorithms = provider.signature_verification_algorithms;
        let verifier = match set.verify {
            Verify::Full => {
                let roots = Arc::new(roots(set.ca_pem)?);
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
                Some(verifier.build().map_err(|e| TrustError::new("ca", e.to_string()))?)
            }
            Verify::Nothing => None,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TrustError::new("ca", e.to_string()))?;
        let builder = match &verifier {
            Some(verifier) => builder.with_webpki_verifier(Arc::clone(verifier)),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(algorithms))),
        };
        let mut config = match set.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(&identity.cert_pem, "cert")?;
                let key = PrivateKeyDer::from_pem_slice(&identity.key_pem)
                    .map_err(|e| TrustError::new("key", format!("not PEM: {e}")))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| match e {
                    Error::InconsistentKeys(_) => {
                        TrustError::new("key", "it is not the key of the certificate")
                    }
                    e => TrustError::new("key", e.to_string()),
                })?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(TICKETS_PER_BACKEND * backends.max(1));
        Ok(Self { config: Arc::new(config), verifier })
    }
}

fn roots(ca_pem: Option<&[u8]>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in certificates(pem, "ca")? {
                let refused = |e| TrustError::new("ca", format!("not a certificate: {e}"));
                roots.add(certificate).map_err(refused)?;
            }
        }
    }
    Ok(roots)
}

/// The certificates of a PEM text, at least one.
fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|e| TrustError::new(what, format!("not PEM: {e}")))?;
    if all.is_empty() {
        return Err(TrustError::new(what, "there is no certificate in it"));
    }
    Ok(all)
}

/// Takes any certificate, from whomever it is. That the peer has its key is still checked, which is
/// worth little: anybody can have one.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(not(feature = "aws-lc-rs"))]
fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Everything that a connection to one backend begins with.
#[derive(Clone, Debug)]
pub struct TlsClient {
    trust: Trust,
    name: ServerName<'static>,
}

impl TlsClient {
    /// For the backend of this name or address: it is sent as SNI, and the certificate must fit it.
    ///
    /// # Errors
    /// In words, for a name that no certificate can have.
    pub fn new(trust: Trust, host: &Host) -> Result<Self, String> {
        let name = match host {
            Host::Address(address) => ServerName::IpAddress((*address).into()),
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_owned();
                ServerName::try_from(name).map_err(|e| e.to_string())?
            }
            Host::Unix(_) => return Err("a socket has no name that could be certified".into()),
        };
        Ok(Self { trust, name })
    }

    /// Until when these certificates would be taken, in seconds since 1970: the earliest end of them, by
    /// the rules of the handshake itself. `None` where nobody checks them, or where they would not be
    /// taken at any time.
    fn valid_until(&self, certificates: &[CertificateDer<'_>]) -> Option<u64> {
        let verifier = self.trust.verifier.as_ref()?;
        let (first, others) = certificates.split_first()?;
        let mut at = END_OF_TIME;
        // Each refusal names the end of one certificate, and the next look is at that time.
        for _ in 0..=CHAIN_COUNT_MAX {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(at));
            match verifier.verify_server_cert(first, others, &self.name, &[], time) {
                Ok(_) => return Some(at),
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                    not_after,
                    ..
                })) if not_after.as_secs() < at => at = not_after.as_secs(),
                Err(_) => return None,
            }
        }
        None
    }
}

/// The last second of the year 9999, after which no certificate can end (RFC 5280 section 4.1.2.5).
const END_OF_TIME: u64 = 253_402_300_799;

/// So many certificates of a chain are looked at for when they end.
const CHAIN_COUNT_MAX: u32 = 8;

/// A socket with TLS around it.
pub struct TlsStream<S> {
    sock: S,
    connection: UnbufferedClientConnection,
    /// Received octets that are not yet a whole record.
    carry: Vec<u8>,
    /// Whether more can come.
    input: Input,
}

/// Whether more can come from the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Input {
    /// It can.
    Open,
    /// The peer has said that nothing follows.
    Ended,
    /// A record was broken; what came before it was given out.
    Broken,
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("sock", &self.sock).finish_non_exhaustive()
    }
}

impl<S> TlsStream<S> {
    /// The socket underneath.
    pub fn sock(&mut self) -> &mut S {
        &mut self.sock
    }

    /// What was agreed on, in the eyes of who began it.
    #[must_use]
    pub fn facts(&self, client: &TlsClient) -> TlsFacts {
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS",
        };
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        TlsFacts { version, valid_until: client.valid_until(certificates) }
    }
}

/// The most reads in a row that bring only records of TLS itself.
const READS_WITHOUT_DATA_MAX: u32 = 64;

/// What a walk over records came to.
struct Processed {
    /// Octets of plaintext.
    plain: usize,
    /// Whether the handshake is over.
    usable: bool,
}

impl<S: Sock> TlsStream<S> {
    /// Begins a handshake; its first message waits in `out`.
    ///
    /// # Errors
    /// A mistake in the configuration.
    pub fn begin(
        client: &TlsClient,
        sock: S,
        out: &mut Outbox,
        scratch: &mut TlsScratch,
    ) -> Result<Self, HandshakeError> {
        let connection =
            UnbufferedClientConnection::new(Arc::clone(&client.trust.config), client.name.clone())
                .map_err(|e| explain(&e))?;
        let mut stream = Self { sock, connection, carry: Vec::new(), input: Input::Open };
        stream.process(0, &mut [], out, scratch).map_err(|e| explain(&e))?;
        Ok(stream)
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    /// When it failed; our alert has been sent as far as that was possible.
    pub fn shake_hands(
        &mut self,
        latch: &mut Latch,
        out: &mut Outbox,
        scratch: &mut TlsScratch,
    ) -> Result<Handshake, HandshakeError> {
        for _ in 0..READS_WITHOUT_DATA_MAX {
            self.flush(latch, out).map_err(|e| broken_handshake(&e))?;
            let filled = match self.fill(READ_BYTES_MIN, latch, scratch) {
                Received::Octets(filled) => filled,
                Received::Blocked => return Ok(Handshake::Blocked),
                Received::Closed | Received::Broken(_) => {
                    let reset = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(broken_handshake(&reset));
                }
            };
            let processed = self.process(filled, &mut [], out, scratch);
            // Also after a failure: the peer shall learn from our alert what we did not like.
            let flushed = self.flush(latch, out);
            if processed.map_err(|e| explain(&e))?.usable {
                flushed.map_err(|e| broken_handshake(&e))?;
                return Ok(Handshake::Done);
            }
        }
        let text = "the TLS handshake does not come to an end".to_owned();
        Err(HandshakeError { reason: Reason::TlsHandshakeFailed, text })
    }

    /// Reads records and leaves their content at the start of `buf`.
    pub fn read(
        &mut self,
        buf: &mut [u8],
        bytes_max: usize,
        latch: &mut Latch,
        out: &mut Outbox,
        scratch: &mut TlsScratch,
    ) -> Received {
        for _ in 0..READS_WITHOUT_DATA_MAX {
            match self.input {
                Input::Open => {}
                Input::Ended => return Received::Closed,
                Input::Broken => return Received::Broken(Broken::TlsRecord),
            }
            // Plaintext is never longer than its records, so what is read here fits there.
            let room =
                bytes_max.max(READ_BYTES_MIN).min(buf.len().saturating_sub(self.carry.len()));
            let filled = match self.fill(room, latch, scratch) {
                Received::Octets(filled) => filled,
                Received::Closed => return Received::Broken(Broken::TlsTruncated),
                other @ (Received::Blocked | Received::Broken(_)) => return other,
            };
            let processed = self.process(filled, buf, out, scratch);
            if self.input != Input::Open {
                // The end came with these records; no event of the socket will tell of it again.
                latch.set(Readiness::CLOSING);
            }
            // Answers of TLS itself (a new key, an alert) go out even when we have nothing to say.
            let flushed = self.flush(latch, out);
            match processed {
                Err(_) => return Received::Broken(Broken::TlsRecord),
                Ok(Processed { plain: 0, .. }) if flushed.is_err() => {
                    return Received::Broken(Broken::Reset);
                }
                Ok(Processed { plain: 0, .. }) => {}
                Ok(Processed { plain, .. }) => return Received::Octets(plain),
            }
        }
        // Records without end and no content in them: whoever sends that means no good.
        Received::Broken(Broken::TlsRecord)
    }

    /// Puts what is carried and then what the socket has at the start of the incoming scratch.
    fn fill(&mut self, room: usize, latch: &mut Latch, scratch: &mut TlsScratch) -> Received {
        let carried = self.carry.len();
        scratch.incoming[..carried].copy_from_slice(&self.carry);
        let end = (carried + room).min(scratch.incoming.len());
        match read_plain(&mut self.sock, latch, &mut scratch.incoming[carried..end]) {
            Received::Octets(n) => Received::Octets(carried + n),
            other @ (Received::Blocked | Received::Closed | Received::Broken(_)) => other,
        }
    }

    /// Lets rustls take the first `filled` octets of the incoming scratch, as far as they are whole
    /// records, and carries the rest.
    fn process(
        &mut self,
        filled: usize,
        plain_out: &mut [u8],
        out: &mut Outbox,
        scratch: &mut TlsScratch,
    ) -> Result<Processed, Error> {
        let TlsScratch { incoming, outgoing } = scratch;
        let mut at = 0;
        let mut plain = 0;
        let outcome = loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut incoming[at..filled]);
            let go_on = match state {
                Err(error) => {
                    // The records that broke it are gone; what is left of rustls is its alert.
                    take_alert(&mut self.connection, outgoing, out);
                    self.input = Input::Broken;
                    // What came whole before it is good, and is given out first.
                    break if plain > 0 { Ok(true) } else { Err(error) };
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut refused = None;
                    while let Some(record) = traffic.next_record() {
                        let record = match record {
                            Ok(record) => record,
                            Err(error) => {
                                refused = Some(error);
                                break;
                            }
                        };
                        discard += record.discard;
                        match plain_out.get_mut(plain..plain + record.payload.len()) {
                            Some(room) => room.copy_from_slice(record.payload),
                            None => refused = Some(Error::HandshakeNotComplete),
                        }
                        plain += record.payload.len();
                    }
                    match refused {
                        None => Step::GoOn,
                        Some(error) => Step::End(Err(error)),
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => match message.encode(outgoing) {
                    Ok(n) => {
                        out.push(&outgoing[..n]);
                        Step::GoOn
                    }
                    Err(EncodeError::InsufficientSize(_) | EncodeError::AlreadyEncoded) => {
                        Step::End(Err(Error::General("a handshake message is too long".into())))
                    }
                },
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    Step::GoOn
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.input = Input::Ended;
                    Step::GoOn
                }
                Ok(ConnectionState::WriteTraffic(_)) => Step::End(Ok(true)),
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                    Step::End(Ok(false))
                }
                Ok(_) => Step::End(Err(Error::General("an unknown state".into()))),
            };
            at += discard;
            if let Step::End(outcome) = go_on {
                break outcome;
            }
        };
        self.carry.clear();
        let rest = incoming.get(at..filled).unwrap_or_default();
        if rest.is_empty() {
            self.carry = Vec::new();
        } else if rest.len() > CARRY_BYTES_MAX {
            return Err(Error::PeerSentOversizedRecord);
        } else {
            self.carry.extend_from_slice(rest);
        }
        outcome.map(|usable| Processed { plain, usable })
    }

    /// Encrypts octets and sends them.
    ///
    /// # Errors
    /// When the connection is broken, or was never usable.
    pub fn send(
        &mut self,
        octets: &[u8],
        latch: &mut Latch,
        out: &mut Outbox,
        scratch: &mut TlsScratch,
    ) -> io::Result<Sent> {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.carry);
        let encrypted = match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.encrypt(octets, &mut scratch.outgoing).map_err(|e| match e {
                    EncryptError::InsufficientSize(_) => io::ErrorKind::InvalidInput.into(),
                    EncryptError::EncryptExhausted => io::Error::from(io::ErrorKind::BrokenPipe),
                })?
            }
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        send_through(&mut self.sock, latch, out, &scratch.outgoing[..encrypted])
    }

    /// Says that nothing follows.
    pub fn say_goodbye(&mut self, latch: &mut Latch, out: &mut Outbox, scratch: &mut TlsScratch) {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.carry);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state
            && let Ok(n) = traffic.queue_close_notify(&mut scratch.outgoing)
        {
            // Whether it arrives is no longer our concern: the connection ends here.
            let _ = send_through(&mut self.sock, latch, out, &scratch.outgoing[..n]);
        }
    }

    fn flush(&mut self, latch: &mut Latch, out: &mut Outbox) -> io::Result<()> {
        if !out.is_empty() {
            let (_, all) = out.flush(&mut self.sock)?;
            if !all {
                latch.write_blocked();
            }
        }
        Ok(())
    }
}

/// What to do after one state of rustls.
enum Step {
    GoOn,
    /// Stop here; says whether the connection is usable.
    End(Result<bool, Error>),
}

/// Puts the alert that rustls made of an error into `out`.
fn take_alert(connection: &mut UnbufferedClientConnection, outgoing: &mut [u8], out: &mut Outbox) {
    // Not every error makes one. Without it rustls would go on to look at the records, which are not
    // there, and where a fragment of a handshake message is pending it would look beyond them.
    if !connection.wants_write() {
        return;
    }
    let UnbufferedStatus { state, .. } = connection.process_tls_records(&mut []);
    if let Ok(ConnectionState::EncodeTlsData(mut alert)) = state
        && let Ok(n) = alert.encode(outgoing)
    {
        out.push(&outgoing[..n]);
    }
}

fn broken_handshake(error: &io::Error) -> HandshakeError {
    let text = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection ended during the TLS handshake".into(),
        _ => format!("the connection broke during the TLS handshake: {error}"),
    };
    HandshakeError { reason: Reason::TlsHandshakeFailed, text }
}

/// Says in words what a handshake failed for, and names the reason.
fn explain(error: &Error) -> HandshakeError {
    let reason = match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Reason::TlsExpiredCertificate,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Reason::TlsWrongName
            }
            // A bad signature is one that no key of a trusted issuer made, whatever its name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Reason::TlsUntrustedCertificate
            }
            _ => Reason::TlsBadCertificate,
        },
        Error::NoCertificatesPresented => Reason::TlsBadCertificate,
        _ => Reason::TlsHandshakeFailed,
    };
    let words = match (reason, error) {
        (
            Reason::TlsExpiredCertificate,
            Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ),
        ) => "its certificate is not valid yet",
        (Reason::TlsExpiredCertificate, _) => "its certificate has expired",
        (Reason::TlsWrongName, _) => "its certificate is for another name",
        (Reason::TlsUntrustedCertificate, _) => "its certificate comes from an unknown issuer",
        (Reason::TlsBadCertificate, _) => "its certificate is unusable",
        _ => "the TLS handshake failed",
    };
    HandshakeError { reason, text: format!("{words} ({})", details(error)) }
}

/// What is known besides, in words that need no further look: for which names, until when.
fn details(error: &Error) -> String {
    let Error::InvalidCertificate(certificate) = error else { return error.to_string() };
    match certificate {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it was good until {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is good from {} on", date(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let told = presented.get(..NAMES_TOLD_MAX).unwrap_or(presented);
            match presented.len() - told.len() {
                0 if told.is_empty() => format!("it has no name, not even {expected}"),
                0 => format!("it is for {}, not for {expected}", names(told)),
                others => {
                    format!("it is for {} and {others} more, not for {expected}", names(told))
                }
            }
        }
        _ => error.to_string(),
    }
}

/// The most names of a certificate that are told: it may have thousands.
const NAMES_TOLD_MAX: usize = 4;

/// The longest name that is told whole: that of a host has no more.
const NAME_CHARACTERS_MAX: usize = 253;

/// Names of a certificate, each of which comes as `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inside = name.split_once('(').map_or(name.as_str(), |(_, inside)| inside);
        let inside = inside.trim_end_matches(')').trim_matches('"');
        let harmless = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        inside.chars().take(NAME_CHARACTERS_MAX).map(harmless).collect::<String>()
    };
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

/// The day of a time, and its minute.
fn date(time: UnixTime) -> String {
    let mut octets = Vec::new();
    push_timestamp(&mut octets, time.as_secs().saturating_mul(1000));
    octets.truncate("2026-11-23T13:10".len());
    String::from_utf8_lossy(&octets).replace('T', " ") + " UTC"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: CertificateError) -> String {
        explain(&Error::InvalidCertificate(error)).text
    }

    fn wrong_name(presented: &[&str]) -> String {
        let expected = ServerName::try_from("a.example").expect("a name");
        let presented = presented.iter().map(|name| (*name).to_owned()).collect();
        told(CertificateError::NotValidForNameContext { expected, presented })
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_with_its_times_and_names() {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(951_782_400));
        for (got, want) in [
            (
                told(CertificateError::ExpiredContext { time, not_after: time }),
                "its certificate has expired (it was good until 2000-02-29 00:00 UTC)",
            ),
            (
                told(CertificateError::NotValidYetContext { time, not_before: time }),
                "its certificate is not valid yet (it is good from 2000-02-29 00:00 UTC on)",
            ),
            (
                wrong_name(&["DnsName(\"b\")", "IpAddress(127.0.0.1)"]),
                "its certificate is for another name (it is for b, 127.0.0.1, not for a.example)",
            ),
            (
                wrong_name(&["DnsName(\"b\")"; 4]),
                "its certificate is for another name (it is for b, b, b, b, not for a.example)",
            ),
            (
                wrong_name(&[]),
                "its certificate is for another name (it has no name, not even a.example)",
            ),
            (
                wrong_name(&["DnsName(\"b\r\n\")"; 6]),
                "its certificate is for another name (it is for b??, b??, b??, b?? and 2 more, not \
                 for a.example)",
            ),
        ] {
            assert_eq!(got, want);
        }
    }
}
