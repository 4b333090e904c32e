//! What is left of a file with mistakes is looked at, too: nothing in it may
//! make the look panic, whatever is missing or wrong.

use ringway_config::{Format, LoadOptions, Loaded, bootstrap, load_and_look};
use std::cell::Cell;
use std::path::PathBuf;

/// What stands in a line's place.
const INSTEAD: [&str; 5] = ["-1", "99999999999", "[[]]", "{a: {}}", "\"\""];

#[test]
fn no_line_of_an_example_is_needed_by_the_others() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let looked = Cell::new(0);
    let look = |rest: &Loaded| {
        looked.set(looked.get() + 1);
        bootstrap::lower_partly(rest).diagnostics
    };
    let try_it = |text: &str| {
        let options = LoadOptions::default();
        let _ = load_and_look(text, "f", Format::Yaml, &options, &look)
            .map(|loaded| bootstrap::lower_partly(&loaded));
    };
    for entry in std::fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("an example").path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("an example");
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let mut other = lines.clone();
            other.remove(number);
            try_it(&other.join("\n"));
            let Some((key, _)) = line.split_once(": ") else {
                continue;
            };
            // Each line gets one of them, so that it does not take too long.
            let line = format!("{key}: {}", INSTEAD[number % INSTEAD.len()]);
            let mut other = lines.clone();
            other[number] = &line;
            try_it(&other.join("\n"));
        }
    }
    assert!(looked.get() > 300, "{}", looked.get());
}
