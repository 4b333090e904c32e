//! The fixed texts of `%RESPONSE_CODE_DETAILS%`. Codecs bring their own with
//! their errors.

/// The response came from the upstream.
pub const VIA_UPSTREAM: &str = "via_upstream";
/// No virtual host or route matched.
pub const ROUTE_NOT_FOUND: &str = "route_not_found";
/// There is no route table.
pub const ROUTE_CONFIGURATION_NOT_FOUND: &str = "route_configuration_not_found";
/// The route's cluster is not known.
pub const CLUSTER_NOT_FOUND: &str = "cluster_not_found";
/// The cluster has no host to choose.
pub const NO_HEALTHY_UPSTREAM: &str = "no_healthy_upstream";
/// The cluster takes no requests.
pub const UNCONDITIONAL_DROP_OVERLOAD: &str = "unconditional_drop_overload";
/// The cluster takes only a part of its requests.
pub const DROP_OVERLOAD: &str = "drop_overload";
/// The cache of names has no room for another one.
pub const DNS_CACHE_OVERFLOW: &str = "dns_cache_overflow";
/// Too many requests wait for names.
pub const DNS_PENDING_OVERFLOW: &str = "dns_cache_pending_requests_overflow";
/// The same, found by the filter.
pub const PROXY_PENDING_OVERFLOW: &str = "dynamic_forward_proxy_pending_request_overflow";
/// There are too many sub-clusters.
pub const SUB_CLUSTER_OVERFLOW: &str = "sub_cluster_overflow";
/// A sub-cluster was not there in time.
pub const SUB_CLUSTER_WARMING_TIMEOUT: &str = "sub_cluster_warming_timeout";
/// An authorization service has refused the connection.
pub const EXT_AUTHZ_DENIED: &str = "ext_authz_denied";
/// It could not be asked.
pub const EXT_AUTHZ_ERROR: &str = "ext_authz_error";
/// The route answers by itself, redirects included.
pub const DIRECT_RESPONSE: &str = "direct_response";
/// The client has reset the stream.
pub const HTTP2_REMOTE_RESET: &str = "http2.remote_reset";
/// The headers of a request are larger than they may be.
pub const HTTP2_HEADER_LIST_SIZE_TOO_LARGE: &str = "http2.header_list_size_too_large";
/// A request has more headers than it may have.
pub const HTTP2_TOO_MANY_HEADERS: &str = "http2.too_many_headers";
/// A request is none.
pub const HTTP2_MESSAGING_RULE: &str = "http2.violation.of.messaging.rule";
/// A header of a request cannot be.
pub const HTTP2_INVALID_HEADER_FIELD: &str = "http2.invalid.header.field";
/// A connection of HTTP/2 has ended because its client broke the protocol.
pub const HTTP2_CODEC_ERROR: &str = "codec_error:The_user_callback_function_failed";
/// It has sent too many `PRIORITY` frames.
pub const HTTP2_TOO_MANY_PRIORITY: &str = "codec_error:Too_many_PRIORITY_frames";
/// It has sent too many `WINDOW_UPDATE` frames.
pub const HTTP2_TOO_MANY_WINDOW_UPDATE: &str = "codec_error:Too_many_WINDOW_UPDATE_frames";
/// It has sent too many frames that carry nothing.
pub const HTTP2_TOO_MANY_EMPTY: &str =
    "codec_error:Too_many_consecutive_frames_with_an_empty_payload";
/// The same, for the stream on which they came.
pub const HTTP2_EMPTY_FRAMES: &str = "http2.inbound_empty_frames_flood";
/// A header has an underscore in its name.
pub const HTTP2_UNEXPECTED_UNDERSCORE: &str = "http2.unexpected_underscore";
/// A request without a Host.
pub const MISSING_HOST_HEADER: &str = "missing_host_header";
/// A request without a path.
pub const MISSING_PATH_REJECTED: &str = "missing_path_rejected";
/// A path that is not origin-form.
pub const ABSOLUTE_PATH_REJECTED: &str = "absolute_path_rejected";
/// HTTP/0.9, or HTTP/1.0 where it is not accepted.
pub const LOW_VERSION: &str = "low_version";
/// The path could not be normalised.
pub const PATH_NORMALIZATION_FAILED: &str = "path_normalization_failed";
/// The path holds escaped slashes that the configuration refuses or
/// redirects.
pub const PATH_NORMALIZATION_REDIRECT: &str = "path_normalization_redirect";
/// The Host is not a valid authority.
pub const INVALID_AUTHORITY: &str = "http.invalid_authority";
/// Strict checking of request headers failed.
pub const REQUEST_HEADERS_FAILED_STRICT_CHECK: &str = "request_headers_failed_strict_check";
/// The client did not wait for the answer to its CONNECT.
pub const EARLY_CONNECT_DATA: &str = "early_connect_data";
/// The connection manager's `request_timeout`.
pub const REQUEST_OVERALL_TIMEOUT: &str = "request_overall_timeout";
/// The connection manager's `request_headers_timeout`.
pub const REQUEST_HEADER_TIMEOUT: &str = "request_header_timeout";
/// Nothing moved for the stream idle timeout.
pub const STREAM_IDLE_TIMEOUT: &str = "stream_idle_timeout";
/// `max_stream_duration` of the connection manager or the route.
pub const MAX_DURATION_TIMEOUT: &str = "max_duration_timeout";
/// The connection's maximal duration.
pub const DURATION_TIMEOUT: &str = "duration_timeout";
/// An upgrade that is not configured.
pub const UPGRADE_FAILED: &str = "upgrade_failed";
/// The overload manager refused the request.
pub const OVERLOAD: &str = "overload";
/// The cluster is in maintenance mode.
pub const MAINTENANCE_MODE: &str = "maintenance_mode";
/// An internal redirect was followed.
pub const INTERNAL_REDIRECT: &str = "internal_redirect";
/// No filter chain could be built.
pub const FILTER_CHAIN_NOT_FOUND: &str = "filter_chain_not_found";
/// A filter removed headers that are needed.
pub const FILTER_REMOVED_REQUIRED_REQUEST_HEADERS: &str = "filter_removed_required_request_headers";
/// A filter removed response headers that are needed.
pub const FILTER_REMOVED_REQUIRED_RESPONSE_HEADERS: &str =
    "filter_removed_required_response_headers";
/// The admin endpoint answered.
pub const ADMIN_FILTER_RESPONSE: &str = "admin_filter_response";
/// A buffering filter met a body over the limit.
pub const REQUEST_PAYLOAD_TOO_LARGE: &str = "request_payload_too_large";
/// The body outgrew the buffer that a retry needs.
pub const REQUEST_PAYLOAD_EXCEEDED_RETRY_BUFFER_LIMIT: &str =
    "request_payload_exceeded_retry_buffer_limit";
/// A buffering filter met a response over the limit.
pub const RESPONSE_PAYLOAD_TOO_LARGE: &str = "response_payload_too_large";
/// The route's timeout.
pub const RESPONSE_TIMEOUT: &str = "response_timeout";
/// The per-try timeout.
pub const UPSTREAM_PER_TRY_TIMEOUT: &str = "upstream_per_try_timeout";
/// The per-try idle timeout.
pub const UPSTREAM_PER_TRY_IDLE_TIMEOUT: &str = "upstream_per_try_idle_timeout";
/// The cluster's `max_stream_duration`.
pub const UPSTREAM_MAX_STREAM_DURATION_REACHED: &str = "upstream_max_stream_duration_reached";
/// An upstream reset before the response head; the reason follows in braces.
pub const UPSTREAM_RESET_BEFORE_RESPONSE_STARTED: &str = "upstream_reset_before_response_started";
/// An upstream reset after the response head; the reason follows in braces.
pub const UPSTREAM_RESET_AFTER_RESPONSE_STARTED: &str = "upstream_reset_after_response_started";
/// A WebSocket handshake was answered as an ordinary request.
pub const WEBSOCKET_HANDSHAKE_UNSUCCESSFUL: &str = "websocket_handshake_unsuccessful";
/// We closed the downstream connection.
pub const DOWNSTREAM_LOCAL_DISCONNECT: &str = "downstream_local_disconnect";
/// The client closed the connection.
pub const DOWNSTREAM_REMOTE_DISCONNECT: &str = "downstream_remote_disconnect";
/// A header with an underscore that the configuration refuses.
pub const HTTP1_UNEXPECTED_UNDERSCORE: &str = "http1.unexpected_underscore";
/// More responses queued than a connection may hold.
pub const HTTP1_RESPONSE_FLOOD: &str = "http1.response_flood";
