//! The lines of the current thread that are not handed to the writer yet, one
//! buffer for each destination. Appending a line takes no lock and allocates
//! nothing but a buffer for every batch.

use super::destination::Destination;
use super::writer::{Batch, LogHandle};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why buffers are handed over before they are full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushCause {
    /// `--file-flush-interval-msec` passed; counted in
    /// `filesystem.flushed_by_timer`.
    Timer,
    /// Logs are reopened, or the thread ends.
    Request,
}

/// Hands the current thread's lines to the writer, whatever their number. A
/// worker calls it from a timer, when logs are reopened, and before it ends.
pub fn flush_local(cause: FlushCause) {
    // A thread that is ending has handed its lines over already.
    let _ = LOCAL.try_with(|local| {
        if let Some(local) = local.borrow_mut().as_mut() {
            local.flush(cause);
        }
    });
}

/// Appends the line that `write` writes to the buffer of `destination`.
pub(super) fn append(destination: &Arc<Destination>, write: impl FnOnce(&mut Vec<u8>)) {
    let _ = LOCAL.try_with(|local| match local.borrow_mut().as_mut() {
        Some(local) => local.append(destination, write),
        None => debug_assert!(false, "a thread logs without a LogHandle installed"),
    });
}

/// Makes `handle` the current thread's way to the writer.
pub(super) fn install(handle: LogHandle) {
    LOCAL.with(|local| {
        let replaced = local.borrow_mut().replace(Local {
            handle,
            buffers: Vec::new(),
        });
        drop(replaced);
    });
}

thread_local! {
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

struct Local {
    handle: LogHandle,
    /// Few, so that a scan is the fastest lookup.
    buffers: Vec<Buffer>,
}

struct Buffer {
    destination: Arc<Destination>,
    bytes: Vec<u8>,
    lines: u64,
    /// How often logs had been reopened when the first line was appended.
    generation: u32,
}

impl Local {
    fn append(&mut self, destination: &Arc<Destination>, write: impl FnOnce(&mut Vec<u8>)) {
        let position = self
            .buffers
            .iter()
            .position(|buffer| buffer.destination.id == destination.id);
        let buffer = match position {
            Some(position) => &mut self.buffers[position],
            None => {
                self.buffers.push(Buffer {
                    destination: destination.clone(),
                    bytes: Vec::new(),
                    lines: 0,
                    generation: 0,
                });
                self.buffers.last_mut().expect("pushed")
            }
        };
        let generation = self.handle.generation();
        if buffer.generation != generation {
            // What was logged before the reopening belongs to the old file.
            buffer.hand_over(&self.handle);
            buffer.generation = generation;
        }
        let flush_bytes = self.handle.flush_bytes();
        if buffer.bytes.capacity() == 0 {
            // The line that crosses the limit usually fits too.
            buffer.bytes.reserve(flush_bytes + flush_bytes / 16);
        }
        let before = buffer.bytes.len();
        write(&mut buffer.bytes);
        buffer.lines += 1;
        let stats = &self.handle.stats().filesystem;
        stats.write_buffered.inc();
        stats
            .write_total_buffered
            .add((buffer.bytes.len() - before) as i64);
        if buffer.bytes.len() >= flush_bytes {
            buffer.hand_over(&self.handle);
        }
    }

    fn flush(&mut self, cause: FlushCause) {
        for buffer in &mut self.buffers {
            if buffer.hand_over(&self.handle) && cause == FlushCause::Timer {
                self.handle.stats().filesystem.flushed_by_timer.inc();
            }
        }
        // A destination that no logger has any more is closed by the writer
        // when the last reference goes.
        self.buffers
            .retain(|buffer| Arc::strong_count(&buffer.destination) > 1);
    }
}

impl Buffer {
    fn take(&mut self) -> Option<Batch> {
        if self.lines == 0 {
            return None;
        }
        Some(Batch {
            destination: self.destination.clone(),
            bytes: std::mem::take(&mut self.bytes),
            lines: std::mem::take(&mut self.lines),
            generation: self.generation,
        })
    }

    /// Gives the lines to the writer, or drops them when its queue is full.
    /// False when there were none.
    fn hand_over(&mut self, handle: &LogHandle) -> bool {
        match self.take() {
            Some(batch) => {
                if let Err(batch) = handle.offer(batch) {
                    handle.drop_batch(&batch);
                }
                true
            }
            None => false,
        }
    }
}

/// How long a thread that ends tries to get its last lines into the queue.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

impl Drop for Local {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES_WAIT;
        for buffer in &mut self.buffers {
            let Some(mut batch) = buffer.take() else {
                continue;
            };
            while let Err(refused) = self.handle.offer(batch) {
                if Instant::now() >= deadline {
                    self.handle.drop_batch(&refused);
                    break;
                }
                batch = refused;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
