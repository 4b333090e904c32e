//! Skeleton.
pub mod cli;
pub mod validate;
