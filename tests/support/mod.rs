//! The wire-test harness: the real binary between raw clients and scripted backends.
//!
//! Three things, one file each, and nothing in them understands HTTP better than it must to find
//! the end of a message:
//!
//! - [`Roundel`] (`process.rs`): the binary as a child process; its address, its stderr and stdout
//!   line by line, signals, exit code. [`run`] is for command lines that end by themselves.
//! - [`Wire`] (`wire.rs`): one end of a TCP connection in the hands of a test. It sends exact
//!   octets, keeps every octet that it received, reads heads and whole messages, and tells an
//!   orderly close from a reset. A client is a `Wire` from [`Roundel::client`], the backend's end
//!   of an upstream connection is a `Wire` from [`Backend::accept`].
//! - [`Backend`] (`backend.rs`): a listener on a port of the kernel's choice. [`Backend::manual`]
//!   leaves each connection to the test, which then reads like a script of both sides;
//!   [`Backend::serve`] and [`Backend::named`] answer from threads of their own. [`UnixBackend`]
//!   (`unix.rs`) is the same on a Unix socket in a [`Folder`].
//!
//! ```ignore
//! let backend = Backend::manual();
//! let roundel = Roundel::over(&[&backend], &["--timeout", "300ms"]);
//! let mut client = roundel.client();
//! client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
//! let mut upstream = backend.accept();
//! assert_head(&upstream.head(), "GET / HTTP/1.1", &["Host: a.example", ..]);
//! upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
//! assert_eq!(client.response().body, b"hi");
//! ```
//!
//! Nothing here hangs: every wait ends in a panic after [`PATIENCE`], which is generous, because it
//! is only ever used up by a test that fails.
#![allow(dead_code, reason = "each test file uses its own part of the harness")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "test harness: a panic is how it reports, and blocking sockets and threads are its means"
)]

mod backend;
mod json;
mod process;
mod unix;
mod wire;

use std::time::Duration;

#[allow(unused_imports, reason = "each test file uses its own part of the harness")]
pub(crate) use self::{
    backend::{Backend, ClosedPort, NarrowPort},
    json::json,
    process::{LogLine, Outcome, Program, Roundel, run, run_program, run_with_descriptors},
    unix::{Folder, UnixBackend},
    wire::{End, Message, Wire, assert_head, chunk, dechunk, is_fresh_request_id, text},
};

/// How long anything that must happen may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A request with a Host and nothing else.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n")
}

/// A response with a length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The lines that roundel adds to a plain client's request with `Host: a.example`, and that Host.
pub(crate) const FORWARDED: &[&str] = &[
    "Host: a.example",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: a.example",
    "Via: 1.1 roundel",
];

/// [`FORWARDED`] and some more lines.
pub(crate) fn forwarded_and<'a>(more: &[&'a str]) -> Vec<&'a str> {
    FORWARDED.iter().chain(more).copied().collect()
}

/// Names the row of a table that a test is at, in case it panics there.
pub(crate) struct Row(String);

/// Says which row of a table begins; keep the value until it ends.
#[must_use]
pub(crate) fn row(name: impl Into<String>) -> Row {
    Row(name.into())
}

impl Drop for Row {
    #[expect(clippy::print_stderr, reason = "shown with the failing test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- in row {:?}", self.0);
        }
    }
}
