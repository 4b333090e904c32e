//! What the filters of gRPC have in common.

use std::rc::Rc;

use ringway_codecs::grpc::{HEADER_BYTES, header, service_and_method};
use ringway_codecs::header::{HeaderId, HeaderMap};

use super::StreamContext;
use crate::formatter::grpc::is_grpc;
use crate::stats::grpc::{Counted, GrpcScope};

/// The content type of gRPC.
pub const GRPC: &[u8] = b"application/grpc";

/// Where a call is counted: below its cluster, by its service and method as
/// `service` gives them. `None` where the request has no cluster.
pub fn scope_of(
    protocol: &'static str,
    names: Option<(&[u8], &[u8])>,
    stream: &StreamContext<'_>,
) -> Option<Rc<GrpcScope>> {
    let cluster = stream.exchange.info.cluster.as_ref()?;
    let counted = Counted {
        protocol,
        cluster: &cluster.observability_name,
        names,
    };
    Some(stream.worker.grpc_scope(counted))
}

/// The service and the method of a request.
pub fn names_of(request: &HeaderMap) -> Option<(&[u8], &[u8])> {
    service_and_method(request.get(HeaderId::Path)?)
}

/// Counts the status in these headers or trailers, if there is one.
pub fn charge(scope: Option<&Rc<GrpcScope>>, fields: &HeaderMap) {
    if let Some(scope) = scope
        && let Some(status) = fields.get(HeaderId::GrpcStatus)
    {
        scope.status(status);
    }
}

/// Whether a response is one of gRPC; if nothing follows its headers, they are
/// the trailers as well.
pub fn is_grpc_response(response: &HeaderMap, whole: bool) -> bool {
    match whole {
        true => response.contains(HeaderId::GrpcStatus),
        false => response.get(HeaderId::Status) == Some(b"200") && is_grpc(response),
    }
}

/// A message behind its header.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + message.len());
    // A body of 4 GiB is larger than any buffer limit.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&header(0, length));
    out.extend_from_slice(message);
    out
}
