//! What discovery does to clusters, as `/clusters` and the statistics show it.

use ringway_tests::process::Process;
use std::collections::{BTreeMap, BTreeSet};

/// What can be seen of a cluster: its hosts, and its statistics.
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    /// Lines of `/clusters`.
    pub hosts: BTreeSet<String>,
    /// Those that are not 0.
    pub stats: BTreeMap<String, u64>,
}

/// Facts of `/clusters` that discovery decides.
const FACTS: &[&str] = &[
    "hostname",
    "weight",
    "region",
    "zone",
    "sub_zone",
    "canary",
    "priority",
    "health_flags",
];

/// Looks at every cluster.
pub fn look(process: &Process, is_stat: impl Fn(&str) -> bool) -> BTreeMap<String, Seen> {
    let mut all = BTreeMap::<String, Seen>::new();
    for line in process.admin().get("/clusters").text().lines() {
        let Some((cluster, rest)) = line.split_once("::") else {
            continue;
        };
        if FACTS
            .iter()
            .any(|fact| rest.contains(&format!("::{fact}::")))
        {
            all.entry(cluster.to_owned())
                .or_default()
                .hosts
                .insert(rest.to_owned());
        }
    }
    for (name, value) in process.admin().stats() {
        let Some(rest) = name.strip_prefix("cluster.") else {
            continue;
        };
        // Envoy lists no zeros of clusters that never had a host.
        if let Some((cluster, stat)) = rest.split_once('.')
            && is_stat(stat)
            && value != 0
        {
            let seen = all.entry(cluster.to_owned()).or_default();
            seen.stats.insert(stat.to_owned(), value);
        }
    }
    all
}
