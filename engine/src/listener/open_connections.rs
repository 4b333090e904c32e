//! How many connections a listener has, where the runtime says how many it may have.
//!
//! With a limit they are counted in one place, exactly. Without one, which is the
//! usual case, a worker counts its own, so that an accept writes nothing that other
//! workers write; a limit that comes later adds these up.

use std::cell::OnceCell;
use std::rc::Rc;

use super::Serving;
use crate::stats::{GaugeReader, Hidden, Store};
use crate::worker::shared::limits::SharedCount;

/// The open connections of all workers.
#[derive(Debug)]
pub struct OpenConnections {
    /// Those that came when there was a limit.
    limited: SharedCount,
    /// The others.
    others: Hidden<0, 1>,
}

impl OpenConnections {
    /// There are none.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            limited: SharedCount::default(),
            others: Hidden::new(store),
        }
    }
}

/// How a worker learns what the others have counted.
pub(super) struct Others {
    store: Store,
    /// Made for the first connection with a limit, when all workers run.
    reader: OnceCell<GaugeReader>,
}

impl Others {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            reader: OnceCell::new(),
        }
    }

    fn count(&self, open: &OpenConnections) -> u32 {
        let reader = self.reader.get_or_init(|| self.store.gauge_reader());
        u32::try_from(reader.read(open.others.gauge(0))).unwrap_or(u32::MAX)
    }
}

/// A listener with one of its connections, which counts as long as it is open.
pub(super) struct Counted {
    /// The listener.
    pub(super) serving: Rc<Serving>,
    limited: bool,
}

impl Counted {
    /// Counts a connection, unless there are as many as the runtime lets there be.
    pub(super) fn within_limit(serving: &Rc<Serving>) -> Option<Self> {
        let shared = &serving.shared;
        let runtime = serving.worker.runtime.borrow();
        let limit = runtime.integer(shared.config.connection_limit, NO_LIMIT);
        let Ok(limit) = u32::try_from(limit) else {
            return Some(Self::whatever_the_limit(Rc::clone(serving)));
        };
        let left = limit.saturating_sub(serving.others.count(&shared.open));
        shared.open.limited.try_add_below(left).then(|| Self {
            serving: Rc::clone(serving),
            limited: true,
        })
    }

    /// Counts a connection that has no limit, or that another listener has taken.
    pub(super) fn whatever_the_limit(serving: Rc<Serving>) -> Self {
        serving.shared.open.others.gauge(0).inc();
        Self {
            serving,
            limited: false,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let open = &self.serving.shared.open;
        match self.limited {
            true => open.limited.subtract(),
            false => open.others.gauge(0).dec(),
        }
    }
}

/// More than can be counted.
const NO_LIMIT: u64 = u64::MAX;
