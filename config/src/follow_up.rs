//! Which findings follow from others: what is found at a place where something
//! else is wrong may have no other reason.

use crate::diagnostics::{Diagnostic, Diagnostics};
use std::collections::HashSet;
use std::iter;

/// The places at which something is wrong.
pub(crate) struct Wrong<'f> {
    /// What could not be read, or is refused.
    places: HashSet<&'f str>,
    /// Everything that these are part of.
    above: HashSet<&'f str>,
    /// The messages that these are fields of: fields of one message depend on
    /// each other.
    messages: HashSet<&'f str>,
}

/// What everything else depends on: the document, and the clusters that it
/// names.
const EVERYTHING: [&str; 3] = ["", "static_resources", "static_resources.clusters"];

impl<'f> Wrong<'f> {
    /// The places of the errors of `found`, and those of `failed`, at which
    /// something could not be read.
    pub(crate) fn new(found: &'f Diagnostics, failed: &'f HashSet<String>) -> Self {
        let errors = found.errors().map(|error| error.path.as_str());
        let places: HashSet<_> = errors.chain(failed.iter().map(String::as_str)).collect();
        let above = places.iter().flat_map(|place| ancestors(place));
        Self {
            above: above.collect(),
            messages: places.iter().map(|place| message_of(place)).collect(),
            places,
        }
    }

    /// Whether nothing that is left can be judged.
    pub(crate) fn is_everything(&self) -> bool {
        EVERYTHING.iter().any(|place| self.places.contains(place))
    }

    /// Whether a finding has a reason of its own.
    pub(crate) fn is_apart_from(&self, finding: &Diagnostic) -> bool {
        let path = finding.path.as_str();
        let mut within = iter::once(path).chain(ancestors(path));
        !self.above.contains(path)
            && !self.messages.contains(message_of(path))
            && !within.any(|place| self.places.contains(place))
    }
}

/// The paths that this one is part of, the nearest first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    iter::successors(Some(path), |path| (!path.is_empty()).then(|| parent(path))).skip(1)
}

/// The message that a field or an element of a field belongs to.
fn message_of(path: &str) -> &str {
    let mut field = path;
    while field.ends_with(']') {
        field = parent(field);
    }
    parent(field)
}

/// The path without its last segment, which is a name, an index or a quoted
/// key.
fn parent(path: &str) -> &str {
    let end = match path.strip_suffix(']') {
        Some(rest) if rest.ends_with('"') => path.rfind("[\""),
        Some(_) => path.rfind('['),
        None => path.rfind('.'),
    };
    &path[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Severity;

    fn error(path: &str) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: None,
            position: None,
            path: path.into(),
            reason: String::new(),
        }
    }

    #[test]
    fn what_is_near_follows_and_what_is_far_does_not() {
        let mut found = Diagnostics::new();
        found.push(error("l[0].routes[3].route.cluster"));
        let failed = HashSet::from(["m[\"x.y\"]".to_owned()]);
        let wrong = Wrong::new(&found, &failed);
        assert!(!wrong.is_everything());
        for (path, is_apart) in [
            ("l[0].routes[3].route.cluster", false),
            ("l[0].routes[3].route.cluster.x", false),
            ("l[0].routes[3].route.timeout", false),
            ("l[0].routes[3].route.hash_policy[1]", false),
            ("l[0].routes[3].route.hash_policy[1].x", true),
            ("l[0].routes[3].route", false),
            ("l[0].routes[3].match", true),
            ("l[0].routes[3]", false),
            ("l[0].routes", false),
            ("l[0].routes[2].route.cluster", true),
            ("l[0].routes[30].route.cluster", true),
            ("l[1]", false),
            ("l[1].name", true),
            ("m[\"x.y\"]", false),
            ("m[\"x.y\"].z", false),
            ("m[\"x.z\"].z", true),
            ("", false),
            ("n.o", true),
        ] {
            assert_eq!(wrong.is_apart_from(&error(path)), is_apart, "{path}");
        }
    }

    #[test]
    fn without_clusters_nothing_can_be_judged() {
        let failed = HashSet::new();
        for (path, is_everything) in [
            ("static_resources.clusters", true),
            ("static_resources.clusters[0]", false),
            ("static_resources", true),
            ("", true),
        ] {
            let mut found = Diagnostics::new();
            found.push(error(path));
            let wrong = Wrong::new(&found, &failed);
            assert_eq!(wrong.is_everything(), is_everything, "{path}");
        }
    }
}
