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

pub mod aggregate;
mod application_log;
pub mod auto_sni;
pub mod bootstrap;
pub mod cidr;
pub mod circuit_breakers;
pub mod cluster;
pub mod clusters;
pub mod config_source;
pub mod context;
pub mod core;
pub mod data_source;
pub mod descriptors;
pub mod diagnostics;
pub mod discovery;
pub mod dns;
pub mod dns_cache;
mod dump;
pub mod eds;
pub mod endpoint;
pub mod field_mask;
pub mod filter_state;
mod follow_up;
pub mod format_strings;
#[doc(hidden)]
pub mod fuzz;
pub mod grpc_service;
pub mod happy_eyeballs;
pub mod header_key_format;
pub mod health_check;
pub mod http2_protocol_options;
mod json;
pub mod latency_outlier;
pub mod listener;
pub mod load;
pub mod load_balancing;
mod loader;
pub mod matcher;
mod merge;
pub mod metadata;
pub mod metadata_match;
pub mod metadata_path;
pub mod names;
pub mod original_dst;
pub mod outlier_detection;
pub mod proxy_protocol;
pub mod rbac;
pub mod request_policies;
pub mod route;
mod rules;
pub mod runtime;
pub mod scoped_route;
pub mod socket_match;
pub mod socket_option;
pub mod sub_clusters;
pub mod suggest;
pub mod support;
pub mod tls;
pub mod token_bucket;
pub mod transcoding;
mod tree;
pub mod upstream_bind;
mod yaml;

pub use self::core::Address;
pub use bootstrap::{Admin, Snapshot};
pub use cluster::Cluster;
pub use clusters::{ClusterId, ClusterNames};
pub use context::{Cx, Source, type_name, unpack};
pub use diagnostics::{Diagnostic, Diagnostics, Marks, Position, Severity};
pub use endpoint::Host;
pub use listener::{Extension, FilterChain, Listener};
pub use load::{
    Format, LoadOptions, Loaded, Look, load, load_and_look, load_binary, load_files,
    load_files_and_look, to_json,
};
pub use loader::decode_base64;
pub use names::Names;
pub use support::support_page;
