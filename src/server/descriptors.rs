//! How descriptors are shared out: between clients, connections to backends, pipes, and roundel itself.
//!
//! Knows nothing of what is open. Invariant: what is given out to clients leaves enough to serve them.

use crate::config::Limits;

/// Descriptors that are not for clients and their upstreams: listeners, log, poll, names.
pub(super) const DESCRIPTORS_RESERVED: u64 = 64;

/// So many descriptors there must be for each pipe: they are for connections first.
const DESCRIPTORS_PER_PIPE: u64 = 64;

/// The most descriptors that are kept free for connections to backends. Most clients are idle, and an
/// idle one needs none: half of all descriptors, as some proxies keep, would turn clients away for
/// nothing.
pub(super) const UPSTREAMS_RESERVED_MAX: u64 = 4096;

/// How many pipes there may be: as many as was asked for, if the descriptors go round.
pub(super) fn pipes_max(limits: &Limits, descriptors: u64) -> usize {
    let possible = usize::try_from(descriptors / DESCRIPTORS_PER_PIPE).unwrap_or(0);
    limits.pipes_count_max.min(possible)
}

/// How many clients the descriptors allow.
pub(super) fn clients_possible(descriptors: u64) -> usize {
    let free = descriptors.saturating_sub(DESCRIPTORS_RESERVED);
    let clients = free - (free / 2).min(UPSTREAMS_RESERVED_MAX);
    usize::try_from(clients.max(1)).unwrap_or(usize::MAX)
}

/// How many clients there may be: as many as was asked for, if the descriptors go round.
pub(super) fn clients_max(asked: Option<usize>, descriptors: u64) -> usize {
    let possible = clients_possible(descriptors);
    match asked {
        Some(asked) if asked > possible => {
            log::warn!(
                "{possible} clients at a time, not {asked}: there are {descriptors} descriptors \
                 (ulimit -n)"
            );
            possible
        }
        Some(asked) => asked,
        None => possible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_descriptors_allow() {
        for (asked, descriptors, want) in [
            (None, 1024, 480),
            (None, 20_000, 15_840),
            (Some(100), 1024, 100),
            (Some(1000), 1024, 480),
            (None, 10, 1),
        ] {
            assert_eq!(clients_max(asked, descriptors), want, "{asked:?} of {descriptors}");
        }
    }
}
