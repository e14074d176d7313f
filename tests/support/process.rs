//! The binary as a child process.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use super::{Backend, PATIENCE, Wire, wire::copies_of_sockets};

/// A program that can be started: they take the same command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// roundel itself.
    Roundel,
    /// `benches/tokio_version`, which is measured against it.
    TokioVersion,
}

impl Program {
    fn command(self) -> Command {
        match self {
            Self::Roundel => roundel(),
            Self::TokioVersion => Command::new(tokio_version()),
        }
    }
}

/// A running roundel; killed when dropped.
pub(crate) struct Roundel {
    child: Child,
    addrs: Vec<SocketAddr>,
    stdout: Lines,
    stderr: Lines,
    _unread: Option<ChildStdout>,
}

/// What happens to the child's stdout.
enum Stdout {
    /// It is collected.
    Read,
    /// The pipe stays open and fills up.
    LeftAlone,
}

impl Roundel {
    /// Starts the binary and waits until it listens. Unless the arguments name a port to listen on, it
    /// gets one on 127.0.0.1 of the kernel's choice.
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_program(Program::Roundel, args)
    }

    /// The same with either program.
    #[track_caller]
    pub(crate) fn start_program(program: Program, args: &[&str]) -> Self {
        Self::start_with(program.command(), args, Stdout::Read)
    }

    #[track_caller]
    fn start_with(mut command: Command, args: &[&str], reading: Stdout) -> Self {
        let is_port =
            |pair: &&[&str]| matches!(pair[0], "-l" | "--listen") && !pair[1].starts_with("unix:");
        let named = args.windows(2).filter(is_port).count();
        if named == 0 {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        // To run the same tests with other options: `ROUNDEL_OPTIONS="--splice off" cargo test`.
        if let Ok(options) = std::env::var("ROUNDEL_OPTIONS") {
            command.args(options.split_whitespace());
        }
        command.stdin(Stdio::null()).args(args);
        Self::watch(command, named.max(1), reading)
    }

    /// Starts a command as it is and waits until it has said so often that it listens.
    #[track_caller]
    fn watch(mut command: Command, listeners: usize, reading: Stdout) -> Self {
        // Until it says something: only then its copies of our sockets are gone for certain.
        let _copies = copies_of_sockets();
        let mut child = spawn(&mut command);
        let pipe = child.stdout.take().expect("a piped stdout");
        let (stdout, _unread) = match reading {
            Stdout::Read => (Lines::collect(pipe), None),
            Stdout::LeftAlone => (Lines::collect(std::io::empty()), Some(pipe)),
        };
        let stderr = Lines::collect(child.stderr.take().expect("a piped stderr"));
        let mut roundel = Self { child, addrs: Vec::new(), stdout, stderr, _unread };
        let lines = roundel.stderr.wait_for("listening lines", |lines| {
            let found: Vec<_> = lines.iter().filter_map(|line| listening(line)).collect();
            (found.len() >= listeners).then_some(found)
        });
        roundel.addrs = lines;
        roundel
    }

    /// Starts a command that ends up as the binary, with these arguments and no others.
    #[track_caller]
    pub(crate) fn start_as(mut command: Command, args: &[&str]) -> Self {
        command.args(args);
        Self::watch(command, 1, Stdout::Read)
    }

    /// Starts the binary over these backends, with some options.
    #[track_caller]
    pub(crate) fn over(backends: &[&Backend], options: &[&str]) -> Self {
        let urls: Vec<String> = backends.iter().map(|backend| backend.url()).collect();
        let args: Vec<&str> = options.iter().copied().chain(urls.iter().map(|u| &**u)).collect();
        Self::start(&args)
    }

    /// The same, with a stdout that is never read.
    #[track_caller]
    pub(crate) fn over_with_unread_stdout(backends: &[&Backend], options: &[&str]) -> Self {
        let urls: Vec<String> = backends.iter().map(|backend| backend.url()).collect();
        let args: Vec<&str> = options.iter().copied().chain(urls.iter().map(|u| &**u)).collect();
        Self::start_with(roundel(), &args, Stdout::LeftAlone)
    }

    /// Starts the binary with no more than so many file descriptors.
    #[track_caller]
    pub(crate) fn with_descriptors(count: u32, args: &[&str]) -> Self {
        Self::start_with(roundel_with_descriptors(count), args, Stdout::Read)
    }

    /// Where it listens, first.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// Where it listens, everywhere but on Unix sockets.
    pub(crate) fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A new client connection.
    #[track_caller]
    pub(crate) fn client(&self) -> Wire {
        Wire::connect(self.addr())
    }

    /// A request on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> super::Message {
        self.client().get(target)
    }

    /// All lines on stderr so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.so_far()
    }

    /// All lines on stdout so far (`--access-log -` writes there).
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.so_far()
    }

    /// Waits for a line with `text` on stderr.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, text: &str) -> String {
        self.stderr.wait_for(text, |lines| lines.iter().find(|line| line.contains(text)).cloned())
    }

    /// Waits for so many lines on stdout.
    #[track_caller]
    pub(crate) fn stdout_lines(&self, count: usize) -> Vec<String> {
        self.stdout.wait_for("access log", |lines| (lines.len() >= count).then(|| lines.to_vec()))
    }

    /// Waits for so many lines of the access log on stdout. There must not be more.
    #[track_caller]
    pub(crate) fn access_log(&self, count: usize) -> Vec<LogLine> {
        let lines = self.stdout_lines(count);
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines.iter().map(|line| LogLine::parse(line)).collect()
    }

    /// Sends a signal, by its name without SIG.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let mut command = Command::new("kill");
        command.args(["-s", name, &self.child.id().to_string()]);
        let _copies = copies_of_sockets();
        let status = spawn(&mut command).wait().expect("kill(1)");
        assert!(status.success());
    }

    /// Is it still running?
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Waits for its end and for the end of its output; `None` is death by a signal.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let code = wait(&mut self.child, &self.stderr);
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        code
    }
}

impl Drop for Roundel {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.stderr.so_far();
            eprint_lines("roundel's stderr", &lines);
        }
    }
}

/// One line of the access log.
#[derive(Clone, Debug)]
pub(crate) struct LogLine {
    /// RFC 3339 with milliseconds, UTC.
    pub(crate) time: String,
    /// The client's address and port.
    pub(crate) client: String,
    /// Method and target, between the quotes.
    pub(crate) request: String,
    /// What is after the quotes, split at spaces: status, octets in, octets out, milliseconds,
    /// backend, attempts, reuse, reason.
    pub(crate) rest: Vec<String>,
    /// The last word: under which id the backend knows the request.
    pub(crate) request_id: String,
}

impl LogLine {
    #[track_caller]
    fn parse(line: &str) -> Self {
        let fields = || {
            let (time, rest) = line.split_once(' ')?;
            let (client, rest) = rest.split_once(" \"")?;
            let (request, rest) = rest.rsplit_once("\" ")?;
            let (rest, request_id) = rest.rsplit_once(' ')?;
            let rest: Vec<String> = rest.split(' ').map(str::to_owned).collect();
            (rest.len() == 8).then(|| Self {
                request_id: request_id.to_owned(),
                time: time.to_owned(),
                client: client.to_owned(),
                request: request.to_owned(),
                rest,
            })
        };
        fields().unwrap_or_else(|| panic!("not an access log line: {line:?}"))
    }

    /// Status and, in short, what matters most besides: `status in out backend attempts reuse
    /// reason`; the milliseconds, which are not the test's to know, are left out.
    pub(crate) fn summary(&self) -> String {
        let [status, bytes_in, bytes_out, _ms, rest @ ..] = &self.rest[..] else {
            panic!("{self:?}")
        };
        format!("{status} {bytes_in} {bytes_out} {}", rest.join(" "))
    }

    /// The reason word, or `-`.
    pub(crate) fn reason(&self) -> &str {
        &self.rest[7]
    }

    /// How long the exchange took.
    pub(crate) fn ms(&self) -> u64 {
        self.rest[3].parse().expect("milliseconds")
    }
}

/// How a command line that ends by itself ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Exit code; `None` is death by a signal.
    pub(crate) code: Option<i32>,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
}

/// Runs the binary with arguments that let it end by itself.
#[track_caller]
pub(crate) fn run(args: &[&str]) -> Outcome {
    run_command(roundel().args(args))
}

/// The same with either program.
#[track_caller]
pub(crate) fn run_program(program: Program, args: &[&str]) -> Outcome {
    run_command(program.command().args(args))
}

/// The same, with no more than so many file descriptors.
#[track_caller]
pub(crate) fn run_with_descriptors(count: u32, args: &[&str]) -> Outcome {
    run_command(roundel_with_descriptors(count).args(args))
}

fn roundel() -> Command {
    Command::new(env!("CARGO_BIN_EXE_roundel"))
}

/// The tokio version, which is no binary of the package but an example. `cargo test` has built it,
/// unless it was asked for this test alone; then it is missing, or old.
fn tokio_version() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--example", "tokio_version"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        // What cargo tells a test of its package, ring's build would take for a change, and everything
        // above it would be built again.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&name);
            }
        }
        let _copies = copies_of_sockets();
        let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(status.success(), "the tokio version does not build");
        let roundel = Path::new(env!("CARGO_BIN_EXE_roundel"));
        roundel.with_file_name("examples").join("tokio_version")
    })
}

fn roundel_with_descriptors(count: u32) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {count} && exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_roundel")]);
    command
}

#[track_caller]
fn run_command(command: &mut Command) -> Outcome {
    let _copies = copies_of_sockets();
    let mut child = spawn(command.stdin(Stdio::null()));
    let stdout = Lines::collect(child.stdout.take().expect("a piped stdout"));
    let stderr = Lines::collect(child.stderr.take().expect("a piped stderr"));
    let code = wait(&mut child, &stderr);
    stdout.wait_for_end();
    stderr.wait_for_end();
    let joined = |lines: &Lines| lines.so_far().iter().map(|line| format!("{line}\n")).collect();
    Outcome { code, stdout: joined(&stdout), stderr: joined(&stderr) }
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

#[track_caller]
fn wait(child: &mut Child, stderr: &Lines) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status.code();
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("roundel does not end; its stderr: {:#?}", stderr.so_far());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The address in a `listening on http://…` line.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http://")?;
    rest.split([' ', '/', ',', '\x1b']).next()?.parse().ok()
}

#[expect(clippy::print_stderr, reason = "shown with the failing test")]
fn eprint_lines(title: &str, lines: &[String]) {
    eprintln!("---- {title}");
    for line in lines {
        eprintln!("{line}");
    }
}

/// An output of the child, collected line by line by a thread.
#[derive(Clone)]
struct Lines(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn collect(source: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let shared = lines.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let whole = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                shared.change(|collected| collected.lines.push(whole));
            }
            shared.change(|collected| collected.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Collected)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn so_far(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Waits until `look` finds what it wants; panics at the end of the output or of patience.
    #[track_caller]
    fn wait_for<T>(&self, what: &str, look: impl Fn(&[String]) -> Option<T>) -> T {
        let (collected, changed) = &*self.0;
        let deadline = Instant::now() + PATIENCE;
        let mut collected = collected.lock().unwrap();
        loop {
            if let Some(found) = look(&collected.lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if collected.ended || left.is_zero() {
                let (lines, ended) = (collected.lines.clone(), collected.ended);
                drop(collected);
                panic!("no {what:?} in the output (ended: {ended}): {lines:#?}");
            }
            collected = changed.wait_timeout(collected, left).unwrap().0;
        }
    }

    fn wait_for_end(&self) {
        let (collected, changed) = &*self.0;
        let collected = collected.lock().unwrap();
        let _ = changed.wait_timeout_while(collected, PATIENCE, |c| !c.ended).unwrap();
    }
}
