//! The pool against a host on the same reactor, so that a test decides what
//! happens in which turn. After each test everything that was opened must have
//! been counted as closed.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::*;
use crate::reactor::{Listener, Options, Reactor, Stream, TaskHandle};
use crate::stats::Store;
use crate::test_support::setup::Setup;
use crate::test_support::{PATIENCE, on_both_drivers};
use crate::upstream::load_balancer::LoadBalancerContext;

/// A pool and the host that it leads to.
struct Bench {
    store: Store,
    cluster: Rc<Cluster>,
    host: Rc<Host>,
    listener: Listener,
}

/// Runs `test` on both drivers, closes what is idle, and looks at the balance.
fn run(setup: &Setup, test: impl AsyncFn(&Bench) + Copy) {
    on_both_drivers(|driver| {
        let options = Options {
            driver,
            ..Options::default()
        };
        let mut reactor = Reactor::new(&options).expect("it could be made before");
        reactor.block_on(async {
            let bench = Bench::new(setup, listening_socket(1024));
            test(&bench).await;
            bench.check_balance().await;
        });
    });
}

fn listening_socket(backlog: i32) -> socket2::Socket {
    let socket = bound_socket();
    socket.listen(backlog).unwrap();
    socket
}

fn bound_socket() -> socket2::Socket {
    let socket = unbound_socket();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket
}

fn unbound_socket() -> socket2::Socket {
    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap()
}

impl Bench {
    fn new(setup: &Setup, socket: socket2::Socket) -> Self {
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self::to(setup, address, socket)
    }

    /// A pool that leads to `address`, whoever is there. What this thread
    /// counts from now on is this pool's.
    fn to(setup: &Setup, address: SocketAddr, socket: socket2::Socket) -> Self {
        let listener = Listener::from_socket(socket).unwrap();
        let store = Store::new();
        store.shard(None).install();
        let cluster = setup.cluster(address, &store);
        let rng = RefCell::new(fastrand::Rng::with_seed(0));
        let host = cluster
            .pick_host(&mut LoadBalancerContext::new(&rng))
            .unwrap();
        Self {
            store,
            cluster,
            host,
            listener,
        }
    }

    async fn acquire(&self) -> Result<Lease, PoolFailure> {
        acquire(&self.cluster, &self.host, 0, &Speaks::Http1.into()).await
    }

    async fn lease(&self) -> Lease {
        self.acquire().await.expect("a connection")
    }

    /// A lease, and the host's side of its connection.
    async fn lease_and_peer(&self) -> (Lease, Stream) {
        let lease = self.lease().await;
        let peer = self.listener.accept().await.unwrap();
        (lease, peer)
    }

    /// Starts a request that waits for a connection, and lets it join the
    /// queue.
    async fn wait_for_one(&self) -> Waiting {
        self.wait_for_one_of(Speaks::Http1.into()).await
    }

    /// The same for a connection of another pool.
    async fn wait_for_one_of(&self, of: PoolOf) -> Waiting {
        let outcome = Rc::new(RefCell::new(None));
        let (cluster, host) = (Rc::clone(&self.cluster), Rc::clone(&self.host));
        let place = Rc::clone(&outcome);
        let task = reactor::spawn(async move {
            let acquired = acquire(&cluster, &host, 0, &of).await;
            *place.borrow_mut() = Some(acquired);
        });
        reactor::yield_now().await;
        Waiting { outcome, task }
    }

    fn value(&self, name: &str) -> u64 {
        let name = format!("cluster.host.{name}");
        self.store
            .value(&name)
            .unwrap_or_else(|| panic!("no statistic {name}"))
    }

    fn breaker(&self, name: &str) -> u64 {
        self.value(&format!("circuit_breakers.default.{name}"))
    }

    fn idle(&self) -> usize {
        self.host.pool.ready.borrow().len()
    }

    fn waiting(&self) -> usize {
        self.host.pool.waiting.borrow().len()
    }

    async fn check_balance(&self) {
        close_idle(&self.host);
        settled("no connection is left", || {
            self.value("upstream_cx_active") == 0
        })
        .await;
        let pool = &self.host.pool;
        assert_eq!((pool.open.get(), pool.connecting.get()), (0, 0));
        assert_eq!((self.idle(), self.waiting()), (0, 0));
        assert_eq!(
            self.value("upstream_cx_total"),
            self.value("upstream_cx_destroy")
        );
        let by_side =
            self.value("upstream_cx_destroy_local") + self.value("upstream_cx_destroy_remote");
        assert_eq!(by_side, self.value("upstream_cx_destroy"));
        assert_eq!(self.value("upstream_rq_pending_active"), 0);
        for gauge in ["cx_open", "rq_pending_open", "rq_open"] {
            assert_eq!(self.breaker(gauge), 0, "{gauge}");
        }
        let of_host = &self.host.stats;
        assert_eq!(self.store.gauge_value(of_host.cx_active), 0);
        assert_eq!(
            self.store.counter_value(of_host.cx_total),
            self.value("upstream_cx_total")
        );
    }
}

/// A request in the queue, as a task.
struct Waiting {
    outcome: Rc<RefCell<Option<Result<Lease, PoolFailure>>>>,
    task: TaskHandle,
}

impl Waiting {
    fn is_done(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    async fn outcome(&self) -> Result<Lease, PoolFailure> {
        settled("a waiting request has its turn", || self.is_done()).await;
        self.outcome.borrow_mut().take().expect("it is done")
    }

    async fn lease(&self) -> Lease {
        self.outcome().await.expect("a connection")
    }
}

async fn settled(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        reactor::sleep(Duration::from_millis(1)).await;
    }
}

async fn a_few_turns() {
    for _ in 0..5 {
        reactor::sleep(Duration::from_millis(1)).await;
    }
}

/// At most `n` connections.
fn connections_max(cluster: &'static str) -> Setup {
    Setup {
        cluster,
        ..Setup::default()
    }
}

const ONE_CONNECTION: &str = "circuit_breakers: { thresholds: [ { max_connections: 1 } ] },";
const TWO_CONNECTIONS: &str = "circuit_breakers: { thresholds: [ { max_connections: 2 } ] },";

#[test]
fn the_connection_used_last_is_used_first() {
    run(&Setup::default(), async |bench| {
        let (first, second) = (bench.lease().await, bench.lease().await);
        let ids = (first.info.id, second.info.id);
        assert_ne!(ids.0, ids.1);
        first.give_back(true);
        second.give_back(true);
        assert_eq!(bench.idle(), 2);
        let (again, other) = (bench.lease().await, bench.lease().await);
        assert_eq!((again.info.id, other.info.id), (ids.1, ids.0));
        other.give_back(true);
        again.give_back(true);
        assert_eq!(bench.value("upstream_cx_total"), 2);
        assert_eq!(
            bench.value("upstream_rq_pending_total"),
            2,
            "the reused ones did not wait"
        );
    });
}

#[test]
fn returned_connections_serve_waiting_requests_in_order() {
    run(&connections_max(ONE_CONNECTION), async |bench| {
        let lease = bench.lease().await;
        let id = lease.info.id;
        let waiting = [
            bench.wait_for_one().await,
            bench.wait_for_one().await,
            bench.wait_for_one().await,
        ];
        assert_eq!(bench.value("upstream_rq_pending_active"), 3);
        assert_eq!(bench.breaker("cx_open"), 1);
        lease.give_back(true);
        for (place, this) in waiting.iter().enumerate() {
            let lease = this.lease().await;
            assert_eq!(lease.info.id, id);
            assert!(waiting[place + 1..].iter().all(|later| !later.is_done()));
            lease.give_back(true);
        }
        assert_eq!(bench.value("upstream_cx_total"), 1);
        assert!(bench.value("upstream_cx_overflow") >= 3);
    });
}

#[test]
fn new_connections_serve_waiting_requests_when_the_old_one_is_closed() {
    run(&connections_max(ONE_CONNECTION), async |bench| {
        let lease = bench.lease().await;
        let id = lease.info.id;
        let waiting = [bench.wait_for_one().await, bench.wait_for_one().await];
        drop(lease);
        let lease = waiting[0].lease().await;
        assert_ne!(lease.info.id, id);
        assert!(!waiting[1].is_done());
        assert_eq!(bench.value("upstream_cx_active"), 1, "the limit holds");
        lease.give_back(false);
        waiting[1].lease().await.give_back(true);
        assert_eq!(bench.value("upstream_cx_total"), 3);
    });
}

#[test]
fn a_closed_connection_makes_room_for_a_new_one_at_once() {
    run(&connections_max(TWO_CONNECTIONS), async |bench| {
        let (long, short) = (bench.lease().await, bench.lease().await);
        let waiting = bench.wait_for_one().await;
        assert!(!waiting.is_done());
        drop(short);
        // The other connection stays busy: only a new one can serve it.
        waiting.lease().await.give_back(true);
        long.give_back(true);
        assert_eq!(bench.value("upstream_cx_total"), 3);
    });
}

#[test]
fn a_host_that_refuses_turns_every_waiting_request_away() {
    run(&Setup::default(), async |_| {
        let reserved = bound_socket();
        let address = reserved.local_addr().unwrap().as_socket().unwrap();
        let nobody = Bench::to(&Setup::default(), address, listening_socket(1));
        for round in 1..=2 {
            let waiting = [nobody.wait_for_one().await, nobody.wait_for_one().await];
            for this in &waiting {
                match this.outcome().await {
                    Err(PoolFailure::Connect(error)) => {
                        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
                    }
                    other => panic!("{:?}", other.err()),
                }
            }
            settled("both attempts ended", || {
                nobody.host.pool.connecting.get() == 0
            })
            .await;
            assert_eq!(nobody.value("upstream_cx_connect_fail"), 2 * round);
            assert_eq!(nobody.value("upstream_cx_connect_timeout"), 0);
        }
        nobody.check_balance().await;
    });
}

#[test]
fn a_host_that_does_not_answer_turns_requests_away_in_time() {
    let setup = Setup {
        cluster: "connect_timeout: 0.05s,",
        ..Setup::default()
    };
    run(&setup, async |_| {
        // A full accept queue: the kernel drops further attempts.
        let socket = listening_socket(0);
        let address = socket.local_addr().unwrap();
        let fillers = [(); 4].map(|()| {
            let filler = unbound_socket();
            filler.set_nonblocking(true).unwrap();
            // In progress, for ever.
            let _ = filler.connect(&address);
            filler
        });
        let bench = Bench::to(&setup, address.as_socket().unwrap(), listening_socket(1));
        let begin = reactor::now();
        let waiting = [bench.wait_for_one().await, bench.wait_for_one().await];
        for this in &waiting {
            let outcome = this.outcome().await;
            assert!(
                matches!(outcome, Err(PoolFailure::ConnectTimeout)),
                "{:?}",
                outcome.err()
            );
        }
        assert!(reactor::now() - begin >= Duration::from_millis(50));
        settled("both attempts ended", || {
            bench.host.pool.connecting.get() == 0
        })
        .await;
        assert_eq!(bench.value("upstream_cx_connect_timeout"), 2);
        bench.check_balance().await;
        drop(fillers);
    });
}

#[test]
fn more_waiting_requests_than_allowed_are_refused() {
    let setup = connections_max(
        "circuit_breakers: { thresholds: [ { max_connections: 1, max_pending_requests: 2 } ] },",
    );
    run(&setup, async |bench| {
        let lease = bench.lease().await;
        assert_eq!(bench.breaker("rq_pending_open"), 0);
        let waiting = [bench.wait_for_one().await, bench.wait_for_one().await];
        assert_eq!(bench.breaker("rq_pending_open"), 1);
        for refused in 1..=2 {
            assert!(matches!(bench.acquire().await, Err(PoolFailure::Overflow)));
            assert_eq!(bench.value("upstream_rq_pending_overflow"), refused);
        }
        assert_eq!(bench.value("upstream_rq_pending_active"), 2);
        lease.give_back(true);
        waiting[0].lease().await.give_back(true);
        assert_eq!(bench.breaker("rq_pending_open"), 0);
        waiting[1].lease().await.give_back(true);
    });
}

#[test]
fn requests_that_stop_waiting_leave_the_queue() {
    run(&connections_max(ONE_CONNECTION), async |bench| {
        let lease = bench.lease().await;
        let first = bench.wait_for_one().await;
        let second = bench.wait_for_one().await;
        first.task.abort();
        a_few_turns().await;
        assert_eq!(bench.waiting(), 1, "the queue holds no one who is gone");
        assert_eq!(bench.value("upstream_rq_pending_active"), 1);
        lease.give_back(true);
        second.lease().await.give_back(true);
        assert_eq!(bench.value("upstream_cx_total"), 1);
    });
}

#[test]
fn a_connection_that_was_handed_over_and_not_taken_goes_back() {
    run(&connections_max(ONE_CONNECTION), async |bench| {
        let lease = bench.lease().await;
        let id = lease.info.id;
        let gone = bench.wait_for_one().await;
        let next = bench.wait_for_one().await;
        lease.give_back(true);
        gone.task.abort();
        let lease = next.lease().await;
        assert_eq!(lease.info.id, id);
        lease.give_back(true);

        let lease = bench.lease().await;
        let gone = bench.wait_for_one().await;
        lease.give_back(true);
        gone.task.abort();
        a_few_turns().await;
        assert_eq!(bench.idle(), 1);
        assert_eq!(bench.value("upstream_cx_total"), 1);
    });
}

#[test]
fn a_connection_for_one_client_that_was_handed_over_and_not_taken_is_closed() {
    run(&connections_max(ONE_CONNECTION), async |bench| {
        let of = || PoolOf::from(Speaks::Bytes).closing_excess();
        let lease = bench.wait_for_one_of(of()).await.lease().await;
        let peer = bench.listener.accept().await.unwrap();
        let id = lease.info.id;
        let gone = bench.wait_for_one_of(of()).await;
        lease.give_back_unused();
        gone.task.abort();
        settled("the host sees its end", || peer.is_closed()).await;
        assert!(bench.host.raw_pool.ready.borrow().is_empty());
        assert_eq!(bench.value("upstream_rq_cancelled"), 1);
        assert_eq!(bench.value("upstream_cx_destroy_local"), 1);
        assert_eq!(bench.value("upstream_cx_destroy_with_active_rq"), 0);
        let next = bench.wait_for_one_of(of()).await.lease().await;
        assert_ne!(next.info.id, id);
    });
}

#[test]
fn a_connection_whose_request_is_gone_before_it_is_open_stays_for_the_next() {
    run(&Setup::default(), async |bench| {
        let gone = bench.wait_for_one().await;
        gone.task.abort();
        settled("it is open", || bench.idle() == 1).await;
        bench.lease().await.give_back(true);
        assert_eq!(bench.value("upstream_cx_total"), 1);
        assert_eq!(bench.value("upstream_rq_pending_active"), 0);
    });
}

#[test]
fn idle_connections_that_the_host_closes_leave_the_pool() {
    run(&Setup::default(), async |bench| {
        let (lease, peer) = bench.lease_and_peer().await;
        lease.give_back(true);
        drop(peer);
        settled("it left the pool", || bench.idle() == 0).await;
        assert_eq!(bench.value("upstream_cx_destroy_remote"), 1);
        assert_eq!(bench.value("upstream_cx_active"), 0);
        // The same for a reset.
        let (lease, peer) = bench.lease_and_peer().await;
        lease.give_back(true);
        peer.abort();
        settled("it left the pool", || bench.idle() == 0).await;
        assert_eq!(bench.value("upstream_cx_destroy_remote"), 2);
        assert_eq!(bench.value("upstream_cx_destroy_with_active_rq"), 0);
    });
}

#[test]
fn a_connection_with_bytes_that_nobody_asked_for_is_not_used_again() {
    run(&Setup::default(), async |bench| {
        // While it is idle.
        let (lease, peer) = bench.lease_and_peer().await;
        let id = lease.info.id;
        lease.give_back(true);
        peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        settled("they arrived", || {
            let idle = bench.host.pool.ready.borrow();
            idle.first()
                .is_none_or(|connection| connection.stream.has_unread())
        })
        .await;
        let lease = bench.lease().await;
        assert_ne!(lease.info.id, id);
        assert_eq!(bench.value("upstream_cx_protocol_error"), 1);
        assert_eq!(bench.value("upstream_cx_destroy_local"), 1);
        drop(peer);

        // Behind a response.
        let peer = bench.listener.accept().await.unwrap();
        peer.write(b"more than was asked for");
        settled("they arrived", || lease.stream.has_unread()).await;
        lease.give_back(true);
        assert_eq!(bench.idle(), 0);

        // Before a request was sent on it.
        let (lease, peer) = bench.lease_and_peer().await;
        peer.write(b"too early");
        settled("they arrived", || lease.stream.has_unread()).await;
        lease.give_back_unused();
        assert_eq!(bench.idle(), 0);
        assert_eq!(bench.value("upstream_cx_active"), 0);
    });
}

#[test]
fn a_busy_connection_that_the_host_closes_is_not_returned() {
    run(&Setup::default(), async |bench| {
        for unused in [false, true] {
            let (lease, peer) = bench.lease_and_peer().await;
            drop(peer);
            settled("the end arrived", || lease.stream.is_closed()).await;
            a_few_turns().await;
            if unused {
                lease.give_back_unused();
            } else {
                lease.give_back(true);
            }
            assert_eq!(bench.idle(), 0);
        }
        assert_eq!(bench.value("upstream_cx_destroy_remote"), 2);
        assert_eq!(bench.value("upstream_cx_active"), 0);
    });
}

#[test]
fn idle_connections_are_closed_in_time() {
    let setup = Setup {
        cluster_http: "idle_timeout: 0.05s",
        ..Setup::default()
    };
    run(&setup, async |bench| {
        let (lease, peer) = bench.lease_and_peer().await;
        // A busy connection has all the time of the world.
        reactor::sleep(Duration::from_millis(80)).await;
        lease.give_back(true);
        let begin = reactor::now();
        assert!(peer.recv().await.unwrap().is_none(), "its end is a FIN");
        assert!(reactor::now() - begin >= Duration::from_millis(45));
        assert_eq!(bench.idle(), 0);
        assert_eq!(bench.value("upstream_cx_idle_timeout"), 1);
        assert_eq!(bench.value("upstream_cx_destroy_local"), 1);
    });
}

#[test]
fn connections_end_after_their_last_request() {
    let setup = Setup {
        cluster_http: "max_requests_per_connection: 2",
        ..Setup::default()
    };
    run(&setup, async |bench| {
        bench.lease().await.give_back(true);
        assert_eq!(bench.idle(), 1);
        let lease = bench.lease().await;
        let waiting = bench.wait_for_one().await;
        lease.give_back(true);
        assert_eq!(bench.value("upstream_cx_max_requests"), 1);
        waiting.lease().await.give_back(true);
        assert_eq!(bench.value("upstream_cx_total"), 2);
    });
}

#[test]
fn connections_end_when_they_are_too_old() {
    let setup = Setup {
        cluster_http: "max_connection_duration: 0.05s",
        ..Setup::default()
    };
    run(&setup, async |bench| {
        let lease = bench.lease().await;
        reactor::sleep(Duration::from_millis(60)).await;
        lease.give_back(true);
        assert_eq!(bench.idle(), 0);
        assert_eq!(bench.value("upstream_cx_max_duration_reached"), 1);
        bench.lease().await.give_back(true);
        settled("the idle one leaves by itself", || bench.idle() == 0).await;
        assert_eq!(bench.value("upstream_cx_max_duration_reached"), 2);
        assert_eq!(bench.value("upstream_cx_destroy_local"), 2);
    });
}

#[test]
fn a_lease_that_is_dropped_closes_its_connection() {
    run(&Setup::default(), async |bench| {
        let (lease, peer) = bench.lease_and_peer().await;
        peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        lease.stream.recv().await.unwrap();
        drop(lease);
        assert_eq!(bench.idle(), 0);
        assert!(peer.recv().await.unwrap().is_none());
        for (name, count) in [
            ("upstream_cx_destroy_with_active_rq", 1),
            ("upstream_cx_destroy_local_with_active_rq", 1),
            ("upstream_cx_destroy_remote_with_active_rq", 0),
        ] {
            assert_eq!(bench.value(name), count, "{name}");
        }
        let (lease, peer) = bench.lease_and_peer().await;
        drop(peer);
        settled("the end arrived", || lease.stream.is_closed()).await;
        drop(lease);
        assert_eq!(bench.value("upstream_cx_destroy_remote_with_active_rq"), 1);
    });
}

#[test]
fn a_pool_without_any_connection_opens_one_above_the_limit() {
    run(&connections_max(ONE_CONNECTION), async |bench| {
        let other = bench.cluster.breakers[0].connections.acquire();
        assert!(other.is_some(), "another worker has the only permit");
        bench.lease().await.give_back(true);
        assert_eq!(bench.value("upstream_cx_overflow"), 1);
        drop(other);
    });
}
