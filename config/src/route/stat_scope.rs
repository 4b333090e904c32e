//! What is counted by route: the places in `/stats` that a configuration asks
//! for.
//!
//! A place is a number on the path of a request; the engine registers the
//! statistics of all places when the configuration is compiled.

use std::sync::Arc;

/// The number of a [`StatScope`] in its route configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatScopeId(pub u32);

/// Requests that are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatScope {
    /// The name of the virtual host that they belong to.
    pub virtual_host: Arc<str>,
    /// What they have in common.
    pub part: StatPart,
    /// The name of the virtual cluster, or the route's `stat_prefix`.
    pub name: Arc<str>,
}

/// What requests of one [`StatScope`] have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatPart {
    /// A virtual cluster: `vhost.<virtual host>.vcluster.<name>.`.
    VirtualCluster,
    /// A route with a `stat_prefix`: `vhost.<virtual host>.route.<name>.`.
    Route,
}

/// All places of a route configuration.
#[derive(Debug, Default)]
pub(super) struct StatScopes(Vec<StatScope>);

impl StatScopes {
    /// The number of a new place.
    pub(super) fn add(
        &mut self,
        virtual_host: &Arc<str>,
        part: StatPart,
        name: &str,
    ) -> StatScopeId {
        let id = u32::try_from(self.0.len()).expect("fewer than 2^32 places fit in memory");
        self.0.push(StatScope {
            virtual_host: Arc::clone(virtual_host),
            part,
            name: name.into(),
        });
        StatScopeId(id)
    }

    /// The places by number.
    pub(super) fn into_boxed(self) -> Box<[StatScope]> {
        self.0.into()
    }
}
