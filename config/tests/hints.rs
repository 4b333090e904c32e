//! What messages suggest: where a field belongs, which bracket is open, how a
//! file was read.

use ringway_config::{Diagnostics, Format, LoadOptions, load, load_files};

fn said(text: &str) -> Vec<String> {
    let found = match load(text, "f", Format::Yaml, &LoadOptions::default()) {
        Ok(loaded) => loaded.diagnostics,
        Err(found) => found,
    };
    lines(&found)
}

fn lines(found: &Diagnostics) -> Vec<String> {
    found.to_string().lines().map(str::to_owned).collect()
}

/// A listener whose only route is this.
fn route(route: &str) -> String {
    format!(
        "static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: f
        typed_config:
          '@type': t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          route_config:
            virtual_hosts:
            - name: h
              domains: ['*']
              routes: [{route}]
"
    )
}

#[test]
fn a_field_that_is_one_level_off_is_said_to_be() {
    const AT: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.\
                      route_config.virtual_hosts[0].routes[0]";
    const ROUTE: &str = "envoy.config.route.v3.Route has no such field";
    const MATCH: &str = "envoy.config.route.v3.RouteMatch has no such field";
    for (text, expected) in [
        (
            "{match: {prefix: /}, route: {cluster: a}, timeout: 1s}",
            format!("f:14:66: {AT}.timeout: {ROUTE}; \"timeout\" is a field of \"route\""),
        ),
        // In either spelling.
        (
            "{match: {prefix: /}, route: {cluster: a}, retryPolicy: {}}",
            format!("f:14:66: {AT}.retryPolicy: {ROUTE}; \"retryPolicy\" is a field of \"route\""),
        ),
        // What it belongs in is not said to be missing too.
        (
            "{safe_regex: {regex: a}, route: {cluster: a}}",
            format!("f:14:25: {AT}.safe_regex: {ROUTE}; \"safe_regex\" is a field of \"match\""),
        ),
        (
            "{match: {prefix: /, name: r}, route: {cluster: a}}",
            format!("f:14:44: {AT}.match.name: {MATCH}; \"name\" is a field beside \"match\""),
        ),
        // It is in several.
        (
            "{match: {prefix: /}, route: {cluster: a}, prefix_rewrite: /x}",
            format!(
                "f:14:66: {AT}.prefix_rewrite: {ROUTE}; \"prefix_rewrite\" is a field of \
                 \"route\" and of \"redirect\""
            ),
        ),
        (
            "{match: {prefix: /}, route: {cluster: a}, whatever: 1}",
            format!("f:14:66: {AT}.whatever: {ROUTE}"),
        ),
    ] {
        assert_eq!(said(&route(text)), [expected], "{text}");
    }
    // What surrounds an `Any` surrounds what is in it.
    let text = "static_resources:
  clusters:
  - name: a
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': t/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {}}
        max_headers_count: 1
";
    let found = said(text);
    let expected = "HttpProtocolOptions has no such field; \"max_headers_count\" is a field of \
                    \"common_http_protocol_options\"";
    assert!(found[0].ends_with(expected), "{found:?}");
}

#[test]
fn a_bracket_that_is_open_is_named() {
    for (text, expected) in [
        ("a: [1, 2\nb: 3\n", "the '[' at 1:4 is still open"),
        ("a:\n  b: {c: 1\n  d: 2\n", "the '{' at 2:6 is still open"),
        ("a: [{b: 1]\n", "the '{' at 1:5 is still open"),
        ("a: [[1], 2\n", "the '[' at 1:4 is still open"),
        ("a: [", "the '[' at 1:4 is still open"),
        ("- [a\n- b\n", "the '[' at 1:3 is still open"),
    ] {
        let found = said(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].ends_with(expected), "{text}: {found:?}");
    }
    // What is closed is not named.
    let found = said("a: [1]\nb: \"x\n");
    assert!(!found[0].contains("still open"), "{found:?}");
}

#[test]
fn a_name_that_says_no_format_is_read_as_json_and_that_is_said() {
    const NOTE: &str = "was read as JSON: only names that end in .yaml or .yml are read as YAML";
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text, is_noted) in [
        ("a.conf", "node: {id: a}", true),
        ("a", "node: {id: a}", true),
        ("a.json", "node: {id: a}", false),
        ("a.yaml", "node: {id: ", false),
        // It is JSON, and wrong in another way.
        ("b.conf", "{\"nod\": {}}", false),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        let found = load_files(Some(&path), None, &LoadOptions::default());
        let found = lines(&found.expect_err("it is wrong"));
        let expected = format!("{}: {NOTE}", path.display());
        assert_eq!(found.contains(&expected), is_noted, "{name}: {found:?}");
    }
    let path = folder.path().join("good.conf");
    std::fs::write(&path, "{\"node\": {\"id\": \"a\"}}").expect("it can be written");
    load_files(Some(&path), None, &LoadOptions::default()).expect("it is JSON");
}

#[test]
fn a_field_without_effect_says_why_whatever_the_cluster() {
    let expected = "update_merge_window: has no effect: changes of hosts take effect at once, \
                    those that come together as one";
    for kind in ["STATIC", "STRICT_DNS"] {
        let text = format!(
            "static_resources: {{clusters: [{{name: a, type: {kind}, \
             common_lb_config: {{update_merge_window: 1s}}}}]}}"
        );
        let found = said(&text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].ends_with(expected), "{text}: {found:?}");
    }
}
