//! `core.v3.HealthCheck.GrpcHealthCheck`: the standard service
//! `grpc.health.v1.Health`.

use envoy_types::pb::envoy::config::core::v3::health_check::GrpcHealthCheck;
use ringway_codecs::header::{HeaderId, HeaderMap};

use super::http;
use crate::context::Cx;

/// A call that a healthy host answers with `SERVING`.
#[derive(Debug)]
pub struct GrpcCheck {
    /// The head of the request, without an authority.
    pub request: HeaderMap,
    /// Its authority; empty for the host's own name, or the cluster's.
    pub authority: Box<str>,
    /// The message, with what gRPC puts in front.
    pub message: Box<[u8]>,
}

pub(super) fn lower(proto: &GrpcHealthCheck, cx: &mut Cx<'_>) -> Option<GrpcCheck> {
    let mut request = HeaderMap::new();
    request.append(HeaderId::Method, b"POST");
    request.append(HeaderId::Path, b"/grpc.health.v1.Health/Check");
    request.append(HeaderId::Te, b"trailers");
    request.append(HeaderId::ContentType, b"application/grpc");
    request.append(HeaderId::UserAgent, b"Envoy/HC");
    http::add_all(
        "initial_metadata",
        &proto.initial_metadata,
        &mut request,
        cx,
    )?;
    Some(GrpcCheck {
        request,
        authority: proto.authority.as_str().into(),
        message: message(&proto.service_name).into(),
    })
}

/// A `HealthCheckRequest` that is not compressed: the name of the service is its
/// first field, which is not sent when it is empty.
fn message(service: &str) -> Vec<u8> {
    let mut request = Vec::new();
    if !service.is_empty() {
        request.push(0x0a);
        let mut left = service.len();
        while left >= 0x80 {
            request.push(left as u8 | 0x80);
            left >>= 7;
        }
        request.push(left as u8);
        request.extend_from_slice(service.as_bytes());
    }
    let length = (request.len() as u32).to_be_bytes();
    [&[0][..], &length, &request].concat()
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn messages() {
        assert_eq!(message(""), [0, 0, 0, 0, 0]);
        assert_eq!(message("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = message(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
        assert_eq!(long.len(), 308);
    }
}
