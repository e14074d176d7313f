//! One backend: its name, addresses, TLS and certificate, an answer, and how long it keeps a
//! connection that nobody uses.
//!
//! The addresses of a name are tried side by side. What comes after the connection is looked at on
//! the first that is usable, for the traffic would take that one too. Invariant: what is said to
//! the backend is what the traffic would say.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::talk::{Answer, NoAnswer, Rest, Talk, Then};
use super::{Finding, Verdict, WAIT_MAX, show_short};
use crate::clock;
use crate::config::duration::show_duration;
use crate::config::health::ProbeConfig;
use crate::config::{Address, BackendConfig, Config, Host, Intake, Limits, Timeouts, Verify};
use crate::h1::fields::field_storage;
use crate::h1::forward::{BackendView, ClientFacts, OutboundHead, Trust};
use crate::h1::reply::Reason;
use crate::h1::request::parse_request;
use crate::h1::text::push_timestamp;
use crate::net::resolve::{Lookup, SystemLookup};
use crate::net::transport::{HandshakeError, Security, TlsFacts};
use crate::server::backends::Backend;
use crate::server::upstreams::rest_time;

/// The most addresses of a name that are tried.
const ADDRESSES_COUNT_MAX: usize = 16;

/// A certificate that ends sooner is worth a warning.
const DAYS_LEFT_MIN: u64 = 21;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// What is asked for, and how long anything is waited for.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    timeouts: &'a Timeouts,
    limits: &'a Limits,
    probe: Option<&'a ProbeConfig>,
}

impl<'a> Patience<'a> {
    /// As the configuration has it.
    pub(super) fn new(config: &'a Config) -> Self {
        let probe = config.health.probe.as_ref();
        Self { timeouts: &config.timeouts, limits: &config.limits, probe }
    }

    fn connect(&self) -> Duration {
        self.timeouts.connect.min(WAIT_MAX)
    }

    fn handshake(&self) -> Duration {
        self.timeouts.handshake.min(WAIT_MAX)
    }

    fn answer(&self) -> Duration {
        let timeout = self.probe.map_or(self.timeouts.response_head, |probe| probe.timeout);
        timeout.min(WAIT_MAX)
    }

    fn path(&self) -> &str {
        self.probe.map_or("/", |probe| &probe.path)
    }
}

/// How a backend is called in findings: its URL, without what is said besides.
pub(super) fn subject_of(config: &BackendConfig) -> String {
    let whole = config.to_string();
    whole.split(',').next().unwrap_or_default().to_owned()
}

/// Looks at a backend, and takes its time.
pub(super) fn look_at(
    config: &BackendConfig,
    backend: &Backend,
    patience: &Patience<'_>,
) -> Vec<Finding> {
    let mut look = Look { config, backend, patience, subject: subject_of(config), found: vec![] };
    if let Some(addresses) = look.addresses() {
        let reached = look.reach(&addresses);
        if let Some((address, talk)) = look.judge_reached(reached) {
            look.converse(&address, talk);
        }
    }
    if config.intake == Intake::Drained {
        // Nothing is sent there, so nothing fails.
        for finding in &mut look.found {
            finding.verdict = finding.verdict.min(Verdict::Warn);
        }
    }
    look.found
}

/// A connection on which nothing was said yet, and how long it took to get there.
struct Reached {
    talk: Talk,
    connect: Duration,
    handshake: Duration,
}

/// Why an address cannot be used.
enum Unreachable {
    /// There is no connection.
    Connect(io::Error),
    /// There is one, after so long, but TLS failed.
    Handshake(Duration, HandshakeError),
}

type Attempt = (Address, Result<Reached, Unreachable>);

/// A backend that is being looked at.
struct Look<'a> {
    config: &'a BackendConfig,
    backend: &'a Backend,
    patience: &'a Patience<'a>,
    subject: String,
    found: Vec<Finding>,
}

impl Look<'_> {
    fn add(&mut self, verdict: Verdict, check: &'static str, text: impl Into<String>) {
        self.found.push(Finding::new(verdict, &self.subject, check, text));
    }

    /// Says what to do about the finding that was added last.
    fn advise(&mut self, advice: impl Into<String>) {
        if let Some(finding) = self.found.last_mut() {
            finding.advice = Some(advice.into());
        }
    }

    /// Where it is.
    fn addresses(&mut self) -> Option<Vec<Address>> {
        let name = match &self.config.host {
            Host::Address(address) => {
                return Some(vec![SocketAddr::new(*address, self.config.port).into()]);
            }
            Host::Unix(path) => return Some(vec![Address::Unix(path.clone())]),
            Host::Name(name) => name,
        };
        let wait = self.patience.connect();
        let began = clock::now().instant;
        match look_up(name.clone(), self.config.port, wait) {
            Some(Ok(mut addresses)) => {
                let after = show_short(clock::now().instant - began);
                let words: Vec<String> =
                    addresses.iter().map(|address| address.ip().to_string()).collect();
                self.add(Verdict::Ok, "name", format!("{} after {after}", words.join(", ")));
                addresses.truncate(ADDRESSES_COUNT_MAX);
                Some(addresses.into_iter().map(Address::Ip).collect())
            }
            Some(Err(error)) => {
                self.add(Verdict::Fail, "name", format!("does not resolve: {error}"));
                self.advise("correct it, or look at /etc/hosts and the name servers");
                None
            }
            None => {
                let wait = show_duration(wait);
                self.add(Verdict::Fail, "name", format!("nobody has resolved it within {wait}"));
                self.advise("look at the name servers (/etc/resolv.conf)");
                None
            }
        }
    }

    /// Tries all addresses side by side.
    fn reach(&self, addresses: &[Address]) -> Vec<Attempt> {
        let security = &self.backend.security;
        let lost = || Unreachable::Connect(io::Error::other("the attempt broke off"));
        thread::scope(|scope| {
            let threads: Vec<_> = addresses
                .iter()
                .map(|address| {
                    let reach = || reach(address, security, self.patience);
                    (address.clone(), thread::Builder::new().spawn_scoped(scope, reach))
                })
                .collect();
            let joined = threads.into_iter().map(|(address, thread)| match thread {
                Ok(thread) => (address, thread.join().unwrap_or_else(|_| Err(lost()))),
                Err(error) => (address, Err(Unreachable::Connect(error))),
            });
            joined.collect()
        })
    }

    /// Tells which addresses are usable, and goes on with the first of them. Where one is, another
    /// that is not costs only time.
    fn judge_reached(&mut self, attempts: Vec<Attempt>) -> Option<(Address, Reached)> {
        let is_one_usable = attempts.iter().any(|(_, outcome)| outcome.is_ok());
        let bad = if is_one_usable { Verdict::Warn } else { Verdict::Fail };
        let mut first = None;
        for (address, outcome) in attempts {
            let accepts =
                |after: &Duration| format!("{address} accepts after {}", show_short(*after));
            match outcome {
                Ok(reached) => {
                    self.add(Verdict::Ok, "connect", accepts(&reached.connect));
                    first.get_or_insert((address, reached));
                }
                Err(Unreachable::Connect(error)) => {
                    let (text, advice) = self.explain_connect(&error);
                    self.add(bad, "connect", format!("{address} {text}"));
                    self.advise(advice);
                }
                Err(Unreachable::Handshake(after, error)) => {
                    self.add(Verdict::Ok, "connect", accepts(&after));
                    let (check, advice) = explain_handshake(&error);
                    self.add(bad, check, format!("{address}: {}", error.text));
                    self.advise(advice);
                }
            }
        }
        first
    }

    fn explain_connect(&self, error: &io::Error) -> (String, &'static str) {
        let is_unix = matches!(self.config.host, Host::Unix(_));
        match error.kind() {
            io::ErrorKind::ConnectionRefused if is_unix => {
                ("refuses".into(), "start it, or correct the path, or give it a longer queue")
            }
            io::ErrorKind::NotFound if is_unix => {
                ("is not there".into(), "start it, or correct the path")
            }
            io::ErrorKind::PermissionDenied if is_unix => (
                "may not be connected to".into(),
                "let us write to it: see the mode of the socket and of its folder",
            ),
            io::ErrorKind::ConnectionRefused => {
                ("refuses".into(), "start it, or correct the address and the port")
            }
            io::ErrorKind::TimedOut => {
                let wait = show_duration(self.patience.connect());
                (format!("does not answer within {wait}"), "see whether it runs, and the firewalls")
            }
            _ => (format!("cannot be reached: {error}"), "see whether it runs, and the routes"),
        }
    }

    /// Everything that needs a connection.
    fn converse(&mut self, address: &Address, reached: Reached) {
        let Reached { mut talk, handshake, .. } = reached;
        if let Some(facts) = talk.tls_facts(&self.backend.security) {
            let after = show_short(handshake);
            self.add(Verdict::Ok, "tls", format!("{} with {address} after {after}", facts.version));
            self.judge_certificate(facts);
        }
        let Some(request) = request(self.patience.path(), self.backend.view()) else {
            return self.add(Verdict::Fail, "answer", "there is no request for this path");
        };
        let wait = self.patience.answer();
        match talk.ask(&request, self.patience.limits, wait) {
            Ok(answer) => {
                self.judge_answer(&answer);
                self.judge_rest(&mut talk, answer.then);
            }
            Err(failure) => {
                let (text, advice) = self.explain_no_answer(&failure, wait);
                self.add(Verdict::Fail, "answer", text);
                self.advise(advice);
            }
        }
    }

    fn judge_certificate(&mut self, facts: TlsFacts) {
        if self.config.tls.verify == Verify::Nothing {
            self.add(Verdict::Warn, "certificate", "is not checked");
            return self.advise("anybody in between can read and change all: name its ca instead");
        }
        let Some(until) = facts.valid_until else {
            return self.add(Verdict::Ok, "certificate", "is good");
        };
        let days = until.saturating_sub(clock::now().unix_ms / 1000) / SECONDS_PER_DAY;
        let host = &self.config.host;
        let text = format!("is for {host} and good until {}, {days} days", show_day(until));
        if days < DAYS_LEFT_MIN {
            self.add(Verdict::Warn, "certificate", text);
            return self.advise("renew it");
        }
        self.add(Verdict::Ok, "certificate", text);
    }

    /// What was asked for, as it stands in findings.
    fn question(&self) -> String {
        format!("GET {}{}", self.config.prefix, self.patience.path())
    }

    fn judge_answer(&mut self, answer: &Answer) {
        let status = answer.status;
        let text = format!("{status} to {} after {}", self.question(), show_short(answer.after));
        match self.patience.probe {
            Some(probe) if !probe.expects(status) => {
                self.add(Verdict::Fail, "answer", text);
                self.advise("--health needs 200 to 399: correct the path, or the backend");
            }
            None if status >= 500 => {
                self.add(Verdict::Fail, "answer", text);
                let host = self.config.own_host();
                self.advise(format!("see its own log, and whether it knows the host {host}"));
            }
            None if status >= 400 => {
                self.add(Verdict::Warn, "answer", text);
                self.advise("if it has another path for this, name that with --health");
            }
            Some(_) | None => self.add(Verdict::Ok, "answer", text),
        }
    }

    fn explain_no_answer(&self, failure: &NoAnswer, wait: Duration) -> (String, &'static str) {
        let question = self.question();
        let is_tls = !matches!(self.backend.security, Security::Plain);
        match failure {
            NoAnswer::Timeout => {
                let wait = show_duration(wait);
                (format!("none to {question} within {wait}"), "see what keeps it busy")
            }
            NoAnswer::Closed if is_tls && self.config.tls.identity.is_none() => (
                format!("none to {question}: it closed the connection"),
                "if it wants to see a certificate of ours, name cert and key in a file",
            ),
            NoAnswer::Closed => {
                (format!("none to {question}: it closed the connection"), "see its own log")
            }
            NoAnswer::Bad(reason) => (
                format!("none that is HTTP/1.1 to {question} ({})", reason.word()),
                if is_tls { "see what speaks at this port" } else { "if it is TLS, say https://" },
            ),
        }
    }

    /// Compares how long the backend keeps a connection with how long we would.
    fn judge_rest(&mut self, talk: &mut Talk, then: Then) {
        let announced = match then {
            Then::Persists(announced) => announced,
            Then::Ends => {
                self.add(Verdict::Warn, "idle", "it ends the connection with each answer");
                return self.advise("let it keep connections: each request costs one now");
            }
            Then::Spoiled => {
                self.add(Verdict::Warn, "idle", "octets come behind its answer");
                return self.advise("correct it: each request costs a connection now");
            }
            Then::Unknown => {
                self.add(Verdict::Ok, "idle", "its answer is too long to see what follows");
                return self.advise("--health with a path that has a short one shows it");
            }
        };
        let used = rest_time(announced, self.patience.timeouts.pool_idle);
        let said = announced.map_or_else(String::new, |announced| {
            format!(", as it says for {} (Keep-Alive)", show_duration(announced))
        });
        if used.is_zero() {
            self.add(Verdict::Warn, "idle", "it keeps a connection too short a time to be of use");
            return self.advise("let it keep them longer: each request costs one now");
        }
        let wait = used.min(WAIT_MAX);
        match talk.rest(wait) {
            Rest::Kept => {
                let wait = show_duration(wait);
                let text = format!("a connection is kept for at least {wait}{said}");
                self.add(Verdict::Ok, "idle", text);
            }
            Rest::Ended(after) | Rest::Spoke(after) => {
                let (ours, after_words) = (show_duration(used), show_short(after));
                let text = format!("a connection is kept for {after_words}, and by us for {ours}");
                self.add(Verdict::Warn, "idle", text);
                let less = show_duration(somewhat_less(after));
                self.advise(format!("--pool-timeout {less}, or let it keep them longer"));
            }
        }
    }
}

/// Asks for a name on a thread of its own, which may take longer than anybody wants to wait.
fn look_up(name: String, port: u16, wait: Duration) -> Option<io::Result<Vec<SocketAddr>>> {
    let (sender, answer) = mpsc::channel();
    let ask = move || {
        // Nobody may want to know any more.
        let _ = sender.send(SystemLookup.lookup(&name, port));
    };
    match thread::Builder::new().spawn(ask) {
        Ok(_) => answer.recv_timeout(wait).ok(),
        Err(error) => Some(Err(error)),
    }
}

/// Makes a connection that can be used.
fn reach(
    address: &Address,
    security: &Security,
    patience: &Patience<'_>,
) -> Result<Reached, Unreachable> {
    let began = clock::now().instant;
    let mut talk =
        Talk::connect(address, security, patience.connect()).map_err(Unreachable::Connect)?;
    let connected = clock::now().instant;
    let connect = connected - began;
    match talk.shake_hands(patience.handshake()) {
        Ok(()) => Ok(Reached { talk, connect, handshake: clock::now().instant - connected }),
        Err(error) => Err(Unreachable::Handshake(connect, error)),
    }
}

/// What fails in a handshake, in a word, and what to do about it.
const REMEDIES: &[(Reason, &str, &str)] = &[
    (Reason::TlsExpiredCertificate, "certificate", "renew it, and see whether the clocks agree"),
    (
        Reason::TlsWrongName,
        "certificate",
        "call the backend by a name that it has, or let it have this one",
    ),
    (
        Reason::TlsUntrustedCertificate,
        "certificate",
        "name who vouches for it with --ca, or with ca in a file",
    ),
    (Reason::TlsBadCertificate, "certificate", "replace it"),
    (Reason::TlsHandshakeTimeout, "tls", "see whether it speaks TLS at this port"),
];

fn explain_handshake(error: &HandshakeError) -> (&'static str, &'static str) {
    match REMEDIES.iter().find(|(reason, ..)| *reason == error.reason) {
        Some((_, check, advice)) => (check, advice),
        None => ("tls", "see whether it speaks TLS 1.2 or 1.3 at this port; if not, say http://"),
    }
}

/// The request of a client for this path, as the backend gets it.
fn request(path: &str, backend: BackendView<'_>) -> Option<Vec<u8>> {
    let host = String::from_utf8_lossy(backend.authority);
    let wire = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: roundel-doctor\r\n\r\n");
    let mut storage = field_storage();
    let head = parse_request(wire.as_bytes(), &mut storage, &Limits::default()).ok()?;
    let address = Some(Ipv4Addr::LOCALHOST.into());
    let fresh_id = u128::from(clock::now().unix_ms);
    let facts = ClientFacts { address, proto: "http", trust: Trust::None, fresh_id };
    let mut outbound = OutboundHead::default();
    outbound.fill(&head, facts);
    let mut octets = Vec::new();
    outbound.write_for(&mut octets, backend);
    Some(octets)
}

/// A timeout that ends before another one, which was measured.
fn somewhat_less(measured: Duration) -> Duration {
    let seconds = measured.as_secs_f64().round();
    match seconds {
        2.0.. => Duration::from_secs_f64(seconds - 1.0),
        _ => Duration::from_millis(u64::try_from(measured.as_millis() / 2).unwrap_or(1).max(1)),
    }
}

/// The day of a time in seconds since 1970.
fn show_day(seconds: u64) -> String {
    let mut octets = Vec::new();
    push_timestamp(&mut octets, seconds.saturating_mul(1000));
    octets.truncate("2026-11-23".len());
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::backend_url::parse_backend;

    #[test]
    fn a_backend_is_asked_as_clients_would_ask_it() {
        let backend = BackendView { prefix: b"/app", authority: b"a.example", sees_itself: true };
        let octets = request("/up?x", backend).expect("a request");
        let text = String::from_utf8(octets).expect("ASCII");
        assert!(text.starts_with("GET /app/up?x HTTP/1.1\r\nHost: a.example\r\n"), "{text}");
        assert!(text.contains("\r\nVia: 1.1 roundel\r\n"), "{text}");
        assert!(text.contains("\r\nUser-Agent: roundel-doctor\r\n"), "{text}");
        assert!(!text.contains("Connection"), "the connection shall rest: {text}");
    }

    #[test]
    fn a_subject_is_the_url_alone() {
        let config = parse_backend("https://A.example/app,weight=3,drain").expect("a backend");
        assert_eq!(subject_of(&config), "https://A.example/app");
    }

    #[test]
    fn a_timeout_is_proposed_that_ends_before_the_measured_one() {
        for (ms, want) in [(5003, "4s"), (4998, "4s"), (1990, "1s"), (1004, "502ms"), (0, "1ms")] {
            assert_eq!(show_duration(somewhat_less(Duration::from_millis(ms))), want, "{ms}");
        }
    }

    /// One of several addresses that is not usable costs only time; none that is fails.
    #[test]
    fn addresses_of_a_name_stand_in_for_each_other() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("an address");
        // Bound, so that nobody else has it, and not listening.
        let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let closed = closed.expect("a socket");
        closed.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        let closed = closed.local_addr().ok().and_then(|at| at.as_socket()).expect("an address");
        let config = parse_backend("http://a.example").expect("a backend");
        let backend = Backend::new(&config, Security::Plain);
        let (timeouts, limits) = (Timeouts::default(), Limits::default());
        let patience = Patience { timeouts: &timeouts, limits: &limits, probe: None };
        let (ok, warn, fail) = (Verdict::Ok, Verdict::Warn, Verdict::Fail);
        for (addresses, verdicts, used) in [
            ([closed, open], [warn, ok], Some(open)),
            ([open, closed], [ok, warn], Some(open)),
            ([closed, closed], [fail, fail], None),
        ] {
            let subject = subject_of(&config);
            let (config, backend, patience) = (&config, &backend, &patience);
            let mut look = Look { config, backend, patience, subject, found: vec![] };
            let reached = look.reach(&addresses.map(Address::Ip));
            let first = look.judge_reached(reached).map(|(address, _)| address);
            let found: Vec<Verdict> = look.found.iter().map(|finding| finding.verdict).collect();
            assert_eq!(
                (found.as_slice(), first),
                (&verdicts[..], used.map(Address::Ip)),
                "{:?}",
                look.found
            );
        }
    }
}
