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
    /// `lb_recalculate_zone_structures`: zone-aware routing was calculated.
    pub const RECALCULATE_ZONE_STRUCTURES: Self = Self(1 << 1);
    /// `lb_local_cluster_not_ok`: the cluster of this proxy is in panic, or
    /// has no host where this proxy is.
    pub const LOCAL_CLUSTER_NOT_OK: Self = Self(1 << 2);
    /// `lb_zone_cluster_too_small`: too few hosts for zone-aware routing.
    pub const ZONE_CLUSTER_TOO_SMALL: Self = Self(1 << 3);
    /// `lb_zone_routing_all_directly`: everything stays in the own zone.
    pub const ZONE_ROUTING_ALL_DIRECTLY: Self = Self(1 << 4);
    /// `lb_zone_routing_sampled`: this one stays in the own zone.
    pub const ZONE_ROUTING_SAMPLED: Self = Self(1 << 5);
    /// `lb_zone_routing_cross_zone`: this one goes to another zone.
    pub const ZONE_ROUTING_CROSS_ZONE: Self = Self(1 << 6);
    /// `lb_zone_no_capacity_left`: by rounding no zone has room.
    pub const ZONE_NO_CAPACITY_LEFT: Self = Self(1 << 7);

    /// `lb_subsets_selected`: the request's subset was found.
    pub const SUBSETS_SELECTED: Self = Self(1 << 8);
    /// `lb_subsets_fallback`: the fallback found a host.
    pub const SUBSETS_FALLBACK: Self = Self(1 << 9);
    /// `lb_subsets_fallback_panic`: any host was taken in the end.
    pub const SUBSETS_FALLBACK_PANIC: Self = Self(1 << 10);

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

    /// The events one by one.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        (0..u16::BITS)
            .map(|bit| Self(1 << bit))
            .filter(move |event| self.contains(*event))
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

#[cfg(test)]
mod tests {
    use super::Events;

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let mut events = Events::NONE;
        assert!(events.is_empty());
        events |= Events::HEALTHY_PANIC | Events::ZONE_NO_CAPACITY_LEFT;
        assert!(events.contains(Events::HEALTHY_PANIC));
        assert!(!events.contains(Events::HEALTHY_PANIC | Events::ZONE_ROUTING_SAMPLED));
        assert_eq!(
            events.iter().collect::<Vec<_>>(),
            [Events::HEALTHY_PANIC, Events::ZONE_NO_CAPACITY_LEFT]
        );
    }
}
