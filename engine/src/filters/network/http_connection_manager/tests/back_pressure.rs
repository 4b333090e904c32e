//! Nothing is read from one side that the other does not take: what a request
//! may hold is bounded, and so is how long.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::reactor::Options;

/// More than all buffers on the way: the kernel's may grow to some megabytes
/// a socket, the proxy's are below one.
const ENDLESS: usize = 256 * 1024 * 1024;
const BUFFERS_MAX: usize = 64 * 1024 * 1024;

fn limits(manager: &'static str) -> Setup {
    Setup {
        manager,
        routes: LOCAL_ROUTES,
        ..Setup::default()
    }
}

/// An origin with a body without end, and how much of it was taken.
fn endless() -> (Origin, Arc<AtomicUsize>) {
    let sent = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&sent);
    let origin = Origin::start(move |mut connection| {
        connection.head();
        connection.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {ENDLESS}\r\n\r\n"
        ));
        let part = [b'x'; 16 * 1024];
        while connection.socket.write_all(&part).is_ok() {
            count.fetch_add(part.len(), Ordering::SeqCst);
        }
    });
    (origin, sent)
}

/// Waits until a count stands still for a while and returns it.
fn standstill(count: impl Fn() -> usize) -> usize {
    let mut before = count();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = count();
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[test]
fn a_client_that_does_not_read_stops_its_host() {
    on_both_drivers(|driver| {
        let (origin, sent) = endless();
        let setup = limits("stream_idle_timeout: 1s,");
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        let mut client = proxy.connect();
        client.get("/");
        let taken = standstill(|| sent.load(Ordering::SeqCst));
        assert!(
            taken < BUFFERS_MAX,
            "{taken} bytes are on the way to nobody"
        );
        // Another client is not disturbed.
        assert_eq!(proxy.connect().ask("/direct").text(), "direct");
        // Without progress the stream ends.
        wait_until("it is given up", || {
            proxy.http("downstream_rq_idle_timeout") == 1
        });
        assert!(client.read_response(false).is_err());
        drop(client);
        proxy.check_balance();
    });
}

/// The fault filter with a delay.
macro_rules! delay {
    ($time:literal) => {
        concat!(
            "{ name: envoy.filters.http.fault, typed_config: { ",
            "\"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, ",
            "delay: { fixed_delay: ",
            $time,
            ", percentage: { numerator: 100 } } } },"
        )
    };
}

#[test]
fn a_filter_that_holds_a_request_back_holds_its_client_back() {
    // What stops reading does not see its client leave.
    let setup = Setup {
        filters: delay!("60s"),
        ..limits("stream_idle_timeout: 0.5s,")
    };
    run(&setup, Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {ENDLESS}\r\n\r\n"
        ));
        let socket = client.socket.try_clone().expect("a socket");
        let taken = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&taken);
        let sending = std::thread::spawn(move || {
            let mut socket = socket;
            while socket.write_all(&[b'x'; 16 * 1024]).is_ok() {
                count.fetch_add(16 * 1024, Ordering::SeqCst);
            }
        });
        let taken = standstill(|| taken.load(Ordering::SeqCst));
        assert!(taken < BUFFERS_MAX, "{taken} bytes wait for a filter");
        sending.join().expect("it ends with the connection");
        assert_eq!(proxy.http("downstream_rq_idle_timeout"), 1);
    });
}

#[test]
fn a_body_that_a_filter_has_held_back_arrives_whole() {
    let setup = Setup {
        filters: delay!("0.1s"),
        listener: "per_connection_buffer_limit_bytes: 1024,",
        ..Setup::default()
    };
    run(&setup, Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        let body = "0123456789".repeat(20_000);
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(client.response().text(), format!("/{body}"));
    });
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    const BODY: usize = 4 * 1024 * 1024;
    let big = || {
        Origin::answering(|_| with_length(&(0..BODY).map(|n| (n % 251) as u8).collect::<Vec<_>>()))
    };
    let setup = Setup {
        listener: "per_connection_buffer_limit_bytes: 1024,",
        cluster: "per_connection_buffer_limit_bytes: 1024,",
        ..Setup::default()
    };
    run(&setup, big, |proxy, _| {
        let mut client = proxy.connect();
        client.get("/");
        std::thread::sleep(Duration::from_millis(50));
        let response = client.response();
        assert_eq!(response.body.len(), BODY);
        let right = response
            .body
            .iter()
            .enumerate()
            .all(|(n, &byte)| byte == (n % 251) as u8);
        assert!(right, "bytes are mixed up");
    });
}

#[test]
fn a_client_that_sends_requests_and_never_reads_is_given_up() {
    let setup = limits("stream_flush_timeout: 0.2s,");
    run(&setup, Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        let requests = "GET /r/0123456789 HTTP/1.1\r\nhost: test\r\n\r\n".repeat(1000);
        let begin = Instant::now();
        let mut sent = 0;
        // Until the proxy does not read any more, and then closes.
        while client.socket.write_all(requests.as_bytes()).is_ok() {
            sent += requests.len();
            assert!(sent < BUFFERS_MAX, "{sent} bytes of requests were taken");
        }
        assert!(begin.elapsed() < 5 * PATIENCE, "{:?}", begin.elapsed());
        assert_eq!(proxy.http("downstream_rq_idle_timeout"), 1);
    });
}

#[test]
fn a_host_that_does_not_read_stops_its_client() {
    on_both_drivers(|driver| {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let origin = Origin::start(move |connection| {
            // Reads nothing until the test is over.
            let _ = held.lock().map(|held| held.recv());
            drop(connection);
        });
        let setup = limits("stream_idle_timeout: 0s,");
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        let mut client = proxy.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {ENDLESS}\r\n\r\n"
        ));
        client
            .socket
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let part = [b'x'; 16 * 1024];
        let mut sent = 0;
        while client.socket.write_all(&part).is_ok() {
            sent += part.len();
            assert!(sent < BUFFERS_MAX, "{sent} bytes are on the way to nobody");
        }
        assert_eq!(proxy.connect().ask("/direct").text(), "direct");
        assert_eq!(proxy.http("downstream_rq_active"), 1);
        // A FIN would wait behind everything that was sent; a reset does not.
        socket2::SockRef::from(&client.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);
        wait_until("the host's connection is closed", || {
            proxy.cluster("upstream_cx_active") == 0
        });
        assert_eq!(proxy.cluster("upstream_cx_destroy_local_with_active_rq"), 1);
        drop(release);
        proxy.check_balance();
    });
}

/// Clients that do not read must not keep the receive buffers to themselves.
#[test]
fn stuck_clients_leave_receive_buffers_to_others() {
    on_both_drivers(|driver| {
        let (big, _) = endless();
        let options = Options {
            driver,
            buffer_count: 16,
            ..Options::default()
        };
        let mut proxy = Proxy::start_with(&options, &limits(""), big.address);
        let stuck: Vec<_> = (0..24)
            .map(|_| {
                let mut client = proxy.connect();
                client.get("/");
                client
            })
            .collect();
        wait_until("they have begun", || {
            proxy.http("downstream_rq_completed") == stuck.len() as u64
        });
        std::thread::sleep(Duration::from_millis(200));
        let mut client = proxy.connect();
        for _ in 0..20 {
            let begin = Instant::now();
            assert_eq!(client.ask("/direct").text(), "direct");
            assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        }
        drop((stuck, client));
        proxy.check_balance();
    });
}
