//! What can be seen from outside: the access log, and numbers that are counted for whoever asks.
//!
//! [`access_log`] writes one line for each exchange, as [`log_line`] has it. [`metrics`] counts the same records, [`history`]
//! keeps the last minutes of them. [`snapshot`] is everything that there is to be said at a moment;
//! [`exposition`] says it for Prometheus, [`status`] as [`json`], [`page`] for people. Nothing here knows connections: the server hands records in,
//! and fills snapshots.

pub mod access_log;
pub mod exposition;
pub mod histogram;
pub mod history;
pub mod json;
pub mod log_line;
pub mod metrics;
pub mod page;
pub mod snapshot;
pub mod status;
