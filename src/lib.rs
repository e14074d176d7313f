//! roundel: an HTTP load balancer and reverse proxy on raw sockets and its own event loop.
//!
//! One thread, one poll. A client speaks HTTP/1.1 or 1.0 to it; each request goes to the next backend
//! in turn, over a pooled connection, plain or TLS; octets go between the two sockets through one
//! shared buffer.
//!
//! ```text
//!            events, time, names, signals
//!                       │
//!   server::event_loop ─┴─► server::worker ──────────────► observe::access_log
//!                             │  slots, timers, run queue
//!                             │  dispatch: whose turn? which connection?
//!                             │  settle:   what comes after an exchange?
//!                             ▼
//!   client ──► proxy::client ──► proxy::exchange ──► proxy::upstream ──► backend
//!          ◄──                   (drive)          ◄──
//!                │                  │                   │
//!            net::link          h1 (pure)            net::link ── net::tls
//! ```
//!
//! # Where to begin
//!
//! Follow one request: [`net::listener`] accepts it, [`proxy::client::read_head`] reads its head with
//! [`h1::scan`] and [`h1::request`], [`server::dispatch`] finds a connection, [`proxy::drive::start`]
//! sends it on as [`h1::forward`] has written it, [`proxy::drive::drive`] relays what comes back,
//! [`server::settle`] ends it. `docs/ARCHITECTURE.md` tells the same way in twelve steps, with the
//! invariants and the reasons.
//!
//! # Layers
//!
//! A module uses only what stands below it: `server`, `proxy`, {`net`, `backend`, `observe`}, `h1`,
//! `config`; [`key`] and [`clock`] belong to everybody. `tests/structure.rs` holds that, and that each
//! dependency is named in its one place.
//!
//! # The protocol alone
//!
//! Everything in [`h1`] is octets in, values and octets out:
//!
//! ```
//! use roundel::config::Limits;
//! use roundel::h1::fields::field_storage;
//! use roundel::h1::forward::{BackendView, ClientFacts, OutboundHead, Trust};
//! use roundel::h1::request::parse_request;
//! use roundel::h1::scan::HeadScan;
//!
//! let wire = b"GET /a HTTP/1.1\r\nHost: example\r\nConnection: x\r\nX: gone\r\n\r\nnext";
//! let end = HeadScan::default().advance(wire).expect("CRLF only").expect("a whole head");
//! let mut storage = field_storage();
//! let head = parse_request(&wire[..end], &mut storage, &Limits::default()).expect("sound");
//!
//! let mut outbound = OutboundHead::default();
//! let address = Some([127, 0, 0, 1].into());
//! outbound.fill(&head, ClientFacts { address, proto: "http", trust: Trust::None, fresh_id: 1 });
//! let backend = BackendView { prefix: b"/app", authority: b"backend", sees_itself: false };
//! let mut out = Vec::new();
//! outbound.write_for(&mut out, backend);
//! assert!(out.starts_with(b"GET /app/a HTTP/1.1\r\nHost: example\r\nX-Request-Id: 0"));
//! ```

pub mod backend;
pub mod cli;
pub mod clock;
pub mod config;
pub mod h1;
pub mod key;
pub mod net;
pub mod observe;
pub mod proxy;
pub mod server;
