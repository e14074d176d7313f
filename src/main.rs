//! Arguments become a configuration, the configuration runs, and how that ended is the exit code:
//! 0 stopped as asked, 1 could not run, 2 asked for what cannot be.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where people are spoken to"
)]

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use log::LevelFilter;
use roundel::cli::{self, Request};
use roundel::config::Config;
use roundel::server::doctor::{self, Verdict};
use roundel::server::{self, RunError};
use simple_logger::SimpleLogger;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Request::Run(config)) => run(&config),
        Ok(Request::Check(config)) => check(&config),
        Ok(Request::Doctor(config)) => examine(&config),
        Ok(Request::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(complaints) => {
            complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
            ExitCode::from(2)
        }
    }
}

fn check(config: &Config) -> ExitCode {
    match server::plan::plan(config) {
        Ok(text) => {
            println!("{text}ok");
            ExitCode::SUCCESS
        }
        Err(error) => stopped(&error),
    }
}

/// Tells each finding as soon as it is there. Colours are for people, so only a terminal gets them.
fn examine(config: &Config) -> ExitCode {
    let mut counts = [Verdict::Ok, Verdict::Warn, Verdict::Fail].map(|verdict| (verdict, 0));
    let is_coloured =
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let outcome = doctor::examine(config, &mut |finding| {
        let verdict = finding.verdict;
        if let Some((_, count)) = counts.iter_mut().find(|(one, _)| *one == verdict) {
            *count += 1;
        }
        let word = format!("{:<4}", verdict.word());
        if is_coloured {
            println!("\x1b[{}m{word}\x1b[0m {finding}", colour(verdict));
        } else {
            println!("{word} {finding}");
        }
    });
    match outcome {
        Ok(()) => {
            let words = counts.map(|(verdict, count)| format!("{count} {}", verdict.word()));
            println!("{}", words.join(", "));
            let fails =
                counts.iter().any(|(verdict, count)| *verdict == Verdict::Fail && *count > 0);
            if fails { ExitCode::from(1) } else { ExitCode::SUCCESS }
        }
        Err(error) => stopped(&error),
    }
}

/// Green, yellow, red.
fn colour(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ok => 32,
        Verdict::Warn => 33,
        Verdict::Fail => 31,
    }
}

fn run(config: &Config) -> ExitCode {
    // mio's and rustls's own lines say nothing that ours do not.
    let logger = SimpleLogger::new()
        .with_level(LevelFilter::Trace)
        .with_module_level("mio", LevelFilter::Off)
        .with_module_level("rustls", LevelFilter::Off);
    if logger.init().is_err() {
        return fail("the log cannot be started", 1);
    }
    // What is said at all is decided here, and may change while it runs.
    log::set_max_level(config.log_level);
    match server::run(config, &mut read_again) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => stopped(&error),
    }
}

/// The same arguments once more, and whatever the files that they name say by now.
fn read_again() -> Result<Config, Vec<String>> {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Request::Run(config)) => Ok(*config),
        Ok(Request::Check(_) | Request::Doctor(_) | Request::Print(_)) => {
            Err(vec!["nothing to run".to_owned()])
        }
        Err(complaints) => Err(complaints.iter().map(ToString::to_string).collect()),
    }
}

fn stopped(error: &RunError) -> ExitCode {
    let code = match error {
        RunError::Failed(_) => 1,
        RunError::Wrong(_) => 2,
    };
    fail(&error.to_string(), code)
}

fn fail(text: &str, code: u8) -> ExitCode {
    eprintln!("roundel: {text}");
    ExitCode::from(code)
}
