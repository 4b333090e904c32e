//! Epochs: how a configuration or a command reaches every worker.
//!
//! Whatever can fail has been done before: sockets are bound, regular
//! expressions compiled. Publishing stamps the next epoch, queues one update a
//! worker and wakes it. Once every worker has acknowledged the epoch, what it
//! replaced is out of use.

use std::io;
use std::time::Duration;

use core_affinity::CoreId;

use crate::worker::{Change, Handle, Plan, Update};

/// How long to wait before looking again whether a worker has made progress.
const POLL: Duration = Duration::from_millis(1);

/// All workers, and the epoch that they were told last.
pub struct Publisher {
    workers: Vec<Handle>,
    epoch: u64,
}

impl Publisher {
    /// Starts one worker for each place.
    ///
    /// # Errors
    /// A worker that could not be started; those before it are stopped.
    pub fn start(places: &[Option<CoreId>], plan: &Plan) -> io::Result<Self> {
        let mut publisher = Self {
            workers: Vec::with_capacity(places.len()),
            epoch: 0,
        };
        for (index, core) in places.iter().enumerate() {
            publisher
                .workers
                .push(Handle::start(index as u32, *core, plan)?);
        }
        Ok(publisher)
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> &[Handle] {
        &self.workers
    }

    /// Publishes the changes that `changes` makes for each worker, by index,
    /// and returns their epoch.
    pub async fn publish(&mut self, mut changes: impl FnMut(usize) -> Vec<Change>) -> u64 {
        self.epoch += 1;
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let mut update = Update {
                epoch: self.epoch,
                changes: changes(index),
            };
            while let Err(back) = worker.push(update) {
                update = back;
                tokio::time::sleep(POLL).await;
            }
        }
        self.epoch
    }

    /// Waits until every worker has applied `epoch`.
    pub async fn applied(&self, epoch: u64) {
        while self.workers.iter().any(|worker| worker.applied() < epoch) {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Downstream connections of draining workers.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.workers.iter().map(Handle::connections).sum()
    }

    /// Stops every worker, whatever is in flight, and waits for the threads.
    pub async fn stop(mut self) {
        self.publish(|_| vec![Change::Stop]).await;
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}
