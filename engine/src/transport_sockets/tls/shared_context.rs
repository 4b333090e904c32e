//! A context that all workers share. One whose secrets a file holds is not there
//! before they are, and becomes another one when they change; connections keep the
//! one that they were made with.

use std::sync::Arc;

use crate::stats::Store;
use crate::stats::ssl::{SslSocketFactoryStats, note_certificates};
use crate::worker::shared::Locked;

/// The context of a filter chain or of a cluster.
#[derive(Debug)]
pub struct SharedContext<C> {
    current: Arc<Locked<Option<Arc<C>>>>,
    /// What becomes of it.
    pub stats: SslSocketFactoryStats,
    store: Store,
    prefix: Box<str>,
}

/// What statistics tell of a context.
pub trait Context {
    /// The part of their names that stands for its side.
    const SIDE: &'static str;

    /// Its certificates by the names that they have there, with their ends in seconds
    /// since 1970. Of several with one name, the last one counts.
    fn ends(&self) -> Vec<(&str, i64)>;
}

impl<C: Context> SharedContext<C> {
    /// `prefix` is the listener's or the cluster's.
    #[must_use]
    pub fn new(context: Option<Arc<C>>, store: &Store, prefix: &str) -> Self {
        let shared = Self {
            current: Arc::default(),
            stats: Self::stats(store, prefix),
            store: store.clone(),
            prefix: prefix.into(),
        };
        if let Some(context) = context {
            shared.set(context);
        }
        shared
    }

    /// The same one, counted under another prefix: what becomes of the one becomes of
    /// the other.
    #[must_use]
    pub fn alike(&self, store: &Store, prefix: &str) -> Self {
        if let Some(context) = self.get() {
            note_certificates(store, prefix, context.ends());
        }
        Self {
            current: Arc::clone(&self.current),
            stats: Self::stats(store, prefix),
            store: store.clone(),
            prefix: prefix.into(),
        }
    }

    fn stats(store: &Store, prefix: &str) -> SslSocketFactoryStats {
        SslSocketFactoryStats::new(store, &format!("{prefix}{}_ssl_socket_factory.", C::SIDE))
    }

    /// Whether these are [alike](Self::alike).
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.current, &other.current)
    }

    /// The context that was published last, for the control plane and admin; a
    /// worker has its own.
    #[must_use]
    pub fn get(&self) -> Option<Arc<C>> {
        self.current.with(|current| current.clone())
    }

    /// Replaces it; the control plane only, which also publishes it.
    pub fn set(&self, context: Arc<C>) {
        note_certificates(&self.store, &self.prefix, context.ends());
        self.current.with(|current| *current = Some(context));
    }
}
