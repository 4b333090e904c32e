//! `envoy.load_balancing_policies.client_side_weighted_round_robin`, and
//! `wrr_locality` around it: weights from what hosts report of their load.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::load_balancing_policies::{
    client_side_weighted_round_robin::v3::ClientSideWeightedRoundRobin,
    wrr_locality::v3::WrrLocality,
};
use envoy_types::pb::google::protobuf::Duration;
use prost::Name;
use ringway_lb::client_side_weighted_round_robin::{MetricName, WeightConfig};
use ringway_lb::config::{LocalityMode, Policy};

use super::Balancing;
use crate::context::{Cx, type_name};
use crate::core;

impl Balancing {
    pub(super) fn take_reported_weights(
        &mut self,
        proto: &ClientSideWeightedRoundRobin,
        cx: &mut Cx<'_>,
    ) {
        if core::bool_or(proto.enable_oob_load_report, false) {
            cx.error_at(
                "enable_oob_load_report",
                "reports come with responses only; a stream of them needs gRPC to the hosts, which \
                 is not supported yet",
            );
        }
        let slow_start = proto.slow_start_config.as_ref().map(Into::into);
        self.config.policy = Policy::ClientSideWeightedRoundRobin {
            slow_start: self.slow_start(slow_start, cx),
        };
        self.reported_weights = Some(Arc::new(weight_config(proto, cx)));
    }

    pub(super) fn take_wrr_locality(&mut self, proto: &WrrLocality, cx: &mut Cx<'_>) {
        // The rules of the API ask for the field.
        let policies = proto.endpoint_picking_policy.clone().unwrap_or_default();
        cx.field("endpoint_picking_policy", |cx| {
            match self.take_first(&policies, cx) {
                None => cx.error("none of these policies is known"),
                Some(taken) if type_name(taken) != ClientSideWeightedRoundRobin::full_name() => {
                    cx.error(format!(
                        "only {} may be inside wrr_locality, in Envoy too",
                        ClientSideWeightedRoundRobin::full_name()
                    ));
                }
                Some(_) => {}
            }
        });
        self.config.common.locality = LocalityMode::Weighted;
    }
}

fn weight_config(proto: &ClientSideWeightedRoundRobin, cx: &mut Cx<'_>) -> WeightConfig {
    let default = WeightConfig::default();
    let mut ms = |field: Option<Duration>, name: &str, default: u64| {
        let given = core::duration(field, name, cx);
        given.map_or(default, |given| given.as_millis() as u64)
    };
    let names = &proto.metric_names_for_computing_utilization;
    WeightConfig {
        blackout_period_ms: ms(
            proto.blackout_period,
            "blackout_period",
            default.blackout_period_ms,
        ),
        weight_expiration_period_ms: ms(
            proto.weight_expiration_period,
            "weight_expiration_period",
            default.weight_expiration_period_ms,
        ),
        weight_update_period_ms: ms(
            proto.weight_update_period,
            "weight_update_period",
            default.weight_update_period_ms,
        )
        .max(UPDATE_PERIOD_MIN_MS),
        error_utilization_penalty: proto
            .error_utilization_penalty
            .map_or(default.error_utilization_penalty, |penalty| {
                f64::from(penalty.value)
            }),
        metrics: (names.iter().map(String::as_str))
            .map(MetricName::from)
            .collect(),
    }
}

/// The API says so.
const UPDATE_PERIOD_MIN_MS: u64 = 100;
