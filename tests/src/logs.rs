//! Logs of a running proxy: what has been written to them, line by line.

use std::path::Path;
use std::time::{Duration, Instant};

/// The lines behind a log's first `start` bytes. A line that is being written may
/// be there in part, and is left out.
#[must_use]
pub fn lines(path: &Path, start: usize) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let new = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default());
    let Some((whole, _)) = new.rsplit_once('\n') else {
        return Vec::new();
    };
    whole.split('\n').map(str::to_owned).collect()
}

/// The same, once there are so many; after `patience`, those that there are.
#[must_use]
pub fn await_lines(path: &Path, start: usize, count: usize, patience: Duration) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let lines = lines(path, start);
        if lines.len() >= count || begun.elapsed() > patience {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
