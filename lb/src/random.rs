//! Random (`envoy.load_balancing_policies.random`): every host that may be
//! used with the same probability; weights do not matter.

/// The host for a random number.
pub(crate) fn pick(hosts: &[u32], number: u64) -> Option<u32> {
    let place = number.checked_rem(hosts.len() as u64)?;
    Some(hosts[place as usize])
}
