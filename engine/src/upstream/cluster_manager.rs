//! The clusters of one worker, by the ids that routes refer to them with.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ringway_config::clusters::ClusterId;
use ringway_config::runtime::RuntimeValues;

use super::cluster::Cluster;
use super::host_set::HostSet;
use super::wait_list::{WaitList, Waiting};
use crate::reactor;
use crate::transport_sockets::tls::{ClientContext, SharedContext};

/// This worker's view of all clusters. A route's name was resolved to an id
/// when the configuration was lowered, so a request's look-up is an index.
#[derive(Default)]
pub struct ClusterManager {
    by_id: RefCell<Vec<Option<Rc<Cluster>>>>,
    by_name: RefCell<HashMap<Box<[u8]>, ClusterId>>,
    generation: Cell<u64>,
    /// Requests that wait for clusters that are being made.
    waiting: Rc<WaitList>,
}

impl ClusterManager {
    /// The cluster with this id; `None` when a route names a cluster that does
    /// not exist (flag `NC`).
    #[must_use]
    pub fn get(&self, id: ClusterId) -> Option<Rc<Cluster>> {
        self.by_id.borrow().get(id.0 as usize)?.clone()
    }

    /// The cluster with this name, for routes that take it from a header.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Rc<Cluster>> {
        let id = *self.by_name.borrow().get(name)?;
        self.get(id)
    }

    /// Adds a cluster, or replaces the one with the same id. Requests in flight
    /// keep the one that they started with.
    pub fn insert(&self, cluster: Rc<Cluster>) {
        let index = cluster.config.id.0 as usize;
        let mut by_id = self.by_id.borrow_mut();
        if by_id.len() <= index {
            by_id.resize_with(index + 1, || None);
        }
        let name = Arc::clone(&cluster.config.name);
        // It is not unused before requests can use it.
        if cluster.shared.dynamic.is_some() {
            cluster.shared.mark_used(reactor::now());
        }
        self.by_name
            .borrow_mut()
            .insert(name.as_bytes().into(), cluster.config.id);
        by_id[index] = Some(cluster);
        self.begin_generation();
        self.waiting.finish(|wanted| *wanted == *name);
    }

    /// Takes a cluster away. Requests in flight keep it, and its connections are
    /// closed as soon as no request uses them.
    pub fn remove(&self, id: ClusterId) {
        let mut by_id = self.by_id.borrow_mut();
        let Some(cluster) = by_id.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        let mut by_name = self.by_name.borrow_mut();
        let name = cluster.config.name.as_bytes();
        // Another one may have the name by now.
        if by_name.get(name) == Some(&id) {
            by_name.remove(name);
        }
        cluster.drain();
        self.begin_generation();
    }

    /// Waits until a cluster of this name is [there](Self::insert).
    #[must_use]
    pub fn wait_for(&self, name: &str) -> Waiting {
        self.waiting.wait(name, drop)
    }

    /// Clusters whose TLS is this one get another context.
    pub fn update_context(&self, of: &SharedContext<ClientContext>, context: &Arc<ClientContext>) {
        let by_id = self.by_id.borrow();
        let factories = by_id.iter().flatten().flat_map(|one| &one.factories);
        for tls in factories.flatten() {
            tls.update(of, context);
        }
    }

    /// A cluster has other hosts, or the same with another health.
    pub fn update_hosts(&self, id: ClusterId, hosts: Arc<HostSet>, seed: u64) {
        if let Some(cluster) = self.get(id) {
            cluster.update_hosts(hosts, seed);
            self.begin_generation();
        }
    }

    /// The runtime has other values.
    pub fn apply_runtime(&self, values: &RuntimeValues) {
        for cluster in self.by_id.borrow().iter().flatten() {
            cluster.apply_runtime(values);
        }
    }

    /// Another number whenever a cluster or its hosts are others.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    fn begin_generation(&self) {
        self.generation.set(self.generation.get() + 1);
    }

    /// Closes every idle upstream connection; part of shutting a worker down.
    pub fn close_idle(&self) {
        for cluster in self.by_id.borrow().iter().flatten() {
            cluster.close_idle();
        }
    }
}
