//! The lists of extensions agree: the registry of the engine, the table of
//! supported fields, and the page that is made from it.

use ringway_config::descriptors::pool;

use crate::source::{find_word, paths, text};

const REGISTRY: &str = "engine/src/registry.rs";
const TABLES: &str = "config/src/support/";
const PAGE: &str = "docs/support.md";

/// Extensions that are not chosen through the registry, and the file that
/// knows their type instead.
const ELSEWHERE: &[(&str, &str)] = &[
    // A message of three loggers is compiled by the loggers themselves.
    (
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "engine/src/access_loggers/file.rs",
    ),
    (
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "engine/src/access_loggers/stream.rs",
    ),
    (
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
        "engine/src/access_loggers/stream.rs",
    ),
    // Parts of a connection manager and of its codec.
    (
        "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
        "config/src/header_key_format.rs",
    ),
    (
        "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
        "engine/src/filters/network/http_connection_manager/config.rs",
    ),
    // Operators of format strings.
    (
        "envoy.extensions.formatter.cel.v3.Cel",
        "engine/src/formatter/substitution.rs",
    ),
    (
        "envoy.extensions.formatter.metadata.v3.Metadata",
        "engine/src/formatter/substitution.rs",
    ),
    // The policies of a cluster's balancing.
    (
        "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.peak_ewma.v3alpha.PeakEwma",
        "config/src/load_balancing/peak_ewma.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.random.v3.Random",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.subset.v3.Subset",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
        "config/src/load_balancing/typed.rs",
    ),
    // What matchers look at of hosts, and what they find for them.
    (
        "envoy.extensions.matching.common_inputs.transport_socket.v3.EndpointMetadataInput",
        "config/src/matcher/host_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.transport_socket.v3.LocalityMetadataInput",
        "config/src/matcher/host_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.transport_socket.v3.TransportSocketNameAction",
        "config/src/socket_match.rs",
    ),
    // What matchers look at of connections.
    (
        "envoy.extensions.matching.common_inputs.network.v3.ApplicationProtocolInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.FilterStateInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.SourcePortInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.SourceTypeInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.common_inputs.network.v3.TransportProtocolInput",
        "config/src/matcher/network_input.rs",
    ),
    (
        "envoy.extensions.matching.input_matchers.ip.v3.Ip",
        "config/src/matcher/predicate.rs",
    ),
    // Types of clusters, and who looks their names up.
    (
        "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided",
        "config/src/load_balancing/typed.rs",
    ),
    (
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
        "config/src/discovery.rs",
    ),
    (
        "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute",
        "engine/src/filters/http/grpc_http1_reverse_bridge.rs",
    ),
    (
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig",
        "engine/src/filters/http/dynamic_forward_proxy.rs",
    ),
    (
        "envoy.extensions.clusters.aggregate.v3.ClusterConfig",
        "config/src/discovery.rs",
    ),
    (
        "envoy.extensions.clusters.dns.v3.DnsCluster",
        "config/src/discovery.rs",
    ),
    (
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "config/src/dns/resolver.rs",
    ),
    (
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
        "config/src/dns/resolver.rs",
    ),
    (
        "envoy.extensions.network.dns_resolver.hickory.v3.HickoryDnsResolverConfig",
        "config/src/dns/resolver.rs",
    ),
    // Parts of a cluster's health check.
    (
        "envoy.extensions.health_checkers.redis.v3.Redis",
        "config/src/health_check.rs",
    ),
    (
        "envoy.extensions.health_checkers.thrift.v3.Thrift",
        "config/src/health_check.rs",
    ),
    (
        "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink",
        "config/src/health_check.rs",
    ),
    // These are options of a cluster or listener and lowered with it.
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "config/src/cluster.rs",
    ),
    (
        "envoy.extensions.queue_policy.fifo.v3.FifoQueuePolicyConfig",
        "config/src/cluster.rs",
    ),
    (
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
        "config/src/tls/mod.rs",
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "config/src/tls/mod.rs",
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "config/src/tls/mod.rs",
    ),
    (
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        "config/src/proxy_protocol.rs",
    ),
    // What a filter does is compiled by the filter.
    (
        "envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy",
        "engine/src/filters/http/custom_response.rs",
    ),
    (
        "envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy",
        "engine/src/filters/http/custom_response.rs",
    ),
    // These are parts of a route.
    (
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
        "config/src/route/uri_template.rs",
    ),
    (
        "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig",
        "config/src/route/uri_template.rs",
    ),
    (
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        "config/src/route/retry_policy.rs",
    ),
    (
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        "config/src/route/retry_policy.rs",
    ),
    (
        "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate",
        "config/src/route/retry_policy.rs",
    ),
    (
        "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig",
        "config/src/route/retry_policy.rs",
    ),
    (
        "envoy.extensions.early_data.v3.DefaultEarlyDataPolicy",
        "config/src/route/action.rs",
    ),
    (
        "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig",
        "config/src/route/internal_redirect_policy.rs",
    ),
    (
        "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig",
        "config/src/route/internal_redirect_policy.rs",
    ),
    (
        "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig",
        "config/src/route/internal_redirect_policy.rs",
    ),
];

/// A message name with the place that mentions it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mention {
    file: String,
    line: usize,
    name: String,
}

impl Mention {
    fn finding(&self, message: &str) -> String {
        format!("{}:{}: {} {message}", self.file, self.line, self.name)
    }
}

/// The message names in the string literals of a source file.
fn in_literals(file: &str, text: &str) -> Vec<Mention> {
    let mut found: Vec<Mention> = Vec::new();
    for (line, code) in (1..).zip(text.lines()) {
        // Odd parts are inside of quotes.
        for literal in code.split('"').skip(1).step_by(2) {
            let is_new = found.iter().all(|mention| mention.name != literal);
            if literal.starts_with("envoy.extensions.") && is_new {
                found.push(Mention {
                    file: file.to_owned(),
                    line,
                    name: literal.to_owned(),
                });
            }
        }
    }
    found
}

/// The messages that a support table describes.
fn in_table(file: &str, text: &str) -> Vec<Mention> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| line.starts_with("envoy."))
        .map(|(line, name)| Mention {
            file: file.to_owned(),
            line,
            name: name.trim_end().to_owned(),
        })
        .collect()
}

fn tables() -> Vec<Mention> {
    let files = paths("txt")
        .into_iter()
        .filter(|path| path.starts_with(TABLES));
    files
        .flat_map(|file| in_table(&file, &text(&file)))
        .collect()
}

/// Messages that are an extension's configuration: they are in the table, and
/// no field of a message in the table holds them, so only an `Any` can.
fn extensions(table: &[Mention]) -> Vec<&Mention> {
    let mut held = Vec::new();
    for mention in table {
        let Some(message) = pool().get_message_by_name(&mention.name) else {
            continue;
        };
        for field in message.fields() {
            let kind = field.kind();
            let Some(content) = kind.as_message() else {
                continue;
            };
            if content.is_map_entry() {
                let value = content.map_entry_value_field().kind();
                held.extend(value.as_message().map(|value| value.full_name().to_owned()));
            } else {
                held.push(content.full_name().to_owned());
            }
        }
    }
    let is_extension = |mention: &&Mention| {
        mention.name.starts_with("envoy.extensions.") && !held.contains(&mention.name)
    };
    table.iter().filter(is_extension).collect()
}

#[test]
fn every_registered_extension_is_in_the_tables_and_the_reverse() {
    let registered = in_literals(REGISTRY, &text(REGISTRY));
    assert!(!registered.is_empty(), "{REGISTRY} names no extension");
    let table = tables();
    let mut findings = Vec::new();
    for extension in &registered {
        if !table.iter().any(|mention| mention.name == extension.name) {
            findings.push(extension.finding("is registered, but no table supports its fields"));
        }
    }
    for extension in extensions(&table) {
        let known = registered
            .iter()
            .any(|mention| mention.name == extension.name);
        let elsewhere = ELSEWHERE.iter().any(|(name, _)| *name == extension.name);
        if !known && !elsewhere {
            findings.push(extension.finding("has a table, but is not registered"));
        }
    }
    crate::report(&findings);
}

#[test]
fn extensions_that_are_compiled_elsewhere_are_there() {
    let mut findings = Vec::new();
    for (name, file) in ELSEWHERE {
        let message = name.rsplit('.').next().unwrap_or_default();
        if find_word(&text(file), message).is_none() {
            findings.push(format!("{file}:1: does not mention {name}"));
        }
    }
    crate::report(&findings);
}

#[test]
fn the_page_names_every_message_of_the_tables() {
    let page = text(PAGE);
    let findings: Vec<_> = tables()
        .iter()
        .filter(|mention| !page.contains(&format!("### `{}`\n", mention.name)))
        .map(|mention| mention.finding(&format!("is not in {PAGE}")))
        .collect();
    crate::report(&findings);
}

#[test]
fn names_are_read_from_code_and_tables() {
    let code =
        "match x {\n  \"envoy.extensions.a.B\" => \"envoy.extensions.a.B\",\n  \"other\" => 1, }";
    let found = in_literals("r.rs", code);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].finding("x"), "r.rs:2: envoy.extensions.a.B x");
    let table = in_table(
        "t.txt",
        "# Comment.\nenvoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n  \
         http_filters ok\n\nenvoy.extensions.filters.network.http_connection_manager.v3.HttpFilter\n  name ok\n",
    );
    assert_eq!(table.len(), 2);
    // HttpFilter is a part of HttpConnectionManager, not an extension.
    let names: Vec<_> = extensions(&table)
        .iter()
        .map(|mention| mention.line)
        .collect();
    assert_eq!(names, [2]);
}
