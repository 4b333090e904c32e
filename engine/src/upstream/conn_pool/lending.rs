//! Idle connections that change workers, so that a host does not need as many
//! connections as there are workers.
//!
//! A worker that would have to open a connection looks whether another one has
//! idle ones to that host: the workers' statistics say so, and keeping them
//! costs nothing more. If so it asks the one with most of them, and the request
//! waits for the answer as it would for a new connection. The lender gives the
//! connection away that it used least recently, if that was some time ago
//! ([`IDLE_BEFORE_LENT`]); otherwise, or when it does not answer soon
//! ([`ANSWER_MAX`]), the worker opens one of its own.
//!
//! Nothing of this is on the way of a request whose worker has an idle
//! connection. A connection in use several times within that time stays where
//! it is: moving it costs two wake-ups, which is more than its place in the
//! host's table is worth.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::{ConnectionPermit, Speaks, open_for_waiters, put};
use crate::reactor::{self, RemoteWaker};
use crate::stats::{GaugeReader, Store};
use crate::stream_info::UpstreamConnectionInfo;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::{Host, SharedHost};
use crate::worker::shared::mailbox::Mailbox;

/// How long a connection has been idle before it is lent: a worker that uses a
/// host more often keeps what it needs.
pub const IDLE_BEFORE_LENT: Duration = Duration::from_millis(50);
/// How long a worker waits for a connection that it asked for. The answer
/// usually takes two wake-ups, some 50 us; a lender that is busy for longer is
/// no faster than the host.
const ANSWER_MAX: Duration = Duration::from_millis(3);

thread_local! {
    static HERE: RefCell<Option<Rc<Lending>>> = const { RefCell::new(None) };
}

/// The mailboxes of all workers.
pub struct Workers(Box<[Mailbox<Letter>]>);

impl Workers {
    /// For so many workers.
    #[must_use]
    pub fn new(count: u32) -> Arc<Self> {
        Arc::new(Self((0..count).map(|_| Mailbox::default()).collect()))
    }
}

/// What workers write to each other.
enum Letter {
    /// Worker `from` has no idle connection to this host.
    Ask {
        host: Arc<SharedHost>,
        from: u32,
        number: u64,
    },
    /// The answer.
    Answer {
        number: u64,
        connection: Option<Box<Travelling>>,
    },
}

/// A connection on its way to another worker.
pub(super) struct Travelling {
    pub(super) socket: OwnedFd,
    pub(super) info: UpstreamConnectionInfo,
    pub(super) priority: usize,
    pub(super) requests: u32,
    pub(super) opened: Instant,
    pub(super) permit: Option<ConnectionPermit>,
}

/// One worker's part in it.
pub struct Lending {
    index: u32,
    workers: Arc<Workers>,
    store: Store,
    /// Made when it is first needed: all workers run by then.
    gauges: OnceCell<GaugeReader>,
    /// The hosts that this worker has connections to.
    hosts: RefCell<HashMap<*const SharedHost, Weak<Host>>>,
    asked: RefCell<HashMap<u64, Asked>>,
    next: Cell<u64>,
}

/// Something that was asked for.
#[derive(Clone)]
struct Asked {
    of: u32,
    cluster: Rc<Cluster>,
    host: Rc<Host>,
    priority: usize,
    /// Another connection was opened instead. If it comes still, it is closed,
    /// or each such moment would leave one more than is needed.
    is_late: bool,
}

impl Lending {
    /// Takes part from now on, as worker `index` on the current thread.
    pub fn install(index: u32, workers: &Arc<Workers>, reader: RemoteWaker, store: &Store) {
        if let Some(mailbox) = workers.0.get(index as usize) {
            mailbox.open(reader);
        }
        let lending = Self {
            index,
            workers: Arc::clone(workers),
            store: store.clone(),
            gauges: OnceCell::new(),
            hosts: RefCell::default(),
            asked: RefCell::default(),
            next: Cell::new(0),
        };
        HERE.with(|here| *here.borrow_mut() = Some(Rc::new(lending)));
    }

    /// No longer takes part: the thread ends.
    pub fn uninstall() {
        let lending = HERE.with(|here| here.borrow_mut().take());
        drop(lending);
    }

    /// Reads what other workers have written.
    pub fn read_mail() {
        let Some(lending) = here() else { return };
        let mailbox = &lending.workers.0[lending.index as usize];
        while let Some(letter) = mailbox.pop() {
            match letter {
                Letter::Ask { host, from, number } => match lending.find_idle(&host) {
                    Some(connection) => {
                        let lending = Rc::clone(&lending);
                        drop(reactor::spawn(lend(lending, connection, from, number)));
                    }
                    None => lending.answer(from, number, None),
                },
                Letter::Answer { number, connection } => lending.take(number, connection),
            }
        }
    }

    /// The worker with the most idle connections to `host`, as far as
    /// statistics know, and without those that it was asked for already.
    fn richest(&self, host: &Rc<Host>) -> Option<u32> {
        let gauges = self.gauges.get_or_init(|| self.store.gauge_reader());
        let stats = &host.stats;
        let all = self.asked.borrow();
        let asked_of = |worker: u32| {
            let of_worker = |asked: &&Asked| {
                asked.of == worker && !asked.is_late && Rc::ptr_eq(&asked.host, host)
            };
            all.values().filter(of_worker).count() as i64
        };
        let others = gauges.workers().filter(|(worker, _)| *worker != self.index);
        others
            .map(|(worker, cells)| {
                let open = cells.read(stats.cx_active);
                let busy = cells.read(stats.rq_active) + cells.read(stats.rq_pending_active);
                (worker, open - busy)
            })
            .filter(|(_, idle)| *idle > 0)
            .map(|(worker, idle)| (worker, idle - asked_of(worker)))
            .filter(|(_, left)| *left > 0)
            .max_by_key(|(_, left)| *left)
            .map(|(worker, _)| worker)
    }

    fn ask(&self, cluster: &Rc<Cluster>, host: &Rc<Host>, priority: usize) -> bool {
        let Some(worker) = self.richest(host) else {
            return false;
        };
        let number = self.next.get();
        self.next.set(number + 1);
        let letter = Letter::Ask {
            host: Arc::clone(&host.shared),
            from: self.index,
            number,
        };
        let mailbox = self.workers.0.get(worker as usize);
        if mailbox.is_none_or(|mailbox| mailbox.push(letter).is_err()) {
            return false;
        }
        let asked = Asked {
            of: worker,
            cluster: Rc::clone(cluster),
            host: Rc::clone(host),
            priority,
            is_late: false,
        };
        self.asked.borrow_mut().insert(number, asked);
        let pool = host.shared_pool(Speaks::Http1);
        pool.asking.set(pool.asking.get() + 1);
        true
    }

    /// A connection to `host` that was not used for some time.
    fn find_idle(&self, host: &Arc<SharedHost>) -> Option<Rc<Connection>> {
        let own = self.hosts.borrow().get(&Arc::as_ptr(host))?.upgrade()?;
        if own.is_draining() {
            return None;
        }
        let mut idle = own.shared_pool(Speaks::Http1).ready.borrow_mut();
        // The first one was used least recently.
        let first = idle.first()?;
        let is_lent = first.idle_for() >= IDLE_BEFORE_LENT && first.is_reusable();
        is_lent.then(|| idle.remove(0))
    }

    fn answer(&self, to: u32, number: u64, connection: Option<Box<Travelling>>) {
        let letter = Letter::Answer { number, connection };
        // Who cannot be told goes on without. A connection that nobody takes
        // is closed with the letter.
        let _ = self.workers.0[to as usize].push(letter);
    }

    /// The answer to something that this worker asked for.
    fn take(&self, number: u64, connection: Option<Box<Travelling>>) {
        let Some(asked) = self.asked.borrow_mut().remove(&number) else {
            return;
        };
        if !asked.is_late {
            asked.host.shared_pool(Speaks::Http1).asked_one_less();
        }
        match connection {
            Some(connection) => {
                let (cluster, host) = (&asked.cluster, &asked.host);
                let connection = Connection::arrive(cluster, host, *connection);
                if asked.is_late {
                    connection.close_local();
                    return;
                }
                cluster.stats.upstream_cx_lent.inc();
                put(Rc::clone(&connection));
                drop(reactor::spawn(connection.watch()));
            }
            None if asked.is_late => {}
            None => asked.open_instead(),
        }
    }

    /// The answer takes too long.
    fn give_up(&self, number: u64) {
        let waited = {
            let mut all = self.asked.borrow_mut();
            let Some(asked) = all.get_mut(&number) else {
                return;
            };
            asked.is_late = true;
            asked.clone()
        };
        waited.host.shared_pool(Speaks::Http1).asked_one_less();
        waited.open_instead();
    }
}

impl Asked {
    /// No connection comes: one is opened.
    fn open_instead(&self) {
        let open = super::Open::NewOnly;
        open_for_waiters(
            &self.cluster,
            &self.host,
            self.priority,
            &Speaks::Http1.into(),
            open,
        );
    }
}

/// Asks another worker for an idle connection to `host`; false when none has
/// one. The answer serves a request that waits.
pub(super) fn ask(cluster: &Rc<Cluster>, host: &Rc<Host>, priority: usize) -> bool {
    let Some(lending) = here() else { return false };
    if !lending.ask(cluster, host, priority) {
        return false;
    }
    let number = lending.next.get() - 1;
    drop(reactor::spawn(async move {
        reactor::sleep(ANSWER_MAX).await;
        lending.give_up(number);
    }));
    true
}

/// Others may ask this worker for connections to `host`.
pub(super) fn note(host: &Rc<Host>) {
    let Some(lending) = here() else { return };
    let mut hosts = lending.hosts.borrow_mut();
    if hosts.len() == hosts.capacity() {
        hosts.retain(|_, host| host.strong_count() > 0);
    }
    hosts.insert(Arc::as_ptr(&host.shared), Rc::downgrade(host));
}

fn here() -> Option<Rc<Lending>> {
    HERE.with(|here| here.borrow().clone())
}

/// Gives a connection away.
async fn lend(lending: Rc<Lending>, connection: Rc<Connection>, to: u32, number: u64) {
    let travelling = connection.leave().await;
    lending.answer(to, number, travelling.map(Box::new));
}
