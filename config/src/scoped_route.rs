//! Scoped routes: the choice between several route configurations by a key
//! that is made of the request's headers.
//!
//! [`lower`] compiles
//! `envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes`
//! with its inline list of `envoy.config.route.v3.ScopedRouteConfiguration`.
//! [`Scopes::find`] is what a request pays: one look-up for each fragment of
//! its key, without an allocation.

mod header_value_extractor;

use self::header_value_extractor::HeaderValueExtractor;
use crate::context::{Cx, Source};
use crate::route::{self, RouteConfiguration};
use envoy_types::pb::envoy::config::route::v3 as route_pb;
use envoy_types::pb::envoy::config::route::v3::scoped_route_configuration::key::fragment::Type as KeyType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::scoped_routes::ConfigSpecifier;
use pb::scoped_routes::scope_key_builder::fragment_builder::Type as BuilderType;
use ringway_codecs::header::HeaderMap;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// A compiled `ScopedRoutes`.
#[derive(Debug)]
pub struct ScopedRoutes {
    /// How a request gets to its scope.
    pub scopes: Scopes,
    /// The route configurations by the number of their scope.
    pub configurations: Vec<RouteConfiguration>,
}

/// The scopes by their keys.
#[derive(Debug)]
pub struct Scopes {
    builder: Box<[HeaderValueExtractor]>,
    keys: Level,
    list: Box<[Scope]>,
}

/// A scope: `ScopedRouteConfiguration` without its routes.
#[derive(Debug)]
pub struct Scope {
    /// The name; no two scopes of a connection manager have the same.
    pub name: Arc<str>,
    /// Where it was configured.
    pub source: Source,
}

/// What the values of one fragment lead to. The map's own hash function, which
/// is seeded at random, because clients choose what is looked up.
type Level = HashMap<Box<[u8]>, Next>;

#[derive(Debug)]
enum Next {
    /// The key is complete: the number of its scope.
    Scope(u32),
    /// The next fragment decides.
    Fragments(Level),
}

impl Scopes {
    /// The number of the scope of a request with these headers. It has none
    /// when a fragment of its key is missing or no scope has that key.
    pub fn find(&self, headers: &HeaderMap) -> Option<u32> {
        let mut level = &self.keys;
        for extractor in &self.builder {
            match level.get(extractor.value(headers)?)? {
                Next::Scope(number) => return Some(*number),
                Next::Fragments(next) => level = next,
            }
        }
        None
    }

    /// The fragments of the key of a request with these headers, as far as it
    /// has them.
    pub fn key<'h>(&self, headers: &'h HeaderMap) -> Vec<Option<&'h [u8]>> {
        let extractors = self.builder.iter();
        extractors.map(|one| one.value(headers)).collect()
    }

    /// The scopes by number.
    pub fn list(&self) -> &[Scope] {
        &self.list
    }
}

/// Compiles scoped routes with all their route configurations, or reports why
/// not.
pub fn lower(message: &pb::ScopedRoutes, cx: &mut Cx<'_>) -> Option<ScopedRoutes> {
    if message.rds_config_source.is_some() {
        cx.error_at("rds_config_source", "not supported yet");
    }
    let builder = cx.field("scope_key_builder", |cx| lower_builder(message, cx));
    let messages = match &message.config_specifier {
        Some(ConfigSpecifier::ScopedRouteConfigurationsList(list)) => {
            &list.scoped_route_configurations
        }
        Some(ConfigSpecifier::ScopedRds(_)) => {
            cx.error_at("scoped_rds", "not supported yet");
            return None;
        }
        None => {
            cx.error("a scoped_route_configurations_list is needed here");
            return None;
        }
    };
    let builder = builder?;
    cx.field("scoped_route_configurations_list", |cx| {
        lower_list(messages, builder, cx)
    })
}

fn lower_builder(
    message: &pb::ScopedRoutes,
    cx: &mut Cx<'_>,
) -> Option<Box<[HeaderValueExtractor]>> {
    let fragments = match &message.scope_key_builder {
        Some(builder) if !builder.fragments.is_empty() => &builder.fragments,
        _ => {
            cx.error("a key needs at least one fragment");
            return None;
        }
    };
    let mut builder = Vec::with_capacity(fragments.len());
    for (i, fragment) in fragments.iter().enumerate() {
        builder.push(cx.index("fragments", i, |cx| match &fragment.r#type {
            Some(BuilderType::HeaderValueExtractor(extractor)) => {
                cx.field("header_value_extractor", |cx| {
                    HeaderValueExtractor::lower(extractor, cx)
                })
            }
            None => {
                cx.error("a header_value_extractor is needed here");
                None
            }
        }));
    }
    builder.into_iter().collect()
}

fn lower_list(
    messages: &[route_pb::ScopedRouteConfiguration],
    builder: Box<[HeaderValueExtractor]>,
    cx: &mut Cx<'_>,
) -> Option<ScopedRoutes> {
    if messages.is_empty() {
        cx.error_at("scoped_route_configurations", "at least one is needed");
        return None;
    }
    let mut keys = Level::new();
    let (mut list, mut configurations): (Vec<Scope>, Vec<_>) = (Vec::new(), Vec::new());
    let mut names = HashMap::new();
    for (i, message) in messages.iter().enumerate() {
        cx.index("scoped_route_configurations", i, |cx| {
            match names.entry(message.name.as_str()) {
                Entry::Occupied(first) => cx.error_at(
                    "name",
                    format!(
                        "duplicate scope {:?}, the first is at {}",
                        message.name,
                        first.get()
                    ),
                ),
                Entry::Vacant(place) => {
                    place.insert(cx.source());
                }
            }
            let key = cx.field("key", |cx| lower_key(message, cx));
            list.push(Scope {
                name: message.name.as_str().into(),
                source: cx.source(),
            });
            if let Some(key) = key {
                cx.field("key", |cx| insert(key, builder.len(), &mut keys, &list, cx));
            }
            configurations.push(lower_configuration(message, cx));
        });
    }
    Some(ScopedRoutes {
        scopes: Scopes {
            builder,
            keys,
            list: list.into(),
        },
        configurations: configurations.into_iter().collect::<Option<_>>()?,
    })
}

fn lower_configuration(
    message: &route_pb::ScopedRouteConfiguration,
    cx: &mut Cx<'_>,
) -> Option<RouteConfiguration> {
    if !message.route_configuration_name.is_empty() {
        let reason = "not supported yet: the routes must be in route_configuration";
        cx.error_at("route_configuration_name", reason);
    }
    let Some(configuration) = &message.route_configuration else {
        cx.error("a route_configuration is needed here");
        return None;
    };
    cx.field("route_configuration", |cx| route::lower(configuration, cx))
}

fn lower_key(
    message: &route_pb::ScopedRouteConfiguration,
    cx: &mut Cx<'_>,
) -> Option<Vec<Box<[u8]>>> {
    let fragments = match &message.key {
        Some(key) if !key.fragments.is_empty() => &key.fragments,
        _ => {
            cx.error("a key needs at least one fragment");
            return None;
        }
    };
    let mut key = Vec::with_capacity(fragments.len());
    for (i, fragment) in fragments.iter().enumerate() {
        key.push(cx.index("fragments", i, |cx| match &fragment.r#type {
            Some(KeyType::StringKey(value)) => Some(value.as_bytes().into()),
            None => {
                cx.error("a string_key is needed here");
                None
            }
        }));
    }
    key.into_iter().collect()
}

/// Makes `key` lead to the last scope of `list`.
///
/// Envoy takes a key that another scope has and then serves neither of them
/// reliably; here it is a mistake.
fn insert(
    key: Vec<Box<[u8]>>,
    builder_fragments: usize,
    keys: &mut Level,
    list: &[Scope],
    cx: &mut Cx<'_>,
) {
    if key.len() != builder_fragments {
        cx.warn(format!(
            "no request has this key: it has {} fragments, and scope_key_builder makes {}",
            key.len(),
            builder_fragments
        ));
        return;
    }
    let number = u32::try_from(list.len() - 1).expect("fewer than 2^32 scopes fit in memory");
    let mut level = keys;
    let mut rest = key.into_iter().peekable();
    while let Some(fragment) = rest.next() {
        let is_last = rest.peek().is_none();
        let next = match level.entry(fragment) {
            Entry::Vacant(place) if is_last => {
                place.insert(Next::Scope(number));
                return;
            }
            Entry::Vacant(place) => place.insert(Next::Fragments(Level::new())),
            Entry::Occupied(place) => place.into_mut(),
        };
        match next {
            Next::Fragments(next) => level = next,
            Next::Scope(first) => {
                let first = &list[*first as usize];
                return cx.error(format!(
                    "the scope {:?} has this key already, at {}",
                    first.name, first.source
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests;
