//! Where a message ends: bytes of a body are never taken for a message, and
//! messages without a body do not wait for one.

use super::*;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n";

fn local() -> Setup {
    Setup {
        routes: LOCAL_ROUTES,
        ..Setup::default()
    }
}

#[test]
fn a_request_inside_a_body_is_a_body() {
    run(&local(), Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        let length = SMUGGLED.len();
        client.send(format!(
            "POST /a HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}"
        ));
        assert_eq!(client.response().text(), format!("/a{SMUGGLED}"));
        client.send(format!(
            "POST /b HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
             {length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
        ));
        assert_eq!(client.response().text(), format!("/b{SMUGGLED}"));
        assert_eq!(proxy.cluster("upstream_rq_total"), 2);
    });
}

#[test]
fn a_local_reply_before_the_end_of_the_body_ends_the_connection() {
    run(&local(), Origin::echo, |proxy, _| {
        let length = SMUGGLED.len();
        for framing in [
            format!("content-length: {length}\r\n\r\n"),
            "transfer-encoding: chunked\r\n\r\n".into(),
        ] {
            let mut client = proxy.connect();
            client.send(format!("POST /direct HTTP/1.1\r\nhost: test\r\n{framing}"));
            let response = client.response();
            assert_eq!(response.text(), "direct");
            assert_eq!(response.header("connection"), Some("close"));
            client.send(SMUGGLED);
            client.close_write();
            assert!(client.is_at_end(), "the body got an answer");
        }
        assert_eq!(proxy.http("downstream_rq_total"), 2);
        assert_eq!(proxy.cluster("upstream_rq_total"), 0);
    });
}

#[test]
fn a_body_that_came_with_its_head_is_not_answered_either() {
    run(&local(), Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        let length = SMUGGLED.len();
        client.send(format!(
            "POST /direct HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n\
             {SMUGGLED}{SMUGGLED}"
        ));
        assert_eq!(client.response().text(), "direct");
        client.close_write();
        assert!(client.is_at_end());
        assert_eq!(proxy.http("downstream_rq_total"), 1);
    });
}

#[test]
fn a_host_that_answers_before_the_end_of_the_body_ends_both_connections() {
    let early = || {
        Origin::start(|mut connection| {
            connection.head();
            connection.send(with_length(b"early"));
            connection.wait_for_end();
        })
    };
    run(&local(), early, |proxy, origin| {
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n");
        let response = client.response();
        assert_eq!(response.text(), "early");
        assert_eq!(response.header("connection"), Some("close"));
        client.send(SMUGGLED);
        client.close_write();
        assert!(client.is_at_end());
        assert_eq!(proxy.http("downstream_rq_response_before_rq_complete"), 1);
        assert_eq!(proxy.connect().ask("/").text(), "early");
        assert_eq!(
            origin.accepted(),
            2,
            "half a request makes a connection useless"
        );
    });
}

/// A client that is still sending would lose the answer to a reset.
#[test]
fn an_early_answer_reaches_a_client_that_has_sent_much() {
    const BODY: usize = 8 * 1024 * 1024;
    let early = || {
        Origin::start(|mut connection| {
            connection.head();
            let mut received = 0;
            let mut buffer = vec![0; 64 * 1024];
            while received < BODY / 2 {
                received += std::io::Read::read(&mut connection.socket, &mut buffer).unwrap();
            }
            connection.send(b"HTTP/1.1 413 Too Much\r\ncontent-length: 3\r\n\r\nno!");
            connection.wait_for_end();
        })
    };
    run(&local(), early, |proxy, _| {
        let mut client = proxy.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {BODY}\r\n\r\n"
        ));
        let part = vec![b'x'; 64 * 1024];
        for _ in 0..BODY / part.len() / 2 + 2 {
            client.send(&part);
        }
        wait_until("it was answered", || {
            proxy.http("downstream_rq_completed") == 1
        });
        for _ in 0..4 {
            client.send(&part);
            std::thread::sleep(Duration::from_millis(20));
        }
        let response = client.response();
        assert_eq!((response.status, response.text()), (413, "no!"));
    });
}

#[test]
fn responses_without_a_body_leave_the_connection_in_step() {
    let bodiless = || {
        Origin::answering(
            |request| match (request.head.as_bytes()[0], request.path()) {
                (b'H', _) => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec(),
                (_, "/204") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
                (_, "/304") => b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n".to_vec(),
                (_, "/1xx") => [
                    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
                    &with_length(b"after hints")[..],
                ]
                .concat(),
                (_, path) => with_length(path.as_bytes()),
            },
        )
    };
    run(&local(), bodiless, |proxy, origin| {
        let mut client = proxy.connect();
        for _ in 0..3 {
            client.send("HEAD /head HTTP/1.1\r\nhost: test\r\n\r\n");
            let response = client.read_response(true).unwrap();
            assert_eq!(response.header("content-length"), Some("5"));
            client.send("HEAD /direct HTTP/1.1\r\nhost: test\r\n\r\n");
            let response = client.read_response(true).unwrap();
            assert_eq!(response.header("content-length"), Some("6"));
            assert_eq!(client.ask("/204").status, 204);
            let response = client.ask("/304");
            assert_eq!(
                (response.status, response.header("content-length")),
                (304, Some("7"))
            );
            assert_eq!(client.ask("/1xx").text(), "after hints");
            assert_eq!(client.ask("/plain").text(), "/plain");
        }
        drop(client);
        assert_eq!(origin.accepted(), 1);
    });
}

#[test]
fn a_client_that_waits_for_100_gets_it_once() {
    run(&local(), Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        client.send(
            "POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
        );
        assert_eq!(client.response().status, 100);
        client.send("body");
        assert_eq!(client.response().text(), "/body");
        assert_eq!(client.ask("/next").text(), "/next");
    });
}

#[test]
fn bytes_behind_a_response_are_nobodys_response() {
    let poisoned = || {
        Origin::answering(|request| {
            let mut answer = with_length(request.path().as_bytes());
            if request.path() == "/poison" {
                answer.extend(with_length(b"poison"));
            }
            answer
        })
    };
    run(&local(), poisoned, |proxy, origin| {
        let mut client = proxy.connect();
        for _ in 0..20 {
            assert_eq!(client.ask("/poison").text(), "/poison");
            assert_eq!(client.ask("/good").text(), "/good");
        }
        assert_eq!(origin.accepted(), 21);
    });
}

#[test]
fn a_response_that_ends_with_its_connection_is_delimited_for_the_client() {
    let until_close = || {
        Origin::start(|mut connection| {
            connection.head();
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nall of it");
        })
    };
    run(&local(), until_close, |proxy, _| {
        let mut client = proxy.connect();
        for _ in 0..3 {
            let response = client.ask("/");
            assert_eq!(response.header("transfer-encoding"), Some("chunked"));
            assert_eq!(response.text(), "all of it");
        }
    });
}
