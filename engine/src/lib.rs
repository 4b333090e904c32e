//! The proxy as a library: see ARCHITECTURE.md for the map.

pub mod admin;
pub mod stats;
pub mod worker;
