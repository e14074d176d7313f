//! roundel once more, on tokio and hyper: what the mio version is measured against.
//!
//! It takes roundel's command line, balances by roundel's own turns, sends the same fields and
//! answers in the same words; `tests/wire_basic.rs` holds both programs to the same cases.
//! Everything between the sockets is how a user of tokio and hyper would write it and tune it: one
//! thread (`current_thread`), a task for each connection, hyper's server, the pooled client of
//! hyper-util, hyper-rustls. What hyper has no setting for is not rebuilt here; [`options`] refuses
//! it.
//!
//! Two things were tried. A pool of its own on hyper's connections, in the place of hyper-util's,
//! takes 8 % less CPU time; it is not what people take. The future of an exchange in a box saves 2
//! KiB for each idle client and costs nothing that could be measured; that is here.
//!
//! What it lacks, and roundel pays for in every comparison: health checks and second tries, queues
//! and limits of connections, a pace for bodies, the refusal of what can be read in two ways.
//!
//! ```text
//!   main ─► options ─► server ─► proxy ─► head     what is sent on
//!                                     ├─► body     silence, and progress
//!                                     ├─► connect  TCP and TLS within their time
//!                                     └─► reply    our own answers
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where people are spoken to"
)]

mod body;
mod connect;
mod head;
mod options;
mod proxy;
mod reply;
mod server;

use std::io;
use std::process::ExitCode;

use log::LevelFilter;
use simple_logger::SimpleLogger;

use options::{Options, Request};

fn main() -> ExitCode {
    match options::parse(std::env::args_os().skip(1)) {
        Ok(Request::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Request::Run(options)) => match run(*options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string(), 1),
        },
        Err(text) => fail(&text, 2),
    }
}

fn run(options: Options) -> io::Result<()> {
    let logger = SimpleLogger::new()
        .with_level(options.log_level)
        .with_module_level("mio", LevelFilter::Off)
        .with_module_level("rustls", LevelFilter::Off);
    logger.init().map_err(io::Error::other)?;
    roundel::net::sys::raise_descriptor_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(server::run(options))
}

fn fail(text: &str, code: u8) -> ExitCode {
    eprintln!("tokio_version: {text}");
    ExitCode::from(code)
}
