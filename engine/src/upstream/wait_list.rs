//! Requests of a worker that wait for something with a name, which another thread
//! finds or makes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Requests that wait, by the name of what they wait for.
#[derive(Default)]
pub struct WaitList(RefCell<HashMap<Arc<str>, Vec<Rc<Slot>>>>);

impl WaitList {
    /// Waits for a name. `first` is called with it if nobody else does.
    pub fn wait(self: &Rc<Self>, name: &str, first: impl FnOnce(Arc<str>)) -> Waiting {
        let slot = Rc::new(Slot::default());
        let mut waiting = self.0.borrow_mut();
        if let Some(others) = waiting.get_mut(name) {
            others.push(Rc::clone(&slot));
        } else {
            let name: Arc<str> = name.into();
            waiting.insert(Arc::clone(&name), vec![Rc::clone(&slot)]);
            first(name);
        }
        Waiting {
            slot,
            list: Rc::downgrade(self),
        }
    }

    /// Who waits for a name that `is_there` waits no longer.
    pub fn finish(&self, is_there: impl Fn(&str) -> bool) {
        self.0.borrow_mut().retain(|name, slots| {
            let goes_on = is_there(name);
            if goes_on {
                slots.iter().for_each(|slot| slot.finish());
            }
            !goes_on
        });
    }

    /// A request does not wait any more.
    fn leave(&self, slot: &Rc<Slot>) {
        self.0.borrow_mut().retain(|_, slots| {
            slots.retain(|other| !Rc::ptr_eq(other, slot));
            !slots.is_empty()
        });
    }
}

/// A request that waits.
#[derive(Default)]
struct Slot {
    is_done: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn finish(&self) {
        self.is_done.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Ready when what it waits for is there. Dropping it ends the wait.
pub struct Waiting {
    slot: Rc<Slot>,
    list: Weak<WaitList>,
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.slot.is_done.get() {
            return Poll::Ready(());
        }
        *self.slot.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.slot.is_done.get()
            && let Some(list) = self.list.upgrade()
        {
            list.leave(&self.slot);
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("is_done", &self.slot.is_done.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ready(waiting: &mut Waiting) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(waiting).poll(&mut cx).is_ready()
    }

    #[test]
    fn who_waits_first_asks_and_all_go_on() {
        let list = Rc::new(WaitList::default());
        let asked = RefCell::new(Vec::new());
        let wait = |name: &str| list.wait(name, |name| asked.borrow_mut().push(name));
        let (mut first, mut second, mut other) = (wait("a"), wait("a"), wait("b"));
        assert_eq!(*asked.borrow(), ["a".into(), "b".into()]);
        assert!(!is_ready(&mut first) && !is_ready(&mut second));
        list.finish(|name| name == "a");
        assert!(is_ready(&mut first) && is_ready(&mut second) && !is_ready(&mut other));
        // Whoever comes when nobody waits asks again.
        drop(other);
        let third = wait("b");
        let fourth = wait("b");
        drop(third);
        let _fifth = wait("b");
        assert_eq!(asked.borrow().len(), 3);
        drop(fourth);
        drop(first);
    }
}
