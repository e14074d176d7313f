//! What we answer ourselves, and the one closed vocabulary of reasons.
//!
//! Every way in which an exchange can end other than well has exactly one [`Reason`]. Its word stands
//! in the body of the answer, in its `Proxy-Status` field (RFC 9209) and in the access log, so that
//! what a client reports can be found in the log by that word. Knows nothing of connections.
//!
//! Next: `proxy::client` sends these octets.

use super::text::{push_decimal, push_http_date};

/// What `Retry-After` says: shortages pass as soon as others have been served.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Why we answered in a backend's place, or why an exchange broke off.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// The request line is none.
    BadRequestLine,
    /// A field line is none, or ends in another way than with CRLF.
    BadField,
    /// The request target is none of the forms of RFC 9112 section 3.2.
    BadTarget,
    /// `Host` is missing, there are several, or it contradicts the target.
    BadHost,
    /// The end of the request body could be read in two ways.
    BadFraming,
    /// The chunked coding of the request body is broken.
    BadChunk,
    /// The request head is longer than the limit.
    HeadTooLong,
    /// The request head has more fields than the limit.
    TooManyFields,
    /// The request target is longer than the limit.
    TargetTooLong,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    UnsupportedVersion,
    /// A transfer coding other than chunked.
    UnsupportedCoding,
    /// CONNECT and TRACE are not for a gateway; lower-case letters in a method are read in two ways.
    UnsupportedMethod,
    /// Not a failure: OPTIONS was meant for whoever it reaches here.
    HopLimit,
    /// The request head did not arrive in time.
    HeadTimeout,
    /// The request body stopped arriving.
    BodyTimeout,
    /// The request body arrives more slowly than the limit.
    BodyTooSlow,
    /// The request has more content than the limit.
    BodyTooLarge,
    /// The client closed before its request was complete.
    ClientClosed,
    /// The client reset its connection.
    ClientReset,
    /// The client stopped taking its response.
    ClientStalled,
    /// The backend's name has no address at the moment.
    NameUnresolved,
    /// The backend refused the connection.
    ConnectRefused,
    /// The backend cannot be reached.
    ConnectUnreachable,
    /// The connection to the backend was not usable in time.
    ConnectTimeout,
    /// The backend's certificate comes from an issuer that is not trusted.
    TlsUntrustedCertificate,
    /// The backend's certificate is for another name.
    TlsWrongName,
    /// The backend's certificate has expired, or is not valid yet.
    TlsExpiredCertificate,
    /// The backend's certificate is unusable in another way.
    TlsBadCertificate,
    /// The TLS handshake failed for another reason than the certificate.
    TlsHandshakeFailed,
    /// The TLS handshake did not end in time.
    TlsHandshakeTimeout,
    /// All backends have as many connections as they may, and as many requests wait as may.
    QueueFull,
    /// All backends had as many connections as they may for too long.
    QueueTimeout,
    /// The backend closed the connection before it answered.
    UpstreamClosed,
    /// The backend reset the connection before it answered.
    UpstreamReset,
    /// The backend did not begin to answer in time.
    ResponseTimeout,
    /// The backend began to answer and was silent for too long.
    ResponseStalled,
    /// The backend's response head is malformed.
    BadResponseHead,
    /// The end of the response body could be read in two ways.
    BadResponseFraming,
    /// The chunked coding of the response body is broken.
    BadResponseChunk,
    /// The backend's response head is longer than the limit, or has too many fields.
    ResponseHeadTooLong,
    /// The backend sent more interim responses than the limit.
    TooManyInterim,
    /// The backend changed protocols without having been asked.
    UnexpectedUpgrade,
    /// The response ended before its body was complete.
    ResponseTruncated,
    /// Nothing went through the tunnel for too long.
    TunnelIdle,
    /// Nothing went through the tunnel for too long after one side had ended.
    TunnelHalfClosed,
    /// The exchange was still open at the end of the drain.
    DrainTimeout,
    /// There are no descriptors left to reach a backend with.
    OutOfDescriptors,
    /// A mistake of our own.
    Internal,
}

/// Everything that one reason implies.
struct Row {
    word: &'static str,
    /// The status of the answer, where one can still be given.
    status: u16,
    /// An error type of RFC 9209 section 2.3; empty where there is no error.
    proxy_error: &'static str,
    sentence: &'static str,
}

const fn row(
    status: u16,
    word: &'static str,
    proxy_error: &'static str,
    sentence: &'static str,
) -> Row {
    Row { word, status, proxy_error, sentence }
}

impl Reason {
    /// The word that names it everywhere.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// The status of an answer for this reason.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// After how many seconds it may be worth trying again (RFC 9110 section 10.2.3), where a passing
    /// shortage is all that is wrong.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u64> {
        (self.status() == 503).then_some(RETRY_AFTER_SECONDS)
    }

    /// One sentence for people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        self.row().sentence
    }

    #[rustfmt::skip]
    fn row(self) -> Row {
        const REQUEST: &str = "http_request_error";
        const PROTOCOL: &str = "http_protocol_error";
        const CERTIFICATE: &str = "tls_certificate_error";
        match self {
            Self::BadRequestLine => row(400, "bad_request_line", REQUEST, "The request line is malformed."),
            Self::BadField => row(400, "bad_field", REQUEST, "A header field is malformed."),
            Self::BadTarget => row(400, "bad_target", REQUEST, "The request target is malformed."),
            Self::BadHost => row(400, "bad_host", REQUEST, "The request needs exactly one valid Host field that agrees with its target."),
            Self::BadFraming => row(400, "bad_framing", REQUEST, "The end of the request body is ambiguous."),
            Self::BadChunk => row(400, "bad_chunk", REQUEST, "The chunked request body is malformed."),
            Self::HeadTooLong => row(431, "head_too_long", REQUEST, "The request head is too long."),
            Self::TooManyFields => row(431, "too_many_fields", REQUEST, "The request has too many header fields."),
            Self::TargetTooLong => row(414, "target_too_long", REQUEST, "The request target is too long."),
            Self::UnsupportedVersion => row(505, "unsupported_version", REQUEST, "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
            Self::UnsupportedCoding => row(501, "unsupported_coding", REQUEST, "The only transfer coding known here is chunked."),
            Self::UnsupportedMethod => row(501, "unsupported_method", REQUEST, "This method is not served here: CONNECT, TRACE and those with lower-case letters are not."),
            Self::HopLimit => row(200, "hop_limit", "", "OPTIONS ends here, as its Max-Forwards asks."),
            Self::HeadTimeout => row(408, "head_timeout", REQUEST, "The request head did not arrive in time."),
            Self::BodyTimeout => row(408, "body_timeout", REQUEST, "The request body stopped arriving."),
            Self::BodyTooSlow => row(408, "body_too_slow", REQUEST, "The request body arrives too slowly."),
            Self::BodyTooLarge => row(413, "body_too_large", REQUEST, "The request body is larger than is allowed here."),
            Self::ClientClosed => row(400, "client_closed", REQUEST, "The client closed the connection before its request was complete."),
            Self::ClientReset => row(400, "client_reset", REQUEST, "The client reset the connection."),
            Self::ClientStalled => row(408, "client_stalled", REQUEST, "The client stopped reading the response."),
            Self::NameUnresolved => row(502, "name_unresolved", "dns_error", "The server's name cannot be resolved at the moment."),
            Self::ConnectRefused => row(502, "connect_refused", "connection_refused", "The server refused the connection."),
            Self::ConnectUnreachable => row(502, "connect_unreachable", "destination_ip_unroutable", "The server cannot be reached."),
            Self::ConnectTimeout => row(504, "connect_timeout", "connection_timeout", "The server could not be reached in time."),
            Self::TlsUntrustedCertificate => row(502, "tls_untrusted_certificate", CERTIFICATE, "The server's certificate is not trusted."),
            Self::TlsWrongName => row(502, "tls_wrong_name", CERTIFICATE, "The server's certificate is for another name."),
            Self::TlsExpiredCertificate => row(502, "tls_expired_certificate", CERTIFICATE, "The server's certificate is not valid at this time."),
            Self::TlsBadCertificate => row(502, "tls_bad_certificate", CERTIFICATE, "The server's certificate is unusable."),
            Self::TlsHandshakeFailed => row(502, "tls_handshake_failed", "tls_protocol_error", "The TLS handshake with the server failed."),
            Self::TlsHandshakeTimeout => row(504, "tls_handshake_timeout", "connection_timeout", "The TLS handshake with the server did not end in time."),
            Self::QueueFull => row(503, "queue_full", "connection_limit_reached", "The servers are busy, and too many requests wait for them."),
            Self::QueueTimeout => row(503, "queue_timeout", "connection_limit_reached", "The servers were busy for too long."),
            Self::UpstreamClosed => row(502, "upstream_closed", "connection_terminated", "The server closed the connection without an answer."),
            Self::UpstreamReset => row(502, "upstream_reset", "connection_terminated", "The server reset the connection without an answer."),
            Self::ResponseTimeout => row(504, "response_timeout", "connection_read_timeout", "The server did not answer in time."),
            Self::ResponseStalled => row(504, "response_stalled", "connection_read_timeout", "The server stopped in the middle of its answer."),
            Self::BadResponseHead => row(502, "bad_response_head", PROTOCOL, "The server's response is malformed."),
            Self::BadResponseFraming => row(502, "bad_response_framing", PROTOCOL, "The end of the server's response is ambiguous."),
            Self::BadResponseChunk => row(502, "bad_response_chunk", PROTOCOL, "The server's chunked response is malformed."),
            Self::ResponseHeadTooLong => row(502, "response_head_too_long", "http_response_header_section_size", "The head of the server's response is too long."),
            Self::TooManyInterim => row(502, "too_many_interim", PROTOCOL, "The server sent too many interim responses."),
            Self::UnexpectedUpgrade => row(502, "unexpected_upgrade", "http_upgrade_failed", "The server changed the protocol unasked."),
            Self::ResponseTruncated => row(502, "response_truncated", "http_response_incomplete", "The server's response broke off."),
            Self::TunnelIdle => row(504, "tunnel_idle", "connection_read_timeout", "The tunnel was idle for too long."),
            Self::TunnelHalfClosed => row(504, "tunnel_half_closed", "connection_read_timeout", "The tunnel was idle for too long after one side had ended."),
            Self::DrainTimeout => row(503, "drain_timeout", "proxy_internal_response", "The proxy stopped."),
            Self::OutOfDescriptors => row(503, "out_of_descriptors", "connection_limit_reached", "The proxy has no room for another connection."),
            Self::Internal => row(500, "internal", "proxy_internal_error", "The proxy made a mistake."),
        }
    }
}

/// The reason phrases of the statuses that we give (RFC 9110 section 15, RFC 6585).
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

/// Whether the answer has a body: one to HEAD has only the head of what GET would get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyBody {
    /// The body follows.
    Sent,
    /// The answer is to HEAD.
    Omitted,
}

/// What follows on the connection after the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterReply {
    /// It goes on.
    Persist,
    /// It goes on, and the client speaks HTTP/1.0 and has to be told.
    PersistHttp10,
    /// It ends.
    Close,
}

/// What an answer depends on besides its reason.
#[derive(Clone, Copy, Debug)]
pub struct ReplyStyle {
    /// Whether it has a body.
    pub body: ReplyBody,
    /// What follows on the connection.
    pub after: AfterReply,
    /// The time, in milliseconds since 1970: who answers by himself says when (RFC 9110 section
    /// 6.6.1).
    pub unix_ms: u64,
}

/// Appends a whole answer for this reason; gives the number of octets of its body that were written.
pub fn write_reply(out: &mut Vec<u8>, reason: Reason, style: ReplyStyle) -> usize {
    let row = reason.row();
    let mut text = Vec::with_capacity(128);
    push_decimal(&mut text, u64::from(row.status));
    for part in [" ", phrase(row.status), ": ", row.sentence, " (", row.word, ")\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(row.status));
    for part in [" ", phrase(row.status), "\r\nDate: "] {
        out.extend_from_slice(part.as_bytes());
    }
    push_http_date(out, style.unix_ms);
    out.extend_from_slice(
        b"\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n",
    );
    if !row.proxy_error.is_empty() {
        let status = ["Proxy-Status: roundel; error=", row.proxy_error, "; details=\"", row.word];
        out.extend(status.iter().flat_map(|part| part.bytes()));
        out.extend_from_slice(b"\"\r\n");
    }
    if let Some(seconds) = reason.retry_after_seconds() {
        out.extend_from_slice(b"Retry-After: ");
        push_decimal(out, seconds);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(out, text.len() as u64);
    out.extend_from_slice(match style.after {
        AfterReply::Persist => b"\r\n\r\n".as_slice(),
        AfterReply::PersistHttp10 => b"\r\nConnection: keep-alive\r\n\r\n",
        AfterReply::Close => b"\r\nConnection: close\r\n\r\n",
    });
    match style.body {
        ReplyBody::Omitted => 0,
        ReplyBody::Sent => {
            out.extend_from_slice(&text);
            text.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_why_three_times() {
        let mut out = Vec::new();
        let style = ReplyStyle {
            body: ReplyBody::Sent,
            after: AfterReply::Persist,
            unix_ms: 784_111_777_000,
        };
        let sent = write_reply(&mut out, Reason::ConnectRefused, style);
        let body = "502 Bad Gateway: The server refused the connection. (connect_refused)\n";
        let want = format!(
            "HTTP/1.1 502 Bad Gateway\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Cache-Control: no-store\r\n\
             Proxy-Status: roundel; error=connection_refused; details=\"connect_refused\"\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(String::from_utf8(out).expect("ASCII"), want);
        assert_eq!(sent, body.len());
    }

    #[test]
    fn an_answer_to_head_has_the_length_but_no_body() {
        let mut out = Vec::new();
        let style = ReplyStyle { body: ReplyBody::Omitted, after: AfterReply::Close, unix_ms: 0 };
        let sent = write_reply(&mut out, Reason::BadField, style);
        let text = String::from_utf8(out).expect("ASCII");
        assert_eq!(sent, 0);
        assert!(text.ends_with("Connection: close\r\n\r\n"), "{text}");
        let body = "400 Bad Request: A header field is malformed. (bad_field)\n";
        assert!(text.contains(&format!("Content-Length: {}\r\n", body.len())), "{text}");
    }

    #[test]
    fn statuses_have_their_own_phrase() {
        for status in [200, 400, 408, 413, 414, 431, 501, 502, 503, 504, 505] {
            assert_ne!(phrase(status), phrase(500), "{status}");
        }
    }
}
