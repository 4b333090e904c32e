//! What happened while a host was picked or a balancer built, for the
//! statistics of the cluster.

use std::ops::{BitOr, BitOrAssign};

/// A set of events. Each one is a counter of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u16);

impl Events {
    /// Nothing happened.
    pub const NONE: Self = Self(0);
    /// `lb_healthy_panic`: the priority is in panic.
    pub const HEALTHY_PANIC: Self = Self(1);

    /// Whether all of `events` happened.
    #[must_use]
    pub fn contains(self, events: Self) -> bool {
        self.0 & events.0 == events.0
    }

    /// Whether nothing happened: the usual case.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Events {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Events {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
