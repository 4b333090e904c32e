//! What runs on a core, and what cores share.

pub mod shared;
