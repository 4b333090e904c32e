use super::*;
use crate::balancer::Balancer;
use crate::config::LocalityMode;
use crate::members::{Health, Host, Locality};
use crate::testing::{Cluster, Fake, ROUND_ROBIN, assert_share};

/// A cluster whose locality `i` has id `i + 1`, `hosts[i]` healthy hosts, and
/// the weight `weights[i]`.
fn cluster(mode: LocalityMode, hosts: &[u32], weights: &[Option<u32>]) -> Cluster {
    let mut cluster = Cluster::new(ROUND_ROBIN, []);
    cluster.common.locality = mode;
    for (index, hosts) in (0..).zip(hosts) {
        cluster.localities.push(Locality {
            id: index + 1,
            priority: 0,
            weight: weights.get(index as usize).copied().flatten(),
        });
        cluster.hosts.extend((0..*hosts).map(|_| Host {
            locality: index,
            ..Host::default()
        }));
    }
    cluster
}

/// Picks by locality, the last number is picks of nothing.
fn by_locality(cluster: &Cluster, picks: usize) -> (Vec<usize>, Events) {
    let (counts, events) = cluster.count(picks);
    let mut localities = vec![0; cluster.localities.len() + 1];
    for (host, count) in cluster.hosts.iter().zip(&counts) {
        localities[host.locality as usize] += count;
    }
    localities[cluster.localities.len()] = counts[cluster.hosts.len()];
    (localities, events)
}

#[test]
fn requests_follow_the_weights_of_localities() {
    let cluster = cluster(
        LocalityMode::Weighted,
        &[1, 5, 2, 1],
        &[Some(1), Some(3), Some(4), None],
    );
    let (counts, events) = by_locality(&cluster, 8000);
    for (count, share) in counts.iter().zip([1000usize, 3000, 4000, 0, 0]) {
        assert!(count.abs_diff(share) <= 2, "{counts:?}");
    }
    assert!(events.is_empty());
}

#[test]
fn a_locality_counts_for_as_much_as_is_available_of_it() {
    // Four of five hosts with a factor of 1.4 are still a whole locality, two
    // of five are 56 % of it.
    for (healthy, weight) in [(5, 100), (4, 100), (2, 56)] {
        let mut cluster = cluster(LocalityMode::Weighted, &[5, 5], &[Some(1), Some(1)]);
        for host in &mut cluster.hosts[healthy..5] {
            host.health = Health::Unhealthy;
        }
        let picks = (100 + weight) * 50;
        let (counts, _) = by_locality(&cluster, picks);
        assert!(
            counts[0].abs_diff(weight * 50) <= 1,
            "{healthy}: {counts:?}"
        );
    }
}

#[test]
fn excluded_hosts_do_not_lower_a_locality() {
    let mut cluster = cluster(LocalityMode::Weighted, &[4, 4], &[Some(1), Some(1)]);
    for host in &mut cluster.hosts[1..4] {
        host.health = Health::Unhealthy;
        host.excluded = true;
    }
    let (counts, _) = by_locality(&cluster, 1000);
    assert!(counts[0].abs_diff(500) <= 1, "{counts:?}");
}

#[test]
fn degraded_hosts_have_weights_of_their_own() {
    let mut cluster = cluster(LocalityMode::Weighted, &[2, 2], &[Some(1), Some(3)]);
    for (host, health) in cluster.hosts.iter_mut().zip([
        Health::Healthy,
        Health::Degraded,
        Health::Healthy,
        Health::Degraded,
    ]) {
        host.health = health;
    }
    let (counts, _) = cluster.count(20_000);
    assert_share(counts[1] + counts[3], 20_000, 0.3, 4.0);
    for pair in [[counts[0], counts[2]], [counts[1], counts[3]]] {
        assert!(pair[1].abs_diff(3 * pair[0]) <= 4, "{counts:?}");
    }
}

#[test]
fn without_any_weight_localities_do_not_matter() {
    let cluster = cluster(LocalityMode::Weighted, &[1, 3], &[None, Some(0)]);
    assert_eq!(cluster.count(400).0, [100, 100, 100, 100, 0]);
}

/// In zone 1 of a cluster with so many healthy hosts by zone.
fn zones(own_cluster: &[u32], upstream: &[u32]) -> Cluster {
    let mode = LocalityMode::ZoneAware(ZoneAware::default());
    let mut cluster = cluster(mode, upstream, &[]);
    let healthy: Vec<(u32, u32)> = (1..).zip(own_cluster.iter().copied()).collect();
    let whole = own_cluster.iter().sum();
    cluster.local = Some(LocalCluster {
        own: 1,
        healthy_by_locality: healthy,
        counted: whole,
        available: whole,
    });
    cluster
}

fn change(cluster: &mut Cluster, change: impl FnOnce(&mut ZoneAware)) {
    if let LocalityMode::ZoneAware(zone) = &mut cluster.common.locality {
        change(zone);
    }
}

fn built(cluster: &Cluster) -> Events {
    Balancer::built(&cluster.build())
}

#[test]
fn everything_stays_where_the_own_zone_has_its_share() {
    for upstream in [[4, 4, 4], [6, 3, 3]] {
        let cluster = zones(&[2, 2, 2], &upstream);
        assert_eq!(built(&cluster), Events::RECALCULATE_ZONE_STRUCTURES);
        let (counts, events) = by_locality(&cluster, 1000);
        assert_eq!(counts, [1000, 0, 0, 0]);
        assert_eq!(events, Events::ZONE_ROUTING_ALL_DIRECTLY);
    }
}

#[test]
fn what_the_own_zone_cannot_take_goes_where_there_is_room() {
    // Half of the proxies, a quarter of the hosts: half of the requests stay.
    // The other zones have 35 % - 25 % and 40 % - 25 % of room.
    let cluster = zones(&[2, 1, 1], &[5, 7, 8]);
    let (counts, events) = by_locality(&cluster, 20_000);
    assert_share(counts[0], 20_000, 0.5, 4.0);
    assert_share(counts[1], 20_000, 0.5 * 0.4, 4.0);
    assert_share(counts[2], 20_000, 0.5 * 0.6, 4.0);
    assert_eq!(
        events,
        Events::ZONE_ROUTING_SAMPLED | Events::ZONE_ROUTING_CROSS_ZONE
    );
}

#[test]
fn a_zone_without_hosts_sends_everything_away() {
    let mut cluster = zones(&[1, 1, 1], &[4, 4]);
    // The upstream zones are 2 and 3.
    cluster.localities[0].id = 2;
    cluster.localities[1].id = 3;
    let (counts, events) = by_locality(&cluster, 10_000);
    assert_share(counts[0], 10_000, 0.5, 4.0);
    assert_eq!(counts[0] + counts[1], 10_000);
    assert_eq!(events, Events::ZONE_ROUTING_CROSS_ZONE);
}

#[test]
fn the_own_zone_is_found_wherever_it_is_listed() {
    let mut cluster = zones(&[1, 1, 1], &[4, 4, 4]);
    if let Some(local) = &mut cluster.local {
        local.own = 3;
    }
    assert_eq!(by_locality(&cluster, 100).0, [0, 0, 100, 0]);
}

#[test]
fn rounding_may_leave_no_room() {
    // The own zone has 1 of 3 proxies and nothing healthy upstream, the others
    // have less room than the proxies there need.
    let mut cluster = zones(&[1, 3, 3], &[1, 3, 3]);
    cluster.hosts[0].health = Health::Unhealthy;
    change(&mut cluster, |zone| zone.min_cluster_size = 1);
    if let Some(local) = &mut cluster.local {
        local.healthy_by_locality = vec![(1, 0), (2, 500), (3, 500)];
    }
    let (counts, events) = by_locality(&cluster, 9000);
    assert!(events.contains(Events::ZONE_NO_CAPACITY_LEFT | Events::ZONE_ROUTING_CROSS_ZONE));
    // One of three localities at random; the first one has no host.
    for count in [counts[1], counts[2], counts[3]] {
        assert_share(count, 9000, 1.0 / 3.0, 4.0);
    }
}

#[test]
fn some_clusters_are_not_for_zones() {
    let all = Events::RECALCULATE_ZONE_STRUCTURES;
    let even = |cluster: &Cluster, expected: Events| {
        assert_eq!(built(cluster), expected);
        let (counts, events) = cluster.count(1200);
        let share = 1200 / cluster.hosts.len();
        assert!(counts[..cluster.hosts.len()].iter().all(|c| *c == share));
        assert!(events.is_empty(), "{events:?}");
    };
    // No cluster of our own.
    let mut cluster = zones(&[1, 1], &[3, 3]);
    cluster.local = None;
    even(&cluster, Events::NONE);
    // One zone only, on either side.
    even(&zones(&[1, 1], &[6]), all);
    even(&zones(&[2], &[3, 3]), all);
    // Fewer healthy hosts than are asked for.
    even(
        &zones(&[1, 1], &[2, 3]),
        all | Events::ZONE_CLUSTER_TOO_SMALL,
    );
    // Nothing of our own where we are.
    let mut cluster = zones(&[1, 1], &[3, 3]);
    if let Some(local) = &mut cluster.local {
        local.own = 9;
    }
    even(&cluster, all | Events::LOCAL_CLUSTER_NOT_OK);
}

#[test]
fn a_part_of_the_requests_may_be_left_alone() {
    let mut cluster = zones(&[1, 1], &[3, 3]);
    change(&mut cluster, |zone| zone.routing_enabled = 40.4);
    let (counts, _) = by_locality(&cluster, 20_000);
    // 40 % stay, and half of the others by turns.
    assert_share(counts[0], 20_000, 0.7, 4.0);
    change(&mut cluster, |zone| zone.routing_enabled = 0.0);
    assert_eq!(by_locality(&cluster, 600).0, [300, 300, 0]);
}

#[test]
fn panic_of_the_own_cluster_turns_zones_off() {
    let mut cluster = zones(&[1, 1], &[3, 3]);
    if let Some(local) = &mut cluster.local {
        local.available = 1;
        local.counted = 3;
    }
    let (counts, events) = by_locality(&cluster, 600);
    assert_eq!(counts, [300, 300, 0]);
    assert_eq!(events, Events::LOCAL_CLUSTER_NOT_OK);
    change(&mut cluster, |zone| zone.fail_traffic_on_panic = true);
    let (counts, events) = by_locality(&cluster, 600);
    assert_eq!(counts, [0, 0, 600]);
    assert_eq!(events, Events::LOCAL_CLUSTER_NOT_OK);
}

#[test]
fn requests_may_fail_in_panic() {
    let mut cluster = zones(&[1, 1], &[3, 3]);
    for host in &mut cluster.hosts[..4] {
        host.health = Health::Unhealthy;
    }
    let (counts, events) = by_locality(&cluster, 600);
    assert_eq!(counts, [300, 300, 0]);
    assert_eq!(events, Events::HEALTHY_PANIC);
    change(&mut cluster, |zone| zone.fail_traffic_on_panic = true);
    let (counts, events) = by_locality(&cluster, 600);
    assert_eq!(counts, [0, 0, 600]);
    assert_eq!(events, Events::HEALTHY_PANIC);
}

#[test]
fn the_own_zone_can_be_forced() {
    // A tenth of the hosts for half of the proxies.
    let mut cluster = zones(&[1, 1], &[2, 18]);
    let (counts, _) = by_locality(&cluster, 10_000);
    assert_share(counts[0], 10_000, 0.2, 4.0);
    let force = |size| move |zone: &mut ZoneAware| zone.force_local_zone_min_size = Some(size);
    change(&mut cluster, force(2));
    assert_eq!(by_locality(&cluster, 100).0, [100, 0, 0]);
    change(&mut cluster, force(3));
    let (counts, _) = by_locality(&cluster, 10_000);
    assert_share(counts[0], 10_000, 0.2, 4.0);
    // It needs no second zone of our own.
    let mut alone = zones(&[1], &[2, 18]);
    change(&mut alone, force(1));
    assert_eq!(by_locality(&alone, 100).0, [100, 0, 0]);
}

#[test]
fn zones_may_be_compared_by_weight() {
    let mut cluster = zones(&[1, 1], &[3, 3]);
    for host in &mut cluster.hosts[3..] {
        host.weight = 3;
    }
    assert_eq!(by_locality(&cluster, 100).0, [100, 0, 0]);
    change(&mut cluster, |zone| {
        zone.locality_basis = LocalityBasis::HealthyHostsWeight;
    });
    // A quarter of the weight for half of the proxies.
    let (counts, _) = by_locality(&cluster, 10_000);
    assert_share(counts[0], 10_000, 0.5, 4.0);
}

#[test]
fn zones_are_for_the_first_priority_only() {
    let mut cluster = zones(&[1, 1], &[3, 3]);
    for host in &mut cluster.hosts {
        host.priority = 1;
    }
    // Zones are calculated for the first priority, which has no hosts.
    assert_eq!(by_locality(&cluster, 600).0, [300, 300, 0]);
    assert_eq!(built(&cluster), Events::RECALCULATE_ZONE_STRUCTURES);
}

#[test]
fn weights_come_before_zones() {
    let mut cluster = zones(&[1, 1], &[3, 3]);
    cluster.common.locality = LocalityMode::Weighted;
    assert_eq!(
        by_locality(&cluster, 100).0,
        [100, 0, 0],
        "without weights zones matter"
    );
    cluster.localities[0].weight = Some(1);
    cluster.localities[1].weight = Some(3);
    let (counts, _) = by_locality(&cluster, 400);
    assert!(counts[0].abs_diff(100) <= 1, "{counts:?}");
}

#[test]
fn the_turns_of_localities_begin_at_random() {
    let cluster = cluster(
        LocalityMode::Weighted,
        &[1, 1, 1],
        &[Some(1), Some(1), Some(1)],
    );
    let balancer = cluster.build();
    let mut first = [0; 3];
    for seed in 0..100 {
        let pick = balancer.pick(&mut balancer.cursor(seed), &mut Fake::seeded(0));
        first[pick.host.expect("there are hosts") as usize] += 1;
    }
    assert!(first.iter().all(|count| *count > 10), "{first:?}");
}
