//! The hosts of clusters whose requests say where they go
//! (`type: ORIGINAL_DST`): one for each address, made when a request first
//! wants to go there.
//!
//! A worker that has no host for an address looks into the [`Registry`], which
//! all workers share, so that an address has one host with one set of
//! statistics whoever made it. The registry has a lock. A worker meets it with
//! its first request to an address and with no other: it keeps the host. The
//! control plane is told of a new host and lets it go when it finds that nobody
//! used it between two clean-ups.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::core::Address;
use ringway_config::endpoint::Host as HostConfig;

use super::conn_pool;
use super::host::{Host, SharedHost};
use super::outlier_detection::Watch;
use crate::stats::Store;
use crate::worker::shared::Locked;

/// Tells the control plane of a host that was made.
pub type Announce = Box<dyn Fn(Arc<SharedHost>) + Send + Sync>;

/// The hosts of a cluster by address.
pub struct Registry {
    hosts: Locked<HashMap<SocketAddr, Arc<SharedHost>>>,
    announce: Announce,
    config: Arc<ClusterConfig>,
    watch: Option<Arc<Watch>>,
    store: Store,
}

impl Registry {
    /// One without hosts.
    #[must_use]
    pub fn new(
        config: &Arc<ClusterConfig>,
        watch: Option<Arc<Watch>>,
        store: &Store,
        announce: Announce,
    ) -> Self {
        Self {
            hosts: Locked::default(),
            announce,
            config: Arc::clone(config),
            watch,
            store: store.clone(),
        }
    }

    /// The host at an address, made now if there is none; `None` when there are
    /// too many.
    fn find_or_make(&self, address: SocketAddr) -> Option<Arc<SharedHost>> {
        self.hosts.with(|hosts| {
            if let Some(host) = hosts.get(&address) {
                host.usage.mark();
                return Some(Arc::clone(host));
            }
            if hosts.len() >= HOSTS_MAX {
                return None;
            }
            let host = Arc::new(HostConfig::at(
                Address::Socket(address),
                hostname(&self.config.name, address),
            ));
            let host = SharedHost::new(host, self.watch.as_ref(), &self.store);
            host.usage.mark();
            hosts.insert(address, Arc::clone(&host));
            // Under the lock, so that nobody is told of its end first.
            (self.announce)(Arc::clone(&host));
            Some(host)
        })
    }

    /// Lets a host go, unless somebody has used it since this was asked last;
    /// `is_busy` says whether it is in use right now. True if it is gone.
    pub fn let_go(&self, host: &SharedHost, is_busy: impl FnOnce() -> bool) -> bool {
        let Address::Socket(address) = host.address() else {
            return false;
        };
        self.hosts.with(|hosts| {
            if host.usage.take() || is_busy() {
                return false;
            }
            host.usage.end();
            hosts.remove(address);
            true
        })
    }
}

/// Whoever may send requests with any header may name this many addresses
/// before others find no host any more: each costs some hundred bytes, and
/// nobody needs more of them within two clean-ups.
const HOSTS_MAX: usize = 65_536;

/// The hosts that one worker has used.
pub struct Hosts {
    registry: Arc<Registry>,
    by_address: RefCell<HashMap<SocketAddr, Rc<Host>>>,
}

impl Hosts {
    /// A worker that has used none yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>) -> Self {
        Self {
            registry: Arc::clone(registry),
            by_address: RefCell::default(),
        }
    }

    /// The host at an address; `None` when there are too many hosts.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<Rc<Host>> {
        let mut own = self.by_address.borrow_mut();
        if let Some(host) = own
            .get(&address)
            .filter(|host| !host.shared.usage.has_ended())
        {
            host.shared.usage.mark();
            return Some(Rc::clone(host));
        }
        let shared = self.registry.find_or_make(address)?;
        let host = Host::new(&shared, shared.first(), &self.registry.config);
        if let Some(ended) = own.insert(address, Rc::clone(&host)) {
            conn_pool::drain(&ended);
        }
        Some(host)
    }

    /// Calls `f` with each.
    pub fn for_each(&self, f: impl FnMut(&Rc<Host>)) {
        self.by_address.borrow().values().for_each(f);
    }

    /// Forgets those that the control plane has let go.
    pub fn forget_ended(&self) {
        self.by_address.borrow_mut().retain(|_, host| {
            let ended = host.shared.usage.has_ended();
            if ended {
                conn_pool::drain(host);
            }
            !ended
        });
    }
}

/// What the host at an address is called in a cluster, as Envoy calls it.
pub fn hostname(cluster: &str, address: SocketAddr) -> Arc<str> {
    format!("{cluster}{address}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Store;
    use crate::test_support::setup::Setup;
    use std::sync::Mutex;

    type Made = Arc<Mutex<Vec<Arc<SharedHost>>>>;

    fn registry(store: &Store) -> (Arc<Registry>, Made) {
        let cluster = Setup::default().cluster(([127, 0, 0, 1], 1).into(), store);
        let made = Made::default();
        let announced = Arc::clone(&made);
        let announce = move |host| announced.lock().expect("not poisoned").push(host);
        let registry = Registry::new(&cluster.config, None, store, Box::new(announce));
        (Arc::new(registry), made)
    }

    #[test]
    fn an_address_has_one_host_until_it_is_let_go() {
        let store = Store::new();
        store.shard(None).install();
        let (registry, made) = registry(&store);
        let (one, two) = (Hosts::new(&registry), Hosts::new(&registry));
        let address = ([127, 0, 0, 1], 7).into();
        let first = one.at(address).expect("there is room");
        let other = two.at(address).expect("there is room");
        assert!(Arc::ptr_eq(&first.shared, &other.shared));
        assert!(Rc::ptr_eq(&first, &one.at(address).expect("it is known")));
        let made = || made.lock().expect("not poisoned").clone();
        assert_eq!(made().len(), 1);
        let shared = &first.shared;
        assert!(!registry.let_go(shared, || false), "it was used");
        assert!(!registry.let_go(shared, || true), "it is busy");
        assert!(registry.let_go(shared, || false));
        // A worker that has not been told yet does not use it again.
        let next = one.at(address).expect("there is room");
        assert!(!Arc::ptr_eq(&next.shared, shared));
        assert!(first.is_draining() && !other.is_draining());
        two.forget_ended();
        assert!(other.is_draining());
        let known = two.at(address).expect("there is room");
        assert!(Arc::ptr_eq(&known.shared, &next.shared));
        assert_eq!(made().len(), 2);
    }
}
