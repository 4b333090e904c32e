//! Runtime layers (`envoy.config.bootstrap.v3.LayeredRuntime`): no value is
//! read at run time yet, so this only decides which layers may be given
//! without changing what the proxy does.

use std::collections::HashSet;

use envoy_types::pb::envoy::config::bootstrap::v3 as pb;
use envoy_types::pb::envoy::config::bootstrap::v3::runtime_layer::LayerSpecifier;
use envoy_types::pb::google::protobuf::{Struct, value::Kind};

use crate::context::Cx;

/// Reports layers that cannot be had and keys that would have an effect.
pub(crate) fn check(proto: &pb::LayeredRuntime, cx: &mut Cx<'_>) {
    let (mut names, mut admin_layers) = (HashSet::new(), 0);
    for (i, layer) in proto.layers.iter().enumerate() {
        cx.index("layers", i, |cx| {
            if !names.insert(layer.name.as_str()) {
                cx.error_at("name", format!("duplicate layer name: {}", layer.name));
            }
            match &layer.layer_specifier {
                Some(LayerSpecifier::StaticLayer(values)) => cx.field("static_layer", |cx| {
                    check_values(values, &mut String::new(), cx);
                }),
                Some(LayerSpecifier::AdminLayer(_)) => {
                    admin_layers += 1;
                    if admin_layers > 1 {
                        cx.error_at("admin_layer", "at most one admin layer may be given");
                    }
                }
                Some(LayerSpecifier::DiskLayer(_)) => {
                    cx.error_at("disk_layer", "not supported yet");
                }
                Some(LayerSpecifier::RtdsLayer(_)) => {
                    cx.error_at("rtds_layer", "not supported yet");
                }
                None => {
                    cx.error("static_layer, disk_layer, admin_layer or rtds_layer is needed here");
                }
            }
        });
    }
}

/// Visits every key, written with dots as Envoy's runtime does: nested
/// structs and dotted names mean the same. A struct with a `numerator` is a
/// value, not a folder.
fn check_values(values: &Struct, prefix: &mut String, cx: &mut Cx<'_>) {
    let mut fields: Vec<_> = values.fields.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    for (name, value) in fields {
        let length = prefix.len();
        if !prefix.is_empty() {
            prefix.push('.');
        }
        prefix.push_str(name);
        match &value.kind {
            Some(Kind::StructValue(inner)) if !inner.fields.contains_key("numerator") => {
                check_values(inner, prefix, cx);
            }
            _ => check_key(prefix, cx),
        }
        prefix.truncate(length);
    }
}

fn check_key(key: &str, cx: &mut Cx<'_>) {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if begins(WITH_EFFECT) && !begins(WITHOUT_EFFECT) {
        cx.error(format!("runtime key {key}: not supported yet"));
    } else {
        cx.warn(format!("runtime key {key}: nothing reads it yet"));
    }
}

/// Keys that Envoy itself reads and that change what it does.
const WITH_EFFECT: &[&str] = &[
    "circuit_breakers.",
    "envoy.resource_limits.",
    "health_check.",
    "http.",
    "http_connection_manager.",
    "overload.",
    "upstream.",
];

/// Of those, keys about protocols that are not spoken yet.
const WITHOUT_EFFECT: &[&str] = &["overload.premature_reset_"];
