//! What the operator says, on the command line and in a file: one table of options drives both, and
//! the help.
//!
//! Arguments become a [`Config`], or what is wrong with which of them, all at once. Files that are
//! named are read here, so that everything an operator can get wrong is told with its place: the
//! configuration file (`file.rs`, as TOML by `toml.rs`; faults shown by `caret.rs`), and certificates.
//! The man page and the completions for shells come from the same table (`generate.rs`).
//! Knows nothing of what is done with it all. Invariant: nothing is printed here and nothing is kept, so
//! that everything can be read again while it runs.

mod caret;
mod file;
mod generate;
mod options;
mod toml;

use std::ffi::OsString;
use std::fmt;

use crate::config::backend_url::parse_backend;
use crate::config::health::{HealthConfig, ProbeConfig};
use crate::config::nearest::nearest;
use crate::config::{
    BackendConfig, Backends, Config, DEFAULT_LISTEN, Intake, LogConfig, LogDestination, LogFormat,
    Setting, Timeouts,
};
use caret::{Fault, Span};
use file::Origin;
use options::{Command, Draft, Errand, HealthDraft, OPTIONS, Opt, Set, parse_listen};

/// The word in front of the backends that asks for a look at all of them instead of traffic.
pub const DOCTOR: &str = "doctor";

/// What the arguments ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// To run.
    Run(Box<Config>),
    /// To say what would run.
    Check(Box<Config>),
    /// To look whether traffic would get through.
    Doctor(Box<Config>),
    /// To print this text and be done.
    Print(String),
}

/// All options in force that have a value.
fn settings(draft: &Draft) -> Vec<Setting> {
    let nothing_said = Draft::default();
    let setting = |option: &Opt| {
        let (value, default) = ((option.shown)(draft)?, (option.shown)(&nothing_said));
        Some(Setting { name: option.long, value, default })
    };
    // Where clients are awaited is a list, and told as one.
    OPTIONS.iter().filter(|option| option.long != "listen").filter_map(setting).collect()
}

/// Something that is wrong with what was said. Shown, it is what belongs on the standard error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Complaint {
    /// With the arguments: one line that says what would be right, or three where no backend is named.
    Arguments(String),
    /// With the file: its place, the line, and a caret below it.
    File(String),
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(text) => write!(f, "roundel: {text}"),
            Self::File(text) => f.write_str(text),
        }
    }
}

/// Reads the arguments, without the name of the program, and the files that they name. The same
/// arguments can be read again later, when the files may say something else.
///
/// # Errors
/// Everything that is wrong: first with the file, in its order, then with the arguments.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, Vec<Complaint>> {
    let mut errand = Errand::default();
    let line = match Line::read(arguments, &mut errand) {
        Ok(line) => line,
        Err(said) => return Err(vec![Complaint::Arguments(said)]),
    };
    if let Some(text) = errand.print {
        return Ok(Request::Print(text));
    }
    let mut draft = Draft { file: errand.file.clone(), ..Draft::default() };
    let mut findings = Findings::default();
    if let Some(path) = &errand.file {
        match file::apply(path, &mut draft) {
            Ok((origin, faults)) => (findings.file, findings.faults) = (Some(origin), faults),
            Err(said) => {
                findings.lines.push(format!("option --config \"{}\": {said}", path.display()));
            }
        }
    }
    line.apply(&mut draft, &mut findings);
    if errand.check && errand.command == Command::Doctor {
        findings.lines.push("--check looks at nothing: leave it out, or doctor".into());
    }
    let settings = settings(&draft);
    let config = finish(draft, settings, &mut findings);
    match config {
        Some(config) if findings.is_empty() && errand.check => Ok(Request::Check(Box::new(config))),
        Some(config) if findings.is_empty() => match errand.command {
            Command::Run => Ok(Request::Run(Box::new(config))),
            Command::Doctor => Ok(Request::Doctor(Box::new(config))),
        },
        Some(_) | None => Err(findings.complaints()),
    }
}

/// What is wrong, by where it was said.
#[derive(Default)]
struct Findings {
    file: Option<Origin>,
    faults: Vec<Fault>,
    lines: Vec<String>,
}

impl Findings {
    fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.lines.is_empty()
    }

    /// Something is wrong with this key: said where the file has it, or else of the command line.
    fn note(&mut self, keys: &[&str], line: &str, in_file: impl Fn(&str, Span) -> Fault) {
        let places = keys.iter().filter_map(|key| {
            let place = self.file.as_ref()?.place_of(key)?;
            Some(in_file(key, place))
        });
        let faults: Vec<Fault> = places.collect();
        if faults.is_empty() {
            self.lines.push(line.to_owned());
        }
        self.faults.extend(faults);
    }

    fn complaints(mut self) -> Vec<Complaint> {
        self.faults.sort_by_key(|fault| fault.span.start);
        let render = |origin: &Origin| -> Vec<Complaint> {
            let shown = |fault| caret::render(&origin.name, &origin.text, fault);
            self.faults.iter().map(|fault| Complaint::File(shown(fault))).collect()
        };
        let mut all = self.file.as_ref().map(render).unwrap_or_default();
        all.extend(self.lines.into_iter().map(Complaint::Arguments));
        all
    }
}

/// What stands on the command line, in its order.
#[derive(Default)]
struct Line {
    options: Vec<(&'static Opt, String)>,
    backends: Vec<String>,
}

impl Line {
    /// Takes the arguments apart. What is for the command line alone goes into the errand.
    fn read(
        arguments: impl IntoIterator<Item = OsString>,
        errand: &mut Errand,
    ) -> Result<Self, String> {
        let mut line = Self::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(|e| explain(&e))? {
            let option = match argument {
                lexopt::Arg::Value(text) => {
                    let text = utf8(text)?;
                    let is_first = line.backends.is_empty() && errand.command == Command::Run;
                    if text == DOCTOR && is_first {
                        errand.command = Command::Doctor;
                    } else {
                        line.backends.push(text);
                    }
                    continue;
                }
                lexopt::Arg::Long(long) => OPTIONS
                    .iter()
                    .find(|option| option.long == long)
                    .ok_or_else(|| unknown_option(&format!("--{long}"), long))?,
                lexopt::Arg::Short(short) => OPTIONS
                    .iter()
                    .find(|option| option.short == Some(short))
                    .ok_or_else(|| unknown_option(&format!("-{short}"), ""))?,
            };
            let text = match option.value {
                Some(value) => value_of(option.long, value, &mut parser)?,
                None => String::new(),
            };
            match option.set {
                Set::Line(set) => set(errand, &text)
                    .map_err(|said| format!("option --{} {text:?}: {said}", option.long))?,
                Set::Once(_) | Set::Many { .. } => line.options.push((option, text)),
            }
            if errand.print.is_some() {
                break;
            }
        }
        Ok(line)
    }

    /// Writes over what the file has said.
    fn apply(&self, draft: &mut Draft, findings: &mut Findings) {
        let is_said = |long| self.options.iter().any(|(option, _)| option.long == long);
        if !self.backends.is_empty() || is_said("demo") {
            draft.backends.clear();
            draft.demo = false;
        }
        for option in OPTIONS.iter().filter(|option| is_said(option.long)) {
            if let Set::Many { clear, .. } = option.set {
                clear(draft);
            }
            if let (Some(origin), Some(key)) = (&mut findings.file, option.key()) {
                origin.places.retain(|(place, _)| *place != key);
            }
        }
        for (option, text) in &self.options {
            let outcome = match option.set {
                Set::Once(set) | Set::Many { add: set, .. } => set(draft, text),
                Set::Line(_) => Ok(()),
            };
            if let Err(said) = outcome {
                let value =
                    if option.value.is_some() { format!(" {text:?}") } else { String::new() };
                findings.lines.push(format!("option --{}{value}: {said}", option.long));
            }
        }
        for text in &self.backends {
            match parse_backend(text) {
                Ok(backend) => draft.backends.push(backend),
                Err(said) => {
                    let said = match nearest(text, [DOCTOR]) {
                        Some(command) => format!("did you mean the command {command}?"),
                        None => said,
                    };
                    findings.lines.push(format!("backend {text:?}: {said}"));
                }
            }
        }
    }
}

fn value_of(long: &str, value: &str, parser: &mut lexopt::Parser) -> Result<String, String> {
    let text =
        parser.value().map_err(|_| format!("option --{long} needs a value: --{long} {value}"))?;
    utf8(text)
}

/// Makes a configuration of a draft, where that makes sense as a whole.
fn finish(draft: Draft, settings: Vec<Setting>, findings: &mut Findings) -> Option<Config> {
    let health = health(draft.health, findings);
    let backends = backends(draft.demo, draft.backends, findings);
    let listen = if draft.listen.is_empty() {
        vec![parse_listen(DEFAULT_LISTEN).ok()?]
    } else {
        draft.listen
    };
    let access_log = access_log(draft.access_log, draft.access_log_format, findings);
    let timeouts = Timeouts {
        response_head: draft.response_head.unwrap_or(draft.timeouts.silence),
        handshake: draft.handshake.unwrap_or(draft.timeouts.connect),
        ..draft.timeouts
    };
    Some(Config {
        listen,
        backends: backends?,
        balance: draft.balance,
        ca_pem: draft.ca_pem,
        trust: draft.trust,
        timeouts,
        limits: draft.limits,
        health,
        access_log,
        admin: draft.admin,
        server_timing: draft.server_timing,
        file: draft.file,
        log_level: draft.log_level,
        settings,
    })
}

fn backends(
    demo: bool,
    configured: Vec<BackendConfig>,
    findings: &mut Findings,
) -> Option<Backends> {
    match (demo, configured.is_empty()) {
        (true, true) => Some(Backends::Demo),
        (true, false) => {
            let text = "--demo brings its own backends: name none beside it";
            findings.note(&["demo"], text, |_, span| {
                Fault::new(span, "demo brings its own backends").hint("name none beside it")
            });
            None
        }
        (false, false) if configured.iter().all(|one| one.intake == Intake::Drained) => {
            let text = "every backend is drained: nobody is left who takes requests";
            findings.note(&["drain"], text, |_, span| {
                Fault::new(span, "every backend is drained").hint("nobody is left for requests")
            });
            None
        }
        (false, false) => Some(Backends::Configured(configured)),
        (false, true) => {
            no_backend(findings);
            None
        }
    }
}

/// Not told where a backend is named of which something else is wrong.
fn no_backend(findings: &mut Findings) {
    match &findings.file {
        Some(origin) if !origin.has_backends => {
            let fault = Fault::new(Span { start: 0, end: 0 }, "there is no backend in this file");
            findings
                .faults
                .push(fault.hint("add [[backend]], and below it url = \"http://127.0.0.1:3001\""));
        }
        Some(_) => {}
        None if findings.is_empty() => findings.lines.push(
            "no backend: name one or more, or try the built-in ones\n  \
             roundel http://127.0.0.1:3001 http://127.0.0.1:3002\n  \
             roundel --demo"
                .into(),
        ),
        None => {}
    }
}

/// A format is of something.
fn access_log(
    destination: Option<LogDestination>,
    format: Option<LogFormat>,
    findings: &mut Findings,
) -> Option<LogConfig> {
    let text = "--access-log-format needs --access-log DEST";
    if destination.is_none() && format.is_some() {
        findings.note(&["access_log_format"], text, |key, span| {
            let fault = Fault::new(span, format!("\"{key}\" needs \"access_log\" beside it"));
            fault.hint("add access_log = \"-\", or the name of a file")
        });
    }
    Some(LogConfig { destination: destination?, format: format.unwrap_or_default() })
}

/// What was said of probes makes sense only together.
fn health(draft: HealthDraft, findings: &mut Findings) -> HealthConfig {
    let probe = match draft.path {
        Some(path) => {
            let mut probe = ProbeConfig::new(path);
            probe.interval = draft.interval.unwrap_or(probe.interval);
            probe.timeout = draft.timeout.unwrap_or(probe.timeout);
            Some(probe)
        }
        None => {
            let text = "--health-interval and --health-timeout need --health PATH";
            if draft.interval.is_some() || draft.timeout.is_some() {
                findings.note(&["health_interval", "health_timeout"], text, |key, span| {
                    let fault = Fault::new(span, format!("\"{key}\" needs \"health\" beside it"));
                    fault.hint("add health = \"/\", or another path")
                });
            }
            None
        }
    };
    HealthConfig { probe, ..HealthConfig::default() }
}

fn utf8(text: OsString) -> Result<String, String> {
    text.into_string().map_err(|text| format!("\"{}\" is not UTF-8", text.to_string_lossy()))
}

fn explain(error: &lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("option {option} takes no value: \"{}\" is too much", value.to_string_lossy())
        }
        other => other.to_string(),
    }
}

fn unknown_option(shown: &str, long: &str) -> String {
    match nearest(long, OPTIONS.iter().map(|option| option.long)) {
        Some(near) => format!("unknown option {shown}: did you mean --{near}?"),
        None => format!("unknown option {shown}: roundel --help lists all"),
    }
}

fn help() -> String {
    let nothing_said = Draft::default();
    let mut text = String::from(
        "roundel: an HTTP load balancer and reverse proxy\n\n\
         Usage: roundel [OPTIONS] BACKEND...\n       roundel [OPTIONS] --config FILE\n       \
         roundel --demo\n       \
         roundel doctor [OPTIONS] BACKEND...|--config FILE\n\n\
         The doctor goes and looks whether traffic would get through, and says what to do about it.\n\
         BACKEND is http[s]://HOST[:PORT][/PREFIX], or unix:/PATH[:/PREFIX] for a socket. Behind it may follow\n\
         ,weight=N (N turns where others get one) ,max_conns=N ,host=client|backend|HOST ,backup ,drain\n\
         ,insecure. A FILE is TOML: options by their names, with _ for -, and [[backend]] tables.\n\n\
         Options:\n",
    );
    for option in OPTIONS {
        let short = option.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let value = option.value.map_or_else(String::new, |value| format!(" {value}"));
        let default = (option.shown)(&nothing_said)
            .map_or_else(String::new, |default| format!(" [{default}]"));
        let name = format!("{short}--{}{value}", option.long);
        text.push_str(&format!("  {name:<34} {}{default}\n", option.help));
    }
    text.push_str(
        "\nDurations have a unit: 250ms, 5s, 2m, 1h. Sizes too: 100B, 64KiB, 10MiB, 1GiB.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Address, LogDestination};
    use log::LevelFilter;
    use std::time::Duration;

    fn parse_line(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|complaints| {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            lines.join("\n").replace("roundel: ", "")
        })
    }

    fn config(line: &str) -> Config {
        match parse_line(line) {
            Ok(Request::Run(config)) => *config,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn lines_that_run() {
        let plain = config("http://127.0.0.1:3001");
        assert_eq!(plain.listen, [Address::Ip(([127, 0, 0, 1], 8000).into())]);
        assert_eq!(plain.timeouts, Timeouts::default());
        assert_eq!(plain.access_log, None);
        assert_eq!(config("--demo").backends, Backends::Demo);
        let all = config(
            "-l 127.0.0.1:1 --listen=[::1]:2 --head-timeout 1s --body-timeout 2s --idle-timeout 3s \
             --connect-timeout 4s --timeout 5s --drain-timeout 250ms --access-log - --log debug \
             --trust 10.0.0.0/8 --trust ::1 http://a https://b,weight=2",
        );
        assert_eq!(all.listen.len(), 2);
        assert_eq!(all.timeouts.head, Duration::from_secs(1));
        assert_eq!(all.timeouts.body, Duration::from_secs(2));
        assert_eq!(all.timeouts.idle, Duration::from_secs(3));
        assert_eq!(all.timeouts.connect, Duration::from_secs(4));
        assert_eq!(all.timeouts.silence, Duration::from_secs(5));
        assert_eq!(all.timeouts.drain, Duration::from_millis(250));
        assert_eq!(all.timeouts.response_head, Duration::from_secs(5), "follows --timeout");
        assert_eq!(all.timeouts.handshake, Duration::from_secs(4), "follows --connect-timeout");
        let log = LogConfig { destination: LogDestination::Stdout, format: LogFormat::Text };
        assert_eq!(all.access_log, Some(log));
        assert_eq!(all.log_level, LevelFilter::Debug);
        assert_eq!(all.trust.len(), 2);
        let Backends::Configured(backends) = all.backends else { panic!("two backends") };
        assert_eq!(backends.iter().map(|b| b.weight).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn limits_and_probes() {
        let all = config(
            "--max-body 1MiB --max-conns 100 --max-conns-per-backend 7 --queue-max 9 \
             --queue-timeout 1s --response-timeout 2s --timeout 3s --body-rate 1kB --health /up?x \
             --health-timeout 1s http://a",
        );
        assert_eq!(all.limits.request_body_bytes_max, Some(1 << 20));
        assert_eq!(all.limits.clients_count_max, Some(100));
        assert_eq!(all.limits.backend_connections_count_max, Some(7));
        assert_eq!(all.limits.queue_count_max, 9);
        assert_eq!(all.limits.body_bytes_per_second_min, 1000);
        assert_eq!(all.timeouts.queue, Duration::from_secs(1));
        assert_eq!(all.timeouts.response_head, Duration::from_secs(2));
        assert_eq!(all.timeouts.silence, Duration::from_secs(3));
        let probe = all.health.probe.expect("probes");
        assert_eq!((probe.path.as_str(), probe.timeout.as_secs()), ("/up?x", 1));
        assert_eq!(probe.interval, Duration::from_secs(5));
        assert_eq!(config("http://a").health.probe, None);
    }

    #[test]
    fn lines_that_do_not() {
        for (line, want) in [
            ("--lsten 1 http://a", "unknown option --lsten: did you mean --listen?"),
            ("--frobnicate http://a", "unknown option --frobnicate: roundel --help lists all"),
            ("-x http://a", "unknown option -x: roundel --help lists all"),
            ("http://a,drain", "every backend is drained: nobody is left who takes requests"),
            (
                "--balance random http://a",
                "option --balance \"random\": the policy is round-robin, there is no other: did you mean round-robin?",
            ),
            ("--listen", "option --listen needs a value: --listen ADDR"),
            ("--demo=yes", "option --demo takes no value: \"yes\" is too much"),
            ("--demo http://a", "--demo brings its own backends: name none beside it"),
            (
                "--listen 8000 http://a",
                "option --listen \"8000\": an address is IP:PORT, as in 127.0.0.1:8000 or [::1]:8000: did you mean 127.0.0.1:8000?",
            ),
            (
                "--timeout 5 http://a",
                "option --timeout \"5\": a duration needs a unit: did you mean 5s?",
            ),
            (
                "--log inof http://a",
                "option --log \"inof\": a level is one of off, error, warn, info, debug, trace: did you mean info?",
            ),
            (
                "--max-body 100 http://a",
                "option --max-body \"100\": a size needs a unit: did you mean 100B?",
            ),
            (
                "--max-conns 0 http://a",
                "option --max-conns \"0\": a number is a whole one from 1 to 536870912",
            ),
            (
                "--health healthz http://a",
                "option --health \"healthz\": a path begins with /: did you mean /healthz?",
            ),
            (
                "--health-interval 1s http://a",
                "--health-interval and --health-timeout need --health PATH",
            ),
            (
                "a:1",
                "backend \"a:1\": a backend begins with http://, https:// or unix:, as in http://a:1",
            ),
        ] {
            assert_eq!(parse_line(line), Err(want.to_owned()), "{line}");
        }
        let missing = parse_line("--ca /nowhere/at/all http://a").expect_err("no such file");
        assert!(missing.starts_with("option --ca \"/nowhere/at/all\": the file cannot be read"));
        assert_eq!(parse_line("").expect_err("no backend").lines().count(), 3);
    }

    #[test]
    fn what_was_said_is_told_beside_the_default() {
        let line = "--check --timeout 5s --drain-timeout 30s --health / --log debug http://a";
        let Ok(Request::Check(config)) = parse_line(line) else { panic!("{line}") };
        let told: Vec<String> = config.differences().map(ToString::to_string).collect();
        assert_eq!(told, ["timeout 5s, not 60s", "health /, not off", "log debug, not info"]);
    }

    #[test]
    fn the_help_names_every_option_and_its_default() {
        let Ok(Request::Print(text)) = parse_line("--help") else { panic!("help") };
        for option in OPTIONS {
            assert!(text.contains(&format!("--{}", option.long)), "{}", option.long);
        }
        assert!(text.contains("[127.0.0.1:8000]") && text.contains("[10s]"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
    /// All that is wrong with the arguments is told, each in a line.
    #[test]
    fn several_mistakes_are_told_together() {
        let said = parse_line("--timeout 5 http://a:x --queue-max 0").expect_err("three mistakes");
        assert_eq!(said.lines().count(), 3, "{said}");
    }
}
