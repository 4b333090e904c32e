//! The bootstrap (`envoy.config.bootstrap.v3`): from the loaded file to the
//! [`Snapshot`] that the engine runs. Start reading at [`lower`].
//!
//! Lowering never stops at the first mistake: every resource is visited,
//! each finding carries its path and position, and only then is the whole
//! accepted or refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::accesslog::v3::AccessLog;
use envoy_types::pb::envoy::config::bootstrap::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3 as cluster_pb;
use envoy_types::pb::envoy::config::listener::v3 as listener_pb;

use crate::aggregate;
use crate::application_log;
use crate::cluster::{self, Cluster};
use crate::clusters::{ClusterId, KnownClusters};
use crate::context::{Cx, Source};
use crate::core::{self, Address, Node};
use crate::diagnostics::Diagnostics;
use crate::dns::Resolver;
use crate::listener::{self, Listener};
use crate::load::{LoadOptions, Loaded};
use crate::names::Names;
use crate::runtime::RuntimeLayers;
use crate::tls::Secrets;
use crate::upstream_bind::{self, UpstreamBind};

/// A complete, valid configuration. It is never changed: an update makes a
/// new one that shares the resources that stayed the same.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Listeners in the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// Clusters in the order of the file.
    pub clusters: Vec<Arc<Cluster>>,
    /// The cluster that this proxy belongs to (`local_cluster_name`).
    pub local_cluster: Option<ClusterId>,
    /// The admin server, if the file asks for one.
    pub admin: Option<Admin>,
    /// Who this proxy is.
    pub node: Node,
    /// How often histograms are merged and sinks are fed.
    pub stats_flush_interval: Duration,
    /// Where ejections are logged (`cluster_manager.outlier_detection`).
    pub outlier_event_log: Option<PathBuf>,
    /// The layers of the runtime as the file has them.
    pub runtime: RuntimeLayers,
    /// Every name that the configuration mentions and that has a number.
    pub names: Arc<Names>,
    /// What was found while lowering, warnings unless it was done
    /// [partly](lower_partly) (what the loader found is in [`Loaded`]).
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
    /// Path of this section in the configuration, for the engine's
    /// diagnostics about `access_log`.
    pub path: String,
    /// Deprecated form: a file that gets lines of Envoy's default format.
    pub access_log_path: Option<PathBuf>,
    /// Where the configuration names it.
    pub source: Source,
}

/// Lowers a loaded bootstrap, or tells everything that is wrong with it.
///
/// Filters, routes and access logs stay messages: the engine compiles them
/// with the same marks, so that `--mode validate` sees their mistakes too.
pub fn lower(loaded: &Loaded) -> Result<Snapshot, Diagnostics> {
    let snapshot = lower_partly(loaded);
    match snapshot.diagnostics.has_errors() {
        false => Ok(snapshot),
        true => Err(snapshot.diagnostics),
    }
}

/// The same, with what could be lowered even if something could not: for those
/// who look for more that is wrong. Every cluster is there, if only by name.
pub fn lower_partly(loaded: &Loaded) -> Snapshot {
    let mut diagnostics = Diagnostics::new();
    let names = Arc::new(Names::default());
    let mut cx = Cx::new(&mut diagnostics, &loaded.marks, loaded.file.clone(), &names);
    let Lowered {
        listeners,
        clusters,
        local_cluster,
        admin,
        node,
        stats_flush_interval,
        outlier_event_log,
        runtime,
    } = lower_bootstrap(&loaded.bootstrap, &loaded.options, &mut cx);
    Snapshot {
        listeners,
        clusters,
        local_cluster,
        admin,
        node,
        stats_flush_interval,
        outlier_event_log,
        runtime,
        names,
        diagnostics,
    }
}

/// A snapshot before it is known whether it is one.
struct Lowered {
    listeners: Vec<Arc<Listener>>,
    clusters: Vec<Arc<Cluster>>,
    local_cluster: Option<ClusterId>,
    admin: Option<Admin>,
    node: Node,
    stats_flush_interval: Duration,
    outlier_event_log: Option<PathBuf>,
    runtime: RuntimeLayers,
}

fn lower_bootstrap(proto: &pb::Bootstrap, options: &LoadOptions, cx: &mut Cx<'_>) -> Lowered {
    let node = core::node(proto.node.as_ref());
    let node_is_known = (options.has_service_node || !node.id.is_empty())
        && (options.has_service_cluster || !node.cluster.is_empty());
    let manager = proto.cluster_manager.as_ref();
    let bind = cluster_bind(proto, cx);
    let resolver = Resolver::of_bootstrap(proto, cx);
    let (mut clusters, mut listeners) = (Vec::new(), Vec::new());
    if let Some(resources) = &proto.static_resources {
        cx.field("static_resources", |cx| {
            let secrets = Secrets::lower(&resources.secrets, node_is_known, cx);
            let defaults = cluster::Defaults {
                bind,
                resolver,
                secrets: &secrets,
            };
            // Clusters first: they get the lowest numbers, in their order.
            clusters = lower_clusters(&resources.clusters, &defaults, cx);
            listeners = lower_listeners(&resources.listeners, &secrets, cx);
        });
    }
    let local_cluster = manager.and_then(|manager| {
        cx.field("cluster_manager", |cx| {
            local_cluster(manager, &clusters, cx)
        })
    });
    if let Some(log) = &proto.application_log_config {
        cx.field("application_log_config", |cx| {
            application_log::check(log, cx);
        });
    }
    let mut runtime = RuntimeLayers::default();
    if let Some(layers) = &proto.layered_runtime {
        runtime = cx.field("layered_runtime", |cx| RuntimeLayers::lower(layers, cx));
    }
    let flush = core::duration(proto.stats_flush_interval, "stats_flush_interval", cx);
    Lowered {
        listeners,
        clusters,
        local_cluster,
        admin: proto
            .admin
            .as_ref()
            .and_then(|admin| cx.field("admin", |cx| lower_admin(admin, cx))),
        node,
        stats_flush_interval: flush.unwrap_or(STATS_FLUSH_INTERVAL),
        outlier_event_log: outlier_event_log(manager),
        runtime,
    }
}

fn outlier_event_log(manager: Option<&pb::ClusterManager>) -> Option<PathBuf> {
    let path = manager?.outlier_detection.as_ref()?.event_log_path.as_str();
    (!path.is_empty()).then(|| path.into())
}

const STATS_FLUSH_INTERVAL: Duration = Duration::from_secs(5);

fn cluster_bind(proto: &pb::Bootstrap, cx: &mut Cx<'_>) -> Option<UpstreamBind> {
    let config = proto
        .cluster_manager
        .as_ref()?
        .upstream_bind_config
        .as_ref()?;
    cx.field("cluster_manager", |cx| {
        cx.field("upstream_bind_config", |cx| {
            upstream_bind::lower(config, cx)
        })
    })
}

fn lower_clusters(
    protos: &[cluster_pb::Cluster],
    defaults: &cluster::Defaults<'_>,
    cx: &mut Cx<'_>,
) -> Vec<Arc<Cluster>> {
    let mut clusters: Vec<Arc<Cluster>> = Vec::with_capacity(protos.len());
    let mut first_of_name = HashMap::new();
    for (i, proto) in protos.iter().enumerate() {
        cx.index("clusters", i, |cx| {
            let cluster = Arc::new(cluster::lower(proto, defaults, cx));
            match first_of_name.entry(cluster.name.clone()) {
                Entry::Occupied(first) => cx.error_at(
                    "name",
                    format!(
                        "duplicate cluster {:?}, the first is at {}",
                        proto.name,
                        first.get()
                    ),
                ),
                Entry::Vacant(place) => {
                    place.insert(cluster.source.clone());
                    clusters.push(cluster);
                }
            }
        });
    }
    aggregate::check(&clusters, cx);
    clusters
}

fn lower_listeners(
    protos: &[listener_pb::Listener],
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> Vec<Arc<Listener>> {
    let mut listeners: Vec<Arc<Listener>> = Vec::with_capacity(protos.len());
    for (i, proto) in protos.iter().enumerate() {
        cx.index("listeners", i, |cx| {
            if let Some(listener) = listener::lower(proto, i, secrets, cx) {
                check_distinct(&listener, &listeners, cx);
                listeners.push(Arc::new(listener));
            }
        });
    }
    listeners
}

/// Two listeners must differ in name and in every address. (Of two listeners
/// with one name Envoy keeps the first without a word.)
fn check_distinct(new: &Listener, earlier: &[Arc<Listener>], cx: &mut Cx<'_>) {
    for old in earlier {
        if old.name == new.name {
            cx.error_at(
                "name",
                format!(
                    "duplicate listener {:?}, the first is at {}",
                    &*new.name, old.source
                ),
            );
        }
        for address in new.addresses().filter(|address| !address.is_any_port()) {
            if old.addresses().any(|taken| taken.same_socket(address)) {
                cx.error_at(
                    "address",
                    format!(
                        "listener {:?} has the address {address} of listener {:?} at {}",
                        &*new.name, &*old.name, old.source
                    ),
                );
            }
        }
    }
}

fn local_cluster(
    proto: &pb::ClusterManager,
    clusters: &[Arc<Cluster>],
    cx: &mut Cx<'_>,
) -> Option<ClusterId> {
    let name = proto.local_cluster_name.as_str();
    if name.is_empty() {
        return None;
    }
    let found = clusters.iter().find(|cluster| &*cluster.name == name);
    // One without a name, which a broken file may have, may be meant.
    if found.is_none() && KnownClusters::of(clusters).is_some() {
        cx.error_at(
            "local_cluster_name",
            format!("local cluster {name:?} must be defined"),
        );
    }
    found.map(|cluster| cluster.id)
}

/// An admin section without an address starts no server, as in Envoy.
#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn lower_admin(proto: &pb::Admin, cx: &mut Cx<'_>) -> Option<Admin> {
    proto.address.as_ref()?;
    let bindable = cx.field("address", |cx| {
        core::address(proto.address.as_ref(), "", cx)
    })?;
    Some(Admin {
        address: bindable.address,
        ipv4_compat: bindable.ipv4_compat,
        access_log: proto.access_log.clone(),
        path: cx.path().to_owned(),
        access_log_path: Some(proto.access_log_path.as_str())
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        source: cx.source(),
    })
}
