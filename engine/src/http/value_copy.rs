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
        Self::joined(std::iter::once(value))
    }

    /// The values of a header that is a list, with commas between. Empty ones
    /// are left out.
    pub(super) fn joined<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let mut copy = ValueCopy {
            short: [0; SHORT_BYTES],
            length: 0,
            long: Vec::new(),
        };
        for value in values.filter(|value| !value.is_empty()) {
            if copy.length > 0 {
                copy.push(b",");
            }
            copy.push(value);
        }
        copy
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let (true, Some(room)) = (self.long.is_empty(), self.short.get_mut(self.length..end)) {
            room.copy_from_slice(bytes);
        } else {
            if self.long.is_empty() {
                self.long.extend_from_slice(&self.short[..self.length]);
            }
            self.long.extend_from_slice(bytes);
        }
        self.length = end;
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
            let joined = ValueCopy::joined([&value[..], b"", b"yy", &value].into_iter());
            let kept = [&value[..], b"yy", &value];
            let expected: Vec<&[u8]> = kept.into_iter().filter(|v| !v.is_empty()).collect();
            assert_eq!(&*joined, expected.join(&b","[..]));
        }
    }
}
