//! Which host a connection goes to, and what its host is told of it.

use crate::scene::{Act, Case, Listener, Suite, Who, case, client_sends, listener, proxied};

const LISTENERS: &[Listener] = &[
    listener(
        "subset",
        proxied!(
            "cluster: pair, metadata_match: { filter_metadata: { envoy.lb: { stage: new } } }"
        ),
    ),
    listener(
        "subset_of_weighted",
        proxied!(
            "weighted_clusters: { clusters: [ { name: pair, weight: 1, metadata_match: \
             { filter_metadata: { envoy.lb: { stage: old } } } } ] }, \
             metadata_match: { filter_metadata: { envoy.lb: { stage: new } } }"
        ),
    ),
    listener(
        "no_subset",
        proxied!("cluster: pair, metadata_match: { filter_metadata: { envoy.lb: { stage: no } } }"),
    ),
    listener(
        "hash",
        proxied!("cluster: ring, hash_policy: [ { source_ip: {} } ]"),
    ),
    listener("told", proxied!("cluster: told")),
    listener("told_in_binary", proxied!("cluster: told_in_binary")),
    listener("joined", proxied!("cluster: joined")),
];

const CLUSTERS: &str = r#"
- name: pair
  lb_subset_config: { subset_selectors: [ { keys: [ stage ] } ] }
  load_assignment: &pair
    cluster_name: pair
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
        metadata: { filter_metadata: { envoy.lb: { stage: old, hash_key: first } } }
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST1} } } }
        metadata: { filter_metadata: { envoy.lb: { stage: new, hash_key: second } } }
- name: ring
  lb_policy: RING_HASH
  load_assignment: *pair
- name: told
  transport_socket:
    name: proxy_protocol
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
      config: { version: V1 }
      transport_socket: &raw
        name: raw
        typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer }
  load_assignment: &one
    cluster_name: one
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
- name: told_in_binary
  transport_socket:
    name: proxy_protocol
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
      config: { version: V2 }
      transport_socket: *raw
  load_assignment: *one
- name: joined
  lb_policy: CLUSTER_PROVIDED
  cluster_type:
    name: aggregate
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig
      clusters: [ empty, plain ]
- name: empty
  load_assignment: { cluster_name: empty }
- name: plain
  load_assignment: *one
"#;

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let end = [
        Act::Finish(Host),
        Act::ReadToEnd(Client),
        Act::Close(Client),
        Act::ReadToEnd(Host),
    ];
    let on = |name: &'static str, listener: &'static str, host: usize, told: usize| {
        let begin = [
            Act::Accept(host),
            client_sends("hello"),
            Act::Read(Host, told + 5),
        ];
        case(name, listener, &[&begin[..], &end].concat())
    };
    // What a hash leads to, both know alike.
    let ring = case(
        "a host by the client's address",
        "hash",
        &[
            client_sends("hello"),
            Act::AcceptAny,
            Act::Read(Host, 5),
            Act::Finish(Host),
            Act::ReadToEnd(Client),
            Act::Close(Client),
            Act::ReadToEnd(Host),
        ],
    );
    let in_binary = [
        Act::Accept(0),
        client_sends("hello"),
        Act::Read(Host, 16 + 8),
        // Two ports.
        Act::Skip(Host, 4),
        Act::Read(Host, 5),
    ];
    vec![
        on("a host with metadata", "subset", 1, 0),
        on(
            "a host with the metadata of a weighted cluster",
            "subset_of_weighted",
            0,
            0,
        ),
        case(
            "no host with the metadata",
            "no_subset",
            &[Act::ReadToEnd(Client)],
        ),
        ring,
        on("a host is told of the client", "told", 0, 44),
        case(
            "and in binary",
            "told_in_binary",
            &[&in_binary[..], &end].concat(),
        ),
        on("a host of an aggregate's cluster", "joined", 0, 0),
    ]
}

#[test]
fn connections_go_where_envoys_go() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("connections_go_where_envoys_go");
}
