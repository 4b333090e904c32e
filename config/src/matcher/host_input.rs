//! What a matcher can look at of a host
//! (`envoy.extensions.matching.common_inputs.transport_socket.v3`).

use envoy_types::pb::envoy::extensions::matching::common_inputs::transport_socket::v3 as proto;
use envoy_types::pb::google::protobuf::Any;
use prost::Name;
use proto::endpoint_metadata_input::path_segment::Segment as OfHost;
use proto::locality_metadata_input::path_segment::Segment as OfLocality;

use crate::context::{Cx, type_name, unpack};
use crate::metadata::{Found, LB_NAMESPACE, Metadata, Value};

/// What is known of a host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostMetadata<'h> {
    /// Its own, if it has any.
    pub own: Option<&'h Metadata>,
    /// That of its locality, if that has any.
    pub locality: Option<&'h Metadata>,
}

/// A place in the metadata of a host or of its locality.
#[derive(Debug)]
pub(super) struct HostInput {
    of: Of,
    namespace: Box<str>,
    path: Box<[Box<str>]>,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Host,
    Locality,
}

impl HostInput {
    /// What `f` makes of the value, if there is one: a text as it is, and anything
    /// else as JSON. As in Envoy what is not in the metadata is a `null`, and only
    /// where there is no metadata at all is there nothing.
    pub fn with<T>(&self, seen: &HostMetadata<'_>, f: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let metadata = match self.of {
            Of::Host => seen.own?,
            Of::Locality => seen.locality?,
        };
        match metadata.find(&self.namespace, &self.path) {
            None => Some(f(b"null")),
            Some(Found::Value(Value::Text(text))) => (!text.is_empty()).then(|| f(text)),
            Some(other) => Some(f(other.to_json().to_string().as_bytes())),
        }
    }

    /// Compiles an input, or reports why not.
    pub fn lower(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let (host, locality) = (
            proto::EndpointMetadataInput::full_name(),
            proto::LocalityMetadataInput::full_name(),
        );
        let given = type_name(&any.type_url);
        if given == host {
            let input: proto::EndpointMetadataInput = unpack(any, cx)?;
            let keys = input.path.into_iter().filter_map(|segment| {
                let OfHost::Key(key) = segment.segment?;
                Some(key)
            });
            return Some(Self::at(Of::Host, &input.filter, keys));
        }
        if given == locality {
            let input: proto::LocalityMetadataInput = unpack(any, cx)?;
            let keys = input.path.into_iter().filter_map(|segment| {
                let OfLocality::Key(key) = segment.segment?;
                Some(key)
            });
            return Some(Self::at(Of::Locality, &input.filter, keys));
        }
        cx.error(format!(
            "not supported yet: of a host only its metadata ({host}) and that of its locality \
             ({locality}) are looked at, not {given}"
        ));
        None
    }

    fn at(of: Of, namespace: &str, path: impl Iterator<Item = String>) -> Self {
        let namespace = match namespace {
            "" => LB_NAMESPACE,
            named => named,
        };
        Self {
            of,
            namespace: namespace.into(),
            path: path.map(Into::into).collect(),
        }
    }
}
