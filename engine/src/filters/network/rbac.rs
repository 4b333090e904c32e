//! `envoy.filters.network.rbac`: who may connect, decided when the first bytes of a
//! client are there, or each time that some are. Others are closed.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac as RbacPb;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::rbac::EnforcementType;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::Cx;
use ringway_config::rbac::{NO_POLICY_DENIAL, Rbac as Rules};
use ringway_config::{core, unpack};

use super::{Connection, Flow, NetworkFilter};
use crate::filters::rbac::{ShadowFields, facts, note_log};
use crate::reactor;
use crate::stats::{Counter, Store};

/// The name of the filter, and of its metadata.
const NAME: &str = "envoy.filters.network.rbac";

/// The compiled filter.
pub struct Rbac {
    rules: Option<Rules>,
    /// What is decided for statistics and logs only.
    shadow: Option<Rules>,
    shadow_fields: ShadowFields,
    /// It is decided again whenever the client has sent something.
    is_continuous: bool,
    /// How long a connection is kept that may not be.
    delay: Option<Duration>,
    stat_prefix: Box<str>,
    shadow_prefix: Box<str>,
    /// Once they are registered.
    stats: Option<RbacStats>,
}

/// Under the filter's prefix and `rbac.`.
struct RbacStats {
    allowed: Counter,
    denied: Counter,
    shadow_allowed: Counter,
    shadow_denied: Counter,
}

impl Rbac {
    /// Compiles a filter.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<RbacPb>(any, cx)?;
        let rules = Rules::lower(
            ("rules", proto.rules.as_ref()),
            ("matcher", proto.matcher.as_ref()),
            cx,
        );
        let shadow = Rules::lower(
            ("shadow_rules", proto.shadow_rules.as_ref()),
            ("shadow_matcher", proto.shadow_matcher.as_ref()),
            cx,
        );
        Some(Self {
            rules: rules?,
            shadow: shadow?,
            shadow_fields: ShadowFields::new(NAME, &proto.shadow_rules_stat_prefix),
            is_continuous: proto.enforcement_type() == EnforcementType::Continuous,
            delay: core::duration_or_off(proto.delay_deny, "delay_deny", None, cx),
            stat_prefix: proto.stat_prefix.as_str().into(),
            shadow_prefix: proto.shadow_rules_stat_prefix.as_str().into(),
            stats: None,
        })
    }

    fn count(&self, of: impl FnOnce(&RbacStats) -> Counter) {
        if let Some(stats) = &self.stats {
            of(stats).inc();
        }
    }
}

impl NetworkFilter for Rbac {
    fn register(&mut self, store: &Store) {
        let prefix = format!("{}rbac.", dotted(&self.stat_prefix));
        let shadow = format!("{prefix}{}", dotted(&self.shadow_prefix));
        self.stats = Some(RbacStats {
            allowed: store.counter(&format!("{prefix}allowed")),
            denied: store.counter(&format!("{prefix}denied")),
            shadow_allowed: store.counter(&format!("{shadow}shadow_allowed")),
            shadow_denied: store.counter(&format!("{shadow}shadow_denied")),
        });
    }

    fn wants_data(&self) -> bool {
        true
    }

    fn wants_all_data(&self) -> bool {
        self.is_continuous
    }

    fn on_data(&self, connection: &mut Connection<'_>) -> Flow {
        let info = &mut *connection.info;
        if let Some(shadow) = &self.shadow {
            let decision = shadow.decide(&facts(info));
            self.shadow_fields.note(&decision, info);
            self.count(|stats| match decision.is_allowed {
                true => stats.shadow_allowed,
                false => stats.shadow_denied,
            });
        }
        let Some(rules) = &self.rules else {
            return Flow::Continue;
        };
        let decision = rules.decide(&facts(info));
        note_log(&decision, info);
        if decision.is_allowed {
            self.count(|stats| stats.allowed);
            return Flow::Continue;
        }
        self.count(|stats| stats.denied);
        let denial = (decision.policy).map_or(NO_POLICY_DENIAL, |policy| &*policy.denial);
        info.connection_termination_details.copy(denial);
        match self.delay {
            None => Flow::Close,
            Some(delay) => Flow::Wait(Box::pin(reactor::sleep(delay))),
        }
    }

    fn resume(&self, _connection: &mut Connection<'_>) -> Flow {
        Flow::Close
    }
}

/// A part of a name with the dot behind it, unless there is none of either.
fn dotted(part: &str) -> String {
    match part.is_empty() || part.ends_with('.') {
        true => part.to_owned(),
        false => format!("{part}."),
    }
}
