//! Heads on their way: what is not for the next hop goes, who asked and through whom comes.
//!
//! The fields are those of `roundel::h1::forward`, in hyper's own type. Knows nothing of bodies and
//! connections. Invariant: a backend learns the truth about who asked, or what one who is trusted
//! said.

use std::fmt::Write;
use std::io;
use std::net::IpAddr;

use hyper::header::{
    CONNECTION, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, MAX_FORWARDS, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Uri, Version};
use roundel::config::backend_url::HostField;
use roundel::config::{BackendConfig, Cidr, Scheme as BackendScheme};
use roundel::h1::fields::{Known, known};
use roundel::h1::reply::Reason;
use roundel::h1::request::{is_request_id, offered_protocols};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_SERVER: HeaderName = HeaderName::from_static("x-forwarded-server");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What `Connection` says in front of `Upgrade`.
pub(crate) const UPGRADE_OPTION: HeaderValue = HeaderValue::from_static("upgrade");

/// Who asks: made once for each connection, so that a request costs no texts.
pub(crate) struct Client {
    address: HeaderValue,
    /// One element of RFC 7239 section 4.
    element: String,
    is_trusted: bool,
}

impl Client {
    /// A client at this address; its word is believed if it is in one of these ranges.
    pub(crate) fn new(address: IpAddr, trust: &[Cidr]) -> Self {
        let address = address.to_canonical();
        let element = match address {
            IpAddr::V4(address) => format!("for={address};proto=http"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto=http"),
        };
        let is_trusted = trust.iter().any(|range| range.contains(address));
        Self { address: value(&address.to_string()), element, is_trusted }
    }
}

/// Where a request goes, in hyper's words.
pub(crate) struct Backend {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
    /// What `Host` says, unless it is the client's.
    own_host: HeaderValue,
    host_field: HostField,
}

impl Backend {
    /// This backend.
    ///
    /// # Errors
    /// When its name is none that hyper takes.
    pub(crate) fn new(config: &BackendConfig) -> io::Result<Self> {
        Ok(Self {
            scheme: match config.scheme {
                BackendScheme::Http => Scheme::HTTP,
                BackendScheme::Https => Scheme::HTTPS,
            },
            authority: config.label().parse().map_err(io::Error::other)?,
            prefix: config.prefix.clone(),
            own_host: value(&config.own_host()),
            host_field: config.host_field.clone(),
        })
    }

    /// What logs call it.
    pub(crate) fn label(&self) -> &str {
        self.authority.as_str()
    }

    /// Where a target is to be found there.
    fn uri(&self, target: Uri) -> Result<Uri, Reason> {
        let mut parts = target.into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        let path = parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        if !self.prefix.is_empty() && path.as_str() != "*" {
            let prefixed = format!("{}{path}", self.prefix);
            *path = prefixed.try_into().map_err(|_| Reason::BadTarget)?;
        }
        Uri::from_parts(parts).map_err(|_| Reason::BadTarget)
    }
}

/// Makes the head that a client sent the one that a backend gets.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn to_backend(
    parts: &mut Parts,
    backend: &Backend,
    client: &Client,
    fresh_id: u128,
) -> Result<(), Reason> {
    let host = host(parts)?;
    parts.uri = backend.uri(std::mem::take(&mut parts.uri))?;
    let headers = &mut parts.headers;
    // hyper has read the framing from it and needs it for what it writes: without it, it would send
    // no body with a GET.
    let coding = headers.remove(TRANSFER_ENCODING);
    remove_hop_by_hop(headers);
    if let Some(coding) = coding {
        headers.insert(TRANSFER_ENCODING, coding);
    }
    remove_look_alikes(headers);
    if !headers.get(&X_REQUEST_ID).is_some_and(|id| is_request_id(id.as_bytes()))
        || headers.get_all(&X_REQUEST_ID).iter().count() > 1
    {
        headers.insert(&X_REQUEST_ID, value(&format!("{fresh_id:032x}")));
    }
    add_forwarding(headers, client, &host);
    headers.append(
        VIA,
        HeaderValue::from_static(match parts.version {
            Version::HTTP_10 => "1.0 roundel",
            _ => "1.1 roundel",
        }),
    );
    let own = backend.host_field != HostField::Client || host.is_empty();
    headers.insert(HOST, if own { backend.own_host.clone() } else { host });
    if parts.method == Method::OPTIONS {
        count_hop(headers);
    }
    Ok(())
}

/// The one `Host` that RFC 9112 section 3.2 wants; the authority of an absolute target wins. Empty
/// where a client of 1.0 names none.
fn host(parts: &Parts) -> Result<HeaderValue, Reason> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.clone(),
        (None, _) if parts.version == Version::HTTP_10 => HeaderValue::from_static(""),
        (None | Some(_), _) => return Err(Reason::BadHost),
    };
    match parts.uri.authority() {
        Some(authority) => Ok(value(authority.as_str())),
        None => Ok(host),
    }
}

/// Takes out what is for one connection only (RFC 9110 section 7.6.1).
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let options: Vec<HeaderName> = list(headers, &CONNECTION)
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .filter(|name| matches!(known(name.as_str().as_bytes()), Known::Other | Known::HopByHop))
        .collect();
    for name in options {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// The members of a field that is a list.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

/// The protocols that the client offers to change to, where it does and they may pass.
pub(crate) fn offered_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    if !list(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let values = headers.get_all(UPGRADE).iter();
    let offered: Vec<&[u8]> =
        values.flat_map(|value| offered_protocols(value.as_bytes())).collect();
    if offered.is_empty() { None } else { HeaderValue::from_bytes(&offered.join(&b", "[..])).ok() }
}

/// Takes out what a CGI-like server could take for one of our fields.
fn remove_look_alikes(headers: &mut HeaderMap) {
    let is_alike = |name: &&HeaderName| known(name.as_str().as_bytes()) == Known::LookAlike;
    let alike: Vec<HeaderName> = headers.keys().filter(is_alike).cloned().collect();
    for name in alike {
        headers.remove(name);
    }
}

/// Tells the backend who asked: what one who is trusted says is kept and added to, what others say
/// is replaced.
fn add_forwarding(headers: &mut HeaderMap, client: &Client, host: &HeaderValue) {
    if headers.contains_key(FORWARDED) {
        let element = extended(headers, &FORWARDED, &client.element, client.is_trusted);
        headers.insert(FORWARDED, element);
    }
    if client.is_trusted && headers.contains_key(&X_FORWARDED_FOR) {
        let address = client.address.to_str().unwrap_or_default();
        let addresses = extended(headers, &X_FORWARDED_FOR, address, true);
        headers.insert(&X_FORWARDED_FOR, addresses);
    } else {
        headers.insert(&X_FORWARDED_FOR, client.address.clone());
    }
    for (name, truth) in
        [(&X_FORWARDED_PROTO, &HeaderValue::from_static("http")), (&X_FORWARDED_HOST, host)]
    {
        if !client.is_trusted || !headers.contains_key(name) {
            headers.insert(name, truth.clone());
        }
    }
    if !client.is_trusted {
        if headers.contains_key(&X_REAL_IP) {
            headers.insert(&X_REAL_IP, client.address.clone());
        }
        headers.remove(&X_FORWARDED_PORT);
        headers.remove(&X_FORWARDED_SERVER);
    }
}

/// A list with one more member behind what was claimed, if that is believed.
fn extended(headers: &HeaderMap, name: &HeaderName, last: &str, is_trusted: bool) -> HeaderValue {
    let mut text = String::new();
    if is_trusted {
        for claim in list(headers, name) {
            // Writing to a text does not fail.
            let _ = write!(text, "{claim}, ");
        }
    }
    text.push_str(last);
    value(&text)
}

/// OPTIONS counts how far it goes (RFC 9110 section 7.6.2).
fn count_hop(headers: &mut HeaderMap) {
    let hops = headers.get(MAX_FORWARDS).and_then(|hops| hops.to_str().ok()?.parse::<u64>().ok());
    if let Some(hops) = hops {
        headers.insert(MAX_FORWARDS, HeaderValue::from(hops.saturating_sub(1)));
    }
}

/// A text of our own making, or of one that has been judged, as a value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
