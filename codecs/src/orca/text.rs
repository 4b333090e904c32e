//! `name=value,name=value`, also with colons.

use super::{METRICS_MAX, Map, Metric, OrcaError};

/// Reads a list.
pub(super) fn read(list: &[u8], f: &mut dyn FnMut(Metric<'_>, f64)) -> Result<(), OrcaError> {
    if items(list).nth(METRICS_MAX).is_some() {
        return Err(OrcaError::TooMany);
    }
    for (number, item) in items(list).enumerate() {
        let (name, value) = split(item).ok_or(OrcaError::Text)?;
        let mut before = items(list).take(number).filter_map(split);
        if before.any(|(other, _)| other == name) {
            return Err(OrcaError::Repeated);
        }
        let value = number_of(value).ok_or(OrcaError::Text)?;
        f(metric(name)?, value);
    }
    Ok(())
}

/// What is between commas; nothing is left out.
fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let items = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    items.filter(|item| !item.is_empty())
}

/// A name and a value, neither of them empty.
fn split(item: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = item.iter().position(|byte| matches!(byte, b'=' | b':'))?;
    let (name, value) = (&item[..end], &item[end + 1..]);
    (!name.trim_ascii().is_empty() && !value.trim_ascii().is_empty()).then_some((name, value))
}

/// A number that is finite and not negative.
fn number_of(value: &[u8]) -> Option<f64> {
    let text = str::from_utf8(value.trim_ascii()).ok()?;
    let number = text.parse::<f64>().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn metric(name: &[u8]) -> Result<Metric<'_>, OrcaError> {
    let maps = [Map::NamedMetrics, Map::Utilization];
    for map in maps {
        let key = name.strip_prefix(map.name().as_bytes());
        if let Some(key) = key.and_then(|rest| rest.strip_prefix(b".")) {
            return match key {
                [] => Err(OrcaError::Text),
                key => Ok(Metric::Entry(map, key)),
            };
        }
    }
    match name {
        b"cpu_utilization" => Ok(Metric::CpuUtilization),
        b"mem_utilization" => Ok(Metric::MemUtilization),
        b"application_utilization" => Ok(Metric::ApplicationUtilization),
        b"rps_fractional" => Ok(Metric::RpsFractional),
        b"eps" => Ok(Metric::Eps),
        _ => Err(OrcaError::UnknownMetric),
    }
}
