//! `http://HOST[:PORT][/PREFIX][,weight=N]`: one backend as the operator writes it.
//!
//! The scheme decides whether the connection is TLS and whose `Host` the backend sees. Everything
//! that a URL can have beyond that (user, query, fragment) is refused, because it would be ignored.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

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
}

/// The host part: an address, or a name that has to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A name, in the case in which it was written.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Whose `Host` field a backend sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostField {
    /// What the client sent.
    Client,
    /// The authority of the backend's own URL.
    Backend,
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
    /// 1 to 65535.
    pub port: u16,
    /// Put in front of each path: empty, or `/` and more without a `/` at its end.
    pub prefix: String,
    /// How many turns it gets for one of a backend with weight 1: 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Whose `Host` it sees.
    pub host_field: HostField,
}

impl BackendConfig {
    /// `host:port`: what logs call this backend.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// `host[:port]`, without the port that goes without saying: what `Host` says where the backend
    /// sees its own name.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() { self.host.to_string() } else { self.label() }
    }
}

impl fmt::Display for BackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)?;
        if self.weight == 1 { Ok(()) } else { write!(f, ",weight={}", self.weight) }
    }
}

/// Reads one BACKEND argument.
///
/// # Errors
/// One sentence that says what is wrong, and what would be right where that can be told.
pub fn parse_backend(text: &str) -> Result<BackendConfig, String> {
    let (url, weight) = split_weight(text)?;
    let (scheme, rest) = split_scheme(url)?;
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    if authority.contains('@') {
        return Err("a backend has no user or password in its URL".into());
    }
    let (host, port) = split_port(authority)?;
    let host = parse_host(host)?;
    let prefix = parse_prefix(path)?;
    let host_field = match scheme {
        Scheme::Http => HostField::Client,
        Scheme::Https => HostField::Backend,
    };
    let port = port.unwrap_or(scheme.default_port());
    Ok(BackendConfig { scheme, host, port, prefix, weight, host_field })
}

fn split_weight(text: &str) -> Result<(&str, u32), String> {
    let Some((url, setting)) = text.split_once(',') else {
        return Ok((text, 1));
    };
    let Some(number) = setting.strip_prefix("weight=") else {
        return Err("after the URL only ,weight=N may follow".into());
    };
    match number.parse() {
        Ok(weight) if (1..=WEIGHT_MAX).contains(&weight) => Ok((url, weight)),
        _ => Err(format!("a weight is a whole number from 1 to {WEIGHT_MAX}")),
    }
}

fn split_scheme(url: &str) -> Result<(Scheme, &str), String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let like_a_host = !url.is_empty() && !url.starts_with('-') && !url.contains(' ');
        let example = if like_a_host { url.trim_start_matches('/') } else { "127.0.0.1:3001" };
        return Err(format!("a backend begins with http:// or https://, as in http://{example}"));
    };
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
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(port) if plain && port > 0 => Ok((host, Some(port))),
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
            ("http://h,wieght=2", "only ,weight=N"),
        ] {
            let error = parse_backend(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains('\n'), "{text}: one line");
        }
    }
}
