//! Histograms with two significant decimal digits.
//!
//! The buckets are those of the log-linear histogram that Envoy keeps
//! (circllhist): 90 to a power of ten, bounded by numbers of two significant
//! digits. With the same buckets, the quantiles, sums and bucket counts that
//! `/stats` prints are Envoy's digit for digit; a binary histogram
//! (hdrhistogram) would be as precise and print other numbers. A recorder takes
//! 4 bytes for each bucket up to the largest value seen.

/// What a histogram's values mean; shown by sinks that care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Unspecified,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// Counts by bucket, and what can be computed from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    counts: Vec<u64>,
    total: u64,
}

impl Buckets {
    /// The number of values recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Records one value.
    pub fn record(&mut self, value: u64) {
        self.add(index_of(value), 1);
    }

    /// Adds `n` values to the bucket with this index.
    pub(super) fn add(&mut self, index: usize, n: u64) {
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += n;
        self.total += n;
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (index, &n) in other.counts.iter().enumerate() {
            if n > 0 {
                self.add(index, n);
            }
        }
    }

    /// The buckets that hold values: lower bound, width, count.
    pub fn iter(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        (self.counts.iter().enumerate())
            .filter(|&(_, &n)| n > 0)
            .map(|(index, &n)| (lower_bound(index), width(index), n))
    }

    /// The value below which the fraction `q` (0 to 1) of the values lies, NaN
    /// without values. The values of a bucket are taken as evenly spread: of n,
    /// the k-th lies at k/(n+1) of the bucket's width.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        if self.total == 0 {
            return f64::NAN;
        }
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut below = 0;
        for (lower, width, n) in self.iter() {
            if below + n >= rank {
                return lower + width * ((rank - below) as f64 / (n + 1) as f64);
            }
            below += n;
        }
        f64::NAN
    }

    /// The sum of the values, each counted as the harmonic mean of its bucket's
    /// bounds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        let positive = self.iter().filter(|&(lower, _, _)| lower > 0.0);
        // Not `sum`, which makes nothing a negative zero.
        positive.fold(0.0, |sum, (lower, width, n)| {
            let upper = lower + width;
            sum + 2.0 * lower * upper / (lower + upper) * n as f64
        })
    }

    /// How many values lie at or below `bound`.
    #[must_use]
    pub fn count_up_to(&self, bound: f64) -> u64 {
        (self.iter())
            .take_while(|&(lower, _, _)| lower <= bound)
            .map(|(_, _, n)| n)
            .sum()
    }
}

/// What one thread records between two flushes.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    counts: Vec<u32>,
}

impl Recorder {
    #[inline]
    pub(super) fn record(&mut self, value: u64) {
        let index = index_of(value);
        if index >= self.counts.len() {
            self.grow(index);
        }
        let count = &mut self.counts[index];
        *count = count.saturating_add(1);
    }

    /// Takes the counts out as (bucket, count), for the store to merge.
    pub(super) fn drain(&mut self) -> Vec<(u16, u32)> {
        let mut drained = Vec::new();
        for (index, count) in self.counts.iter_mut().enumerate() {
            if *count > 0 {
                drained.push((index as u16, std::mem::take(count)));
            }
        }
        drained
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        self.counts.resize(index + 1, 0);
    }
}

/// The quantiles that `/stats` prints, as fractions.
pub const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// Envoy's default upper bounds for Prometheus and `histogram_buckets`
/// (`envoy.config.metrics.v3.HistogramBucketSettings` changes them).
pub const DEFAULT_BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Values below 100 have a bucket each (with one digit it is 0.1 wide); above,
/// 90 buckets to a power of ten.
#[inline]
fn index_of(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let exponent = value.ilog10();
    let leading = value / 10u64.pow(exponent - 1);
    EXACT as usize + (exponent as usize - 2) * PER_DECADE + (leading as usize - 10)
}

fn lower_bound(index: usize) -> f64 {
    if index < EXACT as usize {
        return index as f64;
    }
    let above = index - EXACT as usize;
    let leading = 10 + above % PER_DECADE;
    leading as f64 * 10f64.powi(1 + (above / PER_DECADE) as i32)
}

fn width(index: usize) -> f64 {
    match index {
        0 => 0.0,
        1..=9 => 0.1,
        10..=99 => 1.0,
        _ => 10f64.powi(1 + ((index - EXACT as usize) / PER_DECADE) as i32),
    }
}

const EXACT: u64 = 100;
const PER_DECADE: usize = 90;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Buckets {
        let mut buckets = Buckets::default();
        values.iter().for_each(|&value| buckets.record(value));
        buckets
    }

    #[test]
    fn every_value_falls_between_its_buckets_bounds() {
        let mut values: Vec<u64> = (0..2_000).collect();
        for exponent in 0..20 {
            let power = 10u64.pow(exponent);
            values.extend([power - 1, power, power + 1, power.saturating_mul(9)]);
        }
        values.push(u64::MAX);
        values.sort_unstable();
        let mut last = 0;
        for value in values {
            let index = index_of(value);
            assert!(index >= last && index < u16::MAX as usize);
            last = index;
            let (lower, width) = (lower_bound(index), width(index));
            assert!(
                lower <= value as f64,
                "{value} is in the bucket from {lower}"
            );
            assert!(value as f64 <= lower + width, "{value}: {lower} + {width}");
            assert!(width <= lower / 10.0 + f64::EPSILON || value == 0);
        }
    }

    /// Numbers that Envoy 1.40 printed for the same values.
    #[test]
    fn quantiles_are_envoys() {
        let four = of(&[0, 1, 1, 6]);
        let printed: Vec<f64> = QUANTILES.iter().map(|&q| four.quantile(q)).collect();
        assert_eq!(
            printed[..4],
            [0.0, 0.0, 1.033_333_333_333_333_4, 1.066_666_666_666_666_7]
        );
        assert!(printed[4..].iter().all(|&value| value == 6.05));
        assert_eq!(of(&[16]).quantile(0.0), 16.5);
        assert_eq!(of(&[1, 5]).quantile(0.5), 1.05);
        assert_eq!(of(&[1, 5]).quantile(0.75), 5.05);
        assert!(of(&[]).quantile(0.5).is_nan());
    }

    #[test]
    fn sums_are_envoys() {
        assert_eq!(of(&[16]).sum(), 16.484_848_484_848_484);
        assert_eq!(of(&[1, 1]).sum(), 2.095_238_095_238_095_3);
        assert_eq!(of(&[1, 5]).sum(), 6.097_123_998_114_097);
        assert_eq!(of(&[0, 0]).sum(), 0.0);
    }

    #[test]
    fn a_bound_includes_the_values_equal_to_it() {
        let buckets = of(&[0, 1, 1, 6, 5_000, 5_001]);
        for (bound, count) in [(0.5, 1), (1.0, 3), (5.0, 3), (10.0, 4), (5_000.0, 6)] {
            assert_eq!(buckets.count_up_to(bound), count, "{bound}");
        }
    }

    #[test]
    fn a_recorder_hands_over_once() {
        let mut recorder = Recorder::default();
        recorder.record(3);
        recorder.record(3);
        recorder.record(1_234);
        let mut merged = Buckets::default();
        for (index, n) in recorder.drain() {
            merged.add(index.into(), n.into());
        }
        assert_eq!(merged, of(&[3, 3, 1_200]));
        assert!(recorder.drain().is_empty());
    }
}
