//! Outlier detection: runs of errors, of every origin. The intervals are too
//! long to end during a case; what is found at their ends is in
//! `outlier_rates.rs`.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use std::time::Duration;

const LISTENERS: &[Listener] = &[Listener {
    name: "outliers",
    manager: "",
    hosts: include_str!("outliers/routes.yaml"),
}];

/// The hosts of a cluster, and what the cluster says of outliers. A cluster
/// serves one case: what is known against its host stays.
const CLUSTERS: &[(&str, Host, &str)] = &[
    ("default", Host::Origin, ""),
    ("three", Host::Origin, "consecutive_5xx: 3"),
    ("success_between", Host::Origin, "consecutive_5xx: 3"),
    ("client_error_between", Host::Origin, "consecutive_5xx: 3"),
    ("server_errors", Host::Origin, "consecutive_5xx: 3"),
    (
        "not_enforced",
        Host::Origin,
        "consecutive_5xx: 2, enforcing_consecutive_5xx: 0",
    ),
    ("turned_off", Host::Origin, "consecutive_5xx: 0"),
    ("gateway", Host::Origin, GATEWAY),
    ("gateway_500_between", Host::Origin, GATEWAY),
    (
        "gateway_first",
        Host::Origin,
        "consecutive_gateway_failure: 2, consecutive_5xx: 3",
    ),
    (
        "too_many",
        Host::Origin,
        "consecutive_5xx: 2, max_ejection_percent: 10",
    ),
    (
        "too_many_twice",
        Host::Origin,
        "consecutive_5xx: 2, max_ejection_percent: 10",
    ),
    (
        "always_one",
        Host::Origin,
        "consecutive_5xx: 2, max_ejection_percent: 10, always_eject_one_host: true",
    ),
    ("refused", Host::Refused, "consecutive_5xx: 2"),
    ("refused_gateway", Host::Refused, GATEWAY),
    ("refused_split", Host::Refused, SPLIT),
    ("stuck", Host::Stuck, "consecutive_5xx: 2"),
    ("stuck_split", Host::Stuck, SPLIT),
    ("route_timeout_stuck", Host::Stuck, "consecutive_5xx: 2"),
    ("closed", Host::Origin, "consecutive_5xx: 2"),
    ("closed_split", Host::Origin, SPLIT),
    ("reset", Host::Origin, "consecutive_5xx: 2"),
    ("broken", Host::Origin, "consecutive_5xx: 2"),
    ("broken_split", Host::Origin, SPLIT),
    ("cut_short", Host::Origin, "consecutive_5xx: 2"),
    ("cut_short_split", Host::Origin, SPLIT),
    ("timeout", Host::Origin, GATEWAY),
    ("timeout_split", Host::Origin, SPLIT),
    ("timeout_alternative", Host::Origin, "consecutive_5xx: 2"),
    ("timeout_in_body", Host::Origin, "consecutive_5xx: 2"),
    ("per_try_timeout", Host::Origin, "consecutive_5xx: 2"),
    ("per_try_idle_timeout", Host::Origin, "consecutive_5xx: 2"),
    ("hedged", Host::Origin, "consecutive_5xx: 2"),
    (
        "split_5xx",
        Host::Origin,
        "split_external_local_origin_errors: true, consecutive_5xx: 2",
    ),
    ("split_mixed", Host::Origin, SPLIT),
    ("retried", Host::Origin, "consecutive_5xx: 3"),
    ("retried_refused", Host::Refused, "consecutive_5xx: 3"),
    ("redirected", Host::Origin, "consecutive_5xx: 2"),
    ("interim", Host::Origin, "consecutive_5xx: 2"),
    ("overflow", Host::Origin, "consecutive_5xx: 1"),
    ("left", Host::Origin, "consecutive_5xx: 1"),
    ("upgrade_refused", Host::Origin, "consecutive_5xx: 2"),
];

#[derive(Clone, Copy)]
enum Host {
    Origin,
    Refused,
    Stuck,
}

const GATEWAY: &str = "consecutive_gateway_failure: 2, enforcing_consecutive_gateway_failure: 100, \
                       enforcing_consecutive_5xx: 0";

const SPLIT: &str = "split_external_local_origin_errors: true, \
                     consecutive_local_origin_failure: 2, consecutive_5xx: 2";

fn clusters(ports: Ports) -> String {
    let of = |(name, host, detection): &(&str, Host, &str)| {
        let port = match host {
            Host::Origin => ports.origin,
            Host::Refused => ports.refused,
            Host::Stuck => ports.stuck,
        };
        let percent = match detection.contains("max_ejection_percent") {
            true => "",
            false => "max_ejection_percent: 100, ",
        };
        let limits = match *name {
            "overflow" => "circuit_breakers: { thresholds: [ { max_requests: 0 } ] }\n",
            _ => "",
        };
        // What is there to be connected to may be slow to answer.
        let timeout = match host {
            Host::Stuck if *name != "route_timeout_stuck" => "connect_timeout: 0.1s",
            _ => "connect_timeout: 60s",
        };
        let more = format!(
            "{timeout}\n{limits}common_lb_config: {{ healthy_panic_threshold: {{ value: 0 }} }}\n\
             outlier_detection: {{ interval: 3600s, base_ejection_time: 200s, {percent}{detection} }}"
        );
        cluster(name, port, &more)
    };
    CLUSTERS.iter().map(of).collect::<String>()
}

fn status(code: u16) -> Vec<Act> {
    let head = format!("HTTP/1.1 {code} Text\r\ncontent-length: 0\r\n\r\n");
    say(head)
}

fn say(bytes: impl AsRef<[u8]>) -> Vec<Act> {
    vec![Act::Send(bytes.as_ref().to_vec())]
}

/// Says nothing until nobody waits for it any more.
fn silence() -> Vec<Act> {
    vec![Act::Drain]
}

fn get(cluster: &str) -> String {
    format!("GET /{cluster} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// As many requests as there are `turns` of the origin, one after the other,
/// and two more when outlier detection has had its time.
fn turns(cluster: &'static str, turns: &[Vec<Act>]) -> Case {
    let mut all = turns.to_vec();
    all.push(status(200));
    requests(cluster, turns.len()).origin(vec![Act::Read, Act::Turns(all)])
}

fn requests(cluster: &'static str, count: usize) -> Case {
    asking(cluster, &get(cluster), count)
}

fn asking(cluster: &'static str, request: &str, count: usize) -> Case {
    let mut steps = Vec::new();
    for number in 1..=count {
        steps.push(Step::Send(request.as_bytes().to_vec()));
        steps.push(Step::Await(number));
    }
    // An ejection goes to the control plane and comes back.
    steps.push(Step::Wait(Duration::from_secs(1)));
    steps.push(Step::AwaitStill);
    for number in count + 1..=count + 2 {
        steps.push(Step::Send(get(cluster).into_bytes()));
        steps.push(Step::Await(number));
    }
    case(cluster, "outliers", "")
        .steps(steps)
        .answers(count + 2)
}

fn codes(cluster: &'static str, list: &[u16]) -> Case {
    let acts: Vec<_> = list.iter().map(|code| status(*code)).collect();
    turns(cluster, &acts)
}

/// Two errors, and two more when outlier detection has had its time.
fn always_500(cluster: &'static str) -> Case {
    let detected =
        format!("cluster.{cluster}.outlier_detection.ejections_detected_consecutive_5xx");
    let mut case = requests(cluster, 2).origin(vec![Act::Read, Act::Turns(vec![status(500)])]);
    // The second two are not to be noted together with the first.
    case.steps
        .insert(4, Step::AwaitStat(detected.clone(), 1, None));
    case.steps.push(Step::AwaitStat(detected, 2, None));
    case
}

fn cases() -> Vec<Case> {
    let mut all = responses();
    all.extend(local_origin());
    all.extend(timeouts());
    all.extend(others());
    // Its connections are still being opened when it is over.
    all.push(requests("route_timeout_stuck", 2));
    all
}

fn responses() -> Vec<Case> {
    vec![
        codes("default", &[500, 500, 500, 500, 500]),
        codes("three", &[503, 500, 599]),
        codes("success_between", &[500, 500, 200, 500, 500]),
        codes("client_error_between", &[500, 500, 404, 500, 500]),
        codes("server_errors", &[501, 505, 599]),
        always_500("not_enforced"),
        codes("turned_off", &[500, 500, 500, 500, 500, 500]),
        codes("gateway", &[502, 504]),
        codes("gateway_500_between", &[502, 500, 504]),
        codes("gateway_first", &[503, 503, 503]),
        codes("too_many", &[500, 500]),
        always_500("too_many_twice"),
        codes("always_one", &[500, 500]),
        codes("split_5xx", &[500, 500]),
        codes("interim", &[500, 500]).origin(vec![
            Act::Read,
            Act::Turns(vec![
                status(500),
                say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Text\r\ncontent-length: 0\r\n\r\n"),
                status(200),
            ]),
        ]),
    ]
}

fn local_origin() -> Vec<Case> {
    let close = || vec![Act::Close];
    // Its connection is not used again: a request that finds a kept one closed
    // would be sent again.
    let last = || say("HTTP/1.1 500 Text\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let reset = || vec![Act::Reset];
    let broken = || say("nothing of HTTP\r\n\r\n");
    let short = || {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec()),
            Act::Close,
        ]
    };
    // Each cut response takes the client's connection with it.
    let cut = |cluster| {
        let mut all = turns(cluster, &[short()]);
        all.steps.truncate(1);
        all.answers(0)
    };
    vec![
        requests("refused", 2),
        requests("refused_gateway", 2),
        requests("refused_split", 2),
        requests("stuck", 2),
        requests("stuck_split", 2),
        turns("closed", &[close(), close()]),
        turns("closed_split", &[close(), close()]),
        turns("reset", &[reset(), reset()]),
        turns("broken", &[broken(), broken()]),
        turns("broken_split", &[broken(), broken()]),
        turns("split_mixed", &[close(), last(), close(), last()]),
        cut("cut_short"),
        cut("cut_short_split"),
    ]
}

fn timeouts() -> Vec<Case> {
    let quiet = [silence(), silence()];
    let alternative = "GET /timeout_alternative HTTP/1.1\r\nhost: a\r\n\
                       x-envoy-upstream-rq-timeout-alt-response: 1\r\n\
                       x-forwarded-for: 10.1.1.1\r\n\r\n";
    let begun = || {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec()),
            Act::Drain,
        ]
    };
    let mut in_body = turns("timeout_in_body", &[begun()]);
    in_body.steps.truncate(1);
    vec![
        turns("timeout", &quiet),
        turns("timeout_split", &quiet),
        asking("timeout_alternative", alternative, 2).origin(vec![
            Act::Read,
            Act::Turns(vec![silence(), silence(), status(200)]),
        ]),
        in_body.answers(0),
        turns("per_try_timeout", &quiet[..1]),
        turns("per_try_idle_timeout", &quiet[..1]),
        turns("hedged", &quiet[..1]),
    ]
}

fn others() -> Vec<Case> {
    let redirect =
        "HTTP/1.1 302 Found\r\nlocation: http://a/redirected\r\ncontent-length: 0\r\n\r\n";
    let mut left = case("left", "outliers", get("left")).origin(vec![Act::Read, Act::Drain]);
    left.steps.push(Step::AwaitRequest(0));
    left.steps.push(Step::Leave);
    vec![
        requests("retried", 1).origin(vec![
            Act::Read,
            Act::Turns(vec![status(503), status(503), status(503), status(200)]),
        ]),
        requests("retried_refused", 1),
        turns("redirected", &[status(500), say(redirect), status(500)]),
        requests("overflow", 2),
        left.answers(0),
        asking(
            "upgrade_refused",
            "GET /upgrade_refused HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            2,
        )
        .origin(vec![
            Act::Read,
            Act::Turns(vec![status(500), status(500), status(200)]),
        ]),
    ]
}

#[test]
fn outliers() {
    Comparison {
        suite: Suite::Routing("outliers"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("outliers");
}

const LISTENERS_OF_RUNTIME: &[Listener] = &[Listener {
    name: "outliers",
    manager: "",
    hosts: include_str!("outliers/runtime.yaml"),
}];

/// The runtime decides where the file says something else.
#[test]
fn outliers_runtime() {
    Comparison {
        suite: Suite::Routing("outliers_runtime"),
        listeners: LISTENERS_OF_RUNTIME,
        clusters: |ports| {
            let of = |name, detection: &str| {
                let more = format!(
                    "common_lb_config: {{ healthy_panic_threshold: {{ value: 0 }} }}\n\
                     outlier_detection: {{ interval: 3600s, {detection} }}"
                );
                cluster(name, ports.origin, &more)
            };
            of("five", "consecutive_5xx: 5") + &of("gateway", "consecutive_gateway_failure: 1")
        },
        cases: || vec![codes("five", &[500, 500]), codes("gateway", &[503, 503])],
    }
    .run_with(
        "outliers_runtime",
        "layered_runtime: { layers: [ { name: one, static_layer: { outlier_detection: { \
         consecutive_5xx: 2, max_ejection_percent: 100, consecutive_gateway_failure: 7, \
         enforcing_consecutive_gateway_failure: 100 } } } ] }\n",
    );
}
