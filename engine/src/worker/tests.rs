//! Workers as the control plane sees them: updates in, epochs out, and what
//! becomes of connections when listeners stop and workers end.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::*;
use crate::access_loggers::{LogWriter, Options};
use crate::control::cluster_manager::ClusterManager;
use crate::control::drain::drain;
use crate::control::publish::Publisher;
use crate::reactor::DriverChoice;
use crate::test_support::client::{Broken, Client};
use crate::test_support::origin::{Origin, OriginConnection, with_length};
use crate::test_support::proxy::{Proxy, plan};
use crate::test_support::setup::Setup;
use crate::test_support::{PATIENCE, on_both_drivers, wait_until};

const STOP: Change = Change::StopListeners {
    inbound_only: false,
};

/// An origin that answers `/wait` and the second half of `/half` when it is
/// told to, and the rest at once.
fn patient() -> (Origin, Sender<()>) {
    let (release, released) = channel::<()>();
    let released: Mutex<Receiver<()>> = Mutex::new(released);
    let origin = Origin::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let answer = with_length(request.path().as_bytes());
            let before = match request.path() {
                "/wait" => 0,
                "/half" => answer.len() - 2,
                _ => answer.len(),
            };
            connection.send(&answer[..before]);
            if before < answer.len() {
                // The end of the test releases too.
                let _ = released.lock().map(|released| released.recv());
            }
            connection.send(&answer[before..]);
        }
    });
    (origin, release)
}

#[test]
fn a_full_queue_gives_the_update_back_and_loses_none() {
    on_both_drivers(|driver| {
        let origin = Origin::echo();
        let mut proxy = Proxy::start(driver, &Setup::default(), origin.address);
        let begin = Instant::now();
        // Faster than any worker can wake up.
        let refused = loop {
            assert!(begin.elapsed() < PATIENCE, "the queue takes everything");
            if let Err(back) = proxy.try_publish(vec![Change::FlushLogs]) {
                break back;
            }
        };
        assert_eq!(refused.changes.len(), 1);
        let last = refused.epoch - 1;
        wait_until("what was taken is applied", || {
            proxy.worker().applied() == last
        });
        // There is room again, and the worker lives.
        proxy.apply(vec![Change::HealthFailed(false)]);
        assert_eq!(proxy.worker().applied(), last + 1);
        assert_eq!(proxy.connect().ask("/a").text(), "/a");
    });
}

#[test]
fn a_publisher_waits_for_room_and_for_every_worker() {
    on_both_drivers(|driver| {
        let store = Store::new();
        let logs = LogWriter::spawn(&Options::default(), &store).unwrap();
        let plan = plan(&options(driver), 2, &store, &logs);
        tokio().block_on(async {
            let mut publisher = Publisher::start(&[None, None], &plan).unwrap();
            let mut last = 0;
            for expected in 1..=10 * UPDATES_MAX as u64 {
                last = publisher.publish(|_| vec![Change::FlushLogs]).await;
                assert_eq!(last, expected);
            }
            publisher.applied(last).await;
            assert!(
                publisher
                    .workers()
                    .iter()
                    .all(|worker| worker.applied() == last)
            );
            publisher.stop().await;
        });
        assert!(logs.shutdown());
    });
}

fn options(driver: DriverChoice) -> reactor::Options {
    reactor::Options {
        driver,
        ..reactor::Options::default()
    }
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn draining_finishes_requests_and_closes_idle_connections() {
    on_both_drivers(|driver| {
        let (origin, release) = patient();
        let mut proxy = Proxy::start(driver, &Setup::default(), origin.address);
        let mut idle = proxy.connect();
        assert_eq!(idle.ask("/a").text(), "/a");
        let mut waiting = proxy.connect();
        waiting.get("/wait");
        wait_until("it is at the host", || {
            proxy.cluster("upstream_rq_active") == 1
        });

        proxy.apply(vec![STOP, Change::Drain]);
        assert!(idle.is_at_end());
        wait_until("one is left", || proxy.worker().connections() == 1);
        release.send(()).unwrap();
        let response = waiting.response();
        assert_eq!(
            (response.text(), response.header("connection")),
            ("/wait", Some("close"))
        );
        assert!(waiting.is_at_end());
        wait_until("none is left", || proxy.worker().connections() == 0);
        proxy.check_balance();
        assert!(
            std::net::TcpStream::connect(proxy.address).is_err(),
            "nobody listens"
        );
    });
}

#[test]
fn draining_closes_connections_that_had_begun_their_response_before_it() {
    on_both_drivers(|driver| {
        let (origin, release) = patient();
        let mut proxy = Proxy::start(driver, &Setup::default(), origin.address);
        let mut half = proxy.connect();
        half.get("/half");
        wait_until("it has begun", || {
            proxy.http("downstream_rq_completed") == 1
        });
        proxy.apply(vec![STOP, Change::Drain]);
        release.send(()).unwrap();
        let response = half.response();
        // Nobody could tell the client any more that the connection would end.
        assert_eq!(
            (response.text(), response.header("connection")),
            ("/half", None)
        );
        let begin = Instant::now();
        assert!(half.is_at_end());
        assert!(begin.elapsed() < PATIENCE);
        proxy.check_balance();
    });
}

#[test]
fn stopping_loses_no_connection_that_was_accepted() {
    const CLIENTS: usize = 300;
    for changes in [|| vec![STOP], || vec![STOP, Change::Drain]] {
        on_both_drivers(|driver| {
            let origin = Origin::echo();
            let mut proxy = Proxy::start(driver, &Setup::default(), origin.address);
            let mut early: Vec<Client> = (0..CLIENTS / 2)
                .map(|_| {
                    let mut client = proxy.connect();
                    client.get("/early");
                    client
                })
                .collect();
            let mut late: Vec<Client> = (0..CLIENTS / 2).map(|_| proxy.connect()).collect();
            proxy.apply(changes());
            for client in &mut late {
                client.get("/late");
            }
            for client in &mut early {
                assert_eq!(client.response().text(), "/early");
            }
            for client in &mut late {
                assert_eq!(client.response().text(), "/late");
            }
            drop((early, late));
            wait_until("all are gone", || proxy.http("downstream_cx_active") == 0);
            assert_eq!(proxy.http("downstream_cx_total"), CLIENTS as u64);
            proxy.check_balance();
        });
    }
}

#[test]
fn connections_that_ask_for_nothing_do_not_hold_a_drain_up() {
    on_both_drivers(|driver| {
        let origin = Origin::echo();
        let mut proxy = Proxy::start(driver, &Setup::default(), origin.address);
        let mut silent: Vec<Client> = (0..10).map(|_| proxy.connect()).collect();
        let begin = Instant::now();
        proxy.apply(vec![STOP, Change::Drain]);
        for client in &mut silent {
            assert!(client.is_at_end());
        }
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        proxy.check_balance();
    });
}

#[test]
fn a_drain_gives_up_at_its_limit() {
    on_both_drivers(|driver| {
        let (origin, release) = patient();
        let store = Store::new();
        let logs = LogWriter::spawn(&Options::default(), &store).unwrap();
        let plan = plan(&options(driver), 1, &store, &logs);
        let compiled = Setup::default().compile(origin.address);
        let clusters = ClusterManager::new(
            &compiled.snapshot,
            Arc::default(),
            &Default::default(),
            &store,
        );
        let cluster = clusters.shared().next().unwrap();
        let mut bound = crate::server::listen::bind(compiled.listeners, 1, &store).unwrap();
        let ringway_config::core::Address::Socket(address) = bound.listeners[0].addresses[0] else {
            panic!("the listener has an IP address");
        };
        tokio().block_on(async {
            let mut publisher = Publisher::start(&[None], &plan).unwrap();
            let epoch = publisher
                .publish(|_| {
                    let sockets = std::mem::take(&mut bound.sockets[0][0]);
                    let listener = Change::Listener(Arc::clone(&bound.listeners[0]), sockets);
                    vec![Change::Cluster(Arc::clone(cluster)), listener]
                })
                .await;
            publisher.applied(epoch).await;
            let mut stuck = Client::connect(address);
            stuck.get("/wait");
            wait_until("it is at the host", || {
                store.value("cluster.host.upstream_rq_active") == Some(1)
            });
            let begin = Instant::now();
            let limit = Duration::from_millis(200);
            assert_eq!(drain(&mut publisher, limit).await, 1);
            assert!(begin.elapsed() >= limit && begin.elapsed() < PATIENCE);
            release.send(()).unwrap();
            assert_eq!(stuck.response().text(), "/wait");
            assert!(stuck.is_at_end());
            assert_eq!(drain(&mut publisher, PATIENCE).await, 0);
            publisher.stop().await;
        });
        assert!(logs.shutdown());
    });
}

/// Requests that wait for a host, uploads that a host does not take, responses
/// that a client does not take: none of them keeps a worker alive.
#[test]
fn a_worker_stops_with_everything_in_flight() {
    on_both_drivers(|driver| {
        let (release, held) = channel::<()>();
        let held = Mutex::new(held);
        let origin = Origin::start(move |mut connection: OriginConnection| {
            let head = connection.head().unwrap_or_default();
            if head.starts_with("GET /big") {
                connection.send("HTTP/1.1 200 OK\r\ncontent-length: 268435456\r\n\r\n");
                while connection.socket.write_all(&[b'x'; 16 * 1024]).is_ok() {}
            } else {
                let _ = held.lock().map(|held| held.recv());
            }
        });
        let proxy = Proxy::start(driver, &Setup::default(), origin.address);
        let mut clients: Vec<Client> = (0..20)
            .map(|n| {
                let mut client = proxy.connect();
                match n % 4 {
                    0 => client.get("/wait"),
                    1 => client.get("/big"),
                    2 => {
                        client.send(
                            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 268435456\r\n\r\n",
                        );
                        let some = Duration::from_millis(20);
                        client.socket.set_write_timeout(Some(some)).unwrap();
                        while client.socket.write_all(&[b'x'; 16 * 1024]).is_ok() {}
                    }
                    _ => client.send("GET / HT"),
                }
                client
            })
            .collect();
        wait_until("they are at the host", || {
            proxy.cluster("upstream_rq_active") == 15
        });
        let begin = Instant::now();
        drop(proxy);
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        for (n, client) in clients.iter_mut().enumerate() {
            let end = client.read_response(false);
            let expected = [
                Err(Broken::BeforeHead),
                Err(Broken::Truncated),
                Err(Broken::Reset),
            ];
            assert!(expected.contains(&end), "client {n}: {end:?}");
        }
        drop(release);
    });
}
