//! Skeleton.

pub mod http;
