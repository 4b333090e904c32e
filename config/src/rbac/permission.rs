//! What is asked for (`envoy.config.rbac.v3.Permission`).

use envoy_types::pb::envoy::config::core::v3::CidrRange as CidrRangePb;
use envoy_types::pb::envoy::config::rbac::v3 as proto;
use envoy_types::pb::envoy::r#type::matcher::v3 as matchers;
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use proto::permission::Rule;

use super::predicate::Predicate;
use crate::cidr::CidrRange;
use crate::context::Cx;
use crate::core;
use crate::metadata_match::MetadataMatcher;
use crate::route::StringMatcher;

/// Compiles the list `field`, or reports what is wrong with it.
pub(super) fn lower_all(
    protos: &[proto::Permission],
    field: &str,
    cx: &mut Cx<'_>,
) -> Option<Box<[Predicate]>> {
    let protos = protos.iter().enumerate();
    let tests: Vec<_> = protos
        .map(|(i, proto)| cx.index(field, i, |cx| lower(proto, cx)))
        .collect();
    tests.into_iter().collect()
}

#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn lower(proto: &proto::Permission, cx: &mut Cx<'_>) -> Option<Predicate> {
    let Some(rule) = &proto.rule else {
        cx.error("says nothing; use any: true for whatever is asked for");
        return None;
    };
    match rule {
        Rule::AndRules(set) => cx
            .field("and_rules", |cx| lower_all(&set.rules, "rules", cx))
            .map(Predicate::And),
        Rule::OrRules(set) => cx
            .field("or_rules", |cx| lower_all(&set.rules, "rules", cx))
            .map(Predicate::Or),
        Rule::Any(_) => Some(Predicate::Any),
        Rule::NotRule(rule) => cx
            .field("not_rule", |cx| lower(rule, cx))
            .map(|test| Predicate::Not(Box::new(test))),
        Rule::DestinationIp(range) => {
            lower_range("destination_ip", range, cx).map(Predicate::DestinationIp)
        }
        Rule::DestinationPort(port) => {
            // Larger ones are refused by the rules, and looked at all the same.
            Some(Predicate::DestinationPort(*port..port.saturating_add(1)))
        }
        Rule::DestinationPortRange(range) => {
            cx.field("destination_port_range", |cx| lower_ports(*range, cx))
        }
        Rule::Metadata(matcher) => lower_metadata("metadata", matcher, cx),
        Rule::SourcedMetadata(sourced) => lower_sourced_metadata(sourced, cx),
        Rule::RequestedServerName(matcher) => cx
            .field("requested_server_name", |cx| {
                StringMatcher::lower(matcher, cx)
            })
            .map(Predicate::ServerName),
        Rule::Header(_) => refuse_header(cx),
        Rule::UrlPath(matcher) => lower_url_path(matcher, cx),
        Rule::Matcher(_) => {
            cx.error_at("matcher", "not supported yet");
            None
        }
        Rule::UriTemplate(_) => {
            cx.error_at("uri_template", "not supported yet");
            None
        }
    }
}

/// Compiles the range of addresses in a field.
pub(super) fn lower_range(field: &str, range: &CidrRangePb, cx: &mut Cx<'_>) -> Option<CidrRange> {
    let bits = core::u32_or(range.prefix_len, 0);
    cx.field(field, |cx| {
        CidrRange::lower(&range.address_prefix, bits, cx)
    })
}

/// Compiles a test of dynamic metadata.
pub(super) fn lower_metadata(
    field: &str,
    matcher: &matchers::MetadataMatcher,
    cx: &mut Cx<'_>,
) -> Option<Predicate> {
    cx.field(field, |cx| MetadataMatcher::lower(matcher, cx))
        .map(|matcher| Predicate::Metadata(Box::new(matcher)))
}

/// Compiles a test of metadata that says which.
pub(super) fn lower_sourced_metadata(
    sourced: &proto::SourcedMetadata,
    cx: &mut Cx<'_>,
) -> Option<Predicate> {
    cx.field("sourced_metadata", |cx| match &sourced.metadata_matcher {
        Some(matcher) => lower_metadata("metadata_matcher", matcher, cx),
        None => {
            cx.error_at("metadata_matcher", "is required");
            None
        }
    })
}

/// Refuses a test of headers: Envoy takes none for connections.
pub(super) fn refuse_header(cx: &mut Cx<'_>) -> Option<Predicate> {
    cx.error_at("header", "connections have no headers");
    None
}

/// Checks a test of a path, which no connection has.
pub(super) fn lower_url_path(
    matcher: &matchers::PathMatcher,
    cx: &mut Cx<'_>,
) -> Option<Predicate> {
    use matchers::path_matcher::Rule as PathRule;
    cx.warn_at("url_path", "never matches: connections have no path");
    cx.field("url_path", |cx| match &matcher.rule {
        Some(PathRule::Path(path)) => cx.field("path", |cx| StringMatcher::lower(path, cx)),
        None => {
            cx.error_at("path", "is required");
            None
        }
    })
    .map(|_| Predicate::Never)
}

fn lower_ports(range: Int32Range, cx: &mut Cx<'_>) -> Option<Predicate> {
    let mut bound = |field: &str, port: i32| {
        let known = u32::try_from(port).ok().filter(|port| *port <= PORTS);
        if known.is_none() {
            cx.error_at(field, format!("must be from 0 to {PORTS}, not {port}"));
        }
        known
    };
    let (start, end) = (bound("start", range.start), bound("end", range.end));
    let (start, end) = (start?, end?);
    if start >= end {
        cx.error(format!("{start} is not below the end, {end}"));
        return None;
    }
    Some(Predicate::DestinationPort(start..end))
}

/// How many ports there are.
const PORTS: u32 = 65536;
