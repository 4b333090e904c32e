use super::*;
use crate::config::{Policy, Selection, SlowStart};
use crate::members::Host;
use crate::testing::{Cluster, Fake, assert_share, chi_square, weighted};

fn least_request(choices: u32, selection: Selection) -> Policy {
    Policy::LeastRequest {
        choices,
        bias: 1.0,
        selection,
        slow_start: None,
    }
}

const TWO: Policy = Policy::LeastRequest {
    choices: 2,
    bias: 1.0,
    selection: Selection::NChoices,
    slow_start: None,
};

#[test]
fn of_two_hosts_the_busier_one_is_picked_when_drawn_twice() {
    let cluster = Cluster::new(TWO, weighted(&[1, 1]));
    let (counts, _) = cluster.count_with(40_000, |_, request| request.active = vec![5, 4]);
    assert_share(counts[0], 40_000, 0.25, 4.0);
}

/// With `d` choices of `n` hosts the one of rank `k` (0 is the idlest) is
/// picked with the probability that all draws are of its rank or above, but
/// not all above.
#[test]
fn picks_follow_the_ranks_of_the_hosts() {
    let hosts = 5;
    for choices in [1, 2, 3, 5] {
        let cluster = Cluster::new(
            least_request(choices, Selection::NChoices),
            weighted(&[1; 5]),
        );
        let (counts, _) =
            cluster.count_with(50_000, |_, request| request.active = vec![0, 1, 2, 3, 4]);
        for (rank, count) in counts[..hosts].iter().enumerate() {
            let at_least =
                |rank: usize| ((hosts - rank) as f64 / hosts as f64).powi(choices as i32);
            let share = at_least(rank) - at_least(rank + 1);
            assert_share(*count, 50_000, share, 4.0);
        }
    }
}

#[test]
fn a_full_scan_finds_the_idlest_and_is_fair_among_them() {
    let cluster = Cluster::new(least_request(2, Selection::FullScan), weighted(&[1; 6]));
    let (counts, _) =
        cluster.count_with(40_000, |_, request| request.active = vec![3, 1, 2, 1, 1, 1]);
    assert_eq!([counts[0], counts[2]], [0, 0]);
    // 3 degrees of freedom exceed 16.27 with a probability of 0.1 %.
    let idle = [counts[1], counts[3], counts[4], counts[5]];
    assert!(chi_square(&idle) < 16.27, "{counts:?}");
}

#[test]
fn unequal_weights_take_turns_by_weight_and_active_requests() {
    let with_bias = |bias, active: [u32; 2]| {
        let policy = Policy::LeastRequest {
            choices: 2,
            bias,
            selection: Selection::NChoices,
            slow_start: None,
        };
        let cluster = Cluster::new(policy, weighted(&[1, 3]));
        let (counts, _) = cluster.count_with(12_000, |_, request| request.active = active.to_vec());
        counts[1] as f64 / counts[0] as f64
    };
    let table = [
        (1.0, [0, 0], 3.0),
        // 3 / 6 and 1: as documented, a busy host gets less.
        (1.0, [0, 5], 0.5),
        (0.0, [0, 5], 3.0),
        (2.0, [0, 1], 0.75),
        (0.5, [0, 8], 1.0),
        // Out of range: as 1.
        (-1.0, [0, 5], 0.5),
        (f64::NAN, [0, 5], 0.5),
    ];
    for (bias, active, ratio) in table {
        let found = with_bias(bias, active);
        assert!(
            (found / ratio - 1.0).abs() < 0.001,
            "bias {bias}, {active:?} active: {found} instead of {ratio}"
        );
    }
}

#[test]
fn a_host_in_slow_start_takes_turns_by_its_part_of_the_weight() {
    let policy = Policy::LeastRequest {
        choices: 2,
        bias: 1.0,
        selection: Selection::NChoices,
        slow_start: Some(SlowStart {
            window_ms: 1000,
            aggression: 1.0,
            min_weight_percent: 10.0,
        }),
    };
    let new = Host {
        slow_start_since_ms: Some(0),
        ..Host::default()
    };
    let cluster = Cluster::new(policy, [Host::default(), new]);
    for (now_ms, ratio) in [(0, 0.1), (100, 0.1), (250, 0.25), (1000, 1.0)] {
        let (counts, _) = cluster.count_with(11_000, |_, request| request.now_ms = now_ms);
        let found = counts[1] as f64 / counts[0] as f64;
        assert!(
            (found / ratio - 1.0).abs() < 0.002,
            "{found} at {now_ms} ms"
        );
    }
}

#[test]
fn no_hosts_give_no_pick() {
    let mut request = Fake::default();
    assert_eq!(pick_of_choices(&[], 2, &mut request), None);
    assert_eq!(pick_of_all(&[], &mut request), None);
    assert_eq!(pick_of_choices(&[7], 0, &mut request), Some(7));
}

/// Balls into bins (Mitzenmacher): `n` requests that stay, on `n` hosts. The
/// fullest host has about ln n / ln ln n of them when hosts are drawn at
/// random, and ln ln n / ln 2 plus a constant when the better of two is taken.
#[test]
fn two_choices_keep_the_fullest_host_low() {
    let fullest = |policy: &Policy| -> f64 {
        let runs = 20;
        let hosts = 1000;
        let cluster = Cluster::new(policy.clone(), weighted(&vec![1; hosts]));
        let balancer = cluster.build();
        let sum: u32 = (0..runs)
            .map(|run| {
                let mut cursor = balancer.cursor(run);
                let mut request = Fake::seeded(run);
                request.active = vec![0; hosts];
                for _ in 0..hosts {
                    let pick = balancer.pick(&mut cursor, &mut request).host;
                    request.active[pick.expect("there are hosts") as usize] += 1;
                }
                request.active.iter().copied().max().unwrap_or(0)
            })
            .sum();
        f64::from(sum) / runs as f64
    };
    let random = fullest(&Policy::Random);
    let two = fullest(&TWO);
    let three = fullest(&least_request(3, Selection::NChoices));
    let all = fullest(&least_request(2, Selection::FullScan));
    assert!((5.0..6.2).contains(&random), "{random}");
    assert!((2.9..3.2).contains(&two), "{two}");
    assert!((2.0..3.0).contains(&three), "{three}");
    assert!((all - 1.0).abs() < 1e-9, "{all}");
}
