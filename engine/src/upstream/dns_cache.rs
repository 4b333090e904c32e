//! What is known of the names that requests of dynamic forward proxies ask for.
//!
//! The control plane looks names up and publishes what is known of all of a
//! cache's names at once ([`Known`]); a worker has the last of these and looks
//! nothing else up, so a name that is known costs no trip to another thread. A
//! request for a name that is not known waits ([`Waiting`]), which asks the
//! control plane for it and ends with the publication that has it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringway_config::dns_cache::{DnsCache as Config, DnsCacheId};

use super::circuit_breaker::{Breaker, Permit};
use super::wait_list::{self, WaitList};
use crate::reactor;
use crate::stats::Store;
use crate::stats::dns_cache::DnsCacheStats;
use crate::worker::shared::LastUse;
use crate::worker::shared::limits::SharedLimit;

/// What all workers share of a cache.
pub struct SharedDnsCache {
    /// The lowered configuration.
    pub config: Arc<Config>,
    /// `dns_cache.NAME.*`.
    pub stats: DnsCacheStats,
    /// Requests that wait.
    pending: Arc<SharedLimit>,
    /// Tells the control plane of a name that somebody waits for.
    ask: Ask,
    /// Where its clock starts.
    created: Instant,
}

/// Tells the control plane that a name is wanted.
pub type Ask = Box<dyn Fn(Arc<str>) + Send + Sync>;

impl SharedDnsCache {
    /// Registers the cache's statistics. `created` is when its clock starts.
    #[must_use]
    pub fn new(config: &Arc<Config>, created: Instant, store: &Store, ask: Ask) -> Self {
        let pending = Arc::new(SharedLimit::new(config.pending_max));
        Self {
            stats: DnsCacheStats::of(store, &config.name, &pending),
            config: Arc::clone(config),
            pending,
            ask,
            created,
        }
    }

    /// A time on the cache's clock.
    #[must_use]
    pub fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created)
    }
}

/// What is known of the names of a cache, by name and port.
#[derive(Debug, Default)]
pub struct Known(pub HashMap<Arc<str>, Arc<KnownName>>);

/// What is known of a name.
#[derive(Debug)]
pub struct KnownName {
    /// Why it has no address, in the words of response-code details; `None` if
    /// it has one.
    pub failure: Option<&'static str>,
    /// When somebody asked for it, on the cache's clock.
    pub last_use: LastUse,
}

impl KnownName {
    /// What is known, of a name that was last asked for at that time.
    #[must_use]
    pub fn new(failure: Option<&'static str>, last_use: Duration) -> Self {
        let known = Self {
            failure,
            last_use: LastUse::default(),
        };
        known.last_use.mark(last_use);
        known
    }
}

/// A cache as a worker has it.
pub struct DnsCache {
    /// The part that all workers share.
    pub shared: Arc<SharedDnsCache>,
    known: RefCell<Arc<Known>>,
    pending: Breaker,
    /// Requests that wait, by name.
    waiting: Rc<WaitList>,
}

/// What came of asking for a name.
pub enum Found {
    /// It is known, if it is only that it has no address.
    Known(Arc<KnownName>),
    /// There are too many names.
    Overflow,
    /// It has to be waited for.
    Waiting(Waiting),
}

impl DnsCache {
    /// A worker's cache, of which nothing is known yet.
    #[must_use]
    pub fn new(shared: &Arc<SharedDnsCache>) -> Rc<Self> {
        Rc::new(Self {
            pending: Breaker::new(&shared.pending),
            shared: Arc::clone(shared),
            known: RefCell::default(),
            waiting: Rc::default(),
        })
    }

    /// The right to ask for a name: the limit of requests that wait is looked
    /// at whether or not this one will have to. False if it is reached.
    pub fn may_ask(&self) -> bool {
        let limit = &self.shared.pending;
        let may = limit.left() > 0;
        if !may {
            self.shared.stats.dns_rq_pending_overflow.inc();
        }
        may
    }

    /// What is known of a name now.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<KnownName>> {
        let known = self.known.borrow();
        let found = known.0.get(name)?;
        found.last_use.mark(self.shared.at(reactor::now()));
        Some(Arc::clone(found))
    }

    /// Asks for a name. `None` if it has to be waited for and too many do.
    pub fn ask(self: &Rc<Self>, name: &str) -> Option<Found> {
        if let Some(found) = self.get(name) {
            return Some(Found::Known(found));
        }
        let shared = &self.shared;
        if self.known.borrow().0.len() >= shared.config.hosts_max as usize {
            shared.stats.host_overflow.inc();
            return Some(Found::Overflow);
        }
        let Some(permit) = self.pending.acquire() else {
            shared.stats.dns_rq_pending_overflow.inc();
            return None;
        };
        Some(Found::Waiting(Waiting {
            waiting: self.waiting.wait(name, |name| (shared.ask)(name)),
            _permit: permit,
        }))
    }

    /// More or less is known now: requests that wait for it go on.
    pub fn set(&self, known: Arc<Known>) {
        self.waiting.finish(|name| known.0.contains_key(name));
        *self.known.borrow_mut() = known;
    }
}

/// The caches of a worker, by number.
#[derive(Default)]
pub struct DnsCaches(RefCell<Vec<Rc<DnsCache>>>);

impl DnsCaches {
    /// Takes another cache, in the order of their numbers.
    pub fn add(&self, shared: &Arc<SharedDnsCache>) {
        self.0.borrow_mut().push(DnsCache::new(shared));
    }

    /// The cache of this number.
    ///
    /// # Panics
    /// When the worker has not been given it: it is before any listener.
    #[must_use]
    pub fn get(&self, id: DnsCacheId) -> Rc<DnsCache> {
        Rc::clone(&self.0.borrow()[id.0 as usize])
    }
}

/// Ready when something is known of a name. Dropping it ends the wait.
#[derive(Debug)]
pub struct Waiting {
    waiting: wait_list::Waiting,
    _permit: Permit,
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.waiting).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::task::Waker;

    use crate::reactor::Reactor;
    use ringway_config::dns::{LookupFamily, Resolver};

    fn config(hosts_max: u32, pending_max: u32) -> Arc<Config> {
        Arc::new(Config {
            name: "names".into(),
            family: LookupFamily::Auto,
            refresh: Duration::from_secs(60),
            refresh_min: Duration::from_secs(5),
            failure_refresh: None,
            host_ttl: Duration::from_secs(300),
            hosts_max,
            query_timeout: None,
            pending_max,
            preresolved: Box::default(),
            resolver: Resolver::default(),
        })
    }

    /// Runs `f` where there is a clock.
    fn run(f: impl FnOnce()) {
        let mut reactor = Reactor::new(&reactor::Options::default()).expect("a reactor");
        reactor.block_on(async { f() });
    }

    type Asked = Arc<Mutex<Vec<Arc<str>>>>;

    /// A worker's cache, and the names that it asked the control plane for.
    fn cache(config: &Arc<Config>, store: &Store) -> (Rc<DnsCache>, Asked) {
        let asked = Asked::default();
        let asks = Arc::clone(&asked);
        let ask = move |name| asks.lock().expect("not poisoned").push(name);
        let shared = SharedDnsCache::new(config, Instant::now(), store, Box::new(ask));
        (DnsCache::new(&Arc::new(shared)), asked)
    }

    fn known(names: &[(&str, Option<&'static str>)]) -> Arc<Known> {
        let of = |(name, failure): &(&str, Option<&'static str>)| {
            (
                (*name).into(),
                Arc::new(KnownName::new(*failure, Duration::ZERO)),
            )
        };
        Arc::new(Known(names.iter().map(of).collect()))
    }

    fn waiting(found: Option<Found>) -> Pin<Box<Waiting>> {
        match found {
            Some(Found::Waiting(waiting)) => Box::pin(waiting),
            _ => panic!("it is known, or nobody may wait"),
        }
    }

    fn is_ready(waiting: &mut Pin<Box<Waiting>>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        waiting.as_mut().poll(&mut cx).is_ready()
    }

    #[test]
    fn requests_for_a_name_wait_for_one_look_up() {
        run(|| {
            let store = Store::new();
            store.shard(None).install();
            let (cache, asked) = cache(&config(10, 10), &store);
            let mut first = waiting(cache.ask("a:80"));
            let mut second = waiting(cache.ask("a:80"));
            let mut other = waiting(cache.ask("b:80"));
            let names: Vec<_> = asked.lock().expect("not poisoned").clone();
            assert_eq!(names, ["a:80".into(), "b:80".into()]);
            assert!(!is_ready(&mut first));
            drop(second);
            cache.set(known(&[("a:80", None), ("c:80", Some("why"))]));
            assert!(is_ready(&mut first) && !is_ready(&mut other));
            assert!(
                matches!(cache.ask("a:80"), Some(Found::Known(name)) if name.failure.is_none())
            );
            assert!(
                matches!(cache.ask("c:80"), Some(Found::Known(name)) if name.failure == Some("why"))
            );
            // What was forgotten is asked for again.
            cache.set(known(&[]));
            second = waiting(cache.ask("a:80"));
            assert!(!is_ready(&mut second));
            assert_eq!(asked.lock().expect("not poisoned").len(), 3);
        });
    }

    #[test]
    fn so_many_wait_and_so_many_names_are_kept() {
        run(|| {
            let store = Store::new();
            store.shard(None).install();
            let (cache, _) = cache(&config(2, 1), &store);
            assert!(cache.may_ask());
            let first = waiting(cache.ask("a:80"));
            assert!(!cache.may_ask() && cache.ask("b:80").is_none());
            assert_eq!(
                store.value("dns_cache.names.dns_rq_pending_overflow"),
                Some(2)
            );
            drop(first);
            assert!(cache.may_ask());
            cache.set(known(&[("a:80", None), ("b:80", None)]));
            assert!(matches!(cache.ask("c:80"), Some(Found::Overflow)));
            assert_eq!(store.value("dns_cache.names.host_overflow"), Some(1));
            assert!(matches!(cache.ask("a:80"), Some(Found::Known(_))));
        });
    }
}
