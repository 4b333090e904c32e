//! Values of flags that are more than a word or a number.

use super::StatsTag;
use crate::admin::LogLevel;
use crate::reactor::DriverChoice;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// `TAG:VALUE`, with Envoy's limits on both.
pub(super) fn stats_tag(text: &str) -> Result<StatsTag, String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err(format!(
            "misformatted stats-tag '{text}', expected TAG:VALUE"
        ));
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!(
            "the tag name '{name}' may have only letters, digits and _"
        ));
    }
    if value.is_empty() || value.contains('.') {
        return Err(format!(
            "the tag value '{value}' may not be empty or have dots"
        ));
    }
    Ok(StatsTag {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// Envoy's level names; `warn` stands for `warning`.
pub(super) fn log_level() -> impl TypedValueParser<Value = LogLevel> {
    let names = LogLevel::ALL.into_iter().map(|level| {
        let name = PossibleValue::new(level.as_str());
        match level {
            LogLevel::Warning => name.alias("warn"),
            _ => name,
        }
    });
    PossibleValuesParser::new(names)
        .map(|name| LogLevel::parse(&name).expect("only these names are possible"))
}

/// The names that the reactor gives its drivers.
pub(super) fn io_driver() -> impl TypedValueParser<Value = DriverChoice> {
    PossibleValuesParser::new(["auto", "io_uring", "epoll"]).try_map(|name| name.parse())
}

/// `COMPONENT:LEVEL,…`, kept as text.
pub(super) fn component_log_level(text: &str) -> Result<String, String> {
    for part in text.split(',') {
        let Some((component, level)) = part.split_once(':') else {
            return Err(format!(
                "component log level not correctly specified '{part}'"
            ));
        };
        if component.is_empty() {
            return Err(format!("invalid component specified '{component}'"));
        }
        if LogLevel::parse(level).is_none() {
            return Err(format!("invalid log level specified '{level}'"));
        }
    }
    Ok(text.to_owned())
}

/// File permissions in octal.
pub(super) fn socket_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("invalid socket-mode '{text}'"))
}
