//! Where Envoy takes its samples for peak EWMA (`envoy.filters.http.peak_ewma`,
//! one of its contributed extensions).
//!
//! Here the router takes them wherever a cluster has the policy, so that a
//! chain without this filter is no mistake that nobody sees. The filter is
//! there for the files that have it.

use super::{Flow, HttpFilter, StreamContext};

/// The filter. Its message has no field.
pub struct PeakEwma;

impl HttpFilter for PeakEwma {
    fn name(&self) -> &'static str {
        "envoy.filters.http.peak_ewma"
    }

    fn request_headers(&self, _stream: &mut StreamContext<'_>) -> Flow {
        Flow::Continue
    }
}
