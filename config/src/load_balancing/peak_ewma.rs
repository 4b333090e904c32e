//! `envoy.load_balancing_policies.peak_ewma`, one of Envoy's contributed
//! extensions, whose messages are in no crate.

use std::time::Duration;

use envoy_types::pb::google::protobuf;
use ringway_lb::config::Policy;

use crate::context::Cx;
use crate::core;

/// `envoy.extensions.load_balancing_policies.peak_ewma.v3alpha.PeakEwma`.
/// `aggregation_interval` and `max_samples_per_host` are left out: they say how
/// Envoy's workers pass samples on to its main thread, and here there is no
/// such step.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PeakEwma {
    #[prost(message, optional, tag = "1")]
    decay_time: Option<protobuf::Duration>,
    #[prost(message, optional, tag = "4")]
    default_rtt: Option<protobuf::Duration>,
    #[prost(message, optional, tag = "5")]
    penalty_value: Option<protobuf::DoubleValue>,
}

impl prost::Name for PeakEwma {
    const NAME: &'static str = "PeakEwma";
    const PACKAGE: &'static str = "envoy.extensions.load_balancing_policies.peak_ewma.v3alpha";
}

impl PeakEwma {
    pub(super) fn lower(&self, cx: &mut Cx<'_>) -> Policy {
        let decay = core::duration(self.decay_time, "decay_time", cx).unwrap_or(DECAY_TIME);
        let rtt = core::duration(self.default_rtt, "default_rtt", cx).unwrap_or(DEFAULT_RTT);
        Policy::PeakEwma {
            decay_us: u64::try_from(decay.as_micros()).unwrap_or(u64::MAX),
            default_rtt_ms: rtt.as_secs_f64() * 1e3,
            penalty: self.penalty_value.map_or(PENALTY, |penalty| penalty.value),
        }
    }
}

/// Envoy's defaults.
const DECAY_TIME: Duration = Duration::from_secs(10);
const DEFAULT_RTT: Duration = Duration::from_millis(10);
const PENALTY: f64 = 1_000_000.0;
