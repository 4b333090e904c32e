//! What is counted of each host, in `/stats` and `/stats/prometheus`: of clusters
//! with `track_cluster_stats.per_endpoint_stats`.
//!
//! As in Envoy these are no statistics like the others. Their labels are what
//! they are made of and not parts of a name, and `usedonly` keeps all of them.

use super::clusters::{counters, gauges};
use super::view::{ClusterStatus, HealthFlags, HostStatus};
use crate::stats::{Value, cluster, sanitize};

/// The statistics of hosts, in the order in which text shows them.
#[derive(Debug, Default)]
pub(super) struct HostValues(Vec<HostValue>);

/// One statistic of one host.
#[derive(Debug)]
pub(super) struct HostValue {
    /// Its full name and value.
    pub stat: Value,
    /// A gauge, else a counter.
    pub is_gauge: bool,
    /// What is left of the name without its labels.
    pub metric: String,
    /// The labels, by their names.
    pub labels: Vec<(&'static str, String)>,
}

impl HostValues {
    /// Those of all clusters that have them listed.
    pub(super) fn of(clusters: &[ClusterStatus]) -> Self {
        let listed = clusters.iter().filter(|cluster| cluster.per_endpoint_stats);
        let values = listed.flat_map(|cluster| {
            let hosts = cluster.hosts.iter();
            hosts.flat_map(|host| of_host(&cluster.observability_name, host))
        });
        Self(values.collect())
    }

    /// Leaves out what is not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&HostValue) -> bool) {
        self.0.retain(wanted);
    }

    /// As text shows them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &HostValue> {
        self.0.iter()
    }
}

fn of_host(cluster: &str, host: &HostStatus) -> impl Iterator<Item = HostValue> {
    let address = host.address.to_string();
    let prefix = format!(
        "{}endpoint.{}.",
        cluster::prefix(&sanitize(cluster)),
        sanitize(&address)
    );
    let mut labels = vec![
        ("envoy.cluster_name", sanitize(cluster)),
        ("envoy.endpoint_address", address),
    ];
    if !host.hostname.is_empty() {
        labels.push(("envoy.endpoint_hostname", host.hostname.clone()));
    }
    let counters = counters(&host.stats).map(|(name, value)| (name, value, false));
    let gauges = gauges(&host.stats).map(|(name, value)| (name, value, true));
    let healthy = ("healthy", u64::from(is_healthy(&host.health)), true);
    let all = counters.into_iter().chain(gauges).chain([healthy]);
    all.map(move |(name, value, is_gauge)| HostValue {
        stat: Value {
            name: format!("{prefix}{name}").into(),
            value,
            used: true,
        },
        is_gauge,
        metric: format!("cluster.endpoint.{name}"),
        labels: labels.clone(),
    })
}

/// Neither unfit nor degraded. Hosts that are about to be removed are healthy as
/// long as nothing else is wrong with them.
fn is_healthy(health: &HealthFlags) -> bool {
    let without = HealthFlags {
        pending_dynamic_removal: false,
        pending_active_hc: false,
        excluded_via_immediate_hc_fail: false,
        active_hc_timeout: false,
        ..*health
    };
    without == HealthFlags::default()
}
