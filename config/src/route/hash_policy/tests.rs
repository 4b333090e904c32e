use super::*;
use crate::diagnostics::{Diagnostics, Marks};
use crate::filter_state::Object;
use crate::names::Names;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf::Duration;
use parts::hash_policy as kinds;
use std::net::Ipv4Addr;

fn lower(policies: &[parts::HashPolicy]) -> (Option<HashPolicies>, String) {
    let mut found = Diagnostics::new();
    let (marks, names) = (Marks::default(), Names::default());
    let mut cx = Cx::new(&mut found, &marks, None, &names);
    let lowered = HashPolicies::lower(policies, "hash_policy", &mut cx).flatten();
    let reasons: Vec<_> = found.iter().map(ToString::to_string).collect();
    (lowered, reasons.join("\n"))
}

fn good(policies: &[parts::HashPolicy]) -> HashPolicies {
    let (lowered, reasons) = lower(policies);
    assert_eq!(reasons, "");
    lowered.expect("there are some")
}

fn policy(specifier: PolicySpecifier) -> parts::HashPolicy {
    parts::HashPolicy {
        terminal: false,
        policy_specifier: Some(specifier),
    }
}

fn header(name: &str) -> parts::HashPolicy {
    policy(PolicySpecifier::Header(kinds::Header {
        header_name: name.into(),
        regex_rewrite: None,
    }))
}

fn cookie(cookie: kinds::Cookie) -> parts::HashPolicy {
    policy(PolicySpecifier::Cookie(cookie))
}

fn terminal(policy: parts::HashPolicy) -> parts::HashPolicy {
    parts::HashPolicy {
        terminal: true,
        ..policy
    }
}

fn request(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append(HeaderId::Path, b"/?k=v");
    for (name, value) in fields {
        headers.append_name(name.as_bytes(), value.as_bytes());
    }
    headers
}

fn hash(policies: &HashPolicies, headers: &HeaderMap) -> Option<u64> {
    let input = HashInput {
        headers,
        remote: Ipv4Addr::LOCALHOST.into(),
        filter_state: FilterState::EMPTY,
    };
    policies.hash(input, |_| None)
}

#[test]
fn hashes_are_turned_and_added() {
    let [a, b] = ["1", "2"].map(|value| xxh64(value.as_bytes(), 0));
    let headers = request(&[("a", "1"), ("b", "2")]);
    for (policies, expected) in [
        (vec![header("a")], Some(a)),
        (vec![header("A")], Some(a)),
        (vec![header("none")], None),
        (vec![header("a"), header("b")], Some(a.rotate_left(1) ^ b)),
        (
            vec![header("b"), header("none"), header("a")],
            Some(b.rotate_left(1) ^ a),
        ),
        (vec![header("a"), header("a")], Some(a.rotate_left(1) ^ a)),
        (vec![terminal(header("a")), header("b")], Some(a)),
        (vec![terminal(header("none")), header("b")], Some(b)),
        (
            vec![header("a"), terminal(header("none")), header("b")],
            Some(a),
        ),
    ] {
        assert_eq!(hash(&good(&policies), &headers), expected, "{policies:?}");
    }
}

#[test]
fn values_are_hashed_in_their_order() {
    let sorted = |values: &[&str]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        let seeded = |seed, value: &&str| xxh64(value.as_bytes(), seed);
        values.iter().fold(0, seeded)
    };
    let policies = good(&[header("a")]);
    for count in [1, 2, FEW_VALUES - 1, FEW_VALUES, FEW_VALUES + 1, 50] {
        let values: Vec<_> = (0..count).map(|i| format!("{}", i * 7 % 50)).collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let fields: Vec<_> = values.iter().map(|value| ("a", *value)).collect();
        let found = hash(&policies, &request(&fields));
        assert_eq!(found, Some(sorted(&values)), "{count} values");
    }
    let rewriting = good(&[policy(PolicySpecifier::Header(kinds::Header {
        header_name: "a".into(),
        regex_rewrite: Some(matcher::RegexMatchAndSubstitute {
            pattern: Some(matcher::RegexMatcher {
                regex: "x+".into(),
                ..Default::default()
            }),
            substitution: "y".into(),
        }),
    }))]);
    for (values, expected) in [
        (&["xx1"][..], &["y1"][..]),
        (&["2x", "1xxx", "x"], &["1y", "2y", "y"]),
        (&[""], &[""]),
    ] {
        let fields: Vec<_> = values.iter().map(|value| ("a", *value)).collect();
        let found = hash(&rewriting, &request(&fields));
        assert_eq!(found, Some(sorted(expected)), "{values:?}");
    }
}

#[test]
fn addresses_are_hashed_as_text() {
    for text in [
        "127.0.0.1",
        "255.255.255.255",
        "::1",
        "2001:db8::1:0:0:1",
        "::ffff:255.255.255.255",
        "1111:2222:3333:4444:5555:6666:7777:8888",
    ] {
        let address = text.parse().expect("an address");
        assert_eq!(hash_address(address), xxh64(text.as_bytes(), 0), "{text}");
    }
}

#[test]
fn only_texts_that_say_so_are_hashed() {
    let policies = good(&[policy(PolicySpecifier::FilterState(kinds::FilterState {
        key: "k".into(),
    }))]);
    let text = || b"v".as_slice().into();
    for (object, expected) in [
        (Object::HashableText(text()), Some(xxh64(b"v", 0))),
        (Object::Text(text()), None),
        (Object::Ip(Ipv4Addr::LOCALHOST.into()), None),
    ] {
        let mut state = FilterState::default();
        state.set("k", object.clone());
        let input = HashInput {
            headers: &request(&[]),
            remote: Ipv4Addr::LOCALHOST.into(),
            filter_state: &state,
        };
        assert_eq!(policies.hash(input, |_| None), expected, "{object:?}");
    }
}

#[test]
fn cookies_are_made_where_there_is_none() {
    let attribute = |name: &str, value: &str| kinds::CookieAttribute {
        name: name.into(),
        value: value.into(),
    };
    let ttl = |seconds, nanos| Some(Duration { seconds, nanos });
    let of = |ttl, path: &str, attributes| kinds::Cookie {
        name: "c".into(),
        ttl,
        path: path.into(),
        attributes,
    };
    let with_attributes = vec![attribute("SameSite", "Lax"), attribute("Secure", "")];
    for (message, header) in [
        (of(None, "/p", vec![]), None),
        (of(ttl(0, 0), "", vec![]), Some("c=\"v\"; HttpOnly")),
        (
            of(ttl(0, 999_999_999), "", vec![]),
            Some("c=\"v\"; HttpOnly"),
        ),
        (
            of(ttl(7, 5), "/p", with_attributes),
            Some("c=\"v\"; Max-Age=7; Path=/p; SameSite=Lax; Secure; HttpOnly"),
        ),
    ] {
        let policies = good(&[cookie(message)]);
        for (line, has_one) in [("c=1", true), ("d=1", false), ("c=", false)] {
            let mut made = None;
            let headers = &request(&[("cookie", line)]);
            let input = HashInput {
                headers,
                remote: Ipv4Addr::LOCALHOST.into(),
                filter_state: FilterState::EMPTY,
            };
            let hash = policies.hash(input, |cookie| {
                made = Some(String::from_utf8(cookie.header("v").into()).expect("a text"));
                Some(3)
            });
            let expected = match (has_one, header) {
                (true, _) => Some(xxh64(b"1", 0)),
                (false, Some(_)) => Some(3),
                (false, None) => None,
            };
            assert_eq!(hash, expected, "{line} {header:?}");
            assert_eq!(made.as_deref(), header.filter(|_| !has_one), "{line}");
        }
    }
}

#[test]
fn what_would_break_a_header_is_refused() {
    let none = parts::HashPolicy::default();
    let broken = |name: &str, path: &str| {
        cookie(kinds::Cookie {
            name: name.into(),
            path: path.into(),
            ..Default::default()
        })
    };
    for (policy, reason) in [
        (none, "hash_policy[1]: one of header, cookie"),
        (broken("c\r\nx: y", ""), "hash_policy[1].cookie: control"),
        (broken("c", "/\n"), "hash_policy[1].cookie: control"),
        (
            cookie(kinds::Cookie {
                name: "c".into(),
                ttl: Some(Duration {
                    seconds: -1,
                    nanos: 0,
                }),
                ..Default::default()
            }),
            "hash_policy[1].cookie.ttl: a duration must not be negative",
        ),
    ] {
        let (lowered, reasons) = lower(&[header("a"), policy]);
        assert!(lowered.is_none(), "{reason}");
        assert!(reasons.contains(reason), "{reasons}");
    }
    assert!(lower(&[]).0.is_none());
}
