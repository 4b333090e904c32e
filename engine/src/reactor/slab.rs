//! An index-based store for the reactor's long-lived objects (tasks, sockets, listeners, timers).
//!
//! An index stays valid until its owner removes it; freed places are reused last in, first out, so
//! that a busy reactor touches few cache lines.

/// Values in one vector, addressed by a small integer.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    first_free: u32,
    len: usize,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free { next: u32 },
}

/// The end of the free list.
const NONE: u32 = u32::MAX;

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Slab {
            places: Vec::new(),
            first_free: NONE,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if self.first_free == NONE {
            let index = u32::try_from(self.places.len()).expect("fewer than 2^32 objects");
            self.places.push(Place::Taken(value));
            return index;
        }
        let index = self.first_free;
        let place = &mut self.places[index as usize];
        if let Place::Free { next } = *place {
            self.first_free = next;
        }
        *place = Place::Taken(value);
        index
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        match self.places.get(index as usize) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.places.get_mut(index as usize) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let place = self.places.get_mut(index as usize)?;
        if matches!(place, Place::Free { .. }) {
            return None;
        }
        let freed = Place::Free {
            next: self.first_free,
        };
        self.first_free = index;
        self.len -= 1;
        match std::mem::replace(place, freed) {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    /// The indices in use at this moment.
    pub(super) fn indices(&self) -> Vec<u32> {
        (0..)
            .zip(&self.places)
            .filter(|(_, place)| matches!(place, Place::Taken(_)))
            .map(|(index, _)| index)
            .collect()
    }
}

/// Indexing is for owners, who know that their index is in use.
impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the owner of an index keeps it")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the owner of an index keeps it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_is_reused_first() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.get(a), None);
        assert_eq!(slab.insert('c'), a);
        assert_eq!((slab[a], slab[b], slab.len()), ('c', 'b', 2));
        assert_eq!(slab.indices(), [a, b]);
    }
}
