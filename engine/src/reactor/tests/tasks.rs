//! Tasks, wakers, timers and wake-ups from other threads.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::super::*;
use super::{on_both_drivers, on_both_drivers_owned, settled};

#[test]
fn tasks_run_in_the_order_of_their_wake_ups() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let order = Rc::new(RefCell::new(Vec::new()));
            for number in 0..10 {
                let order = Rc::clone(&order);
                spawn(async move {
                    order.borrow_mut().push(number);
                    yield_now().await;
                    order.borrow_mut().push(number + 10);
                });
            }
            settled(|| metrics().tasks == 0).await;
            assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
        });
    });
}

#[test]
fn a_task_that_yields_goes_on_in_the_next_turn_whoever_wakes_it() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let turns = Rc::new(Cell::new(None));
            let seen = Rc::clone(&turns);
            spawn(async move {
                let before = turn();
                // As a part of the task that is told of something meanwhile.
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Ready(())
                })
                .await;
                yield_now().await;
                seen.set(Some(turn() - before));
            });
            settled(|| metrics().tasks == 0).await;
            assert_eq!(turns.get(), Some(1));
        });
    });
}

#[test]
fn a_busy_task_does_not_keep_events_from_others() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let stop = Rc::new(Cell::new(false));
            let stopped = Rc::clone(&stop);
            spawn(poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                if stopped.get() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
            sleep(Duration::from_millis(5)).await;
            stop.set(true);
            settled(|| metrics().tasks == 0).await;
        });
    });
}

#[test]
fn an_aborted_task_drops_its_future() {
    struct Guard(Rc<Cell<u32>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            // Destructors may use the reactor.
            spawn(async {});
        }
    }
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let dropped = Rc::new(Cell::new(0));
            let guard = Guard(Rc::clone(&dropped));
            let task = spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
            yield_now().await;
            assert!(!task.is_finished());
            task.abort();
            settled(|| task.is_finished()).await;
            assert_eq!(dropped.get(), 1);
            task.abort();

            // Before its first poll, and from within.
            let guard = Guard(Rc::clone(&dropped));
            let unpolled = spawn(async move { drop(guard) });
            unpolled.abort();
            let guard = Guard(Rc::clone(&dropped));
            let own = Rc::new(RefCell::new(None::<TaskHandle>));
            let own_handle = Rc::clone(&own);
            *own.borrow_mut() = Some(spawn(async move {
                let _guard = guard;
                own_handle.borrow().as_ref().unwrap().abort();
                std::future::pending::<()>().await;
            }));
            settled(|| metrics().tasks == 0).await;
            assert_eq!(dropped.get(), 3);
        });
    });
}

#[test]
fn wakers_outlive_their_tasks_and_their_reactor() {
    on_both_drivers_owned(|mut reactor| {
        let stale = reactor.block_on(async {
            let stale = Rc::new(RefCell::new(None::<Waker>));
            let keeper = Rc::clone(&stale);
            let first = spawn(poll_fn(move |cx| {
                *keeper.borrow_mut() = Some(cx.waker().clone());
                Poll::Ready(())
            }));
            settled(|| first.is_finished()).await;
            // The next task gets the same place.
            let polls = Rc::new(Cell::new(0));
            let counter = Rc::clone(&polls);
            let second = spawn(poll_fn(move |_| {
                counter.set(counter.get() + 1);
                Poll::<()>::Pending
            }));
            yield_now().await;
            let waker = stale.borrow_mut().take().unwrap();
            for _ in 0..3 {
                waker.wake_by_ref();
                yield_now().await;
            }
            assert_eq!(polls.get(), 1, "the waker of a dead task woke another");
            second.abort();
            waker
        });
        drop(reactor);
        stale.wake_by_ref();
        std::thread::spawn(move || stale.wake()).join().unwrap();
    });
}

#[test]
fn tasks_survive_between_calls() {
    on_both_drivers(|reactor| {
        let done = Rc::new(Cell::new(false));
        let flag = Rc::clone(&done);
        reactor.block_on(async {
            spawn(async move {
                sleep(Duration::from_millis(5)).await;
                flag.set(true);
            });
        });
        assert!(!done.get());
        reactor.block_on(settled(|| done.get()));
    });
}

#[test]
fn timers_fire_in_order_and_never_early() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            // Late enough for all tasks to have been polled once.
            const TIMERS: u64 = 10_000;
            let fired = Rc::new(RefCell::new(Vec::new()));
            let begin = now();
            for number in 0..TIMERS {
                let fired = Rc::clone(&fired);
                let delay = Duration::from_millis(500 + number * 7_919 % 100);
                let timer = Timer::new();
                timer.set(Some(begin + delay));
                spawn(async move {
                    timer.expired().await;
                    assert!(now() - begin >= delay);
                    fired.borrow_mut().push(delay);
                });
            }
            settled(|| metrics().tasks == 0).await;
            let fired = fired.borrow();
            assert_eq!(fired.len() as u64, TIMERS);
            assert!(fired.is_sorted());
        });
    });
}

#[test]
fn a_timer_moves_both_ways() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let timer = Timer::new();
            let begin = now();
            timer.set(Some(begin + Duration::from_millis(5)));
            timer.set(Some(begin + Duration::from_millis(30)));
            assert_eq!(timer.deadline(), Some(begin + Duration::from_millis(30)));
            timer.expired().await;
            assert!(now() - begin >= Duration::from_millis(30));
            // Stays ready until set anew.
            timer.expired().await;
            timer.set(Some(now() + Duration::from_secs(1000)));
            timer.set(Some(now() + Duration::from_millis(5)));
            timer.expired().await;
            timer.set(None);
            let other = Timer::new();
            other.set(Some(now() + Duration::from_millis(5)));
            assert_eq!(timeout(&other, timer.expired()).await, Err(Elapsed));
        });
    });
}

#[test]
fn a_result_at_the_deadline_wins() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let timer = Timer::new();
            timer.set(Some(now()));
            assert_eq!(timeout(&timer, async { 7 }).await, Ok(7));
        });
    });
}

#[test]
fn the_clock_stands_still_within_a_turn() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (before, wall) = (now(), wall_clock());
            std::thread::sleep(Duration::from_millis(3));
            assert_eq!((now(), wall_clock()), (before, wall));
            yield_now().await;
            assert!(now() > before && wall_clock() > wall);
        });
    });
}

#[test]
fn other_threads_wake_the_loop() {
    on_both_drivers(|reactor| {
        let waker = reactor.remote_waker();
        let sent = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&sent);
        let thread = std::thread::spawn(move || {
            for _ in 0..100 {
                counter.fetch_add(1, Ordering::Relaxed);
                waker.wake();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        reactor.block_on(async {
            let begin = Instant::now();
            while sent.load(Ordering::Relaxed) < 100 {
                remote_wake().await;
            }
            assert!(begin.elapsed() < Duration::from_secs(20));
        });
        thread.join().unwrap();
    });
}

#[test]
fn a_wake_up_before_the_wait_is_kept() {
    on_both_drivers(|reactor| {
        reactor.remote_waker().wake();
        reactor.block_on(async {
            sleep(Duration::from_millis(2)).await;
            remote_wake().await;
            // It counts once, also for those who gave up waiting.
            let timer = Timer::new();
            timer.set(Some(now() + Duration::from_millis(5)));
            assert_eq!(timeout(&timer, remote_wake()).await, Err(Elapsed));
        });
        reactor.remote_waker().wake();
        reactor.block_on(async {
            sleep(Duration::from_millis(2)).await;
            remote_wake().await;
        });
    });
}
