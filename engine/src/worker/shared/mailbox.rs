//! Letters from worker to worker.

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::reactor::RemoteWaker;

/// A bounded queue that every worker may write to and one reads. It has a lock,
/// which is held for a push or a pop only: workers write to each other when a
/// connection would have to be opened, never for a request that has one.
#[derive(Debug)]
pub struct Mailbox<T> {
    letters: Mutex<VecDeque<T>>,
    /// Of the worker that reads; missing until it runs.
    reader: OnceLock<RemoteWaker>,
}

/// Letters that may wait for a worker. One that is so far behind cannot help
/// others, and they do not wait for it.
const LETTERS_MAX: usize = 1024;

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self {
            letters: Mutex::default(),
            reader: OnceLock::new(),
        }
    }
}

impl<T> Mailbox<T> {
    /// Says how to wake the worker that reads. The first call counts.
    pub fn open(&self, reader: RemoteWaker) {
        // A second reader would be a mistake of the caller's; it gets no mail.
        let _ = self.reader.set(reader);
    }

    /// Leaves a letter and wakes the reader.
    ///
    /// # Errors
    /// Gives the letter back when nobody reads, or the box is full.
    pub fn push(&self, letter: T) -> Result<(), T> {
        let Some(reader) = self.reader.get() else {
            return Err(letter);
        };
        let mut letters = self.lock();
        if letters.len() >= LETTERS_MAX {
            return Err(letter);
        }
        letters.push_back(letter);
        drop(letters);
        reader.wake();
        Ok(())
    }

    /// The oldest letter; the reader only.
    pub fn pop(&self) -> Option<T> {
        self.lock().pop_front()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<T>> {
        // A push or a pop is complete or has not begun.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::{Options, Reactor};

    #[test]
    fn letters_arrive_in_order_and_the_box_is_bounded() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.push(0), Err(0), "nobody reads it");
        let reactor = Reactor::new(&Options::default()).unwrap();
        mailbox.open(reactor.remote_waker());
        for letter in 0..LETTERS_MAX {
            assert_eq!(mailbox.push(letter), Ok(()));
        }
        assert_eq!(mailbox.push(7), Err(7));
        assert_eq!((mailbox.pop(), mailbox.pop()), (Some(0), Some(1)));
        assert_eq!(mailbox.push(7), Ok(()));
    }
}
