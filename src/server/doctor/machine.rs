//! What this machine has to offer: ports, descriptors, room for connections that come at once, and a place
//! for the access log.
//!
//! Ports are tried as the start would take them, and given back before anything else is looked at.
//! Who holds one is read from `/proc`, where there is one. Knows nothing of backends.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::{Finding, Verdict};
use crate::config::limits::BACKLOG_MAX;
use crate::config::{Address, Config, LogDestination, SocketPath};
use crate::net::listener::{Listener, listen};
use crate::server::descriptors::{DESCRIPTORS_RESERVED, UPSTREAMS_RESERVED_MAX, clients_possible};
use crate::server::log_file::{Prospect, prospect};
use crate::server::who_listens;

/// Fewer descriptors than this are a default that nobody has raised.
const DESCRIPTORS_USUAL_MIN: u64 = 4096;

/// What findings are about that are not about an address.
const MACHINE: &str = "machine";

/// An address that is being listened on.
type Held = (Address, Listener);

/// Whether each address could be listened on.
pub(super) fn ports(config: &Config) -> Vec<Finding> {
    let listen = config.listen.iter().map(|address| (address, "listen"));
    let admin = config.admin.iter().map(|address| (address, "admin"));
    // All are held until the last was tried: two of them may be the same.
    let mut held = Vec::new();
    listen.chain(admin).map(|(address, check)| port(address, check, &mut held)).collect()
}

fn port(address: &Address, check: &'static str, held: &mut Vec<Held>) -> Finding {
    let subject = address.to_string();
    let error = match listen(address) {
        Ok(listener) => {
            held.push((address.clone(), listener));
            return Finding::new(Verdict::Ok, &subject, check, "is free");
        }
        Err(error) => error,
    };
    let fail = |text: &str| Finding::new(Verdict::Fail, &subject, check, text);
    match error.kind() {
        io::ErrorKind::AddrInUse if held.iter().any(|(other, _)| overlap(other, address)) => {
            fail("is asked for twice").advise("leave one of the two out")
        }
        io::ErrorKind::AddrInUse => taken(address, check),
        io::ErrorKind::AlreadyExists => fail("is there, and no socket")
            .advise(format!("choose another --{check}, or see what that file is for")),
        io::ErrorKind::NotFound => fail("would be in a folder that is not there").advise("make it"),
        io::ErrorKind::PermissionDenied if address.ip().is_none() => {
            fail("may not be made").advise("let us write to its folder, or choose another")
        }
        io::ErrorKind::PermissionDenied => fail("may not be listened on")
            .advise("ports below 1024 need root or CAP_NET_BIND_SERVICE"),
        io::ErrorKind::AddrNotAvailable => fail("is no address of this machine")
            .advise("name one that is; 0.0.0.0 and [::] stand for all"),
        _ => fail(&format!("cannot be listened on: {error}")),
    }
}

/// Whether the access log could be written, where it goes to a file.
pub(super) fn access_log(config: &Config) -> Option<Finding> {
    let LogDestination::File(path) = &config.access_log.as_ref()?.destination else { return None };
    let subject = path.display().to_string();
    let finding = |verdict, text: &str| Finding::new(verdict, &subject, "access-log", text);
    Some(match prospect(path) {
        Prospect::Good => finding(Verdict::Ok, "can be written"),
        Prospect::Pipe => finding(Verdict::Warn, "is a pipe")
            .advise("see that somebody reads from it: the start fails otherwise"),
        Prospect::Bad(why) => finding(Verdict::Fail, &format!("cannot be written: {why}")),
    })
}

/// Whether one of two addresses leaves no room for the other.
fn overlap(one: &Address, other: &Address) -> bool {
    let (Address::Ip(one), Address::Ip(other)) = (one, other) else { return one == other };
    let is_same_ip = one.ip() == other.ip();
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && (is_same_ip || is_any)
}

/// A port or a path that somebody has. Where that is a roundel, it may well be the one that is
/// asked about.
fn taken(address: &Address, check: &'static str) -> Finding {
    let subject = address.to_string();
    match holder(address) {
        Some(Holder { process, name }) if Some(&name) == name_of("self").as_ref() => {
            let text = format!("is taken by {name}, process {process}");
            Finding::new(Verdict::Warn, &subject, check, text)
                .advise("if that is the one that serves, all is well; a second one cannot start")
        }
        Some(Holder { process, name }) => {
            let text = format!("is taken by {name}, process {process}");
            Finding::new(Verdict::Fail, &subject, check, text)
                .advise(format!("stop it, or choose another --{check}"))
        }
        None => {
            let look = who_listens(address);
            Finding::new(Verdict::Fail, &subject, check, "is taken")
                .advise(format!("to see by whom, as root: {look}"))
        }
    }
}

/// A process that listens.
struct Holder {
    process: u32,
    name: String,
}

/// Who listens where we would, as far as we may know.
fn holder(address: &Address) -> Option<Holder> {
    let tables = match address {
        Address::Ip(_) => &["/proc/net/tcp", "/proc/net/tcp6"][..],
        Address::Unix(_) => &["/proc/net/unix"],
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| match address {
            Address::Ip(address) => listening_inodes(&table, *address),
            Address::Unix(path) => listening_inodes_at(&table, path),
        })
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let process = numbers.into_iter().find(|number| {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{number}/fd")) else { return false };
        descriptors.filter_map(Result::ok).any(|descriptor| {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            inodes.iter().any(|inode| target == Path::new(inode))
        })
    })?;
    Some(Holder { process, name: name_of(&process.to_string())? })
}

/// The name of a process, by its number.
fn name_of(process: &str) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The sockets of a table of the kernel that listen where we would.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<String> {
    const LISTENS: &str = "0A";
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let (ip, port) = (parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
        // One that listens on all of IPv6 may listen on all of IPv4 with that.
        let is_here = ip.to_canonical() == address.ip() || ip.is_unspecified();
        let is_in_the_way = is_here || address.ip().is_unspecified();
        (*state == LISTENS && port == address.port() && is_in_the_way).then(|| (*inode).to_owned())
    };
    table.lines().filter_map(inode).collect()
}

/// The Unix sockets of a table of the kernel that listen at this path.
fn listening_inodes_at(table: &str, path: &SocketPath) -> Vec<String> {
    const LISTENS: &str = "00010000";
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (flags, inode, at) = (words.get(3)?, words.get(6)?, words.get(7)?);
        (*flags == LISTENS && *at == path.as_str()).then(|| (*inode).to_owned())
    };
    table.lines().filter_map(inode).collect()
}

/// An address as these tables have it: words of 32 bits, each as the machine has it in memory.
fn parse_ip(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.as_flattened().try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// Whether the limits of the system are enough for those that were asked for.
pub(super) fn limits(config: &Config, descriptors: u64) -> Vec<Finding> {
    let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn");
    let somaxconn = somaxconn.ok().and_then(|text| text.trim().parse().ok());
    let asked = config.limits.clients_count_max;
    [Some(clients(asked, descriptors)), somaxconn.map(backlog)].into_iter().flatten().collect()
}

fn clients(asked: Option<usize>, descriptors: u64) -> Finding {
    let possible = clients_possible(descriptors);
    let finding = |verdict, text: String| Finding::new(verdict, MACHINE, "descriptors", text);
    match asked {
        Some(asked) if asked > possible => {
            let text = format!("{descriptors} are for {possible} clients, not for {asked}");
            let enough = descriptors_for(asked);
            finding(Verdict::Warn, text).advise(format!("raise the limit (ulimit -n) to {enough}"))
        }
        Some(asked) => {
            finding(Verdict::Ok, format!("{descriptors} are enough for {asked} clients"))
        }
        None if descriptors < DESCRIPTORS_USUAL_MIN => {
            finding(Verdict::Warn, format!("{descriptors} are for {possible} clients at a time"))
                .advise("raise the limit (ulimit -n), if there may be more")
        }
        None => finding(Verdict::Ok, format!("{descriptors} are for {possible} clients at a time")),
    }
}

/// How many descriptors so many clients need: the inverse of [`clients_possible`].
fn descriptors_for(clients: usize) -> u64 {
    let clients = clients as u64;
    DESCRIPTORS_RESERVED + clients + clients.min(UPSTREAMS_RESERVED_MAX)
}

fn backlog(somaxconn: u64) -> Finding {
    let wanted = u64::try_from(BACKLOG_MAX).unwrap_or(u64::MAX);
    let finding = |verdict, text: String| Finding::new(verdict, MACHINE, "backlog", text);
    if somaxconn >= wanted {
        return finding(Verdict::Ok, format!("{wanted} clients may come at once"));
    }
    let text = format!("{somaxconn} clients may come at once; those beyond wait a second or more");
    finding(Verdict::Warn, text).advise(format!("sysctl -w net.core.somaxconn={wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::parse_socket_path;

    #[test]
    fn whoever_listens_where_we_would_is_found() {
        let row = |(local, state, inode): &(&str, &str, u32)| {
            format!(
                "   0: {local} 00000000:0000 {state} 0:0 00:0 00000000     0        0 {inode} 1\n"
            )
        };
        let table = |rows: &[(&str, &str, u32)]| -> String { rows.iter().map(row).collect() };
        let fours = table(&[
            ("0100007F:1F40", "0A", 71),
            ("00000000:1F40", "0A", 72),
            ("0100007F:1F40", "01", 73),
            ("0100007F:1F41", "0A", 74),
            ("0A00000A:1F40", "0A", 75),
        ]);
        let sixes = table(&[
            ("00000000000000000000000001000000:1F40", "0A", 81),
            ("0000000000000000FFFF00000100007F:1F40", "0A", 82),
        ]);
        let inodes = |table: &str, address: &str| {
            listening_inodes(table, address.parse().expect("an address")).join(" ")
        };
        if cfg!(target_endian = "little") {
            assert_eq!(inodes(&fours, "127.0.0.1:8000"), "71 72");
            assert_eq!(inodes(&fours, "0.0.0.0:8000"), "71 72 75");
            assert_eq!(inodes(&sixes, "[::1]:8000"), "81");
            assert_eq!(inodes(&sixes, "127.0.0.1:8000"), "82");
        }
        assert_eq!(inodes("no table\n at all : x", "127.0.0.1:8000"), "");
    }

    #[test]
    fn whoever_listens_at_our_path_is_found() {
        let path = parse_socket_path("/run/a.sock").expect("a path");
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
             000000005db841e5: 00000003 00000000 00000000 0001 03 91 /run/a.sock\n\
             000000003afcb0b5: 00000002 00000000 00010000 0001 01 92 /run/a.sock\n\
             000000003afcb0b6: 00000002 00000000 00010000 0001 01 93 /run/a.sock.old\n\
             000000003afcb0b7: 00000002 00000000 00010000 0001 01 94\n";
        assert_eq!(listening_inodes_at(table, &path), ["92"]);
    }

    #[test]
    fn limits_are_held_against_what_was_asked_for() {
        for (asked, descriptors, verdict, text) in [
            (None, 20_000, Verdict::Ok, "for 15840 clients"),
            (None, 1024, Verdict::Warn, "for 480 clients"),
            (Some(480), 1024, Verdict::Ok, "enough for 480 clients"),
            (Some(481), 1024, Verdict::Warn, "to 1026"),
            (Some(20_000), 20_000, Verdict::Warn, "to 24160"),
        ] {
            let finding = clients(asked, descriptors);
            assert_eq!(finding.verdict, verdict, "{finding}");
            assert!(finding.to_string().contains(text), "{finding}");
        }
        for clients in [1, 480, 481, 4096, 5000, 100_000] {
            let enough = descriptors_for(clients);
            assert!(clients_possible(enough) >= clients, "{clients}");
            assert!(clients_possible(enough - 2) < clients || clients == 1, "{clients}");
        }
        assert_eq!(backlog(4096).verdict, Verdict::Ok);
        assert_eq!(backlog(128).verdict, Verdict::Warn);
    }
}
