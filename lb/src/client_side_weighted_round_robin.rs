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
    /// Entries of the report's maps, by the number of their name in the
    /// configuration.
    entries: Vec<f64>,
}

/// How reports become weights.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightConfig {
    /// `blackout_period`: so long a host must have reported before.
    pub blackout_period_ms: u64,
    /// `weight_expiration_period`: so long a report is worth something.
    pub weight_expiration_period_ms: u64,
    /// `weight_update_period`: how often weights are made of reports.
    pub weight_update_period_ms: u64,
    /// `error_utilization_penalty`.
    pub error_utilization_penalty: f64,
    /// `metric_names_for_computing_utilization`.
    pub metrics: Vec<MetricName>,
}

/// Envoy's defaults: what errors cost is 0, whatever the API says of it.
impl Default for WeightConfig {
    fn default() -> Self {
        Self {
            blackout_period_ms: 10_000,
            weight_expiration_period_ms: 180_000,
            weight_update_period_ms: 1000,
            error_utilization_penalty: 0.0,
            metrics: Vec::new(),
        }
    }
}

/// A metric by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricName {
    /// `cpu_utilization`
    CpuUtilization,
    /// `mem_utilization`
    MemUtilization,
    /// `application_utilization`
    ApplicationUtilization,
    /// `eps`
    Eps,
    /// `rps_fractional`
    RpsFractional,
    /// The entry of a map: the map's name, a dot and the key, or `*` for the
    /// highest of all. A name that says nothing is one of these too, and never
    /// found.
    Entry(Box<str>),
}

impl From<&str> for MetricName {
    fn from(name: &str) -> Self {
        match name {
            "cpu_utilization" => Self::CpuUtilization,
            "mem_utilization" => Self::MemUtilization,
            "application_utilization" => Self::ApplicationUtilization,
            "eps" => Self::Eps,
            "rps_fractional" => Self::RpsFractional,
            _ => Self::Entry(name.into()),
        }
    }
}

impl LoadReport {
    /// Makes it a report that says nothing.
    pub fn clear(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.clear();
        *self = Self {
            entries,
            ..Self::default()
        };
    }

    /// An entry of one of the report's maps, if the configuration asks for it.
    pub fn set_entry(&mut self, map: &str, key: &[u8], value: f64, config: &WeightConfig) {
        for (place, name) in config.metrics.iter().enumerate() {
            let MetricName::Entry(name) = name else {
                continue;
            };
            let rest = name.strip_prefix(map);
            let Some(wanted) = rest.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            if wanted != "*" && wanted.as_bytes() != key {
                continue;
            }
            if self.entries.len() <= place {
                self.entries.resize(place + 1, 0.0);
            }
            let before = &mut self.entries[place];
            *before = match wanted {
                "*" => value.max(*before),
                _ => value,
            };
        }
    }

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
        let metrics = config.metrics.iter().enumerate();
        let highest = metrics
            .map(|(place, name)| self.metric(place, name))
            .fold(0.0, f64::max);
        if highest > 0.0 {
            highest
        } else if self.application_utilization > 0.0 {
            self.application_utilization
        } else {
            self.cpu_utilization
        }
    }

    fn metric(&self, place: usize, name: &MetricName) -> f64 {
        match name {
            MetricName::CpuUtilization => self.cpu_utilization,
            MetricName::MemUtilization => self.mem_utilization,
            MetricName::ApplicationUtilization => self.application_utilization,
            MetricName::Eps => self.eps,
            MetricName::RpsFractional => self.rps_fractional,
            MetricName::Entry(_) => self.entries.get(place).copied().unwrap_or(0.0),
        }
    }
}

/// What is known of one host's weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportedWeight {
    /// By its last report.
    pub weight: u32,
    /// Since when it reports without a long pause; `None` for a host that does
    /// not.
    pub since_ms: Option<u64>,
    /// When its last report came.
    pub last_ms: u64,
}

impl ReportedWeight {
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

    /// A report comes.
    fn update(host: &mut ReportedWeight, weight: u32, now_ms: u64) {
        *host = ReportedWeight {
            weight,
            since_ms: host.since_ms.or(Some(now_ms)),
            last_ms: now_ms,
        };
    }

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
        let config = WeightConfig {
            error_utilization_penalty: 1.0,
            ..WeightConfig::default()
        };
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
        assert_eq!(report.weight(&WeightConfig::default()), Some(250));
    }

    #[test]
    fn configured_metrics_come_first_and_the_highest_counts() {
        let weight = |names: &[&str]| {
            let config = WeightConfig {
                metrics: names.iter().map(|name| MetricName::from(*name)).collect(),
                ..WeightConfig::default()
            };
            let mut report = report(100.0, 0.0, 0.5, 0.1);
            report.set_entry("utilization", b"of before", 0.01, &config);
            report.clear();
            report.rps_fractional = 100.0;
            report.application_utilization = 0.5;
            report.cpu_utilization = 0.1;
            report.mem_utilization = 0.25;
            report.set_entry("named_metrics", b"queue", 0.1, &config);
            report.set_entry("utilization", b"disk", 0.2, &config);
            report.set_entry("named_metrics", b"queue", 0.8, &config);
            report.weight(&config)
        };
        let both = &["named_metrics.queue", "utilization.disk"];
        assert_eq!(weight(both), Some(125));
        assert_eq!(weight(&["utilization.disk"]), Some(500));
        assert_eq!(weight(&["mem_utilization", "cpu_utilization"]), Some(400));
        assert_eq!(weight(&["rps_fractional"]), Some(1));
        assert_eq!(weight(&["named_metrics.*"]), Some(125));
        for nothing in [
            "named_metrics.disk",
            "utilization.of before",
            "queue",
            "utilization.",
            "",
        ] {
            assert_eq!(weight(&[nothing]), Some(200), "{nothing:?}");
        }
    }

    #[test]
    fn a_weight_counts_after_the_blackout_and_until_it_expires() {
        let config = WeightConfig::default();
        let mut host = ReportedWeight::default();
        assert_eq!(host.valid(&config, 0), None);
        update(&mut host, 7, 1000);
        assert_eq!(host.valid(&config, 10_999), None);
        assert_eq!(host.valid(&config, 11_000), Some(7));
        update(&mut host, 9, 20_000);
        assert_eq!(host.valid(&config, 200_000), Some(9));
        assert_eq!(host.valid(&config, 200_001), None, "expired");
        update(&mut host, 5, 201_000);
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
                        update(&mut host, *weight, 0);
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
