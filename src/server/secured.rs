//! How connections to each backend are secured.
//!
//! Backends about whom the same is said share what TLS begins with, and the tickets of their sessions.
//! Knows nothing of certificates. Invariant: where the security that was asked for cannot be had, there is
//! an error; nothing falls back to less.
//!
//! Next: the backends go to the worker.

use super::RunError;
use super::backends::Backend;
use crate::config::{BackendConfig, Scheme};
use crate::net::transport::Security;

/// Gives each backend its security, and its weight.
#[cfg(feature = "tls")]
pub(super) fn secured(
    configs: &[BackendConfig],
    ca_pem: Option<&[u8]>,
) -> Result<Vec<(Backend, u32)>, RunError> {
    use std::collections::HashMap;

    use crate::net::tls::{TlsClient, Trust, TrustSet};

    let mut counts: HashMap<TrustSet<'_>, usize> = HashMap::new();
    for config in configs.iter().filter(|config| config.scheme == Scheme::Https) {
        *counts.entry(trust_set(config, ca_pem)).or_default() += 1;
    }
    let mut trusts: HashMap<TrustSet<'_>, Trust> = HashMap::new();
    if ca_pem.is_some() {
        // Perhaps nobody needs it. That it is of no use is told all the same.
        let set = TrustSet { verify: crate::config::Verify::Full, ca_pem, identity: None };
        let count = counts.get(&set).copied().unwrap_or(1);
        let trust = Trust::new(set, count)
            .map_err(|e| RunError::Wrong(format!("the file of --ca is of no use: {}", e.text)))?;
        trusts.insert(set, trust);
    }
    let mut backends = Vec::new();
    for config in configs {
        let security = match config.scheme {
            Scheme::Http => Security::Plain,
            Scheme::Https => {
                let set = trust_set(config, ca_pem);
                let trust = match trusts.get(&set) {
                    Some(trust) => trust.clone(),
                    None => {
                        let count = counts.get(&set).copied().unwrap_or(1);
                        let trust = Trust::new(set, count).map_err(|e| {
                            let label = config.label();
                            let words = format!("of its {} is of no use: {}", e.what, e.text);
                            RunError::Wrong(format!("backend {label}: the file {words}"))
                        })?;
                        trusts.insert(set, trust.clone());
                        trust
                    }
                };
                let client = TlsClient::new(trust, &config.host).map_err(|e| {
                    RunError::Wrong(format!("no certificate can be for {}: {e}", config.host))
                })?;
                Security::Tls(client)
            }
        };
        backends.push((Backend::new(config, security), config.weight));
    }
    Ok(backends)
}

/// What TLS to this backend begins with.
#[cfg(feature = "tls")]
fn trust_set<'a>(
    config: &'a BackendConfig,
    ca_pem: Option<&'a [u8]>,
) -> crate::net::tls::TrustSet<'a> {
    use crate::config::Verify;
    let tls = &config.tls;
    let ca_pem = match tls.verify {
        Verify::Full => tls.ca_pem.as_deref().or(ca_pem),
        Verify::Nothing => None,
    };
    crate::net::tls::TrustSet { verify: tls.verify, ca_pem, identity: tls.identity.as_ref() }
}

/// Without TLS there are only plain backends.
#[cfg(not(feature = "tls"))]
pub(super) fn secured(
    configs: &[BackendConfig],
    ca_pem: Option<&[u8]>,
) -> Result<Vec<(Backend, u32)>, RunError> {
    let https = configs.iter().find(|config| config.scheme == Scheme::Https);
    if https.is_some() || ca_pem.is_some() {
        let what = https.map_or_else(|| "--ca".to_owned(), BackendConfig::to_string);
        return Err(RunError::Wrong(format!(
            "{what} needs TLS, and this roundel was built without it"
        )));
    }
    Ok(configs.iter().map(|c| (Backend::new(c, Security::Plain), c.weight)).collect())
}
