//! When a backend is given no more requests, and how it comes back.

use std::time::Duration;

/// How the health of backends is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthConfig {
    /// What the requests themselves show.
    pub passive: PassiveHealth,
    /// What is asked besides; `None` asks nothing.
    pub probe: Option<ProbeConfig>,
}

/// How failed requests take a backend out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassiveHealth {
    /// So many failures in a row take it out; at least 1.
    pub failures_count_max: u32,
    /// A row that is older than this begins anew.
    pub failures_window: Duration,
    /// For how long it is out the first time; doubles with each trial that fails.
    pub out_first: Duration,
    /// For how long it is out at most before the next trial.
    pub out_max: Duration,
    /// For how long one request is the only one that tries it.
    pub trial_timeout: Duration,
}

impl Default for PassiveHealth {
    fn default() -> Self {
        Self {
            failures_count_max: 3,
            failures_window: Duration::from_secs(10),
            out_first: Duration::from_secs(1),
            out_max: Duration::from_secs(30),
            trial_timeout: Duration::from_secs(10),
        }
    }
}

/// How backends are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// The path of the GET; the backend's prefix is put in front. Begins with `/`.
    pub path: String,
    /// From one probe to the next, give or take a tenth.
    pub interval: Duration,
    /// From the connect to the end of the answer's head.
    pub timeout: Duration,
    /// So many failed probes in a row take a backend out; at least 1.
    pub fall_count: u32,
    /// So many good ones in a row bring it back; at least 1.
    pub rise_count: u32,
}

/// From one probe to the next, unless `--health-interval` says otherwise.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The longest a probe may take, unless `--health-timeout` says otherwise.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl ProbeConfig {
    /// Probes of this path as they are unless said otherwise.
    #[must_use]
    pub fn new(path: String) -> Self {
        Self {
            path,
            interval: PROBE_INTERVAL,
            timeout: PROBE_TIMEOUT,
            fall_count: 2,
            rise_count: 2,
        }
    }

    /// Whether an answer with this status means that the backend is well.
    #[must_use]
    pub fn expects(&self, status: u16) -> bool {
        (200..400).contains(&status)
    }
}

/// Reads a path to probe.
///
/// # Errors
/// Says what is allowed when the text is no path of RFC 9112 section 3.2.1.
pub fn parse_probe_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        let suggestion = match text.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
            None => text,
        };
        return Err(format!("a path begins with /: did you mean /{suggestion}?"));
    }
    let is_good = |octet| super::backend_url::is_path_octet(octet) || octet == b'?';
    if text.len() > super::backend_url::PREFIX_BYTES_MAX || !text.bytes().all(is_good) {
        return Err(
            "a path has only the characters of a path and a query; write others as %XX".into()
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for good in ["/", "/healthz", "/a/b?c=d&e", "/%20"] {
            assert_eq!(parse_probe_path(good).as_deref(), Ok(good));
        }
        for (bad, part) in [
            ("", "did you mean /?"),
            ("healthz", "did you mean /healthz?"),
            ("http://h/live", "did you mean /live?"),
            ("/a b", "%XX"),
            ("/a\r\nX: y", "%XX"),
            ("/#x", "%XX"),
        ] {
            let error = parse_probe_path(bad).expect_err(bad);
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn statuses() {
        let probe = ProbeConfig::new("/".into());
        for (status, good) in [(199, false), (200, true), (204, true), (399, true), (400, false)] {
            assert_eq!(probe.expects(status), good, "{status}");
        }
    }
}
