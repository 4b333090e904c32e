//! Configurations of discovery that are refused at load: by Ringway with the
//! place and the reason, and by Envoy too where nothing else is said.

use ringway_tests::programs;

/// Whether Envoy refuses it as well.
#[derive(Clone, Copy, PartialEq)]
enum Envoy {
    Refuses,
    /// It takes what cannot work.
    Takes,
}

const NAMES: &str = "load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \
     { endpoint: { address: { socket_address: { address: a.test, port_value: 80 } } } } ] } ] }";
const TWO_NAMES: &str = "load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \
     { endpoint: { address: { socket_address: { address: a.test, port_value: 80 } } } }, \
     { endpoint: { address: { socket_address: { address: b.test, port_value: 80 } } } } ] } ] }";

/// The fields of a cluster, Envoy's verdict, and what we say.
const REFUSED: &[(&str, Envoy, &str)] = &[
    (
        "type: LOGICAL_DNS",
        Envoy::Refuses,
        "clusters[0]: load_assignment: a LOGICAL_DNS cluster must have a single",
    ),
    (
        "type: LOGICAL_DNS, TWO_NAMES",
        Envoy::Refuses,
        "clusters[0]: load_assignment: a LOGICAL_DNS cluster must have a single",
    ),
    (
        "type: LOGICAL_DNS, load_assignment: { cluster_name: c, endpoints: [ {} ] }",
        Envoy::Refuses,
        "clusters[0]: load_assignment: a LOGICAL_DNS cluster must have a single",
    ),
    (
        "cluster_type: { name: envoy.cluster.logical_dns }, TWO_NAMES",
        Envoy::Refuses,
        "clusters[0]: load_assignment: a LOGICAL_DNS cluster must have a single",
    ),
    (
        "type: STRICT_DNS, load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \
         { endpoint: { address: { pipe: { path: /x } } } } ] } ] }",
        Envoy::Takes,
        "lb_endpoints[0].endpoint.address: a socket_address is needed here",
    ),
    (
        "type: STRICT_DNS, load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \
         { endpoint: { address: { socket_address: { address: a.test, named_port: http } } } } ] } ] }",
        Envoy::Takes,
        "address.socket_address.named_port: a name needs port_value, not the port name \"http\"",
    ),
    (
        "type: STRICT_DNS, dns_failure_refresh_rate: { base_interval: 5s, max_interval: 3s }, NAMES",
        Envoy::Refuses,
        "dns_failure_refresh_rate.max_interval: must be greater than or equal to base_interval",
    ),
    (
        "type: STRICT_DNS, dns_failure_refresh_rate: { max_interval: 3s }, NAMES",
        Envoy::Refuses,
        "dns_failure_refresh_rate.base_interval",
    ),
    (
        "type: STRICT_DNS, dns_refresh_rate: 0.001s, NAMES",
        Envoy::Refuses,
        "dns_refresh_rate",
    ),
    (
        "type: STRICT_DNS, dns_resolvers: [ { socket_address: { address: a.b, port_value: 53 } } ], \
         NAMES",
        Envoy::Refuses,
        "dns_resolvers[0].socket_address.address: malformed IP address: \"a.b\"",
    ),
    (
        "type: STRICT_DNS, dns_resolvers: [ { pipe: { path: /a } } ], NAMES",
        Envoy::Refuses,
        "dns_resolvers[0].pipe: DNS resolver '/a' is not an IP address",
    ),
    (
        "type: STRICT_DNS, dns_resolution_config: {}, NAMES",
        Envoy::Refuses,
        "dns_resolution_config.resolvers",
    ),
    (
        "type: STRICT_DNS, typed_dns_resolver_config: { name: x, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }, NAMES",
        Envoy::Refuses,
        "typed_dns_resolver_config.typed_config: envoy.extensions.filters.http.router.v3.Router is \
         not a DNS resolver that is known",
    ),
    (
        "type: STRICT_DNS, typed_dns_resolver_config: { name: x, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.network.dns_resolver.apple.v3.AppleDnsResolverConfig \
         } }, NAMES",
        Envoy::Refuses,
        "AppleDnsResolverConfig) is not supported yet",
    ),
    (
        "type: STRICT_DNS, typed_dns_resolver_config: { name: x, typed_config: { \"@type\": \
         type.googleapis.com/\
         envoy.extensions.network.dns_resolver.hickory.v3.HickoryDnsResolverConfig, \
         use_system_config: false } }, NAMES",
        Envoy::Takes,
        "use_system_config: nobody is left to ask",
    ),
    (
        "type: STRICT_DNS, load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \
         { endpoint: { address: { socket_address: { address: a.test, port_value: 80, \
         resolver_name: x } } } } ] } ] }",
        Envoy::Refuses,
        "resolver_name: not supported yet",
    ),
    (
        "cluster_type: { name: envoy.clusters.dns, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, respect_dns_ttl: true, \
         dns_min_refresh_rate: 0.5s } }, NAMES",
        Envoy::Refuses,
        "dns_min_refresh_rate",
    ),
    (
        "cluster_type: { name: envoy.clusters.dns, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, \
         all_addresses_in_single_endpoint: true } }, TWO_NAMES",
        Envoy::Refuses,
        "a LOGICAL_DNS cluster must have a single",
    ),
    (
        "cluster_type: { name: envoy.clusters.dns }, NAMES",
        Envoy::Refuses,
        "cluster_type: \"envoy.clusters.dns\" without a typed_config is not supported yet",
    ),
    (
        "cluster_type: { name: nope }, NAMES",
        Envoy::Refuses,
        "cluster_type: \"nope\" without a typed_config is not supported yet",
    ),
    (
        "type: EDS",
        Envoy::Refuses,
        "clusters[0]: a cluster of type EDS needs an eds_cluster_config",
    ),
    (
        "type: EDS, eds_cluster_config: { service_name: s }",
        Envoy::Refuses,
        "eds_cluster_config: an eds_config is needed here",
    ),
    (
        "type: EDS, eds_cluster_config: { eds_config: {} }",
        Envoy::Refuses,
        "eds_config",
    ),
    (
        "type: EDS, eds_cluster_config: { eds_config: { path: /there/is/none } }",
        Envoy::Refuses,
        "eds_cluster_config.eds_config.path: there is no \"/there/is/none\"",
    ),
    (
        "cluster_type: { name: envoy.cluster.eds }, eds_cluster_config: { eds_config: { \
         path_config_source: { path: /dev/null, watched_directory: { path: /there/is/none } } } }",
        Envoy::Refuses,
        "path_config_source.watched_directory.path: there is no \"/there/is/none\"",
    ),
    (
        "type: EDS, eds_cluster_config: { eds_config: { ads: {} } }",
        Envoy::Takes,
        "eds_cluster_config.eds_config.ads: not supported yet",
    ),
    (
        "type: STATIC, eds_cluster_config: { eds_config: { path: /dev/null } }",
        Envoy::Refuses,
        "eds_cluster_config: only a cluster of type EDS may have it",
    ),
    (
        "type: STRICT_DNS, cluster_type: { name: envoy.cluster.strict_dns }, NAMES",
        Envoy::Refuses,
        "cluster_type",
    ),
    (
        "type: ORIGINAL_DST",
        Envoy::Refuses,
        "clusters[0].lb_policy: this type of cluster says itself where requests go",
    ),
    (
        "type: STATIC, lb_policy: CLUSTER_PROVIDED",
        Envoy::Refuses,
        "clusters[0].lb_policy: CLUSTER_PROVIDED is for clusters that say themselves",
    ),
    (
        "type: STATIC, load_balancing_policy: { policies: [ { typed_extension_config: { name: x, \
         typed_config: { TYPE.load_balancing_policies.cluster_provided.v3.ClusterProvided } } } ] }",
        Envoy::Refuses,
        "clusters[0].lb_policy: CLUSTER_PROVIDED is for clusters that say themselves",
    ),
    (
        "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, NAMES",
        Envoy::Refuses,
        "clusters[0].load_assignment: an ORIGINAL_DST cluster has no hosts of its own",
    ),
    (
        "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, cleanup_interval: 0s",
        Envoy::Refuses,
        "clusters[0].cleanup_interval",
    ),
    (
        "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, lb_subset_config: { subset_selectors: \
         [ { keys: [ a ] } ] }",
        Envoy::Refuses,
        "clusters[0].lb_subset_config: CLUSTER_PROVIDED knows no subsets",
    ),
    (
        "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: { \
         http_header_name: x }",
        Envoy::Refuses,
        "original_dst_lb_config.http_header_name: has no effect without use_http_header",
    ),
    (
        "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: { \
         upstream_port_override: 65536 }",
        Envoy::Refuses,
        "original_dst_lb_config.upstream_port_override",
    ),
    (
        "cluster_type: { name: x, typed_config: { TYPE.clusters.aggregate.v3.ClusterConfig, \
         clusters: [ a ] } }",
        Envoy::Refuses,
        "clusters[0].lb_policy: this type of cluster says itself where requests go",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, preconnect_policy: { predictive_preconnect_ratio: 2 }, \
         cluster_type: { name: x, typed_config: { TYPE.clusters.aggregate.v3.ClusterConfig, \
         clusters: [ a ] } }",
        Envoy::Takes,
        "clusters[0].preconnect_policy.predictive_preconnect_ratio: not supported for an aggregate",
    ),
    (
        "type: STATIC, preconnect_policy: { predictive_preconnect_ratio: 3.5 }",
        Envoy::Refuses,
        "clusters[0].preconnect_policy.predictive_preconnect_ratio",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.aggregate.v3.ClusterConfig, clusters: [] } }",
        Envoy::Refuses,
        "clusters[0].cluster_type.typed_config.clusters",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { name: \"\" } } }",
        Envoy::Refuses,
        "clusters[0].cluster_type.typed_config.dns_cache_config.name",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig } }",
        Envoy::Takes,
        "clusters[0].cluster_type.typed_config: a dns_cache_config or a sub_clusters_config is needed here",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, sub_clusters_config: { \
         lb_policy: CLUSTER_PROVIDED } } }",
        Envoy::Refuses,
        "typed_config.sub_clusters_config.lb_policy: CLUSTER_PROVIDED is not a policy for sub-clusters",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, sub_clusters_config: { \
         lb_policy: LOAD_BALANCING_POLICY_CONFIG } } }",
        Envoy::Takes,
        "typed_config.sub_clusters_config: its clusters cannot be made: \
         LOAD_BALANCING_POLICY_CONFIG needs a load_balancing_policy",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, sub_clusters_config: { \
         max_sub_clusters: 0 } } }",
        Envoy::Refuses,
        "sub_clusters_config.max_sub_clusters",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, sub_clusters_config: { \
         sub_cluster_ttl: 0s } } }",
        Envoy::Refuses,
        "sub_clusters_config.sub_cluster_ttl",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { \
         name: c, max_hosts: 0 } } }",
        Envoy::Refuses,
        "dns_cache_config.max_hosts",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { \
         name: c, dns_min_refresh_rate: 0.5s } } }",
        Envoy::Refuses,
        "dns_cache_config.dns_min_refresh_rate",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { \
         name: c, max_hosts: 1, preresolve_hostnames: [ { address: a, port_value: 1 }, \
         { address: b, port_value: 1 } ] } } }",
        Envoy::Refuses,
        "dns_cache_config.preresolve_hostnames: are 2, more than the max_hosts of 1",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { \
         name: c } } } }\n  - { name: d, lb_policy: CLUSTER_PROVIDED, cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { \
         name: c, max_hosts: 3 } } }",
        Envoy::Refuses,
        "clusters[1].cluster_type.typed_config.dns_cache_config: the DNS cache \"c\" has different \
         settings at ",
    ),
    (
        "lb_policy: CLUSTER_PROVIDED, upstream_http_protocol_options: { auto_sni: true }, \
         cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { name: c } } }",
        Envoy::Refuses,
        "clusters[0].cluster_type.typed_config: a dynamic forward proxy needs auto_sni and \
         auto_san_validation in its upstream_http_protocol_options",
    ),
    (
        "cluster_type: { name: x, typed_config: { \
         TYPE.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { name: c } } }",
        Envoy::Refuses,
        "clusters[0].lb_policy: this type of cluster says itself where requests go",
    ),
];

#[test]
fn what_cannot_work_is_refused_by_path() {
    let envoy = programs::envoy("what_cannot_work_is_refused_by_path");
    for (fields, verdict, said) in REFUSED {
        let fields = fields
            .replace("TYPE", "\"@type\": type.googleapis.com/envoy.extensions")
            .replace("TWO_NAMES", TWO_NAMES)
            .replace("NAMES", NAMES);
        // Envoy asks for resources in the name of a node only.
        let node = "node: { id: me, cluster: mine }\n";
        let file = format!("{node}static_resources:\n  clusters:\n  - {{ name: c, {fields} }}\n");
        let ours = programs::refusal(&programs::ringway(), &file);
        let ours = ours.unwrap_or_else(|| panic!("taken: {fields}"));
        assert!(ours.contains(said), "{fields}:\n{ours}");
        if let Some(envoy) = &envoy {
            let theirs = programs::refusal(envoy, &file);
            let refuses = *verdict == Envoy::Refuses;
            assert_eq!(theirs.is_some(), refuses, "{fields}: {theirs:?}");
        }
    }
    programs::say(&format!("{} refusals of discovery", REFUSED.len()));
}
