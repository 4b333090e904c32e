//! Room for futures that few tasks run at a time.
//!
//! The task of a future that awaits another one has room for it for as long as it lives, also
//! while it waits for something else. Where thousands of tasks wait and each runs a large future
//! now and then, that room is nearly all of their memory. [`FutureRooms`] gives a future a room of
//! its own for the time that it runs, and keeps the room for the next one: nothing is allocated
//! but at a new peak.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, align_of, size_of};
use std::pin::Pin;
use std::ptr::{NonNull, drop_in_place};
use std::task::{Context, Poll};

/// A part of a room, aligned as strictly as what futures have in them.
type Part = MaybeUninit<u128>;

type Room = Box<[Part]>;

/// Rooms that wait for a future.
#[derive(Debug)]
pub struct FutureRooms {
    free: RefCell<Vec<Room>>,
    kept_max: usize,
}

impl FutureRooms {
    /// Keeps up to `kept_max` rooms that nobody uses.
    #[must_use]
    pub fn new(kept_max: usize) -> Self {
        FutureRooms {
            free: RefCell::default(),
            kept_max,
        }
    }

    /// Gives the future that `make` makes a room of its own.
    pub fn run<F: Future>(&self, make: impl FnOnce() -> F) -> InRoom<'_, F> {
        const { assert!(align_of::<F>() <= align_of::<Part>()) };
        let parts = size_of::<F>().div_ceil(size_of::<Part>());
        let kept = self.free.borrow_mut().pop();
        let room = match kept {
            Some(room) if room.len() >= parts => room,
            _ => Box::new_uninit_slice(parts),
        };
        let room = NonNull::from(Box::leak(room));
        // SAFETY: the room is large enough and aligned for an `F`, as said above, and nobody
        // else has it.
        unsafe { room.cast::<F>().write(make()) };
        InRoom {
            rooms: self,
            room,
            future: PhantomData,
        }
    }

    fn keep(&self, room: Room) {
        let mut free = self.free.borrow_mut();
        if free.len() < self.kept_max {
            free.push(room);
        }
    }
}

/// A future in a room of its own.
#[derive(Debug)]
pub struct InRoom<'r, F> {
    rooms: &'r FutureRooms,
    /// Begins with the future, which is there until this is dropped.
    room: NonNull<[Part]>,
    future: PhantomData<F>,
}

/// The future stays in its room.
impl<F> Unpin for InRoom<'_, F> {}

impl<F: Future> Future for InRoom<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future is there and only this has it; it stays where it is until it is
        // dropped, because the room does.
        let future = unsafe { Pin::new_unchecked(self.room.cast::<F>().as_mut()) };
        future.poll(cx)
    }
}

impl<F> Drop for InRoom<'_, F> {
    fn drop(&mut self) {
        // SAFETY: the future is there, and this is the last time that it is used. The room came
        // from a box.
        let room = unsafe {
            drop_in_place(self.room.cast::<F>().as_ptr());
            Box::from_raw(self.room.as_ptr())
        };
        self.rooms.keep(room);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    /// Notes that it was dropped.
    struct Noted<'a>(&'a Cell<u32>);

    impl Drop for Noted<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    /// Ends at its second poll, with a borrow of its own in between.
    async fn second(bytes: [u8; 100], _noted: Noted<'_>) -> u32 {
        let first = &bytes[..50];
        let mut is_second = false;
        poll_fn(|_| match std::mem::replace(&mut is_second, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        first.iter().map(|byte| u32::from(*byte)).sum()
    }

    fn poll<F: Future>(future: &mut InRoom<'_, F>) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_future_runs_where_the_one_before_has_run() {
        let (rooms, dropped) = (FutureRooms::new(8), Cell::new(0));
        let mut places = Vec::new();
        for round in 1..=3 {
            let mut future = rooms.run(|| second([round; 100], Noted(&dropped)));
            places.push(future.room.cast::<u8>());
            assert_eq!(poll(&mut future), Poll::Pending);
            // What moves is not the future.
            let mut moved = future;
            assert_eq!(poll(&mut moved), Poll::Ready(50 * u32::from(round)));
            drop(moved);
            assert_eq!(dropped.get(), u32::from(round));
        }
        assert_eq!(places, [places[0]; 3]);
    }

    #[test]
    fn a_future_that_is_given_up_is_dropped_once() {
        let (rooms, dropped) = (FutureRooms::new(8), Cell::new(0));
        drop(rooms.run(|| second([1; 100], Noted(&dropped))));
        let mut begun = rooms.run(|| second([1; 100], Noted(&dropped)));
        assert_eq!(poll(&mut begun), Poll::Pending);
        assert_eq!(dropped.get(), 1);
        drop(begun);
        assert_eq!(dropped.get(), 2);
    }

    #[test]
    fn only_so_many_rooms_are_kept() {
        let rooms = FutureRooms::new(2);
        let all = [1_u8, 2, 3].map(|value| rooms.run(|| async move { value }));
        assert_eq!(rooms.free.borrow().len(), 0);
        for (mut future, value) in all.into_iter().zip(1..) {
            assert_eq!(poll(&mut future), Poll::Ready(value));
        }
        assert_eq!(rooms.free.borrow().len(), 2);
    }

    #[test]
    fn a_room_that_is_too_small_is_not_used() {
        let (rooms, dropped) = (FutureRooms::new(8), Cell::new(0));
        // Nothing at all, a byte, and more than both.
        assert_eq!(
            poll(&mut rooms.run(std::future::pending::<()>)),
            Poll::Pending
        );
        assert_eq!(poll(&mut rooms.run(|| async { 1_u8 })), Poll::Ready(1));
        let mut large = rooms.run(|| second([2; 100], Noted(&dropped)));
        assert_eq!(poll(&mut large), Poll::Pending);
        assert_eq!(poll(&mut large), Poll::Ready(100));
        drop(large);
        assert_eq!(rooms.free.borrow().len(), 1);
    }
}
