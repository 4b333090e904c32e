//! Skeleton.

pub mod formatter;
pub mod stream_info;
