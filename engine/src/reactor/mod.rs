//! The event loop: sockets, timers and tasks of one thread.
//!
//! A [`Reactor`] belongs to one thread and so does everything made on it; there are no locks and
//! no atomics, and nothing here is `Send` but [`RemoteWaker`]. Nothing above this folder names
//! io_uring or epoll. This folder knows nothing of protocols, configuration or statistics.
//!
//! A turn of the loop (`Reactor::block_on`):
//! 1. Tasks that are ready are polled, up to a budget.
//! 2. What they have written is sent, one send per socket; starved receives get free buffers.
//! 3. The driver hands everything to the kernel in one call and waits for events.
//! 4. The clock is read. Events are applied to sockets, due timers fire, wakers are called.
//!
//! Where to start reading: [`Stream`] (`stream.rs`) for what the layers above use, `io.rs` for
//! what happens to a socket, `driver/mod.rs` for what is asked of the kernel.

mod buffer;
mod clock;
mod driver;
mod executor;
pub mod fault;
mod io;
mod listener;
mod remote;
mod send_queue;
mod slab;
mod socket;
mod stream;
mod timer;
pub mod tokio_io;
mod wheel;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

pub use buffer::Chunk;
pub use driver::{DriverChoice, DriverKind};
pub use listener::Listener;
pub use remote::{RemoteWaker, remote_wake};
pub use stream::{ConnectOptions, DROP_FLUSH_TIMEOUT, Stream};
pub use timer::{Elapsed, Timer, sleep, timeout};

use clock::Clock;
use driver::{Driver, Event, Operation};
use executor::Executor;
use io::Io;
use timer::Alarm;
use wheel::Wheel;

/// How to set a reactor up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which driver to use.
    pub driver: DriverChoice,
    /// Entries of the submission queue. More operations in one turn cost an extra system call.
    pub ring_entries: u32,
    /// Entries of the completion queue: what may end between two turns without overflowing into
    /// the kernel's slower list.
    pub completion_entries: u32,
    /// Number of receive buffers, a power of two. Every connection that receives in the same
    /// instant needs one; too few of them double the cost of receiving.
    pub buffer_count: u16,
    /// Size of a receive buffer in bytes. 64 KiB makes large bodies a quarter cheaper than
    /// 16 KiB; small messages touch the first page only.
    pub buffer_bytes: usize,
    /// Sleep at least this long when idle, so that events gather: less CPU for more latency.
    /// Needs io_uring on Linux 6.12; otherwise it has no effect.
    pub min_wait: Option<Duration>,
    /// Injected faults, for tests.
    pub faults: Option<fault::Plan>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            driver: DriverChoice::Auto,
            ring_entries: 1024,
            completion_entries: 16 * 1024,
            buffer_count: 512,
            buffer_bytes: 64 * 1024,
            min_wait: None,
            faults: None,
        }
    }
}

/// Counters and gauges of a reactor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Turns of the loop.
    pub turns: u64,
    /// Events from the driver.
    pub completions: u64,
    /// Operations handed to the driver.
    pub submissions: u64,
    /// Receives that had to wait for a free buffer.
    pub starved_receives: u64,
    /// Queues or chunks copied out of receive buffers because these ran low.
    pub copied_out: u64,
    /// Sockets, also those that are being closed.
    pub open_sockets: u64,
    /// Operations that have not ended.
    pub operations_in_flight: u64,
    /// Receive buffers not lent to anybody.
    pub free_buffers: u64,
    /// Tasks that have not ended.
    pub tasks: u64,
}

/// What streams, timers and tasks share.
#[derive(Debug)]
struct Core {
    executor: Executor,
    clock: Clock,
    started: Instant,
    wheel: RefCell<Wheel<Alarm>>,
    io: RefCell<Io>,
    remote: RemoteWaker,
    /// A remote wake-up that nobody has consumed.
    remote_pending: Cell<bool>,
    remote_wakes: Cell<u64>,
    remote_waiters: RefCell<Vec<Waker>>,
    turns: Cell<u64>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
    static NEXT_ID: Cell<u16> = const { Cell::new(0) };
}

fn with_current<T>(f: impl FnOnce(Option<&Core>) -> T) -> T {
    // While the thread ends there is no reactor any more.
    CURRENT
        .try_with(|current| current.borrow().as_ref().map(Rc::clone))
        .map_or_else(|_| None, |core| core)
        .as_deref()
        .map_or_else(|| None, Some)
        .pipe(f)
}
