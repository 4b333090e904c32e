//! A header's value, copied out so that the list can be changed meanwhile.

use std::ops::Deref;

/// A short value lives on the stack, so that the usual request allocates
/// nothing.
pub(super) struct ValueCopy {
    short: [u8; SHORT_BYTES],
    length: usize,
    long: Vec<u8>,
}

/// Holds a path, a host or a list of a dozen addresses.
const SHORT_BYTES: usize = 256;

impl ValueCopy {
    pub(super) fn of(value: &[u8]) -> Self {
        let mut copy = ValueCopy {
            short: [0; SHORT_BYTES],
            length: value.len(),
            long: Vec::new(),
        };
        match copy.short.get_mut(..value.len()) {
            Some(room) => room.copy_from_slice(value),
            None => copy.long.extend_from_slice(value),
        }
        copy
    }
}

impl Deref for ValueCopy {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self.long.is_empty() {
            true => &self.short[..self.length],
            false => &self.long,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_values_come_back() {
        for length in [0, 1, SHORT_BYTES - 1, SHORT_BYTES, SHORT_BYTES + 1, 5_000] {
            let value = vec![b'x'; length];
            assert_eq!(&*ValueCopy::of(&value), &value[..]);
        }
    }
}
