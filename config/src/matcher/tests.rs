//! The limits and mistakes of matchers. What they lead to is compared with
//! Envoy by `tests/tests/routing/matcher.rs`.

mod custom;

use super::*;
use crate::diagnostics::{Diagnostics, Marks};
use crate::names::Names;
use envoy_types::pb::envoy::r#type::matcher::v3 as inputs;
use prost::{Message, Name};
use proto::matcher::OnMatch as ProtoOnMatch;
use proto::matcher::matcher_list::predicate::{
    MatchType, PredicateList, SinglePredicate, single_predicate,
};
use proto::matcher::matcher_list::{FieldMatcher, Predicate as ProtoPredicate};
use proto::matcher::matcher_tree::{MatchMap, TreeType};
use ringway_codecs::header::HeaderId;

fn extension<M: Message + Name>(name: &str, message: &M) -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: name.into(),
        typed_config: Some(envoy_types::pb::google::protobuf::Any {
            type_url: M::type_url(),
            value: message.encode_to_vec(),
        }),
    }
}

fn header(name: &str) -> Option<TypedExtensionConfig> {
    let header_name = name.to_owned();
    Some(extension(
        "input",
        &inputs::HttpRequestHeaderMatchInput { header_name },
    ))
}

fn exact(name: &str, value: &str) -> ProtoPredicate {
    exactly(header(name), value)
}

fn exactly(input: Option<TypedExtensionConfig>, value: &str) -> ProtoPredicate {
    ProtoPredicate {
        match_type: Some(MatchType::SinglePredicate(SinglePredicate {
            input,
            matcher: Some(single_predicate::Matcher::ValueMatch(
                proto::StringMatcher {
                    ignore_case: false,
                    match_pattern: Some(proto::string_matcher::MatchPattern::Exact(value.into())),
                },
            )),
        })),
    }
}

fn not(of: ProtoPredicate) -> ProtoPredicate {
    ProtoPredicate {
        match_type: Some(MatchType::NotMatcher(Box::new(of))),
    }
}

/// Leads to the action that is called `name`.
fn action(name: &str) -> ProtoOnMatch {
    ProtoOnMatch {
        keep_matching: false,
        on_match: Some(Target::Action(TypedExtensionConfig {
            name: name.into(),
            typed_config: None,
        })),
    }
}

fn nested(matcher: proto::Matcher) -> ProtoOnMatch {
    ProtoOnMatch {
        keep_matching: false,
        on_match: Some(Target::Matcher(Box::new(matcher))),
    }
}

fn list(matchers: Vec<(ProtoPredicate, ProtoOnMatch)>) -> proto::Matcher {
    let matchers = matchers
        .into_iter()
        .map(|(predicate, on_match)| FieldMatcher {
            predicate: Some(predicate),
            on_match: Some(on_match),
        })
        .collect();
    proto::Matcher {
        on_no_match: None,
        matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers })),
    }
}

fn tree(
    input: Option<TypedExtensionConfig>,
    kind: fn(MatchMap) -> TreeType,
    entries: Vec<(&str, ProtoOnMatch)>,
) -> proto::Matcher {
    let map = entries.into_iter().map(|(key, on)| (key.to_owned(), on));
    proto::Matcher {
        on_no_match: None,
        matcher_type: Some(MatcherType::MatcherTree(proto::matcher::MatcherTree {
            input,
            tree_type: Some(kind(MatchMap { map: map.collect() })),
        })),
    }
}

fn lowered(message: &proto::Matcher) -> Result<Matcher<String>, String> {
    lowered_for(message, Inputs::Request)
}

fn lowered_for(message: &proto::Matcher, inputs: Inputs) -> Result<Matcher<String>, String> {
    let (mut found, marks, names) = (Diagnostics::new(), Marks::default(), Names::default());
    let mut cx = Cx::new(&mut found, &marks, None, &names);
    let mut name = |action: &TypedExtensionConfig, _: &mut Cx<'_>| Some(action.name.clone());
    let matcher = Matcher::lower(message, inputs, &mut cx, &mut name);
    matcher.ok_or_else(|| found.to_string())
}

fn headers(id: HeaderId, value: &str, fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append(id, value.as_bytes());
    for (name, value) in fields {
        headers.append_name(name.as_bytes(), value.as_bytes());
    }
    headers
}

fn found<'m>(matcher: &'m Matcher<String>, fields: &[(&str, &str)]) -> Option<&'m str> {
    let request = headers(HeaderId::Path, "/abc", fields);
    let seen = MatchingData::new(&request, None);
    matcher.find(seen).map(String::as_str)
}

#[test]
fn a_nested_matcher_without_a_match_falls_on() {
    let mut message = list(vec![
        (
            exact("x-a", "1"),
            nested(list(vec![(exact("x-b", "1"), action("nested"))])),
        ),
        (exact("X-A", "1"), action("next")),
        (exact("x-a", "1,2"), action("joined")),
    ]);
    message.on_no_match = Some(Box::new(action("none")));
    let matcher = lowered(&message).unwrap();
    for (fields, expected) in [
        (&[("x-a", "1"), ("x-b", "1")][..], "nested"),
        (&[("x-a", "1")], "next"),
        (&[("x-a", "1"), ("x-a", "2")], "joined"),
        (&[], "none"),
    ] {
        assert_eq!(found(&matcher, fields), Some(expected), "{fields:?}");
    }
}

#[test]
fn the_longest_prefix_that_leads_somewhere() {
    let message = tree(
        header("x-p"),
        TreeType::PrefixMatchMap,
        vec![
            ("a", action("a")),
            ("ab", nested(list(vec![(exact("x-b", "1"), action("ab"))]))),
            ("abcd", action("abcd")),
        ],
    );
    let matcher = lowered(&message).unwrap();
    for (fields, expected) in [
        (&[("x-p", "abcde")][..], Some("abcd")),
        (&[("x-p", "abc")], Some("a")),
        (&[("x-p", "abc"), ("x-b", "1")], Some("ab")),
        (&[("x-p", "")], None),
        (&[("x-p", "b")], None),
        (&[], None),
    ] {
        assert_eq!(found(&matcher, fields), expected, "{fields:?}");
    }
}

#[test]
fn responses_are_looked_at() {
    let status = |value| {
        let input = extension("input", &inputs::HttpResponseStatusCodeMatchInput {});
        exactly(Some(input), value)
    };
    let class = |value| {
        let input = extension("input", &inputs::HttpResponseStatusCodeClassMatchInput {});
        exactly(Some(input), value)
    };
    let answered = |name: &str, value| {
        let header_name = name.to_owned();
        let input = inputs::HttpResponseHeaderMatchInput { header_name };
        exactly(Some(extension("input", &input)), value)
    };
    let both = |of: Vec<ProtoPredicate>| ProtoPredicate {
        match_type: Some(MatchType::AndMatcher(PredicateList { predicate: of })),
    };
    let message = list(vec![
        (both(vec![status("404"), answered("X-A", "1")]), action("a")),
        (answered("x-b", "1,2"), action("b")),
        (answered("host", "h"), action("host")),
        (exact("x-asked", "1"), action("asked")),
        (class("5xx"), action("failed")),
        (not(class("2xx")), action("other")),
    ]);
    let matcher = lowered_for(&message, Inputs::RequestAndResponse).unwrap();
    for (code, asked, fields, expected) in [
        ("404", "", &[("x-a", "1")][..], Some("a")),
        ("404", "", &[("x-a", "2")], Some("other")),
        ("200", "", &[("x-b", "1"), ("x-b", "2")], Some("b")),
        ("200", "", &[("x-b", "1")], None),
        ("200", "", &[("host", "h")], Some("host")),
        ("200", "1", &[("x-asked", "2")], Some("asked")),
        ("200", "2", &[("x-asked", "1")], None),
        ("503", "", &[], Some("failed")),
        ("5030", "", &[], Some("other")),
        ("299", "", &[], None),
        ("", "", &[], Some("other")),
    ] {
        let response = headers(HeaderId::Status, code, fields);
        let request = headers(HeaderId::Path, "/", &[("x-asked", asked)]);
        let seen = MatchingData::new(&request, Some(&response));
        let found = matcher.find(seen).map(String::as_str);
        assert_eq!(found, expected, "{code} {asked} {fields:?}");
        // Before there is a response only requests can be looked at.
        let seen = MatchingData {
            response: None,
            ..seen
        };
        let early = if asked == "1" { "asked" } else { "other" };
        assert_eq!(matcher.find(seen).map(String::as_str), Some(early));
    }
}

#[test]
fn depth_is_limited() {
    // One level is the matcher itself.
    let predicates = |count| (2..count).fold(exact("x-a", "1"), |inner, _| not(inner));
    let matchers = |count| {
        (1..count).fold(proto::Matcher::default(), |inner, _| proto::Matcher {
            on_no_match: Some(Box::new(nested(inner))),
            matcher_type: None,
        })
    };
    for count in [DEPTH_MAX, DEPTH_MAX + 1] {
        let in_predicates = lowered(&list(vec![(predicates(count), action("a"))]));
        let in_matchers = lowered(&matchers(count));
        for result in [in_predicates, in_matchers] {
            match result {
                Ok(_) => assert_eq!(count, DEPTH_MAX),
                Err(found) => {
                    assert_eq!(count, DEPTH_MAX + 1, "{found}");
                    assert!(found.contains("nested deeper than 32"), "{found}");
                }
            }
        }
    }
}

#[test]
fn mistakes() {
    let status = Some(extension(
        "input",
        &inputs::HttpResponseStatusCodeMatchInput {},
    ));
    let single = |input, matcher| ProtoPredicate {
        match_type: Some(MatchType::SinglePredicate(SinglePredicate {
            input,
            matcher,
        })),
    };
    let custom = TypedExtensionConfig::default;
    let keep = ProtoOnMatch {
        keep_matching: true,
        ..action("a")
    };
    let or = ProtoPredicate {
        match_type: Some(MatchType::OrMatcher(PredicateList {
            predicate: vec![exact("x-a", "1"), ProtoPredicate::default()],
        })),
    };
    let one = |predicate| list(vec![(predicate, action("a"))]);
    for (message, expected) in [
        (
            one(or),
            "matcher_list.matchers[0].predicate.or_matcher.predicate[1]: single_predicate, \
             or_matcher, and_matcher or not_matcher is needed",
        ),
        (
            one(single(None, None)),
            "predicate.single_predicate.input: needs a typed_config",
        ),
        (
            one(single(header("x-a"), None)),
            "predicate.single_predicate: value_match is needed",
        ),
        (
            one(single(
                header("x-a"),
                Some(single_predicate::Matcher::CustomMatch(custom())),
            )),
            "single_predicate.custom_match: not supported yet",
        ),
        (
            one(single(status.clone(), None)),
            "single_predicate.input.typed_config: only request headers can be looked at here",
        ),
        (
            list(vec![(exact("x-a", "1"), keep)]),
            "matchers[0].on_match.keep_matching: a request has one action",
        ),
        (
            list(vec![(exact("x-a", "1"), ProtoOnMatch::default())]),
            "matchers[0].on_match: matcher or action is needed",
        ),
        (
            tree(status, TreeType::ExactMatchMap, vec![("a", action("a"))]),
            "matcher_tree.input.typed_config: only request headers",
        ),
        (
            tree(
                header("x-a"),
                TreeType::ExactMatchMap,
                vec![("a", ProtoOnMatch::default())],
            ),
            "matcher_tree.exact_match_map.map[\"a\"]: matcher or action is needed",
        ),
        (
            tree(
                header("x-a"),
                |_| TreeType::CustomMatch(TypedExtensionConfig::default()),
                Vec::new(),
            ),
            "matcher_tree.custom_match: not supported yet",
        ),
    ] {
        let found = lowered(&message).expect_err(expected);
        assert!(found.contains(expected), "{found}\nnot: {expected}");
    }
}
