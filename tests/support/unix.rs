//! Unix sockets in a folder of their own, and backends on them.

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use super::{PATIENCE, Wire, wire::no_copies_of_sockets};

/// A folder that ends with the test. Its name is short, since those of sockets have to be.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rl-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The same as roundel's command line has it.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("unix:{}", self.path(name).display())
    }

    /// What is in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a folder");
        let name = |entry: Result<fs::DirEntry, _>| entry.expect("an entry").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It may be gone already, and a test that fails should say why, not this.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server on a Unix socket that a test wrote. Its file stays when it ends, as that of a server that was
/// killed does.
pub(crate) struct UnixBackend {
    path: PathBuf,
    arrivals: mpsc::Receiver<Wire>,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl UnixBackend {
    /// Leaves every connection to the test: see [`Self::accept`].
    pub(crate) fn manual(path: &Path) -> Self {
        let (sender, arrivals) = mpsc::channel();
        Self::listen(path, arrivals, move |wire| {
            // The test may have ended already; the connection then just closes.
            let _ = sender.send(wire);
        })
    }

    /// Runs `script` for each connection, on a thread of its own.
    pub(crate) fn script(path: &Path, script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::listen(path, mpsc::channel().1, move |mut wire| {
            let script = Arc::clone(&script);
            wire.be_patient();
            thread::spawn(move || script(&mut wire));
        })
    }

    fn listen(
        path: &Path,
        arrivals: mpsc::Receiver<Wire>,
        on_connection: impl Fn(Wire) + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).expect("bind");
        let (connections, stopped) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, stop) = (Arc::clone(&connections), Arc::clone(&stopped));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                on_connection(Wire::unix(stream.expect("a connection")));
            }
        });
        Self { path: path.to_owned(), arrivals, connections, stopped, thread: Some(thread) }
    }

    /// The next connection, of a [`Self::manual`] backend.
    #[track_caller]
    pub(crate) fn accept(&self) -> Wire {
        self.arrivals.recv_timeout(PATIENCE).expect("roundel connects to this backend")
    }

    /// What to call it on roundel's command line.
    pub(crate) fn url(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// How many connections it got so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for UnixBackend {
    /// Afterwards nobody listens.
    fn drop(&mut self) {
        let _no_copies = no_copies_of_sockets();
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then closes the listener.
        let _ = UnixStream::connect(&self.path);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}
