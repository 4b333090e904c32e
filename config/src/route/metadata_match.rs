//! `metadata_match`: what the metadata of a request's host must be. Clusters
//! with subsets choose by it.

use envoy_types::pb::envoy::config::core::v3 as core_pb;
use ringway_lb::metadata::Value;
use std::sync::Arc;

use crate::load_balancing::criteria;
use crate::metadata::{LB_NAMESPACE, Metadata, Struct};

/// Fields and their values, in the order of the fields' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubsetCriteria(Box<[(Arc<str>, Value)]>);

impl SubsetCriteria {
    /// The fields with their values.
    pub fn as_slice(&self) -> &[(Arc<str>, Value)] {
        &self.0
    }

    /// These criteria with those of `fields` in addition, or in the place of
    /// the ones with their names.
    #[must_use]
    pub fn with(&self, fields: &Struct) -> Self {
        let mut all = criteria(fields);
        for known in &self.0 {
            if let Err(place) = all.binary_search_by(|(name, _)| name.cmp(&known.0)) {
                all.insert(place, known.clone());
            }
        }
        SubsetCriteria(all.into())
    }

    /// Reads the part of a message that is for balancers.
    pub fn lower(message: Option<&core_pb::Metadata>) -> Struct {
        let metadata = Metadata::from_proto(message);
        metadata.get(LB_NAMESPACE).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Value as Given;

    fn fields(fields: &[(&str, &str)]) -> Struct {
        let mut all = Struct::default();
        for (name, value) in fields {
            all.set(name, Given::text(value.as_bytes()));
        }
        all
    }

    #[test]
    fn the_later_value_of_a_field_holds() {
        let of_route = SubsetCriteria::default().with(&fields(&[("b", "1"), ("d", "1")]));
        for (more, expected) in [
            (&[][..], &[("b", "1"), ("d", "1")][..]),
            (&[("b", "2")], &[("b", "2"), ("d", "1")]),
            (
                &[("a", "2"), ("c", "2"), ("e", "2")],
                &[("a", "2"), ("b", "1"), ("c", "2"), ("d", "1"), ("e", "2")],
            ),
        ] {
            let expected: Vec<(Arc<str>, Value)> = expected
                .iter()
                .map(|(name, value)| (Arc::from(*name), Value::string(value)))
                .collect();
            let merged = of_route.with(&fields(more));
            assert_eq!(merged.as_slice(), expected, "{more:?}");
        }
    }
}
