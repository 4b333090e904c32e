use super::*;
use crate::config::Selection;
use crate::testing::{Cluster, Fake, ROUND_ROBIN, assert_share, host, weighted};

#[test]
fn what_is_shared_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Balancer>();
    sent::<Cursor>();
}

#[test]
fn without_hosts_there_is_no_pick() {
    let cluster = Cluster::new(ROUND_ROBIN, []);
    assert_eq!(cluster.count(10), (vec![10], Events::HEALTHY_PANIC));
}

#[test]
fn round_robin_turns_over_healthy_hosts_only() {
    use Health::{Healthy, Unhealthy};
    let healths = [Healthy, Unhealthy, Healthy, Healthy];
    let cluster = Cluster::new(ROUND_ROBIN, healths.map(|health| host(0, health, 1)));
    let (counts, events) = cluster.count(3000);
    assert_eq!(counts, [1000, 0, 1000, 1000, 0]);
    assert!(events.is_empty());
}

#[test]
fn round_robin_by_weight_is_exact() {
    let cluster = Cluster::new(ROUND_ROBIN, weighted(&[1, 2, 1]));
    let (counts, _) = cluster.count(4000);
    for (count, share) in counts.iter().zip([1000usize, 2000, 1000]) {
        assert!(count.abs_diff(share) <= 1, "{counts:?}");
    }
}

#[test]
fn each_list_has_turns_of_its_own() {
    // 70 % of the requests are for the healthy hosts, 30 % for the degraded
    // ones, and both take turns.
    use Health::{Degraded, Healthy};
    let healths = [Healthy, Healthy, Degraded, Degraded];
    let cluster = Cluster::new(ROUND_ROBIN, healths.map(|health| host(0, health, 1)));
    let (counts, events) = cluster.count(10_000);
    assert!(counts[0].abs_diff(counts[1]) <= 1, "{counts:?}");
    assert!(counts[2].abs_diff(counts[3]) <= 1, "{counts:?}");
    assert_share(counts[2] + counts[3], 10_000, 0.3, 4.0);
    assert!(events.is_empty());
}

#[test]
fn in_panic_all_hosts_are_used_and_it_is_told() {
    use Health::{Healthy, Unhealthy};
    let healths = [Healthy, Unhealthy, Unhealthy];
    let mut cluster = Cluster::new(ROUND_ROBIN, healths.map(|health| host(0, health, 1)));
    let panic = (vec![1000, 1000, 1000, 0], Events::HEALTHY_PANIC);
    assert_eq!(cluster.count(3000), panic);
    cluster.common.healthy_panic_threshold = 0.0;
    assert_eq!(cluster.count(3000), (vec![3000, 0, 0, 0], Events::NONE));
}

#[test]
fn a_retry_may_bring_loads_of_its_own() {
    let hosts = [host(0, Health::Healthy, 1), host(1, Health::Healthy, 1)];
    let balancer = Cluster::new(ROUND_ROBIN, hosts).build();
    assert_eq!(balancer.priorities().loads.healthy, [100, 0]);
    let mut cursor = balancer.cursor(0);
    let mut pick = |healthy: Vec<u32>| {
        let degraded = vec![0; healthy.len()];
        let mut request = Fake::seeded(1);
        request.loads = Some(Loads { healthy, degraded });
        balancer.pick(&mut cursor, &mut request).host
    };
    assert_eq!(pick(vec![0, 100]), Some(1));
    assert_eq!(pick(vec![100, 0]), Some(0));
    assert_eq!(pick(vec![0, 0, 100]), None, "a priority that is not there");
}

#[test]
fn numbers_out_of_range_are_taken_into_it() {
    let hosts = [
        host(u32::MAX, Health::Healthy, 0),
        host(0, Health::Healthy, 1),
    ];
    let cluster = Cluster::new(ROUND_ROBIN, hosts);
    assert_eq!(cluster.build().priorities().panic.len(), 129);
    assert_eq!(cluster.count(10).0, [0, 10, 0]);
}

#[test]
fn workers_begin_at_different_hosts() {
    for weights in [[1; 8], [1, 2, 3, 4, 5, 6, 7, 8]] {
        let balancer = Cluster::new(ROUND_ROBIN, weighted(&weights)).build();
        let mut first = [0; 8];
        for seed in 0..400 {
            let pick = balancer.pick(&mut balancer.cursor(seed), &mut Fake::seeded(0));
            first[pick.host.expect("there are hosts") as usize] += 1;
        }
        assert!(first.iter().all(|count| *count > 0), "{first:?}");
    }
}

#[test]
fn a_cursor_costs_nothing_per_host_while_weights_are_equal() {
    let hosts = |count: usize| Cluster::new(ROUND_ROBIN, weighted(&vec![1; count]));
    assert!(size_of::<Cursor>() <= 128, "{}", size_of::<Cursor>());
    for count in [10, 10_000] {
        let balancer = hosts(count).build();
        let mut cursor = balancer.cursor(1);
        for _ in 0..100 {
            balancer.pick(&mut cursor, &mut Fake::seeded(0));
        }
        assert_eq!(cursor.group.heap_bytes(), 3 * 16, "{count} hosts");
    }
    let weights: Vec<u32> = (1..=10_000).collect();
    let balancer = Cluster::new(ROUND_ROBIN, weighted(&weights)).build();
    let mut cursor = balancer.cursor(1);
    assert_eq!(cursor.group.heap_bytes(), 3 * 16, "before the first pick");
    balancer.pick(&mut cursor, &mut Fake::seeded(0));
    let bytes = cursor.group.heap_bytes() - 3 * 16;
    assert!(bytes <= 16 * 10_000 + 64, "{bytes} bytes for 10,000 hosts");
}

#[test]
fn policies_that_hash_pick_at_random_without_a_hash() {
    for policy in [
        Policy::Maglev {
            table_size: 1021,
            balance_factor: None,
        },
        Policy::RingHash {
            min_size: 1024,
            max_size: 1024,
            function: crate::config::HashFunction::XxHash,
            balance_factor: None,
        },
    ] {
        let cluster = Cluster::new(policy, weighted(&[1; 4]));
        let (counts, _) = cluster.count(4000);
        assert!(counts[..4].iter().all(|count| *count > 600), "{counts:?}");
        let (counts, _) = cluster.count_with(100, |_, request| request.hash = Some(77));
        assert!(counts.contains(&100), "{counts:?}");
        // A host that was not wanted is not picked again and again.
        let (counts, _) = cluster.count_with(20, |number, request| {
            request.hash = Some(77);
            request.attempt = number as u32;
        });
        assert!(counts[..4].iter().all(|count| *count > 0), "{counts:?}");
    }
}

#[test]
fn what_is_looked_at_is_what_requests_get() {
    let least_request = Policy::LeastRequest {
        choices: 2,
        bias: 1.0,
        selection: Selection::default(),
        slow_start: None,
    };
    for (policy, weights) in [
        (ROUND_ROBIN, [1, 1, 1]),
        (ROUND_ROBIN, [1, 2, 3]),
        (Policy::Random, [1, 1, 1]),
        (least_request, [1, 2, 3]),
    ] {
        let balancer = Cluster::new(policy, weighted(&weights)).build();
        let mut cursor = balancer.cursor(7);
        let mut request = Fake::seeded(3);
        let mut ahead = VecDeque::new();
        for round in 0..100 {
            for _ in 0..round % 4 {
                let peek = balancer.peek(&mut cursor, &mut request);
                // As many as there are healthy hosts.
                assert_eq!(peek.host.is_some(), ahead.len() < 3);
                ahead.extend(peek.host);
            }
            let pick = balancer.pick(&mut cursor, &mut request);
            if let Some(expected) = ahead.pop_front() {
                assert_eq!(pick.host, Some(expected));
            }
        }
    }
}

#[test]
fn looking_ahead_takes_nobodys_turn() {
    let balancer = Cluster::new(ROUND_ROBIN, weighted(&[1; 3])).build();
    let (mut with, mut without) = (balancer.cursor(7), balancer.cursor(7));
    let request = &mut Fake::seeded(3);
    for round in 0..30 {
        if round % 2 == 0 {
            balancer.peek(&mut with, request);
        }
        let picks = [&mut with, &mut without].map(|cursor| balancer.pick(cursor, request));
        assert_eq!(picks[0], picks[1], "round {round}");
    }
}

#[test]
fn a_request_with_loads_of_its_own_does_not_take_what_was_looked_at() {
    let hosts = [host(0, Health::Healthy, 1), host(1, Health::Healthy, 1)];
    let balancer = Cluster::new(ROUND_ROBIN, hosts).build();
    let mut cursor = balancer.cursor(0);
    let request = &mut Fake::seeded(1);
    assert_eq!(balancer.peek(&mut cursor, request).host, Some(0));
    let loads = Loads {
        healthy: vec![0, 100],
        degraded: vec![0, 0],
    };
    request.loads = Some(loads);
    assert_eq!(balancer.pick(&mut cursor, request).host, Some(1));
}

#[test]
fn what_depends_on_the_request_or_its_moment_is_not_foreseen() {
    let least_request = Policy::LeastRequest {
        choices: 2,
        bias: 1.0,
        selection: Selection::default(),
        slow_start: None,
    };
    let maglev = Policy::Maglev {
        table_size: 1021,
        balance_factor: None,
    };
    for policy in [least_request, maglev] {
        let balancer = Cluster::new(policy, weighted(&[1; 3])).build();
        let mut cursor = balancer.cursor(7);
        let peek = balancer.peek(&mut cursor, &mut Fake::seeded(3));
        assert_eq!(peek, Pick::default());
    }
}
