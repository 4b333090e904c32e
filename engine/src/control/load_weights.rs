//! Weights from load reports (client-side weighted round robin): once a period
//! what hosts have reported becomes their weight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_config::endpoint::{Assignment, Host as HostConfig};
use ringway_config::load_balancing::Balancing;
use ringway_lb::client_side_weighted_round_robin::{WeightConfig, weights};

use crate::upstream::host_set::Member;
use crate::upstream::outlier_detection::Monitor;

/// What makes the weights of a cluster's hosts.
pub struct LoadWeights {
    config: Arc<WeightConfig>,
    /// Where the clock of the cluster's balancers starts.
    start: Instant,
    due: Instant,
}

impl LoadWeights {
    /// `None` for a cluster whose hosts keep the weights that are configured.
    pub fn new(balancing: &Balancing, start: Instant) -> Option<Self> {
        let config = Arc::clone(balancing.reported_weights.as_ref()?);
        Some(Self {
            due: start + Duration::from_millis(config.weight_update_period_ms),
            config,
            start,
        })
    }

    /// When weights are to be looked at again.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The members with the weights that they have now, and when to look again
    /// is moved on; `None` if no weight is another one than before.
    pub fn update(
        &mut self,
        members: &[Member],
        assignment: &Assignment,
        now: Instant,
    ) -> Option<Arc<[Member]>> {
        if self.due <= now {
            self.due = now + Duration::from_millis(self.config.weight_update_period_ms);
        }
        let weights = self.weights(members, assignment, now);
        let is_same = |(member, weight): (&Member, &u32)| member.config.weight == *weight;
        if members.iter().zip(&weights).all(is_same) {
            return None;
        }
        let with_weight = |(member, weight): (&Member, u32)| Member {
            shared: Arc::clone(&member.shared),
            config: match member.config.weight == weight {
                true => Arc::clone(&member.config),
                false => Arc::new(HostConfig {
                    weight,
                    ..HostConfig::clone(&member.config)
                }),
            },
        };
        Some(members.iter().zip(weights).map(with_weight).collect())
    }

    /// By member. Hosts that have not reported get the median of those of their
    /// priority that have.
    fn weights(&self, members: &[Member], assignment: &Assignment, now: Instant) -> Vec<u32> {
        let now_ms = now.saturating_duration_since(self.start).as_millis() as u64;
        let priority = |member: &Member| assignment.groups[member.config.group as usize].priority;
        let mut all = vec![1; members.len()];
        let mut places: Vec<usize> = (0..members.len()).collect();
        places.sort_by_key(|place| priority(&members[*place]));
        let same =
            |one: &usize, other: &usize| priority(&members[*one]) == priority(&members[*other]);
        for places in places.chunk_by(same) {
            let load = |place: &usize| {
                let monitor = members[*place].shared.monitor();
                monitor.and_then(Monitor::reported_load)
            };
            let mut reported: Vec<_> = places
                .iter()
                .map(|place| load(place).map_or_else(Default::default, |load| load.get(now_ms)))
                .collect();
            let before = reported.clone();
            let weights = weights(&mut reported, &self.config, now_ms);
            for (i, place) in places.iter().enumerate() {
                all[*place] = weights[i];
                if before[i].since_ms.is_some()
                    && reported[i].since_ms.is_none()
                    && let Some(load) = load(place)
                {
                    load.forget();
                }
            }
        }
        all
    }
}
