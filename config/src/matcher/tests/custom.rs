//! Trees over addresses and names of servers. What they lead to is compared with
//! Envoy by `tests/tests/listeners/filter_chain_matcher.rs`,
//! `tests/tests/tcp/server_names.rs` and `tests/tests/routing/matcher.rs`.

use super::*;
use crate::matcher::messages::{DomainMatcher, IpMatcher, IpRangeMatcher, ServerNameMatcher};
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3 as network;
use envoy_types::pb::google::protobuf::UInt32Value;
use envoy_types::pb::xds::core::v3::CidrRange;
use proto::matcher::MatcherTree;

fn custom<M: Message + Name>(input: Option<TypedExtensionConfig>, message: &M) -> proto::Matcher {
    proto::Matcher {
        on_no_match: Some(Box::new(action("none"))),
        matcher_type: Some(MatcherType::MatcherTree(MatcherTree {
            input,
            tree_type: Some(TreeType::CustomMatch(extension("custom", message))),
        })),
    }
}

/// Ranges as `ADDRESS/LENGTH`, and what they lead to.
fn ranges(of: &[&str], exclusive: bool, on_match: ProtoOnMatch) -> IpRangeMatcher {
    let range = |text: &&str| {
        let (address, bits) = text.split_once('/').unwrap();
        CidrRange {
            address_prefix: address.into(),
            prefix_len: Some(UInt32Value {
                value: bits.parse().unwrap(),
            }),
        }
    };
    IpRangeMatcher {
        ranges: of.iter().map(range).collect(),
        on_match: Some(on_match),
        exclusive,
    }
}

fn domains(of: &[&str], on_match: ProtoOnMatch) -> DomainMatcher {
    DomainMatcher {
        domains: of.iter().map(|domain| (*domain).to_owned()).collect(),
        on_match: Some(on_match),
    }
}

fn if_b(name: &str) -> ProtoOnMatch {
    nested(list(vec![(exact("x-b", "1"), action(name))]))
}

#[test]
fn the_smallest_range_that_leads_somewhere() {
    let message = IpMatcher {
        range_matchers: vec![
            ranges(&["10.0.0.0/8", "2001:db8::/32"], false, action("wide")),
            ranges(&["10.1.0.0/16"], false, if_b("narrow")),
            ranges(&["10.1.2.0/24", "10.1.2.128/25"], true, if_b("own")),
            ranges(&["10.1.2.0/24"], false, action("second")),
            ranges(&["0.0.0.0/0"], true, action("rest")),
            ranges(&["10.200.0.9/32"], false, action("one")),
            ranges(&["10.200.0.9/64"], false, action("longer")),
            ranges(&["11.0.0.0/8"], false, if_b("eleven")),
        ],
    };
    let matcher = lowered(&custom(header("x-ip"), &message)).unwrap();
    for (address, without, with) in [
        ("9.255.255.255", "rest", "rest"),
        ("10.0.0.0", "wide", "wide"),
        ("10.1.1.255", "wide", "narrow"),
        ("10.1.2.1", "second", "own"),
        ("10.1.2.200", "second", "own"),
        ("10.1.3.0", "wide", "narrow"),
        ("10.200.0.9", "longer", "longer"),
        ("10.255.255.255", "wide", "wide"),
        ("11.0.0.1", "none", "eleven"),
        ("255.255.255.255", "rest", "rest"),
        ("2001:db8::7", "wide", "wide"),
        ("2001:db9::", "none", "none"),
        ("::ffff:10.0.0.1", "none", "none"),
        ("10.1", "none", "none"),
        ("", "none", "none"),
    ] {
        let both = [("x-ip", address), ("x-b", "1")];
        assert_eq!(found(&matcher, &both[..1]), Some(without), "{address}");
        assert_eq!(found(&matcher, &both), Some(with), "{address} with x-b");
    }
    assert_eq!(found(&matcher, &[]), Some("none"));
}

#[test]
fn ranges_are_found_as_by_looking_at_all() {
    // Every range of these two bytes, in an order that has nothing to do with theirs.
    let mut all: Vec<(u16, u32)> = (0..=4)
        .flat_map(|bits| (0..1u16 << bits).map(move |i| (i << (12 - bits), bits + 4)))
        .collect();
    all.sort_by_key(|(start, bits)| start.wrapping_mul(40503) ^ *bits as u16);
    let keep = all.iter().step_by(2);
    let kept: Vec<_> = keep.copied().collect();
    let name = |(start, bits): (u16, u32)| format!("{}.{}.0.0/{bits}", start >> 8, start & 0xff);
    let matchers = kept.iter().map(|range| {
        let text = name(*range);
        ranges(&[&text], false, action(&text))
    });
    let message = IpMatcher {
        range_matchers: matchers.collect(),
    };
    let matcher = lowered(&custom(header("x-ip"), &message)).unwrap();
    for address in (0..1u16 << 12).step_by(61) {
        let has = |(start, bits): &&(u16, u32)| (address ^ start) >> (16 - bits) == 0;
        let smallest = kept.iter().filter(has).max_by_key(|(_, bits)| *bits);
        let expected = smallest.map_or_else(|| "none".to_owned(), |range| name(*range));
        let text = format!("{}.{}.0.1", address >> 8, address & 0xff);
        assert_eq!(
            found(&matcher, &[("x-ip", &text)]),
            Some(&*expected),
            "{text}"
        );
    }
}

#[test]
fn the_longest_domain_that_leads_somewhere() {
    let message = ServerNameMatcher {
        domain_matchers: vec![
            domains(&["*"], if_b("any")),
            domains(&["*.com", "b.net"], action("com")),
            domains(&["*.a.com"], if_b("a")),
            domains(&["www.a.com", "*.org"], if_b("www")),
        ],
    };
    let matcher = lowered(&custom(header("x-name"), &message)).unwrap();
    for (name, without, with) in [
        ("www.a.com", "com", "www"),
        ("x.www.a.com", "com", "a"),
        ("a.com", "com", "com"),
        ("com", "none", "any"),
        (".com", "com", "com"),
        ("a.com.", "none", "any"),
        ("WWW.A.COM", "none", "any"),
        ("b.net", "com", "com"),
        ("c.b.net", "none", "any"),
        ("a.org", "none", "www"),
        ("*.com", "com", "com"),
        ("", "none", "none"),
    ] {
        let both = [("x-name", name), ("x-b", "1")];
        assert_eq!(found(&matcher, &both[..1]), Some(without), "{name}");
        assert_eq!(found(&matcher, &both), Some(with), "{name} with x-b");
    }
    let long = format!("{}com", "a.".repeat(40_000));
    assert_eq!(found(&matcher, &[("x-name", &long)]), Some("com"));
}

#[test]
fn mistakes_in_them() {
    let of_ranges = |range_matchers| custom(header("x-a"), &IpMatcher { range_matchers });
    let of_domains = |domain_matchers| {
        let message = ServerNameMatcher { domain_matchers };
        custom(header("x-a"), &message)
    };
    let domain = |domain| of_domains(vec![domains(&[domain], action("a"))]);
    let port = Some(extension("input", &network::SourcePortInput {}));
    let at = |rest: &str| format!("matcher_tree.custom_match.typed_config.{rest}");
    let no_domain = "domain_matchers[0].domains[0]: ";
    for (message, expected) in [
        (
            of_ranges(vec![ranges(&["1.2.3/8"], false, action("a"))]),
            "range_matchers[0].ranges[0].address_prefix: malformed IP address: \"1.2.3\"",
        ),
        (
            of_ranges(vec![ranges(&[], false, action("a"))]),
            "range_matchers[0].ranges: at least one is needed",
        ),
        (
            of_ranges(vec![IpRangeMatcher {
                on_match: None,
                ..ranges(&["::/0"], false, action("a"))
            }]),
            "range_matchers[0].on_match: is required",
        ),
        (
            of_ranges(vec![ranges(&["::/0"], false, ProtoOnMatch::default())]),
            "range_matchers[0].on_match: matcher or action is needed",
        ),
        (
            of_domains(vec![domains(&[], action("a"))]),
            "domain_matchers[0].domains: at least one is needed",
        ),
        (domain(""), no_domain),
        (domain("*w.com"), no_domain),
        (domain("a.*.com"), no_domain),
        (domain("*.*.com"), no_domain),
        (domain("*.a*"), no_domain),
        (domain("*."), no_domain),
        (domain("**"), no_domain),
        (
            of_domains(vec![
                domains(&["a", "*.a"], action("a")),
                domains(&["b", "*.a"], action("a")),
            ]),
            "domain_matchers[1].domains[1]: \"*.a\" leads somewhere already",
        ),
        (
            of_domains(vec![DomainMatcher {
                on_match: None,
                ..domains(&["a"], action("a"))
            }]),
            "domain_matchers[0].on_match: is required",
        ),
    ] {
        let found = lowered(&message).expect_err(expected);
        assert!(found.contains(&at(expected)), "{found}\nnot: {expected}");
    }
    let expected = "matcher_tree.input.typed_config: only request headers";
    let found = lowered(&custom(port, &IpMatcher::default())).expect_err(expected);
    assert!(found.contains(expected), "{found}");
}
