//! What a cluster says of its requests: retry budgets, queues, and policies in
//! the place of its routes'.

use ringway_config::cluster::Cluster;
use ringway_config::{Format, LoadOptions, bootstrap, load};
use std::sync::Arc;
use std::time::Duration;

/// The cluster with these fields and what was warned of, or all that is wrong
/// with it.
fn lower(fields: &str) -> Result<(Arc<Cluster>, String), String> {
    let text = format!("static_resources: {{ clusters: [ {{ name: c, {fields} }} ] }}");
    let loaded = load(&text, "f", Format::Yaml, &LoadOptions::default());
    let loaded = loaded.map_err(|found| found.to_string())?;
    let snapshot = bootstrap::lower(&loaded).map_err(|found| found.to_string())?;
    let warned = snapshot.diagnostics.to_string();
    Ok((Arc::clone(&snapshot.clusters[0]), warned))
}

/// Protocol options with these fields.
fn options(fields: &str) -> String {
    format!(
        "typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: \
         {{ \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
         explicit_http_config: {{ http_protocol_options: {{}} }}, {fields} }} }}"
    )
}

fn budget(fields: &str) -> String {
    format!("circuit_breakers: {{ thresholds: [ {{ retry_budget: {{ {fields} }} }} ] }}")
}

fn queue(policy: &str) -> String {
    format!("queuing_policies: {{ pending_rq_policy: {{ name: q, {policy} }} }}")
}

const FIFO: &str = "typed_config: { \"@type\": \
     type.googleapis.com/envoy.extensions.queue_policy.fifo.v3.FifoQueuePolicyConfig }";

/// Something that is known, and is no policy of queues.
const NO_QUEUE: &str = "typed_config: { \"@type\": type.googleapis.com/\
     envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided }";

#[test]
fn a_retry_budget_has_an_interval_or_none() {
    for (fields, interval) in [
        ("", None),
        ("budget_interval: 0s", None),
        ("budget_interval: 1.5s", Some(Duration::from_millis(1500))),
    ] {
        let (cluster, _) = lower(&budget(fields)).expect("a good cluster");
        let budget = cluster.circuit_breakers.thresholds[0].retry_budget;
        assert_eq!(budget.expect("a budget").interval, interval, "{fields}");
    }
}

#[test]
fn timeout_budgets_are_tracked_by_either_field() {
    for (fields, tracked) in [
        ("track_cluster_stats: {}", false),
        ("track_cluster_stats: { timeout_budgets: true }", true),
        ("track_timeout_budgets: true", true),
    ] {
        let (cluster, _) = lower(fields).expect("a good cluster");
        assert_eq!(cluster.timeout_budgets, tracked, "{fields}");
    }
}

#[test]
fn the_times_of_a_cluster_s_retry_policy_are_warned_of() {
    let policy = "retry_policy: { retry_on: 5xx, per_try_timeout: 1s, per_try_idle_timeout: 1s }";
    let (cluster, warned) = lower(&options(policy)).expect("a good cluster");
    assert!(cluster.request_policies.replaces_retry());
    for field in ["per_try_timeout", "per_try_idle_timeout"] {
        let path = format!("retry_policy.{field}: has no effect in a cluster");
        assert!(warned.contains(&path), "{warned}");
    }
    let (cluster, warned) = lower(&options("")).expect("a good cluster");
    assert!(!cluster.request_policies.replaces_retry() && warned.is_empty());
}

#[test]
fn what_a_cluster_cannot_say_is_refused_by_its_path() {
    assert!(lower(&queue(FIFO)).is_ok());
    for (fields, path, reason) in [
        (
            queue(NO_QUEUE),
            "queuing_policies.pending_rq_policy.typed_config",
            "FifoQueuePolicyConfig is needed here",
        ),
        (
            budget("budget_interval: -1s"),
            "thresholds[0].retry_budget.budget_interval",
            "negative",
        ),
        (
            options("request_mirror_policies: [ {} ]"),
            "request_mirror_policies[0]",
            "one of cluster and cluster_header",
        ),
        (
            options(
                "request_mirror_policies: [ { cluster: c, request_headers_mutations: [ { remove: a } ] } ]",
            ),
            "request_mirror_policies[0].request_headers_mutations",
            "not supported for a cluster yet",
        ),
        (
            options("retry_policy: { retry_back_off: { base_interval: 2s, max_interval: 1s } }"),
            "retry_policy.retry_back_off",
            "",
        ),
        (options("hash_policy: [ {} ]"), "hash_policy[0]", ""),
    ] {
        let found = lower(&fields).expect_err(&fields);
        assert!(found.contains(path) && found.contains(reason), "{found}");
    }
}
