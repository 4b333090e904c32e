//! Timers for tasks.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Core, current};

/// What happens when a wheel entry's time has come.
#[derive(Debug)]
pub(super) enum Alarm {
    /// Somebody may wait for a `Timer`.
    Timer(Option<Waker>),
    /// A dropped stream has had its time to send its queue.
    DropFlush(u32),
}

/// A deadline that can be moved at no cost.
///
/// A timer owns one place in the wheel for its whole life. Moving its deadline later touches only
/// the deadline, so that a connection can set its timer anew for every request.
#[derive(Debug)]
pub struct Timer {
    core: Rc<Core>,
    index: u32,
    deadline: Cell<Option<Instant>>,
}

impl Timer {
    /// A timer without a deadline, on the current reactor.
    pub fn new() -> Self {
        let core = current();
        let index = core.wheel.borrow_mut().insert(Alarm::Timer(None));
        Timer {
            core,
            index,
            deadline: Cell::new(None),
        }
    }

    /// Sets or clears the deadline.
    pub fn set(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
        let deadline_ms = deadline.map(|deadline| self.core.ms_not_before(deadline));
        self.core.wheel.borrow_mut().set(self.index, deadline_ms);
    }

    /// The deadline, if one is set.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// Ready when the deadline has passed, to the next millisecond; never before it, and never
    /// without one. Stays ready until the deadline is set anew. One task may wait at a time.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wheel = self.core.wheel.borrow_mut();
        let expired = wheel
            .deadline_ms(self.index)
            .is_some_and(|deadline| deadline <= wheel.elapsed_ms());
        if expired {
            return Poll::Ready(());
        }
        let mut previous = None;
        if let Alarm::Timer(waker) = wheel.value_mut(self.index)
            && !waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            previous = waker.replace(cx.waker().clone());
        }
        drop(wheel);
        drop(previous);
        Poll::Pending
    }

    /// Waits until the deadline has passed.
    pub async fn expired(&self) {
        poll_fn(|cx| self.poll_expired(cx)).await;
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let alarm = self.core.wheel.borrow_mut().remove(self.index);
        // The waker goes after the borrow has ended.
        drop(alarm);
    }
}

/// Waits for `duration` from the beginning of this turn.
pub async fn sleep(duration: Duration) {
    let timer = Timer::new();
    timer.set(Some(timer.core.clock.now() + duration));
    timer.expired().await;
}

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

/// Awaits `future` until the timer's deadline.
///
/// The future is asked first, so that a result which is there at the deadline wins. Dropping a
/// receive loses no bytes: they stay in the stream.
pub async fn timeout<F: Future>(timer: &Timer, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        timer.poll_expired(cx).map(|()| Err(Elapsed))
    })
    .await
}
