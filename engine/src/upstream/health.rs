//! What may be known against a host, and what follows for balancing.

use ringway_config::endpoint::AssignedHealth;
use ringway_lb::members::Health;

use super::host::SharedHost;

/// One thing that is known against a host; `/clusters` shows them under these
/// names (`envoy.admin.v3.HostHealthStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthFlag {
    /// An active health check finds it unhealthy.
    FailedActiveHc,
    /// Outlier detection has ejected it.
    FailedOutlierCheck,
    /// Whoever configured it calls it unhealthy.
    FailedEdsHealth,
    /// An active health check finds it degraded.
    DegradedActiveHc,
    /// Whoever configured it calls it degraded.
    DegradedEdsHealth,
    /// It is no longer configured, and stays for as long as it is healthy.
    PendingDynamicRemoval,
    /// Its first health check is still out.
    PendingActiveHc,
    /// A response of its own said `x-envoy-immediate-health-check-fail`.
    ExcludedViaImmediateHcFail,
    /// Its last active health check timed out.
    ActiveHcTimeout,
    /// Whoever configured it drains it.
    EdsStatusDraining,
    /// Outlier detection has seen it call itself degraded.
    DegradedOutlierDetection,
}

impl HealthFlag {
    /// The flag as a bit of its own.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The flags that a configured health stands for, set or not.
    #[must_use]
    pub fn of_assigned(health: AssignedHealth) -> [(Self, bool); 3] {
        [
            (Self::FailedEdsHealth, health == AssignedHealth::Unhealthy),
            (Self::DegradedEdsHealth, health == AssignedHealth::Degraded),
            (Self::EdsStatusDraining, health == AssignedHealth::Draining),
        ]
    }
}

/// How balancing sees a host with the flags that it has.
#[must_use]
pub fn coarse(host: &SharedHost) -> Health {
    let any = |flags: &[HealthFlag]| flags.iter().any(|flag| host.has(*flag));
    if any(&[
        HealthFlag::FailedActiveHc,
        HealthFlag::FailedOutlierCheck,
        HealthFlag::FailedEdsHealth,
        HealthFlag::EdsStatusDraining,
    ]) {
        Health::Unhealthy
    } else if any(&[
        HealthFlag::DegradedActiveHc,
        HealthFlag::DegradedEdsHealth,
        HealthFlag::DegradedOutlierDetection,
    ]) {
        Health::Degraded
    } else {
        Health::Healthy
    }
}

/// Whether a host is left out when the health of its priority is computed.
#[must_use]
pub fn is_excluded(host: &SharedHost) -> bool {
    [
        HealthFlag::PendingActiveHc,
        HealthFlag::ExcludedViaImmediateHcFail,
        HealthFlag::EdsStatusDraining,
    ]
    .into_iter()
    .any(|flag| host.has(flag))
}
