//! `ADDRESS[/BITS]`: a range of addresses, as in `10.0.0.0/8` or `::1`; and who is trusted.

use std::net::IpAddr;

use super::address::Peer;

/// Clients whose word about other clients is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trusted {
    /// Those with an address in this range.
    Range(Cidr),
    /// Those that come over a Unix socket.
    Unix,
}

impl Trusted {
    /// Whether a client is one of them.
    #[must_use]
    pub fn covers(&self, client: Peer) -> bool {
        match (self, client) {
            (Self::Range(range), Peer::Ip(address)) => range.contains(address.ip()),
            (Self::Unix, Peer::Unix) => true,
            (Self::Range(_), Peer::Unix) | (Self::Unix, Peer::Ip(_)) => false,
        }
    }
}

/// Reads who is trusted: a range, or the word `unix`.
///
/// # Errors
/// As [`parse_cidr`].
pub fn parse_trusted(text: &str) -> Result<Trusted, String> {
    match text {
        "unix" => Ok(Trusted::Unix),
        _ => parse_cidr(text).map(Trusted::Range),
    }
}

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    address: IpAddr,
    bits: u32,
}

impl Cidr {
    /// Whether an address is in the range. An IPv4 address that came in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let (range, address) = (u32::from(range), u32::from(address));
                (range ^ address).leading_zeros() >= self.bits
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let (range, address) = (u128::from(range), u128::from(address));
                (range ^ address).leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Reads a range; an address alone is a range of one.
///
/// # Errors
/// Says what is allowed, also when bits behind the prefix are set: then the range is not what whoever
/// wrote it meant.
pub fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err("a range is ADDRESS, ADDRESS/BITS or unix, as in 10.0.0.0/8 or ::1".into());
    };
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => bits_max,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            let bits = digits.parse::<u32>().ok().filter(|bits| *bits <= bits_max);
            bits.ok_or_else(|| format!("the bits of {address} are a number from 0 to {bits_max}"))?
        }
        Some(_) => return Err(format!("the bits of {address} are a number from 0 to {bits_max}")),
    };
    let trailing_zeros = match address {
        IpAddr::V4(address) => u32::from(address).trailing_zeros(),
        IpAddr::V6(address) => u128::from(address).trailing_zeros(),
    };
    if trailing_zeros < bits_max - bits {
        return Err(format!("{address} has bits set behind the first {bits}"));
    }
    Ok(Cidr { address, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, address, want) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
        ] {
            let cidr = parse_cidr(range).expect(range);
            assert_eq!(cidr.contains(address.parse().expect(address)), want, "{range} {address}");
        }
    }

    #[test]
    fn who_has_no_address_is_in_no_range() {
        let (tcp, unix) = (Peer::from(std::net::SocketAddr::from(([10, 0, 0, 1], 9))), Peer::Unix);
        for (text, of_tcp, of_unix) in
            [("unix", false, true), ("0.0.0.0/0", true, false), ("::/0", false, false)]
        {
            let trusted = parse_trusted(text).expect(text);
            assert_eq!((trusted.covers(tcp), trusted.covers(unix)), (of_tcp, of_unix), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_ranges() {
        for (text, part) in [
            ("", "ADDRESS/BITS"),
            ("unix:", "ADDRESS/BITS or unix"),
            ("ten", "ADDRESS/BITS"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/-1", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("10.0.0.1/8", "behind the first 8"),
        ] {
            let error = parse_cidr(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
