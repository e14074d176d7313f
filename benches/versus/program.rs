//! The two programs as processes: built as they are released, started, and looked at from outside.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::origin::Origin;

/// The two that are compared.
pub(crate) struct Programs {
    pub(crate) roundel: Program,
    pub(crate) tokio_version: Program,
}

/// One of them.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    path: PathBuf,
}

impl Programs {
    /// Builds both, each by itself: built together, or as part of a benchmark, they would have
    /// features of the other's dependencies, and roundel would not end by a panic.
    pub(crate) fn build() -> Self {
        for target in [["--bin", "roundel"], ["--example", "tokio_version"]] {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "--release", "--locked"]).args(target);
            forget_this_package(&mut build);
            let build = build.current_dir(env!("CARGO_MANIFEST_DIR"));
            let status = build.status().expect("cargo runs");
            assert!(status.success(), "{target:?} does not build");
        }
        let roundel = Path::new(env!("CARGO_BIN_EXE_roundel"));
        let tokio_version = roundel.with_file_name("examples").join("tokio_version");
        Self {
            roundel: Program { name: "roundel", path: roundel.to_owned() },
            tokio_version: Program { name: "tokio version", path: tokio_version },
        }
    }

    /// Both, roundel first.
    pub(crate) fn both(&self) -> [&Program; 2] {
        [&self.roundel, &self.tokio_version]
    }
}

impl Program {
    /// Starts it over this origin.
    pub(crate) fn start(&self, origin: &Origin) -> Running {
        let mut command = Command::new(&self.path);
        command.args(["--listen", "127.0.0.1:0"]).args(origin.urls());
        if let Some(authority) = origin.authority() {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("versus-authority.pem");
            std::fs::write(&path, authority).expect("a file can be written");
            command.arg("--ca").arg(path);
        }
        let command = command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a piped stderr")).lines();
        let address = loop {
            let line = lines.next().expect("a listening line").expect("text");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.trim().parse().expect("an address");
            }
        };
        // What it has to say is read, or it would stop at a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Running { child, address }
    }
}

/// Takes out what cargo tells a benchmark of its package: ring's build would take it for a change,
/// and everything above it would be built again, here and the next time.
fn forget_this_package(build: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
}

/// A program that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Running {
    /// The time that it has had on a processor, all threads together.
    pub(crate) fn cpu(&self) -> Duration {
        let folder = format!("/proc/{}/task", self.child.id());
        let nanoseconds = std::fs::read_dir(folder).expect("it runs").map(|thread| {
            let path = thread.expect("a thread").path().join("schedstat");
            // A thread that has just ended is missed; neither program has any that work.
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Its memory that is in memory, in octets.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
