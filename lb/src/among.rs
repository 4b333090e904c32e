//! The hosts that a pick is made from, for whoever explains picks.

use crate::group::Group;
use crate::priority::PriorityLoads;

/// The hosts that a request's host is picked from, whatever their health.
#[derive(Clone, Copy, Debug)]
pub struct Among<'a> {
    /// Which hosts of the cluster these are.
    pub which: Which,
    hosts: Hosts<'a>,
}

/// Which hosts of its cluster a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those whose metadata is what the request asks for.
    Subset,
    /// The default subset.
    DefaultSubset,
}

#[derive(Clone, Copy, Debug)]
enum Hosts<'a> {
    Group(&'a Group),
    Single(u32),
}

impl<'a> Among<'a> {
    pub(crate) fn group(which: Which, group: &'a Group) -> Self {
        Self {
            which,
            hosts: Hosts::Group(group),
        }
    }

    /// The only host of a subset, which takes requests whatever its health.
    pub(crate) fn single(host: u32) -> Self {
        Self {
            which: Which::Subset,
            hosts: Hosts::Single(host),
        }
    }

    /// The hosts by priority, as indices in the members.
    #[must_use]
    pub fn hosts(&self) -> Vec<u32> {
        match self.hosts {
            Hosts::Group(group) => group.hosts().collect(),
            Hosts::Single(host) => vec![host],
        }
    }

    /// The loads of the priorities that these hosts are in; `None` of a host
    /// that is alone in its subset.
    #[must_use]
    pub fn priorities(&self) -> Option<&'a PriorityLoads> {
        match self.hosts {
            Hosts::Group(group) => Some(&group.priorities),
            Hosts::Single(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::balancer::Request;
    use crate::config::{FallbackPolicy, Selector, Subset};
    use crate::members::Health;
    use crate::metadata::Value;
    use crate::testing::{Cluster, Fake, ROUND_ROBIN, host};

    /// Remembers what it was told.
    #[derive(Default)]
    struct Listening {
        fake: Fake,
        told: Vec<(Which, Vec<u32>, Option<Vec<bool>>)>,
    }

    impl Request for Listening {
        fn random(&mut self) -> u64 {
            self.fake.random()
        }
        fn now_ms(&self) -> u64 {
            0
        }
        fn active_requests(&self, _host: u32) -> u32 {
            0
        }
        fn subset(&self) -> &[(Arc<str>, Value)] {
            &self.fake.subset
        }
        fn among(&mut self, among: Among<'_>) {
            let panic = among.priorities().map(|state| state.panic.clone());
            self.told.push((among.which, among.hosts(), panic));
        }
    }

    fn stage(value: &str) -> (&'static str, Value) {
        ("stage", Value::String(value.into()))
    }

    #[test]
    fn each_pick_tells_its_hosts() {
        let hosts = [
            host(1, Health::Healthy, 1),
            host(0, Health::Healthy, 1),
            host(0, Health::Unhealthy, 1),
        ];
        let mut cluster = Cluster::new(ROUND_ROBIN, hosts);
        cluster.metadata = vec![vec![stage("a")], vec![stage("a")], vec![stage("b")]];
        let told = |cluster: &Cluster, asked: Option<&str>| {
            let balancer = cluster.build();
            let mut request = Listening::default();
            let asked = asked.map(|value| ("stage".into(), Value::String(value.into())));
            request.fake.subset = asked.into_iter().collect();
            let pick = balancer.pick(&mut balancer.cursor(1), &mut request);
            (request.told, pick.host.is_some())
        };
        let quiet = Some(vec![false, false]);
        let all = (Which::All, vec![1, 2, 0], quiet.clone());
        assert_eq!(told(&cluster, None), (vec![all.clone()], true));

        cluster.subset = Some(Subset {
            fallback_policy: FallbackPolicy::DefaultSubset,
            default_subset: vec![("stage".into(), Value::String("a".into()))],
            selectors: vec![Selector {
                keys: vec!["stage".into()],
                ..Selector::default()
            }],
            panic_mode_any: true,
            ..Subset::default()
        });
        let of = |which, hosts: &[u32], panic| vec![(which, hosts.to_vec(), Some(panic))];
        let quiet = vec![false, false];
        assert_eq!(
            told(&cluster, Some("a")),
            (of(Which::Subset, &[1, 0], quiet.clone()), true)
        );
        assert_eq!(
            told(&cluster, Some("b")),
            (of(Which::Subset, &[2], vec![true, true]), true)
        );
        assert_eq!(
            told(&cluster, Some("c")),
            (of(Which::DefaultSubset, &[1, 0], quiet), true)
        );
    }
}
