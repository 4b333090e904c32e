//! Local tasks: a slab of boxed futures and a first-in, first-out queue of the ready ones.
//!
//! A waker is a number, not a reference: reactor, slot and generation packed into the pointer of a
//! `RawWaker`. Cloning and dropping one does nothing, waking one pushes an index on a queue of the
//! same thread; there are no atomics and no reference counts. A waker whose task has ended finds
//! another generation in the slot and does nothing; one that reaches another thread finds another
//! reactor there, or none, and does nothing either. Other threads use `RemoteWaker`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use super::slab::Slab;

/// Polls per turn before completions are reaped again. Enough to serve a whole batch of ready
/// connections, few enough that a storm of local wake-ups cannot keep the ring waiting.
const POLLS_PER_TURN_MAX: usize = 512;

/// A waker's number must fit a pointer.
const _: () = assert!(usize::BITS == 64);
const INDEX_BITS: u32 = 24;
const GENERATION_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
/// Stands for the future given to `block_on`, which is not in the slab.
const MAIN: u32 = INDEX_MASK as u32;
/// Limit of the slab, given by the width of an index in a waker.
const TASKS_MAX: usize = MAIN as usize;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of one reactor.
pub(super) struct Executor {
    reactor_id: u16,
    tasks: RefCell<Slab<Task>>,
    ready: RefCell<VecDeque<u32>>,
    /// Tasks that asked to continue in the next turn.
    deferred: RefCell<Vec<Waker>>,
    main_woken: Cell<bool>,
    next_generation: Cell<u32>,
}

struct Task {
    generation: u32,
    queued: bool,
    aborted: bool,
    /// Absent while the task is being polled.
    future: Option<LocalFuture>,
}

impl Executor {
    pub(super) fn new(reactor_id: u16) -> Self {
        Executor {
            reactor_id,
            tasks: RefCell::new(Slab::new()),
            ready: RefCell::new(VecDeque::new()),
            deferred: RefCell::new(Vec::new()),
            main_woken: Cell::new(true),
            next_generation: Cell::new(0),
        }
    }

    /// Returns the task's slot and generation. It is polled for the first time in this turn.
    pub(super) fn spawn(&self, future: LocalFuture) -> (u32, u32) {
        let mut tasks = self.tasks.borrow_mut();
        assert!(tasks.len() < TASKS_MAX, "fewer than 2^24 tasks on a core");
        let generation = self.next_generation.get();
        self.next_generation
            .set((generation + 1) & GENERATION_MASK as u32);
        let index = tasks.insert(Task {
            generation,
            queued: true,
            aborted: false,
            future: Some(future),
        });
        self.ready.borrow_mut().push_back(index);
        (index, generation)
    }

    pub(super) fn abort(&self, index: u32, generation: u32) {
        if let Some(task) = self.tasks.borrow_mut().get_mut(index)
            && task.generation == generation
        {
            task.aborted = true;
        }
        self.wake(index, generation);
    }

    pub(super) fn is_alive(&self, index: u32, generation: u32) -> bool {
        self.tasks
            .borrow()
            .get(index)
            .is_some_and(|task| task.generation == generation)
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.borrow().len()
    }

    pub(super) fn main_waker(&self) -> Waker {
        self.waker(MAIN, 0)
    }

    /// Consumes the wake-up of the future in `block_on`.
    pub(super) fn take_main_woken(&self) -> bool {
        self.main_woken.replace(false)
    }

    pub(super) fn wake_main(&self) {
        self.main_woken.set(true);
    }

    /// Wakes `waker` at the top of the next turn.
    pub(super) fn defer(&self, waker: Waker) {
        self.deferred.borrow_mut().push(waker);
    }

    pub(super) fn wake_deferred(&self) {
        // A local waker only pushes on the queue, and another one may come back here: the list
        // must not stay borrowed meanwhile.
        let mut woken = std::mem::take(&mut *self.deferred.borrow_mut());
        for waker in woken.drain(..) {
            waker.wake();
        }
        let mut deferred = self.deferred.borrow_mut();
        if deferred.is_empty() {
            *deferred = woken;
        }
    }

    /// Whether the loop must not sleep.
    pub(super) fn has_work(&self) -> bool {
        self.main_woken.get()
            || !self.ready.borrow().is_empty()
            || !self.deferred.borrow().is_empty()
    }

    /// Polls ready tasks, oldest first, up to the budget of a turn.
    pub(super) fn run(&self) {
        for _ in 0..POLLS_PER_TURN_MAX {
            let Some(index) = self.ready.borrow_mut().pop_front() else {
                return;
            };
            self.run_one(index);
        }
    }

    fn run_one(&self, index: u32) {
        let (mut future, generation) = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(index) else {
                return;
            };
            task.queued = false;
            let Some(future) = task.future.take() else {
                return;
            };
            if task.aborted {
                tasks.remove(index);
                drop(tasks);
                drop(future);
                return;
            }
            (future, task.generation)
        };
        let waker = self.waker(index, generation);
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut tasks = self.tasks.borrow_mut();
        match poll {
            Poll::Pending => tasks[index].future = Some(future),
            Poll::Ready(()) => {
                tasks.remove(index);
                // The future's destructor may spawn and wake.
                drop(tasks);
                drop(future);
            }
        }
    }

    /// Drops every task, also those spawned by the destructors of others.
    pub(super) fn clear(&self) {
        loop {
            let indices = self.tasks.borrow().indices();
            if indices.is_empty() {
                break;
            }
            for index in indices {
                let task = self.tasks.borrow_mut().remove(index);
                drop(task);
            }
        }
        self.ready.borrow_mut().clear();
        let deferred = std::mem::take(&mut *self.deferred.borrow_mut());
        drop(deferred);
    }

    fn wake(&self, index: u32, generation: u32) {
        if index == MAIN {
            self.main_woken.set(true);
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        let Some(task) = tasks.get_mut(index) else {
            return;
        };
        if task.generation == generation && !task.queued {
            task.queued = true;
            self.ready.borrow_mut().push_back(index);
        }
    }

    fn waker(&self, index: u32, generation: u32) -> Waker {
        let data = u64::from(self.reactor_id) << (INDEX_BITS + GENERATION_BITS)
            | u64::from(generation) << INDEX_BITS
            | u64::from(index);
        // SAFETY: the vtable never dereferences the data pointer, it only unpacks the number in
        // it; every function is valid on any thread, at any time and with any number. The test
        // `wakers_outlive_their_tasks_and_their_reactor` exercises stale and foreign ones.
        unsafe { Waker::from_raw(raw(data)) }
    }
}

static VTABLE: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &VTABLE), wake, wake, |_| ());

fn raw(data: u64) -> RawWaker {
    RawWaker::new(std::ptr::without_provenance(data as usize), &VTABLE)
}

fn wake(data: *const ()) {
    let data = data.addr() as u64;
    super::with_current(|core| {
        let id = (data >> (INDEX_BITS + GENERATION_BITS)) as u16;
        match core {
            Some(core) if core.executor.reactor_id == id => core.executor.wake(
                (data & INDEX_MASK) as u32,
                (data >> INDEX_BITS & GENERATION_MASK) as u32,
            ),
            // The reactor is gone, or belongs to another thread.
            _ => {}
        }
    });
}
