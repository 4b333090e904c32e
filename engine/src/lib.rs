//! Skeleton.

pub mod stream_info;
