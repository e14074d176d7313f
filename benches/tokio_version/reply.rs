//! Our own answers, in roundel's words.

use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use roundel::h1::reply::Reason;

use crate::body::ResponseBody;

/// The body of an answer: a backend's, or our own.
pub(crate) type AnswerBody = Either<ResponseBody, Full<Bytes>>;

/// The answer for this reason.
pub(crate) fn reply(reason: Reason) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let text = format!("{status}: {} ({})\n", reason.sentence(), reason.word());
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
