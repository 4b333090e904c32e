//! Weights that hosts report of themselves (client-side weighted round robin):
//! the same reports make the same weights as in Envoy, and these the shares.

use crate::shares::exchange;
use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::process::{Process, Program, compared_programs};
use ringway_tests::programs;
use ringway_tests::tries::one_of_some;
use std::fmt::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const TYPE: &str = "type.googleapis.com/envoy.extensions.load_balancing_policies";

/// The policy with these fields, in flow style.
fn policy(fields: &str) -> String {
    format!(
        "load_balancing_policy: {{ policies: [ {{ typed_extension_config: {{ name: w, typed_config: \
         {{ \"@type\": {TYPE}.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin, \
         {fields} }} }} }} ] }},"
    )
}

/// The same inside `wrr_locality`.
fn within_localities(fields: &str) -> String {
    let inner = policy(fields);
    let inner = inner.trim_end_matches(',');
    let inner = inner.replace("load_balancing_policy", "endpoint_picking_policy");
    format!(
        "load_balancing_policy: {{ policies: [ {{ typed_extension_config: {{ name: l, typed_config: \
         {{ \"@type\": {TYPE}.wrr_locality.v3.WrrLocality, {inner} }} }} }} ] }},"
    )
}

/// Headers of a host's responses; what follows an empty line are trailers. `RPS`
/// is a number that is each host's own, so that no weight is another one's or
/// the median by accident.
/// The first one makes a weight in each of the clusters below.
const REPORTS: &[&str] = &[
    "endpoint-load-metrics: TEXT cpu_utilization=0.1,mem_utilization=0.2,\
     application_utilization=0.5,rps_fractional=RPS,eps=10,named_metrics.a=0.25,utilization.b=0.4",
    "endpoint-load-metrics: TEXT cpu_utilization:0.4,rps_fractional:RPS",
    "endpoint-load-metrics: TEXT cpu_utilization = 0.4 , rps_fractional = RPS",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4, ,rps_fractional=+100,,",
    "endpoint-load-metrics: TEXT cpu_utilization=4e-1,rps_fractional=1.e2",
    "endpoint-load-metrics: TEXT cpu_utilization=.4,rps_fractional=RPS,eps=-1",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,eps=-0",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,eps=nan",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=inf",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=1e999",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,rps_fractional=RPS",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,other=1",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,rps=1",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,request_cost.a=1",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,utilization.=1",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,named_metrics.=1",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,eps=",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,eps",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS,eps=1=2",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=0",
    "endpoint-load-metrics: TEXT rps_fractional=RPS",
    "endpoint-load-metrics: TEXT mem_utilization=0.4,rps_fractional=RPS",
    "endpoint-load-metrics: TEXT eps=40,rps_fractional=RPS",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=0.1",
    "endpoint-load-metrics: TEXT cpu_utilization=1e-9,rps_fractional=1e9",
    "endpoint-load-metrics: TEXT application_utilization=0.2,named_metrics.a=0.1,\
     named_metrics.other=0.9,rps_fractional=RPS",
    "endpoint-load-metrics: text cpu_utilization=0.4,rps_fractional=RPS",
    "endpoint-load-metrics: cpu_utilization=0.4,rps_fractional=RPS",
    "endpoint-load-metrics: TEXT",
    "endpoint-load-metrics: JSON {\"cpu_utilization\": 0.4, \"rps_fractional\": RPS}",
    "endpoint-load-metrics: JSON {\"cpuUtilization\": 0.4, \"rpsFractional\": \"RPS\", \"rps\": \"7\"}",
    "endpoint-load-metrics: JSON {\"cpu_utilization\": 0.4, \"rps_fractional\": 1e2, \"eps\": null}",
    "endpoint-load-metrics: JSON {\"cpu_utilization\": 0.4, \"rps_fractional\": RPS, \"eps\": -10}",
    "endpoint-load-metrics: JSON {\"cpu_utilization\": 0.4, \"rps_fractional\": RPS, \"rps\": 1.5}",
    "endpoint-load-metrics: JSON {\"cpu_utilization\": 0.4, \"rps_fractional\": RPS, \"x\": 1}",
    "endpoint-load-metrics: JSON {\"cpu_utilization\": 0.4, \"rps_fractional\": RPS,}",
    "endpoint-load-metrics: JSON {\"cpu_utilization\": .4, \"rps_fractional\": RPS}",
    "endpoint-load-metrics: JSON {\"named_metrics\": {\"a\": 0.5}, \"utilization\": {\"b\": 0.7}, \
     \"requestCost\": {\"c\": 0.9}, \"cpu_utilization\": 0.4, \"rps_fractional\": RPS}",
    "endpoint-load-metrics: JSON {\"named_metrics\": {\"\\u0061\": 0.5}, \"cpu_utilization\": 0.4, \
     \"rps_fractional\": RPS}",
    "endpoint-load-metrics: JSON {\"named_metrics\": {\"a\": null}, \"cpu_utilization\": 0.4, \
     \"rps_fractional\": RPS}",
    "endpoint-load-metrics: JSON nothing",
    // CPU 0.5, 100 requests and 2 errors a second, named_metrics.rif 4.
    "endpoint-load-metrics-bin: CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA==",
    "endpoint-load-metrics-bin: CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA",
    "endpoint-load-metrics-bin: CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA=",
    "endpoint-load-metrics: BIN CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA==",
    "endpoint-load-metrics-bin: CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3Jp",
    "endpoint-load-metrics-bin: not-a-number",
    "endpoint-load-metrics-bin: CQAAAAAAAOA/MQAAAAAAAFlA\r\n\
     endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS",
    "endpoint-load-metrics-bin:\r\n\
     endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS",
    "endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS\r\n\
     endpoint-load-metrics: TEXT cpu_utilization=0.8,rps_fractional=RPS",
    "endpoint-load: TEXT cpu_utilization=0.4,rps_fractional=RPS",
    "a: b\r\n\r\nendpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS",
    "endpoint-load-metrics: TEXT cpu_utilization=0.8,rps_fractional=RPS\r\n\r\n\
     endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS",
    "endpoint-load-metrics: wrong\r\n\r\n\
     endpoint-load-metrics: TEXT cpu_utilization=0.4,rps_fractional=RPS",
];

/// Reports of all hosts of a cluster are to be there before the first of them
/// counts; so many seconds later it does, or more on a busy machine.
const BLACKOUTS: &[u64] = &[5, 20, 60];

/// Fields of the policy, and of the cluster.
const CLUSTERS: &[(&str, &str)] = &[
    ("", ""),
    ("error_utilization_penalty: 1.0", ""),
    (
        "error_utilization_penalty: 2.5, metric_names_for_computing_utilization: \
         [ named_metrics.a, utilization.b ]",
        "",
    ),
    (
        "metric_names_for_computing_utilization: [ mem_utilization, named_metrics.rif ]",
        "",
    ),
    (
        "metric_names_for_computing_utilization: [ eps, request_cost.c ]",
        "",
    ),
    (
        "metric_names_for_computing_utilization: [ 'named_metrics.*', nothing ]",
        "",
    ),
    (
        "metric_names_for_computing_utilization: [ cpu_utilization, application_utilization ]",
        "http_protocol_options: { enable_trailers: true },",
    ),
];

/// What a host answers.
fn answer(host: usize, report: &str) -> Vec<u8> {
    let report = report.replace("RPS", &(1000 + 7 * host).to_string());
    let (headers, trailers) = report
        .split_once("\r\n\r\n")
        .unwrap_or((report.as_str(), ""));
    let end = match trailers {
        "" => String::new(),
        trailers => format!("{trailers}\r\n"),
    };
    format!(
        "HTTP/1.1 200 OK\r\nx-host: {host}\r\n{headers}\r\ntransfer-encoding: chunked\r\n\r\n\
         1\r\nx\r\n0\r\n{end}\r\n"
    )
    .into_bytes()
}

/// A cluster in flow style with these fields and endpoints, each with its
/// comma.
fn cluster(name: &str, fields: &str, endpoints: &str) -> String {
    format!(
        "- {{ name: {name}, type: STATIC, {fields} load_assignment: {{ cluster_name: {name}, \
         endpoints: [ {endpoints} ] }} }}\n"
    )
}

fn endpoint(port: u16) -> String {
    format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} \
         }} }}, "
    )
}

/// Starts clusters of these names, each with a route by its name.
fn start(program: &Program, names: &[String], clusters: &str) -> Process {
    let mut routes = String::from("- name: all\n  domains: [\"*\"]\n  routes:\n");
    for name in names {
        let _ = writeln!(
            routes,
            "  - {{ match: {{ path: \"/{name}\" }}, route: {{ cluster: {name} }} }}"
        );
    }
    let listener = Listener {
        name: "main",
        manager: "access_log: []",
        hosts: routes.leak(),
    };
    Process::start(program, &bootstrap(&[listener], clusters))
}

/// So many requests to a cluster; how many went to each host.
fn ask(process: &Process, cluster: &str, hosts: usize, requests: usize) -> Vec<usize> {
    let mut stream = TcpStream::connect(process.listener("main")).expect("a connection");
    let request = format!("GET /{cluster} HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut counts = vec![0; hosts];
    for _ in 0..requests {
        let answer = exchange(&mut stream, request.as_bytes());
        let host = answer.header("x-host").expect("a host answered");
        counts[host.parse::<usize>().expect("a number")] += 1;
    }
    counts
}

/// The weights that `/clusters` shows, by host.
fn weights(process: &Process, cluster: &str, fleet: &Fleet) -> Vec<u32> {
    let text = process.admin().get("/clusters").text();
    (fleet.ports().iter())
        .map(|port| {
            let key = format!("{cluster}::127.0.0.1:{port}::weight::");
            let line = text.lines().find_map(|line| line.strip_prefix(&key));
            line.expect("each host has a weight")
                .parse()
                .expect("a number")
        })
        .collect()
}

/// How long weights may take to change.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the weights of a cluster are `done`.
fn await_weights(
    process: &Process,
    cluster: &str,
    fleet: &Fleet,
    done: impl Fn(&[u32]) -> bool,
) -> Vec<u32> {
    let begun = Instant::now();
    loop {
        let weights = weights(process, cluster, fleet);
        if done(&weights) {
            return weights;
        }
        let said = format!("{}: {weights:?}", process.name());
        assert!(begun.elapsed() < PATIENCE, "{said}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The weights of each cluster, after each host has reported.
fn report_all(program: &Program) -> Vec<Vec<u32>> {
    let mut tries = BLACKOUTS.iter();
    let weights = tries.find_map(|seconds| report_within(program, Duration::from_secs(*seconds)));
    weights.expect("with equal weights each host gets one request")
}

/// The same, if all have reported within this time.
fn report_within(program: &Program, blackout: Duration) -> Option<Vec<Vec<u32>>> {
    let fleet = Fleet::start(REPORTS.len());
    for (host, report) in REPORTS.iter().enumerate() {
        fleet.set(host, Manner::Bytes(answer(host, report)));
    }
    let endpoints: String = fleet.ports().into_iter().map(endpoint).collect();
    let endpoints = format!("{{ lb_endpoints: [ {endpoints} ] }}");
    let names: Vec<_> = (0..CLUSTERS.len()).map(|i| format!("c{i}")).collect();
    let mut yaml = String::new();
    for (name, (fields, more)) in names.iter().zip(CLUSTERS) {
        let periods = format!("blackout_period: {blackout:?}, weight_update_period: 0.1s");
        let fields = format!("{} {more}", policy(&format!("{periods}, {fields}")));
        yaml += &cluster(name, &fields, &endpoints);
    }
    let process = start(program, &names, &yaml);
    for name in &names {
        let counts = ask(&process, name, REPORTS.len(), REPORTS.len());
        if counts.iter().any(|count| *count != 1) {
            return None;
        }
    }
    let reported = Instant::now();
    let clusters = names.iter().map(|name| -> Vec<u32> {
        let mut before = Vec::new();
        await_weights(&process, name, &fleet, |weights| weights[0] > 1);
        // Those of the hosts that reported last are due as well.
        thread::sleep(blackout.saturating_sub(reported.elapsed()));
        loop {
            let now = weights(&process, name, &fleet);
            if now == before {
                return now;
            }
            before = now;
            thread::sleep(Duration::from_millis(400));
        }
    });
    Some(clusters.collect())
}

#[test]
fn the_same_reports_make_the_same_weights() {
    let Some(envoy) = programs::envoy("the_same_reports_make_the_same_weights") else {
        return;
    };
    let theirs = report_all(&Program::Envoy(envoy));
    for driver in programs::drivers() {
        let ours = report_all(&Program::Ringway(driver));
        let mut differences = Vec::new();
        for (cluster, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            for (host, report) in REPORTS.iter().enumerate() {
                let (ours, theirs, settings) = (ours[host], theirs[host], CLUSTERS[cluster].0);
                if ours != theirs {
                    differences.push(format!("{ours}, not {theirs}: {report} with {settings:?}"));
                }
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
    let different: std::collections::BTreeSet<_> = theirs.iter().flatten().collect();
    assert!(different.len() > 10, "the reports differ: {different:?}");
    programs::say(&format!(
        "{} reports in {} clusters, {} weights",
        REPORTS.len(),
        CLUSTERS.len(),
        different.len()
    ));
}

/// Each host's share of the requests, in percent, once weights are there.
fn shares(program: &Program, fields: &str, groups: &[&[u32]]) -> Vec<f64> {
    const REQUESTS: usize = 1000;
    let rps: Vec<u32> = groups.iter().copied().flatten().copied().collect();
    let fleet = Fleet::start(rps.len());
    for (host, rps) in rps.iter().enumerate() {
        let report = format!("endpoint-load-metrics: TEXT rps_fractional={rps},cpu_utilization=1");
        fleet.set(host, Manner::Bytes(answer(host, &report)));
    }
    let mut ports = fleet.ports().into_iter();
    let mut endpoints = String::new();
    for (number, group) in groups.iter().enumerate() {
        let hosts: String = ports.by_ref().take(group.len()).map(endpoint).collect();
        let weight = 3 - 2 * number;
        let _ = write!(
            endpoints,
            "{{ locality: {{ zone: z{number} }}, load_balancing_weight: {weight}, lb_endpoints: [ \
             {hosts} ] }}, "
        );
    }
    let names = ["c".to_owned()];
    let process = start(program, &names, &cluster("c", fields, &endpoints));
    ask(&process, "c", rps.len(), 10 * rps.len());
    await_weights(&process, "c", &fleet, |weights| weights == rps);
    // Workers learn of weights a moment after `/clusters` does.
    ask(&process, "c", rps.len(), 10);
    let counts = ask(&process, "c", rps.len(), REQUESTS);
    programs::say(&format!("{}: {counts:?}", process.name()));
    let percent = |count: usize| count as f64 * 100.0 / REQUESTS as f64;
    counts.into_iter().map(percent).collect()
}

/// Fields of a cluster, what the hosts of each of its localities report, and
/// the percentages that they get.
type Shared<'a> = (String, &'a [&'a [u32]], &'a [f64]);

#[test]
fn requests_are_shared_by_the_weights_that_were_reported() {
    let name = "requests_are_shared_by_the_weights_that_were_reported";
    let Some(all) = compared_programs(name) else {
        return;
    };
    let periods = "blackout_period: 0.1s, weight_update_period: 0.1s";
    let cases: &[Shared<'_>] = &[
        (policy(periods), &[&[100, 200, 700]], &[10.0, 20.0, 70.0]),
        // Three quarters of the requests for the first zone.
        (
            within_localities(periods),
            &[&[100, 200], &[300, 100]],
            &[25.0, 50.0, 18.75, 6.25],
        ),
        (
            policy(periods),
            &[&[100, 200], &[300, 400]],
            &[10.0, 20.0, 30.0, 40.0],
        ),
    ];
    for (fields, groups, expected) in cases {
        for program in &all {
            one_of_some(|| {
                let found = shares(program, fields, groups);
                for (found, expected) in found.iter().zip(*expected) {
                    // What a turn more or less makes.
                    assert!((found - expected).abs() < 1.5, "{found} not {expected}");
                }
            });
        }
    }
}

#[test]
fn reports_of_long_ago_count_no_more() {
    let Some(all) = compared_programs("reports_of_long_ago_count_no_more") else {
        return;
    };
    for program in all {
        let fleet = Fleet::start(3);
        let report = |host: usize, rps: u32| {
            let report =
                format!("endpoint-load-metrics: TEXT rps_fractional={rps},cpu_utilization=1");
            fleet.set(host, Manner::Bytes(answer(host, &report)));
        };
        report(0, 30);
        report(1, 10);
        let endpoints: String = fleet.ports().into_iter().map(endpoint).collect();
        let fields = policy(
            "blackout_period: 0.1s, weight_update_period: 0.1s, weight_expiration_period: 2s",
        );
        let endpoints = format!("{{ lb_endpoints: [ {endpoints} ] }}");
        let process = start(
            &program,
            &["c".to_owned()],
            &cluster("c", &fields, &endpoints),
        );
        let until = |expected: [u32; 3]| {
            // Requests come all the time, or reports grow old.
            await_weights(&process, "c", &fleet, |weights| {
                ask(&process, "c", 3, 60);
                weights == expected
            });
        };
        // Who reports nothing gets the median.
        until([30, 10, 20]);
        fleet.set(1, Manner::Answer);
        until([30, 30, 30]);
        report(1, 50);
        until([30, 50, 40]);
        // Without requests all of them become old.
        await_weights(&process, "c", &fleet, |weights| weights == [1, 1, 1]);
    }
}

/// The API says that this is refused, and Envoy takes it.
const BELOW_ZERO: &str = "error_utilization_penalty: -0.1";

/// Policies that Envoy refuses.
fn refused() -> Vec<String> {
    let outer = |inner: &str| {
        format!(
            "load_balancing_policy: {{ policies: [ {{ typed_extension_config: {{ name: l, \
             typed_config: {{ \"@type\": {TYPE}.wrr_locality.v3.WrrLocality, {inner} }} }} }} ] }},"
        )
    };
    let of = |inner: &str| {
        outer(&format!(
            "endpoint_picking_policy: {{ policies: [ {inner} ] }}"
        ))
    };
    let round_robin = format!(
        "{{ typed_extension_config: {{ name: r, typed_config: {{ \"@type\": \
         {TYPE}.round_robin.v3.RoundRobin }} }} }}"
    );
    vec![
        outer(""),
        format!(
            "common_lb_config: {{ locality_weighted_lb_config: {{}} }}, {}",
            policy("")
        ),
        format!(
            "common_lb_config: {{ zone_aware_lb_config: {{}} }}, {}",
            policy("")
        ),
        format!(
            "common_lb_config: {{ consistent_hashing_lb_config: {{}} }}, {}",
            policy("")
        ),
        of(""),
        of(&round_robin),
    ]
}

#[test]
fn what_envoy_refuses_of_weights_is_refused() {
    let Some(programs) = compared_programs("what_envoy_refuses_of_weights_is_refused") else {
        return;
    };
    let taken = [
        policy("error_utilization_penalty: 0"),
        policy("weight_update_period: 0s, blackout_period: 0s, weight_expiration_period: 0s"),
        policy("slow_start_config: { slow_start_window: 3s }"),
        within_localities("metric_names_for_computing_utilization: [ a ]"),
        format!("lrs_report_endpoint_metrics: [ eps ], {}", policy("")),
    ];
    for program in programs {
        let accepts = |fields: &String| {
            let endpoints = format!("{{ lb_endpoints: [ {} ] }}", endpoint(1));
            let text = bootstrap(&[], &cluster("c", fields, &endpoints));
            let output = (program.command())
                .args(["--mode", "validate", "--config-yaml", &text])
                .output()
                .expect("the program runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.success(), said)
        };
        for fields in &refused() {
            let (accepted, said) = accepts(fields);
            assert!(!accepted, "{} takes {fields}: {said}", program.name());
        }
        for fields in [policy(BELOW_ZERO), within_localities(BELOW_ZERO)] {
            let (accepted, said) = accepts(&fields);
            let is_envoy = matches!(program, Program::Envoy(_));
            assert_eq!(accepted, is_envoy, "{}: {said}", program.name());
        }
        for fields in &taken {
            let (accepted, said) = accepts(fields);
            assert!(accepted, "{} refuses {fields}: {said}", program.name());
        }
    }
}
