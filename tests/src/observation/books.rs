//! What a program has written about what happened: counters and logs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::admin::Stats;

/// What moved between two looks, of what is counted.
#[must_use]
pub fn moved(
    before: &Stats,
    after: &Stats,
    is_counted: impl Fn(&str) -> bool,
) -> BTreeMap<String, i64> {
    let names = before.keys().chain(after.keys());
    names
        .filter(|name| is_counted(name))
        .filter_map(|name| {
            let value = |stats: &Stats| stats.get(name).copied().unwrap_or(0) as i64;
            let by = value(after) - value(before);
            (by != 0).then(|| (name.clone(), by))
        })
        .collect()
}

/// What was added to a log behind its first `start` bytes, once there are so many
/// lines; after `patience`, those that there are.
#[must_use]
pub fn logged(path: &Path, start: usize, lines: usize, patience: Duration) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let bytes = std::fs::read(path).unwrap_or_default();
        let new = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned();
        if new.lines().count() >= lines || begun.elapsed() > patience {
            return new.lines().map(str::to_owned).collect();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
