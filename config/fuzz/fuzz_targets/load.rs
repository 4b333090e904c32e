#![no_main]
//! YAML or JSON text through the whole loader.
//!
//! Whatever the text, nothing panics; and what was accepted means the same
//! after it was printed as JSON and loaded again.

use libfuzzer_sys::fuzz_target;
use ringway_config::{Format, LoadOptions, load, to_json};

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let format = if first & 1 == 0 {
        Format::Yaml
    } else {
        Format::Json
    };
    let options = LoadOptions {
        allow_unknown_static_fields: first & 2 != 0,
    };
    if let Ok(loaded) = load(text, "fuzz", format, &options) {
        let printed = to_json(&loaded.message);
        let again = load(&printed.to_string(), "again", Format::Json, &options)
            .unwrap_or_else(|found| panic!("{printed}: {found}"));
        assert_eq!(to_json(&again.message), printed);
    }
});
