//! A service that is called over gRPC (`envoy.config.core.v3.GrpcService`).

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::grpc_service::TargetSpecifier;

use crate::clusters::ClusterId;
use crate::context::Cx;
use crate::core::duration;

/// Where a service is, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcService {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The authority of calls.
    pub authority: Box<str>,
    /// How long a call may take; zero is no limit.
    pub timeout: Duration,
    /// Headers that calls have besides, with names in lower case.
    pub initial_metadata: Box<[(Box<str>, Box<str>)]>,
}

impl GrpcService {
    /// Compiles the message. A call has `timeout` if it does not say how long.
    pub fn lower(proto: &pb::GrpcService, timeout: Duration, cx: &mut Cx<'_>) -> Option<Self> {
        // The rules of the message want a target.
        let target = match proto.target_specifier.as_ref()? {
            TargetSpecifier::EnvoyGrpc(target) => target,
            TargetSpecifier::GoogleGrpc(_) => {
                cx.error_at("google_grpc", "not supported yet: use envoy_grpc");
                return None;
            }
        };
        let name = target.cluster_name.as_str();
        let metadata = proto.initial_metadata.iter().enumerate();
        let metadata = metadata
            .map(|(i, header)| cx.index("initial_metadata", i, |cx| initial_metadata(header, cx)));
        let metadata: Vec<_> = metadata.collect();
        let said = duration(proto.timeout, "timeout", cx);
        Some(Self {
            cluster: cx.field("envoy_grpc", |cx| cluster(name, cx)),
            authority: match target.authority.as_str() {
                "" => name.into(),
                authority => authority.into(),
            },
            timeout: match proto.timeout {
                None => timeout,
                Some(_) => said?,
            },
            initial_metadata: metadata.into_iter().collect::<Option<_>>()?,
        })
    }
}

/// The number of a cluster. As in Envoy, one that is not there is no error: it may
/// come later, and until then calls fail.
fn cluster(name: &str, cx: &mut Cx<'_>) -> ClusterId {
    let id = cx.clusters.id(name);
    if let Some(known) = cx.known_clusters
        && !known.has(id)
    {
        let unknown = known.unknown(name, true);
        cx.warn_at("cluster_name", format!("{unknown}; calls to it fail"));
    }
    id
}

fn initial_metadata(header: &pb::HeaderValue, cx: &mut Cx<'_>) -> Option<(Box<str>, Box<str>)> {
    if header.key.starts_with(':') {
        cx.error_at("key", "a pseudo header is not supported here");
        return None;
    }
    if header.value.contains('%') {
        cx.error_at("value", "format strings (%) are not supported here yet");
        return None;
    }
    let name = header.key.to_ascii_lowercase();
    Some((name.into(), header.value.as_str().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{Diagnostics, Marks};
    use crate::names::Names;
    use envoy_types::pb::google::protobuf::Duration as DurationPb;

    fn lower(change: impl FnOnce(&mut pb::GrpcService)) -> (Option<GrpcService>, Vec<String>) {
        let mut proto = pb::GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(pb::grpc_service::EnvoyGrpc {
                cluster_name: "one".into(),
                ..Default::default()
            })),
            ..Default::default()
        };
        change(&mut proto);
        let mut found = Diagnostics::new();
        let (marks, names) = (Marks::new("f.yaml".into()), Names::default());
        let mut cx = Cx::new(&mut found, &marks, None, &names);
        let service = GrpcService::lower(&proto, Duration::from_millis(200), &mut cx);
        let found = found
            .iter()
            .map(|one| format!("{}: {}", one.path, one.reason));
        (service, found.collect())
    }

    fn header(key: &str, value: &str) -> pb::HeaderValue {
        pb::HeaderValue {
            key: key.into(),
            value: value.into(),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let (service, found) = lower(|_| {});
        assert_eq!(found, [""; 0]);
        let service = service.expect("a good message");
        assert_eq!(&*service.authority, "one");
        assert_eq!(service.timeout, Duration::from_millis(200));
        let (service, _) = lower(|proto| {
            proto.timeout = Some(DurationPb {
                seconds: 0,
                nanos: 0,
            });
            proto.initial_metadata = vec![header("X-A", "b")];
        });
        let service = service.expect("a good message");
        assert_eq!(service.timeout, Duration::ZERO);
        assert_eq!(*service.initial_metadata, [("x-a".into(), "b".into())]);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_path() {
        for (name, value, expected) in [
            (":path", "b", "initial_metadata[0].key: "),
            ("a", "%REQ(a)%", "initial_metadata[0].value: "),
        ] {
            let (service, found) =
                lower(|proto| proto.initial_metadata = vec![header(name, value)]);
            assert_eq!(service, None);
            assert!(found[0].starts_with(expected), "{found:?}");
        }
        let (service, found) = lower(|proto| {
            let target = pb::grpc_service::GoogleGrpc::default();
            proto.target_specifier = Some(TargetSpecifier::GoogleGrpc(target));
        });
        assert_eq!(service, None);
        assert!(
            found[0].starts_with("google_grpc: not supported yet"),
            "{found:?}"
        );
    }
}
