//! The figures of a run: the file that keeps them, and the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::list::List;
use crate::compare::peers::Subject;
use crate::compare::results::{kernel_version, quantile, today};
use crate::compare::table::aligned;

/// Everything that is kept of a run. Names no machine, user or path.
#[derive(Serialize)]
pub struct Results {
    #[serde(skip)]
    label: String,
    date: String,
    kernel: String,
    cores: usize,
    rounds: usize,
    seconds_per_round: f64,
    versions: BTreeMap<String, String>,
    pub cells: Vec<Cell>,
    /// What a reader must know: missing peers, a machine that was not idle.
    pub notes: Vec<String>,
}

/// One proxy with one list.
#[derive(Serialize)]
pub struct Cell {
    list: List,
    length: usize,
    proxy: &'static str,
    /// The median of all rounds.
    cpu_us_per_request: f64,
    /// Difference between the upper and the lower quartile.
    spread: f64,
    faults: u64,
    samples: Vec<Sample>,
}

/// One round.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    pub cpu_us_per_request: f64,
    pub requests_per_second: f64,
    /// Answers that were not those of the last entry.
    pub faults: u64,
}

impl Cell {
    /// Sums up the rounds of one proxy, of which there is at least one.
    pub fn new(list: List, length: usize, proxy: &'static str, samples: Vec<Sample>) -> Cell {
        let mut values: Vec<f64> = samples.iter().map(|s| s.cpu_us_per_request).collect();
        values.sort_by(f64::total_cmp);
        let at = |share| quantile(&values, share).unwrap_or_default();
        Cell {
            list,
            length,
            proxy,
            cpu_us_per_request: at(0.5),
            spread: at(0.75) - at(0.25),
            faults: samples.iter().map(|sample| sample.faults).sum(),
            samples,
        }
    }
}

impl Results {
    /// Results without figures yet.
    pub fn new(
        label: &str,
        subjects: &[Subject],
        cores: usize,
        rounds: usize,
        seconds: Duration,
    ) -> Results {
        let versions = subjects.iter();
        Results {
            label: label.to_owned(),
            date: today(),
            kernel: kernel_version(),
            cores,
            rounds,
            seconds_per_round: seconds.as_secs_f64(),
            versions: versions
                .map(|subject| (subject.name.to_owned(), subject.version.clone()))
                .collect(),
            cells: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Writes `route-LABEL.json` into a directory.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let path = directory.join(format!("route-{}.json", self.label));
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(&path, text + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// A row for each list and proxy, a column for each length.
    pub fn render(&self) -> String {
        let mut lengths: Vec<usize> = self.cells.iter().map(|cell| cell.length).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut heading = vec!["CPU µs/request".to_owned(), "proxy".to_owned()];
        heading.extend(lengths.iter().map(ToString::to_string));
        heading.push("faults".to_owned());
        let mut rows = vec![heading];
        let mut seen: Vec<(List, &str)> = Vec::new();
        for Cell { list, proxy, .. } in &self.cells {
            if seen.contains(&(*list, proxy)) {
                continue;
            }
            seen.push((*list, proxy));
            rows.push(self.row(*list, proxy, &lengths));
        }
        let versions: Vec<_> = self
            .versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let mut out = format!(
            "Linux {}, {} cores, {} rounds of {} s, medians (± half the distance between quartiles); {}\n\n{}",
            self.kernel,
            self.cores,
            self.rounds,
            self.seconds_per_round,
            versions.join(", "),
            aligned(&rows)
        );
        for note in &self.notes {
            out.push_str(&format!("\nNote: {note}\n"));
        }
        out
    }

    fn row(&self, list: List, proxy: &str, lengths: &[usize]) -> Vec<String> {
        let cell = |length: usize| {
            let mut cells = self.cells.iter();
            cells.find(|cell| (cell.list, cell.proxy, cell.length) == (list, proxy, length))
        };
        let mut row = vec![list.title().to_owned(), proxy.to_owned()];
        row.extend(lengths.iter().map(|length| match cell(*length) {
            Some(cell) => format!("{:.2} ± {:.2}", cell.cpu_us_per_request, cell.spread / 2.0),
            None => "–".to_owned(),
        }));
        let faults: u64 = lengths
            .iter()
            .filter_map(|length| Some(cell(*length)?.faults))
            .sum();
        row.push(faults.to_string());
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_columns() {
        let sample = |cpu| Sample {
            cpu_us_per_request: cpu,
            requests_per_second: 1.0,
            faults: 1,
        };
        let mut results = Results::new("x", &[], 2, 2, Duration::from_secs(1));
        results.cells = vec![
            Cell::new(List::Path, 10, "ringway", vec![sample(1.0), sample(2.0)]),
            Cell::new(List::Path, 10, "envoy", vec![sample(10.0)]),
            Cell::new(List::Path, 1_000, "ringway", vec![sample(3.0)]),
        ];
        let text = results.render();
        let table: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            table,
            [
                "| CPU µs/request |   proxy |           10 |        1000 | faults |",
                "|----------------|--------:|-------------:|------------:|-------:|",
                "| routes: path   | ringway |  1.50 ± 0.25 | 3.00 ± 0.00 |      3 |",
                "| routes: path   |   envoy | 10.00 ± 0.00 |           – |      1 |",
            ]
        );
    }
}
