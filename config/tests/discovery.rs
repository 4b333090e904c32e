//! How clusters of names are lowered: what is asked for, of whom, how often.

use ringway_config::bootstrap;
use ringway_config::discovery::Discovery;
use ringway_config::dns::{AnswerCache, Dns, FailureRefresh, LookupFamily, Resolver};
use ringway_config::load::{Format, LoadOptions, load};
use std::sync::Arc;
use std::time::Duration;

const NAMES: &str = "load_assignment: { cluster_name: c, endpoints: [ { priority: 1, lb_endpoints: [ \
     { endpoint: { hostname: h, address: { socket_address: { address: a.test, port_value: 80 } } } }, \
     { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 81 } } }, \
     load_balancing_weight: 7 } ] } ] }";
const NAME: &str = "load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \
     { endpoint: { address: { socket_address: { address: a.test, port_value: 80 } } } } ] } ] }";

/// The names of a cluster with these fields, and the warnings that there are.
fn lower(fields: &str, more: &str) -> (Arc<Dns>, Vec<String>) {
    let fields = fields.replace("TYPE", "\"@type\": type.googleapis.com/envoy.extensions");
    let text = format!("static_resources: {{ clusters: [ {{ name: c, {fields} }} ] }}\n{more}");
    let text = text.replace("NAMES", NAMES).replace("NAME", NAME);
    let loaded = load(&text, "f", Format::Yaml, &LoadOptions::default())
        .unwrap_or_else(|found| panic!("{text}: {found}"));
    let snapshot = bootstrap::lower(&loaded).unwrap_or_else(|found| panic!("{text}: {found}"));
    let found = loaded.diagnostics.iter().chain(snapshot.diagnostics.iter());
    let warnings = found
        .filter(|finding| !finding.is_deprecation())
        .map(|finding| format!("{}: {}", finding.path, finding.reason))
        .collect();
    match &snapshot.clusters[0].discovery {
        Discovery::Dns(dns) => (Arc::clone(dns), warnings),
        other => panic!("{text}: no cluster of names: {other:?}"),
    }
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

#[test]
fn names_and_what_their_hosts_are_made_of() {
    let (dns, warnings) = lower("type: STRICT_DNS, NAMES", "");
    assert_eq!(warnings, [] as [&str; 0]);
    let targets: Vec<_> = (dns.targets.iter())
        .map(|target| {
            let host = &target.host;
            (&*target.name, target.port, &*host.hostname, host.weight)
        })
        .collect();
    assert_eq!(
        targets,
        [("a.test", 80, "h", 1), ("127.0.0.1", 81, "127.0.0.1", 7)]
    );
    assert_eq!(dns.refresh, millis(5000));
    assert_eq!((dns.jitter, dns.failure_refresh), (Duration::ZERO, None));
    assert_eq!((dns.respect_ttl, dns.is_logical), (None, false));
    assert_eq!(dns.family, LookupFamily::Auto);
    assert_eq!(dns.resolver, Resolver::default());
}

#[test]
fn what_only_other_types_use_is_warned_of() {
    let fields = "type: STRICT_DNS, cleanup_interval: 1s, original_dst_lb_config: {}, NAME";
    let (_, warnings) = lower(fields, "");
    let no_effect = "has no effect: only an ORIGINAL_DST cluster uses it";
    let expected = ["original_dst_lb_config", "cleanup_interval"]
        .map(|field| format!("static_resources.clusters[0].{field}: {no_effect}"));
    assert_eq!(warnings, expected);
}

#[test]
fn either_form_says_the_same() {
    let (old, _) = lower(
        "type: LOGICAL_DNS, dns_refresh_rate: 2s, dns_jitter: 0.5s, respect_dns_ttl: true, \
         dns_lookup_family: V4_PREFERRED, dns_failure_refresh_rate: { base_interval: 1s }, NAME",
        "",
    );
    let (new, warnings) = lower(
        "cluster_type: { name: x, typed_config: { TYPE.clusters.dns.v3.DnsCluster, \
         all_addresses_in_single_endpoint: true, dns_refresh_rate: 2s, dns_jitter: 0.5s, \
         respect_dns_ttl: true, dns_lookup_family: V4_PREFERRED, \
         dns_failure_refresh_rate: { base_interval: 1s } } }, NAME",
        "",
    );
    assert_eq!(warnings, [] as [&str; 0]);
    assert_eq!(old, new);
    assert_eq!((new.refresh, new.jitter), (millis(2000), millis(500)));
    let (base, max) = (millis(1000), millis(10_000));
    assert_eq!(new.failure_refresh, Some(FailureRefresh { base, max }));
    assert_eq!(new.respect_ttl, Some(Duration::ZERO));
}

#[test]
fn fields_that_nothing_reads_are_warned_of() {
    let (dns, warnings) = lower(
        "cluster_type: { name: x, typed_config: { TYPE.clusters.dns.v3.DnsCluster, \
         dns_min_refresh_rate: 3s } }, dns_lookup_family: ALL, dns_refresh_rate: 1s, NAME",
        "",
    );
    assert_eq!(dns.family, LookupFamily::Auto);
    let outer = "has no effect: a cluster with a cluster_type of its own does not use it";
    assert_eq!(
        warnings,
        [
            "static_resources.clusters[0].cluster_type.typed_config.dns_min_refresh_rate: \
             has no effect: only respect_dns_ttl uses it"
                .to_owned(),
            format!("static_resources.clusters[0].dns_refresh_rate: {outer}"),
            format!("static_resources.clusters[0].dns_lookup_family: {outer}"),
        ]
    );
}

#[test]
fn who_is_asked() {
    let server = "{ socket_address: { address: 10.0.0.1, port_value: 0 } }";
    let given = |port| Resolver {
        servers: Arc::new([([10, 0, 0, 1], port).into()]),
        ..Resolver::default()
    };
    let typed = |name: &str, fields: &str| {
        format!(
            "typed_dns_resolver_config: {{ name: r, typed_config: {{ \
             \"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.{name}, {fields} }} }}"
        )
    };
    let cares = |fields: &str| typed("cares.v3.CaresDnsResolverConfig", fields);
    let of_bootstrap = cares(&format!("resolvers: [ {server} ]"));
    for (fields, more, expected) in [
        (String::new(), "", Resolver::default()),
        (format!("dns_resolvers: [ {server} ]"), "", given(53)),
        (
            "use_tcp_for_dns_lookups: true".to_owned(),
            "",
            Resolver {
                use_tcp: true,
                ..Resolver::default()
            },
        ),
        (
            format!(
                "dns_resolution_config: {{ resolvers: [ {server} ], dns_resolver_options: {{ \
                 use_tcp_for_dns_lookups: true, no_default_search_domain: true }} }}"
            ),
            "",
            Resolver {
                use_tcp: true,
                search: false,
                ..given(53)
            },
        ),
        (
            cares(&format!(
                "resolvers: [ {server} ], use_resolvers_as_fallback: true, query_tries: 2, \
                 query_timeout_seconds: 3, rotate_nameservers: true, \
                 edns0_max_payload_size: 4096, qcache_max_ttl: 60"
            )),
            "",
            Resolver {
                is_fallback: true,
                tries: 2,
                query_timeout: millis(3000),
                rotate: true,
                udp_payload_max: 4096,
                cache: Some(AnswerCache {
                    entries_max: 1024,
                    ttl_max: Some(millis(60_000)),
                }),
                ..given(53)
            },
        ),
        (
            typed(
                "getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
                "num_retries: 1",
            ),
            "",
            Resolver {
                tries: 2,
                fixed_ttl: Some(millis(60_000)),
                ..Resolver::default()
            },
        ),
        (
            typed(
                "hickory.v3.HickoryDnsResolverConfig",
                &format!("resolvers: [ {server} ], query_timeout: 0.25s, query_tries: 9"),
            ),
            "",
            Resolver {
                search: false,
                absence_is_failure: true,
                tries: 9,
                query_timeout: millis(250),
                cache: Some(AnswerCache {
                    entries_max: 1024,
                    ttl_max: None,
                }),
                ..given(53)
            },
        ),
        // The bootstrap's, for a cluster that says nothing, and only for it.
        (String::new(), &of_bootstrap, given(53)),
        (cares(""), &of_bootstrap, Resolver::default()),
    ] {
        let (dns, _) = lower(
            &format!("type: STRICT_DNS, {fields}, NAME").replace(", ,", ","),
            more,
        );
        assert_eq!(dns.resolver, expected, "{fields} / {more}");
    }
}

#[test]
fn names_do_not_get_stale() {
    let fields = "type: STRICT_DNS, load_assignment: { cluster_name: c, policy: { \
                  endpoint_stale_after: 1s } }";
    let (_, warnings) = lower(fields, "");
    let expected = "static_resources.clusters[0].load_assignment.policy.endpoint_stale_after: has \
                    no effect: only an EDS cluster uses it";
    assert_eq!(warnings, [expected]);
}
