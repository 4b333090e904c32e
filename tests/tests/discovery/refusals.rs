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
];

#[test]
fn what_cannot_work_is_refused_by_path() {
    let envoy = programs::envoy("what_cannot_work_is_refused_by_path");
    for (fields, verdict, said) in REFUSED {
        let fields = fields
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
