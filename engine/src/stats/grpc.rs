//! `cluster.<name>.grpc.*` and `cluster.<name>.grpc-web.*`: calls of gRPC by what
//! they call.
//!
//! Names come from requests here, where the configuration says so. A worker keeps
//! what it has seen, and a statistic is listed from its first use on, as in
//! Envoy.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use super::cluster::prefix;
use super::{Counter, Histogram, Store, Unit};

/// Names that a worker keeps statistics for. Calls beyond are counted without
/// their names: clients that make names up must not fill the memory.
const NAMES_MAX: usize = 4096;

/// The longest service with its method.
const NAME_BYTES_MAX: usize = 512;

/// Statuses that are kept of one name. The protocol has 17.
const STATUSES_MAX: usize = 32;

/// The statistics that a worker has used.
#[derive(Default)]
pub struct GrpcStats {
    known: RefCell<HashMap<Box<[u8]>, Rc<GrpcScope>>>,
    key: RefCell<Vec<u8>>,
}

/// Which calls are counted together.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// `grpc` or `grpc-web`.
    pub protocol: &'static str,
    /// The cluster's name in statistics.
    pub cluster: &'a str,
    /// Service and method; `None` is all of the cluster.
    pub names: Option<(&'a [u8], &'a [u8])>,
}

/// The statistics of some calls.
pub struct GrpcScope {
    store: Store,
    prefix: String,
    statuses: RefCell<Vec<(Box<[u8]>, Counter)>>,
    success: OnceCell<Counter>,
    failure: OnceCell<Counter>,
    total: OnceCell<Counter>,
    request_message_count: OnceCell<Counter>,
    response_message_count: OnceCell<Counter>,
    upstream_rq_time: OnceCell<Histogram>,
}

impl std::fmt::Debug for GrpcScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.prefix)
    }
}

impl GrpcStats {
    /// The statistics of these calls.
    pub fn scope(&self, counted: Counted<'_>, store: &Store) -> Rc<GrpcScope> {
        let mut key = self.key.borrow_mut();
        key.clear();
        for part in [counted.protocol.as_bytes(), counted.cluster.as_bytes()] {
            key.extend_from_slice(part);
            key.push(0);
        }
        let Counted { names, .. } = counted;
        let names =
            names.filter(|(service, method)| service.len() + method.len() <= NAME_BYTES_MAX);
        if let Some((service, method)) = names {
            key.extend_from_slice(service);
            key.push(0);
            key.extend_from_slice(method);
        }
        let mut known = self.known.borrow_mut();
        if let Some(scope) = known.get(&key[..]) {
            return Rc::clone(scope);
        }
        if names.is_some() && known.len() >= NAMES_MAX {
            drop((known, key));
            let counted = Counted {
                names: None,
                ..counted
            };
            return self.scope(counted, store);
        }
        let scope = Rc::new(GrpcScope::new(Counted { names, ..counted }, store));
        known.insert(key[..].into(), Rc::clone(&scope));
        scope
    }
}

impl GrpcScope {
    fn new(counted: Counted<'_>, store: &Store) -> Self {
        let mut prefix = prefix(counted.cluster);
        let _ = write!(prefix, "{}.", counted.protocol);
        if let Some((service, method)) = counted.names {
            let (service, method) = (text(service), text(method));
            let _ = write!(prefix, "{service}.{method}.");
        }
        Self {
            store: store.clone(),
            prefix,
            statuses: RefCell::default(),
            success: OnceCell::new(),
            failure: OnceCell::new(),
            total: OnceCell::new(),
            request_message_count: OnceCell::new(),
            response_message_count: OnceCell::new(),
            upstream_rq_time: OnceCell::new(),
        }
    }

    /// Counts a call by its `grpc-status`.
    pub fn status(&self, status: &[u8]) {
        let mut statuses = self.statuses.borrow_mut();
        match statuses.iter().find(|(known, _)| **known == *status) {
            Some((_, counter)) => counter.inc(),
            None if statuses.len() >= STATUSES_MAX || status.len() > NAME_BYTES_MAX => {}
            None => {
                let counter = self
                    .store
                    .counter(&format!("{}{}", self.prefix, text(status)));
                counter.inc();
                statuses.push((status.into(), counter));
            }
        }
        match status {
            b"0" => self.counter(&self.success, "success").inc(),
            _ => self.counter(&self.failure, "failure").inc(),
        }
        self.counter(&self.total, "total").inc();
    }

    /// Counts messages of requests.
    pub fn request_messages(&self, count: u64) {
        self.counter(&self.request_message_count, "request_message_count")
            .add(count);
    }

    /// Counts messages of responses.
    pub fn response_messages(&self, count: u64) {
        self.counter(&self.response_message_count, "response_message_count")
            .add(count);
    }

    /// Records how long a host took, in milliseconds.
    pub fn upstream_time(&self, took: u64) {
        let name = || format!("{}upstream_rq_time", self.prefix);
        self.upstream_rq_time
            .get_or_init(|| self.store.histogram(&name(), Unit::Milliseconds))
            .record(took);
    }

    fn counter(&self, cell: &OnceCell<Counter>, name: &str) -> Counter {
        *cell.get_or_init(|| self.store.counter(&format!("{}{name}", self.prefix)))
    }
}

fn text(name: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(method: Option<&[u8]>) -> Counted<'_> {
        Counted {
            protocol: "grpc",
            cluster: "c",
            names: method.map(|method| (&b"a.B"[..], method)),
        }
    }

    #[test]
    fn calls_are_counted_by_what_they_call() {
        let store = Store::new();
        store.shard(None).install();
        let stats = GrpcStats::default();
        let scope = stats.scope(counted(Some(b"M")), &store);
        assert!(Rc::ptr_eq(
            &scope,
            &stats.scope(counted(Some(b"M")), &store)
        ));
        scope.status(b"0");
        scope.status(b"7");
        scope.status(b"7");
        scope.request_messages(3);
        stats.scope(counted(None), &store).response_messages(2);
        for (name, value) in [
            ("a.B.M.0", Some(1)),
            ("a.B.M.7", Some(2)),
            ("a.B.M.success", Some(1)),
            ("a.B.M.failure", Some(2)),
            ("a.B.M.total", Some(3)),
            ("a.B.M.request_message_count", Some(3)),
            ("a.B.M.response_message_count", None),
            ("response_message_count", Some(2)),
            ("total", None),
        ] {
            assert_eq!(
                store.value(&format!("cluster.c.grpc.{name}")),
                value,
                "{name}"
            );
        }
    }

    #[test]
    fn beyond_the_limit_calls_have_no_names() {
        let store = Store::new();
        store.shard(None).install();
        let stats = GrpcStats::default();
        for n in 0..NAMES_MAX + 2 {
            let method = n.to_string();
            stats
                .scope(counted(Some(method.as_bytes())), &store)
                .status(b"0");
        }
        let value = |name: &str| store.value(&format!("cluster.c.grpc.{name}"));
        assert_eq!(value("a.B.0.total"), Some(1));
        assert_eq!(value(&format!("a.B.{NAMES_MAX}.total")), None);
        assert_eq!(value("total"), Some(2));
        let long = vec![b'x'; NAME_BYTES_MAX];
        stats.scope(counted(Some(&long)), &store).status(b"0");
        assert_eq!(value("total"), Some(3));
    }
}
