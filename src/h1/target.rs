//! Request targets and hosts: the forms that RFC 9112 section 3.2 knows, and nothing else.
//!
//! A target is checked octet by octet against the grammar and then passed on as it came: a proxy that
//! cleans a path decides what the backend is asked, and two that clean differently can be played off
//! against each other. Knows nothing of fields.
//!
//! Next: `request.rs` compares the authority with `Host`.

/// A request target in one of the forms that we pass on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// `/path?query` (section 3.2.1).
    Origin(&'a [u8]),
    /// `http://authority/path?query` (section 3.2.2). The path may be empty.
    Absolute {
        /// What the scheme means when the authority has no port: `:80` or `:443`.
        default_port: &'static [u8],
        /// `host[:port]`: takes the place of `Host`.
        authority: &'a [u8],
        /// What follows it: empty, or beginning with `/` or `?`.
        path_and_query: &'a [u8],
    },
    /// `*`, for OPTIONS only (section 3.2.4).
    Asterisk,
}

impl<'a> Target<'a> {
    /// Path and query, as they came; `*` for the server as a whole.
    #[must_use]
    pub fn path_and_query(&self) -> &'a [u8] {
        match self {
            Self::Origin(path_and_query) | Self::Absolute { path_and_query, .. } => path_and_query,
            Self::Asterisk => b"*",
        }
    }
}

/// The target is none of the forms, or has octets that the grammar does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadTarget;

/// Tells the form of a target.
///
/// # Errors
/// [`BadTarget`], also for authority-form: CONNECT is refused before anybody looks at its target.
pub fn parse_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, BadTarget> {
    match target {
        [b'/', ..] if is_path_and_query(target) => Ok(Target::Origin(target)),
        b"*" if method == b"OPTIONS" => Ok(Target::Asterisk),
        _ => parse_absolute(target).ok_or(BadTarget),
    }
}

fn parse_absolute(target: &[u8]) -> Option<Target<'_>> {
    let schemes: [(&str, &'static [u8]); 2] = [("http://", b":80"), ("https://", b":443")];
    let (default_port, rest) = schemes.iter().find_map(|(scheme, port)| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some((*port, rest))
    })?;
    let end = rest.iter().position(|octet| matches!(octet, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(end);
    (is_host(authority) && is_path_and_query(path_and_query)).then_some(Target::Absolute {
        default_port,
        authority,
        path_and_query,
    })
}

/// `?` may stand anywhere: the first begins the query, in which more of them are legal. A `%` is
/// passed on as it is, also where no two hexadecimal digits follow: what it means is for the backend.
fn is_path_and_query(octets: &[u8]) -> bool {
    octets.iter().all(|octet| TARGET_OCTETS[*octet as usize])
}

/// What may stand in a path or query.
const TARGET_OCTETS: [bool; 256] = table_with(NAME_OCTETS, b":@/?");

/// What may stand in a registered name or IPv4 address: what a path may have, less what separates parts of
/// a URI.
const NAME_OCTETS: [bool; 256] = table_with(
    [false; 256],
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=",
);

/// A table, because every octet of every target and host is looked up.
const fn table_with(mut table: [bool; 256], octets: &[u8]) -> [bool; 256] {
    let mut i = 0;
    while i < octets.len() {
        table[octets[i] as usize] = true;
        i += 1;
    }
    table
}

/// The longest host with its port: a name has at most 255 octets (RFC 1035 section 2.3.4).
pub const HOST_BYTES_MAX: usize = 255 + ":65535".len();

/// Whether these octets are `uri-host [ ":" port ]` with a host (RFC 9110 section 7.2, RFC 3986
/// section 3.2.2). User information is not part of it (RFC 9110 section 4.2.4).
#[must_use]
pub fn is_host(octets: &[u8]) -> bool {
    let (host_is_good, after) = match octets.strip_prefix(b"[") {
        Some(inner) => {
            let Some(end) = inner.iter().position(|octet| *octet == b']') else {
                return false;
            };
            let literal = std::str::from_utf8(&inner[..end]).ok();
            let good = literal.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
            (good, &inner[end + 1..])
        }
        None => {
            let is_of_name = |octet: &u8| NAME_OCTETS[*octet as usize];
            let end = octets.iter().position(|octet| !is_of_name(octet)).unwrap_or(octets.len());
            let (name, after) = octets.split_at(end);
            (!name.is_empty() && has_whole_escapes(name), after)
        }
    };
    let port_is_good = match after.split_first() {
        None => true,
        Some((b':', digits)) => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    host_is_good && port_is_good && octets.len() <= HOST_BYTES_MAX
}

/// Whether a `%` stands in front of two hexadecimal digits and nowhere else: servers decode hosts, and
/// fail at others in their own ways.
fn has_whole_escapes(name: &[u8]) -> bool {
    let is_escape =
        |part: &[u8]| matches!(part, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    name.split(|octet| *octet == b'%').skip(1).all(is_escape)
}

/// Whether two authorities mean the same server: the host without regard to case, the port to the
/// letter, except that it may be left out where it is the default (`:80`, `:443`).
#[must_use]
pub fn same_authority(one: &[u8], other: &[u8], default_port: &[u8]) -> bool {
    let strip = |authority| -> &[u8] {
        let bare = <[u8]>::strip_suffix(authority, default_port);
        bare.or_else(|| authority.strip_suffix(b":")).unwrap_or(authority)
    };
    strip(one).eq_ignore_ascii_case(strip(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let absolute = |default_port: &'static str, authority: &'static str, rest: &'static str| {
            Ok(Target::Absolute {
                default_port: default_port.as_bytes(),
                authority: authority.as_bytes(),
                path_and_query: rest.as_bytes(),
            })
        };
        for (method, target, want) in [
            ("GET", "/", Ok(Target::Origin(&b"/"[..]))),
            ("GET", "/a//../b?c=d?e", Ok(Target::Origin(b"/a//../b?c=d?e"))),
            ("GET", "/%zz", Ok(Target::Origin(b"/%zz"))),
            ("GET", "//h/x", Ok(Target::Origin(b"//h/x"))),
            ("OPTIONS", "*", Ok(Target::Asterisk)),
            ("GET", "*", Err(BadTarget)),
            ("GET", "http://h/x", absolute(":80", "h", "/x")),
            ("GET", "HTTPS://h:443", absolute(":443", "h:443", "")),
            ("GET", "http://h?q", absolute(":80", "h", "?q")),
            ("GET", "http://[::1]:80/", absolute(":80", "[::1]:80", "/")),
            ("GET", "http:///x", Err(BadTarget)),
            ("GET", "http://u@h/x", Err(BadTarget)),
            ("GET", "ftp://h/x", Err(BadTarget)),
            ("GET", "h:80", Err(BadTarget)),
            ("GET", "", Err(BadTarget)),
            ("GET", "a", Err(BadTarget)),
            ("GET", "?a", Err(BadTarget)),
            ("GET", "/#f", Err(BadTarget)),
            ("GET", "/a\\b", Err(BadTarget)),
            ("GET", "/<", Err(BadTarget)),
            ("GET", "/\"", Err(BadTarget)),
            ("GET", "/{}", Err(BadTarget)),
            ("GET", "/|", Err(BadTarget)),
            ("GET", "/^", Err(BadTarget)),
            ("GET", "/`", Err(BadTarget)),
            ("GET", "/é", Err(BadTarget)),
            ("GET", "/\u{7f}", Err(BadTarget)),
        ] {
            let got = parse_target(method.as_bytes(), target.as_bytes());
            assert_eq!(got, want, "{method} {target}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["a", "a.b:80", "127.0.0.1:1", "[::1]", "[::1]:8000", "a_b-c.", "h:", "x%20y"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:b", "a b", "a/b", "a@b", "[::1", "[g]", "[]", "a:123456", "a,b:1:2", "é",
            "[::1]x", "%", "a%", "a%0", "a%0g", "%%41", "%zz",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn agreement() {
        for (one, other, default_port, want) in [
            ("A.example", "a.EXAMPLE:80", ":80", true),
            ("a.example", "a.example:443", ":80", false),
            ("a.example", "a.example:443", ":443", true),
            ("a:", "a", ":80", true),
            ("a:8000", "a:8000", ":80", true),
            ("a:8000", "a", ":80", false),
            ("a", "b", ":80", false),
        ] {
            let got = same_authority(one.as_bytes(), other.as_bytes(), default_port.as_bytes());
            assert_eq!(got, want, "{one} {other} {default_port}");
        }
    }
}
