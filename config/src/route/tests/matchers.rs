//! `VirtualHost.matcher`: the routes of its actions, and mistakes with their
//! places.

use super::golden::lower_yaml;
use std::fmt::Write;

const ACTION: &str = r#""@type": type.googleapis.com/envoy.config.route.v3.Route,"#;
const LIST: &str = r#""@type": type.googleapis.com/envoy.config.route.v3.RouteList,"#;
const INPUT: &str = r#"{ name: i, typed_config: { "@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-a } }"#;

/// A virtual host whose map of `x-a` leads to what `entries` says.
fn by_map(entries: &[(&str, &str)], more: &str) -> String {
    let mut text = format!(
        "virtual_hosts:\n- name: v\n  domains: ['*']\n{more}  matcher:\n    matcher_tree:\n      \
         input: {INPUT}\n      exact_match_map:\n        map:\n"
    );
    for (key, typed_config) in entries {
        writeln!(
            text,
            "          {key}: {{ action: {{ name: a, typed_config: {{ {typed_config} }} }} }}"
        )
        .unwrap();
    }
    text
}

fn to(name: &str) -> String {
    format!("name: {name}, match: {{ prefix: / }}, route: {{ cluster: {name} }}")
}

#[test]
fn routes_of_all_actions_are_in_one_list() {
    let list = format!("{LIST} routes: [{{ {} }}, {{ {} }}]", to("b"), to("c"));
    let text = by_map(
        &[("k1", &format!("{ACTION} {}", to("a"))), ("k2", &list)],
        "",
    );
    let described = lower_yaml(&text, |routes, _| {
        let host = &routes.virtual_hosts()[0];
        assert!(host.matcher.is_some());
        // As in Envoy, their clusters need not exist.
        assert!(routes.cluster_references().is_empty());
        let names: Vec<_> = host.routes.iter().map(|route| &*route.name).collect();
        format!("{} {}", names.join(" "), host.routes[2].source.path)
    });
    let path = "virtual_hosts[0].matcher.matcher_tree.exact_match_map.map[\"k2\"].action\
                .typed_config.routes[1]";
    assert!(described.starts_with("a b c "), "{described}");
    assert!(described.contains(path), "{described}");
}

#[test]
fn mistakes_have_their_places() {
    let good = format!("{ACTION} {}", to("a"));
    let bad_list = format!("{LIST} routes: [{{ {} }}, {{ name: d }}]", to("b"));
    let other = "\"@type\": type.googleapis.com/envoy.config.route.v3.VirtualCluster, \
                 name: c, headers: [{ name: x-a, present_match: true }]";
    let routes = format!("  routes: [{{ {} }}]\n", to("a"));
    let query =
        by_map(&[("k", &good)], "").replace("HttpRequestHeaderMatch", "HttpResponseHeaderMatch");
    let keep = by_map(&[("k", &good)], "").replace("k: { ", "k: { keep_matching: true, ");
    for (text, place, reason) in [
        (
            by_map(&[("k", &good)], &routes),
            "virtual_hosts[0].matcher:",
            "a virtual host has routes (routes.yaml:14:23) or a matcher, not both",
        ),
        (
            by_map(&[("k", other)], ""),
            "map[\"k\"].action.typed_config:",
            "the action must be an envoy.config.route.v3.Route or an \
             envoy.config.route.v3.RouteList, not envoy.config.route.v3.VirtualCluster",
        ),
        (
            by_map(&[("k", &bad_list)], ""),
            "map[\"k\"].action.typed_config.routes[1]",
            "match",
        ),
        (
            query,
            "matcher_tree.input.typed_config:",
            "only request headers can be looked at here",
        ),
        (keep, "map[\"k\"].keep_matching:", "not supported yet"),
    ] {
        let found = lower_yaml(&text, |_, _| "accepted".into());
        assert!(found.contains(place), "{found}\nnot: {place}");
        assert!(found.contains(reason), "{found}\nnot: {reason}");
    }
}
