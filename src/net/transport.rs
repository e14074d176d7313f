//! Plain TCP or TLS, decided when a connection is made and never afterwards.
//!
//! No octet of a connection reaches HTTP before its transport is ready, so that nothing can be slipped
//! in front of a handshake.

use std::io;

use super::Sock;
use super::outbox::Outbox;
use crate::h1::reply::Reason;

/// How a backend's connections are secured.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all.
    Plain,
    /// With TLS.
    #[cfg(feature = "tls")]
    Tls(super::tls::TlsClient),
}

impl Security {
    /// Makes a fresh socket a transport. For TLS the first message is put into `out`.
    ///
    /// # Errors
    /// When TLS cannot even begin, which is a mistake in its configuration.
    pub fn begin<S: Sock>(
        &self,
        sock: S,
        out: &mut Outbox,
        scratch: &mut super::TlsScratch,
    ) -> Result<Transport<S>, HandshakeError> {
        match self {
            Self::Plain => {
                let _ = (out, scratch);
                Ok(Transport::Plain(sock))
            }
            #[cfg(feature = "tls")]
            Self::Tls(client) => {
                let stream = super::tls::TlsStream::begin(client, sock, out, scratch)?;
                Ok(Transport::Tls(Box::new(stream)))
            }
        }
    }
}

/// A socket with or without TLS around it.
#[derive(Debug)]
pub enum Transport<S> {
    /// The octets are the stream's.
    Plain(S),
    /// The octets are in TLS records.
    #[cfg(feature = "tls")]
    Tls(Box<super::tls::TlsStream<S>>),
}

impl<S> Transport<S> {
    /// The socket underneath.
    pub fn sock(&mut self) -> &mut S {
        match self {
            Self::Plain(sock) => sock,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.sock(),
        }
    }
}

/// What there is to know of a TLS connection whose handshake is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlsFacts {
    /// The version that is spoken.
    pub version: &'static str,
    /// Until when the certificates of the peer will be taken, in seconds since 1970; `None` where
    /// nobody checks them.
    pub valid_until: Option<u64>,
}

/// Why a handshake failed, for programs and for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandshakeError {
    /// What the client is told.
    pub reason: Reason,
    /// What the log says.
    pub text: String,
}

/// Names the reason for which a connection could not be made.
#[must_use]
pub fn connect_reason(error: &io::Error) -> Reason {
    if super::sys::is_exhausted(error) {
        return Reason::OutOfDescriptors;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Reason::ConnectRefused,
        io::ErrorKind::TimedOut => Reason::ConnectTimeout,
        _ => Reason::ConnectUnreachable,
    }
}
