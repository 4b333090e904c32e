//! Outlier detection (`envoy.config.cluster.v3.OutlierDetection`): when a host
//! that answers worse than it should is left out, and for how long. Compiled
//! types on top, lowering below.

mod error_matcher;

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::google::protobuf::UInt32Value;

use crate::context::Cx;
use crate::core;
use crate::runtime::{RuntimeKey, RuntimeValues};

pub use error_matcher::ErrorMatcher;

/// A number that the runtime may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    key: RuntimeKey,
    /// What the configuration says.
    pub configured: u64,
}

impl Setting {
    /// What holds now.
    #[must_use]
    pub fn get(&self, runtime: &RuntimeValues) -> u64 {
        runtime.integer(self.key, self.configured)
    }

    /// What holds now of a number of milliseconds.
    #[must_use]
    pub fn duration(&self, runtime: &RuntimeValues) -> Duration {
        Duration::from_millis(self.get(runtime))
    }
}

/// Errors of one origin: those that hosts answer with, or those that the proxy
/// meets on the way to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerOrigin {
    /// Percent of hosts with a bad success rate that are ejected indeed.
    pub enforcing_success_rate: Setting,
    /// Percent of hosts that fail too often that are ejected indeed.
    pub enforcing_failure_percentage: Setting,
}

/// Outlier detection of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Milliseconds between two looks at all hosts.
    pub interval_ms: Setting,
    /// Milliseconds that a host is ejected for the first time.
    pub base_ejection_time_ms: Setting,
    /// However often a host was ejected, it is for no longer than this.
    pub max_ejection_time_ms: Setting,
    /// A random part of this comes on top.
    pub max_ejection_time_jitter_ms: Setting,
    /// Hosts that may be ejected at once.
    pub max_ejection_percent: Setting,
    /// One host may be ejected whatever `max_ejection_percent` says.
    pub always_eject_one_host: bool,
    /// The proxy's own errors have detectors of their own.
    pub split_external_local_origin_errors: bool,
    /// An active health check that passes ends an ejection.
    pub successful_active_health_check_uneject_host: bool,
    /// A host that calls itself degraded in a response is.
    pub detect_degraded_hosts: bool,
    /// Runs of errors, by [`Streak`].
    pub consecutive: [Setting; 3],
    /// Percent of such runs that lead to an ejection indeed, by [`Streak`].
    pub enforcing_consecutive: [Setting; 3],
    /// By [`Origin`].
    pub per_origin: [PerOrigin; 2],
    /// So many hosts need enough requests before their rates are compared.
    pub success_rate_minimum_hosts: Setting,
    /// So many requests in an interval make a rate that counts.
    pub success_rate_request_volume: Setting,
    /// Thousandths of a standard deviation below the mean that a rate may be.
    pub success_rate_stdev_factor: Setting,
    /// Percent of failures that are too many.
    pub failure_percentage_threshold: Setting,
    /// So many hosts need enough requests before failures are looked at.
    pub failure_percentage_minimum_hosts: Setting,
    /// So many requests in an interval make a percentage that counts.
    pub failure_percentage_request_volume: Setting,
}

/// What is counted in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streak {
    /// 5xx, and the proxy's own errors if they are not split off.
    ServerError,
    /// 502, 503, 504.
    GatewayFailure,
    /// Connections that fail, resets, timeouts.
    LocalOrigin,
}

/// Whose errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// What hosts answer; everything, if it is not split.
    External,
    /// What the proxy meets on the way to a host.
    Local,
}

/// Lowers the field `outlier_detection` of a cluster, at which `cx` is.
pub(crate) fn lower(proto: &pb::OutlierDetection, cx: &mut Cx<'_>) -> OutlierDetection {
    for i in 0..proto.monitors.len() {
        cx.index("monitors", i, |cx| {
            cx.error("Envoy 1.40 is built without any monitor that could be named here");
        });
    }
    let base = milliseconds(proto.base_ejection_time, "base_ejection_time", 30_000, cx);
    let max = milliseconds(
        proto.max_ejection_time,
        "max_ejection_time",
        base.max(300_000),
        cx,
    );
    if max < base {
        cx.error_at(
            "max_ejection_time",
            format!(
                "{max} ms is shorter than base_ejection_time, {base} ms: the first ejection \
                 would already last too long"
            ),
        );
    }
    let interval = milliseconds(proto.interval, "interval", 10_000, cx);
    let jitter = milliseconds(
        proto.max_ejection_time_jitter,
        "max_ejection_time_jitter",
        0,
        cx,
    );
    let of = |name: &str, configured: u64| Setting {
        key: cx.runtime_keys.id(&format!("outlier_detection.{name}")),
        configured,
    };
    let number = |name: &str, proto: Option<UInt32Value>, default: u32| {
        of(name, u64::from(core::u32_or(proto, default)))
    };
    OutlierDetection {
        interval_ms: of("interval_ms", interval),
        base_ejection_time_ms: of("base_ejection_time_ms", base),
        max_ejection_time_ms: of("max_ejection_time_ms", max),
        max_ejection_time_jitter_ms: of("max_ejection_time_jitter_ms", jitter),
        max_ejection_percent: number("max_ejection_percent", proto.max_ejection_percent, 10),
        always_eject_one_host: core::bool_or(proto.always_eject_one_host, false),
        split_external_local_origin_errors: proto.split_external_local_origin_errors,
        successful_active_health_check_uneject_host: core::bool_or(
            proto.successful_active_health_check_uneject_host,
            true,
        ),
        detect_degraded_hosts: core::bool_or(proto.detect_degraded_hosts, false),
        consecutive: [
            number("consecutive_5xx", proto.consecutive_5xx, 5),
            number(
                "consecutive_gateway_failure",
                proto.consecutive_gateway_failure,
                5,
            ),
            number(
                "consecutive_local_origin_failure",
                proto.consecutive_local_origin_failure,
                5,
            ),
        ],
        enforcing_consecutive: [
            number(
                "enforcing_consecutive_5xx",
                proto.enforcing_consecutive_5xx,
                100,
            ),
            number(
                "enforcing_consecutive_gateway_failure",
                proto.enforcing_consecutive_gateway_failure,
                0,
            ),
            number(
                "enforcing_consecutive_local_origin_failure",
                proto.enforcing_consecutive_local_origin_failure,
                100,
            ),
        ],
        per_origin: [
            PerOrigin {
                enforcing_success_rate: number(
                    "enforcing_success_rate",
                    proto.enforcing_success_rate,
                    100,
                ),
                enforcing_failure_percentage: number(
                    "enforcing_failure_percentage",
                    proto.enforcing_failure_percentage,
                    0,
                ),
            },
            PerOrigin {
                enforcing_success_rate: number(
                    "enforcing_local_origin_success_rate",
                    proto.enforcing_local_origin_success_rate,
                    100,
                ),
                enforcing_failure_percentage: number(
                    "enforcing_failure_percentage_local_origin",
                    proto.enforcing_failure_percentage_local_origin,
                    0,
                ),
            },
        ],
        success_rate_minimum_hosts: number(
            "success_rate_minimum_hosts",
            proto.success_rate_minimum_hosts,
            5,
        ),
        success_rate_request_volume: number(
            "success_rate_request_volume",
            proto.success_rate_request_volume,
            100,
        ),
        success_rate_stdev_factor: number(
            "success_rate_stdev_factor",
            proto.success_rate_stdev_factor,
            1900,
        ),
        failure_percentage_threshold: number(
            "failure_percentage_threshold",
            proto.failure_percentage_threshold,
            85,
        ),
        failure_percentage_minimum_hosts: number(
            "failure_percentage_minimum_hosts",
            proto.failure_percentage_minimum_hosts,
            5,
        ),
        failure_percentage_request_volume: number(
            "failure_percentage_request_volume",
            proto.failure_percentage_request_volume,
            50,
        ),
    }
}

fn milliseconds(
    proto: Option<envoy_types::pb::google::protobuf::Duration>,
    name: &str,
    default: u64,
    cx: &mut Cx<'_>,
) -> u64 {
    core::duration(proto, name, cx).map_or(default, |given| given.as_millis() as u64)
}
