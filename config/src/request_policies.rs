//! What a cluster says of the requests that are sent to it
//! (`HttpProtocolOptions.{retry_policy, hash_policy, request_mirror_policies}`):
//! each takes the place of what their routes say of the same.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;

use crate::context::Cx;
use crate::route::{
    Forward, HashPolicies, RequestMirrorPolicies, RequestMirrorPolicy, RetryPolicy,
};

/// The policies of a cluster; those that are not there are the route's.
#[derive(Clone, Debug, Default)]
pub struct RequestPolicies {
    retry: Option<Arc<RetryPolicy>>,
    hash: Option<Arc<HashPolicies>>,
    mirror: Option<RequestMirrorPolicies>,
}

impl RequestPolicies {
    /// Which failures of requests on this route are tried again. How long a try
    /// may take is the route's in any case.
    #[must_use]
    pub fn retry<'p>(&'p self, forward: &'p Forward) -> Option<&'p RetryPolicy> {
        let own = self.retry.as_deref();
        own.or(forward.resilience.retry.as_deref())
    }

    /// Whether the route's retry policy does not hold.
    #[must_use]
    pub fn replaces_retry(&self) -> bool {
        self.retry.is_some()
    }

    /// What requests on this route have in common that go to one host.
    #[must_use]
    pub fn hash<'p>(&'p self, forward: &'p Forward) -> Option<&'p HashPolicies> {
        let own = self.hash.as_deref();
        own.or(forward.hash_policies.as_deref())
    }

    /// Where copies of requests on this route go.
    #[must_use]
    pub fn mirror<'p>(&'p self, forward: &'p Forward) -> Option<&'p [RequestMirrorPolicy]> {
        let own = self.mirror.as_deref();
        own.or(forward.mirror_policies.as_deref())
    }

    pub(crate) fn lower(proto: &HttpProtocolOptions, cx: &mut Cx<'_>) -> Self {
        let retry = proto.retry_policy.as_ref().and_then(|policy| {
            cx.field("retry_policy", |cx| {
                for (set, name) in [
                    (policy.per_try_timeout.is_some(), "per_try_timeout"),
                    (
                        policy.per_try_idle_timeout.is_some(),
                        "per_try_idle_timeout",
                    ),
                ] {
                    if set {
                        cx.warn_at(name, NO_TIMES);
                    }
                }
                RetryPolicy::lower(policy, cx)
            })
        });
        let hash = HashPolicies::lower(&proto.hash_policy, "hash_policy", cx);
        let mirror = &proto.request_mirror_policies;
        Self {
            retry: retry.map(Arc::new),
            hash: hash.flatten().map(Arc::new),
            mirror: (!mirror.is_empty())
                .then(|| RequestMirrorPolicy::of_cluster(mirror, cx))
                .flatten(),
        }
    }
}

const NO_TIMES: &str = "has no effect in a cluster, in Envoy neither: how long a try may take is said \
     by the retry_policy of the route";
