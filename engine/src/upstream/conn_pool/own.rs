//! Pools of a host for the requests of some downstream connections only: a
//! cluster may ask for that (`connection_pool_per_downstream_connection`), and
//! a connection that began with a header of PROXY protocol is good for no
//! request but those of whom the header tells, and one from a client's address
//! (`original_src`) for none but that client's.
//!
//! Such a pool is found by its [`Key`]. It is there as long as a downstream
//! connection that has used it: nobody could use its connections afterwards.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::{Rc, Weak};

use ringway_codecs::proxy_protocol::Endpoints;
use ringway_config::proxy_protocol::Tlv;

use super::named::NamedPool;
use super::{Pool, Speaks};
use crate::stream_info::{ConnectionInfo, OriginalSource};
use crate::transport_sockets::options::TransportSocketOptions;
use crate::transport_sockets::tls::Asked;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::Host;

thread_local! {
    /// The pools that the requests of downstream connections have used, by the
    /// connections' numbers.
    static USED: RefCell<HashMap<u64, Vec<Rc<OwnPool>>>> = RefCell::default();
}

/// Which of a host's pools.
#[derive(Clone)]
pub struct PoolOf {
    /// What is spoken on its connections.
    pub speaks: Speaks,
    /// Who gives up waiting gives up what was opened for it (Envoy's
    /// `CancelPolicy::CloseExcess`).
    pub(super) closes_excess: bool,
    /// The one of a name, where requests ask for one.
    named: Option<Rc<NamedPool>>,
    own: Option<Rc<OwnPool>>,
}

/// One that everybody may use.
impl From<Speaks> for PoolOf {
    fn from(speaks: Speaks) -> Self {
        Self {
            speaks,
            closes_excess: false,
            named: None,
            own: None,
        }
    }
}

impl PoolOf {
    /// The one for the requests of a downstream connection that ask for `options`.
    #[inline]
    #[must_use]
    pub fn requests(
        cluster: &Cluster,
        host: &Rc<Host>,
        speaks: Speaks,
        downstream: &ConnectionInfo,
        options: &TransportSocketOptions,
    ) -> Self {
        let config = &cluster.config;
        let of = Self::anybody(cluster, host, speaks, options);
        if !config.connections_per_downstream
            && config.proxy_protocol.is_none()
            && downstream.source.is_none()
        {
            return of;
        }
        let key = Key {
            speaks,
            connection: (config.connections_per_downstream).then_some(downstream.id),
            source: downstream.source,
            client: (config.proxy_protocol.as_ref()).map(|header| Client {
                endpoints: Endpoints {
                    source: downstream.remote,
                    destination: downstream.local,
                },
                tlvs: match header.passed_on.is_empty() {
                    true => None,
                    false => downstream.tlvs.clone(),
                },
            }),
            named: of.named.clone().map(Named),
        };
        Self {
            own: Some(OwnPool::find(host, key, downstream.id)),
            ..of
        }
    }

    /// The one for requests of nobody in particular that ask for `options`.
    #[inline]
    #[must_use]
    pub fn anybody(
        cluster: &Cluster,
        host: &Host,
        speaks: Speaks,
        options: &TransportSocketOptions,
    ) -> Self {
        Self {
            named: match cluster.tls(host) {
                Some(_) => NamedPool::find(host, options),
                None => None,
            },
            ..speaks.into()
        }
    }

    /// The same for one whose connection nobody else has a use for.
    #[must_use]
    pub fn closing_excess(self) -> Self {
        Self {
            closes_excess: true,
            ..self
        }
    }

    pub(super) fn pool<'a>(&'a self, host: &'a Host) -> &'a Pool {
        match (&self.own, &self.named) {
            (None, None) => host.shared_pool(self.speaks),
            (Some(own), _) => &own.pool,
            (None, Some(named)) => named.pool(self.speaks),
        }
    }

    /// Whether any request may use its connections.
    pub(super) fn is_shared(&self) -> bool {
        self.own.is_none() && self.named.is_none()
    }

    /// Whether nobody will use its connections again.
    pub(super) fn is_over(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.users.get() == 0)
    }

    /// What hosts are asked for on its connections.
    pub(super) fn asked(&self) -> Option<&Asked> {
        Some(&self.named.as_ref()?.asked)
    }

    /// Whom hosts are to see as their client, if not us.
    pub(super) fn source(&self) -> Option<OriginalSource> {
        self.own.as_ref()?.key.source
    }

    /// What headers of PROXY protocol tell of those who use it.
    pub(super) fn client(&self) -> Option<&Client> {
        self.own.as_ref()?.key.client.as_ref()
    }
}

/// Who may use a pool.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    speaks: Speaks,
    /// The one downstream connection.
    connection: Option<u64>,
    /// Those whose hosts see the same client.
    source: Option<OriginalSource>,
    /// Those of whom the same is told.
    client: Option<Client>,
    /// Those that ask for the same name.
    named: Option<Named>,
}

/// A name, by the pools that it has.
#[derive(Clone)]
struct Named(Rc<NamedPool>);

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Rc::as_ptr(&self.0).hash(state);
    }
}

/// What a header of PROXY protocol tells of a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub endpoints: Endpoints,
    /// What the client's own header has said.
    pub tlvs: Option<Rc<[Tlv]>>,
}

/// The pools of one host that not all may use.
#[derive(Default)]
pub struct OwnPools(RefCell<HashMap<Key, Rc<OwnPool>>>);

impl OwnPools {
    pub(super) fn for_each(&self, mut f: impl FnMut(&Pool)) {
        // Whatever `f` closes may end the last use of a pool.
        let all: Vec<_> = self.0.borrow().values().map(Rc::clone).collect();
        for own in all {
            f(&own.pool);
        }
    }
}

struct OwnPool {
    pool: Pool,
    host: Weak<Host>,
    key: Key,
    /// Downstream connections that have used it and are still there.
    users: Cell<usize>,
}

impl OwnPool {
    /// The pool of a host for `connection`, which uses it from now on.
    fn find(host: &Rc<Host>, key: Key, connection: u64) -> Rc<Self> {
        USED.with_borrow_mut(|used| {
            let used = used.entry(connection).or_default();
            let of_host = |own: &&Rc<Self>| own.host.as_ptr() == Rc::as_ptr(host);
            if let Some(own) = used.iter().filter(of_host).find(|own| own.key == key) {
                return Rc::clone(own);
            }
            // Hosts that are gone.
            used.retain(|own| own.host.strong_count() > 0);
            let mut pools = host.own_pools.get_or_init(Box::default).0.borrow_mut();
            let own = pools.entry(key.clone()).or_insert_with(|| {
                Rc::new(Self {
                    pool: Pool::default(),
                    host: Rc::downgrade(host),
                    key,
                    users: Cell::new(0),
                })
            });
            own.users.set(own.users.get() + 1);
            used.push(Rc::clone(own));
            Rc::clone(own)
        })
    }

    /// A downstream connection that has used it is gone.
    fn leave(&self) {
        self.users.set(self.users.get() - 1);
        if self.users.get() > 0 {
            return;
        }
        if let Some(host) = self.host.upgrade()
            && let Some(pools) = host.own_pools.get()
        {
            pools.0.borrow_mut().remove(&self.key);
        }
        self.pool.close_idle();
    }
}

/// A downstream connection is gone, and with it the pools that were its own.
pub fn release(connection: u64) {
    let used = USED.with_borrow_mut(|used| match used.is_empty() {
        true => None,
        false => used.remove(&connection),
    });
    for own in used.into_iter().flatten() {
        own.leave();
    }
}
