//! Scopes from the text of a file to the scope that a request gets.

use super::*;
use crate::diagnostics::{Diagnostics, Marks};
use crate::names::Names;
use builder_pb::header_value_extractor::ExtractType;
use pb::scoped_routes::ScopeKeyBuilder;
use pb::scoped_routes::scope_key_builder::FragmentBuilder;
use pb::scoped_routes::scope_key_builder::fragment_builder as builder_pb;
use route_pb::scoped_route_configuration::{Key, key};

fn extractor(header: &str) -> FragmentBuilder {
    let message = builder_pb::HeaderValueExtractor {
        name: header.into(),
        element_separator: String::new(),
        extract_type: Some(ExtractType::Index(0)),
    };
    FragmentBuilder {
        r#type: Some(BuilderType::HeaderValueExtractor(message)),
    }
}

fn scope(name: &str, key: &[&str]) -> route_pb::ScopedRouteConfiguration {
    let fragment = |value: &&str| key::Fragment {
        r#type: Some(KeyType::StringKey((*value).into())),
    };
    route_pb::ScopedRouteConfiguration {
        name: name.into(),
        key: Some(Key {
            fragments: key.iter().map(fragment).collect(),
        }),
        route_configuration: Some(route_pb::RouteConfiguration {
            name: name.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn message(headers: &[&str], scopes: Vec<route_pb::ScopedRouteConfiguration>) -> pb::ScopedRoutes {
    pb::ScopedRoutes {
        name: "scopes".into(),
        scope_key_builder: Some(ScopeKeyBuilder {
            fragments: headers.iter().map(|header| extractor(header)).collect(),
        }),
        rds_config_source: None,
        config_specifier: Some(ConfigSpecifier::ScopedRouteConfigurationsList(
            pb::ScopedRouteConfigurationsList {
                scoped_route_configurations: scopes,
            },
        )),
    }
}

/// Lowers a message; the findings one a line.
fn lowered(message: &pb::ScopedRoutes) -> (Option<ScopedRoutes>, String) {
    let mut diagnostics = Diagnostics::new();
    let marks = Marks::default();
    let names = Names::default();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
    let scoped = cx.field("scoped_routes", |cx| lower(message, cx));
    let found: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    (scoped, found.join("\n"))
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append_name(name.as_bytes(), value.as_bytes());
    }
    headers
}

#[test]
fn every_fragment_decides() {
    let scopes = vec![
        scope("ab", &["a", "b"]),
        scope("ac", &["a", "c"]),
        scope("ba", &["b", "a"]),
        scope("empty", &["", ""]),
    ];
    let (scoped, found) = lowered(&message(&["x-1", "x-2"], scopes));
    assert_eq!(found, "");
    let scoped = scoped.unwrap();
    for (lines, expected) in [
        (&[("x-1", "a"), ("x-2", "b")][..], Some("ab")),
        (&[("x-2", "c"), ("x-1", "a")], Some("ac")),
        (&[("x-1", "b"), ("x-2", "a")], Some("ba")),
        (&[("x-1", ""), ("x-2", "")], Some("empty")),
        (&[("x-1", "b"), ("x-2", "b")], None),
        (&[("x-1", "A"), ("x-2", "b")], None),
        (&[("x-1", "a")], None),
        (&[("x-2", "b")], None),
        (&[], None),
    ] {
        let number = scoped.scopes.find(&headers(lines));
        let name = number.map(|number| &*scoped.scopes.list()[number as usize].name);
        assert_eq!(name, expected, "{lines:?}");
        let configuration = number.map(|number| &**scoped.configurations[number as usize].name());
        assert_eq!(configuration, expected, "{lines:?}");
    }
    let partly = headers(&[("x-2", "b")]);
    assert_eq!(scoped.scopes.key(&partly), [None, Some(&b"b"[..])]);
}

#[test]
fn keys_that_no_request_has_are_warned_of() {
    let scopes = vec![scope("a", &["a"]), scope("long", &["a", "b"])];
    let (scoped, found) = lowered(&message(&["x-1"], scopes));
    assert!(
        found.contains(
            "scoped_route_configurations[1].key: no request has this key: it has 2 fragments"
        ),
        "{found}"
    );
    let found = scoped.unwrap().scopes.find(&headers(&[("x-1", "a")]));
    assert_eq!(found, Some(0));
}

#[test]
fn mistakes() {
    const LIST: &str = "scoped_routes.scoped_route_configurations_list";
    let one = || vec![scope("a", &["a"])];
    let change = |change: fn(&mut pb::ScopedRoutes)| {
        let mut message = message(&["x-1"], one());
        change(&mut message);
        message
    };
    let change_scope = |change: fn(&mut route_pb::ScopedRouteConfiguration)| {
        let mut scopes = one();
        change(&mut scopes[0]);
        message(&["x-1"], scopes)
    };
    let list = |field: &str| format!("{LIST}.scoped_route_configurations{field}");
    for (message, expected) in [
        (
            message(&["x-1"], vec![scope("a", &["a"]), scope("a", &["b"])]),
            list("[1].name: duplicate scope \"a\", the first is at scoped_routes."),
        ),
        (
            message(&["x-1"], vec![scope("a", &["a"]), scope("b", &["a"])]),
            list("[1].key: the scope \"a\" has this key already, at scoped_routes."),
        ),
        (
            message(
                &["1", "2"],
                vec![scope("a", &["a", "b"]), scope("b", &["a", "b"])],
            ),
            list("[1].key: the scope \"a\" has this key already, at scoped_routes."),
        ),
        (
            change_scope(|scope| scope.route_configuration = None),
            list("[0]: a route_configuration is needed here"),
        ),
        (
            change_scope(|scope| scope.route_configuration_name = "r".into()),
            list("[0].route_configuration_name: not supported yet"),
        ),
        (
            change_scope(|scope| scope.key = None),
            list("[0].key: a key needs at least one fragment"),
        ),
        (
            message(&["x-1"], Vec::new()),
            list(": at least one is needed"),
        ),
        (
            message(&[], one()),
            "scoped_routes.scope_key_builder: a key needs at least one fragment".into(),
        ),
        (
            change(|message| message.config_specifier = None),
            "scoped_routes: a scoped_route_configurations_list is needed here".into(),
        ),
        (
            change(|message| {
                let rds = ConfigSpecifier::ScopedRds(pb::ScopedRds::default());
                message.config_specifier = Some(rds);
            }),
            "scoped_routes.scoped_rds: not supported yet".into(),
        ),
        (
            change(|message| message.rds_config_source = Some(Default::default())),
            "scoped_routes.rds_config_source: not supported yet".into(),
        ),
        (
            change(|message| {
                let fragments = &mut message.scope_key_builder.as_mut().unwrap().fragments;
                let Some(BuilderType::HeaderValueExtractor(extractor)) = &mut fragments[0].r#type
                else {
                    unreachable!("it was made above");
                };
                extractor.extract_type = Some(ExtractType::Index(1));
            }),
            "scoped_routes.scope_key_builder.fragments[0].header_value_extractor.index: must be 0"
                .into(),
        ),
    ] {
        let found = lowered(&message).1;
        assert!(found.contains(&expected), "{expected}\n{found}");
    }
}
