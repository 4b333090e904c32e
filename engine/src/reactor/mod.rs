//! The event loop: sockets, timers and tasks of one thread.
//!
//! A [`Reactor`] belongs to one thread and so does everything made on it; there are no locks and
//! no atomics, and nothing here is `Send` but [`RemoteWaker`]. Nothing above this folder names
//! io_uring or epoll. This folder knows nothing of protocols, configuration or statistics.
//!
//! A turn of the loop (`Reactor::block_on`):
//! 1. Tasks that are ready are polled, up to a budget.
//! 2. Layers above that gather what is written have their turn (`before_flush`). Then it is sent,
//!    one send per socket; starved receives get free buffers.
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
mod future_room;
mod io;
mod listener;
mod pipe;
mod readiness;
mod remote;
mod scarcity;
mod send_queue;
mod slab;
mod socket;
mod splice;
mod stream;
mod timer;
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
pub use future_room::{FutureRooms, InRoom};
pub use listener::Listener;
pub use remote::{RemoteWaker, remote_wake};
pub use socket::WireCount;
pub use splice::{Splice, Spliced};
pub use stream::{ConnectOptions, DROP_FLUSH_TIMEOUT, Stream, set_socket_option};
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
    /// Bytes that went from one socket to another without having been received.
    pub spliced_bytes: u64,
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
struct Core {
    executor: Executor,
    clock: Clock,
    started: Instant,
    wheel: RefCell<Wheel<Alarm>>,
    io: RefCell<Io>,
    before_flush: RefCell<Vec<Rc<dyn BeforeFlush>>>,
    remote: RemoteWaker,
    /// A remote wake-up that nobody has consumed.
    remote_pending: Cell<bool>,
    remote_wakes: Cell<u64>,
    remote_waiters: RefCell<Vec<Waker>>,
    turns: Cell<u64>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
    static NEXT_ID: Cell<u16> = const { Cell::new(0) };
}

/// The reactor of this thread. `f` must not set up or drop one.
fn with_current<T>(f: impl FnOnce(Option<&Core>) -> T) -> T {
    let mut f = Some(f);
    let result = CURRENT.try_with(|current| {
        let f = f.take().expect("called once");
        f(current.borrow().as_deref())
    });
    match (result, f) {
        (Ok(result), _) => result,
        // While the thread ends there is no reactor any more.
        (Err(_), Some(f)) => f(None),
        (Err(_), None) => unreachable!("an accessible thread local was used"),
    }
}

fn current() -> Rc<Core> {
    CURRENT
        .with(|current| current.borrow().clone())
        .expect(NO_REACTOR)
}

/// An event loop. Dropping it drops its tasks, cancels the operations in flight and waits for
/// their end.
#[derive(Debug)]
pub struct Reactor {
    core: Rc<Core>,
    events: Vec<Event>,
    fallback_reason: Option<String>,
}

impl Reactor {
    /// Sets the event loop of this thread up; streams, timers and tasks can be made from now on.
    /// A thread has one reactor at a time; the latest one wins.
    pub fn new(options: &Options) -> std::io::Result<Reactor> {
        let remote = RemoteWaker::new()?;
        let opened = Driver::open(options, remote.as_raw_fd())?;
        remote.prepare(opened.driver.kind())?;
        let id = NEXT_ID.replace(NEXT_ID.get().wrapping_add(1));
        let clock = Clock::new();
        let faults = options.faults.clone().map(fault::Faults::new);
        let core = Rc::new(Core {
            executor: Executor::new(id),
            started: clock.now(),
            clock,
            wheel: RefCell::new(Wheel::new()),
            io: RefCell::new(Io::new(opened.driver, opened.pool, faults)),
            before_flush: RefCell::new(Vec::new()),
            remote,
            remote_pending: Cell::new(false),
            remote_wakes: Cell::new(0),
            remote_waiters: RefCell::new(Vec::new()),
            turns: Cell::new(0),
        });
        CURRENT.set(Some(Rc::clone(&core)));
        Ok(Reactor {
            core,
            events: Vec::new(),
            fallback_reason: opened.fallback_reason,
        })
    }

    /// The driver in use.
    pub fn driver(&self) -> DriverKind {
        self.core.io.borrow().driver.kind()
    }

    /// Why [`DriverChoice::Auto`] fell back to epoll, if it did.
    pub fn driver_fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// Wakes this reactor from other threads.
    pub fn remote_waker(&self) -> RemoteWaker {
        self.core.remote.clone()
    }

    /// Runs `future` and all tasks until `future` has ended. Tasks that have not ended continue in
    /// the next call.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        CURRENT.set(Some(Rc::clone(&self.core)));
        let core = Rc::clone(&self.core);
        let mut future = pin!(future);
        let waker = core.executor.main_waker();
        let mut context = Context::from_waker(&waker);
        core.executor.wake_main();
        loop {
            if core.executor.take_main_woken()
                && let Poll::Ready(output) = future.as_mut().poll(&mut context)
            {
                // What it has written leaves now, even if the loop never runs again.
                self.turn(Some(Duration::ZERO));
                return output;
            }
            core.executor.run();
            self.turn(None);
        }
    }

    /// Flushes, waits for events at most until the next timer, and applies them.
    fn turn(&mut self, wait_max: Option<Duration>) {
        let core = &self.core;
        core.turns.set(core.turns.get() + 1);
        let wait = core.flush(wait_max);
        core.io
            .borrow_mut()
            .driver
            .wait(wait, &mut self.events)
            .expect("the kernel accepts what the driver asks for");
        core.advance(&mut self.events);
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        // Destructors of tasks use the reactor.
        let previous = CURRENT.replace(Some(Rc::clone(&self.core)));
        self.core.executor.clear();
        // One pass for what was written last.
        self.turn(Some(Duration::ZERO));
        self.core.io.borrow_mut().shut_down();
        self.core.remote.wake();
        // Every operation has been cancelled, so each ends soon.
        while self.core.io.borrow().is_busy() {
            self.turn(Some(Duration::from_millis(100)));
        }
        self.core.executor.clear();
        CURRENT.set(previous.filter(|previous| !Rc::ptr_eq(previous, &self.core)));
    }
}

impl Core {
    /// The end of a turn's work. Returns how long the driver may sleep.
    fn flush(&self, wait_max: Option<Duration>) -> Option<Duration> {
        self.run_before_flush();
        let mut io = self.io.borrow_mut();
        io.flush();
        {
            let mut wheel = self.wheel.borrow_mut();
            while let Some(timer) = io.stale_timers.pop() {
                wheel.remove(timer);
            }
        }
        if self.executor.has_work() || !io.woken.is_empty() {
            return Some(Duration::ZERO);
        }
        let timer = self.wheel.borrow().next_ms();
        let due_ms = [timer, io.next_flush_ms()].into_iter().flatten().min();
        let until_due = due_ms.map(|due_ms| {
            let due = self.started + Duration::from_millis(due_ms);
            due.saturating_duration_since(self.clock.now())
        });
        [until_due, wait_max].into_iter().flatten().min()
    }

    fn run_before_flush(&self) {
        let mut due = std::mem::take(&mut *self.before_flush.borrow_mut());
        for one in due.drain(..) {
            one.before_flush();
        }
        let mut list = self.before_flush.borrow_mut();
        if list.is_empty() {
            // Keeps the capacity.
            *list = due;
        }
    }

    /// Begins the next turn with what the driver has reported.
    fn advance(&self, events: &mut Vec<Event>) {
        let now_ms = self
            .clock
            .advance()
            .duration_since(self.started)
            .as_millis() as u64;
        let mut woken = {
            let mut io = self.io.borrow_mut();
            io.now_ms = now_ms;
            for event in events.drain(..) {
                if event.operation == Operation::Wake {
                    self.remote_wakes.set(self.remote_wakes.get() + 1);
                    self.remote_pending.set(true);
                    io.woken.append(&mut self.remote_waiters.borrow_mut());
                }
                io.on_event(event);
            }
            io.deliver_due();
            self.wheel
                .borrow_mut()
                .advance(now_ms, |_, alarm| match alarm {
                    Alarm::Timer(waker) => io.woken.extend(waker.take()),
                    Alarm::DropFlush(slot) => io.abort(*slot),
                });
            std::mem::take(&mut io.woken)
        };
        for waker in woken.drain(..) {
            waker.wake();
        }
        self.executor.wake_deferred();
        let mut io = self.io.borrow_mut();
        if io.woken.is_empty() {
            // Keeps the capacity.
            io.woken = woken;
        }
    }

    /// The first millisecond of the wheel at which `time` has been reached.
    fn ms_not_before(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.started);
        since.as_nanos().div_ceil(1_000_000) as u64
    }
}

/// Something above a stream that gathers what is written to it, so that many small writes of a turn
/// become one piece.
pub trait BeforeFlush {
    /// Called once for each [`before_flush`], when the tasks of the turn have run and before what
    /// they have written is sent.
    fn before_flush(&self);
}

/// Has `gatherer` called at the end of this turn.
pub fn before_flush(gatherer: Rc<dyn BeforeFlush>) {
    with_current(|core| {
        core.expect(NO_REACTOR)
            .before_flush
            .borrow_mut()
            .push(gatherer);
    });
}

/// A task's handle. Dropping it leaves the task running.
#[derive(Debug)]
pub struct TaskHandle {
    core: Rc<Core>,
    index: u32,
    generation: u32,
}

impl TaskHandle {
    /// Drops the task's future, at the latest in the next turn. A task may abort itself: it then
    /// runs to its next await.
    pub fn abort(&self) {
        self.core.executor.abort(self.index, self.generation);
    }

    /// Whether the task has ended or its future has been dropped.
    pub fn is_finished(&self) -> bool {
        !self.core.executor.is_alive(self.index, self.generation)
    }
}

/// Starts a task on the current reactor.
// Inlined, or a large future would be moved twice.
#[inline]
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
    with_current(|core| core.expect(NO_REACTOR).clock.now())
}

/// How long this turn has lasted, by a clock that is read now.
pub fn time_in_turn() -> Duration {
    with_current(|core| core.expect(NO_REACTOR).clock.since_begin())
}

/// Turns of the loop so far.
pub fn turn() -> u64 {
    with_current(|core| core.expect(NO_REACTOR).turns.get())
}

/// The time of day, read at most once a turn.
pub fn wall_clock() -> SystemTime {
    with_current(|core| core.expect(NO_REACTOR).clock.wall())
}

/// The driver of the current reactor.
pub fn current_driver() -> DriverKind {
    with_current(|core| core.expect(NO_REACTOR).io.borrow().driver.kind())
}

/// The current reactor's counters and gauges.
pub fn metrics() -> Metrics {
    with_current(|core| {
        let core = core.expect(NO_REACTOR);
        Metrics {
            turns: core.turns.get(),
            tasks: core.executor.len() as u64,
            ..core.io.borrow().snapshot()
        }
    })
}

/// Continues in the next turn, after events have been looked at, however often the task is woken
/// before that.
pub async fn yield_now() {
    let begun = turn();
    poll_fn(|cx| {
        with_current(|core| {
            let core = core.expect(NO_REACTOR);
            if core.turns.get() != begun {
                return Poll::Ready(());
            }
            core.executor.defer(cx.waker().clone());
            Poll::Pending
        })
    })
    .await;
}

const NO_REACTOR: &str = "called on a thread with a reactor";
