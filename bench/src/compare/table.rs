//! Results as Markdown tables, aligned so that they read well in a terminal too.

use std::fmt::Write;

use super::results::{Results, Table};

/// Renders all tables, then the goals and the notes. Ratios are to `reference` and to the floor.
pub fn render(results: &Results, reference: &str) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "Linux {}, {} cores, {} rounds of {} s, medians (± half the distance between quartiles)",
        results.kernel, results.cores, results.rounds, results.seconds_per_round
    );
    let versions: Vec<_> = results
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let _ = writeln!(out, "{}", versions.join(", "));
    for table in &results.tables {
        let _ = write!(
            out,
            "\n{}\n\n{}",
            table.title,
            aligned(&rows(table, reference))
        );
    }
    if !results.goals.is_empty() {
        let _ = write!(out, "\nGoals\n\n{}", aligned(&goals(results)));
    }
    for note in &results.notes {
        let _ = writeln!(out, "\nNote: {note}");
    }
    out
}

fn rows(table: &Table, reference: &str) -> Vec<Vec<String>> {
    let metrics = table.scenario.metrics();
    let mut heading = vec![String::new()];
    heading.extend(metrics.iter().map(|metric| metric.heading.to_owned()));
    heading.extend([
        format!("÷ {reference}"),
        "÷ floor".to_owned(),
        "faults".to_owned(),
    ]);
    let mut rows = vec![heading];
    for row in &table.rows {
        let mut cells = vec![row.name.clone()];
        for (position, metric) in metrics.iter().enumerate() {
            let mut cell = number(row.medians.get(metric.key).copied(), metric.decimals);
            if position + 1 == metrics.len()
                && let Some(spread) = row.spread.get(metric.key)
            {
                let _ = write!(cell, " ± {:.*}", metric.decimals, spread / 2.0);
            }
            cells.push(cell);
        }
        cells.push(number(table.ratio(&row.name, reference), 2));
        cells.push(number(table.ratio(&row.name, "floor"), 2));
        cells.push(row.faults.to_string());
        rows.push(cells);
    }
    rows
}

fn goals(results: &Results) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["goal", "at most", "measured", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for verdict in &results.goals {
        let decimals = if verdict.limit < 100.0 { 2 } else { 0 };
        let mark = match verdict.met {
            Some(true) => "met",
            Some(false) => "**MISSED**",
            None => "not measured",
        };
        rows.push(vec![
            verdict.goal.to_owned(),
            format!("{:.decimals$}", verdict.limit),
            number(verdict.value, decimals),
            mark.to_owned(),
        ]);
    }
    rows
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

/// A Markdown table whose first column is text and whose others are numbers.
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(out, "| {cell:<width$} "),
                _ => write!(out, "| {cell:>width$} "),
            };
        }
        out.push_str("|\n");
        if index == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let line = "-".repeat(width + 1);
                let _ = match column {
                    0 => write!(out, "|-{line}"),
                    _ => write!(out, "|{line}:"),
                };
            }
            out.push_str("|\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::results::Row;
    use super::super::scenario::{Sample, Scenario};
    use super::*;

    #[test]
    fn tables_are_markdown_with_ratios_and_dashes_for_what_is_missing() {
        let row = |name, samples: &[f64]| {
            let samples: Vec<_> = samples
                .iter()
                .map(|&cpu| Sample {
                    values: vec![1.5, cpu],
                    faults: 0,
                })
                .collect();
            Row::new(name, Scenario::Bodies, &samples)
        };
        let rows = vec![
            row("ringway", &[0.25]),
            row("haproxy", &[0.5]),
            row("nginx", &[]),
        ];
        let table = Table {
            scenario: Scenario::Bodies,
            title: String::new(),
            rows,
        };
        let text = aligned(&super::rows(&table, "ringway"));
        assert_eq!(
            text,
            "\
|         | GB/s |      CPU s/GB | ÷ ringway | ÷ floor | faults |
|---------|-----:|--------------:|----------:|--------:|-------:|
| ringway | 1.50 | 0.250 ± 0.000 |      1.00 |       – |      0 |
| haproxy | 1.50 | 0.500 ± 0.000 |      2.00 |       – |      0 |
| nginx   |    – |             – |         – |       – |      0 |
"
        );
    }
}
