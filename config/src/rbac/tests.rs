//! Decisions and mistakes. What Envoy decides is compared by
//! `tests/tests/tcp/rbac.rs`.

use std::collections::HashMap;
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::CidrRange as CidrRangePb;
use envoy_types::pb::envoy::r#type::matcher::v3 as matchers;
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use envoy_types::pb::google::protobuf::UInt32Value;
use proto::permission::Rule;
use proto::principal::{Authenticated, Identifier};

use super::*;
use crate::diagnostics::{Diagnostics, Marks};
use crate::filter_state::FilterState;
use crate::names::Names;

fn permission(rule: Rule) -> proto::Permission {
    proto::Permission { rule: Some(rule) }
}

fn principal(identifier: Identifier) -> proto::Principal {
    proto::Principal {
        identifier: Some(identifier),
    }
}

fn policy(permission_rule: Rule, identifier: Identifier) -> proto::Policy {
    proto::Policy {
        permissions: vec![permission(permission_rule)],
        principals: vec![principal(identifier)],
        ..proto::Policy::default()
    }
}

fn rules(action: proto::rbac::Action, policies: Vec<(&str, proto::Policy)>) -> proto::Rbac {
    let policies = policies.into_iter();
    let policies: HashMap<_, _> = policies
        .map(|(name, policy)| (name.to_owned(), policy))
        .collect();
    proto::Rbac {
        action: action.into(),
        policies,
        ..proto::Rbac::default()
    }
}

fn lowered(proto: &proto::Rbac) -> Result<Rbac, String> {
    let (mut found, marks, names) = (Diagnostics::new(), Marks::default(), Names::default());
    let mut cx = Cx::new(&mut found, &marks, None, &names);
    let rbac = Rbac::lower(("rules", Some(proto)), ("matcher", None), &mut cx);
    rbac.flatten().ok_or_else(|| found.to_string())
}

fn range(address_prefix: &str, bits: u32) -> CidrRangePb {
    CidrRangePb {
        address_prefix: address_prefix.to_owned(),
        prefix_len: Some(UInt32Value { value: bits }),
    }
}

fn exactly(text: &str) -> matchers::StringMatcher {
    matchers::StringMatcher {
        match_pattern: Some(matchers::string_matcher::MatchPattern::Exact(text.into())),
        ..matchers::StringMatcher::default()
    }
}

/// What is known of a connection from 10.0.0.1 by way of 10.9.9.9 to port 80.
fn known(peer: Option<Peer<'_>>) -> Facts<'_> {
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    Facts {
        connection: Arrival {
            local: address("127.0.0.1:80"),
            remote: address("10.0.0.1:1000"),
            direct_remote: address("10.9.9.9:2000"),
            server_name: "a.test",
            transport_protocol: "",
            application_protocols: &[],
            filter_state: FilterState::EMPTY,
        },
        metadata: Metadata::EMPTY,
        peer,
    }
}

fn is_allowed(rule: Rule, identifier: Identifier, facts: &Facts<'_>) -> bool {
    let proto = rules(
        proto::rbac::Action::Allow,
        vec![("p", policy(rule, identifier))],
    );
    lowered(&proto).unwrap().decide(facts).is_allowed
}

#[test]
fn what_is_asked_for() {
    let set = |rules: Vec<Rule>| proto::permission::Set {
        rules: rules.into_iter().map(permission).collect(),
    };
    let ports = |start, end| Rule::DestinationPortRange(Int32Range { start, end });
    let not = |rule| Rule::NotRule(Box::new(permission(rule)));
    for (rule, expected) in [
        (Rule::Any(true), true),
        (Rule::DestinationIp(range("127.0.0.0", 8)), true),
        (Rule::DestinationIp(range("10.0.0.0", 8)), false),
        (Rule::DestinationPort(80), true),
        (Rule::DestinationPort(81), false),
        // The rules refuse it; the rest of the file is looked at all the same.
        (Rule::DestinationPort(u32::MAX), false),
        (ports(80, 81), true),
        (ports(79, 80), false),
        (ports(0, 65536), true),
        (Rule::RequestedServerName(exactly("a.test")), true),
        (Rule::RequestedServerName(exactly("")), false),
        (not(Rule::DestinationPort(81)), true),
        (not(Rule::Any(true)), false),
        (
            Rule::AndRules(set(vec![Rule::Any(true), ports(1, 2)])),
            false,
        ),
        (Rule::OrRules(set(vec![ports(1, 2), Rule::Any(true)])), true),
    ] {
        let told = format!("{rule:?}");
        let decided = is_allowed(rule, Identifier::Any(true), &known(None));
        assert_eq!(decided, expected, "{told}");
    }
}

#[test]
fn who_asks() {
    let set = |ids: Vec<Identifier>| proto::principal::Set {
        ids: ids.into_iter().map(principal).collect(),
    };
    let named = |name: &str| {
        Identifier::Authenticated(Authenticated {
            principal_name: Some(exactly(name)),
        })
    };
    let (uris, names) = (["spiffe://a".to_owned()], ["dns.test".to_owned()]);
    let peer = Peer {
        uri_sans: &uris,
        dns_sans: &names,
        subject: "CN=subject",
    };
    let source = |prefix| Identifier::RemoteIp(range(prefix, 16));
    let anybody = || Identifier::Authenticated(Authenticated::default());
    for (identifier, in_plaintext, in_tls) in [
        (Identifier::Any(true), true, true),
        (source("10.0.0.0"), true, true),
        (source("10.9.0.0"), false, false),
        (
            Identifier::DirectRemoteIp(range("10.9.0.0", 16)),
            true,
            true,
        ),
        (
            Identifier::DirectRemoteIp(range("10.0.0.0", 16)),
            false,
            false,
        ),
        (anybody(), false, true),
        (named("spiffe://a"), false, true),
        (named("dns.test"), false, true),
        (named("CN=subject"), false, true),
        (named("else"), false, false),
        (
            Identifier::NotId(Box::new(principal(anybody()))),
            true,
            false,
        ),
        (
            Identifier::AndIds(set(vec![source("10.0.0.0"), anybody()])),
            false,
            true,
        ),
        (Identifier::OrIds(set(vec![anybody()])), false, true),
    ] {
        for (facts, expected) in [(known(None), in_plaintext), (known(Some(peer)), in_tls)] {
            let told = format!("{identifier:?} {:?}", facts.peer);
            let decided = is_allowed(Rule::Any(true), identifier.clone(), &facts);
            assert_eq!(decided, expected, "{told}");
        }
    }
}

#[test]
fn actions_and_whose_turn_it_is() {
    use proto::rbac::Action as Pb;
    let matching = || policy(Rule::Any(true), Identifier::Any(true));
    let other = || policy(Rule::DestinationPort(1), Identifier::Any(true));
    let facts = known(None);
    for (action, policies, allowed, name, log) in [
        (Pb::Allow, vec![], false, None, None),
        (Pb::Deny, vec![], true, None, None),
        (Pb::Log, vec![], true, None, Some(false)),
        (
            Pb::Allow,
            vec![("b", matching()), ("a b", matching())],
            true,
            Some("a b"),
            None,
        ),
        (
            Pb::Deny,
            vec![("a", other()), ("c", matching())],
            false,
            Some("c"),
            None,
        ),
        (
            Pb::Log,
            vec![("c", matching())],
            true,
            Some("c"),
            Some(true),
        ),
    ] {
        let rbac = lowered(&rules(action, policies)).unwrap();
        let decision = rbac.decide(&facts);
        assert_eq!(decision.is_allowed, allowed, "{action:?} {name:?}");
        let policy = decision.policy;
        assert_eq!(policy.map(|policy| &*policy.name), name, "{action:?}");
        assert_eq!(decision.log, log, "{action:?} {name:?}");
        if name == Some("a b") {
            let denial = policy.map(|policy| &*policy.denial);
            assert_eq!(denial, Some("rbac_access_denied_matched_policy[a_b]"));
        }
    }
}

#[test]
fn mistakes() {
    let ports = |start, end| Rule::DestinationPortRange(Int32Range { start, end });
    for (rule, identifier, expected) in [
        (
            ports(5, 5),
            Identifier::Any(true),
            "rules.policies[\"p\"].permissions[0].destination_port_range: 5 is not below",
        ),
        (
            ports(-1, 5),
            Identifier::Any(true),
            "destination_port_range.start: must be from 0 to 65536",
        ),
        (
            ports(1, 65537),
            Identifier::Any(true),
            "destination_port_range.end: must be from 0 to 65536",
        ),
        (
            Rule::Header(Default::default()),
            Identifier::Any(true),
            "permissions[0].header: connections have no headers",
        ),
        (
            Rule::Any(true),
            Identifier::RemoteIp(range("a", 8)),
            "principals[0].remote_ip.address_prefix: malformed IP address",
        ),
    ] {
        let proto = rules(
            proto::rbac::Action::Allow,
            vec![("p", policy(rule, identifier))],
        );
        let told = lowered(&proto).expect_err(expected);
        assert!(told.contains(expected), "{told}");
    }
}
