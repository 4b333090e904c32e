//! Random (`envoy.load_balancing_policies.random`): every host that may be
//! used with the same probability; weights do not matter.

/// The host for a random number.
#[inline]
pub(crate) fn pick(hosts: &[u32], number: u64) -> Option<u32> {
    hosts.get(place(hosts.len(), number)).copied()
}

/// A place below `length` for a random number: its first bits choose, which a
/// multiplication does faster than a division.
#[inline]
pub(crate) fn place(length: usize, number: u64) -> usize {
    ((u128::from(number) * length as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use crate::config::Policy;
    use crate::testing::{Cluster, chi_square, weighted};

    /// 9 degrees of freedom exceed 27.88 with a probability of 0.1 %, and are
    /// below 1.15 as rarely: more even than chance is not random either.
    #[test]
    fn hosts_are_uniform_whatever_their_weights() {
        let weights: Vec<u32> = (1..=10).collect();
        let (counts, _) = Cluster::new(Policy::Random, weighted(&weights)).count(100_000);
        assert_eq!(counts[10], 0);
        let chi_square = chi_square(&counts[..10]);
        assert!(
            (1.15..27.88).contains(&chi_square),
            "{chi_square}: {counts:?}"
        );
    }

    /// Pairs of picks are independent: 99 degrees of freedom are between
    /// 60.5 and 149.4 but for 0.1 % on each side.
    #[test]
    fn a_pick_says_nothing_about_the_next_one() {
        let cluster = Cluster::new(Policy::Random, weighted(&[1; 10]));
        let balancer = cluster.build();
        let mut cursor = balancer.cursor(0);
        let mut request = crate::testing::Fake::seeded(3);
        let mut pairs = vec![0; 100];
        let mut pick = || {
            balancer
                .pick(&mut cursor, &mut request)
                .host
                .expect("hosts") as usize
        };
        for _ in 0..100_000 {
            pairs[pick() * 10 + pick()] += 1;
        }
        let chi_square = chi_square(&pairs);
        assert!((60.5..149.4).contains(&chi_square), "{chi_square}");
    }

    #[test]
    fn no_hosts_give_no_pick() {
        assert_eq!(super::pick(&[], 7), None);
    }
}
