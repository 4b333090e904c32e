//! Least request (`envoy.load_balancing_policies.least_request`).
//!
//! Where weights are equal, a few hosts are drawn at random and the one with
//! the fewest requests in flight is taken (the power of two choices,
//! Mitzenmacher 1996), or all hosts are looked at. Where weights differ, hosts
//! take turns by `weight / (active + 1)^bias`.

use crate::balancer::Request;
use crate::random;

/// The one with the fewest active requests of `choices` random hosts; the same
/// host may be drawn twice.
#[inline]
pub(crate) fn pick_of_choices<R: Request>(
    hosts: &[u32],
    choices: u32,
    request: &mut R,
) -> Option<u32> {
    let draw = |request: &mut R| {
        let host = random::pick(hosts, request.random())?;
        Some((request.active_requests(host), host))
    };
    let mut best = draw(request)?;
    for _ in 1..choices {
        let other = draw(request)?;
        if other.0 < best.0 {
            best = other;
        }
    }
    Some(best.1)
}

/// The one with the fewest active requests of all hosts; of several the same
/// probability for each.
pub(crate) fn pick_of_all<R: Request>(hosts: &[u32], request: &mut R) -> Option<u32> {
    let (first, others) = hosts.split_first()?;
    let mut best = (request.active_requests(*first), *first);
    let mut tied = 1u64;
    for host in others {
        let active = request.active_requests(*host);
        if active < best.0 {
            best = (active, *host);
            tied = 1;
        } else if active == best.0 {
            // The n-th of them takes the place with a probability of 1/n.
            tied += 1;
            if request.random().is_multiple_of(tied) {
                best.1 = *host;
            }
        }
    }
    Some(best.1)
}

/// The weight by which hosts take turns.
#[inline]
pub(crate) fn weight(weight: f64, active: u32, bias: f64) -> f64 {
    let active = f64::from(active) + 1.0;
    if bias == 1.0 {
        weight / active
    } else if bias == 0.0 {
        weight
    } else {
        weight / active.powf(bias)
    }
}

/// `active_request_bias` in its range; what is not in it counts as 1.
pub(crate) fn valid_bias(bias: f64) -> f64 {
    if bias >= 0.0 { bias } else { 1.0 }
}

#[cfg(test)]
mod tests;
