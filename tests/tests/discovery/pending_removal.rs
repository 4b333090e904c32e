//! Hosts that are no longer found: those that health checks find healthy stay,
//! and what becomes of connections, as in Envoy.

use super::live::{PATIENCE, Scene};
use super::traffic::ask;
use ringway_tests::process::{Program, compared_programs};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const CHECKED: &str = "type: STRICT_DNS, dns_refresh_rate: 0.05s, health_checks: [ { timeout: 1s, \
                       interval: 0.05s, no_traffic_interval: 0.05s, unhealthy_threshold: 1, \
                       healthy_threshold: 1, http_health_check: { path: / } } ],";

fn on_all(test: &str, play: impl Fn(&Program)) {
    let programs = compared_programs(test);
    programs.iter().flatten().for_each(play);
}

/// Waits until so many hosts are healthy.
fn await_healthy(scene: &Scene, count: u64) {
    let name = "cluster.names.membership_healthy";
    let (stats, reached) = (scene.process.admin()).await_stats(PATIENCE, |stats| {
        stats.get(name).copied().unwrap_or(0) == count
    });
    assert!(reached, "{}: {:?}", scene.process.name(), stats.get(name));
}

/// What `/clusters` says against a host, or nothing if it has no such host.
fn flags(scene: &Scene, host: usize) -> Option<String> {
    let text = scene.process.admin().get("/clusters").text();
    let key = format!("names::{}::health_flags::", scene.fleet.address(host));
    let line = text.lines().find_map(|line| line.strip_prefix(&key));
    line.map(str::to_owned)
}

fn await_flags(scene: &Scene, host: usize, expected: Option<&str>) {
    let begun = Instant::now();
    while flags(scene, host).as_deref() != expected {
        let found = flags(scene, host);
        let name = scene.process.name();
        assert!(
            begun.elapsed() < PATIENCE,
            "{name}: {found:?}, not {expected:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_healthy_host_stays_until_it_fails() {
    on_all("a_healthy_host_stays_until_it_fails", |program| {
        let mut scene = Scene::start(program, &[0, 1], CHECKED);
        await_healthy(&scene, 2);
        scene.set(&[0]);
        await_flags(&scene, 1, Some("/pending_dynamic_removal"));
        assert_eq!(flags(&scene, 0).as_deref(), Some("healthy"));
        // However often the name is looked up, and it has its requests.
        scene.await_more("update_success", 2);
        assert_eq!(scene.stat("membership_total"), 2);
        let mut stream = TcpStream::connect(scene.process.listener("live")).expect("a connection");
        let before = scene.fleet.connections(1);
        assert!((0..4).all(|_| ask(&mut stream).status() == 200));
        assert!(scene.fleet.requests(1) > before);

        // It is found again, and is one of the hosts as before.
        scene.set(&[1, 0]);
        await_flags(&scene, 1, Some("healthy"));
        scene.set(&[0, 2]);
        await_flags(&scene, 1, Some("/pending_dynamic_removal"));
        await_healthy(&scene, 3);

        scene.fleet.kill(1);
        await_flags(&scene, 1, None);
        scene.await_hosts(2);
        assert_eq!(flags(&scene, 0).as_deref(), Some("healthy"));
    });
}

#[test]
fn a_host_that_fails_or_need_not_be_healthy_goes_at_once() {
    let test = "a_host_that_fails_or_need_not_be_healthy_goes_at_once";
    on_all(test, |program| {
        let mut scene = Scene::start(program, &[0, 1], CHECKED);
        await_healthy(&scene, 2);
        scene.fleet.kill(1);
        await_healthy(&scene, 1);
        scene.set(&[0]);
        scene.await_hosts(1);
        let fields = format!("ignore_health_on_host_removal: true, {CHECKED}");
        let scene = Scene::start(program, &[0, 1], &fields);
        await_healthy(&scene, 2);
        scene.set(&[1]);
        scene.await_hosts(1);
    });
}

#[test]
fn connections_are_given_up_when_hosts_come_or_go() {
    on_all(
        "connections_are_given_up_when_hosts_come_or_go",
        |program| {
            for closes in [true, false] {
                let fields = format!(
                    "common_lb_config: {{ close_connections_on_host_set_change: {closes} }}, \
                 type: STRICT_DNS, dns_refresh_rate: 0.05s,"
                );
                let scene = Scene::start(program, &[0, 1], &fields);
                let address = scene.process.listener("live");
                let mut stream = TcpStream::connect(address).expect("a connection");
                // One connection to each host.
                for _ in 0..2 {
                    assert_eq!(ask(&mut stream).status(), 200);
                }
                assert_eq!(scene.stat("upstream_cx_active"), 2);
                scene.set(&[0, 1, 2]);
                scene.await_hosts(3);
                if closes {
                    let (stats, closed) = (scene.process.admin()).await_stats(PATIENCE, |stats| {
                        stats.get("cluster.names.upstream_cx_active") == Some(&0)
                    });
                    assert!(closed, "{}: {stats:?}", scene.process.name());
                    assert_eq!(scene.stat("upstream_cx_destroy_local"), 2);
                } else {
                    scene.await_more("update_success", 2);
                    assert_eq!(scene.stat("upstream_cx_active"), 2);
                }
                for _ in 0..3 {
                    assert_eq!(ask(&mut stream).status(), 200);
                }
            }
        },
    );
}
