//! Connections to hosts that speak HTTP/2: how many requests share one, and what
//! becomes of these when the host announces its end.

use crate::client::Client;
use crate::{await_true, on_all_programs, on_every_driver, proxy, stat};
use h2::server::{Builder, SendResponse};
use hyper::body::Bytes;
use hyper::http::Response;
use ringway_tests::bootstrap::cluster;
use ringway_tests::http2::origin::{Act, End, Script, block, data, head, read_frame};
use ringway_tests::http2::{END_HEADERS, END_STREAM, PREFACE, frame, kind};
use ringway_tests::origin;
use ringway_tests::process::Process;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const CLIENTS: usize = 100;

/// What a host has to do at the moment.
#[derive(Default)]
struct State {
    connections: usize,
    /// Requests that wait for the gate.
    waiting: Vec<SendResponse<Bytes>>,
    /// Most requests that waited at once on one connection.
    most: usize,
    is_open: bool,
}

/// A host that answers when it is told to.
pub struct Host {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Host {
    /// It takes so many streams on a connection.
    pub fn start(streams_max: u32) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let (tell, told) = std::sync::mpsc::channel();
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
                let listener = listener.expect("a free port");
                let address = listener.local_addr().expect("it is bound");
                tell.send(address).expect("the test waits");
                while let Ok((stream, _)) = listener.accept().await {
                    shared.lock().unwrap().connections += 1;
                    tokio::spawn(serve(stream, streams_max, Arc::clone(&shared)));
                }
            });
        });
        Self {
            address: told.recv().expect("it listens"),
            state,
        }
    }

    /// Connections that it has accepted.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Requests that it holds.
    pub fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting.len()
    }

    /// Answers those that wait, and from now on everybody.
    fn open(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_open = true;
        state.waiting.drain(..).for_each(answer);
    }
}

async fn serve(stream: tokio::net::TcpStream, streams_max: u32, state: Arc<Mutex<State>>) {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(streams_max);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let mut here = 0;
    while let Some(Ok((_, respond))) = connection.accept().await {
        let mut state = state.lock().unwrap();
        if state.is_open {
            answer(respond);
            continue;
        }
        here += 1;
        state.most = state.most.max(here);
        state.waiting.push(respond);
    }
}

fn answer(mut respond: SendResponse<Bytes>) {
    let response = Response::builder().header("content-length", 2).body(());
    let response = response.expect("a response");
    // Whoever asked may be gone.
    if let Ok(mut body) = respond.send_response(response, false) {
        let _ = body.send_data(Bytes::from_static(b"ok"), true);
    }
}

fn hosts(address: SocketAddr, http2: &str, more: &str) -> String {
    let options = format!(
        "typed_extension_protocol_options:\n  \
           envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    \
             explicit_http_config: {{ http2_protocol_options: {{ {http2} }} }}\n{more}"
    );
    cluster("origin", address.port(), &options)
}

/// Has all clients ask at once, and lets the host answer when so many requests
/// are there.
fn ask(process: &Process, host: &Host, until: usize) {
    let address = process.listener("main");
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            scope.spawn(move || {
                let answer = Client::connect(address).get(&format!("/{n}"));
                let answer = answer.expect("an answer");
                assert_eq!((answer.status, &*answer.body), (200, "ok"));
            });
        }
        await_true("the requests are at the host", || host.waiting() >= until);
        host.open();
    });
}

#[test]
fn requests_share_a_connection() {
    on_all_programs("requests_share_a_connection", |program| {
        let host = Host::start(1000);
        let process = proxy(program, &hosts(host.address, "", ""), 1);
        ask(&process, &host, CLIENTS);
        assert_eq!(host.state.lock().unwrap().connections, 1);
        assert_eq!(stat(&process, "upstream_cx_http2_total"), 1);
        assert_eq!(stat(&process, "upstream_rq_total"), CLIENTS as u64);
    });
}

/// More than the host takes are sent before it could say so. What it refuses then
/// is sent again; the clients of Envoy get 503.
#[test]
fn no_connection_has_more_than_its_host_takes() {
    on_every_driver(|program| {
        let host = Host::start(10);
        let process = proxy(program, &hosts(host.address, "", ""), 1);
        ask(&process, &host, 10);
        let state = host.state.lock().unwrap();
        assert!(state.most <= 10, "{} at once", state.most);
    });
}

#[test]
fn no_connection_has_more_than_the_cluster_says() {
    on_all_programs("no_connection_has_more_than_the_cluster_says", |program| {
        let host = Host::start(1000);
        let http2 = "max_concurrent_streams: 4";
        let process = proxy(program, &hosts(host.address, http2, ""), 1);
        ask(&process, &host, CLIENTS);
        let state = host.state.lock().unwrap();
        assert_eq!((state.most, state.connections), (4, CLIENTS / 4));
    });
}

#[test]
fn requests_wait_where_there_may_be_one_connection() {
    on_every_driver(|program| {
        let host = Host::start(10);
        let limit = "circuit_breakers: { thresholds: [ { max_connections: 1 } ] }\n";
        let process = proxy(program, &hosts(host.address, "", limit), 1);
        ask(&process, &host, 10);
        let state = host.state.lock().unwrap();
        assert_eq!((state.most, state.connections), (10, 1));
    });
}

/// One request of so many is answered with the end of the connection, and with
/// nothing else.
const LOST_IN: usize = 40;

#[test]
fn an_announced_end_costs_no_client_an_answer() {
    on_every_driver(|program| {
        let host = origin::Origin::start();
        let turns = (0..4 * 60).map(|n| match n % LOST_IN {
            7 => vec![Act::GoAway(false, 0)],
            _ => vec![
                head(&[(":status", "200"), ("content-length", "2")], End::More),
                data("ok", End::Last),
            ],
        });
        host.play(vec![origin::Act::Http2(Script {
            settings: Vec::new(),
            acts: vec![Act::Turns(turns.collect())],
        })]);
        let process = proxy(program, &hosts(host.address(), "", ""), 2);
        let address = process.listener("main");
        std::thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    for n in 0..50 {
                        let answer = client.get(&format!("/{number}/{n}"));
                        let answer = answer.expect("an answer");
                        assert_eq!((answer.status, &*answer.body), (200, "ok"));
                    }
                });
            }
        });
        assert!(stat(&process, "upstream_rq_resent") >= 5);
        assert!(stat(&process, "upstream_cx_close_notify") >= 5);
        await_true("no request is left", || {
            stat(&process, "upstream_rq_active") == 0
        });
    });
}

/// Clients that do not go on with their requests, beside one that does: what the
/// host has room for is not theirs.
#[test]
fn silent_uploads_leave_the_hosts_window_to_others() {
    on_all_programs(
        "silent_uploads_leave_the_hosts_window_to_others",
        |program| {
            let host = origin::Origin::start();
            host.play(vec![origin::Act::Http2(Script {
                settings: Vec::new(),
                acts: vec![
                    head(&[(":status", "200"), ("content-length", "2")], End::More),
                    data("ok", End::Last),
                ],
            })]);
            let process = proxy(program, &hosts(host.address(), "", ""), 1);
            let connect = || TcpStream::connect(process.listener("main")).expect("a connection");
            let mut silent: Vec<_> = (0..3).map(|_| connect()).collect();
            for client in &mut silent {
                let begun =
                    b"POST /silent HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                          4\r\nbody\r\n";
                client.write_all(begun).expect("it is read");
            }
            await_true("the silent ones have begun", || {
                stat(&process, "upstream_rq_active") == 3
            });
            for _ in 0..3 {
                let mut client = Client::connect(process.listener("main"));
                client.send_body("POST", "/loud", &vec![b'x'; 60_000]);
                let answer = client.answer().expect("an answer");
                assert_eq!((answer.status, &*answer.body), (200, "ok"));
            }
            assert_eq!(stat(&process, "upstream_cx_total"), 1);
            for client in &mut silent {
                client.write_all(b"0\r\n\r\n").expect("it is read");
                let mut answer = [0; 12];
                client.read_exact(&mut answer).expect("an answer");
                assert_eq!(&answer, b"HTTP/1.1 200");
            }
        },
    );
}

/// Pings that a host answers before it answers the request.
const PINGS: usize = 3;

/// A host that speaks on one connection, and answers its request only when pings have
/// come. Gives their number when the connection is over.
fn pinged_host(answers_pings: bool) -> (SocketAddr, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy's connection");
        stream
            .read_exact(&mut vec![0; PREFACE.len()])
            .expect("a preface");
        let mut send = {
            let mut stream = stream.try_clone().expect("another handle");
            // The proxy may be gone.
            move |bytes: Vec<u8>| drop(stream.write_all(&bytes))
        };
        send(frame(kind::SETTINGS, 0, 0, &[]));
        let mut pings = 0;
        while let Some(received) = read_frame(&mut stream) {
            if received.kind != kind::PING || received.flags & END_STREAM != 0 {
                continue;
            }
            pings += 1;
            if answers_pings {
                send(frame(kind::PING, END_STREAM, 0, &received.payload));
            }
            if answers_pings && pings == PINGS {
                let head = block(&[(":status", "200")]);
                send(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &head));
            }
        }
        pings
    });
    (address, host)
}

/// A host that answers pings may take its time, another one loses its connection.
#[test]
fn pings_find_out_which_host_is_gone() {
    on_all_programs("pings_find_out_which_host_is_gone", |program| {
        let ask = |answers_pings, timeout| {
            let (address, host) = pinged_host(answers_pings);
            let pings = format!("connection_keepalive: {{ interval: 0.1s, timeout: {timeout}s }}");
            let process = proxy(program, &hosts(address, &pings, ""), 1);
            let answer = Client::connect(process.listener("main")).get("/");
            let timeouts = stat(&process, "http2.keepalive_timeout");
            drop(process);
            let pings = host.join().expect("a host ended");
            (answer.expect("an answer").status, timeouts, pings >= PINGS)
        };
        assert_eq!(ask(true, 20), (200, 0, true));
        assert_eq!(ask(false, 1), (503, 1, false));
    });
}
