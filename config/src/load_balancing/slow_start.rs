//! `SlowStartConfig`, which the older and the newer form have each as a message
//! of their own.

use envoy_types::pb::envoy::config::cluster::v3::cluster as older_pb;
use envoy_types::pb::envoy::config::core::v3::RuntimeDouble;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3 as common_pb;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::Duration;
use ringway_lb::config::SlowStart;

use super::{Balancing, percent, runtime_double};
use crate::context::Cx;
use crate::core;

/// The fields of either message.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    window: Option<Duration>,
    aggression: Option<&'a RuntimeDouble>,
    min_weight_percent: Option<Percent>,
}

impl<'a> From<&'a common_pb::SlowStartConfig> for Fields<'a> {
    fn from(proto: &'a common_pb::SlowStartConfig) -> Self {
        Self {
            window: proto.slow_start_window,
            aggression: proto.aggression.as_ref(),
            min_weight_percent: proto.min_weight_percent,
        }
    }
}

impl<'a> From<&'a older_pb::SlowStartConfig> for Fields<'a> {
    fn from(proto: &'a older_pb::SlowStartConfig) -> Self {
        Self {
            window: proto.slow_start_window,
            aggression: proto.aggression.as_ref(),
            min_weight_percent: proto.min_weight_percent,
        }
    }
}

impl Balancing {
    /// Lowers the field `slow_start_config`. Without a window there is none.
    pub(super) fn slow_start(
        &mut self,
        fields: Option<Fields<'_>>,
        cx: &mut Cx<'_>,
    ) -> Option<SlowStart> {
        let fields = fields?;
        cx.field("slow_start_config", |cx| {
            let window = core::duration(fields.window, "slow_start_window", cx)?;
            let (aggression, key) = runtime_double(fields.aggression, AGGRESSION, cx);
            self.keys.slow_start_aggression = key;
            Some(SlowStart {
                window_ms: u64::try_from(window.as_millis()).ok()?,
                aggression,
                min_weight_percent: percent(fields.min_weight_percent, MIN_WEIGHT_PERCENT),
            })
        })
    }
}

/// Envoy's defaults: growing evenly, and a tenth at the least.
const AGGRESSION: f64 = 1.0;
const MIN_WEIGHT_PERCENT: f64 = 10.0;
