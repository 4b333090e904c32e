//! Balls into bins: how full the fullest of n hosts is after n requests that
//! stay. Drawn at random about ln n / ln ln n, with the better of d choices
//! about ln ln n / ln d and a constant (Mitzenmacher).

use ringway_lb::config::{Policy, Selection};
use serde_json::{Value, json};

use super::{Simulated, balancer};

const HOSTS: usize = 1000;

fn least_request(choices: u32) -> Policy {
    Policy::LeastRequest {
        choices,
        bias: 1.0,
        selection: Selection::NChoices,
        slow_start: None,
    }
}

/// The mean of the fullest host of so many runs.
fn fullest(policy: &Policy, requests: usize, runs: u64) -> f64 {
    let balancer = balancer(policy, HOSTS, &[]);
    let mut sum = 0;
    for run in 0..runs {
        let mut cursor = balancer.cursor(run);
        let mut active = vec![0; HOSTS];
        let mut seed = run << 32 | 5;
        for _ in 0..requests {
            let mut request = Simulated {
                seed,
                hash: None,
                active: &active,
            };
            let pick = balancer.pick(&mut cursor, &mut request);
            seed = request.seed;
            active[pick.host.expect("there are hosts") as usize] += 1;
        }
        sum += u64::from(active.into_iter().max().unwrap_or(0));
    }
    sum as f64 / runs as f64
}

pub fn table(runs: u64) -> Value {
    let policies = [
        ("random", Policy::Random),
        ("2 choices", least_request(2)),
        ("3 choices", least_request(3)),
        ("4 choices", least_request(4)),
        ("round robin", Policy::RoundRobin { slow_start: None }),
    ];
    let rows = policies.map(|(name, policy)| {
        json!({
            "policy": name,
            "fullest_of_as_many_requests": fullest(&policy, HOSTS, runs),
            "fullest_of_ten_times_as_many": fullest(&policy, 10 * HOSTS, runs.div_ceil(10)),
        })
    });
    json!({ "hosts": HOSTS, "runs": runs, "rows": rows })
}

/// ln n / ln ln n is 3.6 for 1,000 and the constant in (1 + o(1)) large: 5 to 6
/// are seen; ln ln n / ln 2 is 2.8 and gives 3.
#[test]
fn two_choices_do_what_theory_says() {
    let random = fullest(&Policy::Random, HOSTS, 5);
    let two = fullest(&least_request(2), HOSTS, 5);
    assert!((5.0..6.4).contains(&random), "{random}");
    assert!((2.8..3.4).contains(&two), "{two}");
    // Ten times as many: the gap to the mean of 10 grows for random picks and
    // stays for two choices.
    let random = fullest(&Policy::Random, 10 * HOSTS, 2);
    let two = fullest(&least_request(2), 10 * HOSTS, 2);
    assert!(random - 10.0 > 9.0, "{random}");
    assert!(two - 10.0 < 3.0, "{two}");
}
