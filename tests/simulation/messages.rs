//! What the peers say, octet by octet, and what each may hear from roundel.

use super::{
    http::{Body, Chunking, Head, Matter, content},
    script::{
        AnswerFault, AnswerPlan, BackendPlan, BodyPlan, IdlePlan, RequestPlan, Security, Then, Wish,
    },
};

/// The `Host` of every request.
const HOST: &str = "sim.example";

/// More interim answers than any proxy has to take.
const TOO_MANY_INTERIMS: usize = 12;

/// Fields that are for one connection, and may be on the other one only if roundel says them.
const HOP_BY_HOP: &[&str] =
    &["keep-alive", "proxy-connection", "te", "trailer", "proxy-authenticate", "x-nominated"];

pub(crate) fn target(plan: &RequestPlan) -> String {
    format!("/x{}/{}", plan.id, "p".repeat(plan.padding))
}

/// The id in a target, whatever stands in front of it.
pub(crate) fn id_of(target: &str) -> Option<usize> {
    let (_, rest) = target.split_once("/x")?;
    rest.split('/').next()?.parse().ok()
}

fn trailers(id: usize) -> Vec<(String, String)> {
    vec![
        ("X-Trailer".to_owned(), format!("trailer {id}")),
        // Nothing for a trailer section: it must not go on.
        ("Authorization".to_owned(), "sneaked in".to_owned()),
    ]
}

/// The trailers that have to arrive.
pub(crate) fn trailers_that_go_on(id: usize, body: BodyPlan) -> Vec<(String, String)> {
    match body {
        BodyPlan::Chunks { trailers: true, .. } => trailers(id)[..1].to_vec(),
        _ => Vec::new(),
    }
}

fn framing_fields(body: BodyPlan) -> String {
    match body {
        BodyPlan::Nothing | BodyPlan::UntilClose(_) => String::new(),
        BodyPlan::Length(size) => format!("Content-Length: {size}\r\n"),
        BodyPlan::Chunks { .. } => "Transfer-Encoding: chunked\r\n".to_owned(),
    }
}

/// A body as it stands on the wire.
fn encode(id: usize, matter: Matter, body: BodyPlan) -> Vec<u8> {
    let octets = content(id, matter, 0, body.size());
    match body {
        BodyPlan::Nothing | BodyPlan::Length(_) | BodyPlan::UntilClose(_) => octets,
        BodyPlan::Chunks { chunk, extensions, trailers: with_trailers, .. } => {
            let trailers = if with_trailers { trailers(id) } else { Vec::new() };
            let sizes = vec![chunk, (chunk / 3).max(1), chunk + 1];
            Chunking { sizes, extensions, trailers }.encode(&octets)
        }
    }
}

/// A body whose coding breaks after a while, in one of several ways.
fn encode_badly(id: usize, matter: Matter, body: BodyPlan, kind: usize) -> Vec<u8> {
    let good = body.size() / 2;
    // Never more content than the plan has: what goes on of it has to be the beginning of that.
    let count = (body.size() - good).min(3);
    let octets = content(id, matter, 0, good + count);
    let chunking = Chunking { sizes: vec![64], extensions: false, trailers: Vec::new() };
    let mut out = chunking.encode(&octets[..good]);
    out.truncate(out.len() - "0\r\n\r\n".len());
    let rest = &octets[good..];
    let with_rest = |line: &str, end: &str| [line.as_bytes(), rest, end.as_bytes()].concat();
    out.extend(match kind % 9 {
        0 => b"g\r\n".to_vec(),
        1 => b"-1\r\n".to_vec(),
        2 => b"0x3\r\n".to_vec(),
        3 => b" 3\r\n".to_vec(),
        4 => b"\r\n".to_vec(),
        5 => with_rest(&format!("{count}\n"), "\r\n"),
        6 => with_rest(&format!("{count}\r\n"), "XX\r\n\r\n"),
        7 => with_rest(&format!("{count};a=\"\r\n"), "\r\n"),
        _ => with_rest(&format!("1000000000000000{count}\r\n"), "\r\n"),
    });
    out
}

pub(crate) fn request_head(plan: &RequestPlan) -> Vec<u8> {
    let authority = if plan.absolute { format!("http://{HOST}") } else { String::new() };
    let version = if plan.http10 { "1.0" } else { "1.1" };
    let mut head = format!("{} {authority}{} HTTP/{version}\r\n", plan.method, target(plan));
    head += &format!("Host: {HOST}\r\nX-Id: {}\r\n", plan.id);
    head += "X-Nominated: yes\r\nKeep-Alive: 300\r\n";
    head += match (plan.tunnel, plan.wish) {
        (Some(_), _) => "Connection: X-Nominated, Upgrade\r\nUpgrade: sim\r\n",
        (None, Wish::Unsaid) => "Connection: X-Nominated\r\n",
        (None, Wish::Close) => "Connection: X-Nominated, close\r\n",
        (None, Wish::KeepAlive) => "Connection: keep-alive, X-Nominated\r\n",
    };
    if plan.expects {
        head += "Expect: 100-continue\r\n";
    }
    head += &framing_fields(plan.body);
    head += "X-Forwarded-For: 192.0.2.7\r\nX-Last: yes\r\n\r\n";
    head.into_bytes()
}

pub(crate) fn request_body(plan: &RequestPlan) -> Vec<u8> {
    encode(plan.id, Matter::RequestBody, plan.body)
}

pub(crate) fn bad_request_body(plan: &RequestPlan, kind: usize) -> Vec<u8> {
    encode_badly(plan.id, Matter::RequestBody, plan.body, kind)
}

/// Something that is no request, or none that two parties would read alike.
pub(crate) fn bad_request_head(plan: &RequestPlan, kind: usize) -> Vec<u8> {
    let target = target(plan);
    let line = format!("POST {target} HTTP/1.1\r\n");
    let host = format!("Host: {HOST}\r\n");
    let long = "y".repeat(17_000);
    let many = "A: b\r\n".repeat(101);
    match kind % 14 {
        0 => format!("GET  {target} HTTP/1.1\r\n{host}\r\n"),
        1 => format!("GET {target} HTTP/1.1\n{host}\r\n"),
        2 => format!("{line}{host}A : b\r\n\r\n"),
        3 => format!("{line}\r\n"),
        4 => {
            format!("{line}{host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        }
        5 => format!("{line}{host}Content-Length: +3\r\n\r\nabc"),
        6 => format!("{line}{host}A: b\r\n c\r\n\r\n"),
        7 => format!("GET {target} HTTP/2.0\r\n{host}\r\n"),
        8 => format!("{line}{host}{host}\r\n"),
        9 => format!("{line}{host}A: \0\r\n\r\n"),
        10 => format!("{line}{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        11 => format!("{line}{host}A: {long}\r\n\r\n"),
        12 => format!("{line}{host}{many}\r\n"),
        _ => format!("{line}{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"),
    }
    .into_bytes()
}

/// What a backend checks of a request head; gives what follows it.
pub(crate) fn check_request(
    head: &Head,
    plan: &RequestPlan,
    backend: &BackendPlan,
    number: usize,
    client: usize,
) -> Result<Body, String> {
    let line = format!("{} {}{} HTTP/1.1", plan.method, backend.prefix, target(plan));
    same("the request line", &head.start, &line)?;
    let id = plan.id.to_string();
    let host = match backend.security {
        Security::Plain => HOST.to_owned(),
        Security::Tls | Security::TlsWrongName => name_of(number),
    };
    let address = client_address(client).to_string();
    let via = if plan.http10 { "1.0 roundel" } else { "1.1 roundel" };
    for (name, value) in [
        ("Host", host.as_str()),
        ("X-Id", &id),
        ("X-Last", "yes"),
        ("X-Forwarded-For", &address),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", HOST),
        ("Via", via),
    ] {
        only(head, name, value)?;
    }
    without(head, HOP_BY_HOP)?;
    if plan.expects {
        only(head, "Expect", "100-continue")?;
    }
    if plan.tunnel.is_some() {
        only(head, "Connection", "upgrade")?;
        only(head, "Upgrade", "sim")?;
    } else {
        without(head, &["connection", "upgrade"])?;
    }
    let body = framing_of(head)?.unwrap_or(Body::Nothing);
    let want = match plan.body {
        BodyPlan::Nothing | BodyPlan::UntilClose(_) => Body::Nothing,
        BodyPlan::Length(size) => Body::Length(size),
        BodyPlan::Chunks { .. } => Body::Chunks,
    };
    if body != want {
        return Err(format!("a request with {body:?}, not {want:?}"));
    }
    Ok(body)
}

/// What the fields say of the body; both kinds at once are an error.
pub(crate) fn framing_of(head: &Head) -> Result<Option<Body>, String> {
    match (head.has("content-length"), head.has("transfer-encoding")) {
        (false, false) => Ok(None),
        (true, false) => {
            let length = head.only("content-length").and_then(|text| text.parse().ok());
            length.map(|n| Some(Body::Length(n))).ok_or_else(|| format!("which length? {head:?}"))
        }
        (false, true) => only(head, "transfer-encoding", "chunked").map(|()| Some(Body::Chunks)),
        (true, true) => Err(format!("two framings: {head:?}")),
    }
}

fn only(head: &Head, name: &str, value: &str) -> Result<(), String> {
    match head.only(name) {
        Some(found) if found == value => Ok(()),
        _ => Err(format!("{name} is not exactly once {value:?} in {head:?}")),
    }
}

fn without(head: &Head, names: &[&str]) -> Result<(), String> {
    match names.iter().find(|name| head.has(name)) {
        None => Ok(()),
        Some(name) => Err(format!("{name} has gone on: {head:?}")),
    }
}

pub(crate) fn same(what: &str, found: &str, wanted: &str) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?}, not {wanted:?}")) }
}

/// The answer's fault, where its circumstances let it come to be: a body that is not sent cannot break
/// off.
pub(crate) fn effective_fault(plan: &RequestPlan, answer: &AnswerPlan) -> Option<AnswerFault> {
    let size = answer.body.size();
    let has_body = plan.method != "HEAD" && !answer.has_no_body_by_status() && size > 0;
    match answer.fault? {
        AnswerFault::ClosesInBody(_)
        | AnswerFault::ResetsInBody(_)
        | AnswerFault::StallsInBody(_)
            if !has_body =>
        {
            None
        }
        AnswerFault::BadChunk(_)
            if !has_body || !matches!(answer.body, BodyPlan::Chunks { .. }) =>
        {
            None
        }
        AnswerFault::ClosesInBody(_) | AnswerFault::Surplus if answer.is_until_close() => None,
        fault => Some(fault),
    }
}

/// An answer as octets.
pub(crate) struct AnswerOctets {
    pub(crate) interims: Vec<u8>,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Comes together with the last octet of the rest.
    pub(crate) surplus: Vec<u8>,
}

pub(crate) fn answer(
    plan: &RequestPlan,
    number: usize,
    answer: &AnswerPlan,
    backend: &BackendPlan,
) -> AnswerOctets {
    let id = plan.id;
    let fault = effective_fault(plan, answer);
    let mut interims = String::new();
    let many = fault == Some(AnswerFault::TooManyInterims);
    let extra = if many { TOO_MANY_INTERIMS } else { 0 };
    for status in answer.interims.iter().copied().chain(std::iter::repeat_n(103, extra)) {
        interims += &format!("HTTP/1.1 {status} Interim {id}\r\nX-Id: {id}\r\n\r\n");
    }
    let matter = Matter::ResponseBody(number);
    let mut body = encode(id, matter, answer.body);
    let mut surplus = Vec::new();
    if plan.method == "HEAD" || answer.has_no_body_by_status() {
        body.clear();
    }
    if let Some(AnswerFault::BadChunk(kind)) = fault {
        body = encode_badly(id, matter, answer.body, kind);
    }
    if fault == Some(AnswerFault::Surplus) {
        surplus = b"HTTP/1.1 200 Evil\r\nX-Id: 999999\r\nContent-Length: 4\r\n\r\nevil".to_vec();
    }
    let head = answer_head(plan, number, answer, backend, fault);
    AnswerOctets { interims: interims.into_bytes(), head, body, surplus }
}

fn answer_head(
    plan: &RequestPlan,
    number: usize,
    answer: &AnswerPlan,
    backend: &BackendPlan,
    fault: Option<AnswerFault>,
) -> Vec<u8> {
    let version = if answer.http10 { "1.0" } else { "1.1" };
    let mut line = format!("HTTP/{version} {} Fine {}\r\n", answer.status, plan.id);
    let mut fields = format!("X-Id: {}\r\nX-Answer: {number}\r\n", plan.id);
    if answer.status == 101 {
        fields += "Connection: Upgrade\r\nUpgrade: sim\r\n";
    } else {
        fields += "X-Nominated: yes\r\n";
        fields += match (answer.then, answer.http10) {
            (Then::Closes, _) => "Connection: X-Nominated, close\r\n",
            (Then::GoesOn | Then::ClosesSilently, true) => {
                "Connection: keep-alive, x-nominated\r\n"
            }
            (Then::GoesOn | Then::ClosesSilently, false) => "Connection: X-Nominated\r\n",
        };
        if answer.status != 204 {
            fields += &framing_fields(answer.body);
        }
        if let IdlePlan::EndsAsAnnounced(seconds) = backend.idle {
            fields += &format!("Keep-Alive: timeout={seconds}\r\n");
        }
    }
    match fault {
        Some(AnswerFault::UnaskedUpgrade) => {
            line = "HTTP/1.1 101 Unasked\r\n".to_owned();
            fields = "Connection: Upgrade\r\nUpgrade: sim\r\n".to_owned();
        }
        Some(AnswerFault::HeadTooLong) => fields += &format!("X-Pad: {}\r\n", "y".repeat(17_000)),
        Some(AnswerFault::BadHead(kind)) => match kind % 7 {
            0 => line = "HTTP/1.1 2000 Fine\r\n".to_owned(),
            1 => line = "HTTP/2.0 200 Fine\r\n".to_owned(),
            2 => line = format!("\r\n{line}"),
            3 => fields += "A : b\r\n",
            4 => fields += "A: b\r\n c\r\n",
            5 => fields += "A: b\n",
            _ => fields += "A: \0\r\n",
        },
        Some(AnswerFault::BadFraming(kind)) => match kind % 4 {
            0 => fields += "Content-Length: 900001\r\nContent-Length: 900002\r\n",
            1 => fields += "Content-Length: 900001\r\nTransfer-Encoding: chunked\r\n",
            2 => fields += "Transfer-Encoding: gzip, chunked\r\n",
            _ => fields += "Content-Length: 1x\r\n",
        },
        _ => {}
    }
    format!("{line}{fields}X-Pad: {}\r\n\r\n", "q".repeat(answer.padding)).into_bytes()
}

/// What a client checks of a backend's final answer; gives what follows it.
pub(crate) fn check_answer(
    head: &Head,
    plan: &RequestPlan,
    answer: &AnswerPlan,
) -> Result<Body, String> {
    same("the status line", &head.start, &format!("HTTP/1.1 {} Fine {}", answer.status, plan.id))?;
    only(head, "X-Id", &plan.id.to_string())?;
    without(head, HOP_BY_HOP)?;
    if answer.status == 101 {
        only(head, "Connection", "upgrade")?;
        only(head, "Upgrade", "sim")?;
        return Ok(Body::Everything);
    }
    without(head, &["upgrade"])?;
    only(head, "X-Pad", &"q".repeat(answer.padding))?;
    let stated = framing_of(head)?;
    let want = match answer.body {
        _ if answer.status == 204 => None,
        BodyPlan::Length(size) => Some(Body::Length(size)),
        BodyPlan::Chunks { .. } if !plan.http10 => Some(Body::Chunks),
        BodyPlan::Chunks { .. } | BodyPlan::Nothing | BodyPlan::UntilClose(_) => None,
    };
    if stated != want {
        return Err(format!("an answer with {stated:?}, not {want:?}"));
    }
    let no_body = plan.method == "HEAD" || answer.has_no_body_by_status();
    Ok(if no_body { Body::Nothing } else { stated.unwrap_or(Body::Everything) })
}

/// What roundel says itself.
pub(crate) struct OwnAnswer {
    pub(crate) status: u16,
    pub(crate) word: String,
    pub(crate) body: Body,
}

/// Reads the head of an answer of roundel's own; `None` where it is a backend's.
pub(crate) fn own_answer(head: &Head, method: &str) -> Result<Option<OwnAnswer>, String> {
    let Some(proxy_status) = head.only("Proxy-Status") else {
        return Ok(None);
    };
    let word = proxy_status
        .strip_prefix("roundel; error=")
        .and_then(|rest| rest.split_once("; details=\""))
        .and_then(|(_, rest)| rest.strip_suffix('"'))
        .ok_or_else(|| format!("Proxy-Status: {proxy_status}"))?;
    let status = head.start.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| format!("which status? {:?}", head.start))?;
    let body = framing_of(head)?.ok_or("an answer of our own without length")?;
    let body = if method == "HEAD" { Body::Nothing } else { body };
    Ok(Some(OwnAnswer { status, word: word.to_owned(), body }))
}

/// The name of a backend.
pub(crate) fn name_of(backend: usize) -> String {
    format!("b{backend}.sim")
}

/// The address of a client.
pub(crate) fn client_address(client: usize) -> std::net::Ipv4Addr {
    let [.., number] = client.to_be_bytes();
    std::net::Ipv4Addr::new(10, 0, 0, number)
}
