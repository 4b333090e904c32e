//! Success rates and failure percentages of the last interval.

use ringway_config::outlier_detection::{Origin, OutlierDetection};

use super::event::Found;
use super::{OutlierDetector, Scene};
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::outlier_detection::{Average, Detector};

impl OutlierDetector {
    /// Ejects hosts whose rates of `origin` are bad.
    pub(super) fn compare_rates(
        &mut self,
        origin: Origin,
        config: &OutlierDetection,
        scene: Scene<'_>,
    ) -> bool {
        let volume = config.success_rate_request_volume.get(scene.runtime);
        let failure_volume = config.failure_percentage_request_volume.get(scene.runtime);
        let minimum = config.success_rate_minimum_hosts.get(scene.runtime);
        let failure_minimum = config.failure_percentage_minimum_hosts.get(scene.runtime);
        let hosts = scene.members.len() as u64;
        let enough_hosts = hosts >= minimum || hosts >= failure_minimum;

        let (mut compared, mut failing): (Vec<Rated<'_>>, Vec<Rated<'_>>) =
            (Vec::new(), Vec::new());
        for member in scene.members {
            let host = &member.shared;
            let Some(monitor) = host.monitor() else {
                continue;
            };
            let now = monitor.counted(origin, scene.store);
            let before = monitor.record(|record| {
                record.success_rate[origin as usize] = None;
                std::mem::replace(&mut record.counted[origin as usize], now)
            });
            let requests = now.0 - before.0;
            if !enough_hosts || requests == 0 || host.has(HealthFlag::FailedOutlierCheck) {
                continue;
            }
            let rate = (now.1 - before.1) as f64 * 100.0 / requests as f64;
            let rated = Rated {
                host,
                rate,
                requests,
            };
            if requests >= volume.min(failure_volume) {
                monitor.record(|record| record.success_rate[origin as usize] = Some(rate));
            }
            if requests >= volume {
                compared.push(rated);
            }
            if requests >= failure_volume {
                failing.push(rated);
            }
        }

        let mut changed = false;
        let mut average = None;
        if !compared.is_empty() && compared.len() as u64 >= minimum {
            let factor = config.success_rate_stdev_factor.get(scene.runtime) as f64 / 1000.0;
            let rates: Vec<f64> = compared.iter().map(|one| one.rate).collect();
            let found = average_of(&rates, factor);
            average = Some(found);
            for rated in compared.iter().filter(|one| one.rate < found.threshold) {
                if let Some(stats) = &self.stats {
                    stats.ejections_success_rate.inc();
                }
                let found = Found::Rate(rated.rate, found);
                changed |= self.eject_rated(rated, Detector::SuccessRate(origin), found, scene);
            }
        }
        self.watch.set_average(origin, average);
        if !failing.is_empty() && failing.len() as u64 >= failure_minimum {
            let threshold = config.failure_percentage_threshold.get(scene.runtime) as f64;
            let fails = |one: &&Rated<'_>| 100.0 - one.rate >= threshold;
            for rated in failing.iter().filter(fails) {
                let found = Found::Percentage(rated.rate, threshold);
                let detector = Detector::FailurePercentage(origin);
                changed |= self.eject_rated(rated, detector, found, scene);
            }
        }
        changed
    }

    fn eject_rated(
        &mut self,
        rated: &Rated<'_>,
        detector: Detector,
        found: Found,
        scene: Scene<'_>,
    ) -> bool {
        if rated.host.has(HealthFlag::FailedOutlierCheck) {
            // Ejected a moment ago for its rate: the percentage finds nothing
            // that could be done.
            return false;
        }
        let (rate, requests) = (rated.rate, rated.requests);
        let reason = || match found {
            Found::Rate(_, average) => format!(
                "{rate:.1} % of {requests} requests succeeded; the mean of all hosts is {:.1} %, \
                 the threshold {:.1} %",
                average.mean, average.threshold
            ),
            Found::Percentage(_, threshold) => format!(
                "{:.1} % of {requests} requests failed; the threshold is {threshold:.0} %",
                100.0 - rate
            ),
            Found::Run => String::new(),
        };
        self.eject(rated.host, detector, found, &reason, scene)
    }
}

/// A host and its rate in the last interval.
#[derive(Clone, Copy)]
struct Rated<'a> {
    host: &'a SharedHost,
    rate: f64,
    requests: u64,
}

/// The mean, and so many standard deviations below it.
fn average_of(rates: &[f64], factor: f64) -> Average {
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let squares = rates.iter().map(|rate| (rate - mean).powi(2));
    let deviation = (squares.sum::<f64>() / count).sqrt();
    Average {
        mean,
        threshold: mean - factor * deviation,
    }
}

#[cfg(test)]
mod tests {
    use super::average_of;

    #[test]
    fn the_threshold_is_so_many_deviations_below_the_mean() {
        let average = average_of(&[50.0, 100.0, 100.0, 100.0, 100.0], 1.9);
        assert!((average.mean - 90.0).abs() < 1e-9);
        assert!((average.threshold - 52.0).abs() < 1e-9);
        let even = average_of(&[99.0, 99.0], 1.9);
        assert!((even.threshold - 99.0).abs() < 1e-9, "nobody is below it");
    }
}
