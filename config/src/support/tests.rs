use super::*;
use crate::descriptors::pool;
use crate::diagnostics::{Diagnostics, Marks, Severity};
use prost_reflect::{DynamicMessage, Kind};

#[test]
fn the_table_of_this_build_names_only_what_exists() {
    let table = Table::parse(TEXT).expect("every line is well formed");
    for entry in &table.messages {
        let message = pool().get_message_by_name(&entry.name);
        let message = message.unwrap_or_else(|| panic!("no message {}", entry.name));
        for (name, mark) in &entry.fields {
            if name == ALL {
                continue;
            }
            let field = message.get_field_by_name(name);
            let field = field.unwrap_or_else(|| panic!("no field {} {name}", entry.name));
            let (Kind::Enum(of), Mark::Ok(values)) = (field.kind(), mark) else {
                continue;
            };
            for value in values {
                let known = of.get_value_by_name(value).is_some();
                assert!(known, "no value {value} of {} {name}", entry.name);
            }
        }
    }
}

#[test]
fn every_message_that_a_supported_field_holds_is_in_the_table() {
    let mut missing = Vec::new();
    for entry in &table().messages {
        let Some(message) = pool().get_message_by_name(&entry.name) else {
            continue;
        };
        for field in message.fields() {
            let named = entry.fields.iter().find(|(name, _)| name == field.name());
            let (Some((_, Mark::Ok(_) | Mark::Part(_))), Kind::Message(held)) =
                (named, field.kind())
            else {
                continue;
            };
            let held = if held.is_map_entry() {
                match held.map_entry_value_field().kind() {
                    Kind::Message(value) => value,
                    _ => continue,
                }
            } else {
                held
            };
            let name = held.full_name();
            if !name.starts_with("google.protobuf.") && table().message(name).is_none() {
                missing.push(format!("{name}, held by {}.{}", entry.name, field.name()));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "not in the table:\n{}",
        missing.join("\n")
    );
}

#[test]
fn broken_tables_are_refused() {
    for (text, reason) in [
        (
            "## a.txt\n  f ok",
            "a.txt: \"  f ok\": a field before the first message",
        ),
        (
            "## a.txt\nM\n  f",
            "a.txt: \"  f\": expected `FIELD ok [VALUE…]`, `FIELD part NOTE` or `FIELD warn REASON`",
        ),
        (
            "## a.txt\nM\n  f warn",
            "a.txt: \"  f warn\": a warning needs its reason",
        ),
        (
            "## a.txt\nM\n  f part",
            "a.txt: \"  f part\": a part needs its note",
        ),
        (
            "## a.txt\nM\n  f ok\n  f ok",
            "a.txt: \"  f ok\": the field is already in the table",
        ),
        (
            "## a.txt\nM\nM",
            "a.txt: \"M\": the message is already in the table",
        ),
    ] {
        assert_eq!(Table::parse(text).unwrap_err(), reason);
    }
}

/// What the walk says about a cluster written in JSON.
fn walk(table: &str, cluster: &str) -> Vec<String> {
    let table = Table::parse(table).expect("the table is well formed");
    let descriptor = pool().get_message_by_name("envoy.config.cluster.v3.Cluster");
    let descriptor = descriptor.expect("the API has clusters");
    let mut json = serde_json::Deserializer::from_str(cluster);
    let message = DynamicMessage::deserialize(descriptor, &mut json).expect("valid JSON");
    let mut found = Diagnostics::new();
    check(&table, &message, &Marks::default(), &mut found);
    let mut lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn an_optional_extension_that_is_not_there_is_left_out() {
    let table = Table::parse(TEXT).expect("every line is well formed");
    let descriptor = pool().get_message_by_name("envoy.config.route.v3.RouteConfiguration");
    let descriptor = descriptor.expect("the API has routes");
    for (optional, severity, end) in [
        (true, Severity::Warning, "; it is optional and left out"),
        (false, Severity::Error, ""),
    ] {
        let plugin = r#""extension": {"name": "mine", "typedConfig": {"@type": "t/envoy.extensions.router.cluster_specifiers.lua.v3.LuaConfig"}}"#;
        let json =
            format!(r#"{{"clusterSpecifierPlugins": [{{{plugin}, "isOptional": {optional}}}]}}"#);
        let mut json = serde_json::Deserializer::from_str(&json);
        let message = DynamicMessage::deserialize(descriptor.clone(), &mut json);
        let mut found = Diagnostics::new();
        let message = message.expect("valid JSON");
        check(&table, &message, &Marks::default(), &mut found);
        let found: Vec<_> = found.iter().collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].severity, severity);
        assert_eq!(
            found[0].to_string(),
            format!(
                "cluster_specifier_plugins[0].extension.typed_config: extension mine \
                 (envoy.extensions.router.cluster_specifiers.lua.v3.LuaConfig) is not supported \
                 yet{end}"
            )
        );
    }
}

#[test]
fn what_is_set_and_not_in_the_table_is_refused() {
    let table = "\
envoy.config.cluster.v3.Cluster
  name ok
  lb_policy ok RANDOM
  metadata warn nothing reads it
  load_assignment ok
  filters ok
  typed_extension_protocol_options ok
  connection_pool_per_downstream_connection ok false
  per_connection_buffer_limit_bytes ok 1 2
  load_balancing_policy part one that is there
envoy.config.cluster.v3.LoadBalancingPolicy
  policies ok
envoy.config.cluster.v3.LoadBalancingPolicy.Policy
  typed_extension_config ok
envoy.config.core.v3.TypedExtensionConfig
  name ok
  typed_config ok
envoy.config.endpoint.v3.ClusterLoadAssignment
  * ok
envoy.config.cluster.v3.Filter
  name ok
  typed_config ok
envoy.extensions.upstreams.http.v3.HttpProtocolOptions
  common_http_protocol_options ok
";
    let http = r#""@type": "t/envoy.extensions.upstreams.http.v3.HttpProtocolOptions""#;
    let lua = r#"{"@type": "t/envoy.extensions.filters.http.lua.v3.Lua"}"#;
    for (cluster, expected) in [
        ("{}".to_owned(), &[][..]),
        (r#"{"name": "a", "lbPolicy": "RANDOM"}"#.into(), &[]),
        (
            r#"{"lbPolicy": "MAGLEV"}"#.into(),
            &["lb_policy: MAGLEV is not supported yet (only RANDOM)"],
        ),
        // A scalar that has its default value does not count as set.
        (
            r#"{"lbPolicy": "ROUND_ROBIN", "respectDnsTtl": false}"#.into(),
            &[],
        ),
        (
            r#"{"respectDnsTtl": true}"#.into(),
            &["respect_dns_ttl: not supported yet"],
        ),
        // `ok false` may be written, also where it is the default.
        (r#"{"perConnectionBufferLimitBytes": 2}"#.into(), &[]),
        (
            r#"{"perConnectionBufferLimitBytes": 3}"#.into(),
            &["per_connection_buffer_limit_bytes: 3 is not supported yet (only 1, 2)"],
        ),
        (
            r#"{"connectionPoolPerDownstreamConnection": true}"#.into(),
            &["connection_pool_per_downstream_connection: true is not supported yet (only false)"],
        ),
        (
            r#"{"connectionPoolPerDownstreamConnection": false}"#.into(),
            &[],
        ),
        // What works in part is looked into like what works.
        (
            format!(
                r#"{{"loadBalancingPolicy": {{"policies": [{{"typedExtensionConfig": {{"name": "x", "typedConfig": {lua}}}}}]}}}}"#
            ),
            &[
                "load_balancing_policy.policies[0].typed_extension_config.typed_config: extension x (envoy.extensions.filters.http.lua.v3.Lua) is not supported yet; it is optional and left out",
            ],
        ),
        // A message counts as set even when it is empty or wraps a zero.
        (
            r#"{"dnsRefreshRate": "0s"}"#.into(),
            &["dns_refresh_rate: not supported yet"],
        ),
        (
            r#"{"metadata": {"filterMetadata": {"a": {}}}}"#.into(),
            &["metadata: has no effect: nothing reads it"],
        ),
        (
            r#"{"loadAssignment": {"endpoints": [{"priority": 1}]}}"#.into(),
            &[],
        ),
        (
            format!(r#"{{"filters": [{{"name": "x", "typedConfig": {lua}}}]}}"#),
            &[
                "filters[0].typed_config: extension x (envoy.extensions.filters.http.lua.v3.Lua) is not supported yet",
            ],
        ),
        (
            format!(
                r#"{{"typedExtensionProtocolOptions": {{"k": {{{http}, "autoConfig": {{}}}}}}}}"#
            ),
            &["typed_extension_protocol_options[\"k\"].auto_config: not supported yet"],
        ),
        // A message that a field holds and the table lacks: nothing in it is supported.
        (
            format!(
                r#"{{"typedExtensionProtocolOptions": {{"k": {{{http}, "commonHttpProtocolOptions": {{"maxHeadersCount": 1}}}}}}}}"#
            ),
            &[
                "typed_extension_protocol_options[\"k\"].common_http_protocol_options.max_headers_count: not supported yet",
            ],
        ),
    ] {
        assert_eq!(walk(table, &cluster), expected, "{cluster}");
    }
}
