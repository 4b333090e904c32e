//! A hierarchical timer wheel with millisecond ticks.
//!
//! Level `k` has 64 slots of `64^k` ms. An entry sits at the level where its time first differs
//! from the wheel's; when the wheel reaches the slot, the entry moves down a level or fires.
//!
//! An entry has a deadline and, apart from it, a place. Moving the deadline later leaves the place
//! alone: when the old place comes up, the entry is put where it belongs. A connection that sets
//! its idle timeout again for every request therefore costs a store per request and one
//! replacement per timeout period, however many requests there are.

use super::slab::Slab;

/// Slots of a level; a bit each in one word.
const SLOTS: u64 = 64;
const SLOT_BITS: u32 = 6;
/// Six levels reach 2^36 ms, more than two years.
const LEVELS: usize = 6;
/// Later deadlines wait in the last slot and are placed again when it comes up. The last level
/// wraps around, so one slot less than all of them: the next round's must not look like this one.
const REACH_MS: u64 = (SLOTS - 1) << (SLOT_BITS * (LEVELS as u32 - 1));
const NIL: u32 = u32::MAX;

/// Entries of type `T`, each with a deadline in milliseconds since the wheel began.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    entries: Slab<Entry<T>>,
    levels: [Level; LEVELS],
    elapsed_ms: u64,
}

#[derive(Debug)]
struct Level {
    occupied: u64,
    heads: [u32; SLOTS as usize],
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    deadline_ms: Option<u64>,
    place: Option<Place>,
    previous: u32,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    due_ms: u64,
    level: u8,
    slot: u8,
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Self {
        Wheel {
            entries: Slab::new(),
            levels: std::array::from_fn(|_| Level {
                occupied: 0,
                heads: [NIL; SLOTS as usize],
            }),
            elapsed_ms: 0,
        }
    }

    /// Adds an entry without a deadline.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.entries.insert(Entry {
            value,
            deadline_ms: None,
            place: None,
            previous: NIL,
            next: NIL,
        })
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        self.unlink(index);
        self.entries.remove(index).map(|entry| entry.value)
    }

    pub(super) fn value_mut(&mut self, index: u32) -> &mut T {
        &mut self.entries[index].value
    }

    pub(super) fn deadline_ms(&self, index: u32) -> Option<u64> {
        self.entries[index].deadline_ms
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }

    pub(super) fn set(&mut self, index: u32, deadline_ms: Option<u64>) {
        let entry = &mut self.entries[index];
        entry.deadline_ms = deadline_ms;
        let Some(deadline) = deadline_ms else { return };
        match entry.place {
            Some(place) if place.due_ms <= deadline => {}
            Some(_) => {
                self.unlink(index);
                self.link(index, deadline);
            }
            None => self.link(index, deadline),
        }
    }

    /// The moment at which the wheel must be advanced next; it may turn out that nothing fires
    /// then, because the entry only moves.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.next_slot().map(|(_, _, due_ms)| due_ms)
    }

    /// Moves the wheel to `now_ms` and hands every entry whose deadline has been reached to
    /// `fire`, in the order of their milliseconds.
    pub(super) fn advance(&mut self, now_ms: u64, mut fire: impl FnMut(u32, &mut T)) {
        while let Some((level, slot, due_ms)) = self.next_slot() {
            if due_ms > now_ms {
                break;
            }
            self.elapsed_ms = due_ms.max(self.elapsed_ms);
            let mut index = std::mem::replace(&mut self.levels[level].heads[slot], NIL);
            self.levels[level].occupied &= !(1 << slot);
            while index != NIL {
                let entry = &mut self.entries[index];
                let next = entry.next;
                entry.place = None;
                entry.previous = NIL;
                entry.next = NIL;
                match entry.deadline_ms {
                    Some(deadline) if deadline <= self.elapsed_ms => fire(index, &mut entry.value),
                    Some(deadline) => self.link(index, deadline),
                    None => {}
                }
                index = next;
            }
        }
        self.elapsed_ms = self.elapsed_ms.max(now_ms);
    }

    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        self.levels.iter().enumerate().find_map(|(k, level)| {
            if level.occupied == 0 {
                return None;
            }
            let shift = SLOT_BITS * k as u32;
            let here = (self.elapsed_ms >> shift) % SLOTS;
            let ahead = u64::from(level.occupied.rotate_right(here as u32).trailing_zeros());
            let slot = (here + ahead) % SLOTS;
            // Only the last level wraps around; elsewhere the sum stays within the level.
            let due_ms = ((self.elapsed_ms >> shift) + ahead) << shift;
            Some((k, slot as usize, due_ms))
        })
    }

    fn link(&mut self, index: u32, deadline_ms: u64) {
        let due_ms = deadline_ms.clamp(self.elapsed_ms, self.elapsed_ms + REACH_MS);
        let differing = (due_ms ^ self.elapsed_ms) | 1;
        let level = (differing.ilog2() / SLOT_BITS).min(LEVELS as u32 - 1);
        let slot = ((due_ms >> (SLOT_BITS * level)) % SLOTS) as usize;
        let head = &mut self.levels[level as usize].heads[slot];
        let next = std::mem::replace(head, index);
        self.levels[level as usize].occupied |= 1 << slot;
        if next != NIL {
            self.entries[next].previous = index;
        }
        let entry = &mut self.entries[index];
        entry.previous = NIL;
        entry.next = next;
        entry.place = Some(Place {
            due_ms,
            level: level as u8,
            slot: slot as u8,
        });
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index];
        let Some(place) = entry.place.take() else {
            return;
        };
        let (previous, next) = (entry.previous, entry.next);
        entry.previous = NIL;
        entry.next = NIL;
        if next != NIL {
            self.entries[next].previous = previous;
        }
        if previous != NIL {
            self.entries[previous].next = next;
            return;
        }
        let level = &mut self.levels[usize::from(place.level)];
        level.heads[usize::from(place.slot)] = next;
        if next == NIL {
            level.occupied &= !(1 << place.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(wheel: &mut Wheel<&'static str>, now_ms: u64) -> Vec<&'static str> {
        let mut names = Vec::new();
        wheel.advance(now_ms, |_, name| names.push(*name));
        names
    }

    #[test]
    fn entries_fire_in_order_and_never_early() {
        let mut wheel = Wheel::new();
        for (name, at) in [("c", 5_000), ("a", 3), ("d", 70_000_000), ("b", 64)] {
            let index = wheel.insert(name);
            wheel.set(index, Some(at));
        }
        assert_eq!(fired(&mut wheel, 2), [""; 0]);
        assert_eq!(fired(&mut wheel, 3), ["a"]);
        assert_eq!(fired(&mut wheel, 63), [""; 0]);
        assert_eq!(fired(&mut wheel, 4_999), ["b"]);
        assert_eq!(fired(&mut wheel, 69_999_999), ["c"]);
        assert_eq!(fired(&mut wheel, 70_000_000), ["d"]);
        assert_eq!(wheel.next_ms(), None);
    }

    #[test]
    fn a_later_deadline_keeps_the_place_and_an_earlier_one_moves_it() {
        let mut wheel = Wheel::new();
        let index = wheel.insert("x");
        wheel.set(index, Some(100));
        wheel.set(index, Some(1_000));
        assert!(wheel.next_ms().unwrap() <= 100, "the place stays");
        assert_eq!(fired(&mut wheel, 100), [""; 0]);
        assert!(wheel.next_ms().unwrap() > 100);
        wheel.set(index, Some(200));
        assert_eq!(fired(&mut wheel, 200), ["x"]);
        assert_eq!(fired(&mut wheel, 2_000), [""; 0], "fires once");
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_turn() {
        let mut wheel = Wheel::new();
        assert_eq!(fired(&mut wheel, 777), [""; 0]);
        let index = wheel.insert("late");
        wheel.set(index, Some(5));
        assert_eq!(wheel.next_ms(), Some(777));
        assert_eq!(fired(&mut wheel, 777), ["late"]);
    }

    #[test]
    fn removing_and_clearing_are_silent() {
        let mut wheel = Wheel::new();
        let (a, b, c) = (wheel.insert("a"), wheel.insert("b"), wheel.insert("c"));
        for index in [a, b, c] {
            wheel.set(index, Some(10));
        }
        assert_eq!(wheel.remove(b), Some("b"));
        wheel.set(c, None);
        assert_eq!(fired(&mut wheel, 10), ["a"]);
        assert_eq!(wheel.remove(a), Some("a"));
        assert_eq!(wheel.remove(c), Some("c"));
    }

    #[test]
    fn random_deadlines_match_a_sorted_list() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut wheel = Wheel::new();
            let mut expected: Vec<(u64, u32)> = Vec::new();
            let mut now = 0;
            for round in 0..2_000u32 {
                let index = wheel.insert(round);
                let reach = 1 << rng.u32(1..40);
                let at = now + rng.u64(0..reach);
                wheel.set(index, Some(at));
                expected.push((at, round));
                if rng.u32(0..10) == 0 {
                    let step = 1 << rng.u32(1..33);
                    now += rng.u64(0..step);
                    let mut got = Vec::new();
                    wheel.advance(now, |_, value| got.push(*value));
                    let (mut due, rest): (Vec<_>, Vec<_>) =
                        expected.into_iter().partition(|(at, _)| *at <= now);
                    expected = rest;
                    due.sort_unstable();
                    got.sort_unstable();
                    let mut due: Vec<u32> = due.into_iter().map(|(_, v)| v).collect();
                    due.sort_unstable();
                    assert_eq!(got, due, "seed {seed}, round {round}");
                    if let Some(next) = wheel.next_ms() {
                        assert!(expected.iter().all(|(at, _)| *at >= next), "seed {seed}");
                    }
                }
            }
        }
    }
}
