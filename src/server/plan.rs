//! What would run, told without running it: where clients are awaited, where the backends are, and what it
//! may cost at most against what the machine has.
//!
//! Knows nothing of options and of the loop. Invariant: nothing is opened, bound or written; what would
//! be an error at the start is one here, as far as that can be told without.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use super::demo::DEMO_BACKENDS_COUNT;
use super::descriptors::{DESCRIPTORS_RESERVED, clients_possible, pipes_max};
use super::log_file::{Prospect, cannot_write, prospect};
use super::secured::secured;
use super::{RunError, descriptors_possible};
use crate::config::backend_url::Identity;
use crate::config::limits::{
    CARRY_BYTES_MAX, HELD_BYTES_MAX, PIPE_BYTES, READ_BYTES_MAX, READ_BYTES_START,
};
use crate::config::size::show_size;
use crate::config::{
    BackendConfig, Backends, Config, Host, Intake, Limits, LogDestination, Role, Scheme,
    SocketPath, Verify,
};
use crate::net::HEADROOM_BYTES;
use crate::net::resolve::{Lookup, SystemLookup};

/// Says what would run, in lines.
///
/// # Errors
/// When it could not, as [`super::run`] says it.
pub fn plan(config: &Config) -> Result<String, RunError> {
    let descriptors = descriptors_possible()?;
    let backends = match &config.backends {
        Backends::Configured(backends) => backends.as_slice(),
        Backends::Demo => &[],
    };
    secured(backends, config.ca_pem.as_deref())?;
    if let Some(log) = &config.access_log
        && let LogDestination::File(path) = &log.destination
        && let Prospect::Bad(why) = prospect(path)
    {
        return Err(cannot_write(&log.destination, &why));
    }
    let mut lines = vec!["listeners".to_owned()];
    lines.extend(config.listen.iter().map(|address| format!("  {}", address.url())));
    lines.push("backends".to_owned());
    match &config.backends {
        Backends::Configured(backends) => {
            for backend in backends {
                lines.push(format!("  {backend}"));
                lines.push(format!("    {}", whereabouts(backend, &mut SystemLookup)));
                lines.extend(remarks(backend, config).map(|remark| format!("    {remark}")));
            }
        }
        Backends::Demo => lines.push(format!("  {DEMO_BACKENDS_COUNT} inside this process")),
    }
    let said: Vec<String> = config.differences().map(|one| format!("  {one}")).collect();
    if !said.is_empty() {
        lines.push("options".to_owned());
        lines.extend(said);
    }
    lines.push("at most".to_owned());
    let machine = Machine { descriptors, memory_bytes: available_memory() };
    lines.extend(costs(config, &machine).into_iter().map(|line| format!("  {line}")));
    Ok(lines.join("\n") + "\n")
}

/// Where a backend is now.
fn whereabouts(backend: &BackendConfig, lookup: &mut impl Lookup) -> String {
    match &backend.host {
        Host::Address(address) => {
            format!("at {}", std::net::SocketAddr::new(*address, backend.port))
        }
        Host::Unix(path) if is_socket(path) => format!("at {path}"),
        Host::Unix(path) => format!("at {path}, where there is no socket now"),
        Host::Name(name) => match lookup.lookup(name, backend.port) {
            Ok(addresses) => {
                let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("at {}", words.join(", "))
            }
            Err(error) => format!("nowhere until its name can be resolved ({error})"),
        },
    }
}

/// Whether there is a socket. Of one without a path it cannot be told without a connection.
fn is_socket(path: &SocketPath) -> bool {
    let is_socket = |file: fs::Metadata| file.file_type().is_socket();
    path.abstract_name().is_some() || fs::metadata(path.as_str()).is_ok_and(is_socket)
}

/// What else there is to know of a backend.
fn remarks(backend: &BackendConfig, config: &Config) -> impl Iterator<Item = String> + use<> {
    let tls = &backend.tls;
    let trust = match (backend.scheme, tls.verify, &tls.ca_pem, &config.ca_pem) {
        (Scheme::Http, ..) => None,
        (Scheme::Https, Verify::Nothing, ..) => Some(
            "INSECURE: its certificate is not checked, so anybody in between can read and change all",
        ),
        (Scheme::Https, Verify::Full, Some(_), _) => Some("trusted through a ca of its own"),
        (Scheme::Https, Verify::Full, None, Some(_)) => Some("trusted through the ca of all"),
        (Scheme::Https, Verify::Full, None, None) => Some("trusted through the built-in roots"),
    };
    let identity: Option<&Identity> = tls.identity.as_ref();
    let shown = identity.map(|_| "is shown a certificate of ours if it asks");
    let role = match backend.role {
        Role::Main => None,
        Role::Backup => Some("gets only what no other can take"),
    };
    let intake = match backend.intake {
        Intake::Open => None,
        Intake::Drained => Some("gets no new requests"),
    };
    [trust, shown, role, intake].into_iter().flatten().map(str::to_owned)
}

/// What there is.
struct Machine {
    descriptors: u64,
    /// `None` where the system does not tell.
    memory_bytes: Option<u64>,
}

/// The most that can be needed, and what there is of it.
fn costs(config: &Config, machine: &Machine) -> Vec<String> {
    let Machine { descriptors, memory_bytes } = *machine;
    let possible = clients_possible(descriptors);
    let clients = config.limits.clients_count_max.unwrap_or(possible).min(possible);
    let mut lines = vec![format!("{clients} clients at a time; others wait in the kernel")];
    if let Some(asked) = config.limits.clients_count_max.filter(|asked| *asked > possible) {
        lines.push(format!(
            "  not {asked}: of {descriptors} descriptors (ulimit -n) clients may have {possible}"
        ));
    }
    let connections = connections_max(config);
    let pipes = match config.limits.splice_bytes_min {
        Some(_) => pipes_max(&config.limits, descriptors),
        None => 0,
    };
    let used = connections.map(|count| count.saturating_add(clients).saturating_add(2 * pipes));
    lines.push(match connections {
        Some(count) => format!("{count} connections to backends"),
        None => "as many connections to backends as there are requests under way".to_owned(),
    });
    let free = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_RESERVED));
    lines.push(match (used, free) {
        (Some(used), Ok(free)) if used <= free => {
            format!(
                "{used} of {descriptors} descriptors, and {DESCRIPTORS_RESERVED} for roundel itself"
            )
        }
        _ => format!("all {descriptors} descriptors; then connections that rest make room, or 503"),
    });
    if pipes > 0 {
        let memory = show_roughly((pipes * PIPE_BYTES) as u64);
        lines.push(format!("{pipes} pipes of two descriptors each, with {memory} in the kernel"));
    }
    lines.push(format!("{} requests in the queue", config.limits.queue_count_max));
    let each = bytes_per_request(&config.limits);
    let total = each.saturating_mul(clients as u64);
    let memory = memory_bytes.map_or_else(String::new, |memory| {
        format!(", of {} that are available", show_roughly(memory))
    });
    lines.push(format!("{} of memory{memory}:", show_roughly(total)));
    lines.push(format!(
        "  {} for each client whose request is under way while nobody takes what was sent; an idle",
        show_roughly(each)
    ));
    lines.push("  one has a few hundred octets".to_owned());
    if let Some(memory) = memory_bytes.filter(|memory| *memory < total) {
        let fit = (memory / each.max(1)).max(1);
        lines.push(format!("  to be safe even then: --max-conns {fit}"));
    }
    lines
}

/// The most connections to all backends together, if each has a limit.
fn connections_max(config: &Config) -> Option<usize> {
    let for_all = config.limits.backend_connections_count_max;
    match &config.backends {
        Backends::Configured(backends) => {
            let limits = backends.iter().map(|one| one.connections_count_max.or(for_all));
            limits.sum()
        }
        Backends::Demo => for_all.map(|count| count.saturating_mul(DEMO_BACKENDS_COUNT)),
    }
}

/// The most octets that one client and its request hold: what came before its time, the head that is sent
/// on, the body that may have to be sent again, what each side has not taken, and of the backend a part of
/// a head and of a TLS record.
fn bytes_per_request(limits: &Limits) -> u64 {
    let before_its_time = limits.request_head_bytes_max + READ_BYTES_START;
    let head = limits.request_head_bytes_max;
    let body = HELD_BYTES_MAX.max(limits.replay_bytes_max);
    let not_taken = 2 * (HEADROOM_BYTES + READ_BYTES_MAX);
    let of_the_backend = limits.response_head_bytes_max + CARRY_BYTES_MAX;
    (before_its_time + head + body + not_taken + of_the_backend) as u64
}

/// In the unit that leaves at least two digits.
fn show_roughly(octets: u64) -> String {
    for unit in [1 << 30, 1 << 20, 1 << 10] {
        if octets >= 10 * unit {
            return show_size(octets / unit * unit);
        }
    }
    show_size(octets)
}

/// How much memory can be had without others being moved out, where the system tells.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::net::SocketAddr;

    use crate::config::backend_url::parse_backend;

    fn config(backends: &[&str], change: impl FnOnce(&mut Limits)) -> Config {
        let backends = backends.iter().map(|text| parse_backend(text).expect(text)).collect();
        let mut limits = Limits::default();
        change(&mut limits);
        Config {
            listen: Vec::new(),
            backends: Backends::Configured(backends),
            balance: crate::config::Balance::RoundRobin,
            ca_pem: None,
            trust: Vec::new(),
            timeouts: crate::config::Timeouts::default(),
            limits,
            health: crate::config::HealthConfig::default(),
            access_log: None,
            admin: None,
            server_timing: false,
            file: None,
            log_level: log::LevelFilter::Info,
            settings: Vec::new(),
        }
    }

    fn told(config: &Config, descriptors: u64, memory: Option<u64>) -> String {
        costs(config, &Machine { descriptors, memory_bytes: memory }).join("\n")
    }

    #[test]
    fn costs_are_held_against_what_there_is() {
        let plain = config(&["http://a", "http://b,max_conns=5"], |_| {});
        let text = told(&plain, 1024, Some(1 << 40));
        assert!(text.starts_with("480 clients at a time"), "{text}");
        assert!(text.contains("all 1024 descriptors"), "{text}");
        assert!(text.contains("of 1024GiB that are available"), "{text}");
        assert!(!text.contains("--max-conns"), "{text}");
        assert!(
            told(&plain, 1024, Some(100 << 20)).contains("to be safe even then: --max-conns 12")
        );
        assert!(!told(&plain, 1024, None).contains("available"));
        let limited = config(&["http://a", "http://b,max_conns=5"], |limits| {
            limits.clients_count_max = Some(100);
            limits.backend_connections_count_max = Some(10);
        });
        let text = told(&limited, 1024, None);
        assert!(text.contains("15 connections to backends\n147 of 1024 descriptors"), "{text}");
        assert!(text.contains("16 pipes of two descriptors each, with 4MiB"), "{text}");
        let greedy = config(&["http://a"], |limits| limits.clients_count_max = Some(1000));
        assert!(told(&greedy, 1024, None).contains("not 1000: of 1024 descriptors"));
    }

    struct Names;

    impl Lookup for Names {
        fn lookup(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            match host {
                "a" => Ok([1, 2].map(|last| SocketAddr::from(([10, 0, 0, last], port))).to_vec()),
                _ => Err(io::Error::other("nobody knows it")),
            }
        }
    }

    #[test]
    fn backends_are_where_their_names_lead() {
        for (backend, want) in [
            ("http://127.0.0.1:3001", "at 127.0.0.1:3001"),
            ("unix:/nowhere/a", "at unix:/nowhere/a, where there is no socket now"),
            ("http://a", "at 10.0.0.1:80, 10.0.0.2:80"),
            ("http://b", "nowhere until its name can be resolved (nobody knows it)"),
        ] {
            let config = parse_backend(backend).expect(backend);
            assert_eq!(whereabouts(&config, &mut Names), want);
        }
    }

    #[test]
    fn rough_sizes_have_two_digits_or_more() {
        for (octets, want) in
            [(900, "900B"), (9 * 1024, "9KiB"), (870_000, "849KiB"), (90 << 20, "90MiB")]
        {
            assert_eq!(show_roughly(octets), want);
        }
    }
}
