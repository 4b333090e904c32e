//! What paths of a field mask may name: fields of messages, through fields that
//! are one message each.

use crate::descriptors;
use crate::loader::ANY;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// Whether `path` names a field of the message with this full name, as
/// `FieldMaskUtil::GetFieldDescriptors` of protobuf decides: nothing is named
/// inside repeated fields and maps, nor by an empty path.
#[must_use]
pub fn names_a_field(message: &str, path: &[&str]) -> bool {
    let Some((last, outer)) = path.split_last() else {
        return false;
    };
    let mut within = descriptors::pool().get_message_by_name(message);
    for name in outer {
        let field = within.and_then(|message| message.get_field_by_name(name));
        within = field.and_then(|field| one_message(&field));
    }
    within.is_some_and(|message| message.get_field_by_name(last).is_some())
}

/// Whether a field of the message with this full name is an `Any`, whose
/// content decides what a path names in it.
#[must_use]
pub fn is_any(message: &str, field: &str) -> bool {
    let message = descriptors::pool().get_message_by_name(message);
    let field = message.and_then(|message| message.get_field_by_name(field));
    let content = field.and_then(|field| one_message(&field));
    content.is_some_and(|content| content.full_name() == ANY)
}

fn one_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if !field.is_list() && !field.is_map() => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_through_messages_and_end_at_fields() {
        const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
        for (path, names) in [
            ("name", true),
            ("load_assignment", true),
            ("load_assignment.cluster_name", true),
            ("load_assignment.endpoints", true),
            ("load_assignment.endpoints.lb_endpoints", false),
            ("typed_extension_protocol_options", true),
            ("typed_extension_protocol_options.x", false),
            ("name.x", false),
            ("Name", false),
            ("", false),
            ("name.", false),
            (".name", false),
        ] {
            let path: Vec<&str> = path.split('.').collect();
            assert_eq!(names_a_field(CLUSTER, &path), names, "{path:?}");
        }
        assert!(!names_a_field(CLUSTER, &[]));
        assert!(!names_a_field("no.such.Message", &["name"]));
    }

    #[test]
    fn an_any_is_known() {
        const DUMP: &str = "envoy.admin.v3.ClustersConfigDump.StaticCluster";
        assert!(is_any(DUMP, "cluster"));
        assert!(!is_any(DUMP, "last_updated"));
        assert!(!is_any(DUMP, "nothing"));
    }
}
