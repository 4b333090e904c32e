//! Maglev (`envoy.load_balancing_policies.maglev`): a table of a prime number
//! of entries that hosts fill in turns, each in an order of its own (Eisenbud
//! et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
//! NSDI 2016, section 3.4).
//!
//! The table is the one that Envoy fills from the same hosts, entry for entry.

use std::borrow::Cow;

use xxhash_rust::xxh64::xxh64;

use crate::consistent_hashing::{NormalizedHost, TableSizes};

/// The table of one list of hosts. An entry is the place of a host in the
/// list, in as few bytes as the length of the list needs.
#[derive(Debug)]
pub(crate) enum MaglevTable {
    /// Up to 256 hosts.
    Small(Box<[u8]>),
    /// Up to 65,536 hosts.
    Medium(Box<[u16]>),
    /// More.
    Large(Box<[u32]>),
}

impl MaglevTable {
    /// Fills a table of at least `size` entries; there is at least one host.
    /// `key` tells the text that stands for a host, by its place in the list.
    pub(crate) fn new<'a>(
        size: u32,
        hosts: &[NormalizedHost],
        key: impl Fn(u32) -> Cow<'a, str>,
    ) -> (Self, TableSizes) {
        let size = prime_at_least(size);
        let mut turns = Turns::new(size, hosts, key);
        let table = match hosts.len() {
            ..=0x100 => Self::Small(turns.fill(|place| place as u8)),
            0x101..=0x1_0000 => Self::Medium(turns.fill(|place| place as u16)),
            _ => Self::Large(turns.fill(|place| place)),
        };
        (table, turns.sizes())
    }

    /// The place of the host for a hash. A further attempt changes the hash.
    #[inline]
    pub(crate) fn pick(&self, mut hash: u64, attempt: u32) -> Option<u32> {
        if attempt > 0 {
            hash ^= u64::from(attempt).wrapping_neg();
        }
        fn entry<T: Copy>(table: &[T], hash: u64) -> T {
            // A table is shorter than 2^32 and never empty.
            table[(hash % table.len() as u64) as usize]
        }
        Some(match self {
            Self::Small(table) => u32::from(entry(table, hash)),
            Self::Medium(table) => u32::from(entry(table, hash)),
            Self::Large(table) => entry(table, hash),
        })
    }
}

/// The hosts while they fill a table.
struct Turns {
    size: u32,
    heaviest: f64,
    hosts: Vec<Turn>,
}

struct Turn {
    /// Its place in the list of hosts.
    place: u32,
    /// The entry that it wants next, and the distance to the one after.
    wanted: u32,
    skip: u32,
    /// It takes an entry in the rounds in which `round * weight` reaches
    /// `target`.
    weight: f64,
    target: f64,
    entries: u32,
}

impl Turns {
    fn new<'a>(size: u32, hosts: &[NormalizedHost], key: impl Fn(u32) -> Cow<'a, str>) -> Self {
        let mut keys: Vec<_> = (0..)
            .zip(hosts)
            .map(|(place, _)| (key(place), place))
            .collect();
        // The table must not depend on the order in which hosts are listed.
        keys.sort();
        let hosts: Vec<_> = keys
            .iter()
            .map(|(key, place)| Turn {
                place: *place,
                wanted: (xxh64(key.as_bytes(), 0) % u64::from(size)) as u32,
                skip: (xxh64(key.as_bytes(), 1) % u64::from(size - 1)) as u32 + 1,
                weight: hosts[*place as usize].weight,
                target: 0.0,
                entries: 0,
            })
            .collect();
        Self {
            size,
            heaviest: hosts.iter().map(|host| host.weight).fold(0.0, f64::max),
            hosts,
        }
    }

    /// Fills the table, entry by entry. Whether an entry is taken is asked of
    /// a bit set, because that one stays in the first-level cache. Half of all
    /// steps would be made for the last few entries; those are calculated.
    fn fill<T: Copy + Default>(&mut self, entry: impl Fn(u32) -> T) -> Box<[T]> {
        let mut table = vec![T::default(); self.size as usize];
        let mut taken = vec![0u64; self.size.div_ceil(64) as usize];
        let mut empty = Vec::new();
        let few = self.size.isqrt() / 2;
        let mut left = self.size;
        let mut round = 0.0;
        while left > 0 {
            round += 1.0;
            for host in &mut self.hosts {
                if round * host.weight < host.target {
                    continue;
                }
                host.target += self.heaviest;
                let mut wanted = host.wanted;
                if left > few {
                    while taken[wanted as usize / 64] >> (wanted % 64) & 1 == 1 {
                        wanted = next(wanted, host.skip, self.size);
                    }
                    taken[wanted as usize / 64] |= 1 << (wanted % 64);
                } else {
                    if empty.is_empty() {
                        empty = entries_left(&taken, self.size);
                    }
                    wanted = host.take_nearest(&mut empty, self.size);
                }
                table[wanted as usize] = entry(host.place);
                host.wanted = next(wanted, host.skip, self.size);
                host.entries += 1;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        table.into()
    }

    fn sizes(&self) -> TableSizes {
        let entries = self.hosts.iter().map(|host| u64::from(host.entries));
        TableSizes {
            size: u64::from(self.size),
            min_per_host: entries.clone().min().unwrap_or(0),
            max_per_host: entries.max().unwrap_or(0),
        }
    }
}

impl Turn {
    /// Takes the entry that the host comes to first out of those that are
    /// left: entry `e` is `(e - wanted) / skip` steps away, modulo the size.
    fn take_nearest(&self, empty: &mut Vec<u32>, size: u32) -> u32 {
        let size = u64::from(size);
        let inverse = inverse(u64::from(self.skip), size);
        let steps = |entry: &u32| {
            let distance = u64::from(*entry) + size - u64::from(self.wanted);
            distance % size * inverse % size
        };
        let nearest = (0..empty.len()).min_by_key(|place| steps(&empty[*place]));
        // There is one: the table is not full.
        empty.swap_remove(nearest.unwrap_or(0))
    }
}

fn entries_left(taken: &[u64], size: u32) -> Vec<u32> {
    let is_taken = |entry: u32| taken[entry as usize / 64] >> (entry % 64) & 1 == 1;
    (0..size).filter(|entry| !is_taken(*entry)).collect()
}

/// The number that gives 1 when `number`, which is not 0, is multiplied with
/// it modulo a prime (the extended Euclidean algorithm).
fn inverse(number: u64, prime: u64) -> u64 {
    let (mut rest, mut next_rest) = (prime, number);
    // Modulo the prime, so that nothing is negative.
    let (mut factor, mut next_factor) = (0, 1);
    while next_rest > 0 {
        let times = rest / next_rest;
        (rest, next_rest) = (next_rest, rest % next_rest);
        let smaller = times * next_factor % prime;
        (factor, next_factor) = (next_factor, (factor + prime - smaller) % prime);
    }
    factor
}

/// The entry that is wanted after `wanted`; sizes are far below 2^31.
#[inline]
fn next(wanted: u32, skip: u32, size: u32) -> u32 {
    let next = wanted + skip;
    if next >= size { next - size } else { next }
}

/// Whether a table may have this size: the order in which a host wants entries
/// reaches all of them only then.
#[must_use]
pub fn is_prime(number: u32) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor: &u32| u64::from(*divisor).pow(2) <= u64::from(number))
            .all(|divisor| !number.is_multiple_of(divisor))
}

/// The smallest size that is not below `size`, in Envoy's range.
fn prime_at_least(size: u32) -> u32 {
    (size.clamp(TABLE_SIZE_MIN, TABLE_SIZE_MAX)..=TABLE_SIZE_MAX)
        .find(|size| is_prime(*size))
        .unwrap_or(TABLE_SIZE_MAX)
}

/// With two entries a host can still step from one to the other.
const TABLE_SIZE_MIN: u32 = 2;

/// The largest table that Envoy allows, a prime.
pub const TABLE_SIZE_MAX: u32 = 5_000_011;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::parts;

    fn key(host: u32) -> Cow<'static, str> {
        Cow::Owned(format!("10.0.0.{host}:80"))
    }

    fn picks(table: &MaglevTable, size: u64) -> Vec<u32> {
        (0..size)
            .map(|hash| table.pick(hash, 0).expect("a full table"))
            .collect()
    }

    #[test]
    fn primes_are_told_from_others() {
        let primes: Vec<u32> = (0..40).filter(|number| is_prime(*number)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]);
        assert!(is_prime(65_537) && is_prime(655_373) && is_prime(TABLE_SIZE_MAX));
        assert!(!is_prime(65_536) && !is_prime(65_539 * 3) && !is_prime(u32::MAX));
        assert_eq!(prime_at_least(0), 2);
        assert_eq!(prime_at_least(8), 11);
        assert_eq!(prime_at_least(u32::MAX), TABLE_SIZE_MAX);
    }

    #[test]
    fn inverses_are_inverse() {
        for prime in [2, 3, 5, 101, 65_537, u64::from(TABLE_SIZE_MAX)] {
            for number in [1, 2, 3, 50, prime - 1].map(|number| number % prime) {
                if number > 0 {
                    assert_eq!(number * inverse(number, prime) % prime, 1);
                }
            }
        }
    }

    /// The table as the paper fills it: every entry is looked for step by
    /// step.
    #[test]
    fn the_last_entries_are_those_that_steps_would_find() {
        for (size, count) in [(2, 1), (3, 2), (11, 4), (101, 7), (1021, 40), (4099, 5)] {
            let weights: Vec<f64> = (0..count).map(|host| f64::from(host % 3 + 1)).collect();
            let list = parts(&weights);
            let (table, _) = MaglevTable::new(size, &list, key);
            let mut turns = Turns::new(size, &list, key);
            let mut expected = vec![None; size as usize];
            let mut round = 0.0;
            while expected.contains(&None) {
                round += 1.0;
                for host in &mut turns.hosts {
                    if round * host.weight < host.target || !expected.contains(&None) {
                        continue;
                    }
                    host.target += turns.heaviest;
                    while expected[host.wanted as usize].is_some() {
                        host.wanted = (host.wanted + host.skip) % size;
                    }
                    expected[host.wanted as usize] = Some(host.place);
                }
            }
            let found: Vec<_> = picks(&table, size.into()).into_iter().map(Some).collect();
            assert_eq!(found, expected, "{count} hosts on {size} entries");
        }
    }

    #[test]
    fn every_entry_is_filled_and_shares_are_even() {
        for count in [1, 2, 3, 50, 300] {
            let (table, sizes) = MaglevTable::new(1021, &parts(&vec![1.0; count]), key);
            assert_eq!(sizes.size, 1021);
            assert!(sizes.max_per_host - sizes.min_per_host <= 1);
            let mut counts = vec![0u64; count];
            for pick in picks(&table, 1021) {
                counts[pick as usize] += 1;
            }
            assert_eq!(counts.iter().min(), Some(&sizes.min_per_host));
            assert_eq!(counts.iter().max(), Some(&sizes.max_per_host));
        }
    }

    #[test]
    fn weights_are_shares_of_the_table() {
        let (_, sizes) = MaglevTable::new(65_537, &parts(&[1.0, 2.0, 3.0, 4.0, 5.0]), key);
        // What the real Envoy's gauges say of these five hosts, whose shares
        // are 65,537/15 and five times as much.
        assert_eq!((sizes.min_per_host, sizes.max_per_host), (4370, 21845));
    }

    #[test]
    fn the_order_of_hosts_does_not_matter() {
        let list = parts(&[1.0, 2.0, 3.0]);
        let back: Vec<_> = list.iter().rev().copied().collect();
        let (table, _) = MaglevTable::new(101, &list, key);
        let (other, _) = MaglevTable::new(101, &back, |host| key(2 - host));
        let other: Vec<_> = picks(&other, 101).iter().map(|host| 2 - host).collect();
        assert_eq!(picks(&table, 101), other);
    }

    #[test]
    fn more_hosts_than_entries_leave_some_without() {
        let (table, sizes) = MaglevTable::new(7, &parts(&vec![1.0; 300]), key);
        assert_eq!((sizes.min_per_host, sizes.max_per_host), (0, 1));
        assert_eq!(picks(&table, 7).len(), 7);
    }

    #[test]
    fn all_widths_of_entries_hold_their_hosts() {
        for count in [256, 257, 65_536, 65_537] {
            let (table, _) = MaglevTable::new(200_003, &parts(&vec![1.0; count]), key);
            let highest = picks(&table, 200_003).into_iter().max();
            assert_eq!(highest, Some(count as u32 - 1));
            let bytes = match table {
                MaglevTable::Small(_) => 1,
                MaglevTable::Medium(_) => 2,
                MaglevTable::Large(_) => 4,
            };
            let expected = [(256, 1), (257, 2), (65_536, 2), (65_537, 4)];
            assert!(expected.contains(&(count, bytes)));
        }
    }

    #[test]
    fn a_further_attempt_is_another_hash() {
        let (table, _) = MaglevTable::new(1021, &parts(&[1.0; 40]), key);
        let same = (0..1000u64)
            .filter(|hash| table.pick(*hash, 0) == table.pick(*hash, 1))
            .count();
        // A fortieth by chance.
        assert!(same < 60, "{same}");
        assert_eq!(table.pick(5, 1), table.pick(5 ^ u64::MAX, 0));
    }
}
