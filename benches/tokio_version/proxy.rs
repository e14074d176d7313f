//! One request: whose turn it is, what is sent on, what comes back.
//!
//! Knows nothing of listeners. Invariant: every request gets one answer, a backend's or our own.
//!
//! Next: hyper's client sends the request over a pooled connection, hyper's server the answer.
#![allow(
    clippy::disallowed_types,
    reason = "futures that tokio spawns have to be Send; with one thread the lock is never waited for"
)]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Mutex, PoisonError};

use http_body_util::Either;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderMap, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::client::legacy::{self, Client as HttpClient};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use roundel::backend::balance::Balancer;
use roundel::config::{Cidr, Limits, Timeouts};
use roundel::h1::reply::Reason;
use roundel::proxy::request_id::RequestIds;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;

use crate::body::{Progress, RequestBody, ResponseBody};
use crate::connect::{Connector, reason_of};
use crate::head::{self, Backend, Client, offered_upgrade};
use crate::options::Options;
use crate::reply::{AnswerBody, reply};

/// What all connections share.
pub(crate) struct Proxy {
    backends: Vec<Backend>,
    trust: Vec<Cidr>,
    timeouts: Timeouts,
    http: HttpClient<Connector, RequestBody>,
    turns: Mutex<Turns>,
}

/// What changes with each request.
struct Turns {
    balancer: Balancer,
    ids: RequestIds,
}

impl Proxy {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// When the authorities or the name of a backend are of no use.
    pub(crate) fn new(options: Options) -> io::Result<Self> {
        let connector = Connector::new(options.ca_pem.as_deref(), &options.timeouts)?;
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.timeouts.pool_idle)
            .pool_max_idle_per_host(Limits::default().pool_idle_count_max)
            .build(connector);
        let turns = Turns {
            balancer: Balancer::new(options.backends.iter().map(|backend| backend.weight)),
            ids: RequestIds::new(RandomState::new().build_hasher().finish()),
        };
        Ok(Self {
            backends: options.backends.iter().map(Backend::new).collect::<io::Result<_>>()?,
            trust: options.trust,
            timeouts: options.timeouts,
            http,
            turns: Mutex::new(turns),
        })
    }

    /// Clients whose word about other clients is believed.
    pub(crate) fn trust(&self) -> &[Cidr] {
        &self.trust
    }

    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        client: &Client,
    ) -> Response<AnswerBody> {
        match self.relay(request, client).await {
            Ok(response) => response.map(Either::Left),
            Err(reason) => reply(reason),
        }
    }

    async fn relay(
        &self,
        mut request: Request<Incoming>,
        client: &Client,
    ) -> Result<Response<ResponseBody>, Reason> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Reason::UnsupportedMethod);
        }
        let upgrade = offered_upgrade(request.headers());
        let of_client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let (backend, fresh_id) = self.take_turn()?;
        let (mut parts, body) = request.into_parts();
        head::to_backend(&mut parts, backend, client, fresh_id)?;
        if let Some(protocols) = upgrade {
            parts.headers.insert(CONNECTION, head::UPGRADE_OPTION);
            parts.headers.insert(UPGRADE, protocols);
        }
        parts.version = Version::HTTP_11;

        let progress = (!body.is_end_stream()).then(Progress::default);
        let request = Request::from_parts(parts, RequestBody::new(body, progress.clone()));
        let response = self.await_head(self.http.request(request), progress).await;
        let mut response = response.map_err(|failure| failure.told(backend))?;

        let protocol = response.headers_mut().remove(UPGRADE);
        head::remove_hop_by_hop(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let of_client = of_client.ok_or(Reason::UnexpectedUpgrade)?;
            tokio::spawn(tunnel(of_client, hyper::upgrade::on(&mut response)));
            announce_upgrade(response.headers_mut(), protocol);
        }
        Ok(response.map(|body| ResponseBody::new(body, self.timeouts.silence)))
    }

    fn take_turn(&self) -> Result<(&Backend, u128), Reason> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let id = turns.balancer.next(|_| true).ok_or(Reason::Internal)?;
        let backend = self.backends.get(id.0).ok_or(Reason::Internal)?;
        Ok((backend, turns.ids.next_id()))
    }

    /// Waits for the head of a response. As long as octets of the request move, the time for it has
    /// not begun.
    async fn await_head(
        &self,
        mut response: legacy::ResponseFuture,
        progress: Option<Progress>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut before = 0;
        loop {
            if let Ok(ended) = timeout(self.timeouts.response_head, &mut response).await {
                return ended.map_err(Failure::Error);
            }
            let now = progress.as_ref().map_or(0, Progress::frames);
            if now == before {
                return Err(Failure::Silence);
            }
            before = now;
        }
    }
}

/// Why there is no response.
enum Failure {
    Error(legacy::Error),
    Silence,
}

impl Failure {
    /// Tells the operator, and says what the client is told.
    fn told(&self, backend: &Backend) -> Reason {
        let reason = match self {
            Self::Error(error) => reason_of(error),
            Self::Silence => Reason::ResponseTimeout,
        };
        log::warn!("backend {} failed: {}", backend.label(), reason.word());
        reason
    }
}

/// What the client is told of the protocol that follows.
fn announce_upgrade(headers: &mut HeaderMap, protocol: Option<hyper::header::HeaderValue>) {
    headers.insert(CONNECTION, head::UPGRADE_OPTION);
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
}

/// Octets both ways, until both sides have ended or one has broken.
async fn tunnel(client: OnUpgrade, backend: OnUpgrade) {
    let (client, backend) = match tokio::try_join!(client, backend) {
        Ok(sides) => sides,
        Err(error) => return log::debug!("no tunnel: {error}"),
    };
    let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
    if let Err(error) = copy_bidirectional(&mut client, &mut backend).await {
        log::debug!("the tunnel broke: {error}");
    }
}
