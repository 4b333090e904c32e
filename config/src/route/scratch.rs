//! Buffers for the few conditions that cannot look at a request's bytes where
//! they are.

use std::cell::RefCell;

thread_local! {
    /// Kept from one request to the next, so that none allocates. As many as
    /// were ever in use at once.
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with an empty buffer.
pub(crate) fn with<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.clear();
    let result = f(&mut buffer);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}
