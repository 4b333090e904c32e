//! The bootstrap (`envoy.config.bootstrap.v3`): from the loaded file to the
//! [`Snapshot`] that the engine runs. Start reading at [`lower`].
//!
//! Lowering never stops at the first mistake: every resource is visited,
//! each finding carries its path and position, and only then is the whole
//! accepted or refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::accesslog::v3::AccessLog;
use envoy_types::pb::envoy::config::bootstrap::v3 as pb;

use crate::cluster::Cluster;
use crate::clusters::ClusterNames;
use crate::context::{Cx, Source};
use crate::core::{Address, Node};
use crate::diagnostics::Diagnostics;
use crate::listener::Listener;
use crate::load::Loaded;

/// A complete, valid configuration. It is never changed: an update makes a
/// new one that shares the resources that stayed the same.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Listeners in the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// Clusters in the order of the file.
    pub clusters: Vec<Arc<Cluster>>,
    /// The admin server, if the file asks for one.
    pub admin: Option<Admin>,
    /// Who this proxy is.
    pub node: Node,
    /// How often histograms are merged and sinks are fed.
    pub stats_flush_interval: Duration,
    /// Every cluster name that a route or a cluster mentions, with its
    /// number.
    pub cluster_names: Arc<ClusterNames>,
    /// Warnings found while lowering (those of the loader are in
    /// [`Loaded`]).
    pub diagnostics: Diagnostics,
}

impl Snapshot {
    /// The cluster called `name`. A scan: for start-up and admin, not for
    /// requests, which hold a `ClusterId`.
    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.iter().find(|cluster| &*cluster.name == name)
    }
}

/// The admin server (`bootstrap.v3.Admin`).
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub address: Address,
    /// As [`Listener::ipv4_compat`].
    pub ipv4_compat: bool,
    /// Its access logs, for the engine's access loggers to compile.
    pub access_log: Vec<AccessLog>,
    /// Path of `access_log` in the file, for the engine's diagnostics.
    pub access_log_path_in_file: String,
    /// Deprecated form: a file that gets lines of Envoy's default format.
    pub access_log_path: Option<PathBuf>,
    /// Where the configuration names it.
    pub source: Source,
}
