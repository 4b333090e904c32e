//! A worker as the process runs it, on a thread of its own, driven by updates
//! and watched through its statistics.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_config::core::{Address, Locality, Node};

use super::client::Client;
use super::setup::Setup;
use super::{PATIENCE, wait_until};
use crate::access_loggers::{self, LogWriter};
use crate::control::cluster_manager::ClusterManager;
use crate::reactor::{self, DriverChoice};
use crate::server::listen;
use crate::stats::Store;
use crate::upstream::conn_pool::lending::Workers;
use crate::worker::{Change, Handle, Plan, Update};

/// A proxy with one worker.
pub(crate) struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its statistics, which may be read while it runs.
    pub store: Store,
    worker: Option<Handle>,
    logs: Option<LogWriter>,
    epoch: u64,
}

impl Proxy {
    /// Starts a proxy in front of `host`.
    pub fn start(driver: DriverChoice, setup: &Setup, host: SocketAddr) -> Self {
        let options = reactor::Options {
            driver,
            ..reactor::Options::default()
        };
        Self::start_with(&options, setup, host)
    }

    /// Starts a proxy on a reactor with these options.
    pub fn start_with(options: &reactor::Options, setup: &Setup, host: SocketAddr) -> Self {
        let store = Store::new();
        let compiled = setup.compile(host);
        let clusters = ClusterManager::new(
            &compiled.snapshot,
            Arc::default(),
            &Default::default(),
            &store,
        );
        let mut changes: Vec<_> = (clusters.shared())
            .map(|cluster| Change::Cluster(Arc::clone(cluster)))
            .collect();
        let mut bound = listen::bind(compiled.listeners, 1, &store).expect("port 0 is free");
        let Address::Socket(address) = bound.listeners[0].addresses[0] else {
            panic!("the listener has an IP address");
        };
        let logs = LogWriter::spawn(&access_loggers::Options::default(), &store).expect("a thread");
        let plan = plan(options, 1, &store, &logs);
        let worker = Handle::start(0, None, &plan).expect("a worker");
        let mut proxy = Self {
            address,
            store,
            worker: Some(worker),
            logs: Some(logs),
            epoch: 0,
        };
        let sockets = std::mem::take(&mut bound.sockets[0][0]);
        changes.push(Change::Listener(Arc::clone(&bound.listeners[0]), sockets));
        proxy.apply(changes);
        proxy
    }

    /// Publishes changes and waits until the worker has applied them.
    pub fn apply(&mut self, changes: Vec<Change>) {
        self.publish(changes);
        let (worker, epoch) = (self.worker(), self.epoch);
        wait_until("the epoch is acknowledged", || worker.applied() >= epoch);
    }

    /// Publishes changes.
    pub fn publish(&mut self, changes: Vec<Change>) {
        assert!(self.try_publish(changes).is_ok(), "the queue has room");
    }

    /// Publishes changes unless the worker is too far behind.
    pub fn try_publish(&mut self, changes: Vec<Change>) -> Result<u64, Update> {
        let update = Update {
            epoch: self.epoch + 1,
            changes,
        };
        self.worker.as_mut().expect("it runs").push(update)?;
        self.epoch += 1;
        Ok(self.epoch)
    }

    /// The worker.
    pub fn worker(&self) -> &Handle {
        self.worker.as_ref().expect("it runs")
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A statistic of the cluster.
    pub fn cluster(&self, name: &str) -> u64 {
        self.value(&format!("cluster.host.{name}"))
    }

    /// A statistic of the connection manager.
    pub fn http(&self, name: &str) -> u64 {
        self.value(&format!("http.test.{name}"))
    }

    /// Any statistic.
    pub fn value(&self, name: &str) -> u64 {
        self.store
            .value(name)
            .unwrap_or_else(|| panic!("no statistic {name}"))
    }

    /// Waits until no request is left, and no connection of a client.
    pub fn wait_until_quiet(&self) {
        wait_until("no downstream connection is left", || {
            self.http("downstream_cx_active") == 0
        });
        for gauge in ["downstream_rq_active", "downstream_cx_http1_active"] {
            assert_eq!(self.http(gauge), 0, "{gauge}");
        }
        for gauge in ["upstream_rq_active", "upstream_rq_pending_active"] {
            assert_eq!(self.cluster(gauge), 0, "{gauge}");
        }
    }

    /// Ends every connection by draining, and checks that what was counted up
    /// was counted down. Clients must have closed theirs.
    pub fn check_balance(&mut self) {
        self.wait_until_quiet();
        // A connection that nobody waits for any more may still be opening.
        let begin = Instant::now();
        while self.cluster("upstream_cx_active") > 0 {
            assert!(begin.elapsed() < PATIENCE, "upstream connections are left");
            self.apply(vec![Change::Drain]);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(
            self.cluster("upstream_cx_total"),
            self.cluster("upstream_cx_destroy")
        );
        assert_eq!(
            self.http("downstream_cx_total"),
            self.http("downstream_cx_destroy")
        );
        assert_eq!(
            self.http("downstream_cx_destroy"),
            self.http("downstream_cx_destroy_local") + self.http("downstream_cx_destroy_remote"),
        );
        for priority in ["default", "high"] {
            for gauge in ["cx_open", "rq_open", "rq_pending_open"] {
                let name = format!("circuit_breakers.{priority}.{gauge}");
                assert_eq!(self.cluster(&name), 0, "{name}");
            }
        }
    }
}

/// What workers of a test need to start.
pub(crate) fn plan(
    options: &reactor::Options,
    count: u32,
    store: &Store,
    logs: &LogWriter,
) -> Plan {
    Plan {
        count,
        reactor: options.clone(),
        store: store.clone(),
        logs: logs.handle(),
        node: Node {
            id: "test".into(),
            cluster: "tests".into(),
            locality: Locality::default(),
            metadata: None,
        },
        stats_flush_interval: Duration::from_secs(5),
        drain_time: Duration::from_secs(600),
        log_flush_interval: Duration::from_millis(20),
        local_address: Ipv4Addr::LOCALHOST.into(),
        lending: Workers::new(count),
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.publish(vec![Change::Stop]);
        let ended = self.worker.take().expect("it runs").join();
        let logs = self.logs.take().expect("it runs").shutdown();
        if !std::thread::panicking() {
            assert!(ended.is_ok(), "the worker panicked");
            assert!(logs, "the log writer hangs");
        }
    }
}
