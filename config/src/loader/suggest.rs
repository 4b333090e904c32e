//! "Did you mean …?"

use prost_reflect::DescriptorPool;

/// The candidate that is nearest to what was written, if any is near enough
/// to be a slip of the pen: about one letter in four.
pub(super) fn nearest(written: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates
        .map(|name| (strsim::osa_distance(written, &name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .map(|(_, name)| name)
}

/// A message type with the same last name in another package (a wrong or
/// outdated package is the usual mistake), or else one with a similar name.
pub(super) fn nearest_type(written: &str, pool: &DescriptorPool) -> Option<String> {
    let last = written.rsplit('.').next().unwrap_or(written);
    let names = || {
        pool.all_messages()
            .filter(|m| m.parent_message().is_none())
            .map(|m| m.full_name().to_owned())
    };
    names()
        .filter(|name| name.rsplit('.').next() == Some(last))
        .min_by_key(|name| strsim::osa_distance(written, name))
        .or_else(|| nearest(written, names()))
}
