//! Parameters of a query string that are no fields of the message. A host whose
//! message carries a body as it is gets them beside it; others do not get them.

use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3::UnknownQueryParams;
use prost_reflect::FieldDescriptor;
use prost_reflect::prost::Message as _;
use prost_reflect::prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::Any;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(super) struct UnknownParameters(UnknownQueryParams);

/// The type that they are sent as.
const TYPE_URL: &str = "type.googleapis.com/\
    envoy.extensions.filters.http.grpc_json_transcoder.v3.UnknownQueryParams";

/// The number of `extensions` in `google.api.HttpBody`.
const EXTENSIONS: u32 = 3;

impl UnknownParameters {
    pub(super) fn add(&mut self, names: &[String], value: String) {
        let values = self.0.key.entry(names.join(".")).or_default();
        values.values.push(value);
    }

    /// Adds them to a message that was written already, and whose field `body`
    /// carries the body: a field that comes twice is put together again by whoever
    /// reads it, as protobuf's encoding says.
    pub(super) fn append_to(&self, message: &mut Vec<u8>, body: &[FieldDescriptor]) {
        if self.0.key.is_empty() {
            return;
        }
        let any = Any {
            type_url: TYPE_URL.to_owned(),
            value: self.0.encode_to_vec(),
        };
        let mut written = field(EXTENSIONS, &any.encode_to_vec());
        for of in body.iter().rev() {
            written = field(of.number(), &written);
        }
        message.extend(written);
    }
}

/// A field that holds these bytes.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}
