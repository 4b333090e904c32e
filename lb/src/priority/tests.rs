use super::*;

fn host(priority: u32, health: Health) -> Host {
    Host {
        priority,
        health,
        ..Host::default()
    }
}

/// Hosts of one priority: so many healthy, degraded and unhealthy ones.
fn hosts(priorities: &[(usize, usize, usize)]) -> Vec<Host> {
    let mut hosts = Vec::new();
    for (priority, (healthy, degraded, unhealthy)) in (0..).zip(priorities) {
        let kinds = [
            (*healthy, Health::Healthy),
            (*degraded, Health::Degraded),
            (*unhealthy, Health::Unhealthy),
        ];
        for (number, health) in kinds {
            hosts.extend((0..number).map(|_| host(priority, health)));
        }
    }
    hosts
}

fn loads(common: &Common, hosts: &[Host]) -> PriorityLoads {
    let priorities = hosts.iter().map(|host| host.priority + 1).max();
    PriorityLoads::new(common, priorities.unwrap_or(0) as usize, hosts.iter())
}

/// The table of Envoy's documentation, "Priority levels": health of P0 and
/// P1 in percent of hosts, then the traffic that each one gets.
#[test]
fn two_priorities_as_documented() {
    let table = [
        ((100, 100), [100, 0]),
        ((72, 72), [100, 0]),
        ((71, 71), [99, 1]),
        ((50, 50), [70, 30]),
        ((25, 100), [35, 65]),
        ((25, 25), [50, 50]),
    ];
    let common = Common {
        healthy_panic_threshold: 0.0,
        ..Common::default()
    };
    for ((p0, p1), expected) in table {
        let hosts = hosts(&[(p0, 0, 100 - p0), (p1, 0, 100 - p1)]);
        let found = loads(&common, &hosts);
        assert_eq!(found.loads.healthy, expected, "health {p0} and {p1}");
        assert_eq!(found.loads.degraded, [0, 0]);
    }
}

#[test]
fn degraded_hosts_take_what_healthy_ones_cannot() {
    // One healthy and one degraded host: 70 % and what is left.
    let found = loads(&Common::default(), &hosts(&[(1, 1, 0)]));
    assert_eq!(found.loads.healthy, [70]);
    assert_eq!(found.loads.degraded, [30]);
    // 10/20/10 % healthy and 20/10/0 % degraded, as a comment of the API says
    // for a factor of 100: rounding goes to the first healthy priority.
    let common = Common {
        overprovisioning_factor: 100,
        healthy_panic_threshold: 0.0,
        ..Common::default()
    };
    let hosts = hosts(&[(1, 2, 7), (2, 1, 7), (1, 0, 9)]);
    let found = loads(&common, &hosts);
    assert_eq!(found.loads.healthy, [16, 28, 14]);
    assert_eq!(found.loads.degraded, [28, 14, 0]);
}

#[test]
fn excluded_hosts_are_not_counted() {
    let mut hosts = hosts(&[(1, 0, 1), (1, 0, 0)]);
    assert_eq!(
        loads(&Common::default(), &hosts).loads.healthy,
        [70, 30],
        "half of P0 is not healthy"
    );
    hosts[1].excluded = true;
    assert_eq!(loads(&Common::default(), &hosts).loads.healthy, [100, 0]);
}

#[test]
fn weighted_health_counts_weights() {
    let mut hosts = hosts(&[(1, 0, 1), (1, 0, 0)]);
    hosts[1].weight = 9;
    let common = Common {
        weighted_priority_health: true,
        ..Common::default()
    };
    assert_eq!(loads(&common, &hosts).loads.healthy, [14, 86]);
    assert_eq!(loads(&Common::default(), &hosts).loads.healthy, [70, 30]);
}

#[test]
fn panic_is_for_priorities_that_cannot_be_helped() {
    // P0 has a third of its hosts, but P1 can take the rest: no panic.
    let found = loads(&Common::default(), &hosts(&[(1, 0, 2), (3, 0, 0)]));
    assert_eq!(found.panic, [false, false]);
    assert_eq!(found.loads.healthy, [46, 54]);
    // Both together have not enough; only P0 is below the threshold.
    let found = loads(&Common::default(), &hosts(&[(0, 0, 4), (2, 0, 2)]));
    assert_eq!(found.panic, [true, false]);
    assert_eq!(found.loads.healthy, [0, 100]);
    // Both are below: shares by the number of hosts.
    let found = loads(&Common::default(), &hosts(&[(1, 0, 3), (1, 0, 7)]));
    assert_eq!(found.panic, [true, true]);
    assert_eq!(found.loads.healthy, [34, 66]);
}

#[test]
fn the_threshold_is_rounded_and_a_limit_that_is_not_panic() {
    let with = |threshold| Common {
        healthy_panic_threshold: threshold,
        ..Common::default()
    };
    let half = hosts(&[(1, 0, 1)]);
    assert_eq!(loads(&with(50.0), &half).panic, [false]);
    assert_eq!(loads(&with(50.4), &half).panic, [false]);
    assert_eq!(loads(&with(50.5), &half).panic, [true]);
    assert_eq!(loads(&with(1e9), &half).panic, [true]);
    assert_eq!(loads(&with(f64::NAN), &half).panic, [false]);
    // Degraded hosts count as available.
    assert_eq!(loads(&with(60.0), &hosts(&[(1, 1, 1)])).panic, [false]);
}

#[test]
fn without_hosts_or_without_panic_everything_is_for_the_first_priority() {
    let found = PriorityLoads::new(&Common::default(), 1, [].iter());
    assert_eq!((found.loads.healthy, found.panic), (vec![100], vec![true]));
    let common = Common {
        healthy_panic_threshold: 0.0,
        ..Common::default()
    };
    let found = loads(&common, &hosts(&[(0, 0, 2), (0, 0, 2)]));
    assert_eq!(found.loads.healthy, [100, 0]);
    assert_eq!(found.panic, [false, false]);
}

#[test]
fn an_empty_first_priority_is_skipped() {
    let found = loads(&Common::default(), &hosts(&[(0, 0, 0), (3, 0, 0)]));
    assert_eq!(found.loads.healthy, [0, 100]);
    // In total panic the first priority with hosts takes the rest.
    let found = loads(&Common::default(), &hosts(&[(0, 0, 0), (0, 0, 3)]));
    assert_eq!(found.loads.healthy, [0, 100]);
}

#[test]
fn choices_follow_the_loads_exactly() {
    let loads = Loads {
        healthy: vec![20, 30],
        degraded: vec![0, 50],
    };
    let mut counts = [0; 3];
    for number in 700..800 {
        match loads.choose(number) {
            (0, Availability::Healthy) => counts[0] += 1,
            (1, Availability::Healthy) => counts[1] += 1,
            (1, Availability::Degraded) => counts[2] += 1,
            other => panic!("{other:?} has no load"),
        }
    }
    assert_eq!(counts, [20, 30, 50]);
    assert_eq!(loads.choose(0), (0, Availability::Healthy));
    assert_eq!(loads.choose(19), (0, Availability::Healthy));
    assert_eq!(loads.choose(20), (1, Availability::Healthy));
    assert_eq!(loads.choose(99), (1, Availability::Degraded));
    assert_eq!(
        Loads::default().choose(5),
        (0, Availability::Healthy),
        "loads of nothing"
    );
}

/// For every combination of few hosts the shares are 100 % in all.
#[test]
fn loads_are_always_a_whole() {
    let mut cases = 0;
    for factor in [100, 140, 700] {
        for threshold in [0.0, 50.0, 100.0] {
            let common = Common {
                overprovisioning_factor: factor,
                healthy_panic_threshold: threshold,
                ..Common::default()
            };
            for code in 0..4usize.pow(6) {
                let digit = |place: u32| code / 4usize.pow(place) % 4;
                let hosts = hosts(&[
                    (digit(0), digit(1), digit(2)),
                    (digit(3), digit(4), digit(5)),
                ]);
                let found = PriorityLoads::new(&common, 2, hosts.iter()).loads;
                let sum: u32 = found.healthy.iter().chain(&found.degraded).sum();
                assert_eq!(sum, 100, "{common:?} {code}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 9 * 4096);
}

/// The loads of clusters one behind the other, and where they come from.
fn joined(
    threshold: f64,
    clusters: &[&[(usize, usize, usize)]],
) -> (PriorityLoads, Vec<(usize, u32)>) {
    let of = |cluster: &&[_]| loads(&Common::default(), &hosts(cluster));
    let parts: Vec<_> = clusters.iter().map(of).collect();
    PriorityLoads::joined(parts.iter(), threshold).expect("there are hosts")
}

#[test]
fn clusters_one_behind_the_other_share_as_priorities_do() {
    let (found, origins) = joined(50.0, &[&[(1, 0, 3)], &[(0, 0, 0), (1, 0, 0)], &[(5, 0, 0)]]);
    assert_eq!(found.loads.healthy, [35, 65, 0]);
    assert_eq!(
        origins,
        [(0, 0), (1, 1), (2, 0)],
        "an empty priority is none"
    );
    // Degraded hosts come after the healthy ones of all clusters.
    let (found, _) = joined(50.0, &[&[(0, 1, 0)], &[(1, 0, 1)]]);
    assert_eq!(found.loads.healthy, [0, 70]);
    assert_eq!(found.loads.degraded, [30, 0]);
}

#[test]
fn clusters_without_a_healthy_host_share_by_their_numbers() {
    let dead: &[&[_]] = &[&[(0, 0, 2)], &[(0, 0, 1)]];
    let (found, _) = joined(50.0, dead);
    assert_eq!(found.loads.healthy, [67, 33]);
    // Without panic all are for the first, which has nothing.
    let (found, _) = joined(0.0, dead);
    assert_eq!(found.loads.healthy, [100, 0]);
}

#[test]
fn clusters_without_hosts_have_nothing_to_share() {
    let empty = loads(&Common::default(), &[]);
    assert_eq!(PriorityLoads::joined([&empty].into_iter(), 50.0), None);
    assert_eq!(PriorityLoads::joined([].into_iter(), 50.0), None);
}

#[test]
fn all_for_one_priority() {
    let loads = Loads::only(1, Availability::Degraded, 3);
    assert_eq!(
        (loads.healthy, loads.degraded),
        (vec![0; 3], vec![0, 100, 0])
    );
}
