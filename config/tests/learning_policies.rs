//! Policies that learn from responses: what they compile to and what is refused.

use ringway_config::cluster::Cluster;
use ringway_config::{Format, LoadOptions, bootstrap, load};
use ringway_lb::client_side_weighted_round_robin::{MetricName, WeightConfig};
use ringway_lb::config::Policy;
use std::sync::Arc;

const PEAK_EWMA: &str = "peak_ewma.v3alpha.PeakEwma";
const WEIGHTED: &str = "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin";

/// One policy, in flow style.
fn policy(name: &str, fields: &str) -> String {
    format!(
        "{{ policies: [ {{ typed_extension_config: {{ name: p, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.load_balancing_policies.{name}, {fields} }} }} }} ] }}"
    )
}

/// The cluster with this policy, or all that is wrong with it.
fn lower(policy: &str, more: &str) -> Result<Arc<Cluster>, String> {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: c, {more} load_balancing_policy: {policy} }} ] }}"
    );
    let loaded = load(&text, "f", Format::Yaml, &LoadOptions::default());
    let loaded = loaded.map_err(|found| found.to_string())?;
    let snapshot = bootstrap::lower(&loaded).map_err(|found| found.to_string())?;
    Ok(Arc::clone(&snapshot.clusters[0]))
}

#[test]
fn peak_ewma_has_the_defaults_of_envoy() {
    let of = |fields: &str| {
        let cluster = lower(&policy(PEAK_EWMA, fields), "").expect("a good cluster");
        cluster.balancing.policy().clone()
    };
    let defaults = Policy::PeakEwma {
        decay_us: 10_000_000,
        default_rtt_ms: 10.0,
        penalty: 1_000_000.0,
    };
    assert_eq!(of(""), defaults);
    assert_eq!(
        of("aggregation_interval: 1s, max_samples_per_host: 7"),
        defaults
    );
    assert_eq!(
        of("decay_time: 1.5s, default_rtt: 0.0002s, penalty_value: 7"),
        Policy::PeakEwma {
            decay_us: 1_500_000,
            default_rtt_ms: 0.2,
            penalty: 7.0,
        }
    );
}

#[test]
fn reported_weights_have_the_defaults_of_envoy() {
    let of = |fields: &str| {
        let cluster = lower(&policy(WEIGHTED, fields), "").expect("a good cluster");
        let weights = cluster.balancing.reported_weights.as_ref();
        WeightConfig::clone(weights.expect("weights"))
    };
    assert_eq!(of(""), WeightConfig::default());
    let given = of(
        "blackout_period: 1s, weight_expiration_period: 2s, weight_update_period: 0.03s, \
         error_utilization_penalty: 1.5, metric_names_for_computing_utilization: [ eps, a.b ]",
    );
    let expected = WeightConfig {
        blackout_period_ms: 1000,
        weight_expiration_period_ms: 2000,
        weight_update_period_ms: 100,
        error_utilization_penalty: 1.5,
        metrics: vec![MetricName::Eps, MetricName::Entry("a.b".into())],
    };
    assert_eq!(given, expected);
    let other = lower(&policy("random.v3.Random", ""), "").expect("a good cluster");
    assert_eq!(other.balancing.reported_weights, None);
}

#[test]
fn what_cannot_be_is_refused_by_its_path() {
    let inside = |inner: &str| {
        let field = format!("endpoint_picking_policy: {inner}");
        policy("wrr_locality.v3.WrrLocality", &field)
    };
    let place = "load_balancing_policy.policies[0].typed_extension_config.typed_config";
    for (policy, more, expected) in [
        (
            policy(PEAK_EWMA, "decay_time: -1s"),
            "",
            format!("{place}.decay_time: -1s is negative"),
        ),
        (
            policy(WEIGHTED, "enable_oob_load_report: true"),
            "",
            format!("{place}.enable_oob_load_report: reports come with responses only"),
        ),
        (
            policy(WEIGHTED, "blackout_period: -1s"),
            "",
            format!("{place}.blackout_period: -1s is negative"),
        ),
        (
            inside(&policy("round_robin.v3.RoundRobin", "")),
            "",
            format!(
                "{place}.endpoint_picking_policy: only \
                 envoy.extensions.load_balancing_policies.{WEIGHTED} may be inside wrr_locality"
            ),
        ),
        (
            policy(WEIGHTED, ""),
            "common_lb_config: { locality_weighted_lb_config: {} },",
            "common_lb_config.locality_weighted_lb_config: cannot be combined with \
             load_balancing_policy"
                .to_owned(),
        ),
        (
            policy("random.v3.Random", ""),
            "common_lb_config: { consistent_hashing_lb_config: {} },",
            "common_lb_config.consistent_hashing_lb_config: cannot be combined".to_owned(),
        ),
    ] {
        let found = lower(&policy, more).expect_err("it is wrong");
        assert!(found.contains(&expected), "{found}\nnot {expected}");
    }
}
