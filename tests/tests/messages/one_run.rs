//! One run names every mistake of a file: those of its form, of its clusters, of
//! its listeners and of its routes, each once and without what only follows.

use crate::{ROUTER, file, validate};
use ringway_tests::programs;

/// What `--mode validate` says of a text, without its warnings.
fn errors(text: &str) -> Vec<String> {
    let (is_good, said) = validate(&programs::ringway(), text);
    assert!(!is_good, "{said}");
    let lines = said.lines().skip_while(|line| line.starts_with("warning:"));
    let lines = lines.skip(1).map(|line| {
        let line = line.strip_prefix("--config-yaml:").unwrap_or(line);
        line.replace(ROUTES, "ROUTES").replace(MANAGER, "MANAGER")
    });
    lines.collect()
}

const MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
const ROUTES: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.\
                      route_config.virtual_hosts[0].routes";

#[test]
fn the_mistakes_of_every_part_come_together() {
    let text = file(
        "  - { name: bad-form, conect_timeout: 1s }
  - { name: bad-cluster, type: STATIC, load_assignment: { cluster_name: b, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: name.test, port_value: 1 } } } }] }] } }
  - { name: good, type: STATIC }",
        ROUTER,
        "              - { match: { prefix: /a }, route: { cluster: bad-form } }
              - { match: { prefix: /b }, route: { cluster: bad-cluster } }
              - { match: { prefix: /c }, route: { cluster: goood } }
              - { match: { prefix: /d }, route: { cluster: good, tiemout: 1s } }
              - { match: { safe_regex: { regex: \"(\" } }, route: { cluster: good } }
              - { match: { prefix: /e }, route: { cluster: nowhere } }",
    );
    let found = errors(&text);
    let starts = [
        "3:23: static_resources.clusters[0].conect_timeout: envoy.config.cluster.v3.Cluster has \
         no such field, did you mean \"connect_timeout\"?",
        "4:",
        "23:60: ROUTES[2].route.cluster: unknown cluster \"goood\", did you mean \"good\"?",
        "24:66: ROUTES[3].route.tiemout: envoy.config.route.v3.RouteAction has no such field, did \
         you mean \"timeout\"?",
        "25:",
        "26:60: ROUTES[5].route.cluster: unknown cluster \"nowhere\"",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\n{start}\n{found:#?}");
    }
    assert!(found[1].contains("clusters[1]"), "{found:#?}");
    assert!(
        found[4].contains("ROUTES[4].match.safe_regex"),
        "{found:#?}"
    );
}

/// What could not be read is not said to be missing, unknown or contradicted.
#[test]
fn nothing_follows_from_a_mistake() {
    for (clusters, manager, routes, expected) in [
        // The name that a route means may be this one.
        (
            "  - { name: [a], type: STATIC }",
            ROUTER,
            "              - { match: { prefix: / }, route: { cluster: a } }",
            &["3:13: static_resources.clusters[0].name: "][..],
        ),
        // A filter that is not understood is there all the same.
        (
            "  - { name: a, type: STATIC }",
            "          http_filters: [{ name: router, typed_config: { \"@type\": nothing } }]",
            "              - { match: { prefix: / }, route: { cluster: a } }",
            &["13:67: MANAGER.http_filters[0].typed_config.@type: "],
        ),
        (
            "  - { name: a, type: STATIC }",
            ROUTER,
            "              - { match: { prefx: / }, route: { cluster: a } }",
            &["19:28: ROUTES[0].match.prefx: "],
        ),
        (
            "  - { name: a, type: STATIC }",
            ROUTER,
            "              - { match: { prefix: / }, rout: { cluster: nowhere } }",
            &["19:41: ROUTES[0].rout: "],
        ),
        // Without any cluster no route can be judged.
        (
            "    name: a",
            ROUTER,
            "              - { match: { prefix: / }, route: { cluster: a } }",
            &["3:5: static_resources.clusters: expected a list of "],
        ),
        // One part of a message hangs together with the others.
        (
            "  - { name: a, type: STATIC }",
            ROUTER,
            "              - { match: { prefix: / }, redirect: { host_redirect: 1, prefix_rewrite: /, regex_rewrite: {} } }",
            &["19:68: ROUTES[0].redirect.host_redirect: ", "19:"],
        ),
    ] {
        let found = errors(&file(clusters, manager, routes));
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, start) in found.iter().zip(expected) {
            assert!(line.starts_with(start), "{line}\n{start}");
        }
    }
}

/// A filter that says not what it is is one mistake, whoever speaks of it.
#[test]
fn a_filter_without_a_type_is_one_mistake() {
    let text = file(
        "  - { name: a, type: STATIC }",
        "          http_filters:
          - { name: fault }
          - { name: router, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }",
        "              - match: { prefix: /a }
                route: { cluster: a }
                typed_per_filter_config:
                  fault: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault }
              - match: { prefix: /b }
                route: { cluster: a }
                typed_per_filter_config:
                  fault: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault }",
    );
    let (_, said) = validate(&programs::ringway(), &text);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[1].ends_with("\"fault\" needs a typed_config: its type selects the implementation"),
        "{said}"
    );
}
