//! Who asks (`envoy.config.rbac.v3.Principal`).

use envoy_types::pb::envoy::config::rbac::v3 as proto;
use proto::principal::Identifier;

use super::permission::{
    lower_metadata, lower_range, lower_sourced_metadata, lower_url_path, refuse_header,
};
use super::predicate::Predicate;
use crate::context::Cx;
use crate::filter_state::FilterStateMatcher;
use crate::route::StringMatcher;

/// Compiles the list `field`, or reports what is wrong with it.
pub(super) fn lower_all(
    protos: &[proto::Principal],
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
fn lower(proto: &proto::Principal, cx: &mut Cx<'_>) -> Option<Predicate> {
    let Some(identifier) = &proto.identifier else {
        cx.error("says nothing; use any: true for whoever asks");
        return None;
    };
    match identifier {
        Identifier::AndIds(set) => cx
            .field("and_ids", |cx| lower_all(&set.ids, "ids", cx))
            .map(Predicate::And),
        Identifier::OrIds(set) => cx
            .field("or_ids", |cx| lower_all(&set.ids, "ids", cx))
            .map(Predicate::Or),
        Identifier::Any(_) => Some(Predicate::Any),
        Identifier::NotId(id) => cx
            .field("not_id", |cx| lower(id, cx))
            .map(|test| Predicate::Not(Box::new(test))),
        Identifier::Authenticated(authenticated) => cx.field("authenticated", |cx| {
            let Some(name) = &authenticated.principal_name else {
                return Some(Predicate::Authenticated(None));
            };
            cx.field("principal_name", |cx| StringMatcher::lower(name, cx))
                .map(|matcher| Predicate::Authenticated(Some(matcher)))
        }),
        // Of a connection they are the same: only requests tell of clients before
        // the one that is connected.
        Identifier::SourceIp(range) => lower_range("source_ip", range, cx).map(Predicate::SourceIp),
        Identifier::RemoteIp(range) => lower_range("remote_ip", range, cx).map(Predicate::SourceIp),
        Identifier::DirectRemoteIp(range) => {
            lower_range("direct_remote_ip", range, cx).map(Predicate::DirectSourceIp)
        }
        Identifier::Metadata(matcher) => lower_metadata("metadata", matcher, cx),
        Identifier::SourcedMetadata(sourced) => lower_sourced_metadata(sourced, cx),
        Identifier::FilterState(matcher) => cx
            .field("filter_state", |cx| FilterStateMatcher::lower(matcher, cx))
            .map(|matcher| Predicate::FilterState(Box::new(matcher))),
        Identifier::Header(_) => refuse_header(cx),
        Identifier::UrlPath(matcher) => lower_url_path(matcher, cx),
        Identifier::Custom(_) => {
            cx.error_at("custom", "not supported yet");
            None
        }
    }
}
