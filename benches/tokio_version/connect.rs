//! Connections to backends: TCP and TLS, each within its time.
//!
//! Invariant: SNI and verification are always on. Knows nothing of requests.
//!
//! Next: hyper-util's pool keeps what this makes.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use roundel::config::Timeouts;
use roundel::h1::reply::Reason;
use roundel::net::sys::is_exhausted;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;

/// Makes connections to backends.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<HttpConnector>,
    /// For TCP and TLS together; that of TCP alone is the inner connector's own.
    limit: Duration,
}

impl Connector {
    /// Trusts the certificates of this PEM text, or without one the public roots that are built in.
    ///
    /// # Errors
    /// When the text has no usable certificate.
    pub(crate) fn new(ca_pem: Option<&[u8]>, timeouts: &Timeouts) -> io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeouts.connect));
        tcp.set_happy_eyeballs_timeout(Some(timeouts.connect_stagger));
        let https = HttpsConnector::from((tcp, tls_config(ca_pem)?));
        Ok(Self { https, limit: timeouts.connect + timeouts.handshake })
    }
}

fn tls_config(ca_pem: Option<&[u8]>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(io::Error::other)?;
                roots.add(certificate).map_err(io::Error::other)?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.https.call(uri));
        Box::pin(async { connecting.await.unwrap_or_else(|_| Err(HandshakeTimeout.into())) })
    }
}

/// The TLS handshake did not end in time.
#[derive(Debug)]
struct HandshakeTimeout;

impl fmt::Display for HandshakeTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the TLS handshake did not end in time")
    }
}

impl Error for HandshakeTimeout {}

/// Why a backend gave no response, in roundel's vocabulary.
pub(crate) fn reason_of(error: &legacy::Error) -> Reason {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(now) = cause {
        if now.is::<HandshakeTimeout>() {
            return Reason::TlsHandshakeTimeout;
        }
        if let Some(error) = now.downcast_ref::<hyper::Error>()
            && error.is_parse()
        {
            return Reason::BadResponseHead;
        }
        if let Some(error) = now.downcast_ref::<rustls::Error>() {
            return reason_of_tls(error);
        }
        cause = match now.downcast_ref::<io::Error>() {
            Some(error) => match reason_of_io(error) {
                Some(reason) => return reason,
                // `source` would pass over the error that it holds.
                None => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            },
            None => now.source(),
        };
    }
    if error.is_connect() { Reason::ConnectUnreachable } else { Reason::UpstreamClosed }
}

fn reason_of_io(error: &io::Error) -> Option<Reason> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Reason::ConnectRefused),
        io::ErrorKind::TimedOut => Some(Reason::ConnectTimeout),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Some(Reason::UpstreamReset),
        _ if is_exhausted(error) => Some(Reason::OutOfDescriptors),
        _ => None,
    }
}

fn reason_of_tls(error: &rustls::Error) -> Reason {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => Reason::TlsUntrustedCertificate,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Reason::TlsWrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Reason::TlsExpiredCertificate,
            _ => Reason::TlsBadCertificate,
        },
        _ => Reason::TlsHandshakeFailed,
    }
}
