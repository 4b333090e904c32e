//! What a request runs through while it is explained, and what that is looked
//! up in.

use std::sync::Arc;

use ringway_codecs::header::HeaderId;
use ringway_config::cluster::Cluster;
use ringway_config::clusters::ClusterId;
use ringway_config::filter_state::FilterState;
use ringway_config::metadata::Metadata;
use ringway_config::route::{MatchInput, PeerCertificate};
use ringway_config::runtime::Origin;

use super::Sources;
use super::fact::{Fact, Place};
use crate::filters::network::http_connection_manager::Shared;
use crate::http::exchange::Exchange;
use crate::upstream::host_set::HostSet;

/// The connection manager that a request has come to.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The connection manager.
    pub manager: &'a Shared,
    /// Where it is configured.
    pub manager_path: &'a str,
    /// All routes that do not match are told.
    pub all_routes: bool,
    /// What everything is looked up in.
    pub sources: &'a Sources<'a>,
}

impl<'a> Context<'a> {
    /// See [`Sources::place`].
    pub fn place(&self, path: &str) -> Place {
        self.sources.place(path)
    }

    /// Where a field of the connection manager was written.
    pub fn of_manager(&self, field: &str) -> Place {
        self.place(&format!("{}.{field}", self.manager_path))
    }

    /// Where the value of a runtime key was set that holds now.
    pub fn of_runtime(&self, key: &str) -> Place {
        match self.sources.runtime_layers.origin_of(key) {
            Some(Origin::Written(path)) => self.place(path),
            Some(Origin::Modified) => Place::Modified,
            None => Place::Default,
        }
    }

    /// A message that was written at `path`, as it was written.
    pub fn written(&self, name: &str, path: &str) -> Option<Fact> {
        self.sources.document.written(name, path)
    }

    /// What the request is matched by: as filters have not run, they have said
    /// nothing of it.
    pub fn match_input<'e>(&self, exchange: &'e Exchange) -> MatchInput<'e>
    where
        'a: 'e,
    {
        MatchInput {
            headers: &exchange.request,
            random: exchange.random,
            runtime: self.sources.runtime,
            metadata: Metadata::EMPTY,
            filter_state: FilterState::EMPTY,
            remote: exchange.info.remote().ip(),
            peer_certificate: PeerCertificate::default(),
        }
    }

    /// See [`Sources::cluster`].
    pub fn cluster(&self, id: ClusterId) -> Option<&'a Arc<Cluster>> {
        self.sources.cluster(id)
    }

    /// See [`Sources::hosts`].
    pub fn hosts(&self, cluster: &Cluster) -> Option<&'a HostSet> {
        self.sources.hosts(cluster)
    }

    /// The number of the cluster of this name, if it exists.
    pub fn find_cluster(&self, name: &[u8]) -> Option<ClusterId> {
        let mut clusters = self.sources.clusters.iter();
        let found = clusters.find(|cluster| cluster.name.as_bytes() == name)?;
        Some(found.id)
    }
}

impl<'a> Sources<'a> {
    /// Where `path` was written.
    pub(super) fn place(&self, path: &str) -> Place {
        self.document.place(path)
    }

    /// The cluster of this number, if it exists.
    pub(super) fn cluster(&self, id: ClusterId) -> Option<&'a Arc<Cluster>> {
        self.clusters.iter().find(|cluster| cluster.id == id)
    }

    /// The hosts of a cluster; `None` where they are not known.
    pub(super) fn hosts(&self, cluster: &Cluster) -> Option<&'a HostSet> {
        let mut all = self.hosts.iter();
        let found = all.find(|(id, _)| *id == cluster.id)?;
        Some(&*found.1)
    }
}

/// What the request's header says, if it says it; else what was written.
pub(super) fn header_or(asked: bool, id: HeaderId, written: Place) -> Place {
    match asked {
        true => Place::Header(id.as_str()),
        false => written,
    }
}
