//! `envoy.config.route.v3.RouteConfiguration` to [`RouteConfiguration`].
//!
//! Everything that is wrong is reported; the result is `None` when a part
//! could not be compiled.

use super::action::{Action, Forward, PathRedirect, Priority, Redirect, SchemeRedirect};
use super::domains::{DomainIndex, Duplicate};
use super::regex::Substitution;
use super::string_match::Case;
use super::{
    ClusterReference, HeaderMatcher, PathMatcher, PathRewrite, QueryParameterMatcher, Route,
    RouteConfiguration, VirtualHost,
};
use crate::clusters::ClusterId;
use crate::context::{Cx, Source};
use envoy_types::pb::envoy::config::core::v3::{DataSource, RoutingPriority, data_source};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::google::protobuf::Duration as ProtoDuration;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

/// `RouteAction.timeout` when it is not set.
const ROUTE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

/// `RouteConfiguration.max_direct_response_body_size_bytes` when it is not
/// set. Bodies live in memory for as long as the configuration.
const DIRECT_RESPONSE_BODY_BYTES_MAX_DEFAULT: u32 = 4096;

/// Compiles a route configuration.
pub fn lower(message: &proto::RouteConfiguration, cx: &mut Cx<'_>) -> Option<RouteConfiguration> {
    let mut lowering = Lowering {
        body_bytes_max: message
            .max_direct_response_body_size_bytes
            .as_ref()
            .map_or(DIRECT_RESPONSE_BODY_BYTES_MAX_DEFAULT, |max| max.value),
        cluster_references: Vec::new(),
    };
    let domains = domain_index(message, cx);
    let virtual_hosts = all(&message.virtual_hosts, "virtual_hosts", cx, |host, cx| {
        lowering.virtual_host(host, cx)
    });
    Some(RouteConfiguration {
        name: message.name.as_str().into(),
        virtual_hosts: virtual_hosts?,
        domains: domains?,
        ignore_port_in_host_matching: message.ignore_port_in_host_matching,
        internal_only_headers: message
            .internal_only_headers
            .iter()
            .map(|name| name.to_ascii_lowercase().into_bytes().into())
            .collect(),
        cluster_references: lowering.cluster_references.into(),
        validate_clusters: message.validate_clusters.as_ref().map(|flag| flag.value),
    })
}

/// The domains of all virtual hosts. A domain may occur once.
fn domain_index(message: &proto::RouteConfiguration, cx: &mut Cx<'_>) -> Option<DomainIndex> {
    let mut index = DomainIndex::default();
    let mut first_places: HashMap<String, Source> = HashMap::new();
    let mut unique = true;
    for (i, host) in message.virtual_hosts.iter().enumerate() {
        let number = u32::try_from(i).expect("fewer than 2^32 virtual hosts fit in memory");
        cx.index("virtual_hosts", i, |cx| {
            for (j, domain) in host.domains.iter().enumerate() {
                cx.index("domains", j, |cx| {
                    let key = domain.to_ascii_lowercase();
                    if index.insert(domain, number) == Err(Duplicate) {
                        unique = false;
                        let first = &first_places[&key];
                        cx.error(format!(
                            "domain {domain:?} belongs to {} already ({first})",
                            first.path
                        ));
                    } else {
                        first_places.insert(key, cx.source());
                    }
                });
            }
        });
    }
    unique.then_some(index)
}

struct Lowering {
    body_bytes_max: u32,
    cluster_references: Vec<ClusterReference>,
}

impl Lowering {
    fn virtual_host(
        &mut self,
        message: &proto::VirtualHost,
        cx: &mut Cx<'_>,
    ) -> Option<VirtualHost> {
        let routes = all(&message.routes, "routes", cx, |route, cx| {
            self.route(route, cx)
        })?;
        Some(VirtualHost {
            name: message.name.as_str().into(),
            routes,
        })
    }

    fn route(&mut self, message: &proto::Route, cx: &mut Cx<'_>) -> Option<Route> {
        let Some(route_match) = &message.r#match else {
            cx.error_at("match", "is required");
            return None;
        };
        let (path, headers, query_parameters) = cx.field("match", |cx| {
            (
                PathMatcher::lower(route_match, cx),
                all(&route_match.headers, "headers", cx, HeaderMatcher::lower),
                all(
                    &route_match.query_parameters,
                    "query_parameters",
                    cx,
                    QueryParameterMatcher::lower,
                ),
            )
        });
        // The action is looked at even when the match is wrong, so that its
        // mistakes show in the same run; this path is then never used.
        let any_path = PathMatcher::Prefix(Box::default(), Case::Sensitive);
        let action = self.action(message, path.as_ref().unwrap_or(&any_path), cx);
        Some(Route {
            name: message.name.as_str().into(),
            headers: headers?,
            query_parameters: query_parameters?,
            action: action?,
            path: path?,
        })
    }

    fn action(
        &mut self,
        message: &proto::Route,
        path: &PathMatcher,
        cx: &mut Cx<'_>,
    ) -> Option<Action> {
        use proto::route::Action as ProtoAction;
        match &message.action {
            Some(ProtoAction::Route(action)) => cx
                .field("route", |cx| self.forward(action, path, cx))
                .map(Action::Forward),
            Some(ProtoAction::DirectResponse(action)) => {
                cx.field("direct_response", |cx| self.direct_response(action, cx))
            }
            Some(ProtoAction::Redirect(action)) => cx
                .field("redirect", |cx| redirect(action, path, cx))
                .map(Action::Redirect),
            Some(_) => {
                cx.error(
                    "this action is not supported yet; use route, direct_response or redirect",
                );
                None
            }
            None => {
                cx.error("one of route, direct_response or redirect is needed");
                None
            }
        }
    }

    fn forward(
        &mut self,
        message: &proto::RouteAction,
        path: &PathMatcher,
        cx: &mut Cx<'_>,
    ) -> Option<Forward> {
        let cluster = self.cluster(message, cx);
        let path_rewrite = forward_path_rewrite(message, path, cx);
        let host_rewrite = host_rewrite(message, cx);
        let timeout = duration(message.timeout.as_ref(), "timeout", cx);
        let idle_timeout = duration(message.idle_timeout.as_ref(), "idle_timeout", cx);
        let max_stream_duration = cx.field("max_stream_duration", |cx| {
            let limit = message.max_stream_duration.as_ref();
            duration(
                limit.and_then(|limit| limit.max_stream_duration.as_ref()),
                "max_stream_duration",
                cx,
            )
        });
        Some(Forward {
            cluster: cluster?,
            cluster_not_found_status: cluster_not_found_status(message),
            timeout: timeout?.unwrap_or(Some(ROUTE_TIMEOUT_DEFAULT)),
            idle_timeout: idle_timeout?,
            max_stream_duration: max_stream_duration?,
            priority: match message.priority() {
                RoutingPriority::Default => Priority::Default,
                RoutingPriority::High => Priority::High,
            },
            path_rewrite: path_rewrite?,
            host_rewrite: host_rewrite?,
            append_x_forwarded_host: message.append_x_forwarded_host,
        })
    }

    fn cluster(&mut self, message: &proto::RouteAction, cx: &mut Cx<'_>) -> Option<ClusterId> {
        use proto::route_action::ClusterSpecifier;
        match &message.cluster_specifier {
            Some(ClusterSpecifier::Cluster(name)) => cx.field("cluster", |cx| {
                let cluster = cx.clusters.id(name);
                self.cluster_references.push(ClusterReference {
                    cluster,
                    source: cx.source(),
                });
                Some(cluster)
            }),
            Some(_) => {
                cx.error("this way to name a cluster is not supported yet; use cluster");
                None
            }
            None => {
                cx.error_at("cluster", "is required");
                None
            }
        }
    }

    fn direct_response(
        &self,
        message: &proto::DirectResponseAction,
        cx: &mut Cx<'_>,
    ) -> Option<Action> {
        let status = match u16::try_from(message.status) {
            Ok(status @ 200..600) => Some(status),
            _ => {
                cx.error_at(
                    "status",
                    format!("{} is not a status from 200 to 599", message.status),
                );
                None
            }
        };
        let body = match &message.body {
            None => Some(None),
            Some(source) => cx.field("body", |cx| self.body(source, cx)).map(Some),
        };
        Some(Action::DirectResponse {
            status: status?,
            body: body?.filter(|body| !body.is_empty()),
        })
    }

    fn body(&self, source: &DataSource, cx: &mut Cx<'_>) -> Option<Arc<[u8]>> {
        use data_source::Specifier;
        let body: Arc<[u8]> = match &source.specifier {
            Some(Specifier::InlineString(text)) => text.as_bytes().into(),
            Some(Specifier::InlineBytes(bytes)) => bytes.as_slice().into(),
            Some(Specifier::Filename(name)) => match read_at_most(name, self.body_bytes_max) {
                Ok(Some(bytes)) => bytes.into(),
                Ok(None) => {
                    cx.error(format!(
                        "{name:?} is larger than the {} bytes that are allowed \
                         (max_direct_response_body_size_bytes of the route configuration)",
                        self.body_bytes_max
                    ));
                    return None;
                }
                Err(error) => {
                    cx.error_at("filename", format!("cannot read {name:?}: {error}"));
                    return None;
                }
            },
            Some(Specifier::EnvironmentVariable(_)) => {
                cx.error_at("environment_variable", "not supported yet");
                return None;
            }
            None => {
                cx.error("one of filename, inline_bytes or inline_string is needed");
                return None;
            }
        };
        if body.len() as u64 > u64::from(self.body_bytes_max) {
            cx.error(format!(
                "the body has {} bytes; at most {} are allowed \
                 (max_direct_response_body_size_bytes of the route configuration)",
                body.len(),
                self.body_bytes_max
            ));
            return None;
        }
        Some(body)
    }
}

/// The bytes of a file, or `None` when there are more than `max`: a device or
/// a log that was named by mistake must not fill the memory.
fn read_at_most(name: &str, max: u32) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut file = File::open(name)?.take(u64::from(max) + 1);
    file.read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= u64::from(max)).then_some(bytes))
}

fn cluster_not_found_status(message: &proto::RouteAction) -> u16 {
    use proto::route_action::ClusterNotFoundResponseCode as Code;
    match message.cluster_not_found_response_code() {
        Code::ServiceUnavailable => 503,
        Code::NotFound => 404,
        Code::InternalServerError => 500,
    }
}

fn forward_path_rewrite(
    message: &proto::RouteAction,
    path: &PathMatcher,
    cx: &mut Cx<'_>,
) -> Option<Option<PathRewrite>> {
    match (&message.regex_rewrite, message.prefix_rewrite.as_str()) {
        (Some(_), prefix) if !prefix.is_empty() => {
            cx.error_at(
                "regex_rewrite",
                "only one of prefix_rewrite and regex_rewrite may be set",
            );
            None
        }
        (Some(regex), _) => cx
            .field("regex_rewrite", |cx| Substitution::lower(regex, cx))
            .map(|substitution| Some(PathRewrite::Regex(substitution))),
        (None, "") => Some(None),
        (None, prefix) => Some(Some(PathRewrite::of_prefix(path, prefix))),
    }
}

fn host_rewrite(message: &proto::RouteAction, cx: &mut Cx<'_>) -> Option<Option<Box<[u8]>>> {
    use proto::route_action::HostRewriteSpecifier;
    match &message.host_rewrite_specifier {
        None => Some(None),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            Some((!host.is_empty()).then(|| host.as_bytes().into()))
        }
        Some(HostRewriteSpecifier::AutoHostRewrite(flag)) if !flag.value => Some(None),
        Some(_) => {
            cx.error("this way to rewrite the host is not supported yet; use host_rewrite_literal");
            None
        }
    }
}

fn redirect(
    message: &proto::RedirectAction,
    path: &PathMatcher,
    cx: &mut Cx<'_>,
) -> Option<Redirect> {
    use proto::redirect_action::{
        PathRewriteSpecifier, RedirectResponseCode as Code, SchemeRewriteSpecifier,
    };
    let not_empty = |text: &str| (!text.is_empty()).then(|| text.as_bytes().into());
    let path = match &message.path_rewrite_specifier {
        None => Some(PathRedirect::Keep),
        Some(PathRewriteSpecifier::PathRedirect(to)) => {
            Some(not_empty(to).map_or(PathRedirect::Keep, PathRedirect::To))
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            Some(PathRedirect::Rewrite(PathRewrite::of_prefix(path, prefix)))
        }
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => cx
            .field("regex_rewrite", |cx| Substitution::lower(regex, cx))
            .map(|substitution| PathRedirect::Rewrite(PathRewrite::Regex(substitution))),
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            cx.error_at("path_rewrite", "not supported yet");
            None
        }
    };
    Some(Redirect {
        status: match message.response_code() {
            Code::MovedPermanently => 301,
            Code::Found => 302,
            Code::SeeOther => 303,
            Code::TemporaryRedirect => 307,
            Code::PermanentRedirect => 308,
        },
        scheme: match &message.scheme_rewrite_specifier {
            Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => SchemeRedirect::Https,
            Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
                not_empty(scheme).map_or(SchemeRedirect::Keep, SchemeRedirect::To)
            }
            Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => SchemeRedirect::Keep,
        },
        host: not_empty(&message.host_redirect),
        port: (message.port_redirect != 0).then_some(message.port_redirect),
        path: path?,
        strip_query: message.strip_query,
    })
}

/// `None` after an error, `Some(None)` when the field is not set,
/// `Some(Some(None))` when it is zero, which turns the limit off.
fn duration(
    message: Option<&ProtoDuration>,
    name: &str,
    cx: &mut Cx<'_>,
) -> Option<Option<Option<Duration>>> {
    let Some(message) = message else {
        return Some(None);
    };
    match (u64::try_from(message.seconds), u32::try_from(message.nanos)) {
        (Ok(0), Ok(0)) => Some(Some(None)),
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
            Some(Some(Some(Duration::new(seconds, nanos))))
        }
        _ => {
            cx.error_at(name, "must not be negative");
            None
        }
    }
}

/// Compiles every element, so that all mistakes are reported; `None` if one
/// could not be compiled.
fn all<M, T>(
    messages: &[M],
    name: &str,
    cx: &mut Cx<'_>,
    mut lower: impl FnMut(&M, &mut Cx<'_>) -> Option<T>,
) -> Option<Box<[T]>> {
    let compiled: Vec<Option<T>> = messages
        .iter()
        .enumerate()
        .map(|(i, message)| cx.index(name, i, |cx| lower(message, cx)))
        .collect();
    compiled.into_iter().collect()
}
