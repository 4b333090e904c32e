//! Clusters of every kind that a connection may go to: those that find their hosts by
//! a name, those that go where a connection wanted to, and those that connect ahead.

use crate::acts::whole;
use crate::scene::{
    Act, Case, Listener, Suite, Who, before_proxy, case, client_sends, host_sends, listener,
    proxied,
};

const LISTENERS: &[Listener] = &[
    listener("by_name", proxied!("cluster: by_name")),
    listener(
        "wanted",
        before_proxy!(
            "set_filter_state.v3.Config",
            "on_new_connection: [ { object_key: envoy.network.transport_socket.original_dst_address, \
             format_string: { text_format_source: { inline_string: \"127.0.0.1:{HOST1}\" } } }, \
             { object_key: envoy.tcp_proxy.cluster, \
             format_string: { text_format_source: { inline_string: wanted } } } ]"
        ),
    ),
    // Nothing says where its connections wanted to go.
    listener("nowhere", proxied!("cluster: wanted")),
    listener("ahead", proxied!("cluster: ahead")),
];

const CLUSTERS: &str = r#"
- name: by_name
  type: STRICT_DNS
  dns_lookup_family: V4_ONLY
  load_assignment: { cluster_name: by_name, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: localhost, port_value: {HOST0} } } } } ] } ] }
- name: wanted
  type: ORIGINAL_DST
  lb_policy: CLUSTER_PROVIDED
- name: host0
  load_assignment: { cluster_name: host0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } } } ] } ] }
- name: ahead
  preconnect_policy: { per_upstream_preconnect_ratio: 2 }
  load_assignment: { cluster_name: ahead, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST2} } } } } ] } ] }
"#;

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let talk = |text: &str| {
        vec![
            client_sends(text),
            Act::Read(Host, text.len()),
            host_sends("answer"),
            Act::Read(Client, 6),
        ]
    };
    let over = vec![Act::Close(Client), Act::ReadToEnd(Host), Act::Close(Host)];
    vec![
        case("a host with a name", "by_name", &whole(0, "hello")),
        case("where it wanted to go", "wanted", &whole(1, "hello")),
        case("again", "wanted", &whole(1, "hello")),
        case("nowhere to go", "nowhere", &[Act::ReadToEnd(Client)]),
        // The second client's connection is there before the client is.
        case(
            "a host that is connected ahead",
            "ahead",
            &[
                vec![Act::Accept(2)],
                talk("one"),
                over.clone(),
                vec![Act::Accept(2), Act::Connect],
                talk("two"),
                over,
                vec![Act::Accept(2)],
            ]
            .concat(),
        )
        .log_lines(2),
    ]
}

#[test]
fn connections_reach_hosts_of_every_kind_as_in_envoy() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("connections_reach_hosts_of_every_kind_as_in_envoy");
}
