//! When it is decided who may connect (`envoy.filters.network.rbac`): when a client's
//! first bytes are there, or each time that some are.

use crate::acts::exchange;
use crate::scene::{
    Act, Case, Listener, Suite, Who, case, client_sends, host_sends, listener, proxied,
};

/// Rules that deny whoever has left an object, and the filter that leaves it when the
/// client has sent something.
macro_rules! changing {
    ($fields:literal, $end:expr) => {
        concat!(
            "\n- { name: rbac, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC, ",
            $fields,
            ": { action: DENY, policies: { p: { permissions: [ { any: true } ], principals: [ \
             { filter_state: { key: test.object, string_match: { exact: left } } } ] } } } } }\n\
             - { name: leaves, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config, \
             on_downstream_data: [ { object_key: test.object, \
             factory_key: envoy.string, format_string: { text_format_source: { inline_string: left } } } ] } }\n",
            $end
        )
    };
}

macro_rules! echo {
    () => {
        "- { name: echo, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo } }\n"
    };
}

const LISTENERS: &[Listener] = &[
    listener(
        "stuck",
        changing!(
            "stat_prefix: rbac_stuck, rules: {}, shadow_rules",
            proxied!("cluster: stuck")
        ),
    ),
    listener(
        "once",
        changing!("stat_prefix: rbac_once, rules", proxied!("cluster: host0")),
    ),
    listener(
        "always",
        changing!(
            "stat_prefix: rbac_always, enforcement_type: CONTINUOUS, rules",
            proxied!("cluster: host0")
        ),
    ),
    listener(
        "slowly",
        changing!(
            "stat_prefix: rbac_slowly, delay_deny: 0.2s, enforcement_type: CONTINUOUS, rules",
            proxied!("cluster: host0")
        ),
    ),
    listener(
        "tried",
        changing!(
            "stat_prefix: rbac_tried, enforcement_type: CONTINUOUS, shadow_rules",
            proxied!("cluster: host0")
        ),
    ),
    listener(
        "echo",
        changing!(
            "stat_prefix: rbac_echo, enforcement_type: CONTINUOUS, rules",
            echo!()
        ),
    ),
];

const CLUSTERS: &str = "
- name: host0
  load_assignment: { cluster_name: host0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } } } ] } ] }
- name: stuck
  connect_timeout: 0.5s
  load_assignment: { cluster_name: stuck, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {STUCK} } } } } ] } ] }
";

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let more = |listener, rest: &[Act]| {
        let acts = [
            exchange(0, "hello"),
            vec![client_sends("more")],
            rest.to_vec(),
        ];
        case("more", listener, &acts.concat())
    };
    let carried = [
        Act::Read(Host, 4),
        host_sends("again"),
        Act::Read(Client, 5),
        Act::Finish(Client),
        Act::ReadToEnd(Host),
        Act::Finish(Host),
        Act::ReadToEnd(Client),
    ];
    let denied = [Act::ReadToEnd(Client), Act::ReadToEnd(Host)];
    let large: Vec<u8> = (0..4_000_000u32).map(|at| (at % 251) as u8).collect();
    let much = [
        vec![Act::Accept(0), host_sends("go"), Act::Read(Client, 2)],
        vec![
            Act::Exchange(large.clone(), large),
            Act::Close(Client),
            Act::ReadToEnd(Host),
        ],
    ]
    .concat();
    vec![
        // Nothing is read of a client that has no host.
        case(
            "no host yet",
            "stuck",
            &[client_sends("hello"), Act::ReadToEnd(Client)],
        ),
        Case {
            name: "once",
            ..more("once", &carried)
        },
        Case {
            name: "always",
            ..more("always", &denied)
        },
        Case {
            name: "always, slowly",
            ..more("slowly", &denied)
        },
        Case {
            name: "always, only tried",
            ..more("tried", &carried)
        },
        case(
            "an end",
            "always",
            &[
                exchange(0, "hello"),
                vec![
                    Act::Finish(Client),
                    Act::ReadToEnd(Client),
                    Act::ReadToEnd(Host),
                ],
            ]
            .concat(),
        ),
        case(
            "a reset",
            "always",
            &[Act::Accept(0), Act::Reset(Client), Act::ReadToEnd(Host)],
        ),
        case(
            "only the host speaks",
            "always",
            &[
                Act::Accept(0),
                host_sends("hello"),
                Act::Read(Client, 5),
                Act::Finish(Host),
                Act::ReadToEnd(Client),
                Act::Close(Client),
            ],
        ),
        // How often something comes is a matter of who is faster.
        case("much", "tried", &much).without(&["rbac_tried", "flow_control", "upstream_flush"]),
        case(
            "an echo",
            "echo",
            &[
                client_sends("a"),
                Act::Read(Client, 1),
                client_sends("b"),
                Act::ReadToEnd(Client),
            ],
        )
        .log_lines(0),
        case(
            "the end of an echo",
            "echo",
            &[
                client_sends("a"),
                Act::Read(Client, 1),
                Act::Finish(Client),
                Act::ReadToEnd(Client),
            ],
        )
        .log_lines(0),
    ]
}

#[test]
fn data_is_looked_at_when_envoy_does() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("data_is_looked_at_when_envoy_does");
}
