//! What becomes of a request whose backend failed before it answered.
//!
//! The rule is as narrow as it must be (RFC 9110 section 9.2.2): a request may be sent again only
//! where the first one cannot have had an effect, or where a second one changes nothing. Knows nothing
//! of connections.

use super::exchange::{Exchange, Kept, ResponseState};
use crate::h1::reply::Reason;
use crate::h1::scan::HeadScan;
use crate::observe::access_log::Reuse;

/// How many times a request is sent again after octets of it had been sent.
pub const RESENDS_COUNT_MAX: u32 = 2;

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Send it again to the same backend, on a connection that has not served yet.
    Resend,
    /// Send it again, to another backend if there is one.
    ResendElsewhere,
    /// The client gets the reason.
    GiveUp,
}

/// Decides about a request that was sent on a connection which then failed.
///
/// A pooled connection that ends before the first octet of an answer was most likely closed by the
/// backend as idle, at the moment when we used it: an ordinary race, and no news about the backend.
/// A fresh connection that ends there is news: this backend has broken down, or the request breaks it.
/// Another one may be asked, but not the same again. A response timeout is no reason to ask twice.
#[must_use]
pub fn decide(exchange: &Exchange, reason: Reason, partial_head: &[u8]) -> Decision {
    let connection_ended = matches!(reason, Reason::UpstreamClosed | Reason::UpstreamReset);
    let nothing_came = partial_head.is_empty()
        && match exchange.response {
            ResponseState::AwaitHead { scan, interim } => {
                interim == 0 && scan == HeadScan::default()
            }
            ResponseState::RelayBody { .. } => false,
        };
    let all_is_kept = exchange.request.is_complete()
        && match exchange.kept {
            Kept::All(_) => true,
            Kept::Gone => false,
        };
    let may_repeat = connection_ended
        && nothing_came
        && exchange.facts.method.is_idempotent()
        && all_is_kept
        && exchange.route.resends < RESENDS_COUNT_MAX;
    match exchange.route.reuse {
        Reuse::Reused if may_repeat => Decision::Resend,
        Reuse::New if may_repeat => Decision::ResendElsewhere,
        Reuse::Reused | Reuse::New | Reuse::None => Decision::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::body::BodyState;
    use crate::h1::request::Method;
    use crate::proxy::exchange::RequestState;

    fn idempotent_on_a_reused_connection() -> Exchange {
        let mut exchange = Exchange::new(crate::clock::now().instant);
        exchange.facts.method = Method::Idempotent;
        exchange.route.reuse = Reuse::Reused;
        exchange
    }

    #[test]
    fn a_request_is_sent_again_only_where_that_is_safe() {
        type Change = fn(&mut Exchange);
        let table: &[(&str, Change, Reason, &[u8], Decision)] = &[
            ("the race", |_| {}, Reason::UpstreamClosed, b"", Decision::Resend),
            ("the race, by reset", |_| {}, Reason::UpstreamReset, b"", Decision::Resend),
            (
                "HEAD",
                |e| e.facts.method = Method::Head,
                Reason::UpstreamClosed,
                b"",
                Decision::Resend,
            ),
            ("a timeout", |_| {}, Reason::ResponseTimeout, b"", Decision::GiveUp),
            ("a bad head", |_| {}, Reason::BadResponseHead, b"", Decision::GiveUp),
            (
                "POST",
                |e| e.facts.method = Method::Other,
                Reason::UpstreamClosed,
                b"",
                Decision::GiveUp,
            ),
            (
                "a fresh connection",
                |e| e.route.reuse = Reuse::New,
                Reason::UpstreamClosed,
                b"",
                Decision::ResendElsewhere,
            ),
            (
                "a POST on a fresh connection",
                |e| {
                    e.route.reuse = Reuse::New;
                    e.facts.method = Method::Other;
                },
                Reason::UpstreamReset,
                b"",
                Decision::GiveUp,
            ),
            ("an answer had begun", |_| {}, Reason::UpstreamClosed, b"HTTP", Decision::GiveUp),
            (
                "an interim answer",
                |e| e.response = ResponseState::AwaitHead { scan: HeadScan::default(), interim: 1 },
                Reason::UpstreamClosed,
                b"",
                Decision::GiveUp,
            ),
            (
                "a body that is gone",
                |e| e.kept = Kept::Gone,
                Reason::UpstreamClosed,
                b"",
                Decision::GiveUp,
            ),
            (
                "a body that is still coming",
                |e| e.request = RequestState::Relay(BodyState::Length(1)),
                Reason::UpstreamClosed,
                b"",
                Decision::GiveUp,
            ),
            (
                "an abandoned body",
                |e| e.request = RequestState::Abandoned,
                Reason::UpstreamReset,
                b"",
                Decision::GiveUp,
            ),
            (
                "twice already",
                |e| e.route.resends = 2,
                Reason::UpstreamClosed,
                b"",
                Decision::GiveUp,
            ),
        ];
        for (name, change, reason, partial_head, want) in table {
            let mut exchange = idempotent_on_a_reused_connection();
            change(&mut exchange);
            assert_eq!(decide(&exchange, *reason, partial_head), *want, "{name}");
        }
    }
}
