//! What a route does when its host fails, is slow or sends a client away:
//! retries, hedging, internal redirects, and the memory that they need.

use super::internal_redirect_policy::InternalRedirectPolicy;
use super::retry_policy::RetryPolicy;
use crate::context::Cx;
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::google::protobuf::{UInt32Value, UInt64Value};
use std::sync::Arc;

/// Retries, hedging and internal redirects of a route.
#[derive(Debug, Clone, Default)]
pub struct Resilience {
    /// The route's own policy, else its virtual host's.
    pub retry: Option<Arc<RetryPolicy>>,
    /// `hedge_on_per_try_timeout`: a try that takes too long is not given up
    /// when the next one begins.
    pub hedge_on_per_try_timeout: bool,
    /// Which redirects are followed.
    pub internal_redirect: Option<Arc<InternalRedirectPolicy>>,
    /// How much of a request's body is kept for another try.
    pub body_limit: BodyLimit,
    /// Requests say how many tries there were (`x-envoy-attempt-count`).
    pub attempt_count_in_request: bool,
    /// Responses say how many tries there were.
    pub attempt_count_in_response: bool,
    /// Requests say whether the try before took too long
    /// (`x-envoy-is-timeout-retry`).
    pub is_timeout_retry_header: bool,
}

/// How many bytes of a request's body are kept for another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyLimit {
    /// As many as the connection may buffer.
    #[default]
    Connection,
    /// `per_request_buffer_limit_bytes`: as many as the connection may
    /// buffer, and no more than this.
    AtMost(u64),
    /// `request_body_buffer_limit`: whatever the connection may buffer.
    Exactly(u64),
}

impl Resilience {
    /// Reads what a virtual host says for all of its routes.
    pub(super) fn of_virtual_host(message: &proto::VirtualHost, cx: &mut Cx<'_>) -> Option<Self> {
        let retry = retry(message.retry_policy.as_ref(), cx);
        Some(Resilience {
            retry: retry?,
            hedge_on_per_try_timeout: hedge(message.hedge_policy.as_ref()).unwrap_or(false),
            internal_redirect: None,
            #[expect(deprecated, reason = "files written for older Envoys still use it")]
            body_limit: body_limit(
                message.per_request_buffer_limit_bytes.as_ref(),
                message.request_body_buffer_limit.as_ref(),
                cx,
            )
            .unwrap_or_default(),
            attempt_count_in_request: message.include_request_attempt_count,
            attempt_count_in_response: message.include_attempt_count_in_response,
            is_timeout_retry_header: message.include_is_timeout_retry_header,
        })
    }

    /// Adds what a route says of its buffer. Its action comes next.
    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    pub(super) fn with_route(&self, message: &proto::Route, cx: &mut Cx<'_>) -> Self {
        let own = body_limit(
            message.per_request_buffer_limit_bytes.as_ref(),
            message.request_body_buffer_limit.as_ref(),
            cx,
        );
        Resilience {
            body_limit: own.unwrap_or(self.body_limit),
            ..self.clone()
        }
    }

    /// Adds what the route's action says: its policies replace those of the
    /// virtual host as a whole.
    pub(super) fn with_action(
        &self,
        message: &proto::RouteAction,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let retry = retry(message.retry_policy.as_ref(), cx);
        let redirect = match &message.internal_redirect_policy {
            Some(policy) => cx
                .field("internal_redirect_policy", |cx| {
                    InternalRedirectPolicy::lower(policy, cx)
                })
                .map(|policy| Some(Arc::new(policy))),
            None => Some(InternalRedirectPolicy::of_older(message).map(Arc::new)),
        };
        Some(Resilience {
            retry: retry?.or_else(|| self.retry.clone()),
            hedge_on_per_try_timeout: hedge(message.hedge_policy.as_ref())
                .unwrap_or(self.hedge_on_per_try_timeout),
            internal_redirect: redirect?,
            ..self.clone()
        })
    }
}

fn retry(
    message: Option<&proto::RetryPolicy>,
    cx: &mut Cx<'_>,
) -> Option<Option<Arc<RetryPolicy>>> {
    let Some(message) = message else {
        return Some(None);
    };
    cx.field("retry_policy", |cx| RetryPolicy::lower(message, cx))
        .map(|policy| Some(Arc::new(policy)))
}

fn hedge(message: Option<&proto::HedgePolicy>) -> Option<bool> {
    message.map(|policy| policy.hedge_on_per_try_timeout)
}

fn body_limit(
    at_most: Option<&UInt32Value>,
    exactly: Option<&UInt64Value>,
    cx: &mut Cx<'_>,
) -> Option<BodyLimit> {
    if let (Some(_), Some(limit)) = (at_most, exactly) {
        cx.warn_at(
            "per_request_buffer_limit_bytes",
            format!(
                "has no effect beside request_body_buffer_limit, which is {}",
                limit.value
            ),
        );
    }
    match (exactly, at_most) {
        (Some(limit), _) => Some(BodyLimit::Exactly(limit.value)),
        (None, Some(limit)) => Some(BodyLimit::AtMost(u64::from(limit.value))),
        (None, None) => None,
    }
}
