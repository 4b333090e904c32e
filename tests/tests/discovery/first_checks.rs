//! `ignore_new_hosts_until_first_hc`: hosts that nobody has checked yet do not
//! make the others look few, as in Envoy. And `dns_jitter`.

use super::live::{PATIENCE, Scene};
use super::traffic::ask;
use ringway_tests::fleet::Manner;
use ringway_tests::process::{Program, compared_programs};
use ringway_tests::programs;
use ringway_tests::tries::one_of_some;
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn on_all(test: &str, play: impl Fn(&Program)) {
    let programs = compared_programs(test);
    programs.iter().flatten().for_each(play);
}

#[test]
fn new_hosts_count_once_they_have_been_checked() {
    on_all("new_hosts_count_once_they_have_been_checked", |program| {
        for ignores in [true, false] {
            let fields = format!(
                "type: STRICT_DNS, dns_refresh_rate: 0.05s, common_lb_config: {{ \
                 ignore_new_hosts_until_first_hc: {ignores} }}, health_checks: [ {{ timeout: 30s, \
                 interval: 0.1s, no_traffic_interval: 0.1s, unhealthy_threshold: 1, \
                 healthy_threshold: 1, http_health_check: {{ path: / }} }} ],"
            );
            let scene = Scene::start(program, &[0], &fields);
            let await_stat = |name: &str, value: u64| {
                let full = format!("cluster.names.{name}");
                let (stats, reached) = (scene.process.admin()).await_stats(PATIENCE, |stats| {
                    stats.get(&full).copied().unwrap_or(0) == value
                });
                let found = stats.get(&full);
                assert!(reached, "{}: {name} {found:?}", scene.process.name());
            };
            await_stat("membership_healthy", 1);
            // Their checks are not over for a long time.
            scene.fleet.set(1, Manner::Slow(Duration::from_secs(25)));
            scene.fleet.set(2, Manner::Slow(Duration::from_secs(25)));
            scene.set(&[0, 1, 2]);
            scene.await_hosts(3);
            await_stat("membership_healthy", 1);
            await_stat("membership_excluded", if ignores { 2 } else { 0 });
            let address = scene.process.listener("live");
            // One of three healthy hosts is panic, one of one is not.
            let panics = || scene.stat("lb_healthy_panic");
            let begun = Instant::now();
            if ignores {
                let mut stream = TcpStream::connect(address).expect("a connection");
                for _ in 0..12 {
                    assert_eq!(ask(&mut stream).status(), 200);
                }
                assert_eq!(panics(), 0);
            } else {
                while panics() == 0 {
                    // Some of these wait for a host that does not answer.
                    let mut stream = TcpStream::connect(address).expect("a connection");
                    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                        .expect("the proxy reads");
                    std::thread::sleep(Duration::from_millis(20));
                    assert!(begun.elapsed() < PATIENCE, "no panic");
                }
            }
        }
    });
}

/// How many pauses between look-ups are measured.
const PAUSES: usize = 12;

/// The pauses between the look-ups of a name, sorted.
fn pauses(program: &Program, jitter: &str) -> Vec<Duration> {
    let fields =
        format!("type: STRICT_DNS, dns_lookup_family: V4_ONLY, dns_refresh_rate: 0.1s, {jitter}");
    let scene = Scene::start(program, &[0], &fields);
    let times = scene.await_look_ups(PAUSES + 1);
    let mut pauses: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    pauses.truncate(PAUSES);
    pauses.sort();
    pauses
}

/// `dns_jitter`: each pause is longer by another time below it, and without it
/// none is. That all of them are in one half of what is possible has a chance
/// below one in a thousand.
#[test]
fn look_ups_are_spread_by_the_jitter() {
    let ms = Duration::from_millis;
    on_all("look_ups_are_spread_by_the_jitter", |program| {
        one_of_some(|| {
            let even = pauses(program, "");
            let spread = pauses(program, "dns_jitter: 0.4s,");
            programs::say(&format!("{}: {even:.0?}, {spread:.0?}", program.name()));
            assert!(even[PAUSES / 2] < ms(200), "{even:?}");
            // The middle of 100 and 500 ms.
            let middle = ms(300);
            assert!(spread[0] < middle, "{spread:?}");
            assert!(spread[PAUSES - 1] > middle, "{spread:?}");
            assert!(spread[PAUSES / 2] < ms(600), "{spread:?}");
        });
    });
}
