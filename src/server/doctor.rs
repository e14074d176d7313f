//! Goes and looks whether traffic would get through, and tells what it found, one line each.
//!
//! Everything is tried as the traffic would try it: the same TLS, the same heads, the same limits.
//! The machine is looked at first (`machine.rs`), then all backends at a time (`backend.rs`, each
//! connection of which is a `talk.rs`). It blocks and has threads of its own, so it is for a
//! process that does nothing else.
//!
//! Invariant: every wait is bounded, by the timeouts of the configuration and by [`WAIT_MAX`], so
//! it ends in seconds whatever the peers do.

mod backend;
mod machine;
mod talk;

use std::fmt;
use std::thread;
use std::time::Duration;

use super::backends::Backend;
use super::secured::secured;
use super::{RunError, configured, descriptors_possible};
use crate::config::{BackendConfig, Config};
use backend::{Patience, look_at};

/// The longest that anything is waited for: a name, a connection, an answer, the end of silence.
pub const WAIT_MAX: Duration = Duration::from_secs(10);

/// Descriptors for each backend that is looked at: what one with one address needs, and one more. Names with many
/// addresses need more, for which the other half of the descriptors is left.
const DESCRIPTORS_PER_BACKEND: u64 = 4;

/// The most backends that are looked at side by side.
const SIDE_BY_SIDE_MAX: usize = 1024;

/// What a finding means for the traffic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// Traffic gets through, but not as well as it could, or not for long.
    Warn,
    /// Some traffic would fail.
    Fail,
}

impl Verdict {
    /// The word with which a line begins.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at. Shown, it is one line: `SUBJECT CHECK: WHAT; WHAT TO DO`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it means.
    pub verdict: Verdict,
    /// An address, the URL of a backend, or `machine`.
    pub subject: String,
    /// What was looked at, in a word that stays the same.
    pub check: &'static str,
    /// What there is.
    pub text: String,
    /// What to do about it; nothing where nothing has to be done.
    pub advice: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, subject: &str, check: &'static str, text: impl Into<String>) -> Self {
        Self { verdict, subject: subject.to_owned(), check, text: text.into(), advice: None }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, check, text, advice, .. } = self;
        let line = match advice {
            None => format!("{subject} {check}: {text}"),
            Some(advice) => format!("{subject} {check}: {text}; {advice}"),
        };
        // Some of it are words of peers: they do not get to write lines of their own.
        f.write_str(&line.replace(char::is_control, "?"))
    }
}

/// Looks at everything that this configuration needs and tells each finding, the machine's first
/// and then those of the backends in their order.
///
/// # Errors
/// When it cannot even begin, as [`super::run`] says it.
pub fn examine(config: &Config, tell: &mut dyn FnMut(&Finding)) -> Result<(), RunError> {
    let descriptors = descriptors_possible()?;
    let mut demos = None;
    let configs = configured(config, &mut demos)?;
    let backends = secured(&configs, config.ca_pem.as_deref())?;
    machine::ports(config).iter().for_each(&mut *tell);
    machine::access_log(config).iter().for_each(&mut *tell);
    machine::limits(config, descriptors).iter().for_each(&mut *tell);
    let patience = Patience::new(config);
    let all: Vec<(&BackendConfig, &Backend)> =
        configs.iter().zip(backends.iter().map(|(backend, _)| backend)).collect();
    for some in all.chunks(side_by_side(descriptors)) {
        look_at_some(some, &patience, tell);
    }
    Ok(())
}

/// Looks at backends side by side, and tells in their order.
fn look_at_some(
    some: &[(&BackendConfig, &Backend)],
    patience: &Patience<'_>,
    tell: &mut dyn FnMut(&Finding),
) {
    thread::scope(|scope| {
        let threads: Vec<_> = some
            .iter()
            .map(|(config, backend)| {
                let look = || look_at(config, backend, patience);
                thread::Builder::new().spawn_scoped(scope, look).map_err(|e| e.to_string())
            })
            .collect();
        for ((config, _), thread) in some.iter().zip(threads) {
            let findings =
                thread.and_then(|thread| thread.join().map_err(|_| "it broke off".to_owned()));
            match findings {
                Ok(findings) => findings.iter().for_each(&mut *tell),
                Err(error) => {
                    let text = format!("nobody could look at it: {error}");
                    let subject = backend::subject_of(config);
                    tell(&Finding::new(Verdict::Fail, &subject, "connect", text));
                }
            }
        }
    });
}

/// How many backends the descriptors allow to be looked at side by side.
fn side_by_side(descriptors: u64) -> usize {
    let possible = usize::try_from(descriptors / 2 / DESCRIPTORS_PER_BACKEND).unwrap_or(1);
    possible.clamp(1, SIDE_BY_SIDE_MAX)
}

/// A time that something took, with the digits that matter.
fn show_short(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        ..1.0 => format!("{ms:.2}ms"),
        1.0..10.0 => format!("{ms:.1}ms"),
        10.0..1000.0 => format!("{ms:.0}ms"),
        _ => format!("{:.1}s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_a_peer_says() {
        let finding = Finding::new(Verdict::Fail, "http://a", "answer", "it said \r\nok   \x1b[1m");
        assert_eq!(finding.to_string(), "http://a answer: it said ??ok   ?[1m");
        let finding = Finding::new(Verdict::Warn, "http://a", "idle", "short").advise("do it");
        assert_eq!(finding.to_string(), "http://a idle: short; do it");
    }

    #[test]
    fn times_have_the_digits_that_matter() {
        for (us, want) in [
            (40, "0.04ms"),
            (1_240, "1.2ms"),
            (12_400, "12ms"),
            (999_000, "999ms"),
            (1_040_000, "1.0s"),
        ] {
            assert_eq!(show_short(Duration::from_micros(us)), want);
        }
    }

    #[test]
    fn backends_share_the_descriptors() {
        assert_eq!([8, 1024, u64::MAX].map(side_by_side), [1, 128, SIDE_BY_SIDE_MAX]);
    }
}
