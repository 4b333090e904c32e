//! Hosts that are named in a file while the proxy runs (EDS): the same files,
//! one after the other, for Ringway and for Envoy.

use super::seen::{self, Seen};
use ringway_tests::admin::Stats;
use ringway_tests::process::{Process, compared_programs};
use ringway_tests::programs;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; nothing waits for all of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A file in YAML with the endpoints of `svc`, in flow style.
macro_rules! assignment {
    ($version:literal, $more:literal, $endpoints:literal) => {
        concat!(
            "version_info: \"",
            $version,
            "\"\nresources:\n- \"@type\": type.googleapis.com/",
            "envoy.config.endpoint.v3.ClusterLoadAssignment\n  cluster_name: svc\n  ",
            $more,
            "\n  endpoints: [ ",
            $endpoints,
            " ]\n"
        )
    };
}

/// What a file says, one after the other; `@80` stands for an endpoint at a
/// port.
const FILES: &[(&str, &str)] = &[
    (
        "two hosts",
        assignment!("1", "", "{ lb_endpoints: [ @81, @82 ] }"),
    ),
    (
        "the same again",
        assignment!("1", "", "{ lb_endpoints: [ @81, @82 ] }"),
    ),
    (
        "another version of the same",
        assignment!("2", "", "{ lb_endpoints: [ @81, @82 ] }"),
    ),
    (
        "one is another one",
        assignment!("a long version", "", "{ lb_endpoints: [ @81, @83 ] }"),
    ),
    ("no YAML", "{["),
    ("no message", "version_info: [ 7 ]"),
    ("an empty file", ""),
    ("no resources", "version_info: \"9\""),
    (
        "another cluster's",
        "version_info: \"10\"\nresources:\n- \"@type\": \
         type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n  cluster_name: other\n",
    ),
    (
        "another resource",
        "version_info: \"10\"\nresources:\n- \"@type\": \
         type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: svc\n",
    ),
    (
        "two assignments",
        "version_info: \"10\"\nresources:\n\
         - { \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, \
         cluster_name: svc }\n\
         - { \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, \
         cluster_name: svc }\n",
    ),
    (
        "no name",
        "version_info: \"10\"\nresources:\n- \"@type\": \
         type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n",
    ),
    (
        "a host by its name",
        assignment!(
            "10",
            "",
            "{ lb_endpoints: [ { endpoint: { address: { socket_address: { address: a.test, \
             port_value: 1 } } } } ] }"
        ),
    ),
    (
        "priorities, localities, weights, health",
        assignment!(
            "11",
            "policy: { overprovisioning_factor: 200 }",
            "{ locality: { region: r, zone: z }, lb_endpoints: [ \
             { load_balancing_weight: 3, metadata: { filter_metadata: { envoy.lb: { canary: true } } \
             }, endpoint: { hostname: one, address: { socket_address: { address: 127.0.0.1, \
             port_value: 81 } } } }, \
             { health_status: UNHEALTHY, endpoint: { address: { socket_address: { \
             address: 127.0.0.1, port_value: 84 } } } } ] }, \
             { priority: 1, lb_endpoints: [ @85, { health_status: DRAINING, endpoint: { address: { \
             pipe: { path: /there/is/none } } } } ] }"
        ),
    ),
    (
        "the last priority is the heaviest",
        assignment!(
            "11b",
            "",
            "{ lb_endpoints: [ @84 ] }, { priority: 1, lb_endpoints: [ \
             { load_balancing_weight: 7, endpoint: { address: { socket_address: { \
             address: 127.0.0.1, port_value: 85 } } } } ] }"
        ),
    ),
    (
        "healthy again, in another priority",
        assignment!(
            "12",
            "",
            "{ lb_endpoints: [ @84 ] }, { priority: 1, lb_endpoints: [ @81 ] }"
        ),
    ),
    (
        "a gap between priorities",
        assignment!(
            "13",
            "",
            "{ lb_endpoints: [ @84 ] }, { priority: 3, lb_endpoints: [ @81 ] }"
        ),
    ),
    (
        "a host twice",
        assignment!("14", "", "{ lb_endpoints: [ @84, @84 ] }"),
    ),
    (
        "a host in two priorities",
        assignment!(
            "14",
            "",
            "{ lb_endpoints: [ @84 ] }, { priority: 1, lb_endpoints: [ @84, @85 ] }"
        ),
    ),
    (
        "in a wrapper",
        "version_info: \"15\"\nresources:\n- \"@type\": \
         type.googleapis.com/envoy.service.discovery.v3.Resource\n  name: svc\n  version: x\n  \
         resource: { \"@type\": \
         type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: svc, \
         endpoints: [ { lb_endpoints: [ @86, @87 ] } ] }\n",
    ),
    (
        "fields that nobody knows",
        "version_info: \"16\"\nunknown: 1\nresources:\n- \"@type\": \
         type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n  cluster_name: svc\n  \
         unknown: 2\n  endpoints: [ { lb_endpoints: [ @86 ] } ]\n",
    ),
    (
        "as JSON would be",
        "{ \"version_info\": \"17\", \"type_url\": \
         \"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\", \"resources\": [ \
         { \"@type\": \"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\", \
         \"cluster_name\": \"svc\", \"endpoints\": [ { \"lb_endpoints\": [ @88 ] } ] } ] }",
    ),
    ("no hosts", assignment!("18", "", "")),
    (
        "hosts that will be stale",
        assignment!(
            "19",
            "policy: { endpoint_stale_after: 600s }",
            "{ lb_endpoints: [ @89 ] }"
        ),
    ),
];

/// The text with its endpoints; their ports are 80 to 89.
fn file(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.find("@8") {
        let port = text[start + 1..start + 3].to_owned();
        let endpoint = format!(
            "{{ \"endpoint\": {{ \"address\": {{ \"socket_address\": {{ \"address\": \
             \"127.0.0.1\", \"port_value\": {port} }} }} }} }}"
        );
        text.replace_range(start..start + 3, &endpoint);
    }
    text
}

/// Moves a file into its place, which is when it is read.
pub fn put(place: &Path, text: &str) {
    let new = place.with_extension("new");
    fs::write(&new, text).expect("the folder can be written to");
    fs::rename(&new, place).expect("the file can be moved");
}

fn configuration(source: &str) -> String {
    format!(
        "node: {{ id: me, cluster: mine }}\nadmin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}\n\
         static_resources:\n  clusters:\n  - {{ name: named, type: EDS, eds_cluster_config: {{ \
         service_name: svc, eds_config: {{ {source} }} }} }}\n"
    )
}

fn is_stat(stat: &str) -> bool {
    let timed = ["update_time", "update_duration"];
    ["update_", "membership_", "assignment_", "version", "init_"]
        .iter()
        .any(|start| stat.starts_with(start) && !timed.iter().any(|name| stat.starts_with(name)))
        || stat.ends_with("total_match_count")
        || stat == "max_host_weight"
}

/// Waits until the file has been read as many times as it was put there.
fn await_attempts(process: &Process, count: u64) -> Stats {
    let of = |stats: &Stats, name: &str| {
        let name = format!("cluster.named.update_{name}");
        stats.get(&name).copied().unwrap_or(0)
    };
    let (stats, tried) = process.admin().await_stats(PATIENCE, |stats| {
        let ends = ["success", "failure", "rejected"];
        of(stats, "attempt") == count && ends.iter().map(|end| of(stats, end)).sum::<u64>() == count
    });
    assert!(tried, "not read {count} times: {stats:?}");
    stats
}

fn version(process: &Process) -> String {
    let text = process.admin().get("/stats?filter=version_text").text();
    text.trim().to_owned()
}

/// What is shown of an update: the hosts, what was counted, the version.
type Shown = (BTreeMap<String, Seen>, String);

fn show(process: &Process) -> Shown {
    (seen::look(process, is_stat), version(process))
}

/// [`show`], when it is as expected or has had its time: an attempt is counted a moment
/// before `/clusters` tells of what it has brought.
fn show_once_it_is(process: &Process, expected: &Shown) -> Shown {
    let begun = Instant::now();
    loop {
        let shown = show(process);
        if shown == *expected || begun.elapsed() > PATIENCE {
            return shown;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_file_is_taken_or_refused_as_by_envoy() {
    let Some(programs) = compared_programs("every_file_is_taken_or_refused_as_by_envoy") else {
        return;
    };
    let mut envoys: Vec<Shown> = Vec::new();
    for program in &programs {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("hosts.yaml");
        put(&place, &file(FILES[0].1));
        let source = format!("path_config_source: {{ path: {} }}", place.display());
        let process = Process::start(program, &configuration(&source));
        for (step, (what, text)) in FILES.iter().enumerate() {
            if step > 0 {
                put(&place, &file(text));
            }
            await_attempts(&process, step as u64 + 1);
            match envoys.get(step) {
                None => envoys.push(show(&process)),
                Some(theirs) => {
                    let shown = show_once_it_is(&process, theirs);
                    assert_eq!(&shown, theirs, "{what}, {}", program.name());
                }
            }
        }
        let dump = process.admin().get("/config_dump?include_eds").text();
        assert!(dump.contains("\"cluster_name\": \"svc\""), "{dump}");
        let clusters = process.admin().get("/clusters").text();
        assert!(
            clusters.contains("named::eds_service_name::svc"),
            "{clusters}"
        );
    }
    let hosts = |step: usize| envoys[step].0["named"].stats.get("membership_total");
    assert_eq!([hosts(0), hosts(13)], [Some(&2), Some(&4)]);
    programs::say(&format!("{} files of hosts", FILES.len()));
}

/// A server starts without hosts where the file is no good, and takes them
/// when it is.
#[test]
fn a_bad_first_file_leaves_the_cluster_empty() {
    let Some(programs) = compared_programs("a_bad_first_file_leaves_the_cluster_empty") else {
        return;
    };
    let mut envoys: Vec<Shown> = Vec::new();
    for program in &programs {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("hosts.yaml");
        put(&place, "{[");
        // The older field.
        let source = format!("path: {}", place.display());
        let process = Process::start(program, &configuration(&source));
        await_attempts(&process, 1);
        let first = show(&process);
        put(&place, &file(FILES[0].1));
        await_attempts(&process, 2);
        // An answer counts before its hosts are there.
        let begun = Instant::now();
        let is_there = || {
            show(&process).0["named"]
                .stats
                .contains_key("membership_healthy")
        };
        while !is_there() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let shown = [first, show(&process)];
        if envoys.is_empty() {
            envoys.extend(shown);
        } else {
            assert_eq!(&shown[..], envoys, "{}", program.name());
        }
    }
    assert_eq!(envoys[1].0["named"].stats["membership_total"], 2);
}

/// What is moved into a watched directory is a sign to read the file again,
/// whatever it is called: that is how mounted volumes change.
#[test]
fn a_directory_is_watched_instead() {
    let Some(programs) = compared_programs("a_directory_is_watched_instead") else {
        return;
    };
    for program in &programs {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("v1")).expect("a folder");
        fs::create_dir(at("v2")).expect("a folder");
        put(&at("v1").join("hosts.yaml"), &file(FILES[0].1));
        put(&at("v2").join("hosts.yaml"), &file(FILES[3].1));
        let link = |to: &str| {
            std::os::unix::fs::symlink(at(to), at("new")).expect("a link");
            fs::rename(at("new"), at("data")).expect("the link can be moved");
        };
        link("v1");
        let source = format!(
            "path_config_source: {{ path: {}, watched_directory: {{ path: {} }} }}",
            at("data").join("hosts.yaml").display(),
            folder.path().display()
        );
        let process = Process::start(program, &configuration(&source));
        await_attempts(&process, 1);
        link("v2");
        await_attempts(&process, 2);
        assert_eq!(
            version(&process),
            "cluster.named.version_text: \"a long version\""
        );
    }
}

/// Hosts that nobody names again in time are gone.
#[test]
fn stale_hosts_are_gone() {
    let Some(programs) = compared_programs("stale_hosts_are_gone") else {
        return;
    };
    let mut envoys = None;
    for program in &programs {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("hosts.yaml");
        let text = assignment!(
            "1",
            "policy: { endpoint_stale_after: 0.3s }",
            "{ lb_endpoints: [ @81 ] }"
        );
        put(&place, &file(text));
        let source = format!("path_config_source: {{ path: {} }}", place.display());
        let process = Process::start(program, &configuration(&source));
        let (stats, stale) = process.admin().await_stats(PATIENCE, |stats| {
            stats.get("cluster.named.assignment_stale") == Some(&1)
                && stats.get("cluster.named.membership_total") == Some(&0)
        });
        assert!(stale, "{}: {stats:?}", program.name());
        let shown = show(&process);
        match &envoys {
            None => envoys = Some(shown),
            Some(theirs) => assert_eq!(&shown, theirs, "{}", program.name()),
        }
    }
}
