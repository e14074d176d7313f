//! `http://HOST[:PORT][/PREFIX][,KEY=VALUE]...` or `unix:/PATH[:/PREFIX][,KEY=VALUE]...`: one
//! backend as the operator writes it.
//!
//! The scheme decides whether the connection is TLS and, unless something else is said, whose `Host`
//! the backend sees. Everything that a URL can have beyond that (user, query, fragment) is refused,
//! because it would be ignored. What is said beside the URL, here or in a file, is in one table,
//! [`SETTINGS`]. Knows nothing of files.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::address::{SocketPath, UNIX_PREFIX, parse_socket_path};
use super::nearest::suggestion;

/// How a backend is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain TCP, port 80 by default.
    Http,
    /// TLS, port 443 by default.
    Https,
}

impl Scheme {
    /// The port that goes without saying.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Whose `Host` a backend sees unless something else is said: the servers of others, which are
    /// reached over TLS, know only their own name.
    #[must_use]
    pub fn default_host_field(self) -> HostField {
        match self {
            Self::Http => HostField::Client,
            Self::Https => HostField::Backend,
        }
    }
}

/// The host part: an address, a name that has to be resolved, or a socket of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A name, in the case in which it was written.
    Name(String),
    /// A Unix socket.
    Unix(SocketPath),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

/// Whose `Host` field a backend sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostField {
    /// What the client sent.
    Client,
    /// The authority of the backend's own URL.
    Backend,
    /// This one, `host[:port]`, always.
    Literal(String),
}

/// When a backend is given requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In its turn.
    Main,
    /// When no other backend can take them: those are out, or have as many connections as they may.
    Backup,
}

/// Whether a backend is given new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// It is.
    Open,
    /// It is not, so that it can be taken away.
    Drained,
}

/// How much of a backend's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    /// That somebody who is trusted vouches for the name.
    Full,
    /// Nothing: whoever stands in between can read along.
    Nothing,
}

/// Who we are towards a backend that wants to know: a certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The certificate, and those that vouch for it.
    pub cert_pem: Vec<u8>,
    /// Its private key. Not for any log.
    pub key_pem: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// What is particular about the TLS of a backend. Without meaning where the scheme is `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// How much is checked.
    pub verify: Verify,
    /// Whom to trust instead of those that are trusted for all backends, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// What it is shown if it asks.
    pub identity: Option<Identity>,
}

/// The heaviest weight. It bounds how uneven the turns can be.
pub const WEIGHT_MAX: u32 = 1000;

/// The longest prefix: with it, the longest request head still fits its buffer.
pub const PREFIX_BYTES_MAX: usize = 1024;

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Where it is.
    pub host: Host,
    /// 1 to 65535. Without meaning where the host is a Unix socket.
    pub port: u16,
    /// Put in front of each path: empty, or `/` and more without a `/` at its end.
    pub prefix: String,
    /// How many turns it gets for one of a backend with weight 1: 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Whose `Host` it sees.
    pub host_field: HostField,
    /// The most connections to it, whatever is said for all of them.
    pub connections_count_max: Option<usize>,
    /// When it is given requests.
    pub role: Role,
    /// Whether it is given any.
    pub intake: Intake,
    /// What is particular about its TLS.
    pub tls: BackendTls,
}

impl BackendConfig {
    /// A backend about which nothing is said but where it is.
    #[must_use]
    pub fn new(scheme: Scheme, host: Host, port: u16) -> Self {
        Self {
            scheme,
            host,
            port,
            prefix: String::new(),
            weight: 1,
            host_field: scheme.default_host_field(),
            connections_count_max: None,
            role: Role::Main,
            intake: Intake::Open,
            tls: BackendTls { verify: Verify::Full, ca_pem: None, identity: None },
        }
    }

    /// Whether this is the same place as another, whatever is said about it.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let is_same_host = match (&self.host, &other.host) {
            (Host::Name(ours), Host::Name(theirs)) => ours.eq_ignore_ascii_case(theirs),
            (ours, theirs) => ours == theirs,
        };
        is_same_host
            && self.scheme == other.scheme
            && self.port == other.port
            && self.prefix == other.prefix
    }

    /// The `Host` that it sees where it does not see the client's: also for probes, and for clients
    /// that send none.
    #[must_use]
    pub fn own_host(&self) -> String {
        match &self.host_field {
            HostField::Literal(host) => host.clone(),
            HostField::Client | HostField::Backend => self.authority(),
        }
    }

    /// `host:port` or `unix:/path`: what logs call this backend.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.host {
            Host::Address(_) | Host::Name(_) => format!("{}:{}", self.host, self.port),
            Host::Unix(path) => path.to_string(),
        }
    }

    /// `host[:port]`, without the port that goes without saying: what `Host` says where the backend
    /// sees its own name. A Unix socket has none; that it is on this machine is all that can be
    /// said.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.host {
            Host::Unix(_) => "localhost".to_owned(),
            host if self.port == self.scheme.default_port() => host.to_string(),
            Host::Address(_) | Host::Name(_) => self.label(),
        }
    }
}

impl fmt::Display for BackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        match &self.host {
            Host::Address(_) | Host::Name(_) => {
                write!(f, "{scheme}://{}{}", self.authority(), self.prefix)?;
            }
            Host::Unix(path) if self.prefix.is_empty() => path.fmt(f)?,
            Host::Unix(path) => write!(f, "{path}:{}", self.prefix)?,
        }
        if self.weight != 1 {
            write!(f, ",weight={}", self.weight)?;
        }
        if let Some(count) = self.connections_count_max {
            write!(f, ",max_conns={count}")?;
        }
        if self.host_field != self.scheme.default_host_field() {
            let host = match &self.host_field {
                HostField::Client => "client",
                HostField::Backend => "backend",
                HostField::Literal(host) => host,
            };
            write!(f, ",host={host}")?;
        }
        for (word, is_so) in [
            (",backup", self.role == Role::Backup),
            (",drain", self.intake == Intake::Drained),
            (",insecure", self.tls.verify == Verify::Nothing),
        ] {
            if is_so {
                f.write_str(word)?;
            }
        }
        Ok(())
    }
}

/// Something that can be said about a backend. Everything that is known of it stands here and nowhere
/// else.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What it is called.
    pub name: &'static str,
    /// What its value is called; one without is a switch, and set with an empty text.
    pub value: Option<&'static str>,
    /// Reads the value.
    pub set: fn(&mut BackendConfig, &str) -> Result<(), String>,
}

/// All of them, but for those that are files.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "weight",
        value: Some("N"),
        set: |backend, text| {
            backend.weight = match text.parse() {
                Ok(weight @ 1..=WEIGHT_MAX) if is_plain(text) => weight,
                _ => return Err(format!("a weight is a whole number from 1 to {WEIGHT_MAX}")),
            };
            Ok(())
        },
    },
    Setting {
        name: "max_conns",
        value: Some("N"),
        set: |backend, text| {
            backend.connections_count_max = Some(parse_count(text)?);
            Ok(())
        },
    },
    Setting {
        name: "host",
        value: Some("HOST"),
        set: |backend, text| {
            backend.host_field = parse_host_field(text)?;
            Ok(())
        },
    },
    Setting {
        name: "backup",
        value: None,
        set: |backend, _| {
            backend.role = Role::Backup;
            Ok(())
        },
    },
    Setting {
        name: "drain",
        value: None,
        set: |backend, _| {
            backend.intake = Intake::Drained;
            Ok(())
        },
    },
    Setting {
        name: "insecure",
        value: None,
        set: |backend, _| {
            backend.tls.verify = Verify::Nothing;
            Ok(())
        },
    },
];

/// The largest number that counts something: descriptors do not go further.
pub const COUNT_MAX: usize = 1 << 29;

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

/// Reads a number of things.
///
/// # Errors
/// Says what is allowed when the text is anything but a number from 1 to [`COUNT_MAX`].
pub fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=COUNT_MAX) if is_plain(text) => Ok(count),
        _ => Err(format!("a number is a whole one from 1 to {COUNT_MAX}")),
    }
}

fn parse_host_field(text: &str) -> Result<HostField, String> {
    match text {
        "client" => Ok(HostField::Client),
        "backend" => Ok(HostField::Backend),
        _ => match split_port(text).and_then(|(host, _)| parse_host(host)) {
            Ok(_) => Ok(HostField::Literal(text.to_owned())),
            Err(_) => Err("a host is client, backend or HOST[:PORT], as in www.example.org".into()),
        },
    }
}

/// Reads one BACKEND argument.
///
/// # Errors
/// One sentence that says what is wrong, and what would be right where that can be told.
pub fn parse_backend(text: &str) -> Result<BackendConfig, String> {
    let mut parts = text.split(',');
    let mut backend = parse_url(parts.next().unwrap_or_default())?;
    for part in parts {
        apply_setting(&mut backend, part)?;
    }
    if backend.tls.verify == Verify::Nothing && backend.scheme == Scheme::Http {
        return Err("insecure is for https backends: with http nothing is secure".into());
    }
    Ok(backend)
}

/// `key=value` behind a URL; a switch may stand alone.
fn apply_setting(backend: &mut BackendConfig, part: &str) -> Result<(), String> {
    let (name, value) = match part.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (part, None),
    };
    let names = || SETTINGS.iter().map(|setting| setting.name);
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
        let hint = suggestion(name, names());
        let all = names().collect::<Vec<_>>().join(", ");
        return Err(format!("after the URL only {all} may follow, with commas{hint}"));
    };
    match (setting.value, value) {
        (Some(_), Some(value)) => (setting.set)(backend, value),
        (Some(shown), None) => Err(format!("{name} needs a value: {name}={shown}")),
        (None, None | Some("true")) => (setting.set)(backend, ""),
        (None, Some("false")) => Ok(()),
        (None, Some(_)) => Err(format!("{name} is true or false")),
    }
}

/// Reads a URL with nothing behind it.
///
/// # Errors
/// As [`parse_backend`].
pub fn parse_url(url: &str) -> Result<BackendConfig, String> {
    if let Some(rest) = url.strip_prefix(UNIX_PREFIX) {
        return parse_unix(rest);
    }
    let (scheme, rest) = split_scheme(url)?;
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    if authority.contains('@') {
        return Err("a backend has no user or password in its URL".into());
    }
    if path.contains(',') {
        return Err("a backend's URL has no comma; write it as %2C".into());
    }
    let (host, port) = split_port(authority)?;
    let host = parse_host(host)?;
    let prefix = parse_prefix(path)?;
    let port = port.unwrap_or(scheme.default_port());
    Ok(BackendConfig { prefix, ..BackendConfig::new(scheme, host, port) })
}

/// `/PATH[:/PREFIX]`, or `@NAME[:/PREFIX]`.
fn parse_unix(text: &str) -> Result<BackendConfig, String> {
    let (path, prefix) = match text.split_once(':') {
        Some((path, prefix)) if prefix.starts_with('/') => (path, prefix),
        Some(_) => {
            let example = "unix:/run/app.sock:/prefix";
            return Err(format!(
                "behind a socket's path only :/PREFIX may follow, as in {example}"
            ));
        }
        None => (text, ""),
    };
    let path = parse_socket_path(path)?;
    let prefix = parse_prefix(prefix)?;
    let port = Scheme::Http.default_port();
    Ok(BackendConfig { prefix, ..BackendConfig::new(Scheme::Http, Host::Unix(path), port) })
}

fn split_scheme(url: &str) -> Result<(Scheme, &str), String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let like_a_host = !url.is_empty() && !url.starts_with('-') && !url.contains(' ');
        let example = if like_a_host { url.trim_start_matches('/') } else { "127.0.0.1:3001" };
        return Err(match url.strip_prefix("unix") {
            // As others write it: `unix//path`, `unix@path`.
            Some(path) if path.starts_with(['/', '@']) => {
                let path = path.trim_start_matches(['/', '@']);
                format!("a socket's path follows a colon: did you mean unix:/{path}?")
            }
            None if url.starts_with('/') && !url.starts_with("//") => {
                format!("a socket is {UNIX_PREFIX}PATH: did you mean {UNIX_PREFIX}{url}?")
            }
            _ => {
                format!("a backend begins with http://, https:// or unix:, as in http://{example}")
            }
        });
    };
    if let Some(path) = rest.strip_prefix(UNIX_PREFIX).filter(|path| path.starts_with('/')) {
        return Err(format!("a socket has no {scheme}:// in front: did you mean unix:{path}?"));
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok((Scheme::Http, rest)),
        "https" => Ok((Scheme::Https, rest)),
        other if other.starts_with('h') && other.ends_with('s') => {
            Err(format!("a backend's scheme is http or https: did you mean https://{rest}?"))
        }
        _ => Err(format!("a backend's scheme is http or https: did you mean http://{rest}?")),
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    let after_host = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(after_host);
    let Some(digits) = port.strip_prefix(':') else {
        return if port.is_empty() {
            Ok((host, None))
        } else {
            Err("after the ] of an IPv6 address only a :PORT may follow".into())
        };
    };
    if digits.contains(':') {
        return Err(format!("an IPv6 address stands in brackets: [{authority}]"));
    }
    match digits.parse::<u16>() {
        Ok(port) if is_plain(digits) && port > 0 => Ok((host, Some(port))),
        _ => Err("a port is a number from 1 to 65535".into()),
    }
}

fn parse_host(text: &str) -> Result<Host, String> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or(inner);
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Host::Address(address.into())),
            Err(_) => Err("between [ and ] stands an IPv6 address, as in [::1]".into()),
        };
    }
    if text.is_empty() {
        return Err("a backend needs a host, as in http://127.0.0.1:3001".into());
    }
    let digits_and_dots = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match text.parse::<IpAddr>() {
        Ok(address) => return Ok(Host::Address(address)),
        Err(_) if digits_and_dots => {
            return Err("an IPv4 address has four numbers from 0 to 255, as in 127.0.0.1".into());
        }
        Err(_) => {}
    }
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > 253 || !name.split('.').all(label_is_good) {
        return Err("a host is an address or a name of letters, digits, hyphens and dots".into());
    }
    Ok(Host::Name(text.to_owned()))
}

fn parse_prefix(path: &str) -> Result<String, String> {
    if path.contains(['?', '#']) {
        return Err("a backend's URL has no query and no fragment".into());
    }
    let whole_escapes = path.split('%').skip(1).all(|after| {
        let mut octets = after.bytes();
        octets.next().is_some_and(|b| b.is_ascii_hexdigit())
            && octets.next().is_some_and(|b| b.is_ascii_hexdigit())
    });
    if !path.bytes().all(is_path_octet) || !whole_escapes {
        return Err("a prefix has only the characters of a path; write others as %XX".into());
    }
    if path.len() > PREFIX_BYTES_MAX {
        return Err(format!("a prefix has at most {PREFIX_BYTES_MAX} characters"));
    }
    Ok(path.trim_end_matches('/').to_owned())
}

/// Whether an octet may stand in a path (RFC 3986 section 3.3, `pchar` and `/`).
#[must_use]
pub fn is_path_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_are_backends() {
        for (text, label, authority, prefix, weight) in [
            ("http://127.0.0.1:3001", "127.0.0.1:3001", "127.0.0.1:3001", "", 1),
            ("http://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "", 1),
            ("HTTP://h:80/", "h:80", "h", "", 1),
            ("http://h//", "h:80", "h", "", 1),
            ("https://www.example.org", "www.example.org:443", "www.example.org", "", 1),
            ("https://h:8443/a/b/,weight=3", "h:8443", "h:8443", "/a/b", 3),
            ("http://[::1]:3001/x", "[::1]:3001", "[::1]:3001", "/x", 1),
            ("http://[::1]", "[::1]:80", "[::1]", "", 1),
            ("http://a_b.c-d.", "a_b.c-d.:80", "a_b.c-d.", "", 1),
            ("http://h,weight=1000", "h:80", "h", "", 1000),
            ("unix:/run/a.sock", "unix:/run/a.sock", "localhost", "", 1),
            ("unix:/a:/b/,weight=3", "unix:/a", "localhost", "/b", 3),
            ("unix:/a:/b:/c", "unix:/a", "localhost", "/b:/c", 1),
            ("unix:/a:/", "unix:/a", "localhost", "", 1),
        ] {
            let backend = parse_backend(text).expect(text);
            assert_eq!(backend.label(), label, "{text}");
            assert_eq!(backend.authority(), authority, "{text}");
            assert_eq!((backend.prefix.as_str(), backend.weight), (prefix, weight), "{text}");
        }
    }

    #[test]
    fn the_scheme_decides_whose_host_is_seen() {
        assert_eq!(parse_backend("http://h").expect("good").host_field, HostField::Client);
        assert_eq!(parse_backend("https://h").expect("good").host_field, HostField::Backend);
    }

    #[test]
    fn what_is_said_behind_a_url() {
        let all = "https://h,weight=2,max_conns=7,host=www.example.org:8080,backup,drain,insecure";
        let backend = parse_backend(all).expect(all);
        let Verify::Nothing = backend.tls.verify else { panic!("{backend:?}") };
        assert_eq!((backend.weight, backend.connections_count_max), (2, Some(7)));
        assert_eq!((backend.role, backend.intake), (Role::Backup, Intake::Drained));
        assert_eq!(backend.own_host(), "www.example.org:8080");
        assert_eq!(backend.to_string(), all);
        for (text, want) in [
            ("https://h,host=client", "https://h,host=client"),
            ("https://h,host=backend", "https://h"),
            ("http://h,backup=true,drain=false", "http://h,backup"),
            ("http://h,weight=2,weight=3", "http://h,weight=3"),
            ("unix:/a:/b/,host=www.example.org,backup", "unix:/a:/b,host=www.example.org,backup"),
            ("unix:/a,host=client", "unix:/a"),
            ("unix:/a,host=backend", "unix:/a,host=backend"),
        ] {
            assert_eq!(parse_backend(text).expect(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn places_are_compared_without_what_is_said_about_them() {
        let place = |text| parse_backend(text).expect(text);
        for (one, other, same) in [
            ("http://h", "http://H:80/,weight=3", true),
            ("http://h", "https://h", false),
            ("http://h", "http://h/a", false),
            ("http://h", "http://h:81", false),
            ("unix:/a", "unix:/a,weight=2", true),
            ("unix:/a", "unix:/A", false),
            ("unix:/a", "unix:/a:/b", false),
            ("unix:/localhost", "http://localhost", false),
        ] {
            assert_eq!(place(one).is_same_place(&place(other)), same, "{one} {other}");
        }
    }

    #[test]
    fn a_private_key_is_not_for_logs() {
        let identity = Identity { cert_pem: b"c".to_vec(), key_pem: b"secret".to_vec() };
        assert_eq!(format!("{identity:?}"), "Identity { .. }");
    }

    #[test]
    fn urls_that_are_not() {
        for (text, part) in [
            ("", "begins with http://"),
            ("127.0.0.1:3001", "as in http://127.0.0.1:3001"),
            ("ftp://h", "did you mean http://h?"),
            ("htps://h", "did you mean https://h?"),
            ("httpss://h", "did you mean https://h?"),
            ("http://", "needs a host"),
            ("http://:80", "needs a host"),
            ("http://h:0", "from 1 to 65535"),
            ("http://h:65536", "from 1 to 65535"),
            ("http://h:", "from 1 to 65535"),
            ("http://h:+80", "from 1 to 65535"),
            ("http://h:8x", "from 1 to 65535"),
            ("http://::1", "brackets: [::1]"),
            ("http://[::g]", "IPv6 address"),
            ("http://[::1]x", "after the ]"),
            ("http://[::1", "IPv6 address"),
            ("http://1.2.3", "four numbers"),
            ("http://1.2.3.256", "four numbers"),
            ("http://u:p@h", "user or password"),
            ("http://h/a?b", "no query"),
            ("http://h?b", "no query"),
            ("http://h#f", "no query"),
            ("http://h/a b", "%XX"),
            ("http://h/é", "%XX"),
            ("http://h/%4", "%XX"),
            ("http://h/%zz", "%XX"),
            ("http://a b/", "a host is"),
            ("http://-a/", "a host is"),
            ("http://h..x/", "a host is"),
            ("http://h,weight=0", "from 1 to 1000"),
            ("http://h,weight=1001", "from 1 to 1000"),
            ("http://h,weight=-1", "from 1 to 1000"),
            ("http://h,wieght=2", "did you mean weight?"),
            ("http://h,frobnicate", "only weight, max_conns, host, backup, drain, insecure"),
            ("http://h,", "only weight"),
            ("http://h,weight", "weight needs a value: weight=N"),
            ("http://h,weight=+2", "from 1 to 1000"),
            ("http://h,max_conns=0", "from 1 to"),
            ("http://h,host=", "client, backend or HOST"),
            ("http://h,host=a b", "client, backend or HOST"),
            ("http://h,host=http://a", "client, backend or HOST"),
            ("http://h,host=a\r\nX: y", "client, backend or HOST"),
            ("http://h,backup=yes", "backup is true or false"),
            ("http://h,insecure", "insecure is for https"),
            ("unix:/a,insecure", "insecure is for https"),
            ("unix:a", "a whole path"),
            ("unix:", "a whole path"),
            ("unix:///run/a", "did you mean unix:/run/a?"),
            ("unix://run/a", "did you mean unix:/run/a?"),
            ("unix//run/a", "did you mean unix:/run/a?"),
            ("unix@/run/a", "did you mean unix:/run/a?"),
            ("http://unix:/run/a", "did you mean unix:/run/a?"),
            ("http://unix:/run/a:/b", "did you mean unix:/run/a:/b?"),
            ("/run/a", "did you mean unix:/run/a?"),
            ("//h", "as in http://h"),
            ("unix.example/a", "as in http://unix.example/a"),
            ("unix:/a:b", "only :/PREFIX"),
            ("unix:/a:80", "only :/PREFIX"),
            ("unix:/a:/b?c", "no query"),
            ("unix:/a:/b c", "%XX"),
            ("unix:/a\0b", "no blanks"),
            ("unix:/a\r\nb", "no blanks"),
        ] {
            let error = parse_backend(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains('\n'), "{text}: one line");
        }
    }
}
