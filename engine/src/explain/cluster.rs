//! The cluster that a request goes to, and its hosts.

use ringway_config::cluster::Cluster;
use ringway_config::route::{Priority, SubsetCriteria};

use super::Sources;
use super::balancing;
use super::fact::Fact;

/// What is known of the cluster: policy, hosts, breakers. `subset` is what the
/// metadata of the host must be.
pub(super) fn explain(
    cluster: &Cluster,
    priority: Priority,
    subset: &SubsetCriteria,
    sources: &Sources<'_>,
) -> Vec<Fact> {
    let path = &cluster.source.path;
    let thresholds = &cluster.circuit_breakers.thresholds[priority as usize];
    let breakers = Fact::new("circuit breakers")
        .note(match priority {
            Priority::Default => "of default priority",
            Priority::High => "of high priority",
        })
        .place(sources.place(&format!("{path}.circuit_breakers")))
        .parts(vec![
            Fact::new("max connections").value(thresholds.max_connections),
            Fact::new("max pending requests").value(thresholds.max_pending_requests),
            Fact::new("max requests").value(thresholds.max_requests),
            Fact::new("max retries").value(thresholds.max_retries),
        ]);
    let set = |field: &str| sources.place(&format!("{path}.{field}"));
    let mut facts = balancing::explain(cluster, subset, sources);
    facts.push(breakers);
    facts.push(
        Fact::new("connect timeout")
            .value(format!("{:?}", cluster.connect_timeout))
            .place(set("connect_timeout")),
    );
    facts
}
