//! The end of threads that run until a test says stop.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Says stop when it is dropped, also because a check has failed: otherwise a
/// `thread::scope` would wait for its threads for ever.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
