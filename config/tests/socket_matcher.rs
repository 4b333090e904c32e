//! `transport_socket_matcher` of clusters: what is said of those with a mistake.

use ringway_config::{Format, LoadOptions, bootstrap, load};

const PACKAGE: &str =
    "type.googleapis.com/envoy.extensions.matching.common_inputs.transport_socket.v3";

/// Every line that a cluster gives with these names of transport sockets and this
/// matcher, without the name of the file and the place in it.
fn said(names: &[&str], matcher: &str) -> Vec<String> {
    let matches: Vec<_> = (names.iter())
        .map(|name| {
            format!(
                "{{ name: {name}, transport_socket: {{ name: r, typed_config: {{ \"@type\": \
                 type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer \
                 }} }} }}"
            )
        })
        .collect();
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: a, transport_socket_matches: [ {} ], \
         transport_socket_matcher: {{ {matcher} }} }} ] }}",
        matches.join(", ")
    )
    .replace("PACKAGE", PACKAGE);
    let found = match load(&text, "f", Format::Yaml, &LoadOptions::default()) {
        Ok(loaded) => {
            let mut found = loaded.diagnostics.clone();
            match bootstrap::lower(&loaded) {
                Ok(snapshot) => found.extend(&snapshot.diagnostics),
                Err(more) => found.extend(&more),
            }
            found
        }
        Err(found) => found,
    };
    let lines = found.to_string();
    let at = "static_resources.clusters[0].";
    (lines.lines())
        .map(|line| {
            line.split_once(at)
                .map_or(line, |(_, rest)| rest)
                .to_owned()
        })
        .collect()
}

const INPUT: &str = "input: { name: i, typed_config: { '@type': PACKAGE.EndpointMetadataInput, path: [ { key: k } ] } }";

fn to(name: &str) -> String {
    format!(
        "action: {{ name: a, typed_config: {{ '@type': PACKAGE.TransportSocketNameAction, name: {name} }} }}"
    )
}

fn by(input: &str, on_match: &str) -> String {
    format!("matcher_tree: {{ {input}, exact_match_map: {{ map: {{ v: {{ {on_match} }} }} }} }}")
}

#[test]
fn good_ones_say_nothing() {
    assert_eq!(said(&["x", "q"], &by(INPUT, &to("q"))), [""; 0]);
    assert_eq!(said(&["x"], ""), [""; 0]);
}

#[test]
fn mistakes_have_their_places() {
    let path = "transport_socket_matcher.matcher_tree";
    let action = format!("{path}.exact_match_map.map[\"v\"].action.typed_config");
    let other = |kind: &str, fields: &str| {
        format!("input: {{ name: i, typed_config: {{ '@type': {kind}, {fields} }} }}")
    };
    let text = "action: { name: a, typed_config: { '@type': \
                type.googleapis.com/google.protobuf.StringValue, value: x } }";
    let custom = format!(
        "matcher_tree: {{ {INPUT}, custom_match: {{ name: m, typed_config: {{ '@type': \
         type.googleapis.com/xds.type.matcher.v3.ServerNameMatcher, domain_matchers: [ {{ domains: \
         [ a.b ], on_match: {{ {} }} }} ] }} }} }}",
        to("x")
    );
    for (names, matcher, place, reason) in [
        (
            &["x", "q", "x"][..],
            by(INPUT, &to("x")),
            "transport_socket_matches[2].name".to_owned(),
            "transport_socket_matches[0] has the name \"x\" as well",
        ),
        (
            &["''"],
            by(INPUT, &to("x")),
            "transport_socket_matches[0].name".to_owned(),
            "must not be empty",
        ),
        (
            &["x"],
            by(INPUT, &to("z")),
            format!("{action}.name"),
            "the cluster (f:1:33) has no transport socket with the name \"z\"; what leads here \
             has the cluster's own",
        ),
        (
            &["x"],
            by(INPUT, &to("''")),
            format!("{action}.name"),
            "must not be empty",
        ),
        (
            &["x"],
            by(INPUT, text),
            action.clone(),
            "a typed_config of type envoy.extensions.matching.common_inputs.transport_socket.v3.\
             TransportSocketNameAction is needed here, not google.protobuf.StringValue",
        ),
        (
            &["x"],
            by(INPUT, "action: { name: a }"),
            action.clone(),
            "must be",
        ),
        (
            &["x"],
            by(&other("PACKAGE.LocalityMetadataInput", ""), &to("x")),
            format!("{path}.input.typed_config.path"),
            "needs at least 1 item",
        ),
        (
            &["x"],
            by(&other("PACKAGE.FilterStateInput", "key: k"), &to("x")),
            format!("{path}.input.typed_config"),
            "not supported yet",
        ),
        (
            &["x"],
            by(
                &other(
                    "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.\
                     ServerNameInput",
                    "",
                ),
                &to("x"),
            ),
            format!("{path}.input.typed_config"),
            "of a host only its metadata",
        ),
        (
            &["x"],
            custom,
            format!("{path}.custom_match"),
            "transport sockets are found by",
        ),
        (
            &["x"],
            format!(
                "matcher_list: {{ matchers: [ {{ predicate: {{ single_predicate: {{ {INPUT}, \
                 custom_match: {{ name: c, typed_config: {{ '@type': \
                 type.googleapis.com/xds.type.matcher.v3.CelMatcher, expr_match: {{}} }} }} }} }}, \
                 on_match: {{ {} }} }} ] }}",
                to("x")
            ),
            "transport_socket_matcher.matcher_list.matchers[0].predicate.single_predicate.\
             custom_match.typed_config"
                .to_owned(),
            "extension c (xds.type.matcher.v3.CelMatcher) is not supported yet",
        ),
        (
            &["x"],
            format!("on_no_match: {{ keep_matching: true, {} }}", to("x")),
            "transport_socket_matcher.on_no_match.keep_matching".to_owned(),
            "not supported yet",
        ),
    ] {
        let said = said(names, &matcher);
        let expected = format!("{place}: {reason}");
        assert!(
            matches!(&*said, [line, ..] if line.starts_with(&format!("{place}: ")) && line.contains(reason)),
            "{said:#?}\nnot: {expected}"
        );
    }
}

#[test]
fn labels_beside_a_matcher_are_warned_of() {
    let expected = "clusters[0].transport_socket_matches[0].match: has no effect beside the \
                    cluster's transport_socket_matcher";
    for (labels, is_told) in [("k: v", true), ("", false)] {
        let found = said_of_labels(labels);
        assert_eq!(found.contains(expected), is_told, "{found}");
        assert_eq!(found.is_empty(), !is_told, "{found}");
    }
}

/// What is said of a cluster with a matcher whose socket has labels as well.
fn said_of_labels(labels: &str) -> String {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: a, transport_socket_matches: [ {{ name: x, \
         match: {{ {labels} }}, transport_socket: {{ name: r, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer }} }} }} \
         ], transport_socket_matcher: {{ {} }} }} ] }}",
        by(INPUT, &to("x"))
    )
    .replace("PACKAGE", PACKAGE);
    let loaded = load(&text, "f", Format::Yaml, &LoadOptions::default()).expect("it loads");
    let snapshot = bootstrap::lower(&loaded).expect("it is good");
    snapshot.diagnostics.to_string()
}
