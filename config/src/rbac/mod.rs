//! Who may do what (`envoy.config.rbac.v3`): policies, or a tree of matchers that
//! leads to what is done.
//!
//! Start at [`Rbac::decide`]. Permissions say what is asked for and principals who
//! asks; both are predicates of the same facts, and differ in what they may look at
//! (`permission.rs`, `principal.rs`).

mod permission;
mod predicate;
mod principal;
#[cfg(test)]
mod tests;

use envoy_types::pb::envoy::config::rbac::v3 as proto;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher as MatcherPb;
use prost::Name;

use crate::context::{Cx, type_name, unpack};
use crate::listener::filter_chain_match::Arrival;
use crate::matcher::{Inputs, Matcher, MatchingData};
use crate::metadata::Metadata;
use predicate::Predicate;

/// What is known of who asks, and of what is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The connection.
    pub connection: Arrival<'a>,
    /// What filters have said.
    pub metadata: &'a Metadata,
    /// The other end of its TLS; `None` is plaintext.
    pub peer: Option<Peer<'a>>,
}

/// The certificate of the other end, as far as it has shown one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer<'a> {
    /// Its URIs.
    pub uri_sans: &'a [String],
    /// Its names of DNS.
    pub dns_sans: &'a [String],
    /// Whose it is, in one line.
    pub subject: &'a str,
}

/// Compiled rules.
#[derive(Debug)]
pub enum Rbac {
    /// `RBAC`: policies with one action.
    Policies(Policies),
    /// `xds.type.matcher.v3.Matcher`: each match has its own action.
    Matcher {
        /// Leads to what is done.
        matcher: Matcher<Outcome>,
        /// Some match is for the log, so that every decision tells if it was one.
        has_log: bool,
    },
}

/// Policies in the order of their names.
#[derive(Debug)]
pub struct Policies {
    action: Action,
    list: Box<[Policy]>,
}

/// What a match is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Those that match may, others may not.
    Allow,
    /// Those that match may not, others may.
    Deny,
    /// All may, and logs can tell who has matched.
    Log,
}

/// What a matcher leads to.
#[derive(Debug)]
pub struct Outcome {
    id: PolicyId,
    action: Action,
}

#[derive(Debug)]
struct Policy {
    id: PolicyId,
    permissions: Box<[Predicate]>,
    principals: Box<[Predicate]>,
}

/// A policy, as it is told of.
#[derive(Debug)]
pub struct PolicyId {
    /// Its name.
    pub name: Box<str>,
    /// Why somebody may not, for logs.
    pub denial: Box<str>,
}

/// Why somebody may not whom no policy has matched.
pub const NO_POLICY_DENIAL: &str = "rbac_access_denied_matched_policy[none]";

/// What is decided.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Whoever asks may.
    pub is_allowed: bool,
    /// The policy that has matched.
    pub policy: Option<&'a PolicyId>,
    /// Logs are told whether it is for them; `None` tells them nothing.
    pub log: Option<bool>,
}

impl Rbac {
    /// Whether somebody may.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>) -> Decision<'_> {
        match self {
            Self::Policies(policies) => policies.decide(facts),
            Self::Matcher { matcher, has_log } => {
                let found = matcher.find(MatchingData::of_connection(&facts.connection));
                let is = |action| found.is_some_and(|found| found.action == action);
                Decision {
                    is_allowed: is(Action::Allow) || is(Action::Log),
                    policy: found.map(|found| &found.id),
                    log: (*has_log && found.is_some()).then(|| is(Action::Log)),
                }
            }
        }
    }

    /// Compiles what a filter for connections has in two fields, of which the
    /// matcher counts; `Some(None)` where it has neither.
    pub fn lower(
        (rules_field, rules): (&str, Option<&proto::Rbac>),
        (matcher_field, matcher): (&str, Option<&MatcherPb>),
        cx: &mut Cx<'_>,
    ) -> Option<Option<Self>> {
        let policies = match rules {
            None => Some(None),
            Some(rules) => cx
                .field(rules_field, |cx| Policies::lower(rules, cx))
                .map(Some),
        };
        let Some(matcher) = matcher else {
            return policies.map(|policies| policies.map(Self::Policies));
        };
        if rules.is_some() {
            cx.warn_at(
                rules_field,
                format!("{matcher_field} takes its place, in Envoy too"),
            );
        }
        let mut has_log = false;
        let matcher = cx.field(matcher_field, |cx| {
            Matcher::lower(matcher, Inputs::Access, cx, &mut |action, cx| {
                let outcome = Outcome::lower(action, cx)?;
                has_log |= outcome.action == Action::Log;
                Some(outcome)
            })
        })?;
        policies?;
        Some(Some(Self::Matcher { matcher, has_log }))
    }
}

impl Policies {
    fn decide(&self, facts: &Facts<'_>) -> Decision<'_> {
        let matched = self.list.iter().find(|policy| policy.matches(facts));
        Decision {
            is_allowed: match self.action {
                Action::Allow => matched.is_some(),
                Action::Deny => matched.is_none(),
                Action::Log => true,
            },
            policy: matched.map(|policy| &policy.id),
            log: (self.action == Action::Log).then_some(matched.is_some()),
        }
    }

    fn lower(proto: &proto::Rbac, cx: &mut Cx<'_>) -> Option<Self> {
        let mut policies: Vec<_> = proto.policies.iter().collect();
        policies.sort_unstable_by_key(|(name, _)| name.as_str());
        let list: Vec<_> = policies
            .into_iter()
            .map(|(name, policy)| cx.entry("policies", name, |cx| Policy::lower(name, policy, cx)))
            .collect();
        Some(Self {
            action: Action::of(proto.action()),
            list: list.into_iter().collect::<Option<_>>()?,
        })
    }
}

impl Policy {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        self.permissions.iter().any(|test| test.passes(facts))
            && self.principals.iter().any(|test| test.passes(facts))
    }

    fn lower(name: &str, proto: &proto::Policy, cx: &mut Cx<'_>) -> Option<Self> {
        let permissions = permission::lower_all(&proto.permissions, "permissions", cx);
        let principals = principal::lower_all(&proto.principals, "principals", cx);
        Some(Self {
            id: PolicyId::new(name),
            permissions: permissions?,
            principals: principals?,
        })
    }
}

impl Action {
    fn of(proto: proto::rbac::Action) -> Self {
        match proto {
            proto::rbac::Action::Allow => Self::Allow,
            proto::rbac::Action::Deny => Self::Deny,
            proto::rbac::Action::Log => Self::Log,
        }
    }
}

impl Outcome {
    fn lower(config: &TypedExtensionConfig, cx: &mut Cx<'_>) -> Option<Self> {
        let wanted = proto::Action::full_name();
        let any = config.typed_config.as_ref();
        let Some(any) = any.filter(|any| type_name(&any.type_url) == wanted) else {
            cx.error_at("typed_config", format!("must be a {wanted}"));
            return None;
        };
        let message: proto::Action = cx.field("typed_config", |cx| unpack(any, cx))?;
        Some(Self {
            id: PolicyId::new(&message.name),
            action: Action::of(message.action()),
        })
    }
}

impl PolicyId {
    fn new(name: &str) -> Self {
        // Log lines are cut at white space by those who read them.
        let told: String = name
            .chars()
            .map(|letter| {
                if letter.is_ascii_whitespace() {
                    '_'
                } else {
                    letter
                }
            })
            .collect();
        Self {
            name: name.into(),
            denial: match &*told {
                "" => NO_POLICY_DENIAL.into(),
                told => format!("rbac_access_denied_matched_policy[{told}]").into(),
            },
        }
    }
}
