//! Aggregate clusters (`envoy.clusters.aggregate`): which of several clusters
//! takes a request.
//!
//! The priorities of the clusters are taken for those of one. A pick first
//! chooses one of them by its share; the cluster that it comes from then picks
//! among its hosts of that priority, with its own policy, and what is opened,
//! limited and counted for the host is that cluster's. What becomes of the
//! request as a whole (its response code, its timeouts and retries) is the
//! aggregate's.

use std::cell::RefCell;
use std::rc::Rc;

use ringway_config::aggregate::Aggregate as Config;
use ringway_lb::priority::{Availability, Loads, PriorityLoads};

use super::cluster::Cluster;
use super::cluster_manager::ClusterManager;
use super::host::Host;

/// An aggregate on one worker.
pub struct Aggregate {
    config: Config,
    last: RefCell<Last>,
}

/// What was joined last, and of which generation of the worker's clusters it
/// was made.
#[derive(Default)]
struct Last {
    generation: Option<u64>,
    joined: Option<Rc<Joined>>,
}

/// The clusters of an aggregate at one time.
pub struct Joined {
    /// Their priorities, one behind the other.
    pub priorities: PriorityLoads,
    parts: Vec<Rc<Cluster>>,
    /// Where each priority comes from.
    origins: Vec<Origin>,
}

struct Origin {
    part: usize,
    priority: u32,
    /// What sends requests there: to its healthy hosts, to its degraded ones.
    loads: [Loads; 2],
}

impl Aggregate {
    /// An aggregate that nobody has used yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            last: RefCell::default(),
        }
    }

    /// Its clusters as they are now; `None` while they have no hosts.
    pub fn join(&self, clusters: &ClusterManager, panic_threshold: f64) -> Option<Rc<Joined>> {
        let last = &mut *self.last.borrow_mut();
        let generation = Some(clusters.generation());
        if last.generation != generation {
            last.generation = generation;
            last.joined = self.make(clusters, panic_threshold).map(Rc::new);
        }
        last.joined.clone()
    }

    /// Its clusters as they were when a host was last picked.
    #[must_use]
    pub fn joined(&self) -> Option<Rc<Joined>> {
        self.last.borrow().joined.clone()
    }

    fn make(&self, clusters: &ClusterManager, panic_threshold: f64) -> Option<Joined> {
        let ids = self.config.clusters.iter();
        let parts: Vec<_> = ids.filter_map(|id| clusters.get(*id)).collect();
        let sets: Vec<_> = parts.iter().map(|part| part.host_set()).collect();
        let of_parts = sets.iter().map(|set| set.balancer.priorities());
        let (priorities, origins) = PriorityLoads::joined(of_parts, panic_threshold)?;
        let origins = origins.into_iter().map(|(part, priority)| {
            let count = sets[part].balancer.priorities().counts.len();
            let only = |availability| Loads::only(priority, availability, count);
            Origin {
                part,
                priority,
                loads: [only(Availability::Healthy), only(Availability::Degraded)],
            }
        });
        Some(Joined {
            origins: origins.collect(),
            priorities,
            parts,
        })
    }
}

impl Joined {
    /// The cluster that takes a request, and the loads that it is to pick a
    /// host with. `number` is random; `loads` take the place of the clusters'
    /// own.
    #[must_use]
    pub fn choose(&self, loads: Option<&Loads>, number: u64) -> Option<(&Rc<Cluster>, &Loads)> {
        let (priority, availability) = loads.unwrap_or(&self.priorities.loads).choose(number);
        let origin = self.origins.get(priority as usize)?;
        let [healthy, degraded] = &origin.loads;
        let loads = match availability {
            Availability::Healthy => healthy,
            Availability::Degraded => degraded,
        };
        Some((&self.parts[origin.part], loads))
    }

    /// The priority of a host of one of the clusters, counted through all of
    /// them.
    #[must_use]
    pub fn priority_of(&self, host: &Rc<Host>) -> Option<u32> {
        let is_of =
            |origin: &Origin| self.parts[origin.part].priority_of(host) == Some(origin.priority);
        // Of a cluster that is listed twice, the last place, as in Envoy.
        let place = self.origins.iter().rposition(is_of)?;
        Some(place as u32)
    }
}
