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

/// The reactor of this thread. `f` must not set up or drop one.
/// Runs with the reactor that `block_on` runs on this thread, if there is one.
fn with_current<T>(f: impl FnOnce(Option<&Core>) -> T) -> T {
    let mut f = Some(f);
    let result = CURRENT.try_with(|current| {
        let current = current.borrow();
        f.take().map(|f| f(current.as_deref()))
    });
    match result {
        Ok(Some(result)) => result,
        // While the thread ends there is no reactor any more; `f` was not called then.
        _ => f.take().map(|f| f(None)).expect("called once at most"),
    }
}

/// The reactor that runs on this thread.
fn current() -> Rc<Core> {
    CURRENT.with(|current| {
        let current = current.borrow();
        Rc::clone(current.as_ref().expect("called from within Reactor::block_on"))
    })
}

impl Core {
    /// The wheel's time of an instant, rounded up: what is due then is not due before.
    fn ms_not_before(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        since.as_nanos().div_ceil(1_000_000) as u64
    }

    fn ms_elapsed(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    /// How long the driver may sleep; `None` is for ever.
    fn sleep_max(&self) -> Option<Duration> {
        if self.executor.has_work() {
            return Some(Duration::ZERO);
        }
        let timer = self.wheel.borrow().next_ms();
        let io = self.io.borrow().next_flush_ms();
        let due_ms = [timer, io].into_iter().flatten().min()?;
        let now_ms = self.ms_elapsed(self.clock.now());
        Some(Duration::from_millis(due_ms.saturating_sub(now_ms)))
    }

    /// Hands what was asked for to the kernel, waits for events and applies them.
    fn turn(&self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.turns.set(self.turns.get() + 1);
        self.io.borrow_mut().driver.wait(timeout, events)?;
        let now = self.clock.advance();
        let now_ms = self.ms_elapsed(now);
        let mut called = false;
        {
            let mut io = self.io.borrow_mut();
            io.now_ms = now_ms;
            for event in events.drain(..) {
                called |= event.operation == Operation::Wake;
                io.on_event(event);
            }
            io.deliver_due();
        }
        if called {
            self.on_remote_wake();
        }
        self.fire_timers(now_ms);
        self.wake_woken();
        Ok(())
    }

    fn on_remote_wake(&self) {
        let mut waiters = std::mem::take(&mut *self.remote_waiters.borrow_mut());
        self.remote_pending.set(waiters.is_empty());
        self.remote_wakes.set(self.remote_wakes.get() + 1);
        for waiter in waiters.drain(..) {
            waiter.wake();
        }
    }

    fn fire_timers(&self, now_ms: u64) {
        let mut wheel = self.wheel.borrow_mut();
        let mut io = self.io.borrow_mut();
        let io = &mut *io;
        let mut late = Vec::new();
        wheel.advance(now_ms, |_, alarm| match alarm {
            Alarm::Timer(waker) => io.woken.extend(waker.take()),
            Alarm::DropFlush(slot) => late.push(*slot),
        });
        for slot in late {
            io.abort(slot);
        }
        for timer in io.stale_timers.drain(..) {
            drop(wheel.remove(timer));
        }
    }

    /// Calls the wakers that events have collected, while nothing is borrowed.
    fn wake_woken(&self) {
        loop {
            let mut woken = std::mem::take(&mut self.io.borrow_mut().woken);
            if woken.is_empty() {
                return;
            }
            for waker in woken.drain(..) {
                waker.wake();
            }
            let mut io = self.io.borrow_mut();
            if io.woken.is_empty() {
                // The list keeps its memory for the next turn.
                io.woken = woken;
                return;
            }
        }
    }
}

/// An event loop; see the module.
#[derive(Debug)]
pub struct Reactor {
    core: Rc<Core>,
    events: Vec<Event>,
    fallback_reason: Option<String>,
}

impl Reactor {
    /// Sets a reactor up for the current thread.
    ///
    /// # Errors
    /// The chosen driver cannot be used here, or memory is short.
    pub fn new(options: &Options) -> io::Result<Self> {
        let remote = RemoteWaker::new()?;
        let opened = Driver::open(options, remote.as_raw_fd())?;
        remote.prepare(opened.driver.kind())?;
        let id = NEXT_ID.with(|next| next.replace(next.get().wrapping_add(1)));
        let clock = Clock::new();
        let faults = options.faults.clone().map(fault::Faults::new);
        Ok(Reactor {
            core: Rc::new(Core {
                executor: Executor::new(id),
                started: clock.now(),
                clock,
                wheel: RefCell::new(Wheel::new()),
                io: RefCell::new(Io::new(opened.driver, opened.pool, faults)),
                remote,
                remote_pending: Cell::new(false),
                remote_wakes: Cell::new(0),
                remote_waiters: RefCell::new(Vec::new()),
                turns: Cell::new(0),
            }),
            events: Vec::new(),
            fallback_reason: opened.fallback_reason,
        })
    }

    /// The driver in use.
    pub fn driver(&self) -> DriverKind {
        self.core.io.borrow().driver.kind()
    }

    /// Why [`DriverChoice::Auto`] did not choose io_uring, if it did not.
    pub fn driver_fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// What other threads wake this reactor with.
    pub fn remote_waker(&self) -> RemoteWaker {
        self.core.remote.clone()
    }

    /// Runs the loop until `future` is complete. Spawned tasks that are not complete then go on in
    /// the next call.
    ///
    /// # Panics
    /// When the driver fails in a way that it cannot recover from, and when called from within.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let _entered = Entered::new(&self.core);
        let core = Rc::clone(&self.core);
        let mut future = pin!(future);
        core.clock.advance();
        core.executor.wake_main();
        let waker = core.executor.main_waker();
        loop {
            core.executor.wake_deferred();
            if core.executor.take_main_woken()
                && let Poll::Ready(output) =
                    future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                core.io.borrow_mut().flush();
                core.wake_woken();
                return output;
            }
            core.executor.run();
            core.io.borrow_mut().flush();
            core.wake_woken();
            let timeout = core.sleep_max();
            core.turn(timeout, &mut self.events)
                .expect("the driver waits for events");
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let entered = Entered::new(&self.core);
        self.core.executor.clear();
        self.core.io.borrow_mut().flush();
        self.core.io.borrow_mut().shut_down();
        self.core.wake_woken();
        // The kernel may still read and write memory of operations under way: it is freed only
        // when each of them has ended.
        while self.core.io.borrow().operations() > 0 {
            let ended = self.core.turn(Some(SHUTDOWN_WAIT), &mut self.events);
            if ended.is_err() {
                break;
            }
        }
        drop(entered);
    }
}

/// How long shutting down sleeps before it looks again.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(100);

/// Makes a reactor the thread's current one while it lives.
struct Entered;

impl Entered {
    fn new(core: &Rc<Core>) -> Self {
        let before = CURRENT.with(|current| current.borrow_mut().replace(Rc::clone(core)));
        assert!(before.is_none(), "a reactor runs inside another one");
        Entered
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // While the thread ends there is nothing to reset any more.
        let before = CURRENT.try_with(|current| current.borrow_mut().take());
        drop(before);
    }
}

/// A spawned task. Dropping the handle lets the task run on by itself.
#[derive(Debug)]
pub struct TaskHandle {
    core: Rc<Core>,
    index: u32,
    generation: u32,
}

impl TaskHandle {
    /// Drops the task's future at the next turn, wherever it waits.
    pub fn abort(&self) {
        self.core.executor.abort(self.index, self.generation);
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        !self.core.executor.is_alive(self.index, self.generation)
    }
}

/// Starts a task on the current reactor.
pub fn spawn(future: impl Future<Output = ()> + 'static) -> TaskHandle {
    let core = current();
    let (index, generation) = core.executor.spawn(Box::pin(future));
    TaskHandle {
        core,
        index,
        generation,
    }
}

/// The time at which this turn began.
pub fn now() -> Instant {
    with_current(|core| core.expect("called from within Reactor::block_on").clock.now())
}

/// The wall clock in this turn.
pub fn wall_clock() -> SystemTime {
    with_current(|core| core.expect("called from within Reactor::block_on").clock.wall())
}

/// Lets every other ready task, and new events, come first.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        with_current(|core| {
            if let Some(core) = core {
                core.executor.defer(cx.waker().clone());
            }
        });
        Poll::Pending
    })
    .await;
}

/// The driver of the current reactor.
pub fn current_driver() -> DriverKind {
    current().io.borrow().driver.kind()
}

/// What the current reactor has counted.
pub fn metrics() -> Metrics {
    let core = current();
    let io = core.io.borrow();
    Metrics {
        turns: core.turns.get(),
        tasks: core.executor.len() as u64,
        ..io.snapshot()
    }
}
