//! Client-side weighted round robin
//! (`envoy.load_balancing_policies.client_side_weighted_round_robin`): weights
//! from what hosts report of their load (ORCA,
//! `xds.data.orca.v3.OrcaLoadReport`).
//!
//! Here is the calculation only. Reports come from responses, weights go into
//! `Host::weight` of the next balancer, and picks are round robin.

/// What a host reports of its load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// `cpu_utilization`.
    pub cpu_utilization: f64,
    /// `mem_utilization`.
    pub mem_utilization: f64,
    /// `application_utilization`.
    pub application_utilization: f64,
    /// `rps_fractional`.
    pub rps_fractional: f64,
    /// `eps`.
    pub eps: f64,
    /// The maps by the names that the configuration uses:
    /// `named_metrics.KEY`, `utilization.KEY`, `request_cost.KEY`.
    pub maps: Vec<(String, f64)>,
}

/// How reports become weights.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightConfig {
    /// `blackout_period`: so long a host must have reported before.
    pub blackout_period_ms: u64,
    /// `weight_expiration_period`: so long a report is worth something.
    pub weight_expiration_period_ms: u64,
    /// `error_utilization_penalty`.
    pub error_utilization_penalty: f64,
    /// `metric_names_for_computing_utilization`.
    pub metric_names_for_computing_utilization: Vec<String>,
}

impl Default for WeightConfig {
    fn default() -> Self {
        Self {
            blackout_period_ms: 10_000,
            weight_expiration_period_ms: 180_000,
            error_utilization_penalty: 1.0,
            metric_names_for_computing_utilization: Vec::new(),
        }
    }
}

impl LoadReport {
    /// Requests a second that the host could serve if it were fully used;
    /// `None` when the report does not say.
    #[must_use]
    pub fn weight(&self, config: &WeightConfig) -> Option<u32> {
        let rps = self.rps_fractional;
        if rps.is_nan() || rps <= 0.0 {
            return None;
        }
        let errors = config.error_utilization_penalty * self.eps / rps;
        let utilization = self.utilization(config) + errors;
        if utilization.is_nan() || utilization <= 0.0 {
            return None;
        }
        // A cast of a float saturates.
        Some((rps / utilization) as u32)
    }

    /// The highest of the configured metrics, else the application's own, else
    /// the processor's.
    fn utilization(&self, config: &WeightConfig) -> f64 {
        let names = &config.metric_names_for_computing_utilization;
        let highest = names
            .iter()
            .filter_map(|name| self.metric(name))
            .fold(0.0, f64::max);
        if highest > 0.0 {
            highest
        } else if self.application_utilization > 0.0 {
            self.application_utilization
        } else {
            self.cpu_utilization
        }
    }

    fn metric(&self, name: &str) -> Option<f64> {
        match name {
            "cpu_utilization" => Some(self.cpu_utilization),
            "mem_utilization" => Some(self.mem_utilization),
            "application_utilization" => Some(self.application_utilization),
            "eps" => Some(self.eps),
            "rps_fractional" => Some(self.rps_fractional),
            _ => {
                let entry = self.maps.iter().find(|(key, _)| key == name)?;
                Some(entry.1)
            }
        }
    }
}

/// What is known of one host's weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportedWeight {
    weight: u32,
    /// Since when it reports without a long pause.
    since_ms: Option<u64>,
    last_ms: u64,
}

impl ReportedWeight {
    /// A report came.
    pub fn update(&mut self, weight: u32, now_ms: u64) {
        self.weight = weight;
        self.since_ms.get_or_insert(now_ms);
        self.last_ms = now_ms;
    }

    /// The weight, if it is old enough to be trusted and young enough to be
    /// true. After a pause the host has to report for a while again.
    fn valid(&mut self, config: &WeightConfig, now_ms: u64) -> Option<u32> {
        let since = self.since_ms?;
        let age = |at_ms: u64| now_ms.saturating_sub(at_ms);
        if age(since) < config.blackout_period_ms {
            return None;
        }
        if age(self.last_ms) > config.weight_expiration_period_ms {
            self.since_ms = None;
            return None;
        }
        Some(self.weight)
    }
}

/// The weights of the hosts of one priority at this moment. Hosts without one
/// get the median of the others, or all of them 1.
pub fn weights(reported: &mut [ReportedWeight], config: &WeightConfig, now_ms: u64) -> Vec<u32> {
    let found: Vec<Option<u32>> = reported
        .iter_mut()
        .map(|reported| reported.valid(config, now_ms))
        .collect();
    let mut valid: Vec<u32> = found.iter().copied().flatten().collect();
    let median = median(&mut valid);
    // A host of weight 0 would never be picked again.
    let weight = |weight: &Option<u32>| weight.unwrap_or(median).max(1);
    found.iter().map(weight).collect()
}

fn median(weights: &mut [u32]) -> u32 {
    if weights.is_empty() {
        return 1;
    }
    weights.sort_unstable();
    let upper = weights[weights.len() / 2];
    if weights.len() % 2 == 1 {
        return upper;
    }
    let lower = weights[weights.len() / 2 - 1];
    u32::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rps: f64, eps: f64, application: f64, cpu: f64) -> LoadReport {
        LoadReport {
            rps_fractional: rps,
            eps,
            application_utilization: application,
            cpu_utilization: cpu,
            ..LoadReport::default()
        }
    }

    #[test]
    fn weights_are_requests_by_utilization() {
        let config = WeightConfig::default();
        let table = [
            (report(100.0, 0.0, 0.5, 0.1), Some(200)),
            (report(100.0, 0.0, 0.0, 0.1), Some(1000)),
            (report(100.0, 50.0, 0.5, 0.1), Some(100)),
            (report(100.0, 50.0, 0.0, 0.0), Some(200)),
            (report(0.1, 0.0, 0.5, 0.1), Some(0)),
            (report(1e12, 0.0, 0.01, 0.0), Some(u32::MAX)),
            // Nothing can be said.
            (report(0.0, 0.0, 0.5, 0.1), None),
            (report(-1.0, 0.0, 0.5, 0.1), None),
            (report(f64::NAN, 0.0, 0.5, 0.1), None),
            (report(100.0, 0.0, 0.0, 0.0), None),
            (report(100.0, 0.0, -0.5, -0.1), None),
            (report(100.0, f64::NAN, 0.5, 0.0), None),
        ];
        for (report, expected) in table {
            assert_eq!(report.weight(&config), expected, "{report:?}");
        }
    }

    #[test]
    fn errors_count_as_configured() {
        let config = |error_utilization_penalty| WeightConfig {
            error_utilization_penalty,
            ..WeightConfig::default()
        };
        let report = report(100.0, 10.0, 0.4, 0.0);
        assert_eq!(report.weight(&config(0.0)), Some(250));
        assert_eq!(report.weight(&config(1.0)), Some(200));
        assert_eq!(report.weight(&config(6.0)), Some(100));
    }

    #[test]
    fn configured_metrics_come_first_and_the_highest_counts() {
        let config = |names: &[&str]| WeightConfig {
            metric_names_for_computing_utilization: names
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            ..WeightConfig::default()
        };
        let report = LoadReport {
            mem_utilization: 0.25,
            maps: vec![
                ("named_metrics.queue".into(), 0.8),
                ("utilization.disk".into(), 0.2),
            ],
            ..report(100.0, 0.0, 0.5, 0.1)
        };
        let weight = |names: &[&str]| report.weight(&config(names));
        assert_eq!(
            weight(&["named_metrics.queue", "utilization.disk"]),
            Some(125)
        );
        assert_eq!(weight(&["utilization.disk"]), Some(500));
        assert_eq!(weight(&["mem_utilization", "cpu_utilization"]), Some(400));
        assert_eq!(weight(&["named_metrics.disk"]), Some(200), "not reported");
    }

    #[test]
    fn a_weight_counts_after_the_blackout_and_until_it_expires() {
        let config = WeightConfig::default();
        let mut host = ReportedWeight::default();
        assert_eq!(host.valid(&config, 0), None);
        host.update(7, 1000);
        assert_eq!(host.valid(&config, 10_999), None);
        assert_eq!(host.valid(&config, 11_000), Some(7));
        host.update(9, 20_000);
        assert_eq!(host.valid(&config, 200_000), Some(9));
        assert_eq!(host.valid(&config, 200_001), None, "expired");
        host.update(5, 201_000);
        assert_eq!(host.valid(&config, 210_999), None, "a new blackout");
        assert_eq!(host.valid(&config, 211_000), Some(5));
    }

    #[test]
    fn hosts_without_a_weight_get_the_median() {
        let config = WeightConfig::default();
        let with = |reports: &[Option<u32>]| {
            let mut hosts: Vec<_> = reports
                .iter()
                .map(|report| {
                    let mut host = ReportedWeight::default();
                    if let Some(weight) = report {
                        host.update(*weight, 0);
                    }
                    host
                })
                .collect();
            weights(&mut hosts, &config, 20_000)
        };
        assert_eq!(with(&[None, None]), [1, 1]);
        assert_eq!(with(&[Some(9), None, Some(1), Some(5)]), [9, 5, 1, 5]);
        assert_eq!(with(&[Some(9), None, Some(4)]), [9, 6, 4]);
        assert_eq!(with(&[Some(u32::MAX), None, Some(u32::MAX)])[1], u32::MAX);
        assert_eq!(with(&[Some(0), None]), [1, 1], "0 is no weight");
        assert_eq!(with(&[]), [0; 0]);
    }
}
