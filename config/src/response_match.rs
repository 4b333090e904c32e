//! `xds.type.matcher.v3.Matcher` over the headers of a response, for filters
//! that treat responses differently: status, class of the status, a header.
//!
//! What a matcher leads to is the caller's ([`ResponseMatcher::lower`] gets the
//! actions compiled by it). Trees of values and nested matchers are refused by
//! path.

use crate::context::{Cx, type_name, unpack};
use crate::route::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3 as inputs;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3 as proto;
use proto::matcher::matcher_list::predicate::single_predicate;
use proto::matcher::matcher_list::predicate::{MatchType, PredicateList, SinglePredicate};
use proto::matcher::matcher_list::{FieldMatcher, Predicate as ProtoPredicate};
use proto::matcher::on_match::OnMatch as Target;
use proto::matcher::{MatcherType, OnMatch};
use ringway_codecs::header::{HeaderId, HeaderMap};

/// How deep predicates may be nested: they are walked by recursion.
const DEPTH_MAX: usize = 16;

/// A compiled matcher that leads to an `A`.
#[derive(Debug)]
pub struct ResponseMatcher<A> {
    rules: Box<[(Predicate, A)]>,
    otherwise: Option<A>,
}

#[derive(Debug)]
enum Predicate {
    Single(Input, StringMatcher),
    Or(Box<[Predicate]>),
    And(Box<[Predicate]>),
    Not(Box<Predicate>),
}

/// What a predicate looks at.
#[derive(Debug)]
enum Input {
    /// `HttpResponseStatusCodeMatchInput`: `404`.
    Status,
    /// `HttpResponseStatusCodeClassMatchInput`: `4xx`.
    StatusClass,
    /// `HttpResponseHeaderMatchInput`: the values, joined by commas.
    Header(Box<[u8]>),
}

impl<A> ResponseMatcher<A> {
    /// What the first rule that fits says, or else what stands for all others.
    pub fn find(&self, response: &HeaderMap) -> Option<&A> {
        let mut rules = self.rules.iter();
        match rules.find(|(predicate, _)| predicate.holds(response)) {
            Some((_, action)) => Some(action),
            None => self.otherwise.as_ref(),
        }
    }

    /// Compiles the message, or reports why not. `action` compiles what a rule
    /// leads to.
    pub fn lower(
        message: &proto::Matcher,
        cx: &mut Cx<'_>,
        mut action: impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
    ) -> Option<Self> {
        let rules = match &message.matcher_type {
            None => Some(Vec::new()),
            Some(MatcherType::MatcherList(list)) => cx.field("matcher_list", |cx| {
                let rules: Vec<_> = list
                    .matchers
                    .iter()
                    .enumerate()
                    .map(|(i, rule)| {
                        cx.index("matchers", i, |cx| lower_rule(rule, cx, &mut action))
                    })
                    .collect();
                rules.into_iter().collect()
            }),
            Some(MatcherType::MatcherTree(_)) => {
                cx.error_at("matcher_tree", "not supported yet");
                None
            }
        };
        let otherwise = match &message.on_no_match {
            None => Some(None),
            Some(on_match) => cx
                .field("on_no_match", |cx| target(Some(on_match), cx, &mut action))
                .map(Some),
        };
        Some(ResponseMatcher {
            rules: rules?.into(),
            otherwise: otherwise?,
        })
    }
}

fn lower_rule<A>(
    rule: &FieldMatcher,
    cx: &mut Cx<'_>,
    action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
) -> Option<(Predicate, A)> {
    let predicate = cx.field("predicate", |cx| {
        Predicate::lower(rule.predicate.as_ref(), DEPTH_MAX, cx)
    });
    let action = cx.field("on_match", |cx| target(rule.on_match.as_ref(), cx, action));
    Some((predicate?, action?))
}

fn target<A>(
    message: Option<&OnMatch>,
    cx: &mut Cx<'_>,
    action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
) -> Option<A> {
    if message.is_some_and(|message| message.keep_matching) {
        cx.error_at("keep_matching", "not supported yet");
        return None;
    }
    match message.and_then(|message| message.on_match.as_ref()) {
        Some(Target::Action(extension)) => cx.field("action", |cx| action(extension, cx)),
        Some(Target::Matcher(_)) => {
            cx.error_at("matcher", "not supported yet");
            None
        }
        None => {
            cx.error("an action is needed");
            None
        }
    }
}

impl Predicate {
    fn holds(&self, response: &HeaderMap) -> bool {
        match self {
            Predicate::Single(input, value) => input.matches(response, value),
            Predicate::Or(of) => of.iter().any(|predicate| predicate.holds(response)),
            Predicate::And(of) => of.iter().all(|predicate| predicate.holds(response)),
            Predicate::Not(of) => !of.holds(response),
        }
    }

    fn lower(message: Option<&ProtoPredicate>, depth: usize, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(depth) = depth.checked_sub(1) else {
            cx.error(format!("predicates are nested deeper than {DEPTH_MAX}"));
            return None;
        };
        match message.and_then(|message| message.match_type.as_ref()) {
            Some(MatchType::SinglePredicate(single)) => {
                cx.field("single_predicate", |cx| lower_single(single, cx))
            }
            Some(MatchType::OrMatcher(list)) => cx
                .field("or_matcher", |cx| lower_list(list, depth, cx))
                .map(Predicate::Or),
            Some(MatchType::AndMatcher(list)) => cx
                .field("and_matcher", |cx| lower_list(list, depth, cx))
                .map(Predicate::And),
            Some(MatchType::NotMatcher(of)) => cx
                .field("not_matcher", |cx| Predicate::lower(Some(of), depth, cx))
                .map(|of| Predicate::Not(Box::new(of))),
            None => {
                cx.error("a predicate is needed");
                None
            }
        }
    }
}

fn lower_list(list: &PredicateList, depth: usize, cx: &mut Cx<'_>) -> Option<Box<[Predicate]>> {
    let predicates: Vec<_> = list
        .predicate
        .iter()
        .enumerate()
        .map(|(i, message)| {
            cx.index("predicate", i, |cx| {
                Predicate::lower(Some(message), depth, cx)
            })
        })
        .collect();
    predicates.into_iter().collect()
}

fn lower_single(message: &SinglePredicate, cx: &mut Cx<'_>) -> Option<Predicate> {
    let input = cx.field("input", |cx| Input::lower(message.input.as_ref(), cx));
    let value = match &message.matcher {
        Some(single_predicate::Matcher::ValueMatch(value)) => {
            cx.field("value_match", |cx| StringMatcher::lower_xds(value, cx))
        }
        Some(single_predicate::Matcher::CustomMatch(_)) => {
            cx.error_at("custom_match", "not supported yet");
            None
        }
        None => {
            cx.error_at("value_match", "is required");
            None
        }
    };
    Some(Predicate::Single(input?, value?))
}

impl Input {
    fn matches(&self, response: &HeaderMap, value: &StringMatcher) -> bool {
        let status = response.get(HeaderId::Status).unwrap_or_default();
        match self {
            Input::Status => value.matches(status),
            Input::StatusClass => match status {
                [class, _, _] => value.matches(&[*class, b'x', b'x']),
                _ => false,
            },
            Input::Header(name) => {
                let mut values = response.get_all_name(name);
                match (values.next(), values.next()) {
                    (None, _) => false,
                    (Some(only), None) => value.matches(only),
                    _ => {
                        drop(values);
                        let all: Vec<_> = response.get_all_name(name).collect();
                        value.matches(&all.join(&b","[..]))
                    }
                }
            }
        }
    }

    fn lower(message: Option<&TypedExtensionConfig>, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(any) = message.and_then(|message| message.typed_config.as_ref()) else {
            cx.error("an input is needed");
            return None;
        };
        cx.field("typed_config", |cx| match type_name(&any.type_url) {
            "envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput" => Some(Input::Status),
            "envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput" => {
                Some(Input::StatusClass)
            }
            "envoy.type.matcher.v3.HttpResponseHeaderMatchInput" => {
                let input: inputs::HttpResponseHeaderMatchInput = unpack(any, cx)?;
                Some(Input::Header(
                    input.header_name.to_ascii_lowercase().into_bytes().into(),
                ))
            }
            other => {
                cx.error(format!("the input {other} is not supported yet"));
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{Diagnostics, Marks};
    use crate::names::Names;

    fn any<M: prost::Message + prost::Name>(message: &M) -> Option<TypedExtensionConfig> {
        Some(TypedExtensionConfig {
            name: "x".into(),
            typed_config: Some(envoy_types::pb::google::protobuf::Any {
                type_url: M::type_url(),
                value: message.encode_to_vec(),
            }),
        })
    }

    fn exact(text: &str) -> Option<single_predicate::Matcher> {
        Some(single_predicate::Matcher::ValueMatch(
            proto::StringMatcher {
                ignore_case: false,
                match_pattern: Some(proto::string_matcher::MatchPattern::Exact(text.into())),
            },
        ))
    }

    fn single(input: Option<TypedExtensionConfig>, value: &str) -> ProtoPredicate {
        ProtoPredicate {
            match_type: Some(MatchType::SinglePredicate(SinglePredicate {
                input,
                matcher: exact(value),
            })),
        }
    }

    fn status(value: &str) -> ProtoPredicate {
        single(any(&inputs::HttpResponseStatusCodeMatchInput {}), value)
    }

    fn class(value: &str) -> ProtoPredicate {
        single(
            any(&inputs::HttpResponseStatusCodeClassMatchInput {}),
            value,
        )
    }

    fn header(name: &str, value: &str) -> ProtoPredicate {
        let header_name = name.to_owned();
        single(
            any(&inputs::HttpResponseHeaderMatchInput { header_name }),
            value,
        )
    }

    fn not(of: ProtoPredicate) -> ProtoPredicate {
        ProtoPredicate {
            match_type: Some(MatchType::NotMatcher(Box::new(of))),
        }
    }

    fn list(predicate: Vec<ProtoPredicate>) -> PredicateList {
        PredicateList { predicate }
    }

    /// A matcher that leads from each predicate to its place, or the findings.
    fn lowered(predicates: Vec<ProtoPredicate>) -> Result<ResponseMatcher<usize>, String> {
        let on_match = || OnMatch {
            keep_matching: false,
            on_match: Some(Target::Action(TypedExtensionConfig::default())),
        };
        let matchers = predicates
            .into_iter()
            .map(|predicate| FieldMatcher {
                predicate: Some(predicate),
                on_match: Some(on_match()),
            })
            .collect();
        let message = proto::Matcher {
            on_no_match: None,
            matcher_type: Some(MatcherType::MatcherList(proto::matcher::MatcherList {
                matchers,
            })),
        };
        let (mut found, marks, names) = (Diagnostics::new(), Marks::default(), Names::default());
        let mut next = 0..;
        let matcher = ResponseMatcher::lower(
            &message,
            &mut Cx::new(&mut found, &marks, None, &names),
            |_, _| next.next(),
        );
        matcher.ok_or_else(|| found.to_string())
    }

    #[test]
    fn the_first_rule_that_fits() {
        let matcher = lowered(vec![
            ProtoPredicate {
                match_type: Some(MatchType::AndMatcher(list(vec![
                    status("404"),
                    header("X-A", "1"),
                ]))),
            },
            ProtoPredicate {
                match_type: Some(MatchType::OrMatcher(list(vec![
                    status("410"),
                    header("x-b", "1,2"),
                ]))),
            },
            class("5xx"),
            not(class("2xx")),
        ])
        .unwrap();
        for (code, fields, expected) in [
            ("404", &[("x-a", "1")][..], Some(0)),
            ("404", &[("x-a", "2")], Some(3)),
            ("410", &[], Some(1)),
            ("200", &[("x-b", "1"), ("x-b", "2")], Some(1)),
            ("200", &[("x-b", "1")], None),
            ("503", &[], Some(2)),
            ("299", &[], None),
            ("", &[], Some(3)),
        ] {
            let mut response = HeaderMap::new();
            response.append(HeaderId::Status, code.as_bytes());
            for (name, value) in fields {
                response.append_name(name.as_bytes(), value.as_bytes());
            }
            assert_eq!(
                matcher.find(&response).copied(),
                expected,
                "{code} {fields:?}"
            );
        }
    }

    #[test]
    fn mistakes() {
        let deep = (0..DEPTH_MAX).fold(status("404"), |inner, _| not(inner));
        let deep_enough = (1..DEPTH_MAX).fold(status("404"), |inner, _| not(inner));
        assert!(lowered(vec![deep_enough]).is_ok());
        for (predicate, expected) in [
            (deep, "predicates are nested deeper than 16"),
            (
                ProtoPredicate::default(),
                "matchers[0].predicate: a predicate is needed",
            ),
            (
                single(None, "a"),
                "single_predicate.input: an input is needed",
            ),
            (
                single(any(&inputs::HttpRequestHeaderMatchInput::default()), "a"),
                "input.typed_config: the input envoy.type.matcher.v3.HttpRequestHeaderMatchInput \
                 is not supported yet",
            ),
            (
                ProtoPredicate {
                    match_type: Some(MatchType::SinglePredicate(SinglePredicate::default())),
                },
                "single_predicate.value_match: is required",
            ),
        ] {
            let found = lowered(vec![predicate]).expect_err(expected);
            assert!(found.contains(expected), "{found}");
        }
    }
}
