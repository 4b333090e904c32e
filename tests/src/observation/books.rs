//! What a program has written about what happened: counters and logs.

use std::collections::BTreeMap;

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
