//! The proxy as a library. ARCHITECTURE.md holds the map and the life of a
//! request.
//!
//! Imports point one way: `reactor` is used by `network`, that by `http` and
//! `upstream`, these by `filters`, then `listener`, `worker`, `control` and
//! `admin`, and `server` on top.
//! Skeleton.

pub mod http;
pub mod formatter;
pub mod stream_info;
//! The proxy as a library: see ARCHITECTURE.md for the map.

pub mod filters;
pub mod http;
pub mod network;
pub mod admin;
pub mod stats;
pub mod stream_info;
pub mod upstream;
pub mod worker;
