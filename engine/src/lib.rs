//! Skeleton.

pub mod reactor;
