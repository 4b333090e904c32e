//! Buffers for the few conditions that cannot look at a request's bytes where
//! they are.

use std::cell::RefCell;

/// What a buffer keeps of its memory: one huge header must not cost a worker its
/// size for ever.
const KEPT_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Kept from one request to the next, so that none allocates. As many as
    /// were ever in use at once.
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with an empty buffer.
pub(crate) fn with<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    let result = f(&mut buffer);
    buffer.clear();
    buffer.shrink_to(KEPT_BYTES_MAX);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_not_huge() {
        with(|buffer| buffer.resize(1 << 20, 0));
        with(|buffer| {
            assert!(buffer.is_empty());
            assert!((1..=KEPT_BYTES_MAX).contains(&buffer.capacity()));
            // One that is asked for meanwhile is another.
            buffer.push(1);
            with(|other| assert!(other.is_empty()));
            assert_eq!(*buffer, [1]);
        });
    }
}
