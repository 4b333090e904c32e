//! Health checks with gRPC, beside the real Envoy: what hosts are sent, and which
//! answers are those of a healthy one.

use crate::http2_checks::await_flags;
use ringway_tests::bootstrap::bootstrap;
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::http2::origin::{Act, End, Script, data, head};
use ringway_tests::message::Message;
use ringway_tests::origin::{self, Origin};
use ringway_tests::process::{Process, Program};

const HEALTHY: &str = "healthy";
const FAILED: &str = "/failed_active_hc";
const TIMED_OUT: &str = "/failed_active_hc/active_hc_timeout";

const OK: (&str, &str) = (":status", "200");
const GRPC: (&str, &str) = ("content-type", "application/grpc");

struct Case {
    name: &'static str,
    /// Fields of the check.
    check: &'static str,
    /// What the host does when it is not well.
    acts: Vec<Act>,
    /// What it is then known for.
    flags: &'static str,
}

/// A message with its prefix, and the status of the call.
fn answer(kind: (&'static str, &str), message: &[u8], status: &str) -> Vec<Act> {
    vec![
        head(&[OK, kind], End::More),
        data(message, End::More),
        head(&[("grpc-status", status)], End::Last),
    ]
}

const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

fn cases() -> Vec<Case> {
    let case = |name, acts, flags| Case {
        name,
        check: "",
        acts,
        flags,
    };
    let says = |name, message: &[u8], flags| case(name, answer(GRPC, message, "0"), flags);
    vec![
        Case {
            check: "service_name: a.Service, authority: www.example, initial_metadata: [ { header: \
                    { key: x-one, value: one } } ]",
            ..says("named", SERVING, HEALTHY)
        },
        says("not_serving", &[0, 0, 0, 0, 2, 8, 2], FAILED),
        says("unknown", &[0, 0, 0, 0, 0], FAILED),
        says("service_unknown", &[0, 0, 0, 0, 2, 8, 3], FAILED),
        says(
            "with_other_fields",
            &[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 1],
            HEALTHY,
        ),
        says("compressed", &[1, 0, 0, 0, 2, 8, 1], FAILED),
        says(
            "two_messages",
            &[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1],
            FAILED,
        ),
        says("no_message", &[], FAILED),
        says("half_a_message", &[0, 0, 0, 0, 9, 8, 1], FAILED),
        says("nonsense", &[0, 0, 0, 0, 1, 8], FAILED),
        case("status", answer(GRPC, SERVING, "5"), FAILED),
        case("other_status", answer(GRPC, SERVING, "x"), FAILED),
        case(
            "other_type",
            answer(("content-type", "text/plain"), SERVING, "0"),
            FAILED,
        ),
        case(
            "proto_type",
            answer(("content-type", "application/grpc+proto"), SERVING, "0"),
            HEALTHY,
        ),
        case(
            "trailers_only",
            vec![head(&[OK, GRPC, ("grpc-status", "12")], End::Last)],
            FAILED,
        ),
        case(
            "ok_without_a_message",
            vec![head(&[OK, GRPC, ("grpc-status", "0")], End::Last)],
            FAILED,
        ),
        case(
            "no_trailers",
            vec![head(&[OK, GRPC], End::More), data(SERVING, End::Last)],
            FAILED,
        ),
        case(
            "http_error",
            vec![head(&[(":status", "503")], End::Last)],
            FAILED,
        ),
        case("resets", vec![Act::Reset(2)], FAILED),
        case("hangs", vec![], TIMED_OUT),
        case(
            "goes_away",
            [vec![Act::GoAway(true, 0)], answer(GRPC, SERVING, "0")].concat(),
            HEALTHY,
        ),
        case("goes_away_in_anger", vec![Act::GoAway(false, 11)], FAILED),
        case("closes", vec![Act::Close], FAILED),
    ]
}

fn cluster(case: &Case, port: u16) -> String {
    let (name, check) = (case.name, case.check);
    format!(
        "  - {{ name: {name}, type: STATIC, load_assignment: {{ cluster_name: {name}, endpoints: [ \
         {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
         port_value: {port} }} }} }} }} ] }} ] }}, health_checks: [ {{ timeout: 3s, interval: \
         0.05s, no_traffic_interval: 0.05s, unhealthy_threshold: 2, healthy_threshold: 2, \
         grpc_health_check: {{ {check} }} }} ], typed_extension_protocol_options: {{ \
         envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
         explicit_http_config: {{ http2_protocol_options: {{}} }} }} }} }}\n"
    )
}

fn script(acts: Vec<Act>) -> Vec<origin::Act> {
    vec![origin::Act::Http2(Script {
        settings: Vec::new(),
        acts,
    })]
}

/// Of each case its flags while the host is well, when it is not, and when it is
/// again; the first request, and what is counted.
fn play(program: &Program) -> Vec<(Vec<String>, Option<Message>, Vec<String>)> {
    let cases = cases();
    let hosts: Vec<_> = cases.iter().map(|_| Origin::start()).collect();
    let mut text = bootstrap(&[], "") + "  clusters:\n";
    for (case, host) in cases.iter().zip(&hosts) {
        host.play(script(answer(GRPC, SERVING, "0")));
        text += &cluster(case, host.address().port());
    }
    let process = Process::start_with(program, &text, &["--concurrency", "1"]);
    let first = hosts.iter().map(|host| {
        let seen = host.seen().into_iter().next();
        seen.map(|seen| seen.request)
    });
    let first: Vec<_> = first.collect();
    let mut flags = vec![Vec::new(); cases.len()];
    for step in 0..3 {
        for (case, host) in cases.iter().zip(&hosts) {
            match step {
                0 => {}
                1 => host.play(script(case.acts.clone())),
                _ => host.play(script(answer(GRPC, SERVING, "0"))),
            }
        }
        for (number, case) in cases.iter().enumerate() {
            let wanted = if step == 1 { case.flags } else { HEALTHY };
            flags[number].push(await_flags(&process, case.name, wanted));
        }
    }
    let stats = process.admin().stats();
    let all = cases.iter().zip(first).zip(flags);
    all.map(|((case, first), flags)| {
        let prefix = format!("cluster.{}.health_check.", case.name);
        let counts = stats.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(&prefix)?;
            let moved = if *value > 0 { "moved" } else { "0" };
            Some(format!("{name}: {moved}"))
        });
        let mut counts: Vec<_> = counts.collect();
        // A script that ends closes the connection, within a check or between.
        if case.flags == HEALTHY {
            counts.clear();
        }
        counts.retain(|line| !line.starts_with("network_failure"));
        counts.sort();
        (flags, first, counts)
    })
    .collect()
}

#[test]
fn grpc_hosts_are_asked_and_judged_as_envoy_does() {
    let test = "grpc_hosts_are_asked_and_judged_as_envoy_does";
    let Some(seen) = as_in_envoy(test, play) else {
        return;
    };
    for (case, (flags, ..)) in cases().iter().zip(seen) {
        assert_eq!(flags, [HEALTHY, case.flags, HEALTHY], "{}", case.name);
    }
}
