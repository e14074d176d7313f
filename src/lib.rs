//! roundel

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
