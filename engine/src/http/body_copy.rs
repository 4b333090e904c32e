//! A copy of a request's body for somebody who must not slow the request down:
//! the writer never waits. A reader that falls too far behind loses the copy.
//!
//! [`BodyFeed`] is the writing end, [`BodyCopy`] the reading end.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_codecs::header::HeaderMap;

/// Bytes that may wait for a reader. It is what Envoy lets a connection buffer
/// by default, and so what a copy may cost there.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// The end that the request's body is written to. Dropping it before the end
/// of the body cancels the copy.
#[derive(Debug)]
pub struct BodyFeed(Rc<RefCell<State>>);

/// The end that the copy is read from.
#[derive(Debug)]
pub struct BodyCopy(Rc<RefCell<State>>);

/// What a reader gets.
#[derive(Debug)]
pub enum Copied {
    /// Bytes are in the reader's vector.
    Data,
    /// The body is complete; these are its trailers.
    End(HeaderMap),
    /// There is no more, and the body is not complete.
    Cancelled,
}

#[derive(Debug)]
struct State {
    waiting: Vec<u8>,
    end: End,
    reader: Option<Waker>,
    reader_gone: bool,
}

#[derive(Debug)]
enum End {
    NotYet,
    Complete(HeaderMap),
    Cancelled,
}

/// Both ends of a copy.
#[must_use]
pub fn body_copy() -> (BodyFeed, BodyCopy) {
    let state = Rc::new(RefCell::new(State {
        waiting: Vec::new(),
        end: End::NotYet,
        reader: None,
        reader_gone: false,
    }));
    (BodyFeed(Rc::clone(&state)), BodyCopy(state))
}

impl BodyFeed {
    /// Copies a part of the body. False when that would be too much for the
    /// reader, who now has no copy any more.
    #[must_use]
    pub fn data(&self, data: &[u8]) -> bool {
        let state = &mut *self.0.borrow_mut();
        if state.reader_gone || matches!(state.end, End::Cancelled) {
            return true;
        }
        let fits = state.waiting.len() + data.len() <= WAITING_BYTES_MAX;
        if fits {
            state.waiting.extend_from_slice(data);
        } else {
            state.waiting = Vec::new();
            state.end = End::Cancelled;
        }
        state.wake();
        fits
    }

    /// Says that the body is complete.
    pub fn end(&self, trailers: &HeaderMap) {
        let state = &mut *self.0.borrow_mut();
        if matches!(state.end, End::NotYet) {
            state.end = End::Complete(trailers.clone());
            state.wake();
        }
    }
}

impl Drop for BodyFeed {
    fn drop(&mut self) {
        let state = &mut *self.0.borrow_mut();
        if matches!(state.end, End::NotYet) {
            state.end = End::Cancelled;
            state.wake();
        }
    }
}

impl BodyCopy {
    /// Polls for more of the body, which replaces what is in `bytes`.
    pub fn poll(&self, bytes: &mut Vec<u8>, cx: &Context<'_>) -> Poll<Copied> {
        let state = &mut *self.0.borrow_mut();
        bytes.clear();
        if !state.waiting.is_empty() {
            std::mem::swap(bytes, &mut state.waiting);
            return Poll::Ready(Copied::Data);
        }
        match &mut state.end {
            End::Complete(trailers) => Poll::Ready(Copied::End(std::mem::take(trailers))),
            End::Cancelled => Poll::Ready(Copied::Cancelled),
            End::NotYet => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the body was cancelled; the reader is woken when it is.
    pub fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<()> {
        let state = &mut *self.0.borrow_mut();
        if matches!(state.end, End::Cancelled) {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether the body is complete, read or not.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.0.borrow().end, End::Complete(_))
    }
}

impl Drop for BodyCopy {
    fn drop(&mut self) {
        let state = &mut *self.0.borrow_mut();
        state.reader_gone = true;
        state.waiting = Vec::new();
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(copy: &BodyCopy, bytes: &mut Vec<u8>) -> Poll<Copied> {
        copy.poll(bytes, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_is_written_is_read_and_then_the_end() {
        let (feed, copy) = body_copy();
        let mut bytes = Vec::new();
        assert!(poll(&copy, &mut bytes).is_pending());
        assert!(feed.data(b"ab"));
        assert!(feed.data(b"c"));
        let mut trailers = HeaderMap::new();
        trailers.append_name(b"t", b"1");
        feed.end(&trailers);
        assert!(copy.is_complete());
        assert!(matches!(poll(&copy, &mut bytes), Poll::Ready(Copied::Data)));
        assert_eq!(bytes, b"abc");
        let Poll::Ready(Copied::End(trailers)) = poll(&copy, &mut bytes) else {
            panic!("the body is complete");
        };
        assert_eq!(trailers.get_name(b"t"), Some(&b"1"[..]));
        // An end that was reached is not taken back.
        drop(feed);
        assert!(matches!(
            poll(&copy, &mut bytes),
            Poll::Ready(Copied::End(_))
        ));
    }

    #[test]
    fn a_reader_that_falls_behind_loses_the_copy_and_its_memory() {
        let (feed, copy) = body_copy();
        let mut bytes = Vec::new();
        let part = vec![b'x'; WAITING_BYTES_MAX / 2];
        assert!(feed.data(&part));
        assert!(feed.data(&part), "exactly the limit fits");
        assert!(!feed.data(b"x"));
        // It is told once.
        assert!(feed.data(b"x"));
        feed.end(&HeaderMap::new());
        assert!(matches!(
            poll(&copy, &mut bytes),
            Poll::Ready(Copied::Cancelled)
        ));
        assert_eq!(copy.0.borrow().waiting.capacity(), 0);
    }

    #[test]
    fn a_body_that_breaks_off_is_cancelled() {
        let (feed, copy) = body_copy();
        let mut bytes = Vec::new();
        assert!(feed.data(b"ab"));
        drop(feed);
        assert!(
            copy.poll_cancelled(&Context::from_waker(Waker::noop()))
                .is_ready()
        );
        assert!(matches!(poll(&copy, &mut bytes), Poll::Ready(Copied::Data)));
        assert!(matches!(
            poll(&copy, &mut bytes),
            Poll::Ready(Copied::Cancelled)
        ));
    }

    #[test]
    fn nothing_is_kept_for_a_reader_that_is_gone() {
        let (feed, copy) = body_copy();
        drop(copy);
        assert!(feed.data(&vec![0; WAITING_BYTES_MAX + 1]));
        assert_eq!(feed.0.borrow().waiting.capacity(), 0);
        feed.end(&HeaderMap::new());
    }
}
