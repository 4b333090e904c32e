//! A context that all workers share. One whose secrets a file holds is not there
//! before they are, and becomes another one when they change; connections keep the
//! one that they were made with.

use std::sync::Arc;

use crate::stats::Store;
use crate::stats::ssl::SslSocketFactoryStats;
use crate::worker::shared::Locked;

/// The context of a filter chain or of a cluster.
#[derive(Debug)]
pub struct SharedContext<C> {
    current: Locked<Option<Arc<C>>>,
    /// What becomes of it.
    pub stats: SslSocketFactoryStats,
}

impl<C> SharedContext<C> {
    /// `prefix` is that of [`SslSocketFactoryStats`].
    #[must_use]
    pub fn new(context: Option<Arc<C>>, store: &Store, prefix: &str) -> Self {
        Self {
            current: Locked::new(context),
            stats: SslSocketFactoryStats::new(store, prefix),
        }
    }

    /// The context that was published last, for the control plane and admin; a
    /// worker has its own.
    #[must_use]
    pub fn get(&self) -> Option<Arc<C>> {
        self.current.with(|current| current.clone())
    }

    /// Replaces it; the control plane only, which also publishes it.
    pub fn set(&self, context: Arc<C>) {
        self.current.with(|current| *current = Some(context));
    }
}
