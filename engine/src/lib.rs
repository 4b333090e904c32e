//! The proxy as a library: see ARCHITECTURE.md for the map.

pub mod stats;
pub mod worker;
