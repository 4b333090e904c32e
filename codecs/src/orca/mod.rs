//! Load reports of hosts (ORCA, `xds.data.orca.v3.OrcaLoadReport`) in the
//! headers or trailers of a response.
//!
//! A report is base64 of a protobuf message in `endpoint-load-metrics-bin`, or
//! one of three forms in `endpoint-load-metrics`: `BIN ` and the same base64
//! ([`protobuf`]), `JSON ` and the message as JSON ([`json`]), `TEXT ` and a
//! list of names and values ([`text`]). What counts as valid is what Envoy
//! takes. Reading allocates nothing once the scratch memory is large enough.

pub mod fuzz;
mod json;
mod protobuf;
#[cfg(test)]
mod tests;
mod text;

use crate::header::HeaderMap;

/// What a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric<'a> {
    /// `cpu_utilization`
    CpuUtilization,
    /// `mem_utilization`
    MemUtilization,
    /// `application_utilization`
    ApplicationUtilization,
    /// `rps_fractional`
    RpsFractional,
    /// `eps`
    Eps,
    /// An entry of a map, by its key.
    Entry(Map, &'a [u8]),
}

/// A map of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// `request_cost`
    RequestCost,
    /// `utilization`
    Utilization,
    /// `named_metrics`
    NamedMetrics,
}

impl Map {
    /// The name of the field.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestCost => "request_cost",
            Self::Utilization => "utilization",
            Self::NamedMetrics => "named_metrics",
        }
    }
}

/// Why a report says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrcaError {
    /// `endpoint-load-metrics` begins with no format that there is.
    Format,
    /// A value that should be base64 is not.
    Base64,
    /// The bytes are not the message.
    Protobuf,
    /// The text is not JSON, or not of this message.
    Json,
    /// A metric has no name, or no number that may be.
    Text,
    /// A name that there is not.
    UnknownMetric,
    /// A name comes twice.
    Repeated,
    /// There are more than [`METRICS_MAX`].
    TooMany,
}

/// How many metrics a report may have: names are compared with each other, and
/// nobody looks at so many. Envoy has no limit but that of a header.
pub const METRICS_MAX: usize = 256;

/// Where a report may be.
const HEADER: &[u8] = b"endpoint-load-metrics";
const BINARY_HEADER: &[u8] = b"endpoint-load-metrics-bin";

/// Reads the report in headers or trailers, and says whether there is one. Each
/// metric goes to `f`; one that comes twice holds with its last value. If the
/// report turns out wrong what `f` got before is worth nothing. `scratch` is
/// memory to reuse.
///
/// # Errors
/// See [`OrcaError`].
pub fn read(
    headers: &HeaderMap,
    scratch: &mut Vec<u8>,
    f: &mut dyn FnMut(Metric<'_>, f64),
) -> Result<bool, OrcaError> {
    if let Some(value) = headers.get_name(BINARY_HEADER) {
        binary(value, scratch, f)?;
    } else if let Some(value) = headers.get_name(HEADER) {
        read_value(value, scratch, f)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Reads the value of `endpoint-load-metrics`.
///
/// # Errors
/// See [`OrcaError`].
pub fn read_value(
    value: &[u8],
    scratch: &mut Vec<u8>,
    f: &mut dyn FnMut(Metric<'_>, f64),
) -> Result<(), OrcaError> {
    if let Some(base64) = value.strip_prefix(b"BIN ") {
        binary(base64, scratch, f)
    } else if let Some(list) = value.strip_prefix(b"TEXT ") {
        text::read(list, f)
    } else if let Some(object) = value.strip_prefix(b"JSON ") {
        json::read(object, f)
    } else {
        Err(OrcaError::Format)
    }
}

fn binary(
    value: &[u8],
    scratch: &mut Vec<u8>,
    f: &mut dyn FnMut(Metric<'_>, f64),
) -> Result<(), OrcaError> {
    scratch.clear();
    // An empty message would be a report that says nothing.
    if !crate::base64::decode(value, scratch) || scratch.is_empty() {
        return Err(OrcaError::Base64);
    }
    protobuf::read(scratch, f)
}
