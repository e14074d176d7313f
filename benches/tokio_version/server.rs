//! Listeners, a task for each connection, and the end of all of them.
//!
//! Knows nothing of backends. Invariant: from the first TERM or INT on nobody is accepted, and the
//! process ends when the last exchange has, after the drain timeout at the latest.
//!
//! Next: [`Proxy::answer`] for each request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roundel::config::limits::BACKLOG_MAX;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::head::Client;
use crate::options::Options;
use crate::proxy::Proxy;

/// Serves until it is told to stop and has stopped.
///
/// # Errors
/// When it cannot begin.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    let listeners = options.listen.iter().map(|address| listen(*address));
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    let (timeouts, labels) = (options.timeouts.clone(), labels(&options));
    let mut stop = Stop::new()?;
    let proxy = Arc::new(Proxy::new(options)?);
    log::info!("balancing over {labels}");

    let mut http = http1::Builder::new();
    // hyper has one clock for both: it runs from the end of an exchange, or from the accept, to the
    // end of the next head. A client that is idle is to be kept the longer one.
    http.timer(TokioTimer::new()).header_read_timeout(timeouts.idle.max(timeouts.head));
    // A client may end its direction and still want the answer; and what a backend sent without a
    // `Date` is passed on without one.
    http.half_close(true).auto_date_header(false);

    // Each connection holds a receiver: it learns from it of the end, and is over when it is gone.
    let (end, ending) = watch::channel(());
    let mut accepting = JoinSet::new();
    for listener in listeners {
        log::info!("listening on http://{}", listener.local_addr()?);
        let (http, proxy, ending) = (http.clone(), Arc::clone(&proxy), ending.clone());
        accepting.spawn(Door { listener, http, proxy, ending }.stay_open(timeouts.accept_pause));
    }
    stop.asked().await;
    accepting.shutdown().await;
    drop(ending);
    // Without a receiver everything has ended already.
    let _ = end.send(());
    tokio::select! {
        ended = timeout(timeouts.drain, end.closed()) => {
            if ended.is_err() {
                log::warn!("what was still open is cut");
            }
        }
        () = stop.asked() => {}
    }
    Ok(())
}

fn labels(options: &Options) -> String {
    options.backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Opens a listening socket with roundel's backlog. What is set on it, accepted sockets inherit.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG_MAX.unsigned_abs())
}

/// One listener and what is behind it.
struct Door {
    listener: TcpListener,
    http: http1::Builder,
    proxy: Arc<Proxy>,
    ending: watch::Receiver<()>,
}

impl Door {
    async fn stay_open(self, pause: Duration) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    tokio::spawn(self.serve(stream, address));
                }
                Err(error) => {
                    log::warn!("cannot accept: {error}");
                    // Without descriptors the next try would fail at once, and the one after it.
                    sleep(pause).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, address: SocketAddr) -> impl Future<Output = ()> + use<> {
        let client = Arc::new(Client::new(address.ip(), self.proxy.trust()));
        let proxy = Arc::clone(&self.proxy);
        let service = service_fn(move |request| {
            let (proxy, client) = (Arc::clone(&proxy), Arc::clone(&client));
            // hyper keeps room for this future in each connection, also in those that are idle.
            Box::pin(async move { Ok::<_, Infallible>(proxy.answer(request, &client).await) })
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut ending = self.ending.clone();
        async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = ending.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                log::debug!("{address}: {error}");
            }
        }
    }
}

/// TERM and INT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
