use super::*;
use crate::config::{FallbackPolicy, LocalityMode, Policy, Selector, SelectorFallback};
use crate::members::{Health, Host, Locality};
use crate::testing::{Cluster, Fake, Metadata, ROUND_ROBIN, assert_share};

/// What Envoy did, one line a case: cluster, number of the request, hosts that
/// were picked (`-` for no host), events.
const ENVOY: &str = include_str!("envoy-1.40-subsets.txt");

fn text(text: &str) -> Value {
    Value::string(text)
}

fn list(values: &[&str]) -> Value {
    Value::List(values.iter().map(|value| text(value)).collect())
}

fn fields(fields: &[(&str, &str)]) -> Value {
    let field = |(key, value): &(&str, &str)| (Arc::from(*key), text(value));
    Value::Struct(fields.iter().map(field).collect())
}

/// The hosts that the golden table was made with.
fn hosts() -> (Vec<Host>, Vec<Metadata>) {
    let of = |version: &str, stage: &str, kind: &str| {
        let mut metadata = vec![("version", text(version)), ("stage", text(stage))];
        if !kind.is_empty() {
            metadata.push(("type", text(kind)));
        }
        metadata
    };
    let metadata = vec![
        of("1", "prod", "std"),
        of("1", "prod", "bigmem"),
        of("1", "dev", "std"),
        of("2", "prod", "std"),
        of("2", "dev", ""),
        vec![("version", list(&["1", "3"])), ("stage", text("prod"))],
        vec![("num", Value::Number(1.0)), ("version", text("3"))],
        vec![],
    ];
    let mut hosts = vec![Host::default(); 8];
    hosts[4].health = Health::Unhealthy;
    (hosts, metadata)
}

fn keys(keys: &[&str]) -> Vec<Arc<str>> {
    keys.iter().map(|key| Arc::from(*key)).collect()
}

fn selector(names: &[&str], fallback_policy: SelectorFallback) -> Selector {
    Selector {
        keys: keys(names),
        fallback_policy,
        single_host_per_subset: false,
    }
}

fn plain(names: &[&str]) -> Selector {
    selector(names, SelectorFallback::NotDefined)
}

/// The clusters of the golden table.
fn configs() -> Vec<(&'static str, Subset)> {
    use SelectorFallback::{AnyEndpoint, DefaultSubset, KeysSubset, NoFallback, NotDefined};
    let base = |fallback_policy, default: &[(&str, &str)]| Subset {
        fallback_policy,
        default_subset: default
            .iter()
            .map(|(key, value)| (Arc::from(*key), text(value)))
            .collect(),
        selectors: vec![
            plain(&["stage", "type"]),
            plain(&["version", "stage"]),
            plain(&["version"]),
        ],
        ..Subset::default()
    };
    let default = FallbackPolicy::DefaultSubset;
    let any = FallbackPolicy::AnyEndpoint;
    let none = FallbackPolicy::NoFallback;
    vec![
        ("any", base(any, &[])),
        ("none", base(none, &[])),
        (
            "default",
            base(default, &[("stage", "prod"), ("type", "std")]),
        ),
        ("default_empty", base(default, &[("stage", "qa")])),
        (
            "default_empty_panic",
            Subset {
                panic_mode_any: true,
                ..base(default, &[("stage", "qa")])
            },
        ),
        (
            "list",
            Subset {
                list_as_any: true,
                ..base(default, &[("version", "3")])
            },
        ),
        (
            "selectors",
            Subset {
                selectors: vec![
                    selector(&["version"], NoFallback),
                    selector(&["stage"], AnyEndpoint),
                    selector(&["stage", "version"], KeysSubset(keys(&["version"]))),
                    selector(&["stage", "type"], DefaultSubset),
                ],
                ..base(any, &[("type", "bigmem")])
            },
        ),
        (
            "prefix",
            Subset {
                selectors: vec![
                    selector(&["stage", "version"], KeysSubset(keys(&["stage"]))),
                    selector(&["stage"], NoFallback),
                    selector(&["num"], NoFallback),
                ],
                ..base(any, &[])
            },
        ),
        (
            "single",
            Subset {
                selectors: vec![Selector {
                    single_host_per_subset: true,
                    ..plain(&["version"])
                }],
                ..base(none, &[])
            },
        ),
        (
            "fallback_list",
            Subset {
                metadata_fallback_list: true,
                ..base(none, &[])
            },
        ),
        (
            "redundant",
            Subset {
                selectors: vec![
                    selector(&["stage"], NoFallback),
                    selector(&["version"], NoFallback),
                    selector(&["stage", "version"], NoFallback),
                    selector(&["num"], NotDefined),
                ],
                allow_redundant_keys: true,
                ..base(any, &[])
            },
        ),
    ]
}

/// The requests of the golden table.
fn requests() -> Vec<Vec<(Arc<str>, Value)>> {
    let one = |pairs: &[(&str, Value)]| {
        let mut pairs: Vec<(Arc<str>, Value)> = pairs
            .iter()
            .map(|(key, value)| (Arc::from(*key), value.clone()))
            .collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    };
    let texts = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, text(v))).collect();
        one(&pairs)
    };
    let with_list = |pairs: &[(&str, &str)], list: Value| {
        let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, text(v))).collect();
        pairs.push(("fallback_list", list));
        one(&pairs)
    };
    vec![
        vec![],
        texts(&[("version", "1")]),
        texts(&[("version", "2")]),
        texts(&[("version", "3")]),
        texts(&[("version", "9")]),
        one(&[("version", Value::Number(1.0))]),
        one(&[("version", list(&["1", "3"]))]),
        texts(&[("stage", "prod")]),
        texts(&[("stage", "qa")]),
        texts(&[("stage", "dev"), ("version", "2")]),
        texts(&[("stage", "prod"), ("version", "2")]),
        texts(&[("stage", "prod"), ("version", "9")]),
        texts(&[("stage", "qa"), ("version", "1")]),
        texts(&[("stage", "qa"), ("version", "9")]),
        texts(&[("stage", "prod"), ("type", "std")]),
        texts(&[("stage", "prod"), ("type", "none")]),
        texts(&[("version", "1"), ("zzz", "x")]),
        texts(&[("aaa", "x"), ("version", "1")]),
        texts(&[("stage", "qa"), ("version", "1"), ("zzz", "y")]),
        one(&[("num", Value::Number(1.0))]),
        one(&[("num", Value::Number(2.0))]),
        with_list(
            &[("version", "9")],
            Value::List(vec![
                fields(&[("version", "8")]),
                fields(&[("version", "2")]),
                fields(&[("version", "1")]),
            ]),
        ),
        with_list(&[("version", "1")], Value::List(vec![])),
        with_list(
            &[("version", "1")],
            Value::List(vec![fields(&[("stage", "prod")])]),
        ),
        with_list(&[], Value::List(vec![fields(&[("version", "3")])])),
        with_list(
            &[("version", "1"), ("stage", "dev")],
            Value::List(vec![
                fields(&[("stage", "qa")]),
                fields(&[("version", "2"), ("stage", "prod")]),
            ]),
        ),
        with_list(&[("version", "1")], text("x")),
        with_list(&[("version", "1")], list(&["x"])),
    ]
}

fn cluster(subset: Subset) -> Cluster {
    let (hosts, metadata) = hosts();
    let mut cluster = Cluster::new(ROUND_ROBIN, hosts);
    cluster.metadata = metadata;
    cluster.subset = Some(subset);
    cluster
}

/// Which hosts take the requests, and what happened.
fn outcome(cluster: &Cluster, asked: &[(Arc<str>, Value)]) -> (String, String) {
    let (counts, events) = cluster.count_with(16, |_, request| {
        request.subset = asked.to_vec();
    });
    let hosts = counts.len() - 1;
    let picked = (0..=hosts).filter(|host| counts[*host] > 0);
    let picked = picked.map(|host| {
        if host == hosts {
            "-".into()
        } else {
            host.to_string()
        }
    });
    let names = [
        (Events::SUBSETS_SELECTED, "subsets_selected"),
        (Events::SUBSETS_FALLBACK, "subsets_fallback"),
        (Events::SUBSETS_FALLBACK_PANIC, "subsets_fallback_panic"),
        (Events::HEALTHY_PANIC, "healthy_panic"),
    ];
    let happened = |event: &Events| events.iter().any(|events| events.contains(*event));
    let names: Vec<_> = names
        .iter()
        .filter(|(event, _)| happened(event))
        .map(|(_, name)| *name)
        .collect();
    let names = if names.is_empty() {
        "none".into()
    } else {
        names.join(",")
    };
    (picked.collect(), names)
}

#[test]
fn subsets_are_those_of_envoy() {
    let requests = requests();
    let mut cases = 0;
    let mut differences = Vec::new();
    for (name, config) in configs() {
        let cluster = cluster(config);
        for (number, asked) in requests.iter().enumerate() {
            let prefix = format!("{name} {number} ");
            let line = ENVOY.lines().find_map(|line| line.strip_prefix(&prefix));
            let line = line.unwrap_or_else(|| panic!("{prefix}is not in the table"));
            let (picked, events) = outcome(&cluster, asked);
            let found = format!("{picked} {events}");
            if found != line {
                differences.push(format!("{prefix}{asked:?}: {found} instead of {line}"));
            }
            cases += 1;
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let lines = ENVOY.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(cases, lines.count(), "every line is used");
}

#[test]
fn subsets_are_counted() {
    // Half of Envoy's gauges, which count them for a worker and the main
    // thread.
    let expected = [
        ("any", 12, 0),
        ("list", 11, 0),
        ("selectors", 14, 0),
        ("prefix", 8, 0),
        ("single", 4, 3),
        ("redundant", 12, 0),
    ];
    for (name, config) in configs() {
        let Some((_, active, duplicates)) = expected.iter().find(|(other, ..)| *other == name)
        else {
            continue;
        };
        let counts = cluster(config).build().subsets().expect("it has selectors");
        assert_eq!(
            (counts.active, counts.duplicates),
            (*active, *duplicates),
            "{name}"
        );
    }
    assert_eq!(cluster(Subset::default()).build().subsets(), None);
}

#[test]
fn without_selectors_all_hosts_are_one() {
    let (picked, events) = outcome(&cluster(Subset::default()), &requests()[1]);
    assert_eq!((picked.as_str(), events.as_str()), ("0123567", "none"));
}

#[test]
fn each_subset_has_turns_of_its_own() {
    let (_, config) = configs().swap_remove(0);
    let balancer = cluster(config).build();
    let mut cursor = balancer.cursor(5);
    let mut request = Fake::seeded(1);
    let requests = requests();
    let mut counts = [[0; 8]; 2];
    for number in 0..600 {
        // Two requests of version 1 come to each one of "stage: prod, type:
        // std".
        let (which, asked) = if number % 3 < 2 { (0, 1) } else { (1, 14) };
        request.subset.clone_from(&requests[asked]);
        let host = balancer.pick(&mut cursor, &mut request).host;
        counts[which][host.expect("both have hosts") as usize] += 1;
    }
    assert!(
        counts[0][..3]
            .iter()
            .all(|count| (133..=134).contains(count))
    );
    assert_eq!([counts[1][0], counts[1][3]], [100, 100]);
}

#[test]
fn a_host_that_was_not_wanted_is_not_counted_again() {
    let (_, config) = configs().swap_remove(0);
    let balancer = cluster(config).build();
    let mut cursor = balancer.cursor(5);
    for (asked, event) in [(1, Events::SUBSETS_SELECTED), (4, Events::SUBSETS_FALLBACK)] {
        let mut request = Fake::seeded(1);
        request.subset.clone_from(&requests()[asked]);
        assert_eq!(balancer.pick(&mut cursor, &mut request).events, event);
        request.attempt = 1;
        let pick = balancer.pick(&mut cursor, &mut request);
        assert!(pick.host.is_some() && pick.events.is_empty());
    }
}

/// Two localities of weight 1 and 1: two of four and four of four hosts are
/// `a`.
fn in_localities(aware: bool, scale: bool) -> Cluster {
    let hosts = (0..8).map(|host| Host {
        locality: host / 4,
        ..Host::default()
    });
    let mut cluster = Cluster::new(ROUND_ROBIN, hosts);
    cluster.localities = [0, 1]
        .map(|id| Locality {
            id: id + 1,
            priority: 0,
            weight: Some(4),
        })
        .to_vec();
    let kind = |host: u32| if host % 8 < 2 { "b" } else { "a" };
    cluster.metadata = (0..8)
        .map(|host| vec![("kind", text(kind(host)))])
        .collect();
    cluster.common.locality = LocalityMode::Weighted;
    cluster.subset = Some(Subset {
        selectors: vec![plain(&["kind"])],
        locality_weight_aware: aware,
        scale_locality_weight: scale,
        ..Subset::default()
    });
    cluster
}

#[test]
fn localities_keep_their_weights_if_asked_to() {
    let first = |cluster: &Cluster| {
        let (counts, _) = cluster.count_with(6000, |_, request| {
            request.subset = vec![("kind".into(), text("a"))];
        });
        assert_eq!(counts[..2], [0, 0]);
        counts[2] + counts[3]
    };
    // By the number of hosts, by the weights, and by both.
    assert_eq!(first(&in_localities(false, false)), 2000);
    assert_eq!(first(&in_localities(false, true)), 2000);
    assert!(first(&in_localities(true, false)).abs_diff(3000) <= 1);
    assert!(first(&in_localities(true, true)).abs_diff(2000) <= 1);
}

#[test]
fn health_and_priority_count_inside_a_subset() {
    // Of subset `a` priority 0 has one of three hosts left, priority 1 all.
    let mut cluster = Cluster::new(
        ROUND_ROBIN,
        (0..6).map(|host| Host {
            priority: host / 3,
            ..Host::default()
        }),
    );
    cluster.hosts[0].health = Health::Unhealthy;
    cluster.hosts[1].health = Health::Unhealthy;
    cluster.metadata = (0..6).map(|_| vec![("kind", text("a"))]).collect();
    cluster.hosts.push(Host::default());
    cluster.subset = Some(Subset {
        selectors: vec![plain(&["kind"])],
        ..Subset::default()
    });
    let (counts, _) = cluster.count_with(20_000, |_, request| {
        request.subset = vec![("kind".into(), text("a"))];
    });
    assert_share(counts[2], 20_000, 0.46, 4.0);
    assert_eq!([counts[0], counts[1], counts[6], counts[7]], [0; 4]);
}

#[test]
fn policies_that_hash_have_a_table_a_subset() {
    let mut cluster = in_localities(false, false);
    cluster.common.locality = LocalityMode::None;
    cluster.policy = Policy::Maglev {
        table_size: 101,
        balance_factor: None,
    };
    let (counts, _) = cluster.count_with(5000, |number, request| {
        request.hash = Some(number as u64);
        request.subset = vec![("kind".into(), text("b"))];
    });
    assert_eq!(counts[2..], [0; 7]);
    assert!(counts[0] > 2000 && counts[1] > 2000, "{counts:?}");
}

#[test]
fn lists_mean_each_of_their_values_in_every_combination() {
    let mut cluster = Cluster::new(ROUND_ROBIN, [Host::default()]);
    cluster.metadata = vec![vec![
        ("a", list(&["1", "2"])),
        ("b", list(&["x", "y", "z"])),
        ("c", list(&[])),
    ]];
    let mut config = Subset {
        list_as_any: true,
        selectors: vec![plain(&["b", "a"])],
        ..Subset::default()
    };
    cluster.subset = Some(config.clone());
    assert_eq!(cluster.build().subsets().map(|s| s.active), Some(6));
    // Nothing can be asked for that an empty list means.
    config.selectors = vec![plain(&["a", "c"])];
    cluster.subset = Some(config.clone());
    assert_eq!(cluster.build().subsets().map(|s| s.active), Some(0));
    // A list is one value where it is not to mean each.
    config.list_as_any = false;
    cluster.subset = Some(config);
    assert_eq!(cluster.build().subsets().map(|s| s.active), Some(1));
}

#[test]
fn lists_do_not_multiply_without_end() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let values: Vec<String> = (0..100).map(|value| value.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut cluster = Cluster::new(ROUND_ROBIN, [Host::default()]);
    cluster.metadata = vec![names.map(|name| (name, list(&values))).to_vec()];
    cluster.subset = Some(Subset {
        list_as_any: true,
        selectors: vec![plain(&names)],
        ..Subset::default()
    });
    assert_eq!(cluster.build().subsets().map(|s| s.active), Some(4096));
}

#[test]
fn a_selector_that_falls_back_to_itself_ends() {
    let (picked, events) = outcome(
        &cluster(Subset {
            selectors: vec![selector(
                &["stage"],
                SelectorFallback::KeysSubset(keys(&["stage"])),
            )],
            fallback_policy: FallbackPolicy::AnyEndpoint,
            ..Subset::default()
        }),
        &requests()[8],
    );
    assert_eq!((picked.as_str(), events.as_str()), ("-", "none"));
}

/// What was asked for before is remembered by where it was: another question in
/// the same place has another answer.
#[test]
fn what_is_asked_for_decides_and_not_where_it_lies() {
    let (_, config) = configs().remove(0);
    let balancer = cluster(config).build();
    let mut cursor = balancer.cursor(1);
    let mut request = Fake::seeded(1);
    request.subset = vec![(Arc::from("version"), text("1"))];
    for round in 0..1000 {
        let (version, expected, event): (_, &[u32], _) = match round % 5 {
            0 | 1 => ("1", &[0, 1, 2], Events::SUBSETS_SELECTED),
            2 => ("2", &[3], Events::SUBSETS_SELECTED),
            3 => ("3", &[6], Events::SUBSETS_SELECTED),
            _ => ("9", &[0, 1, 2, 3, 5, 6, 7], Events::SUBSETS_FALLBACK),
        };
        request.subset[0].1 = text(version);
        let pick = balancer.pick(&mut cursor, &mut request);
        let host = pick.host.expect("there are hosts");
        assert!(expected.contains(&host), "{version}: {host}");
        assert!(pick.events.contains(event), "{version}");
    }
}
