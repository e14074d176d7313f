//! What hyper makes of octets: a server or client of the field, run over memory.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};

use crate::show;

/// More polls than any message of a fuzzer needs.
const POLLS_MAX: usize = 10_000;

/// A message as hyper understood it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// Method, target and the authority of an absolute target; or the status alone.
    pub start: Vec<String>,
    /// The header section, names in lower case, in the order of arrival for each name.
    pub fields: HeaderMap,
    /// The content; `None` where the body was broken or broke off.
    pub content: Option<Vec<u8>>,
    /// The trailer section, where there was one.
    pub trailers: Option<HeaderMap>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = self.content.as_deref().map_or("broken".to_owned(), show);
        write!(f, "{:?} {:?} {content}", self.start, self.fields)
    }
}

/// A connection whose peer has sent `input`, and then nothing more. A client may read from it only
/// after it has written: before, the octets would be an answer to nothing.
struct Memory {
    input: Bytes,
    may_read: bool,
}

impl Read for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.may_read {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self.input.len().min(buf.remaining());
        buf.put_slice(&self.input.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.may_read = true;
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a server makes of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The requests; the body of the last may be broken or broken off.
    pub requests: Vec<Seen>,
    /// Whether something is left that the server does not understand, or that is not whole.
    pub is_refused: bool,
}

/// What a hyper server reads from these octets, up to the first that it refuses.
#[must_use]
pub fn read_requests(octets: &[u8]) -> Reading {
    let all = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let all = Rc::clone(&all);
        async move {
            let (head, body) = request.into_parts();
            let target = head.uri.path_and_query().map_or("", |target| target.as_str());
            let authority = head.uri.authority().map_or("", |authority| authority.as_str());
            let start = [head.method.as_str(), target, authority].map(str::to_owned).to_vec();
            let place = all.borrow().len();
            let seen = Seen { start, fields: head.headers, content: None, trailers: None };
            all.borrow_mut().push(seen);
            let (content, trailers) = collect(body).await;
            all.borrow_mut()[place].content = content;
            all.borrow_mut()[place].trailers = trailers;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    let memory = Memory { input: Bytes::copy_from_slice(octets), may_read: true };
    let mut server = hyper::server::conn::http1::Builder::new();
    let connection = server.max_headers(200).half_close(true).serve_connection(memory, service);
    let is_refused = !matches!(run(connection), Some(Ok(())));
    Reading { requests: all.take(), is_refused }
}

/// The response that a hyper client reads from these octets, after a request with this method.
///
/// # Errors
/// Why it does not take it for one.
pub fn read_response(octets: &[u8], method: Method) -> Result<Seen, String> {
    let memory = Memory { input: Bytes::copy_from_slice(octets), may_read: false };
    let mut client = hyper::client::conn::http1::Builder::new();
    let exchange = async {
        let shaken = client.max_headers(200).handshake(memory).await;
        let (mut sender, connection) = shaken.map_err(|e| e.to_string())?;
        let request = Request::builder().method(method).uri("/").body(Empty::<Bytes>::new());
        let answer = async {
            let response = sender.send_request(request.map_err(|e| e.to_string())?).await;
            let (head, body) = response.map_err(|e| format!("{e:?}"))?.into_parts();
            let start = vec![head.status.as_str().to_owned()];
            let (content, trailers) = collect(body).await;
            Ok(Seen { start, fields: head.headers, content, trailers })
        };
        both(answer, connection).await
    };
    run(exchange).unwrap_or_else(|| Err("hyper waits for more".to_owned()))
}

async fn collect(body: Incoming) -> (Option<Vec<u8>>, Option<HeaderMap>) {
    match body.collect().await {
        Ok(whole) => {
            let trailers = whole.trailers().cloned();
            (Some(whole.to_bytes().to_vec()), trailers)
        }
        Err(_) => (None, None),
    }
}

/// Runs `main` to its end, with `helper` beside it.
async fn both<T>(main: impl Future<Output = T>, helper: impl Future) -> T {
    let mut main = pin!(main);
    let mut helper = pin!(helper);
    let mut helper_runs = true;
    std::future::poll_fn(move |context| {
        if helper_runs && helper.as_mut().poll(context).is_ready() {
            helper_runs = false;
        }
        main.as_mut().poll(context)
    })
    .await
}

/// Polls until it is over; gives up when it is not.
fn run<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..POLLS_MAX).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline() {
        let wire = b"POST /a?b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\nok\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nrubbish";
        let Reading { requests: seen, is_refused } = read_requests(wire);
        assert_eq!((seen.len(), is_refused), (2, true));
        assert_eq!(seen[0].start, ["POST", "/a?b", ""]);
        assert_eq!(seen[0].content.as_deref(), Some(&b"ok"[..]));
        assert_eq!(seen[0].trailers.as_ref().unwrap()["x"], "y");
        assert_eq!(seen[1].start, ["GET", "/", ""]);
        let closed = read_requests(b"GET http://h HTTP/1.0\r\n\r\nGET");
        assert_eq!(closed.requests[0].start, ["GET", "/", "h"]);
        assert!(!closed.is_refused);
    }

    #[test]
    fn responses() {
        let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let seen = read_response(wire, Method::GET).unwrap();
        assert_eq!((seen.start[0].as_str(), seen.content), ("200", Some(b"ok".to_vec())));
        let truncated = read_response(&wire[..wire.len() - 1], Method::GET).unwrap();
        assert_eq!(truncated.content, None);
        assert!(read_response(b"HTTP/1.1 2OO OK\r\n\r\n", Method::GET).is_err());
    }
}
