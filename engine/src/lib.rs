//! Skeleton.

pub mod formatter;
pub mod stream_info;
//! The proxy as a library: see ARCHITECTURE.md for the map.

pub mod admin;
pub mod stats;
pub mod worker;
