//! Bytes between a client and a host, and how a connection ends.

use std::time::Duration;

use crate::acts::endings;
use crate::scene::{
    Act, Case, Listener, Suite, Who, case, client_sends, host_sends, listener, proxied,
};

const LISTENERS: &[Listener] = &[
    listener("one", proxied!("cluster: one")),
    listener("idle", proxied!("cluster: one, idle_timeout: 2s")),
    listener("moving", proxied!("cluster: one, idle_timeout: 5s")),
    listener(
        "short",
        proxied!("cluster: one, max_downstream_connection_duration: 2s"),
    ),
    listener(
        "jitter",
        proxied!(
            "cluster: one, max_downstream_connection_duration: 2s, \
             max_downstream_connection_duration_jitter_percentage: { value: 10 }"
        ),
    ),
    listener(
        "weighted",
        proxied!(
            "weighted_clusters: { clusters: [ { name: one, weight: 4294967295 }, \
             { name: two, weight: 1 } ] }"
        ),
    ),
    Listener {
        more: "per_connection_buffer_limit_bytes: 4096",
        ..listener("little", proxied!("cluster: one"))
    },
];

const CLUSTERS: &str = "
- name: one
  connect_timeout: 5s
  load_assignment:
    cluster_name: one
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
- name: two
  load_assignment:
    cluster_name: two
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST1} } } }
";

/// A client and a host that have talked.
fn talked(acts: &[Act]) -> Vec<Act> {
    let talk = [
        Act::Accept(0),
        client_sends("question"),
        Act::Read(Who::Host, 8),
        host_sends("answer"),
        Act::Read(Who::Client, 6),
    ];
    [&talk, acts].concat()
}

/// Shorter than what `moving` may be idle, and three times longer.
const PAUSE: Act = Act::Wait(Duration::from_millis(1800));

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    // How often a side is not read depends on who is faster, and on how much waits at
    // most: Envoy's 1 MiB, ours 256 KiB.
    let large: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let endings = endings(b"more").map(|(name, acts)| case(name, "one", &talked(&acts)));
    let others = vec![
        case(
            "the host has ended and does not listen any more",
            "one",
            &talked(&[
                Act::Close(Host),
                Act::ReadToEnd(Client),
                client_sends("more"),
                // What has gone to the host has come back as a reset.
                Act::AwaitMore("cluster.one.upstream_cx_tx_bytes_total", 12),
                client_sends("and more"),
                Act::Await("cluster.one.upstream_cx_active", 0),
            ]),
        ),
        case(
            "the client has ended and does not listen any more",
            "one",
            &talked(&[
                Act::Finish(Client),
                Act::ReadToEnd(Host),
                Act::Close(Client),
                host_sends("more"),
                Act::AwaitMore("tcp.one.downstream_cx_tx_bytes_total", 10),
                host_sends("and more"),
                Act::Await("cluster.one.upstream_cx_active", 0),
            ]),
        )
        // Envoy counts what the client's kernel has taken; ours also what it has not.
        .without(&["tcp.one.downstream_cx_tx_bytes_total"]),
        case(
            "the host speaks first",
            "one",
            &[
                Act::Accept(0),
                host_sends("welcome"),
                Act::Read(Client, 7),
                Act::Close(Client),
                Act::ReadToEnd(Host),
                Act::Close(Host),
            ],
        ),
        case(
            "nobody says anything",
            "one",
            &[
                Act::Accept(0),
                Act::Close(Client),
                Act::ReadToEnd(Host),
                Act::Close(Host),
            ],
        ),
        case(
            "much in one direction",
            "one",
            &[
                Act::Accept(0),
                host_sends("go"),
                Act::Read(Client, 2),
                Act::Exchange(large.clone(), Vec::new()),
                Act::Finish(Client),
                Act::ReadToEnd(Host),
                Act::Close(Host),
            ],
        )
        .without(&["flow_control"]),
        case(
            "much in both directions",
            "one",
            &[
                Act::Accept(0),
                Act::Exchange(large.clone(), large.clone()),
                Act::Finish(Host),
                Act::ReadToEnd(Client),
                Act::Close(Client),
                Act::ReadToEnd(Host),
            ],
        )
        .without(&["flow_control"]),
        case(
            "much through little room",
            "little",
            &[
                Act::Accept(0),
                Act::Exchange(large.clone(), large),
                Act::Finish(Client),
                Act::ReadToEnd(Host),
                Act::Close(Host),
            ],
        )
        .without(&["flow_control"]),
        case(
            "nothing moves",
            "idle",
            &talked(&[Act::ReadToEnd(Client), Act::ReadToEnd(Host)]),
        ),
        case(
            "nothing moves after one has ended",
            "idle",
            &talked(&[
                Act::Finish(Client),
                Act::ReadToEnd(Host),
                Act::ReadToEnd(Client),
            ]),
        ),
        case(
            "something moves all the time",
            "moving",
            &talked(&[
                PAUSE,
                client_sends("1"),
                PAUSE,
                host_sends("2"),
                PAUSE,
                Act::Read(Client, 1),
                Act::Close(Client),
                Act::ReadToEnd(Host),
                Act::Close(Host),
            ]),
        ),
        case(
            "a connection that takes too long",
            "short",
            &talked(&[Act::ReadToEnd(Client), Act::ReadToEnd(Host)]),
        ),
        case(
            "a connection that takes somewhat longer",
            "jitter",
            &talked(&[Act::ReadToEnd(Client), Act::ReadToEnd(Host)]),
        ),
        case(
            "a cluster with nearly all of the weight",
            "weighted",
            &talked(&[Act::Finish(Host), Act::Close(Client), Act::ReadToEnd(Host)]),
        ),
    ];
    endings.into_iter().chain(others).collect()
}

#[test]
fn connections_are_carried_as_by_envoy() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("connections_are_carried_as_by_envoy");
}
