//! Names that are looked up: the hosts that `/clusters` shows and what the
//! statistics say, in Ringway and in Envoy.

use super::seen::{Seen, look};
use ringway_tests::name_server::{NameServer, Reply};
use ringway_tests::process::{Process, compared_programs};
use ringway_tests::programs;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A cluster: its name, its type, further fields each with its comma, and its
/// `endpoints` in flow style, where `@a.test` stands for an endpoint.
type Cluster = (&'static str, &'static str, &'static str, &'static str);

const STRICT: &str = "type: STRICT_DNS";
const LOGICAL: &str = "type: LOGICAL_DNS";
const DNS_CLUSTER: &str = "cluster_type: { name: envoy.clusters.dns, typed_config: { \
     \"@type\": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, RESOLVER, \
     dns_refresh_rate: REFRESH }}";
const DNS_CLUSTER_SINGLE: &str = "cluster_type: { name: envoy.clusters.dns, typed_config: { \
     \"@type\": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, RESOLVER, \
     dns_refresh_rate: REFRESH, all_addresses_in_single_endpoint: true }}";
const DNS_CLUSTER_ALL: &str = "cluster_type: { name: envoy.clusters.dns, typed_config: { \
     \"@type\": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, RESOLVER, \
     dns_refresh_rate: REFRESH, dns_lookup_family: ALL }}";
const BY_NAME: &str = "cluster_type: { name: envoy.cluster.strict_dns }";
const BY_NAME_LOGICAL: &str = "cluster_type: { name: envoy.cluster.logical_dns }";

const CLUSTERS: &[Cluster] = &[
    ("two", STRICT, "", "{ lb_endpoints: [ @two.test ] }"),
    ("dup", STRICT, "", "{ lb_endpoints: [ @dup.test ] }"),
    (
        "twice",
        STRICT,
        "",
        "{ lb_endpoints: [ @two.test, @two.test ] }",
    ),
    (
        "mixed",
        STRICT,
        "",
        "{ lb_endpoints: [ @two.test, @none.test, @127.0.0.9, @fails.test ] }",
    ),
    ("both", STRICT, "", "{ lb_endpoints: [ @both.test ] }"),
    ("four", STRICT, "", "{ lb_endpoints: [ @four.test ] }"),
    ("six", STRICT, "", "{ lb_endpoints: [ @six.test ] }"),
    (
        "both-v4",
        STRICT,
        "dns_lookup_family: V4_ONLY,",
        "{ lb_endpoints: [ @both.test ] }",
    ),
    (
        "four-v4",
        STRICT,
        "dns_lookup_family: V4_ONLY,",
        "{ lb_endpoints: [ @four.test ] }",
    ),
    (
        "six-v4",
        STRICT,
        "dns_lookup_family: V4_ONLY,",
        "{ lb_endpoints: [ @six.test ] }",
    ),
    (
        "both-v6",
        STRICT,
        "dns_lookup_family: V6_ONLY,",
        "{ lb_endpoints: [ @both.test ] }",
    ),
    (
        "four-v6",
        STRICT,
        "dns_lookup_family: V6_ONLY,",
        "{ lb_endpoints: [ @four.test ] }",
    ),
    (
        "both-preferred",
        STRICT,
        "dns_lookup_family: V4_PREFERRED,",
        "{ lb_endpoints: [ @both.test ] }",
    ),
    (
        "six-preferred",
        STRICT,
        "dns_lookup_family: V4_PREFERRED,",
        "{ lb_endpoints: [ @six.test ] }",
    ),
    (
        "both-all",
        STRICT,
        "dns_lookup_family: ALL,",
        "{ lb_endpoints: [ @both.test ] }",
    ),
    (
        "six-all",
        STRICT,
        "dns_lookup_family: ALL,",
        "{ lb_endpoints: [ @six.test ] }",
    ),
    ("none", STRICT, "", "{ lb_endpoints: [ @none.test ] }"),
    ("empty", STRICT, "", "{ lb_endpoints: [ @empty.test ] }"),
    ("fails", STRICT, "", "{ lb_endpoints: [ @fails.test ] }"),
    ("refuses", STRICT, "", "{ lb_endpoints: [ @refuses.test ] }"),
    ("silent", STRICT, "", "{ lb_endpoints: [ @silent.test ] }"),
    ("garbage", STRICT, "", "{ lb_endpoints: [ @garbage.test ] }"),
    ("no-name", STRICT, "", "{ lb_endpoints: [ @a..test ] }"),
    ("alias", STRICT, "", "{ lb_endpoints: [ @alias.test ] }"),
    ("many", STRICT, "", "{ lb_endpoints: [ @many.test ] }"),
    ("upper", STRICT, "", "{ lb_endpoints: [ @TWO.Test ] }"),
    ("dot", STRICT, "", "{ lb_endpoints: [ @two.test. ] }"),
    (
        "under_score",
        STRICT,
        "",
        "{ lb_endpoints: [ @_under.score.test ] }",
    ),
    ("address", STRICT, "", "{ lb_endpoints: [ @127.0.0.7 ] }"),
    (
        "address-v6",
        STRICT,
        "dns_lookup_family: V6_ONLY,",
        "{ lb_endpoints: [ @::1 ] }",
    ),
    ("local", STRICT, "", "{ lb_endpoints: [ @localhost ] }"),
    (
        "no-names",
        STRICT,
        "",
        "{ lb_endpoints: [] }, { priority: 1 }",
    ),
    (
        "not-awaited",
        STRICT,
        "wait_for_warm_on_init: false,",
        "{ lb_endpoints: [ @four.test ] }",
    ),
    (
        "priorities",
        STRICT,
        "",
        "{ lb_endpoints: [ @two.test ], locality: { region: r, zone: z, sub_zone: s } }, \
         { priority: 1, lb_endpoints: [ @four.test ], locality: { region: r2 } }",
    ),
    (
        "weights",
        STRICT,
        "",
        "{ lb_endpoints: [ @two.test*5, @four.test*7 ] }",
    ),
    ("logical", LOGICAL, "", "{ lb_endpoints: [ @two.test ] }"),
    (
        "logical-both",
        LOGICAL,
        "dns_lookup_family: ALL,",
        "{ lb_endpoints: [ @pair.test ] }",
    ),
    (
        "logical-none",
        LOGICAL,
        "",
        "{ lb_endpoints: [ @none.test ] }",
    ),
    (
        "logical-empty",
        LOGICAL,
        "",
        "{ lb_endpoints: [ @empty.test ] }",
    ),
    (
        "logical-fails",
        LOGICAL,
        "",
        "{ lb_endpoints: [ @fails.test ] }",
    ),
    (
        "logical-address",
        LOGICAL,
        "",
        "{ lb_endpoints: [ @127.0.0.8 ] }",
    ),
    // A LOGICAL_DNS host of priority 1 is there too, but Envoy shows it with
    // priority 0 in `/clusters`, and we with the one that it has.
    (
        "typed",
        DNS_CLUSTER,
        "",
        "{ lb_endpoints: [ @two.test, @four.test ] }",
    ),
    (
        "typed-single",
        DNS_CLUSTER_SINGLE,
        "",
        "{ lb_endpoints: [ @two.test ] }",
    ),
    (
        "typed-all",
        DNS_CLUSTER_ALL,
        "",
        "{ lb_endpoints: [ @both.test ] }",
    ),
    ("by-name", BY_NAME, "", "{ lb_endpoints: [ @two.test ] }"),
    (
        "by-name-logical",
        BY_NAME_LOGICAL,
        "",
        "{ lb_endpoints: [ @two.test ] }",
    ),
    (
        "of-bootstrap",
        STRICT,
        "DEFAULT,",
        "{ lb_endpoints: [ @two.test ] }",
    ),
    (
        "hickory",
        STRICT,
        "HICKORY,",
        "{ lb_endpoints: [ @two.test ] }",
    ),
    (
        "getaddrinfo",
        STRICT,
        "GETADDRINFO,",
        "{ lb_endpoints: [ @127.0.0.3 ] }",
    ),
    ("tcp", STRICT, "TCP,", "{ lb_endpoints: [ @four.test ] }"),
];

/// A name server that knows the names of the clusters.
fn name_server() -> NameServer {
    let server = NameServer::start();
    server.set_addresses("two.test", &["127.0.0.2", "127.0.0.3"]);
    server.set_addresses("dup.test", &["127.0.0.2", "127.0.0.2"]);
    server.set_addresses("both.test", &["127.0.0.2", "::1"]);
    server.set_addresses("pair.test", &["127.0.0.2", "::1"]);
    server.set_addresses("four.test", &["127.0.0.4"]);
    server.set_addresses("six.test", &["::1"]);
    server.set_addresses("empty.test", &[]);
    server.set_addresses("_under.score.test", &["127.0.0.5"]);
    server.set("fails.test", Reply::Error(2));
    server.set("refuses.test", Reply::Error(5));
    server.set("silent.test", Reply::Silence);
    server.set("garbage.test", Reply::Garbage(vec![0xff; 40]));
    server.set("alias.test", Reply::Alias("two.test"));
    let many = (0..400_u16).map(|i| [127, 0, (i / 250) as u8 + 1, (i % 250) as u8 + 1].into());
    server.set("many.test", Reply::Addresses(many.collect(), 3600));
    server
}

fn configuration(server: &NameServer, refresh: &str) -> String {
    let mut text = String::from(
        "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n\
         RESOLVER\nstatic_resources:\n  clusters:\n",
    );
    for (name, kind, fields, endpoints) in CLUSTERS {
        let mut endpoints = (*endpoints).to_owned();
        while let Some(start) = endpoints.find('@') {
            let length = endpoints[start..].find([' ', ',']).expect("its end");
            let target = endpoints[start + 1..start + length].to_owned();
            let (target, weight) = target.split_once('*').unwrap_or((&target, "1"));
            let endpoint = format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: \"{target}\", \
                 port_value: 80 }} }} }}, load_balancing_weight: {weight} }}"
            );
            endpoints.replace_range(start..start + length, &endpoint);
        }
        let address = format!(
            "{{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}",
            server.address().port()
        );
        let typed = |name: &str, fields: &str| {
            format!(
                "dns_refresh_rate: REFRESH, typed_dns_resolver_config: {{ name: r, \
                 typed_config: {{ \"@type\": type.googleapis.com/\
                 envoy.extensions.network.dns_resolver.{name}, {fields} }} }},"
            )
        };
        let outer = match *fields {
            // The typed form has these inside.
            _ if kind.contains("RESOLVER") => String::new(),
            "TCP," => format!(
                "dns_refresh_rate: REFRESH, dns_resolvers: [ {address} ], \
                 use_tcp_for_dns_lookups: true,"
            ),
            "DEFAULT," => "dns_refresh_rate: REFRESH,".to_owned(),
            "HICKORY," => typed(
                "hickory.v3.HickoryDnsResolverConfig",
                &format!("resolvers: [ {address} ], cache_size: 0"),
            ),
            "GETADDRINFO," => typed("getaddrinfo.v3.GetAddrInfoDnsResolverConfig", ""),
            fields => format!("dns_refresh_rate: REFRESH, RESOLVER, {fields}"),
        };
        text += &format!(
            "  - {{ name: {name}, {kind}, {outer} load_assignment: {{ cluster_name: {name}, \
             endpoints: [ {endpoints} ] }} }}\n"
        );
    }
    text.replace("REFRESH", refresh)
        .replace("RESOLVER", &server.resolver())
}

fn compare(theirs: &BTreeMap<String, Seen>, ours: &BTreeMap<String, Seen>, what: &str) {
    for (name, ..) in CLUSTERS {
        assert_eq!(ours.get(*name), theirs.get(*name), "{name} {what}");
    }
}

/// Each name has been looked up once when the server is ready.
#[test]
fn the_first_hosts_are_envoys() {
    let Some(programs) = compared_programs("the_first_hosts_are_envoys") else {
        return;
    };
    let server = name_server();
    let configuration = configuration(&server, "600s");
    let is_stat = |stat: &str| {
        stat.starts_with("update_")
            || stat.starts_with("membership_")
            || stat.ends_with("total_match_count")
            || stat == "max_host_weight"
    };
    let mut envoys = None;
    for program in &programs {
        let process = Process::start(program, &configuration);
        // A cluster that is not awaited may still be asking.
        let (_, asked) = process
            .admin()
            .await_stats(Duration::from_secs(10), |stats| {
                stats.get("cluster.not-awaited.update_success") == Some(&1)
            });
        assert!(asked, "{}", program.name());
        let mut seen = look(&process, is_stat);
        // In Envoy it is that of the name that was answered last.
        let weights = seen.get_mut("weights").expect("the cluster is there");
        let max = weights.stats.remove("max_host_weight");
        assert!(max == Some(5) || max == Some(7), "{max:?}");
        assert_eq!(seen["two"].stats["membership_total"], 2);
        assert_eq!(seen["many"].stats["membership_total"], 400);
        match &envoys {
            None => envoys = Some(seen),
            Some(theirs) => compare(theirs, &seen, &program.name()),
        }
    }
    let over_tcp = |question: &&ringway_tests::name_server::Question| question.over_tcp;
    let asked = server.asked();
    let names: BTreeSet<_> = asked.iter().filter(over_tcp).map(|q| &*q.name).collect();
    assert!(names.contains("many.test"), "too long for UDP: {names:?}");
    assert!(
        names.contains("four.test"),
        "use_tcp_for_dns_lookups: {names:?}"
    );
    programs::say(&format!("{} clusters of names", CLUSTERS.len()));
}

/// One name after the other changes; what follows in the clusters is the same.
#[test]
fn changes_are_followed_as_envoy_does() {
    let Some(programs) = compared_programs("changes_are_followed_as_envoy_does") else {
        return;
    };
    let is_stat = |stat: &str| stat.starts_with("membership_");
    let mut envoys: Vec<BTreeMap<String, Seen>> = Vec::new();
    for (number, program) in programs.iter().enumerate() {
        let server = name_server();
        let process = Process::start(program, &configuration(&server, "0.1s"));
        for (step, change) in CHANGES.iter().enumerate() {
            change(&server);
            await_rounds(&process);
            let seen = look(&process, is_stat);
            match envoys.get(step) {
                None => envoys.push(seen),
                Some(theirs) => {
                    let what = format!("after change {step}, {}", program.name());
                    compare(theirs, &seen, &what);
                }
            }
        }
        assert_eq!(envoys.len(), CHANGES.len(), "{number}");
    }
}

/// Some clusters ask for the addresses of both families at once. A change may come
/// between the two answers, so that one is old and the other new: each change of
/// `both.test` is such that this makes no difference.
const CHANGES: &[fn(&NameServer)] = &[
    // One of two is another one.
    |server| server.set_addresses("two.test", &["127.0.0.3", "127.0.0.4"]),
    // The order is another one.
    |server| server.set_addresses("two.test", &["127.0.0.4", "127.0.0.3"]),
    // Failures leave things as they are.
    |server| {
        server.set("two.test", Reply::Error(2));
        server.set("four.test", Reply::Error(5));
        server.set_with_v6("both.test", four_two(), Reply::Error(2));
    },
    |server| server.set("both.test", Reply::Garbage(Vec::new())),
    // No addresses any more.
    |server| {
        server.set("two.test", Reply::Error(3));
        server.set_addresses("four.test", &[]);
        server.set_with_v6("both.test", four_two(), Reply::Error(2));
        // Where only an address behind the first one changes, Envoy replaces
        // a LOGICAL_DNS host, and we keep it with its connections.
        server.set_addresses("pair.test", &["127.0.0.5", "::1"]);
    },
    // And back again.
    |server| {
        server.set_addresses("two.test", &["127.0.0.2"]);
        server.set_addresses("four.test", &["127.0.0.9", "127.0.0.8"]);
        server.set_addresses("none.test", &["127.0.0.6"]);
        server.set_addresses("fails.test", &["127.0.0.6"]);
        server.set_addresses("empty.test", &["127.0.0.6"]);
        server.set_addresses("many.test", &["127.0.1.1"]);
        server.set("both.test", four_two());
    },
];

fn four_two() -> Reply {
    Reply::Addresses(vec![[127, 0, 0, 2].into()], 3600)
}

/// Waits until every cluster has asked for its names twice more, so that what
/// it asked before a change does not count.
fn await_rounds(process: &Process) {
    let attempts = |name: &str, stats: &ringway_tests::admin::Stats| {
        let name = format!("cluster.{name}.update_attempt");
        stats.get(&name).copied().unwrap_or(0)
    };
    let before = process.admin().stats();
    let begun = Instant::now();
    // Each name has attempts of its own; the most that a cluster has is four.
    // A question may be out for a second until it has failed.
    let (stats, all) = process
        .admin()
        .await_stats(Duration::from_secs(30), |stats| {
            CLUSTERS.iter().all(|(name, ..)| {
                let more = attempts(name, stats) - attempts(name, &before);
                *name == "no-names" || *name == "silent" || *name == "garbage" || more >= 12
            })
        });
    assert!(all, "not all asked within {:?}: {stats:?}", begun.elapsed());
}
