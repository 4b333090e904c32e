//! Ring hash (`envoy.load_balancing_policies.ring_hash`): every host is put
//! on a circle many times, and a key belongs to the next host on it (ketama).
//!
//! The ring is the one that Envoy builds from the same hosts, point for point.
//! The look-up is not ketama's binary search: hashes are spread evenly, so
//! their first bits say where to look, and a step or two lead to the point.

use xxhash_rust::xxh64::xxh64;

use crate::config::HashFunction;
use crate::consistent_hashing::{NormalizedHost, TableSizes};
use crate::murmur_hash::murmur_hash_2;

/// The ring of one list of hosts.
#[derive(Debug)]
pub(crate) struct Ring {
    /// In ascending order of the hashes.
    points: Box<[Point]>,
    /// The whole hashes, for keys whose part is that of a point.
    hashes: Box<[u64]>,
    /// By the first bits of a hash the first point that is not before them,
    /// and one more entry for the end.
    buckets: Box<[u32]>,
    /// How many bits are the first ones.
    bits: u32,
}

/// What a look-up needs of a point: 8 bytes, because most of its time goes
/// into waiting for memory.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// The 32 bits after those that choose the bucket.
    part: u32,
    /// The place of the host in the list.
    host: u32,
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
        key: impl Fn(u32) -> std::borrow::Cow<'a, str>,
    ) -> (Self, TableSizes) {
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
        (Self::sorted(&points), sizes)
    }

    /// Sorts the points by counting their first bits, which is the index too.
    fn sorted(points: &[(u64, u32)]) -> Self {
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
        let point = |(hash, host): &(u64, u32)| Point {
            part: part(*hash, bits),
            host: *host,
        };
        Self {
            points: sorted.iter().map(point).collect(),
            hashes: sorted.iter().map(|(hash, _)| *hash).collect(),
            buckets: buckets.into(),
            bits,
        }
    }

    /// The place of the host for a hash. A further attempt takes a further
    /// point; `None` when the ring is empty.
    #[inline]
    pub(crate) fn pick(&self, hash: u64, attempt: u32) -> Option<u32> {
        let size = self.points.len();
        let bucket = (hash >> (u64::BITS - self.bits)) as usize;
        let mut point = self.buckets[bucket] as usize;
        let end = self.buckets[bucket + 1] as usize;
        let wanted = part(hash, self.bits);
        // What is behind the bucket is behind the hash.
        while point < end && self.is_before(point, hash, wanted) {
            point += 1;
        }
        if point >= size {
            point = 0;
        }
        if attempt > 0 {
            point = (point + attempt as usize).checked_rem(size)?;
        }
        self.points.get(point).map(|point| point.host)
    }

    #[inline]
    fn is_before(&self, point: usize, hash: u64, wanted: u32) -> bool {
        let part = self.points[point].part;
        part < wanted || (part == wanted && self.hashes[point] < hash)
    }
}

/// The bits of a hash after the first ones.
fn part(hash: u64, bits: u32) -> u32 {
    ((hash << bits) >> 32) as u32
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::testing::parts;

    fn ring(min_size: u64, max_size: u64, weights: &[f64]) -> (Ring, TableSizes) {
        let options = RingOptions {
            min_size,
            max_size,
            function: HashFunction::XxHash,
        };
        Ring::new(options, &parts(weights), |host| {
            Cow::Owned(format!("10.0.0.{host}:80"))
        })
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
            let (_, sizes) = ring(min, max, weights);
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

    /// The look-up against the rule itself: the first point at or after the
    /// hash, else the first of all.
    #[test]
    fn the_next_point_on_the_circle_is_found() {
        for weights in [vec![1.0], vec![1.0; 3], vec![1.0, 5.0, 2.0]] {
            for size in [1, 7, 64, 1000] {
                let (ring, _) = ring(size, 8 << 20, &weights);
                assert!(ring.hashes.is_sorted());
                let edges = ring
                    .hashes
                    .iter()
                    .flat_map(|hash| [*hash, hash.wrapping_add(1), hash.wrapping_sub(1)]);
                for hash in edges.chain([0, 1, u64::MAX]) {
                    let point = ring.hashes.partition_point(|other| *other < hash);
                    let point = point % ring.hashes.len();
                    assert_eq!(ring.pick(hash, 0), Some(ring.points[point].host));
                    let third = (point + 2) % ring.hashes.len();
                    assert_eq!(ring.pick(hash, 2), Some(ring.points[third].host));
                }
            }
        }
    }

    #[test]
    fn an_empty_ring_has_no_host() {
        let (ring, _) = ring(0, 0, &[1.0, 1.0]);
        assert_eq!(ring.pick(1, 0), None);
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
