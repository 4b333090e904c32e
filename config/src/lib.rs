//! Envoy v3 configuration, from text to an immutable compiled snapshot.
//!
//! The way of a file:
//! 1. text to a tree that knows its lines (`yaml`),
//! 2. tree to a protobuf message by reflection (`loader`),
//! 3. Envoy's own validation rules (`rules`),
//! 4. the support table: what Ringway does not do yet is refused by path (`support`),
//! 5. lowering to the compiled types that workers read.
//!
//! Each step collects all its findings in a [`Diagnostics`]. Nothing here
//! opens sockets, starts threads or reads the environment.
#![forbid(unsafe_code)]

pub mod clusters;
pub mod context;
pub mod descriptors;
pub mod diagnostics;
mod json;
mod loader;
mod rules;
mod tree;
mod yaml;

pub use clusters::{ClusterId, ClusterNames};
pub use context::{Cx, Source, type_name, unpack};
pub use diagnostics::{Diagnostic, Diagnostics, Marks, Position, Severity};
