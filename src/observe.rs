//! What can be seen from outside: the access log.

pub mod access_log;
