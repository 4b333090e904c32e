//! Many requests at once on one connection.

use super::*;

fn local() -> Setup {
    Setup {
        routes: LOCAL_ROUTES,
        ..Setup::default()
    }
}

#[test]
fn ten_thousand_requests_are_answered_in_order_and_starve_nobody() {
    const REQUESTS: usize = 10_000;
    run(&local(), Origin::echo, |proxy, _| {
        let mut many = proxy.connect();
        let mut other = proxy.connect();
        let mut sender = many.socket.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            use std::io::Write as _;
            let requests: String = (0..REQUESTS)
                .map(|n| format!("GET /r/{n} HTTP/1.1\r\nhost: test\r\n\r\n"))
                .collect();
            sender.write_all(requests.as_bytes()).unwrap();
        });
        wait_until("the flood has begun", || {
            proxy.http("downstream_rq_total") > 0
        });
        assert_eq!(other.ask("/direct").text(), "direct");
        let before = proxy.http("downstream_rq_total");
        assert!(
            before < REQUESTS as u64,
            "the other one waited for {before} requests"
        );
        for n in 0..REQUESTS {
            let response = many.response();
            assert_eq!(response.status, 301);
            assert_eq!(
                response.header("location"),
                Some(&*format!("http://test/x/{n}"))
            );
        }
        sending.join().unwrap();
        assert_eq!(proxy.http("downstream_rq_3xx"), REQUESTS as u64);
    });
}

#[test]
fn proxied_and_local_answers_come_in_order() {
    run(&local(), Origin::echo, |proxy, origin| {
        let mut client = proxy.connect();
        let mut requests = String::new();
        for n in 0..100 {
            requests.push_str(&format!("GET /{n} HTTP/1.1\r\nhost: test\r\n\r\n"));
            requests.push_str("GET /direct HTTP/1.1\r\nhost: test\r\n\r\n");
            requests.push_str(&format!(
                "POST /{n} HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody"
            ));
        }
        client.send(requests);
        for n in 0..100 {
            assert_eq!(client.response().text(), format!("/{n}"));
            assert_eq!(client.response().text(), "direct");
            assert_eq!(client.response().text(), format!("/{n}body"));
        }
        drop(client);
        assert_eq!(
            origin.accepted(),
            1,
            "one request after the other, on one connection"
        );
    });
}

#[test]
fn requests_arrive_byte_by_byte() {
    run(&local(), Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        let requests = "POST /a HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
                        2\r\nab\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: test\r\n\r\n";
        for byte in requests.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.response().text(), "/aab");
        assert_eq!(client.response().text(), "/b");
    });
}

#[test]
fn max_requests_per_connection_ends_it_between_two_requests() {
    let setup = Setup {
        manager: "common_http_protocol_options: { max_requests_per_connection: 2 },",
        ..local()
    };
    run(&setup, Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        client.get("/1");
        client.get("/2");
        client.get("/3");
        assert_eq!(client.response().header("connection"), None);
        assert_eq!(client.response().header("connection"), Some("close"));
        assert!(client.is_at_end());
        assert_eq!(proxy.http("downstream_cx_max_requests_reached"), 1);
        assert_eq!(proxy.cluster("upstream_rq_total"), 2);
    });
}
