//! What must hold for any bytes whatsoever: shared by the fuzz target and the
//! table tests. Not part of the API.

use super::{METRICS_MAX, Metric, OrcaError, read_value};

/// Reads a report from the value of `endpoint-load-metrics`. Nothing panics,
/// memory that was used before makes no difference, and what is read is
/// bounded.
pub fn report(value: &[u8]) -> Result<Vec<(String, f64)>, OrcaError> {
    let once = |scratch: &mut Vec<u8>| {
        let mut found = Vec::new();
        let mut note = |metric: Metric<'_>, number: f64| {
            let name = match metric {
                Metric::Entry(map, key) => {
                    format!("{}.{}", map.name(), String::from_utf8_lossy(key))
                }
                other => format!("{other:?}"),
            };
            found.push((name, number));
        };
        read_value(value, scratch, &mut note).map(|()| found)
    };
    let first = once(&mut Vec::new());
    let second = once(&mut vec![b'"'; 100]);
    // By its text: a number may be none.
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    if let Ok(found) = &first
        && !value.starts_with(b"BIN ")
    {
        assert!(found.len() <= METRICS_MAX, "{} metrics", found.len());
    }
    first
}
