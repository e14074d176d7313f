//! Where a socket is: at an IP address and a port, or at a path of this machine.
//!
//! Knows no sockets. Invariant: a [`SocketPath`] is one that the system takes, and that can stand
//! in a log line, a metric and a URL as it is.
//!
//! Next: [`crate::net`] listens there and connects to it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What a Unix socket begins with where its address is written.
pub const UNIX_PREFIX: &str = "unix:";

/// The longest path, or name with its `@`, in octets: `sun_path` has room for so many and a NUL.
pub const SOCKET_PATH_BYTES_MAX: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// Where clients or operators are awaited, and where a backend is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(SocketPath),
}

impl Address {
    /// The IP address and port, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// How people and other programs write it: `http://IP:PORT` or `unix:/PATH`.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Ip(address) => format!("http://{address}"),
            Self::Unix(path) => path.to_string(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

/// Who is at the other end of a connection to us. Whoever came over a Unix socket has no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Somebody with an IP address and a port.
    Ip(SocketAddr),
    /// Somebody on this machine.
    Unix,
}

impl Peer {
    /// Its IP address, if it has one.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str(UNIX_PREFIX),
        }
    }
}

/// The path of a Unix socket; or, on Linux, a name that is in no file system, with an `@` in front.
/// Shown, it has `unix:` in front.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SocketPath(Arc<str>);

impl SocketPath {
    /// What the socket is called in no file system; `None` for one that has a path.
    #[must_use]
    pub fn abstract_name(&self) -> Option<&str> {
        self.0.strip_prefix('@')
    }

    /// The path; for a name without one, the name with its `@`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{UNIX_PREFIX}{}", self.0)
    }
}

/// Reads what stands behind `unix:`.
///
/// # Errors
/// Says what is allowed. Not allowed are also characters that the system would take, but that end a
/// path where it is written (`:` and `,`) or shown (blanks, quotes, control characters).
pub fn parse_socket_path(text: &str) -> Result<SocketPath, String> {
    let plain = text.trim_start_matches('/');
    if text.starts_with("//") && !plain.is_empty() {
        return Err(format!("a socket has one / in front: did you mean {UNIX_PREFIX}/{plain}?"));
    }
    let name = text.strip_prefix('@');
    if name.is_some() && !cfg!(any(target_os = "linux", target_os = "android")) {
        return Err("only Linux has sockets without a path".into());
    }
    if !text.starts_with('/') && name.is_none() {
        return Err(format!("a socket has a whole path, as in {UNIX_PREFIX}/run/app.sock"));
    }
    if name == Some("") || text.ends_with('/') {
        return Err(format!("a socket has a name, as in {UNIX_PREFIX}/run/app.sock"));
    }
    let ends_it = |c: char| c.is_control() || c.is_whitespace() || ":,\"'\\".contains(c);
    if text.contains(ends_it) {
        return Err(
            "a socket's path has no blanks, control characters, quotes, backslashes, commas \
                    and colons"
                .into(),
        );
    }
    if text.len() > SOCKET_PATH_BYTES_MAX {
        let octets = text.len();
        return Err(format!(
            "a socket's path has at most {SOCKET_PATH_BYTES_MAX} octets, not {octets}: systems allow \
             no more"
        ));
    }
    Ok(SocketPath(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_sockets() {
        let longest = format!("/{}", "x".repeat(SOCKET_PATH_BYTES_MAX - 1));
        for text in ["/run/app.sock", "/a", "/tmp/é/a@b=c%20", longest.as_str()] {
            let path = parse_socket_path(text).expect(text);
            assert_eq!((path.as_str(), path.abstract_name()), (text, None));
            assert_eq!(path.to_string(), format!("unix:{text}"));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn names_in_no_file_system() {
        let longest = format!("@{}", "x".repeat(SOCKET_PATH_BYTES_MAX - 1));
        for text in ["@app", "@/app", longest.as_str()] {
            let path = parse_socket_path(text).expect(text);
            assert_eq!(path.abstract_name(), text.strip_prefix('@'));
            assert_eq!(path.to_string(), format!("unix:{text}"));
        }
    }

    #[test]
    fn paths_of_no_sockets() {
        let too_long = format!("/{}", "x".repeat(SOCKET_PATH_BYTES_MAX));
        for (text, part) in [
            ("", "a whole path"),
            ("app.sock", "a whole path"),
            ("./app.sock", "a whole path"),
            ("//run/app.sock", "did you mean unix:/run/app.sock?"),
            ("///run/app.sock", "did you mean unix:/run/app.sock?"),
            ("/", "has a name"),
            ("//", "has a name"),
            ("/run/", "has a name"),
            ("@", "a name"),
            ("/a\0b", "no blanks"),
            ("/a\nb", "no blanks"),
            ("/a\u{1b}[2J", "no blanks"),
            ("/a\u{85}b", "no blanks"),
            ("/a b", "no blanks"),
            ("/a\u{a0}b", "no blanks"),
            ("/a\"b", "no blanks"),
            ("/a\\b", "no blanks"),
            ("/a,b", "no blanks"),
            ("/a:b", "no blanks"),
            (too_long.as_str(), "octets"),
        ] {
            let error = parse_socket_path(text).expect_err(text);
            if cfg!(target_os = "linux") || !text.starts_with('@') {
                assert!(error.contains(part), "{text:?}: {error}");
            }
            assert!(!error.contains('\n'), "{text:?}: one line");
        }
    }

    #[test]
    fn an_address_is_no_larger_than_that_of_a_socket() {
        let bytes = size_of::<SocketAddr>();
        assert_eq!((size_of::<Address>(), size_of::<Peer>()), (bytes, bytes));
    }
}
