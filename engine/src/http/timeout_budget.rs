//! How much of their time requests and tries take, in percent
//! (`track_cluster_stats.timeout_budgets`).

use std::time::{Duration, Instant};

use crate::reactor;
use crate::stats::Histogram;

/// The part of `limit` that something took, in percent; above 100 where it took
/// longer. Of no limit nothing is ever used.
#[must_use]
pub fn percent_used(took: Duration, limit: Option<Duration>) -> u64 {
    let limit = limit.map_or(0, |limit| limit.as_millis());
    let percent = (took.as_millis() * 100).checked_div(limit);
    u64::try_from(percent.unwrap_or(0)).unwrap_or(u64::MAX)
}

/// A try whose time is recorded when it is over, which is when this is dropped:
/// tries end in many ways.
#[derive(Debug)]
pub struct TryBudget {
    recorded: Option<Histogram>,
    start: Instant,
    limit: Option<Duration>,
}

impl TryBudget {
    /// A try that begins now, before there is a connection for it.
    #[must_use]
    pub fn begin(recorded: Histogram, limit: Option<Duration>) -> Self {
        Self {
            recorded: Some(recorded),
            start: reactor::now(),
            limit,
        }
    }

    /// Forgets a try that was not ended by its own time but by the request's.
    pub fn forget(mut self) {
        self.recorded = None;
    }
}

impl Drop for TryBudget {
    fn drop(&mut self) {
        if let Some(recorded) = self.recorded {
            let took = reactor::now().duration_since(self.start);
            recorded.record(percent_used(took, self.limit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_time_in_percent() {
        let ms = Duration::from_millis;
        for (took, limit, percent) in [
            (0, Some(100), 0),
            (99, Some(10_000), 0),
            (100, Some(10_000), 1),
            (150, Some(200), 75),
            (200, Some(200), 100),
            (500, Some(200), 250),
            (500, Some(0), 0),
            (500, None, 0),
        ] {
            let found = percent_used(ms(took), limit.map(ms));
            assert_eq!(found, percent, "{took} of {limit:?}");
        }
    }
}
