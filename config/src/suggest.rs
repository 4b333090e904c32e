//! "Did you mean …?"

use prost_reflect::DescriptorPool;
use std::collections::HashMap;

/// Longest text that is compared with anything: longer ones are not slips of
/// the pen, and comparing costs the product of both lengths.
const WRITTEN_BYTES_MAX: usize = 200;

/// Different unknown types that are compared with all types of the API, which
/// takes some milliseconds each.
const TYPES_MAX: usize = 50;

/// The candidate that is nearest to what was written, if any is near enough
/// to be a slip of the pen: about one letter in four.
pub fn nearest(written: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    if written.len() > WRITTEN_BYTES_MAX {
        return None;
    }
    let may_be_near = |name: &String| {
        let longer = name.len().abs_diff(written.len());
        longer <= distance_max(name)
    };
    candidates
        .filter(may_be_near)
        .map(|name| (strsim::osa_distance(written, &name), name))
        .min()
        .filter(|(distance, name)| *distance <= distance_max(name))
        .map(|(_, name)| name)
}

fn distance_max(name: &str) -> usize {
    1 + name.len() / 4
}

/// Suggestions for unknown message types, remembered because one mistake is
/// often repeated in many places.
#[derive(Default)]
pub(crate) struct Types(HashMap<String, Option<String>>);

impl Types {
    pub(crate) fn nearest(&mut self, written: &str, pool: &DescriptorPool) -> Option<String> {
        if let Some(known) = self.0.get(written) {
            return known.clone();
        }
        if self.0.len() == TYPES_MAX || written.len() > WRITTEN_BYTES_MAX {
            return None;
        }
        let near = nearest_type(written, pool);
        self.0.insert(written.to_owned(), near.clone());
        near
    }
}

/// A message type with the same last name in another package (a wrong or
/// outdated package is the usual mistake), or else one with a similar name.
fn nearest_type(written: &str, pool: &DescriptorPool) -> Option<String> {
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
