//! Shadows on a real worker: whatever happens to a copy, the client's request
//! is answered as if there was none.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::http::body_copy::WAITING_BYTES_MAX;
use crate::test_support::origin::{Origin, OriginConnection, with_length};
use crate::test_support::proxy::Proxy;
use crate::test_support::setup::Setup;
use crate::test_support::{PATIENCE, on_both_drivers, wait_until};

/// A proxy in front of an origin that answers with the length of the body, and
/// which mirrors everything to `mirror`. `policy` and `route` end with commas.
fn setup(mirror: SocketAddr, policy: &str, route: &str) -> Setup {
    let port = mirror.port();
    Setup {
        routes: format!(
            r#"{{ match: {{ prefix: "/" }}, route: {{ cluster: host, {route} request_mirror_policies: [ {{ {policy} cluster: mirror }} ] }} }},"#
        )
        .leak(),
        more_clusters: format!(
            "- {{ name: mirror, type: STATIC, load_assignment: {{ cluster_name: mirror, \
             endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: \
             {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ] }} }}"
        )
        .leak(),
        ..Setup::default()
    }
}

fn measuring() -> Origin {
    Origin::answering(|request| with_length(request.body.len().to_string().as_bytes()))
}

fn post(body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /p HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Posts `bytes` three times with `fault` as the mirror, and expects the same
/// answers as without one; then waits until no shadow is left.
fn is_not_disturbed(bytes: usize, route: &str, fault: fn(OriginConnection), check: fn(&Proxy)) {
    on_both_drivers(|driver| {
        let (origin, mirror) = (measuring(), Origin::start(fault));
        let setup = setup(mirror.address, "", route);
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        let body = vec![b'x'; bytes];
        for _ in 0..3 {
            let mut client = proxy.connect();
            let begin = Instant::now();
            client.send(post(&body));
            assert_eq!(client.response().text(), bytes.to_string());
            assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
        }
        assert_eq!(proxy.value("http.async-client.rq_total"), 3);
        wait_until("no shadow is left", || {
            proxy.value("cluster.mirror.upstream_rq_active") == 0
                && proxy.value("cluster.mirror.upstream_rq_pending_active") == 0
        });
        check(&proxy);
        proxy.check_balance();
    });
}

/// Much more than the kernel and the proxy hold for a peer that does not read.
const LARGE: usize = 10 * 1024 * 1024;

#[test]
fn a_shadow_that_hardly_reads_is_given_up_and_counted() {
    is_not_disturbed(
        LARGE,
        "",
        |mut connection| {
            // Ends when the proxy has closed the connection.
            while connection.socket.read_exact(&mut [0; 100]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        },
        |proxy| assert_eq!(proxy.cluster("retry_or_shadow_abandoned"), 3),
    );
}

#[test]
fn a_shadow_that_never_answers_ends_with_the_timeout_of_the_route() {
    is_not_disturbed(
        10,
        "timeout: 1s,",
        OriginConnection::wait_for_end,
        |proxy| {
            assert_eq!(proxy.value("cluster.mirror.upstream_rq_timeout"), 3);
            assert_eq!(proxy.value("cluster.mirror.internal.upstream_rq_504"), 3);
            assert_eq!(proxy.cluster("upstream_rq_timeout"), 0);
        },
    );
}

#[test]
fn a_shadow_that_is_reset_in_its_body_is_counted() {
    is_not_disturbed(
        WAITING_BYTES_MAX / 2,
        "",
        // Closing with unread bytes in the kernel makes it send a reset.
        |mut connection| drop(connection.head()),
        |proxy| assert_eq!(proxy.value("cluster.mirror.internal.upstream_rq_503"), 3),
    );
}

#[test]
fn a_shadow_that_is_refused_is_counted() {
    on_both_drivers(|driver| {
        let origin = measuring();
        // Bound, so that nobody else gets the port, but not listening.
        let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        reserved.bind(&any.into()).expect("a free port");
        let address = reserved.local_addr().expect("an address");
        let address = address.as_socket().expect("an IP address");
        let mut proxy = Proxy::start(driver, &setup(address, "", ""), origin.address);
        let mut client = proxy.connect();
        for _ in 0..3 {
            client.send(post(&vec![b'x'; LARGE]));
            assert_eq!(client.response().text(), LARGE.to_string());
        }
        wait_until("the shadows have failed", || {
            proxy.store.value("cluster.mirror.internal.upstream_rq_503") == Some(3)
        });
        drop(client);
        proxy.check_balance();
    });
}

#[test]
fn a_copy_is_the_same_byte_for_byte() {
    on_both_drivers(|driver| {
        let origin = measuring();
        let (seen, copies) = mpsc::channel();
        let mirror = Origin::answering(move |request| {
            seen.send(request.body.clone()).expect("the test listens");
            with_length(b"nobody reads this")
        });
        let mut proxy = Proxy::start(driver, &setup(mirror.address, "", ""), origin.address);
        let mut client = proxy.connect();
        let body: Vec<u8> = (0..WAITING_BYTES_MAX).map(|n| (n % 251) as u8).collect();
        for _ in 0..3 {
            client.send(post(&body));
            assert_eq!(client.response().text(), body.len().to_string());
            let copy = copies.recv_timeout(PATIENCE).expect("a copy arrives");
            assert!(copy == body, "the copy differs");
        }
        drop(client);
        assert_eq!(proxy.cluster("retry_or_shadow_abandoned"), 0);
        proxy.check_balance();
    });
}

/// Of 2000 requests 30 % are mirrored: 600, with a standard deviation of 20.5.
/// Six of them on either side are left once in a billion runs.
#[test]
fn a_fraction_of_the_requests_is_mirrored() {
    on_both_drivers(|driver| {
        let (origin, mirror) = (measuring(), Origin::echo());
        let policy = "runtime_fraction: { default_value: { numerator: 30 } },";
        let setup = setup(mirror.address, policy, "");
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        let mut client = proxy.connect();
        for _ in 0..2000 {
            client.ask("/");
        }
        let mirrored = proxy.value("http.async-client.rq_total");
        assert!((477..=723).contains(&mirrored), "{mirrored} of 2000");
        drop(client);
        proxy.check_balance();
    });
}
