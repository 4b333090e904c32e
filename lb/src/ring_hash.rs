//! Ring hash (`envoy.load_balancing_policies.ring_hash`): every host is put
//! on a circle many times, and a key belongs to the next host on it (ketama).
//!
//! The ring is the one that Envoy builds from the same hosts, point for point.
//! The look-up is not ketama's binary search: hashes are spread evenly, so a
//! hash itself says where to look.

use std::borrow::Cow;

use xxhash_rust::xxh64::xxh64;

use crate::config::HashFunction;
use crate::consistent_hashing::{NormalizedHost, TableSizes};
use crate::murmur_hash::murmur_hash_2;

/// The ring of one list of hosts.
///
/// Points are in ascending order in an array that is half as long again as
/// there are points: each is as near as it can be to the place that its hash
/// has among all hashes, and not before it. What is free in front of a point
/// holds a copy of it. So a look-up begins at the place of its hash and is
/// there, or a few places later in the same line of the cache: it counts the
/// smaller ones of some slots, which costs less than a branch at each that no
/// processor can foresee.
#[derive(Debug)]
pub(crate) struct Ring {
    /// The first bits of a hash, and in the others the place of its host in the
    /// list: 8 bytes, because most of a look-up goes into waiting for memory.
    /// Behind the last point are [`WINDOW`] copies of the first one, whose first
    /// bits are those of the largest hash.
    slots: Box<[u64]>,
    /// How many slots there are up to the last point.
    end: usize,
    /// How many places hashes are spread over; points that had to move on are
    /// behind them.
    spread: u64,
    /// The whole hashes, for keys whose first bits are those of a point.
    hashes: Box<[u64]>,
}

/// How a ring is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingOptions {
    pub(crate) min_size: u64,
    pub(crate) max_size: u64,
    pub(crate) function: HashFunction,
}

impl Ring {
    /// Builds the ring; there is at least one host. `key` tells the text that
    /// stands for a host, by its place in the list.
    pub(crate) fn new<'a>(
        options: RingOptions,
        hosts: &[NormalizedHost],
        key: impl Fn(u32) -> Cow<'a, str>,
    ) -> (Self, TableSizes) {
        let (points, sizes) = points(options, hosts, key);
        (Self::of(&sorted(&points)), sizes)
    }

    /// The ring of these points, which are in ascending order.
    fn of(points: &[Point]) -> Self {
        let spread = points.len() as u64 * 3 / 2;
        let mut slots = Vec::with_capacity(spread as usize + 1);
        for (hash, host) in points {
            let point = (hash & FIRST_BITS) | u64::from(*host);
            let place = slots.len().max(place(*hash, spread));
            slots.resize(place, point);
            slots.push(point);
        }
        let end = slots.len();
        if let Some((_, first)) = points.first() {
            let behind = FIRST_BITS | u64::from(*first);
            slots.resize(end.max(spread as usize) + WINDOW, behind);
        }
        Self {
            slots: slots.into(),
            end,
            spread,
            hashes: points.iter().map(|(hash, _)| *hash).collect(),
        }
    }

    /// The place of the host for a hash. A further attempt takes a further
    /// point; `None` when the ring is empty.
    #[inline]
    pub(crate) fn pick(&self, hash: u64, attempt: u32) -> Option<u32> {
        let hash = match attempt {
            0 => hash,
            _ => self.further(hash, attempt)?,
        };
        let wanted = hash & FIRST_BITS;
        let mut at = place(hash, self.spread);
        loop {
            let window = self.slots.get(at..at + WINDOW)?;
            let smaller: usize = window
                .iter()
                .map(|point| usize::from(*point < wanted))
                .sum();
            at += smaller;
            if smaller < WINDOW {
                break;
            }
        }
        let point = self.slots.get(at)?;
        if point & FIRST_BITS == wanted {
            return self.pick_of_equal(hash, at);
        }
        Some((point & !FIRST_BITS) as u32)
    }

    /// A hash whose point is so many further than that of another hash.
    #[cold]
    fn further(&self, hash: u64, attempt: u32) -> Option<u64> {
        let point = self.hashes.partition_point(|other| *other < hash) + attempt as usize;
        let place = point.checked_rem(self.hashes.len())?;
        self.hashes.get(place).copied()
    }

    /// [`Ring::pick`] where points begin as the hash does, one of them in the
    /// slot `at`.
    #[cold]
    fn pick_of_equal(&self, hash: u64, at: usize) -> Option<u32> {
        let wanted = hash & FIRST_BITS;
        let before = |limit: u64| self.hashes.partition_point(|other| *other < limit);
        let first = before(wanted);
        let passed = before(hash) - first;
        let is_equal = |hash: &&u64| *hash & FIRST_BITS == wanted;
        let count = self.hashes[first..].iter().take_while(is_equal).count();
        let at = at.min(self.end);
        let equal = (self.slots[at..self.end].iter())
            .take_while(is_equal)
            .count();
        // They are the last of those slots, for between two of them nothing is
        // free: such hashes are much nearer to each other than two places are.
        let point = self.slots.get(at + equal - count + passed)?;
        Some((point & !FIRST_BITS) as u32)
    }
}

/// A hash, and the place of its host in the list.
type Point = (u64, u32);

/// All points of a ring, host by host.
fn points<'a>(
    options: RingOptions,
    hosts: &[NormalizedHost],
    key: impl Fn(u32) -> Cow<'a, str>,
) -> (Vec<Point>, TableSizes) {
    let lightest = hosts.iter().map(|host| host.weight).fold(1.0, f64::min);
    let max_size = options.max_size.min(RING_SIZE_MAX);
    // As many points as give the lightest host a whole number of them.
    let scale = ((lightest * options.min_size as f64).ceil() / lightest).min(max_size as f64);
    let size = scale.ceil() as u64;
    let mut points = Vec::with_capacity(size as usize);
    let mut sizes = TableSizes {
        size,
        min_per_host: size,
        max_per_host: 0,
    };
    let mut text = Vec::new();
    // Shares need not be whole numbers: what a host has too much of its
    // neighbour goes without.
    let (mut placed, mut target) = (0.0, 0.0);
    for (place, host) in (0..).zip(hosts) {
        text.clear();
        text.extend_from_slice(key(place).as_bytes());
        text.push(b'_');
        let prefix = text.len();
        target += scale * host.weight;
        let mut count = 0;
        while placed < target {
            text.truncate(prefix);
            push_decimal(&mut text, count);
            points.push((options.function.hash(&text), place));
            count += 1;
            placed += 1.0;
        }
        sizes.min_per_host = sizes.min_per_host.min(count);
        sizes.max_per_host = sizes.max_per_host.max(count);
    }
    (points, sizes)
}

/// Sorts points by counting their first bits.
fn sorted(points: &[Point]) -> Vec<Point> {
    let bits = points.len().next_power_of_two().trailing_zeros().max(1);
    let bucket_of = |hash: u64| (hash >> (u64::BITS - bits)) as usize;
    let mut buckets = vec![0u32; (1 << bits) + 1];
    for (hash, _) in points {
        buckets[bucket_of(*hash) + 1] += 1;
    }
    for bucket in 1..buckets.len() {
        buckets[bucket] += buckets[bucket - 1];
    }
    let mut next = buckets.clone();
    let mut sorted = vec![(0, 0); points.len()];
    for point in points {
        let place = &mut next[bucket_of(point.0)];
        sorted[*place as usize] = *point;
        *place += 1;
    }
    for bucket in buckets.windows(2) {
        let bucket = &mut sorted[bucket[0] as usize..bucket[1] as usize];
        if bucket.len() > 1 {
            bucket.sort_by_key(|(hash, _)| *hash);
        }
    }
    sorted
}

/// The place of a hash among `spread` ones: a larger hash has no smaller place.
#[inline]
fn place(hash: u64, spread: u64) -> usize {
    ((u128::from(hash) * u128::from(spread)) >> 64) as usize
}

impl HashFunction {
    fn hash(self, text: &[u8]) -> u64 {
        match self {
            Self::XxHash => xxh64(text, 0),
            Self::MurmurHash2 => murmur_hash_2(text),
        }
    }
}

fn push_decimal(text: &mut Vec<u8>, number: u64) {
    let begin = text.len();
    let mut left = number;
    loop {
        text.push(b'0' + (left % 10) as u8);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text[begin..].reverse();
}

/// The largest ring that Envoy allows; 20 bytes a point are 160 MiB.
const RING_SIZE_MAX: u64 = 8 << 20;

/// Slots that are looked at together. Half of all hashes end at their first slot,
/// one in thirty behind the fourth.
const WINDOW: usize = 4;

/// The bits of a slot that are a hash's. The others have room for the place of
/// any host that the largest ring has points for.
const FIRST_BITS: u64 = !(RING_SIZE_MAX - 1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::parts;

    fn points_of(min_size: u64, max_size: u64, weights: &[f64]) -> (Vec<Point>, TableSizes) {
        let options = RingOptions {
            min_size,
            max_size,
            function: HashFunction::XxHash,
        };
        let key = |host| Cow::Owned(format!("10.0.0.{host}:80"));
        let (points, sizes) = points(options, &parts(weights), key);
        (sorted(&points), sizes)
    }

    /// The look-up against the rule itself: the first point at or after the
    /// hash, else the first of all.
    fn check(points: &[Point]) {
        let ring = Ring::of(points);
        let edges = points
            .iter()
            .flat_map(|(hash, _)| [*hash, hash.wrapping_add(1), hash.wrapping_sub(1)]);
        for hash in edges.chain([0, 1, u64::MAX]) {
            let point = points.partition_point(|(other, _)| *other < hash);
            for attempt in [0, 1, 2, 9] {
                let point = &points[(point + attempt) % points.len()];
                assert_eq!(ring.pick(hash, attempt as u32), Some(point.1), "{hash:x}");
            }
        }
    }

    #[test]
    fn numbers_are_written_as_text() {
        for number in [0, 7, 10, 99, 100, 12_345, u64::MAX] {
            let mut text = b"x_".to_vec();
            push_decimal(&mut text, number);
            assert_eq!(text, format!("x_{number}").as_bytes());
        }
    }

    #[test]
    fn sizes_follow_the_lightest_host() {
        let sizes = |min, max, weights: &[f64]| {
            let (_, sizes) = points_of(min, max, weights);
            (sizes.size, sizes.min_per_host, sizes.max_per_host)
        };
        assert_eq!(sizes(1024, 8 << 20, &[1.0]), (1024, 1024, 1024));
        assert_eq!(sizes(1024, 8 << 20, &[1.0; 5]), (1025, 205, 205));
        assert_eq!(
            sizes(1024, 8 << 20, &[1.0, 2.0, 3.0, 4.0, 5.0]),
            (1035, 69, 345)
        );
        // Four hosts on six points: two, one, two, one.
        assert_eq!(sizes(1, 6, &[1.0; 4]), (4, 1, 1));
        assert_eq!(sizes(5, 6, &[1.0; 4]), (6, 1, 2));
        assert_eq!(sizes(0, 0, &[1.0; 4]), (0, 0, 0));
    }

    #[test]
    fn the_next_point_on_the_circle_is_found() {
        for weights in [vec![1.0], vec![1.0; 3], vec![1.0, 5.0, 2.0]] {
            for size in [1, 7, 64, 1000] {
                let (points, _) = points_of(size, 8 << 20, &weights);
                assert!(points.is_sorted_by_key(|(hash, _)| *hash));
                check(&points);
            }
        }
    }

    /// Points that differ in their last bits only, at both ends too, and so
    /// many in one place that they fill those of others.
    #[test]
    fn points_that_lie_together_are_told_apart() {
        let near = |at: u64, count: u64| {
            let step = if at > u64::MAX / 2 { u64::MAX } else { 1 };
            (0..count).map(move |number| at.wrapping_add(step.wrapping_mul(number * 3)))
        };
        let many = [0, 1 << 23, 1 << 63, (1 << 63) + (1 << 23) - 7, u64::MAX];
        for count in [1, 2, 40] {
            for one in many {
                for other in many {
                    let mut hashes: Vec<_> = near(one, count).chain(near(other, 3)).collect();
                    hashes.sort_unstable();
                    hashes.dedup();
                    let hosts = (0..).map(|host: u32| host * 7 % 11);
                    let points: Vec<_> = hashes.into_iter().zip(hosts).collect();
                    check(&points);
                }
            }
        }
    }

    #[test]
    fn an_empty_ring_has_no_host() {
        let ring = Ring::of(&points_of(0, 0, &[1.0, 1.0]).0);
        assert_eq!(ring.pick(1, 0), None);
        assert_eq!(ring.pick(0, 0), None);
        assert_eq!(ring.pick(1, 1), None);
    }

    #[test]
    fn another_function_is_another_ring() {
        let both = [HashFunction::XxHash, HashFunction::MurmurHash2].map(|function| {
            let options = RingOptions {
                min_size: 100,
                max_size: 100,
                function,
            };
            Ring::new(options, &parts(&[1.0; 3]), |host| {
                Cow::Owned(format!("host-{host}"))
            })
            .0
        });
        assert_ne!(both[0].hashes, both[1].hashes);
    }
}
