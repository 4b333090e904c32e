//! What the streams of one connection have moved on the wire, by their numbers.
//!
//! A table with open addressing. Clients number their streams one after the
//! other; their places are scattered, or they would stand in one long row that
//! has to be gone through to take one away.

use super::observer::Refusal;

/// Bytes of frames, heads of frames among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamBytes {
    /// Of all frames that came.
    pub received: u64,
    /// Of those of header blocks.
    pub header_received: u64,
    /// Of all frames that were sent.
    pub sent: u64,
    /// Of those of header blocks.
    pub header_sent: u64,
}

/// A stream that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Its number; 0 is a free place.
    stream: u32,
    /// Somebody serves it, or has asked for it.
    pub is_taken: bool,
    /// The kind of the frame that came last.
    pub last_received: u8,
    /// Of the payloads of the headers that came last.
    pub head_bytes: u32,
    /// The peer has reset it.
    pub is_reset: bool,
    /// A message on it breaks the rules, and was counted.
    pub is_malformed: bool,
    /// The library has ended it by itself, it seems.
    pub refused: Option<Refusal>,
    /// Header blocks that were sent on it.
    pub heads_sent: u32,
    /// Of payloads of `DATA` frames that were sent.
    pub data_sent: u64,
    pub bytes: StreamBytes,
}

#[derive(Debug, Default)]
pub(super) struct KnownStreams {
    /// A power of two of them, or none; at most a half is taken.
    places: Vec<Known>,
    count: usize,
}

/// Streams of a connection that are known at most: more than are allowed by
/// default. Of others nothing is told.
const STREAMS_MAX: usize = 4096;

/// Places that a connection begins with, and that an idle one keeps at most.
const PLACES_MIN: usize = 8;
const PLACES_IDLE_MAX: usize = 64;

impl KnownStreams {
    /// How many are known.
    pub fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub fn get(&mut self, stream: u32) -> Option<&mut Known> {
        let place = self.find(stream)?;
        Some(&mut self.places[place])
    }

    /// Adds a stream that is not known yet.
    pub fn insert(&mut self, stream: u32) {
        if self.count >= STREAMS_MAX || stream == 0 || self.find(stream).is_some() {
            return;
        }
        if self.count * 2 >= self.places.len() {
            self.grow();
        }
        self.count += 1;
        let place = self.free_place(stream);
        self.places[place] = Known {
            stream,
            ..Known::default()
        };
    }

    pub fn remove(&mut self, stream: u32) {
        let Some(mut hole) = self.find(stream) else {
            return;
        };
        self.count -= 1;
        if self.count == 0 && self.places.len() > PLACES_IDLE_MAX {
            self.places = Vec::new();
            return;
        }
        // What stands behind it because its own place was taken moves up.
        let mask = self.places.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let moved = self.places[next];
            if moved.stream == 0 {
                break;
            }
            let own = home(moved.stream, mask);
            if next.wrapping_sub(own) & mask >= next.wrapping_sub(hole) & mask {
                self.places[hole] = moved;
                hole = next;
            }
        }
        self.places[hole] = Known::default();
    }

    /// A stream for which `is_it` holds, and its number.
    pub fn search(&self, is_it: impl Fn(&Known) -> bool) -> Option<u32> {
        let found = (self.places.iter()).find(|known| known.stream != 0 && is_it(known))?;
        Some(found.stream)
    }

    #[inline]
    fn find(&self, stream: u32) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let mut place = home(stream, mask);
        loop {
            match self.places[place].stream {
                0 => return None,
                found if found == stream => return Some(place),
                _ => place = (place + 1) & mask,
            }
        }
    }

    fn free_place(&self, stream: u32) -> usize {
        let mask = self.places.len() - 1;
        let mut place = home(stream, mask);
        while self.places[place].stream != 0 {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        let places = vec![Known::default(); (self.places.len() * 2).max(PLACES_MIN)];
        let before = std::mem::replace(&mut self.places, places);
        for known in before.into_iter().filter(|known| known.stream != 0) {
            let place = self.free_place(known.stream);
            self.places[place] = known;
        }
    }
}

/// Numbers of one side's streams are all odd or all even. The factor is that of
/// Fibonacci hashing (Knuth, volume 3, section 6.4); a mask has 13 bits at most.
fn home(stream: u32, mask: usize) -> usize {
    ((stream >> 1).wrapping_mul(0x9E37_79B9) >> 16) as usize & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    fn known(streams: &mut KnownStreams, expected: &BTreeMap<u32, u64>) {
        assert_eq!(streams.count, expected.len());
        for (stream, bytes) in expected {
            let found = streams.get(*stream).map(|known| known.bytes.received);
            assert_eq!(found, Some(*bytes), "{stream}");
        }
    }

    #[test]
    fn streams_are_found_until_they_are_removed() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut streams, mut expected) = (KnownStreams::default(), BTreeMap::new());
        assert!(streams.get(1).is_none());
        streams.remove(1);
        for turn in 0..20_000_u64 {
            // Many of them want the same places.
            let stream = 1 + 2 * random.u32(..40) + 512 * random.u32(..3);
            match random.bool() {
                true => {
                    streams.insert(stream);
                    let known = streams.get(stream).unwrap();
                    known.bytes.received = turn;
                    expected.insert(stream, turn);
                }
                false => {
                    streams.remove(stream);
                    expected.remove(&stream);
                }
            }
            known(&mut streams, &expected);
        }
    }

    #[test]
    fn there_are_not_more_than_there_may_be() {
        let mut streams = KnownStreams::default();
        for stream in 0..20_000 {
            streams.insert(stream);
        }
        assert_eq!(streams.count, STREAMS_MAX);
        assert_eq!(streams.places.len(), 2 * STREAMS_MAX);
        assert!(streams.get(0).is_none());
        for stream in 0..20_000 {
            streams.remove(stream);
        }
        assert!(streams.places.is_empty());
        streams.insert(7);
        assert_eq!(streams.search(|_| true), Some(7));
        assert_eq!(streams.search(|known| known.is_taken), None);
    }
}
