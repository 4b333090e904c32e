//! Lowering, from YAML to a text that shows every field, and the mistakes
//! with their places.

use super::*;
use crate::ClusterNames;
use crate::load::{Format, LoadOptions, load};
use crate::{Source, unpack};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hcm::http_connection_manager::RouteSpecifier;
use std::fmt::Write;

const HEAD: &str = r#"static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          route_config:
"#;

const PATH: &str =
    "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config";

/// Lowers a route configuration in a file called `routes.yaml`, whose lines
/// come after those of [`HEAD`], indented. Gives the findings without their
/// common path.
pub(super) fn lower_yaml(
    routes: &str,
    describe: impl Fn(&RouteConfiguration, &ClusterNames) -> String,
) -> String {
    let indented: Vec<_> = routes
        .lines()
        .map(|line| format!("            {line}"))
        .collect();
    let text = format!("{HEAD}{}\n", indented.join("\n"));
    let loaded = match load(&text, "routes.yaml", Format::Yaml, &LoadOptions::default()) {
        Ok(loaded) => loaded,
        Err(found) => return found.to_string(),
    };
    let listener = &loaded
        .bootstrap
        .static_resources
        .as_ref()
        .unwrap()
        .listeners[0];
    let Some(ConfigType::TypedConfig(any)) = &listener.filter_chains[0].filters[0].config_type
    else {
        panic!("the connection manager has a typed_config");
    };
    let names = Names::default();
    let mut found = Diagnostics::new();
    let mut cx = Cx::new(&mut found, &loaded.marks, None, &names);
    let routes = cx.at(PATH, |cx| {
        let manager = unpack::<hcm::HttpConnectionManager>(any, cx).unwrap();
        let Some(RouteSpecifier::RouteConfig(routes)) = &manager.route_specifier else {
            panic!("the connection manager has a route_config");
        };
        lower(routes, cx)
    });
    let mut text = match &routes {
        Some(routes) => describe(routes, &names.clusters),
        None => String::new(),
    };
    if !found.is_empty() {
        writeln!(
            text,
            "{}",
            found.to_string().replace(&format!("{PATH}."), "")
        )
        .unwrap();
    }
    text
}

#[test]
fn every_field() {
    let text = lower_yaml(include_str!("../golden/every_field.yaml"), describe);
    assert_eq!(text, include_str!("../golden/every_field.txt"), "{text}");
}

#[test]
fn every_mistake() {
    let text = lower_yaml(include_str!("../golden/every_mistake.yaml"), describe);
    assert_eq!(text, include_str!("../golden/every_mistake.txt"), "{text}");
}

#[test]
fn a_name_that_is_there_twice_is_told_with_both_places() {
    let host = |name: &str, domain: &str| format!("{{name: {name}, domains: [{domain}]}}");
    let hosts = [host("a", "a.com"), host("b", "b.com"), host("a", "c.com")];
    let text = format!("virtual_hosts: [{}]", hosts.join(", "));
    let found = lower_yaml(&text, |routes, _| {
        format!("{} hosts\n", routes.virtual_hosts().len())
    });
    // A warning: Envoy takes it.
    assert!(found.starts_with("3 hosts\n"), "{found}");
    let reason =
        "virtual_hosts[2].name: \"a\" is the name of virtual_hosts[0] too (routes.yaml:11:";
    assert!(found.contains(reason), "{found}");
    assert_eq!(found.matches("is the name of").count(), 1, "{found}");
}

#[test]
fn bodies_are_limited() {
    let body = |bytes: usize, limit: &str| {
        let body = "x".repeat(bytes);
        format!(
            "{limit}\nvirtual_hosts: [{{name: v, domains: ['*'], routes: [{{match: {{prefix: /}}, \
             direct_response: {{status: 200, body: {{inline_string: {body}}}}}}}]}}]"
        )
    };
    let none = |_: &RouteConfiguration, _: &ClusterNames| String::new();
    assert_eq!(lower_yaml(&body(4096, ""), none), "");
    let limit = "max_direct_response_body_size_bytes: 4097";
    assert_eq!(lower_yaml(&body(4097, limit), none), "");
    let found = lower_yaml(&body(4097, ""), none);
    assert!(
        found.contains("the body has 4097 bytes; at most 4096 are allowed"),
        "{found}"
    );
    let file = body(0, "").replace("inline_string: ", "filename: /dev/zero");
    let found = lower_yaml(&file, none);
    assert!(
        found.contains("\"/dev/zero\" is larger than the 4096 bytes that are allowed"),
        "{found}"
    );
}

fn describe(routes: &RouteConfiguration, clusters: &ClusterNames) -> String {
    let mut out = String::new();
    writeln!(out, "{}", routes.name()).unwrap();
    if routes.ignore_port_in_host_matching {
        writeln!(out, "ignore_port_in_host_matching").unwrap();
    }
    let header = match &routes.vhost_header {
        HeaderKey::Known(id) => format!("{id:?}"),
        HeaderKey::Other(name) => name.escape_ascii().to_string(),
    };
    writeln!(out, "virtual host by {header}").unwrap();
    for name in routes.internal_only_headers() {
        writeln!(out, "internal only: {}", name.escape_ascii()).unwrap();
    }
    writeln!(out, "validate_clusters: {:?}", routes.validate_clusters()).unwrap();
    for host in routes.virtual_hosts() {
        writeln!(out, "virtual host {}", host.name).unwrap();
        for route in &host.routes {
            describe_route(route, clusters, &mut out);
        }
    }
    write!(out, "clusters:").unwrap();
    for ClusterReference { cluster, source } in routes.cluster_references() {
        let Source { file, position, .. } = source;
        let (file, position) = (file.as_ref().unwrap(), position.unwrap());
        write!(out, " {} at {file}:{position}", clusters.name(*cluster)).unwrap();
    }
    out.push('\n');
    out
}

/// The one cluster that a route names.
fn cluster(specifier: &ClusterSpecifier, clusters: &ClusterNames) -> String {
    match specifier {
        ClusterSpecifier::Fixed(cluster) => clusters.name(*cluster).to_string(),
        other => format!("{other:?}"),
    }
}

fn describe_route(route: &Route, clusters: &ClusterNames, out: &mut String) {
    let text = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
    let path = match &route.matcher.path {
        PathMatcher::Prefix(path, case) => format!("Prefix({}, {case:?})", text(path)),
        PathMatcher::Exact(path, case) => format!("Exact({}, {case:?})", text(path)),
        PathMatcher::SeparatedPrefix(path, case) => {
            format!("SeparatedPrefix({}, {case:?})", text(path))
        }
        PathMatcher::Connect => "Connect".to_owned(),
        PathMatcher::Regex(regex) => format!("Regex({:?})", regex.pattern()),
        PathMatcher::Template(template) => format!("Template({:?})", template.text()),
    };
    write!(out, "  {:?} {path}", route.name).unwrap();
    if !route.matcher.headers.is_empty() {
        write!(out, " + {} headers", route.matcher.headers.len()).unwrap();
    }
    if !route.matcher.query_parameters.is_empty() {
        write!(
            out,
            " + {} query parameters",
            route.matcher.query_parameters.len()
        )
        .unwrap();
    }
    if let Some(fraction) = &route.matcher.fraction {
        write!(out, " + {:?}", fraction.default).unwrap();
    }
    if route.matcher.grpc {
        write!(out, " + grpc").unwrap();
    }
    if !route.matcher.cookies.is_empty() {
        write!(out, " + {} cookies", route.matcher.cookies.len()).unwrap();
    }
    let TlsContextMatcher {
        presented,
        validated,
    } = route.matcher.tls_context;
    if presented.is_some() || validated.is_some() {
        write!(out, " + certificate {presented:?} {validated:?}").unwrap();
    }
    out.push('\n');
    let rewrite = |rewrite: &PathRewrite| match rewrite {
        PathRewrite::Prefix {
            matched,
            replacement,
            ..
        } => {
            format!(
                "    path: {} becomes {}\n",
                text(matched),
                text(replacement)
            )
        }
        PathRewrite::Whole(replacement) => format!("    path: all becomes {}\n", text(replacement)),
        PathRewrite::Regex(_) => "    path: by regex\n".to_owned(),
        PathRewrite::Format(id) => format!("    path: {id:?}\n"),
        PathRewrite::Template(_) => "    path: by template\n".to_owned(),
    };
    match &route.action {
        Action::Forward(forward) => {
            writeln!(
                out,
                "    forward {}, {} if not found, timeout {:?}, idle {:?}, stream {:?}, {:?}",
                cluster(&forward.cluster, clusters),
                forward.cluster_not_found_status,
                forward.timeout,
                forward.idle_timeout,
                forward.max_stream_duration,
                forward.priority,
            )
            .unwrap();
            out.extend(forward.path_rewrite.as_ref().map(rewrite));
            if let Some(host) = &forward.host_rewrite {
                let list = if forward.append_x_forwarded_host {
                    ", x-forwarded-host"
                } else {
                    ""
                };
                let host = match host {
                    HostRewrite::Literal(host) => text(host),
                    other => format!("{other:?}"),
                };
                writeln!(out, "    host: {host}{list}").unwrap();
            }
        }
        Action::DirectResponse(DirectResponse { status, body }) => {
            let body = match body {
                Body::Bytes(bytes) => text(bytes),
                Body::Recipe(id) => format!("{id:?}"),
            };
            writeln!(out, "    direct {status} {body}").unwrap();
        }
        Action::NonForwarding => out.push_str("    not forwarded\n"),
        Action::Redirect(redirect) => {
            let scheme = match &redirect.scheme {
                SchemeRedirect::To(scheme) => format!("To({})", text(scheme)),
                other => format!("{other:?}"),
            };
            let host = match &redirect.host {
                Some(host) => format!("Some({})", text(host)),
                None => "None".to_owned(),
            };
            writeln!(
                out,
                "    redirect {} {scheme} {host} {:?} strip {}",
                redirect.status, redirect.port, redirect.strip_query
            )
            .unwrap();
            match &redirect.path {
                PathRedirect::Keep => {}
                PathRedirect::To(path) => writeln!(out, "    path: {}", text(path)).unwrap(),
                PathRedirect::Rewrite(to) => out.push_str(&rewrite(to)),
                PathRedirect::Format(id) => writeln!(out, "    path: {id:?}").unwrap(),
            }
        }
    }
}
