//! The order in which hosts of different weights take turns: Envoy's, which
//! comes round.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::fleet::Fleet;
use ringway_tests::process::{Process, Program};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n  \
            - { match: { prefix: \"/\" }, route: { cluster: weighted } }\n",
}];

/// Requests before anybody looks: Envoy's sums of thirds are not exact, so that
/// it passes over one turn at the beginning.
const SKIPPED: usize = 20;

/// The hosts of a cycle in an order that does not depend on where it begins;
/// the turns must come round.
fn turns(program: &Program, weights: &[u32]) -> Vec<u8> {
    let fleet = Fleet::start(weights.len());
    let hosts: Vec<_> = fleet
        .ports()
        .iter()
        .zip(weights)
        .map(|(port, weight)| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
                 port_value: {port} }} }} }}, load_balancing_weight: {weight} }}"
            )
        })
        .collect();
    let clusters = format!(
        "- name: weighted\n  type: STATIC\n  load_assignment: {{ cluster_name: weighted, \
         endpoints: [ {{ lb_endpoints: [ {} ] }} ] }}\n",
        hosts.join(", ")
    );
    let text = bootstrap(LISTENERS, &clusters);
    let process = Process::start_with(program, &text, &["--concurrency", "1"]);
    let unit = weights.iter().min().copied().unwrap_or(1);
    // The lightest one has one turn.
    let length = (weights.iter().sum::<u32>() / unit) as usize;
    let requests = SKIPPED + 3 * length;
    let request: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let all = request.repeat(requests);
    let expected = Expectation {
        answers: requests,
        ..Expectation::default()
    };
    let answered = converse(process.listener("main"), &[Step::Send(all)], &expected);
    let host = |answer: &ringway_tests::message::Message| answer.body[0] - b'0';
    let picked: Vec<u8> = answered.finals().map(host).collect();
    assert_eq!(picked.len(), requests);
    let (first, rest) = picked[SKIPPED..].split_at(length);
    for cycle in rest.chunks(length) {
        assert_eq!(cycle, first, "{}: {weights:?}", program.name());
    }
    let rotations = (0..length).map(|by| [&first[by..], &first[..by]].concat());
    rotations.min().expect("a cycle")
}

#[test]
fn hosts_take_turns_in_the_order_of_envoy() {
    let test = "hosts_take_turns_in_the_order_of_envoy";
    for (weights, expected) in [
        (&[1, 3, 1][..], &[0, 2, 1, 1, 1][..]),
        (&[20, 60, 20], &[0, 2, 1, 1, 1]),
        (&[1, 2], &[0, 1, 1]),
        (&[1, 2, 4, 2], &[0, 1, 3, 2, 2, 1, 3, 2, 2]),
        (&[4, 4, 4], &[0, 1, 2]),
    ] {
        let seen = as_in_envoy(test, |program| turns(program, weights));
        if let Some(seen) = seen {
            assert_eq!(seen, expected, "{weights:?}");
        }
    }
}
