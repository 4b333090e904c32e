//! The results of a comparison: medians, spread, ratios, and the file that keeps them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::Serialize;

use super::goals::Verdict;
use super::scenario::{Sample, Scenario};

/// Everything that is kept of a run. Names no machine, user or path.
#[derive(Serialize)]
pub struct Results {
    pub label: String,
    pub date: String,
    pub kernel: String,
    pub cores: usize,
    pub rounds: usize,
    pub seconds_per_round: f64,
    /// Row names and the versions of the programs behind them.
    pub versions: BTreeMap<String, String>,
    pub tables: Vec<Table>,
    pub goals: Vec<Verdict>,
    /// What a reader must know: missing peers, limits that were lowered.
    pub notes: Vec<String>,
}

/// One scenario's rows.
#[derive(Serialize)]
pub struct Table {
    pub scenario: Scenario,
    pub title: String,
    pub rows: Vec<Row>,
}

/// One proxy in one scenario.
#[derive(Serialize)]
pub struct Row {
    pub name: String,
    pub medians: BTreeMap<&'static str, f64>,
    /// Difference between the upper and the lower quartile.
    pub spread: BTreeMap<&'static str, f64>,
    pub faults: u64,
    /// Every round, in order.
    pub samples: Vec<BTreeMap<&'static str, f64>>,
}

impl Row {
    /// Sums up the rounds of one proxy.
    pub fn new(name: &str, scenario: Scenario, samples: &[Sample]) -> Row {
        let mut row = Row {
            name: name.to_owned(),
            medians: BTreeMap::new(),
            spread: BTreeMap::new(),
            faults: samples.iter().map(|s| s.faults).sum(),
            samples: vec![BTreeMap::new(); samples.len()],
        };
        for (position, metric) in scenario.metrics().iter().enumerate() {
            let mut values = Vec::with_capacity(samples.len());
            for (sample, kept) in samples.iter().zip(&mut row.samples) {
                values.push(sample.values[position]);
                kept.insert(metric.key, sample.values[position]);
            }
            values.sort_by(f64::total_cmp);
            if let Some(median) = quantile(&values, 0.5) {
                row.medians.insert(metric.key, median);
            }
            if let (Some(low), Some(high)) = (quantile(&values, 0.25), quantile(&values, 0.75)) {
                row.spread.insert(metric.key, high - low);
            }
        }
        row
    }
}

impl Table {
    /// A proxy's median.
    pub fn median(&self, name: &str, key: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.name == name)?;
        row.medians.get(key).copied()
    }

    /// How many times as much one proxy needs as another, by the scenario's last figure.
    pub fn ratio(&self, name: &str, reference: &str) -> Option<f64> {
        let key = self.scenario.metrics().last()?.key;
        ratio(self.median(name, key)?, self.median(reference, key)?)
    }
}

impl Results {
    /// The table of a scenario, if it was measured.
    pub fn table(&self, scenario: Scenario) -> Option<&Table> {
        self.tables.iter().find(|table| table.scenario == scenario)
    }

    /// Writes `KIND-LABEL.json` into a directory.
    pub fn write(&self, kind: &str, directory: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let path = directory.join(format!("{kind}-{}.json", self.label));
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(&path, text + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// A quotient, where it means something.
pub fn ratio(value: f64, reference: f64) -> Option<f64> {
    (reference > 0.0).then(|| value / reference)
}

/// A quantile of sorted values, between the two nearest ones.
pub fn quantile(sorted: &[f64], quantile: f64) -> Option<f64> {
    let position = quantile * (sorted.len().checked_sub(1)?) as f64;
    let (below, part) = (position as usize, position.fract());
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    Some(sorted[below] + (above - sorted[below]) * part)
}

/// The version numbers of the running kernel, without what a vendor appends to them.
pub fn kernel_version() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let numbers = release
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()
        .unwrap_or_default();
    numbers.trim_end_matches('.').to_owned()
}

/// Today in UTC as `YYYY-MM-DD`.
pub fn today() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    date_of_day(since.as_secs() / 86_400)
}

/// The date of a day counted from 1970-01-01.
fn date_of_day(mut day: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let days = 365 + u64::from(leap(year));
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_sorted_values() {
        for (values, at, expected) in [
            (&[][..], 0.5, None),
            (&[3.0][..], 0.5, Some(3.0)),
            (&[1.0, 2.0][..], 0.5, Some(1.5)),
            (&[1.0, 2.0, 3.0, 4.0, 100.0][..], 0.5, Some(3.0)),
            (&[1.0, 2.0, 3.0, 4.0, 100.0][..], 0.75, Some(4.0)),
            (&[1.0, 2.0][..], 1.0, Some(2.0)),
        ] {
            assert_eq!(quantile(values, at), expected, "{values:?} at {at}");
        }
    }

    #[test]
    fn rows_keep_the_median_of_each_figure_and_all_faults() {
        let sample = |gb, cpu, faults| Sample {
            values: vec![gb, cpu],
            faults,
        };
        let samples = [
            sample(1.0, 0.5, 0),
            sample(3.0, 0.4, 2),
            sample(2.0, 0.6, 1),
        ];
        let row = Row::new("x", Scenario::Bodies, &samples);
        assert_eq!(row.medians.get("gb_per_second"), Some(&2.0));
        assert_eq!(row.medians.get("cpu_s_per_gb"), Some(&0.5));
        assert_eq!((row.faults, row.samples.len()), (3, 3));
        assert_eq!(row.spread.get("gb_per_second"), Some(&1.0));

        let other = Row::new("y", Scenario::Bodies, &[sample(1.0, 1.0, 0)]);
        let table = Table {
            scenario: Scenario::Bodies,
            title: String::new(),
            rows: vec![row, other],
        };
        assert_eq!(table.ratio("y", "x"), Some(2.0));
        assert_eq!(table.ratio("y", "z"), None);
    }

    #[test]
    fn dates() {
        for (day, date) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_453, "2025-12-31"),
        ] {
            assert_eq!(date_of_day(day), date);
        }
    }
}
