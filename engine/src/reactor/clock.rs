//! Time, read once per turn of the event loop.
//!
//! Code on the data path asks for the time often; all of it gets the moment at which the turn
//! began, for the price of a memory load.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

/// The reactor's view of both clocks.
#[derive(Debug)]
pub(super) struct Clock {
    now: Cell<Instant>,
    /// Read when first asked for in a turn: most turns log nothing.
    wall: Cell<Option<SystemTime>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Clock {
            now: Cell::new(Instant::now()),
            wall: Cell::new(None),
        }
    }

    /// Begins a turn.
    pub(super) fn advance(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        self.wall.set(None);
        now
    }

    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Time since the turn began.
    pub(super) fn since_begin(&self) -> Duration {
        self.now.get().elapsed()
    }

    pub(super) fn wall(&self) -> SystemTime {
        self.wall.get().unwrap_or_else(|| {
            let wall = SystemTime::now();
            self.wall.set(Some(wall));
            wall
        })
    }
}
