//! `/config_dump`: the configuration in use, and parts of it.
//!
//! `resource` picks one repeated field of a section, `mask` keeps some fields,
//! `name_regex` keeps the resources whose name matches. They work on proto JSON;
//! what a mask may name is decided by the descriptors of the messages.

use hyper::StatusCode;
use regex::Regex;
use ringway_config::{field_mask, type_name};
use serde_json::{Map, Value, json};

use super::endpoint::{Endpoint, Process};
use super::reply::{PLAIN, Reply};
use super::request::Query;
use super::stats::parse_regex;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/config_dump",
    mutates: false,
    help: "print the configuration in use",
    params: &[
        (
            "resource",
            "only this repeated field, such as static_clusters",
        ),
        (
            "mask",
            "only these fields (a FieldMask); with resource, of each of its elements",
        ),
        (
            "name_regex",
            "only resources whose name matches this regular expression",
        ),
        ("include_eds", "endpoints too"),
    ],
    handle,
};

fn handle(process: &Process, query: &Query) -> Reply {
    match select(process.view.config_dump(query.has("include_eds")), query) {
        Ok(dump) => Reply::json(&dump),
        Err((status, reason)) => Reply {
            content_type: PLAIN,
            ..Reply::error(status, reason)
        },
    }
}

type Refusal = (StatusCode, String);

fn select(dump: Value, query: &Query) -> Result<Value, Refusal> {
    let name_regex = match query.non_empty("name_regex") {
        Some(pattern) => Some(parse_regex(pattern).map_err(|reason| {
            let reason = format!(
                "INVALID_ARGUMENT: Error while parsing name_regex from {pattern}: {reason}"
            );
            (StatusCode::BAD_REQUEST, reason)
        })?),
        None => None,
    };
    let mut sections = match dump {
        Value::Object(mut dump) => match dump.remove("configs") {
            Some(Value::Array(sections)) => sections,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    if let Some(regex) = &name_regex {
        sections
            .iter_mut()
            .for_each(|section| keep_named(section, regex));
    }
    // A mask without paths masks nothing.
    let mask = (query.non_empty("mask")).filter(|mask| mask.contains(|byte| byte != ','));
    let configs = match (query.non_empty("resource"), mask) {
        (Some(resource), mask) => elements(sections, resource, mask)?,
        (None, Some(mask)) => masked_sections(&sections, mask)?,
        (None, None) => sections,
    };
    Ok(match configs.is_empty() {
        true => json!({}),
        false => json!({ "configs": configs }),
    })
}

/// The sections of `envoy.admin.v3.ConfigDump`: message, and its repeated fields
/// with the message of an element.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    ("BootstrapConfigDump", &[]),
    (
        "ClustersConfigDump",
        &[
            ("static_clusters", "StaticCluster"),
            ("dynamic_active_clusters", "DynamicCluster"),
            ("dynamic_warming_clusters", "DynamicCluster"),
        ],
    ),
    (
        "ListenersConfigDump",
        &[
            ("static_listeners", "StaticListener"),
            ("dynamic_listeners", "DynamicListener"),
        ],
    ),
    (
        "RoutesConfigDump",
        &[
            ("static_route_configs", "StaticRouteConfig"),
            ("dynamic_route_configs", "DynamicRouteConfig"),
        ],
    ),
    (
        "ScopedRoutesConfigDump",
        &[
            ("inline_scoped_route_configs", "InlineScopedRouteConfigs"),
            ("dynamic_scoped_route_configs", "DynamicScopedRouteConfigs"),
        ],
    ),
    (
        "EndpointsConfigDump",
        &[
            ("static_endpoint_configs", "StaticEndpointConfig"),
            ("dynamic_endpoint_configs", "DynamicEndpointConfig"),
        ],
    ),
    (
        "SecretsConfigDump",
        &[
            ("static_secrets", "StaticSecret"),
            ("dynamic_active_secrets", "DynamicSecret"),
            ("dynamic_warming_secrets", "DynamicSecret"),
        ],
    ),
    ("EcdsConfigDump", &[("ecds_filters", "EcdsFilterConfig")]),
];

/// Fields of sections that are not repeated.
const SINGLE_FIELDS: &[&str] = &["bootstrap", "version_info", "last_updated"];

/// The message's short name and the repeated fields of a section.
fn section_of(
    section: &Value,
) -> Option<&'static (&'static str, &'static [(&'static str, &'static str)])> {
    let full = section.get("@type")?.as_str()?;
    let short = full.rsplit('.').next()?;
    SECTIONS.iter().find(|(message, _)| *message == short)
}

fn elements(
    sections: Vec<Value>,
    resource: &str,
    mask: Option<&str>,
) -> Result<Vec<Value>, Refusal> {
    for mut section in sections {
        let Some((message, repeated)) = section_of(&section) else {
            continue;
        };
        if let Some((field, element)) = repeated.iter().find(|(field, _)| *field == resource) {
            let found = match section.get_mut(*field).map(Value::take) {
                Some(Value::Array(found)) => found,
                _ => Vec::new(),
            };
            let type_url = format!("type.googleapis.com/envoy.admin.v3.{message}.{element}");
            return (found.into_iter())
                .map(|element| typed(element, &type_url, mask))
                .collect();
        }
        if SINGLE_FIELDS.contains(&resource) && section.get(resource).is_some() {
            let reason = format!(
                "{resource} is not a repeated field. Use ?mask={resource} to get only this field"
            );
            return Err((StatusCode::BAD_REQUEST, reason));
        }
    }
    Err((
        StatusCode::NOT_FOUND,
        format!("{resource} not found in config dump"),
    ))
}

fn typed(element: Value, type_url: &str, mask: Option<&str>) -> Result<Value, Refusal> {
    let mut typed = Map::new();
    typed.insert("@type".into(), type_url.into());
    if let Value::Object(fields) = element {
        typed.extend(fields);
    }
    let typed = Value::from(typed);
    let Some(mask) = mask else { return Ok(typed) };
    let paths = paths(mask);
    match paths.iter().all(|path| names_a_field(&typed, path)) {
        true => Ok(masked(&typed, &paths)),
        false => {
            let reason = format!("FieldMask {mask} could not be successfully used.");
            Err((StatusCode::BAD_REQUEST, reason))
        }
    }
}

/// Whether a path names a field of an element. Its resource is an `Any`, and
/// what the path names in it is a matter of the resource's own message.
fn names_a_field(element: &Value, path: &[&str]) -> bool {
    let message = message_name(element);
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if !field_mask::is_any(message, first) {
        return field_mask::names_a_field(message, path);
    }
    match element.get(*first) {
        Some(resource) => field_mask::names_a_field(message_name(resource), rest),
        None => true,
    }
}

/// The full name of the message of a value that tells its type.
fn message_name(value: &Value) -> &str {
    let type_url = value.get("@type").and_then(Value::as_str);
    type_url.map_or("", type_name)
}

/// The sections to which every path of the mask applies.
fn masked_sections(sections: &[Value], mask: &str) -> Result<Vec<Value>, Refusal> {
    let paths = paths(mask);
    let configs: Vec<Value> = (sections.iter())
        .filter(|section| {
            let message = message_name(section);
            (paths.iter()).all(|path| field_mask::names_a_field(message, path))
        })
        .map(|section| masked(section, &paths))
        .collect();
    if configs.is_empty() {
        let reason = format!("FieldMask {mask} could not be successfully applied to any configs.");
        return Err((StatusCode::BAD_REQUEST, reason));
    }
    Ok(configs)
}

fn paths(mask: &str) -> Vec<Vec<&str>> {
    (mask.split(','))
        .filter(|path| !path.is_empty())
        .map(|path| path.split('.').collect())
        .collect()
}

/// Keeps what the paths name, and the types of what is kept.
fn masked(value: &Value, paths: &[Vec<&str>]) -> Value {
    let Value::Object(fields) = value else {
        return value.clone();
    };
    let mut kept = Map::new();
    for (name, field) in fields {
        if name == "@type" {
            kept.insert(name.clone(), field.clone());
            continue;
        }
        let below: Vec<Vec<&str>> = (paths.iter())
            .filter(|path| path.first() == Some(&name.as_str()))
            .map(|path| path[1..].to_vec())
            .collect();
        if below.iter().any(Vec::is_empty) {
            kept.insert(name.clone(), field.clone());
        } else if !below.is_empty() && field.is_object() {
            kept.insert(name.clone(), masked(field, &below));
        }
    }
    kept.into()
}

/// Drops the resources of a section whose name does not match.
fn keep_named(section: &mut Value, regex: &Regex) {
    let Some((_, repeated)) = section_of(section) else {
        return;
    };
    for (field, _) in *repeated {
        let Some(Value::Array(elements)) = section.get_mut(field) else {
            continue;
        };
        elements.retain(|element| {
            resource_name(element).is_some_and(|name| matches_whole(regex, name))
        });
        if elements.is_empty()
            && let Value::Object(fields) = section
        {
            fields.remove(*field);
        }
    }
}

fn matches_whole(regex: &Regex, name: &str) -> bool {
    regex.find(name).is_some_and(|found| found.as_str() == name)
}

fn resource_name(element: &Value) -> Option<&str> {
    let name = |value: &'_ Value| value.get("name").is_some();
    if name(element) {
        return element.get("name")?.as_str();
    }
    let Value::Object(fields) = element else {
        return None;
    };
    fields
        .values()
        .find_map(|field| (field.get("name").or_else(|| field.get("cluster_name")))?.as_str())
}

#[cfg(test)]
mod tests;
