//! `envoy.config.common.mutation_rules.v3.HeaderMutation`: changes of a
//! message's headers that are made one after the other, each on what the one
//! before it has left.
//!
//! The lists of routes ([`HeaderChanges`]) are different: there all removals
//! come first, and all values are made before one is added. A single change is
//! such a list with one entry.

use super::header_mutation::{HeaderChanges, removable};
use super::string_match::StringMatcher;
use crate::context::Cx;
use crate::format_strings::FormatStrings;
use envoy_types::pb::envoy::config::common::mutation_rules::v3 as proto;
use proto::header_mutation::Action;

/// A compiled `HeaderMutation` of request headers.
#[derive(Debug)]
pub enum HeaderMutation {
    /// `remove` and `append`: a list with one entry.
    Change(HeaderChanges),
    /// `remove_on_match`: all headers go whose names, in lower case, pass. What
    /// makes the message a request stays.
    RemoveOnMatch(StringMatcher),
}

impl HeaderMutation {
    /// Compiles the message, or reports why not.
    pub(super) fn lower_request(
        message: &proto::HeaderMutation,
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        match &message.action {
            Some(Action::Remove(name)) => {
                let name = cx.field("remove", |cx| removable(name, cx))?;
                Some(Self::Change(HeaderChanges {
                    remove: [name].into(),
                    add: Box::default(),
                }))
            }
            Some(Action::Append(option)) => cx
                .field("append", |cx| {
                    HeaderChanges::lower_one_request(option, formats, cx)
                })
                .map(Self::Change),
            Some(Action::RemoveOnMatch(matched)) => cx.field("remove_on_match", |cx| {
                let Some(matcher) = &matched.key_matcher else {
                    cx.error_at("key_matcher", "is required");
                    return None;
                };
                cx.field("key_matcher", |cx| StringMatcher::lower(matcher, cx))
                    .map(Self::RemoveOnMatch)
            }),
            None => {
                cx.error("one of remove, append and remove_on_match is needed");
                None
            }
        }
    }
}
