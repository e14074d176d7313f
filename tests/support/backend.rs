//! Scripted backends on ports that the kernel chose.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use socket2::{Domain, Socket, Type};

use super::{
    PATIENCE, ok,
    wire::{Message, Wire},
};

/// What one connection received, filled while it lasts.
type Log = Arc<Mutex<Vec<u8>>>;

/// A TCP server that a test wrote.
pub(crate) struct Backend {
    addr: SocketAddr,
    logs: Arc<Mutex<Vec<Log>>>,
    arrivals: Option<mpsc::Receiver<Wire>>,
    stopped: Arc<AtomicBool>,
}

impl Backend {
    /// Leaves every connection to the test: see [`Self::accept`].
    pub(crate) fn manual() -> Self {
        Self::manual_on(TcpListener::bind(("127.0.0.1", 0)).expect("bind"))
    }

    fn manual_on(listener: TcpListener) -> Self {
        let (sender, receiver) = mpsc::channel();
        let mut backend = Self::listen_on(listener, move |wire| {
            // The test may have ended already; the connection then just closes.
            let _ = sender.send(wire);
        });
        backend.arrivals = Some(receiver);
        backend
    }

    /// Runs `script` for each connection, on a thread of its own.
    pub(crate) fn script(script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::listen(move |mut wire| {
            let script = Arc::clone(&script);
            wire.be_patient();
            thread::spawn(move || script(&mut wire));
        })
    }

    /// Runs `answer` for each request on each connection, until roundel closes it.
    pub(crate) fn serve(answer: impl Fn(&mut Wire, Message) + Send + Sync + 'static) -> Self {
        Self::script(move |wire| {
            while let Some(request) = wire.request() {
                answer(wire, request);
            }
        })
    }

    /// Like [`Self::manual`], but on the IPv6 loopback address.
    pub(crate) fn manual_on_ipv6() -> Self {
        Self::manual_on(TcpListener::bind(("::1", 0)).expect("bind"))
    }

    /// Answers 200 to everything, with its name for a body, on persistent connections.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::serve(move |wire, _| {
            // Whether roundel still wants the answer is the test's business.
            let _ = wire.try_send(ok(name));
        })
    }

    fn listen(on_connection: impl FnMut(Wire) + Send + 'static) -> Self {
        Self::listen_on(TcpListener::bind(("127.0.0.1", 0)).expect("bind"), on_connection)
    }

    fn listen_on(
        listener: TcpListener,
        mut on_connection: impl FnMut(Wire) + Send + 'static,
    ) -> Self {
        let addr = listener.local_addr().expect("a local address");
        let logs: Arc<Mutex<Vec<Log>>> = Arc::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let (its_logs, its_stop) = (Arc::clone(&logs), Arc::clone(&stopped));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if its_stop.load(Ordering::SeqCst) {
                    break;
                }
                // A connection that died in the queue is nobody's.
                let Ok(stream) = stream else { continue };
                let log = Log::default();
                its_logs.lock().unwrap().push(Arc::clone(&log));
                on_connection(Wire::new(stream, log));
            }
        });
        Self { addr, logs, arrivals: None, stopped }
    }

    /// The next connection, of a [`Self::manual`] backend.
    #[track_caller]
    pub(crate) fn accept(&self) -> Wire {
        let arrivals = self.arrivals.as_ref().expect("a manual backend");
        arrivals.recv_timeout(PATIENCE).expect("roundel connects to this backend")
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What to call it on roundel's command line.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many connections it got so far.
    pub(crate) fn connections(&self) -> usize {
        self.logs.lock().unwrap().len()
    }

    /// All octets received so far, connection by connection.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.logs.lock().unwrap().iter().map(|log| log.lock().unwrap().clone()).collect()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then closes the listener.
        let _ = TcpStream::connect(self.addr);
    }
}

/// A port that refuses every connection, and that nobody else can get meanwhile: it is bound, but
/// does not listen.
pub(crate) struct ClosedPort(Socket);

impl ClosedPort {
    /// Takes a port of the kernel's choice.
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
        Self(socket)
    }

    /// Its address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("an address").as_socket().expect("an IP address")
    }

    /// What to call it on roundel's command line.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// From now on it accepts: a [`Backend::manual`] at the same address.
    pub(crate) fn open(self) -> Backend {
        self.0.listen(128).expect("listen");
        Backend::manual_on(self.0.into())
    }
}

/// A port with room for nobody to wait in its queue: once it is filled, connects are neither accepted
/// nor refused (Linux then ignores what arrives).
pub(crate) struct NarrowPort {
    listener: Socket,
    queue: Vec<Socket>,
}

impl NarrowPort {
    /// Takes a port of the kernel's choice.
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
        listener.listen(0).expect("listen");
        listener.set_read_timeout(Some(PATIENCE)).expect("a timeout for accept");
        Self { listener, queue: Vec::new() }
    }

    /// Accepts a connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Wire {
        let (socket, _) = self.listener.accept().expect("a connection");
        Wire::new(socket.into(), Log::default())
    }

    /// Fills the queue.
    pub(crate) fn fill(&mut self) {
        let addr = self.listener.local_addr().expect("an address");
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("O_NONBLOCK");
            // EINPROGRESS: it connects or it waits, either takes a place.
            let _ = socket.connect(&addr);
            socket
        };
        self.queue = (0..4).map(connect).collect();
    }

    /// Its address.
    pub(crate) fn addr(&self) -> SocketAddr {
        let addr = self.listener.local_addr().expect("an address");
        addr.as_socket().expect("an IP address")
    }

    /// What to call it on roundel's command line.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr())
    }
}
