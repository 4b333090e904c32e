//! One secret that a file holds: what was read of it last, and what is watched.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use ringway_config::tls::{KnownSecret, SdsSecret};
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;
use xxhash_rust::xxh64::xxh64;

use super::files;
use crate::control::file_watcher::{FileWatcher, Moves};
use crate::stats::Store;
use crate::stats::sds::{SdsStats, prefix};

/// What was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The file of the secret with this number.
    Source(usize),
    /// A file that this secret names.
    Files(usize),
}

/// A secret and its contexts' way to it.
pub(super) struct Provider {
    pub secret: SdsSecret,
    pub stats: SdsStats,
    store: Store,
    /// What the file said last, also if it was refused: saying so again changes
    /// nothing.
    pub told: Option<KnownSecret>,
    /// The same with what its files held last; also if no context could be made of it.
    pub content: Option<Secret>,
    /// What contexts are made of.
    pub known: Option<KnownSecret>,
    /// Tells of moves of the secret's files.
    following: Vec<Following>,
}

/// Ends what tells of moves when its owner goes.
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Provider {
    pub fn new(secret: &SdsSecret, store: &Store) -> Self {
        let prefix = prefix(&secret.name);
        store.text_readout(&format!("{prefix}version_text"), "");
        Self {
            secret: secret.clone(),
            stats: SdsStats::new(store, &prefix),
            store: store.clone(),
            told: None,
            content: None,
            known: None,
            following: Vec::new(),
        }
    }

    /// Whether the file says what it said before.
    pub fn has_told(&self, secret: &Secret) -> bool {
        self.told
            .as_ref()
            .is_some_and(|told| told.message == *secret)
    }

    /// Counts a file that was taken.
    pub fn succeeded(&self, version: &str) {
        self.stats.update_success.inc();
        self.stats.version.set(xxh64(version.as_bytes(), 0));
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since_epoch = since_epoch.unwrap_or_default().as_millis();
        self.stats.update_time.set(since_epoch as u64);
        let prefix = prefix(&self.secret.name);
        (self.store).text_readout(&format!("{prefix}version_text"), version);
    }

    /// Follows the files that the secret names now, and those before no longer. As
    /// Envoy, each by itself, although several may lie in one directory.
    ///
    /// # Errors
    /// The first directory that cannot be watched, and why.
    pub fn follow_files(
        &mut self,
        place: usize,
        watcher: &FileWatcher,
        events: &Sender<Event>,
    ) -> Result<(), (PathBuf, io::Error)> {
        self.following.clear();
        let directories = match &self.told {
            Some(told) => files::directories(&told.message),
            None => Vec::new(),
        };
        for directory in directories {
            let moves = watcher.watch_directory(&directory);
            let moves = moves.map_err(|error| (directory, error))?;
            let task = follow(moves, Event::Files(place), events);
            self.following.push(Following(task));
        }
        Ok(())
    }

    /// Follows the secret's own file for as long as the process runs.
    pub fn follow_source(
        &self,
        place: usize,
        watcher: &FileWatcher,
        events: &Sender<Event>,
    ) -> io::Result<()> {
        let moves = watcher.watch(&self.secret.source)?;
        follow(moves, Event::Source(place), events);
        Ok(())
    }
}

fn follow(moves: Moves, event: Event, events: &Sender<Event>) -> AbortHandle {
    let events = events.clone();
    let task = tokio::spawn(async move {
        loop {
            moves.next().await;
            // Nobody listens any more only when the process ends.
            if events.send(event).await.is_err() {
                return;
            }
        }
    });
    task.abort_handle()
}
