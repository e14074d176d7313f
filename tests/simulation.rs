//! The simulated world: the real worker between simulated clients and backends, on a simulated network,
//! in simulated time, all of it decided by a seed.
//!
//! What runs here is `server::worker::Worker` with everything below it; only sockets and clock are
//! replaced. Every read and write is granted a random number of octets, often one; events come as
//! epoll gives them, sometimes late, together, or without reason; peers do everything that peers do
//! and much that they should not. Whatever comes of it has to satisfy the oracles:
//!
//! - each octet that a client gets is the right one, and a part never looks like the whole
//!   (`client.rs`);
//! - each backend connection carries whole, valid requests one after the other, and none after it has
//!   no right to one (`backend.rs`);
//! - each request has one of the outcomes that its plan allows, turns are strict, a POST reaches a
//!   backend at most once, nobody hoards (`oracle.rs`);
//! - everything ends: no turn without progress, no client that waits for ever, no connection or timer
//!   left over (`world.rs`).
//!
//! ```text
//! cargo test --test simulation                                  # a thousand seeds
//! ROUNDEL_SEEDS=1000000 cargo test --release --test simulation  # a million
//! ROUNDEL_SEED=4711 cargo test --test simulation                # this one
//! ```
//!
//! A seed that fails is told with the smallest script that fails likewise and with everything that
//! happens in it, line by line. `ROUNDEL_TRACE=all` prints more than the end of that,
//! `ROUNDEL_SHRINK=0` only names the seed and the failure, `ROUNDEL_ALL=1` names all that fail and goes
//! on. `ROUNDEL_SEED` with `ROUNDEL_SEEDS` begins there and runs so many.
//!
//! That all this can fail is proved by `tests/mutations/run`, which plants bugs and looks who finds
//! them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::type_complexity,
    reason = "a test: a panic is how it reports; the two ends of a simulated wire share its state"
)]

mod simulation {
    pub(crate) mod backend;
    pub(crate) mod chance;
    pub(crate) mod client;
    pub(crate) mod http;
    pub(crate) mod messages;
    pub(crate) mod oracle;
    pub(crate) mod peer;
    pub(crate) mod rng;
    pub(crate) mod runner;
    pub(crate) mod script;
    pub(crate) mod shrink;
    #[cfg(feature = "tls")]
    pub(crate) mod tls;
    pub(crate) mod trace;
    pub(crate) mod wire;
    pub(crate) mod world;
}

use simulation::{
    chance::script_of,
    runner::{Seeds, run_guarded, run_seeds},
};

#[test]
fn a_thousand_worlds_without_tls() {
    run_seeds(Seeds { first: 1, count: 1000, tls: false });
}

#[cfg(feature = "tls")]
#[test]
fn some_worlds_with_tls() {
    run_seeds(Seeds { first: 1, count: 150, tls: true });
}

/// Otherwise a seed would be worth nothing.
#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 1..20 {
        let script = script_of(seed, cfg!(feature = "tls"));
        assert_eq!(run_guarded(&script), run_guarded(&script), "seed {seed}");
    }
}
