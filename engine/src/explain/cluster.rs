//! The cluster that a request goes to, and its hosts.

use ringway_config::cluster::Cluster;
use ringway_config::load_balancing::policy_name;
use ringway_config::route::Priority;

use super::context::Context;
use super::fact::{Fact, Place};

/// What is known of the cluster: policy, hosts, breakers.
pub(super) fn explain(cluster: &Cluster, priority: Priority, cx: &Context<'_>) -> Vec<Fact> {
    let path = &cluster.source.path;
    let hosts = cluster
        .assignment
        .hosts
        .iter()
        .map(|host| {
            let group = &cluster.assignment.groups[host.group as usize];
            let mut parts = vec![
                Fact::new("weight").value(host.weight),
                Fact::new("priority").value(group.priority),
            ];
            if !host.hostname.is_empty() {
                parts.push(Fact::new("hostname").value(&*host.hostname));
            }
            Fact::new(host.address.to_string()).parts(parts)
        })
        .collect();
    let thresholds = &cluster.circuit_breakers.thresholds[priority as usize];
    let breakers = Fact::new("circuit breakers")
        .note(match priority {
            Priority::Default => "of default priority",
            Priority::High => "of high priority",
        })
        .place(cx.place(&format!("{path}.circuit_breakers")))
        .parts(vec![
            Fact::new("max connections").value(thresholds.max_connections),
            Fact::new("max pending requests").value(thresholds.max_pending_requests),
            Fact::new("max requests").value(thresholds.max_requests),
            Fact::new("max retries").value(thresholds.max_retries),
        ]);
    let set = |field: &str| cx.place(&format!("{path}.{field}"));
    vec![
        Fact::new("balancing")
            .value(policy_name(cluster.balancing.policy()))
            .place(set("lb_policy")),
        Fact::new("hash key")
            .value(serde_json::Value::Null)
            .note("the route has no hash_policy"),
        Fact::new("candidate hosts")
            .place(match cluster.assignment.hosts.is_empty() {
                true => Place::Default,
                false => set("load_assignment"),
            })
            .items(hosts),
        breakers,
        Fact::new("connect timeout")
            .value(format!("{:?}", cluster.connect_timeout))
            .place(set("connect_timeout")),
    ]
}
