//! Which server gets a request: whose turn it is, and which of its connections is free.
//!
//! Here connections are keys, never sockets, and servers are numbers: everything can be tried out in
//! a table.

pub mod balance;
pub mod budget;
pub mod health;
pub mod pool;

/// One of the configured backends, by its place in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BackendId(pub usize);
