//! TLS at the backends' end of a wire: a rustls server in memory.
//!
//! Certificates are made once per process, and everything in them and in the handshake has the same
//! length each time, so that a seed tells the same story in every process.

use std::{
    io::{Read, Write},
    sync::{Arc, LazyLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ED25519, SerialNumber,
};
use rustls::{
    Error, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{messages::name_of, wire::Wire};

/// How many backends have a certificate.
const NAMES_COUNT: usize = 8;

/// An authority, and what it has issued.
struct Identities {
    authority_pem: String,
    good: (CertificateDer<'static>, Vec<u8>),
    wrong_name: (CertificateDer<'static>, Vec<u8>),
}

static IDENTITIES: LazyLock<Identities> = LazyLock::new(|| {
    let key = || KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(SerialNumber::from(1_u64));
    let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
    let issue = |names: Vec<String>| {
        let mut params = CertificateParams::new(names).expect("names");
        params.serial_number = Some(SerialNumber::from(2_u64));
        let key = key();
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        (certificate.der().clone(), key.serialize_der())
    };
    Identities {
        authority_pem: authority.pem(),
        good: issue((0..NAMES_COUNT).map(name_of).collect()),
        wrong_name: issue(vec!["other.sim".to_owned()]),
    }
});

/// Whom roundel has to trust.
pub(crate) fn authority_pem() -> &'static str {
    &IDENTITIES.authority_pem
}

/// What a backend begins each connection with.
#[derive(Clone)]
pub(crate) struct TlsServer(Arc<ServerConfig>);

impl TlsServer {
    pub(crate) fn new(is_right: bool) -> Self {
        let (certificate, key) = if is_right { &IDENTITIES.good } else { &IDENTITIES.wrong_name };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a certificate with its key");
        Self(Arc::new(config))
    }
}

/// The server's side of one connection.
pub(crate) struct TlsEnd {
    connection: ServerConnection,
    /// roundel broke off.
    failed: bool,
    /// roundel has said that nothing follows.
    pub(crate) ended: bool,
}

impl TlsEnd {
    pub(crate) fn new(server: &TlsServer) -> Self {
        let mut connection = ServerConnection::new(Arc::clone(&server.0)).expect("a sound config");
        connection.set_buffer_limit(None);
        Self { connection, failed: false, ended: false }
    }

    pub(crate) fn send(&mut self, octets: &[u8], wire: &mut Wire) {
        self.connection.writer().write_all(octets).expect("a buffer");
        self.flush(wire);
    }

    /// Takes records, gives the plaintext that is in them.
    pub(crate) fn receive(&mut self, octets: &[u8], wire: &mut Wire) -> Result<Vec<u8>, String> {
        let mut rest = octets;
        let mut plain = Vec::new();
        while !rest.is_empty() && !self.failed {
            self.connection.read_tls(&mut rest).map_err(|e| e.to_string())?;
            match self.connection.process_new_packets() {
                Ok(state) => self.ended = state.peer_has_closed(),
                // What a client says to a certificate that it does not like.
                Err(Error::AlertReceived(_)) => self.failed = true,
                Err(error) => return Err(format!("roundel sends invalid TLS: {error}")),
            }
            // At the end of what is there, the reader says that it would block.
            let _ = self.connection.reader().read_to_end(&mut plain);
        }
        self.flush(wire);
        Ok(plain)
    }

    pub(crate) fn say_goodbye(&mut self, wire: &mut Wire) {
        self.connection.send_close_notify();
        self.flush(wire);
    }

    fn flush(&mut self, wire: &mut Wire) {
        let mut records = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut records).expect("a vector");
        }
        if !records.is_empty() && wire.peer_may_send() {
            wire.peer_send(&records);
        }
    }
}
