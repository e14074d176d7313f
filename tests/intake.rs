//! A backend that is drained while requests are under way, and opened again, as a reload does it: the worker
//! itself on real sockets.
#![allow(
    clippy::expect_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test: a panic is how it reports, threads are its means"
)]

mod support;

use std::{net::SocketAddr, sync::mpsc, thread, time::Duration};

use mio::{Events, Interest, Poll, Token, Waker};
use roundel::{
    backend::BackendId,
    clock,
    config::{BackendConfig, Intake, backend_url::parse_backend},
    net::{
        listener::{Accepted, accept, listen},
        tcp::{OsNet, event_readiness, event_token},
        transport::Security,
    },
    server::{
        backends::Backend as Configured,
        worker::{Settings, Worker},
    },
};
use support::*;

/// Tokens that no connection has.
const LISTENER: Token = Token(usize::MAX - 1);
const ORDERS: Token = Token(usize::MAX - 2);

/// A worker on a thread of its own, which ends with the test program.
struct Running {
    address: SocketAddr,
    orders: mpsc::Sender<(BackendId, Intake)>,
    done: mpsc::Receiver<()>,
    waker: Waker,
}

impl Running {
    fn over(backends: &[&Backend]) -> Self {
        let mut poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), ORDERS).expect("a waker");
        let mut listener =
            listen(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a listener");
        let address = listener.address().expect("an address").ip().expect("an IP address");
        let interest = Interest::READABLE;
        poll.registry().register(&mut listener, LISTENER, interest).expect("room in the poll");
        let net = OsNet::new(poll.registry().try_clone().expect("a registry"));
        let parsed = backends.iter().map(|backend| parse_backend(&backend.url()));
        let mut configs: Vec<_> = parsed.map(|config| config.expect("a good URL")).collect();
        let configured = |configs: &[BackendConfig]| {
            configs.iter().map(|config| (Configured::new(config, Security::Plain), 1)).collect()
        };
        let (orders, to_do) = mpsc::channel::<(BackendId, Intake)>();
        let (tell_done, done) = mpsc::channel();
        thread::spawn(move || {
            let backends = configured(&configs);
            let mut worker = Worker::new(net, backends, Settings::default(), clock::now());
            let mut events = Events::with_capacity(64);
            loop {
                let patience = if worker.has_work() { Duration::ZERO } else { PATIENCE };
                poll.poll(&mut events, Some(patience)).expect("a poll");
                for event in &events {
                    match event.token() {
                        LISTENER | ORDERS => {}
                        _ => worker.on_event(event_token(event), event_readiness(event)),
                    }
                }
                while let Accepted::Client(sock, address) = accept(&listener) {
                    worker.accept(sock, address, clock::now());
                }
                for (id, intake) in to_do.try_iter() {
                    configs[id.0].intake = intake;
                    let is_same = |a: &BackendConfig, b: &BackendConfig| a.port == b.port;
                    let (backends, settings) = (configured(&configs), Settings::default());
                    worker.adopt(backends, is_same, settings, clock::now());
                    tell_done.send(()).expect("the test waits");
                }
                worker.run(clock::now());
                worker.expire(clock::now());
            }
        });
        Self { address, orders, done, waker }
    }

    fn set_intake(&self, place: usize, intake: Intake) {
        self.orders.send((BackendId(place), intake)).expect("the worker runs");
        self.waker.wake().expect("a poll");
        self.done.recv_timeout(PATIENCE).expect("it is done");
    }

    fn client(&self) -> Wire {
        Wire::connect(self.address)
    }
}

#[test]
fn connections_of_a_drained_backend_go_as_they_come_free() {
    let (a, b) = (Backend::manual(), Backend::named("b"));
    let running = Running::over(&[&a, &b]);
    // One that rests, and one that is busy, with a request that has been sent.
    let (mut first, mut second) = (running.client(), running.client());
    first.send(get("/rests"));
    let mut rests = a.accept();
    rests.head();
    assert_eq!(second.get("/").text(), "b");
    second.send(get("/busy"));
    let mut busy = a.accept();
    busy.head();
    rests.send(ok("rests"));
    assert_eq!(first.response().text(), "rests");

    running.set_intake(0, Intake::Drained);
    rests.expect_gone();
    let bodies: String = (0..4).map(|_| first.get("/").text()).collect();
    assert_eq!(bodies, "bbbb");
    busy.send(ok("busy"));
    assert_eq!(second.response().text(), "busy", "what was under way is finished");
    busy.expect_gone();
    assert_eq!(a.connections(), 2);

    running.set_intake(0, Intake::Open);
    first.send(get("/again"));
    let mut again = a.accept();
    assert!(again.head().starts_with("GET /again "));
    again.send(ok("again"));
    assert_eq!(first.response().text(), "again");
}
