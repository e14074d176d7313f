//! The command line: one table of options drives the parser and the help.
//!
//! Arguments become a [`Config`] or one line that says what is wrong with which of them. Files that
//! options name are read here, so that everything an operator can get wrong is told at once and with
//! the option's name.

mod options;

use std::ffi::OsString;

use log::LevelFilter;

use crate::config::backend_url::parse_backend;
use crate::config::health::{HealthConfig, ProbeConfig};
use crate::config::{Backends, Config, Limits, Timeouts};
use options::{Draft, HealthDraft, OPTIONS, Opt, parse_listen};

/// Where clients are awaited unless `--listen` says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8000";

/// What the arguments ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// To run.
    Run(Box<Config>),
    /// To print this text and be done.
    Print(String),
}

/// Why the arguments are no good, in lines for the standard error.
pub type CliError = String;

/// Reads the arguments, without the name of the program.
///
/// # Errors
/// What is wrong, and what would be right: one line, or three where no backend is named.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, CliError> {
    let mut draft = Draft {
        listen: Vec::new(),
        backends: Vec::new(),
        demo: false,
        ca_pem: None,
        trust: Vec::new(),
        timeouts: Timeouts::default(),
        response_head: None,
        handshake: None,
        limits: Limits::default(),
        health: HealthDraft::default(),
        access_log: None,
        admin: None,
        log_level: LevelFilter::Info,
        print: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    loop {
        let argument = parser.next().map_err(|e| explain(&e))?;
        let option = match argument {
            None => break,
            Some(lexopt::Arg::Value(text)) => {
                let text = utf8(text)?;
                let backend =
                    parse_backend(&text).map_err(|e| format!("backend \"{text}\": {e}"))?;
                draft.backends.push(backend);
                continue;
            }
            Some(lexopt::Arg::Long(long)) => {
                find_long(long).ok_or_else(|| unknown_option(&format!("--{long}"), long))?
            }
            Some(lexopt::Arg::Short(short)) => OPTIONS
                .iter()
                .find(|option| option.short == Some(short))
                .ok_or_else(|| unknown_option(&format!("-{short}"), ""))?,
        };
        apply(option, &mut draft, &mut parser)?;
        if let Some(text) = draft.print {
            return Ok(Request::Print(text));
        }
    }
    finish(draft)
}

fn find_long(long: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.long == long)
}

/// Takes the option's value, if it has one, and acts on it.
fn apply(option: &Opt, draft: &mut Draft, parser: &mut lexopt::Parser) -> Result<(), CliError> {
    let long = option.long;
    let Some(value) = option.value else {
        return (option.set)(draft, "").map_err(|e| format!("option --{long}: {e}"));
    };
    let text =
        parser.value().map_err(|_| format!("option --{long} needs a value: --{long} {value}"))?;
    let text = utf8(text)?;
    (option.set)(draft, &text).map_err(|e| format!("option --{long} \"{text}\": {e}"))
}

fn finish(draft: Draft) -> Result<Request, CliError> {
    let backends = match (draft.demo, draft.backends.is_empty()) {
        (true, true) => Backends::Demo,
        (true, false) => return Err("--demo brings its own backends: name none beside it".into()),
        (false, false) => Backends::Configured(draft.backends),
        (false, true) => {
            return Err("no backend: name one or more, or try the built-in ones\n  \
                 roundel http://127.0.0.1:3001 http://127.0.0.1:3002\n  \
                 roundel --demo"
                .into());
        }
    };
    let listen =
        if draft.listen.is_empty() { vec![parse_listen(DEFAULT_LISTEN)?] } else { draft.listen };
    let timeouts = Timeouts {
        response_head: draft.response_head.unwrap_or(draft.timeouts.silence),
        handshake: draft.handshake.unwrap_or(draft.timeouts.connect),
        ..draft.timeouts
    };
    Ok(Request::Run(Box::new(Config {
        listen,
        backends,
        ca_pem: draft.ca_pem,
        trust: draft.trust,
        timeouts,
        limits: draft.limits,
        health: health(draft.health)?,
        access_log: draft.access_log,
        admin: draft.admin,
        log_level: draft.log_level,
    })))
}

/// What was said of probes makes sense only together.
fn health(draft: HealthDraft) -> Result<HealthConfig, CliError> {
    let probe = match draft.path {
        Some(path) => {
            let mut probe = ProbeConfig::new(path);
            probe.interval = draft.interval.unwrap_or(probe.interval);
            probe.timeout = draft.timeout.unwrap_or(probe.timeout);
            Some(probe)
        }
        None if draft.interval.is_some() || draft.timeout.is_some() => {
            return Err("--health-interval and --health-timeout need --health PATH".into());
        }
        None => None,
    };
    Ok(HealthConfig { probe, ..HealthConfig::default() })
}

fn utf8(text: OsString) -> Result<String, CliError> {
    text.into_string().map_err(|text| format!("\"{}\" is not UTF-8", text.to_string_lossy()))
}

fn explain(error: &lexopt::Error) -> CliError {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("option {option} takes no value: \"{}\" is too much", value.to_string_lossy())
        }
        other => other.to_string(),
    }
}

fn unknown_option(shown: &str, long: &str) -> CliError {
    match nearest(long, OPTIONS.iter().map(|option| option.long)) {
        Some(near) => format!("unknown option {shown}: did you mean --{near}?"),
        None => format!("unknown option {shown}: roundel --help lists all"),
    }
}

/// The candidate that a typing error may have been meant for: at most a third of it is wrong.
fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let by_distance =
        candidates.into_iter().map(|candidate| (distance(text, candidate), candidate));
    let (distance, candidate) = by_distance.min()?;
    (distance <= candidate.len().div_ceil(3)).then_some(candidate)
}

/// How many octets have to be changed, added or removed to make one text the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

fn help() -> String {
    let defaults = Timeouts::default();
    let mut text = String::from(
        "roundel: an HTTP load balancer and reverse proxy\n\n\
         Usage: roundel [OPTIONS] BACKEND...\n       roundel --demo\n\n\
         BACKEND is http://HOST[:PORT][/PREFIX] or https://HOST[:PORT][/PREFIX], and with\n\
         ,weight=N behind it gets N turns where others get one.\n\nOptions:\n",
    );
    for option in OPTIONS {
        let short = option.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let value = option.value.map_or_else(String::new, |value| format!(" {value}"));
        let default =
            (option.default)(&defaults).map_or_else(String::new, |default| format!(" [{default}]"));
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
    use crate::config::LogDestination;
    use std::time::Duration;

    fn parse_line(line: &str) -> Result<Request, CliError> {
        parse(line.split_whitespace().map(OsString::from))
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
        assert_eq!(plain.listen, ["127.0.0.1:8000".parse().expect("an address")]);
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
        assert_eq!(all.access_log, Some(LogDestination::Stdout));
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
            ("a:1", "backend \"a:1\": a backend begins with http:// or https://, as in http://a:1"),
        ] {
            assert_eq!(parse_line(line), Err(want.to_owned()), "{line}");
        }
        let missing = parse_line("--ca /nowhere/at/all http://a").expect_err("no such file");
        assert!(missing.starts_with("option --ca \"/nowhere/at/all\": the file cannot be read"));
        assert_eq!(parse_line("").expect_err("no backend").lines().count(), 3);
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

    #[test]
    fn distances() {
        for (one, other, want) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), want, "{one} {other}");
        }
    }
}
