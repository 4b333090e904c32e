//! Which cores the workers run on, and how many there are.

use core_affinity::CoreId;

/// Where each worker runs: a core to be pinned to, or wherever the scheduler
/// puts it when there are more workers than cores.
///
/// Without `concurrency` there is one worker for each core that the process
/// may use: its CPU mask and its cgroup's quota both count. `--concurrency 0`
/// means one worker, as in Envoy.
#[must_use]
pub fn placement(concurrency: Option<u32>) -> Vec<Option<CoreId>> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let usable = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = concurrency.map_or(usable, |count| count.max(1) as usize);
    place(&allowed, count)
}

fn place(allowed: &[CoreId], count: usize) -> Vec<Option<CoreId>> {
    // Two workers pinned to one core would never run at the same time, even
    // with another core idle; beyond one each, none of them is pinned.
    if count > allowed.len() {
        return vec![None; count];
    }
    allowed.iter().copied().take(count).map(Some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_core_of_its_own_or_none() {
        let cores: Vec<_> = [2, 5, 7].map(|id| CoreId { id }).to_vec();
        assert_eq!(place(&cores, 2), [Some(cores[0]), Some(cores[1])]);
        assert_eq!(place(&cores, 3).len(), 3);
        assert_eq!(place(&cores, 4), [None; 4]);
        assert_eq!(place(&[], 1), [None]);
    }

    #[test]
    fn zero_means_one_worker() {
        assert_eq!(placement(Some(0)).len(), 1);
        assert!(!placement(None).is_empty());
    }
}
