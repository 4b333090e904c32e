//! The proxy as a library: see ARCHITECTURE.md for the map.

pub mod access_loggers;
pub mod admin;
pub mod cli;
pub mod formatter;
pub mod stats;
pub mod stream_info;
pub mod validate;
pub mod worker;
