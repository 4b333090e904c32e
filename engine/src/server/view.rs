//! The process as the admin server sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ringway_config::discovery::Discovery;
use ringway_config::endpoint::Group;
use ringway_config::outlier_detection::Origin;
use ringway_config::runtime::{BadValue, RuntimeLayers};
use ringway_config::{Cluster, Loaded, Marks, Names, core::Node, to_json};
use ringway_lb::members::Health;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::certificates;
use super::compile::Compiled;
use super::dynamic_clusters;
use super::listen::Bound;
use super::runtime::Runtime;
use crate::admin::{
    self, Action, ClusterStatus, Expiry, HealthFlags, HostStats, HostStatus, ListenerStatus,
    LogLevel, Loggers, OutlierStatus, ServerInfo, ServerState, ServerView, Thresholds,
};
use crate::cli::{self, Options};
use crate::control::cluster_list::ClusterList;
use crate::control::secret_manager::{self, SecretsView};
use crate::explain::{self, Document, Fact, Question, Sources, Subject};
use crate::listener::SharedListener;
use crate::network::address::local_address;
use crate::reactor::DriverKind;
use crate::stats::Store;
use crate::upstream::circuit_breaker::Limits;
use crate::upstream::cluster::SharedCluster;
use crate::upstream::health::{self, HealthFlag};
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::Member;

/// What `/server_info` answers as the version: revision, version, state of the
/// sources, build type, TLS library.
pub const VERSION: &str = concat!("ringway/", env!("CARGO_PKG_VERSION"), "/Clean/RELEASE/none");

/// Everything that admin requests are answered from.
pub struct View {
    started: Instant,
    state: AtomicU8,
    listeners: Vec<Arc<SharedListener>>,
    clusters: Arc<ClusterList>,
    secrets: Arc<SecretsView>,
    store: Store,
    actions: UnboundedSender<Action>,
    loggers: Loggers,
    runtime: Arc<Runtime>,
    command_line: Value,
    node: Value,
    config_dump: Value,
    marks: Arc<Marks>,
    names: Arc<Names>,
    own: Node,
    stats_flush_interval: Duration,
}

impl View {
    /// The view of a process that is starting.
    #[allow(
        clippy::too_many_arguments,
        reason = "one of each thing that admin shows"
    )]
    pub fn new(
        options: &Options,
        loaded: &Loaded,
        compiled: &Compiled,
        bound: &Bound,
        clusters: Arc<ClusterList>,
        secrets: Arc<SecretsView>,
        store: Store,
        actions: UnboundedSender<Action>,
        loggers: Loggers,
        runtime: Arc<Runtime>,
        driver: Option<DriverKind>,
    ) -> Self {
        let bootstrap = to_json(&loaded.message);
        let mut node = bootstrap.get("node").cloned().unwrap_or_else(|| json!({}));
        options.override_node(&mut node);
        node["user_agent_name"] = "ringway".into();
        let mut command_line = options.command_line_options_json();
        if let Some(driver) = driver {
            command_line["io_driver"] = driver.to_string().into();
        }
        Self {
            started: Instant::now(),
            state: AtomicU8::new(ServerState::Initializing.number() as u8),
            listeners: bound.listeners.clone(),
            clusters,
            secrets,
            store,
            actions,
            loggers,
            runtime,
            command_line,
            node,
            config_dump: config_dump(&bootstrap),
            marks: Arc::clone(&loaded.marks),
            names: Arc::clone(&compiled.snapshot.names),
            own: compiled.snapshot.node.clone(),
            stats_flush_interval: compiled.snapshot.stats_flush_interval,
        }
    }

    /// Changes what `/ready` and `/server_info` answer.
    pub fn set_state(&self, state: ServerState) {
        // A flag by itself: nothing is published through it.
        self.state.store(state.number() as u8, Ordering::Relaxed);
    }

    /// Time since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// How often histograms are merged.
    #[must_use]
    pub fn stats_flush_interval(&self) -> Duration {
        self.stats_flush_interval
    }

    /// The statistics.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Number of listeners.
    #[must_use]
    pub fn listener_count(&self) -> usize {
        self.listeners.len()
    }

    /// Number of clusters.
    #[must_use]
    pub fn cluster_count(&self) -> usize {
        self.clusters.active().len()
    }

    fn host_status(&self, host: &Member, group: &Group) -> HostStatus {
        let counter = |counter| self.store.counter_value(counter);
        let gauge = |gauge| self.store.gauge_value(gauge);
        let stats = host.shared.stats();
        let locality = &group.locality;
        HostStatus {
            address: admin_address(&host.config.address),
            hostname: host.config.hostname.to_string(),
            stats: HostStats {
                cx_connect_fail: counter(stats.cx_connect_fail),
                cx_total: counter(stats.cx_total),
                rq_error: counter(stats.rq_error),
                rq_success: counter(stats.rq_success),
                rq_timeout: counter(stats.rq_timeout),
                rq_total: counter(stats.rq_total),
                cx_active: gauge(stats.cx_active),
                rq_active: gauge(stats.rq_active),
                rq_pending_active: gauge(stats.rq_pending_active),
            },
            health: health_flags(&host.shared),
            weight: host.config.weight,
            locality: admin::Locality {
                region: locality.region.to_string(),
                zone: locality.zone.to_string(),
                sub_zone: locality.sub_zone.to_string(),
            },
            canary: host.config.canary,
            priority: group.priority,
            success_rate: rate(&host.shared, Origin::External),
            local_origin_success_rate: rate(&host.shared, Origin::Local),
        }
    }
}

impl ServerView for View {
    fn certs(&self) -> Value {
        certificates::dump(&self.listeners, &self.clusters.active())
    }

    fn expiry(&self) -> Expiry {
        certificates::expiry(&self.listeners, &self.clusters.active())
    }

    fn state(&self) -> ServerState {
        let number = u64::from(self.state.load(Ordering::Relaxed));
        [
            ServerState::Live,
            ServerState::Draining,
            ServerState::PreInitializing,
            ServerState::Initializing,
        ]
        .into_iter()
        .find(|state| state.number() == number)
        .unwrap_or(ServerState::Initializing)
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        self.listeners
            .iter()
            .filter_map(|listener| {
                let mut addresses = listener.addresses.iter().map(admin_address);
                Some(ListenerStatus {
                    name: listener.config.name.to_string(),
                    local_address: addresses.next()?,
                    additional_local_addresses: addresses.collect(),
                })
            })
            .collect()
    }

    fn clusters(&self) -> Vec<ClusterStatus> {
        let thresholds = |limits: &Limits| {
            let [
                max_connections,
                max_pending_requests,
                max_requests,
                max_retries,
            ] = limits.shown();
            Thresholds {
                max_connections,
                max_pending_requests,
                max_requests,
                max_retries,
            }
        };
        let status = |cluster: &Arc<SharedCluster>| {
            let hosts = cluster.hosts();
            ClusterStatus {
                name: cluster.config.name.to_string(),
                observability_name: cluster.config.observability_name.to_string(),
                eds_service_name: Some(assignment_name(cluster))
                    .filter(|name| *name != &*cluster.config.name)
                    .map(ToOwned::to_owned),
                added_via_api: cluster.dynamic.is_some(),
                per_endpoint_stats: cluster.config.per_endpoint_stats,
                success_rates: success_rates(cluster),
                default_thresholds: thresholds(&cluster.limits[0]),
                high_thresholds: thresholds(&cluster.limits[1]),
                hosts: (hosts.members.iter())
                    .map(|host| self.host_status(host, hosts.group(host)))
                    .collect(),
            }
        };
        self.clusters.active().iter().map(status).collect()
    }

    fn outliers(&self) -> Vec<OutlierStatus> {
        let now = Instant::now();
        let clusters = self.clusters.active();
        clusters
            .iter()
            .flat_map(|cluster| {
                let hosts = cluster.hosts();
                let found = hosts.members.iter();
                let found = found.filter_map(|member| outlier(cluster, &member.shared, now));
                found.collect::<Vec<_>>()
            })
            .collect()
    }

    fn config_dump(&self, include_eds: bool) -> Value {
        let mut dump = self.config_dump.clone();
        if let Some(section) = dump["configs"]
            .as_array_mut()
            .and_then(|all| all.last_mut())
        {
            let [active, warming] = self.secrets.dump();
            for (field, secrets) in [
                ("dynamic_active_secrets", active),
                ("dynamic_warming_secrets", warming),
            ] {
                if !secrets.is_empty() {
                    section[field] = secrets.into();
                }
            }
        }
        // Behind the bootstrap.
        dynamic_clusters::add(&mut dump["configs"][1], &self.clusters);
        if include_eds && let Some(sections) = dump["configs"].as_array_mut() {
            // After the clusters, as Envoy sorts them.
            let place = sections.len().min(2);
            sections.insert(place, endpoints_dump(&self.clusters.active()));
        }
        dump
    }

    fn server_info(&self) -> ServerInfo {
        ServerInfo {
            version: VERSION.to_owned(),
            uptime_current_epoch: self.uptime(),
            uptime_all_epochs: self.uptime(),
            hot_restart_version: cli::HOT_RESTART_VERSION.to_owned(),
            command_line_options: self.command_line.clone(),
            node: self.node.clone(),
        }
    }

    fn connections(&self) -> u64 {
        #[cfg(feature = "count-allocations")]
        self.store.set(
            self.store.gauge("server.allocations"),
            crate::worker::shared::allocations::count(),
        );
        self.listeners
            .iter()
            .map(|listener| self.store.gauge_value(listener.stats.downstream_cx_active))
            .sum()
    }

    fn explain(&self, question: &Question) -> Result<Fact, String> {
        let subjects: Vec<_> = self
            .listeners
            .iter()
            .map(|listener| Subject {
                listener: &listener.config,
                addresses: &listener.addresses,
                terminals: (listener.chains.iter())
                    .map(|chain| Some(&chain.as_ref()?.terminal))
                    .collect(),
            })
            .collect();
        let shared = self.clusters.active();
        let clusters: Vec<Arc<Cluster>> = (shared.iter())
            .map(|cluster| Arc::clone(&cluster.config))
            .collect();
        let hosts: Vec<_> = (shared.iter())
            .map(|cluster| (cluster.config.id, cluster.hosts()))
            .collect();
        let sources = Sources {
            document: Document {
                bootstrap: &self.config_dump["configs"][0]["bootstrap"],
                marks: &self.marks,
            },
            clusters: &clusters,
            hosts: &hosts,
            is_running: true,
            names: &self.names,
            runtime: &self.runtime.values(),
            runtime_layers: &self.runtime.layers(),
            node: &self.own,
            local_address: Some(local_address()),
            now: (Instant::now(), SystemTime::now()),
        };
        explain::explain(question, &subjects, &sources)
    }

    fn loggers(&self) -> Vec<(String, LogLevel)> {
        self.loggers.list()
    }

    fn runtime(&self) -> RuntimeLayers {
        self.runtime.layers()
    }

    fn modify_runtime(&self, changes: &[(String, String)]) -> Result<(), BadValue> {
        let values = self.runtime.modify(changes)?;
        self.act(Action::Runtime(values));
        Ok(())
    }

    fn act(&self, action: Action) {
        // Whoever asks right after the answer must see it.
        match &action {
            Action::HealthcheckFail => self.set_state(ServerState::Draining),
            Action::HealthcheckOk => self.set_state(ServerState::Live),
            Action::DrainListeners { graceful: true, .. } => {
                self.set_state(ServerState::Draining);
            }
            Action::SetLogLevel { logger, level } => {
                self.loggers.set(logger.as_deref(), *level);
            }
            _ => {}
        }
        // The control loop is gone only when the process is ending.
        let _ = self.actions.send(action);
    }
}

/// What the success rates of a cluster's hosts were compared with.
fn success_rates(cluster: &SharedCluster) -> Option<[Option<(f64, f64)>; 2]> {
    let watch = cluster.watch.as_ref()?;
    watch.has_outlier_detection().then(|| {
        [Origin::External, Origin::Local].map(|origin| {
            let average = watch.average(origin)?;
            Some((average.mean, average.threshold))
        })
    })
}

/// A host of `/outliers`, if it is one.
fn outlier(cluster: &SharedCluster, host: &SharedHost, now: Instant) -> Option<OutlierStatus> {
    let record = host.monitor()?.record(|record| record.clone());
    let ejection = record.ejected?;
    Some(OutlierStatus {
        cluster: cluster.config.name.to_string(),
        address: admin_address(host.address()),
        detector: ejection.by.name(),
        reason: ejection.reason,
        ejected: now.duration_since(record.last_ejection?),
        remaining: ejection.until.saturating_duration_since(now),
        ejections: record.ejections,
    })
}

/// The success rate of a host in the last interval of outlier detection.
fn rate(host: &SharedHost, origin: Origin) -> Option<f64> {
    (host.monitor()?).record(|record| record.success_rate[origin as usize])
}

fn admin_address(address: &ringway_config::core::Address) -> admin::Address {
    match address {
        ringway_config::core::Address::Socket(address) => admin::Address::Socket(*address),
        ringway_config::core::Address::Pipe { path, .. } => admin::Address::Pipe(path.clone()),
    }
}

/// `envoy.admin.v3.ConfigDump` of a configuration that came from a file.
fn config_dump(bootstrap: &Value) -> Value {
    let updated = timestamp(SystemTime::now());
    let resources = |section: &str| -> Vec<Value> {
        bootstrap["static_resources"][section]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let typed = |mut resource: Value, name: &str| {
        if let Some(fields) = resource.as_object_mut() {
            fields.shift_insert(
                0,
                "@type".into(),
                format!("type.googleapis.com/{name}").into(),
            );
        }
        resource
    };
    let clusters: Vec<_> = resources("clusters")
        .into_iter()
        .map(|cluster| {
            let cluster = typed(cluster, "envoy.config.cluster.v3.Cluster");
            json!({ "cluster": cluster, "last_updated": updated })
        })
        .collect();
    let routes: Vec<_> = resources("listeners")
        .iter()
        .flat_map(route_configurations)
        .map(|route| {
            let route = typed(route, "envoy.config.route.v3.RouteConfiguration");
            json!({ "route_config": route, "last_updated": updated })
        })
        .collect();
    let listeners: Vec<_> = resources("listeners")
        .into_iter()
        .map(|listener| {
            let listener = typed(listener, "envoy.config.listener.v3.Listener");
            json!({ "listener": listener, "last_updated": updated })
        })
        .collect();
    let secrets = resources("secrets").into_iter().map(|secret| {
        let name = secret["name"].clone();
        json!({ "name": name, "secret": secret_manager::typed(secret) })
    });
    let secrets = secrets.collect();
    let section = |name: &str, field: Option<(&str, Vec<Value>)>| {
        let mut section = json!({ "@type": format!("type.googleapis.com/envoy.admin.v3.{name}") });
        if let Some((field, values)) = field
            && !values.is_empty()
        {
            section[field] = values.into();
        }
        section
    };
    let mut bootstrap_section = section("BootstrapConfigDump", None);
    bootstrap_section["bootstrap"] = bootstrap.clone();
    bootstrap_section["last_updated"] = updated.clone().into();
    json!({ "configs": [
        bootstrap_section,
        section("ClustersConfigDump", Some(("static_clusters", clusters))),
        section("ListenersConfigDump", Some(("static_listeners", listeners))),
        section("ScopedRoutesConfigDump", None),
        section("RoutesConfigDump", Some(("static_route_configs", routes))),
        // The last one: `ServerView::config_dump` adds to it.
        section("SecretsConfigDump", Some(("static_secrets", secrets))),
    ] })
}

/// The name of a cluster's assignment of hosts.
fn assignment_name(cluster: &SharedCluster) -> &str {
    match &cluster.config.discovery {
        Discovery::Eds(eds) => &eds.name,
        Discovery::Static
        | Discovery::Dns(_)
        | Discovery::OriginalDst(_)
        | Discovery::DynamicForwardProxy(_)
        | Discovery::SubClusters(_)
        | Discovery::Aggregate(_) => &cluster.config.name,
    }
}

/// `envoy.admin.v3.EndpointsConfigDump`.
fn endpoints_dump(clusters: &[Arc<SharedCluster>]) -> Value {
    let assignments = |is_dynamic: bool| -> Vec<Value> {
        let clusters = clusters.iter();
        let clusters = clusters.filter(|cluster| cluster.dynamic.is_some() == is_dynamic);
        let assignment = |cluster: &Arc<SharedCluster>| {
            let hosts = cluster.hosts();
            let endpoints: Vec<Value> = (hosts.members)
                .chunk_by(|a, b| a.config.group == b.config.group)
                .map(|group| locality_endpoints(group, hosts.group(&group[0])))
                .collect();
            let mut assignment = json!({
                "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": assignment_name(cluster),
                "policy": { "overprovisioning_factor": hosts.policy.overprovisioning_factor },
            });
            if !endpoints.is_empty() {
                assignment["endpoints"] = endpoints.into();
            }
            json!({ "endpoint_config": assignment })
        };
        clusters.map(assignment).collect()
    };
    let mut section = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
        "static_endpoint_configs": assignments(false),
    });
    let dynamic = assignments(true);
    if !dynamic.is_empty() {
        section["dynamic_endpoint_configs"] = dynamic.into();
    }
    section
}

/// `LocalityLbEndpoints` of hosts in one locality and priority.
fn locality_endpoints(hosts: &[Member], group: &Group) -> Value {
    let mut locality = serde_json::Map::new();
    let parts = &group.locality;
    for (field, part) in [
        ("region", &parts.region),
        ("zone", &parts.zone),
        ("sub_zone", &parts.sub_zone),
    ] {
        if !part.is_empty() {
            locality.insert(field.to_owned(), (**part).into());
        }
    }
    let endpoints: Vec<Value> = hosts
        .iter()
        .map(|host| {
            let mut endpoint = json!({
                "address": admin_address(&host.config.address).to_json(),
                "health_check_config": {},
            });
            if !host.config.hostname.is_empty() {
                endpoint["hostname"] = (*host.config.hostname).into();
            }
            json!({
                "endpoint": endpoint,
                "health_status": health_status(&host.shared),
                "load_balancing_weight": host.config.weight,
            })
        })
        .collect();
    let weight: u64 = hosts.iter().map(|host| u64::from(host.config.weight)).sum();
    json!({
        "locality": locality,
        "lb_endpoints": endpoints,
        "load_balancing_weight": weight,
    })
}

fn health_flags(host: &SharedHost) -> HealthFlags {
    HealthFlags {
        failed_active_hc: host.has(HealthFlag::FailedActiveHc),
        failed_outlier_check: host.has(HealthFlag::FailedOutlierCheck),
        failed_eds_health: host.has(HealthFlag::FailedEdsHealth),
        degraded_active_hc: host.has(HealthFlag::DegradedActiveHc),
        degraded_eds_health: host.has(HealthFlag::DegradedEdsHealth),
        pending_dynamic_removal: host.has(HealthFlag::PendingDynamicRemoval),
        pending_active_hc: host.has(HealthFlag::PendingActiveHc),
        excluded_via_immediate_hc_fail: host.has(HealthFlag::ExcludedViaImmediateHcFail),
        active_hc_timeout: host.has(HealthFlag::ActiveHcTimeout),
        eds_status_draining: host.has(HealthFlag::EdsStatusDraining),
        degraded_outlier_detection: host.has(HealthFlag::DegradedOutlierDetection),
    }
}

/// `envoy.config.core.v3.HealthStatus`.
fn health_status(host: &SharedHost) -> &'static str {
    match health::coarse(host) {
        Health::Healthy => "HEALTHY",
        Health::Degraded => "DEGRADED",
        Health::Unhealthy => "UNHEALTHY",
    }
}

/// The route tables written inside a listener's connection managers.
fn route_configurations(listener: &Value) -> Vec<Value> {
    let chains = listener["filter_chains"].as_array().into_iter().flatten();
    chains
        .chain(listener.get("default_filter_chain"))
        .filter_map(|chain| chain["filters"].as_array())
        .flatten()
        .filter_map(|filter| filter["typed_config"].get("route_config").cloned())
        .collect()
}

/// RFC 3339 in UTC with milliseconds, as proto JSON writes a timestamp.
pub fn timestamp(at: SystemTime) -> String {
    prost_types::Timestamp::from(at).to_string()
}
