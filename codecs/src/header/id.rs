//! The header names that the proxy itself touches, as one-byte ids.
//!
//! A name that has an id is compared as a byte and found in the list by a bit
//! test; every other name stays a lower-case slice. The set is what Envoy's
//! connection manager, router and the filters of this repository read or
//! write, bounded by the 128 bits of the presence set in
//! [`HeaderMap`](super::HeaderMap).

/// Declares the ids, their names and the list of all of them together, so
/// that the three cannot drift apart.
macro_rules! header_ids {
    ($($id:ident => $name:literal,)*) => {
        /// A well-known header name, pseudo headers included.
        #[repr(u8)]
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
        pub enum HeaderId {
            $(#[doc = concat!("`", $name, "`")] $id,)*
        }

        /// All ids in the order of their numbers.
        const ALL: &[HeaderId] = &[$(HeaderId::$id,)*];
        /// The names in the order of the ids.
        const NAMES: &[&str] = &[$($name,)*];
    };
}

header_ids! {
    Authority => ":authority",
    Method => ":method",
    Path => ":path",
    Scheme => ":scheme",
    Status => ":status",
    Protocol => ":protocol",
    Host => "host",
    Connection => "connection",
    KeepAlive => "keep-alive",
    ProxyConnection => "proxy-connection",
    Te => "te",
    Trailer => "trailer",
    TransferEncoding => "transfer-encoding",
    Upgrade => "upgrade",
    Http2Settings => "http2-settings",
    ContentLength => "content-length",
    ContentType => "content-type",
    ContentEncoding => "content-encoding",
    ContentLanguage => "content-language",
    Date => "date",
    Server => "server",
    Via => "via",
    UserAgent => "user-agent",
    Accept => "accept",
    AcceptEncoding => "accept-encoding",
    AcceptLanguage => "accept-language",
    AcceptRanges => "accept-ranges",
    Range => "range",
    Cookie => "cookie",
    SetCookie => "set-cookie",
    Referer => "referer",
    Origin => "origin",
    Authorization => "authorization",
    Authentication => "authentication",
    CdnLoop => "cdn-loop",
    CacheControl => "cache-control",
    Pragma => "pragma",
    Expires => "expires",
    Age => "age",
    Location => "location",
    Expect => "expect",
    Etag => "etag",
    LastModified => "last-modified",
    IfMatch => "if-match",
    IfNoneMatch => "if-none-match",
    IfModifiedSince => "if-modified-since",
    IfUnmodifiedSince => "if-unmodified-since",
    IfRange => "if-range",
    Vary => "vary",
    RetryAfter => "retry-after",
    WwwAuthenticate => "www-authenticate",
    ProxyAuthenticate => "proxy-authenticate",
    ProxyAuthorization => "proxy-authorization",
    ProxyStatus => "proxy-status",
    Forwarded => "forwarded",
    AccessControlAllowOrigin => "access-control-allow-origin",
    AccessControlAllowMethods => "access-control-allow-methods",
    AccessControlAllowHeaders => "access-control-allow-headers",
    AccessControlAllowCredentials => "access-control-allow-credentials",
    AccessControlExposeHeaders => "access-control-expose-headers",
    AccessControlMaxAge => "access-control-max-age",
    AccessControlRequestMethod => "access-control-request-method",
    AccessControlRequestHeaders => "access-control-request-headers",
    AccessControlRequestPrivateNetwork => "access-control-request-private-network",
    AccessControlAllowPrivateNetwork => "access-control-allow-private-network",
    XForwardedFor => "x-forwarded-for",
    XForwardedProto => "x-forwarded-proto",
    XForwardedHost => "x-forwarded-host",
    XForwardedPort => "x-forwarded-port",
    XForwardedClientCert => "x-forwarded-client-cert",
    XRequestId => "x-request-id",
    XClientTraceId => "x-client-trace-id",
    XEnvoyInternal => "x-envoy-internal",
    XEnvoyExternalAddress => "x-envoy-external-address",
    XEnvoyDownstreamServiceCluster => "x-envoy-downstream-service-cluster",
    XEnvoyDownstreamServiceNode => "x-envoy-downstream-service-node",
    XEnvoyUpstreamServiceTime => "x-envoy-upstream-service-time",
    XEnvoyAttemptCount => "x-envoy-attempt-count",
    XEnvoyExpectedRqTimeoutMs => "x-envoy-expected-rq-timeout-ms",
    XEnvoyIsTimeoutRetry => "x-envoy-is-timeout-retry",
    XEnvoyOriginalPath => "x-envoy-original-path",
    XEnvoyOriginalHost => "x-envoy-original-host",
    XEnvoyOriginalUrl => "x-envoy-original-url",
    XEnvoyOriginalMethod => "x-envoy-original-method",
    XEnvoyOriginalDstHost => "x-envoy-original-dst-host",
    XEnvoyOverloaded => "x-envoy-overloaded",
    XEnvoyDropOverload => "x-envoy-drop-overload",
    XEnvoyUnconditionalDropOverload => "x-envoy-unconditional-drop-overload",
    XEnvoyDegraded => "x-envoy-degraded",
    XEnvoyRatelimited => "x-envoy-ratelimited",
    XEnvoyImmediateHealthCheckFail => "x-envoy-immediate-health-check-fail",
    XEnvoyUpstreamHealthcheckedCluster => "x-envoy-upstream-healthchecked-cluster",
    XEnvoyDecoratorOperation => "x-envoy-decorator-operation",
    XEnvoyUpstreamCanary => "x-envoy-upstream-canary",
    XEnvoyMaxRetries => "x-envoy-max-retries",
    XEnvoyRetryOn => "x-envoy-retry-on",
    XEnvoyRetryGrpcOn => "x-envoy-retry-grpc-on",
    XEnvoyRetriableHeaderNames => "x-envoy-retriable-header-names",
    XEnvoyRetriableStatusCodes => "x-envoy-retriable-status-codes",
    XEnvoyUpstreamAltStatName => "x-envoy-upstream-alt-stat-name",
    XEnvoyUpstreamRqTimeoutAltResponse => "x-envoy-upstream-rq-timeout-alt-response",
    XEnvoyUpstreamRqTimeoutMs => "x-envoy-upstream-rq-timeout-ms",
    XEnvoyUpstreamRqPerTryTimeoutMs => "x-envoy-upstream-rq-per-try-timeout-ms",
    XEnvoyUpstreamStreamDurationMs => "x-envoy-upstream-stream-duration-ms",
    XEnvoyHedgeOnPerTryTimeout => "x-envoy-hedge-on-per-try-timeout",
    XEnvoyForceTrace => "x-envoy-force-trace",
    XEnvoyIpTags => "x-envoy-ip-tags",
    GrpcTimeout => "grpc-timeout",
    GrpcStatus => "grpc-status",
    GrpcMessage => "grpc-message",
    GrpcStatusDetailsBin => "grpc-status-details-bin",
    GrpcAcceptEncoding => "grpc-accept-encoding",
    Traceparent => "traceparent",
    Tracestate => "tracestate",
    B3 => "b3",
    XB3Traceid => "x-b3-traceid",
    XB3Spanid => "x-b3-spanid",
    XB3Parentspanid => "x-b3-parentspanid",
    XB3Sampled => "x-b3-sampled",
    XB3Flags => "x-b3-flags",
    XOtSpanContext => "x-ot-span-context",
}

impl HeaderId {
    /// The number of ids. At most 128: the presence set is a `u128`.
    pub const COUNT: usize = ALL.len();

    /// The lower-case name, with the colon for pseudo headers.
    #[inline]
    pub const fn as_str(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The id of a name that is already in lower case.
    #[inline]
    pub fn from_lower(name: &[u8]) -> Option<HeaderId> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return None;
        }
        let mut slot = slot_of(name);
        // The table is at most a quarter full, so most unknown names meet an
        // empty slot at once; the walk ends because some slots are empty.
        loop {
            let id = *ALL.get(usize::from(TABLE[slot]))?;
            if id.as_str().as_bytes() == name {
                return Some(id);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The id with this number, as `id as u8` gives it.
    #[inline]
    pub(super) fn from_number(number: u8) -> Option<HeaderId> {
        ALL.get(usize::from(number)).copied()
    }

    /// Pseudo headers carry the request or status line; HTTP/1 never writes
    /// them as fields.
    #[inline]
    pub const fn is_pseudo(self) -> bool {
        matches!(
            self,
            HeaderId::Authority
                | HeaderId::Method
                | HeaderId::Path
                | HeaderId::Scheme
                | HeaderId::Status
                | HeaderId::Protocol
        )
    }

    /// Every id, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = HeaderId> {
        ALL.iter().copied()
    }
}

/// A power of two, four times the number of ids that fit the presence set.
const SLOTS: usize = 512;
/// Marks a free slot; larger than any id, so that the lookup in `ALL` fails.
const FREE: u8 = u8::MAX;
/// Longer names need no lookup.
const NAME_BYTES_MAX: usize = longest_name();

const _: () = assert!(HeaderId::COUNT <= 128, "the presence set has 128 bits");

/// Open-addressing table of ids, built by the compiler.
static TABLE: [u8; SLOTS] = build_table();

/// A mix of the length and five bytes, which tells nearly all names apart:
/// the long `x-envoy-` and `access-control-` families differ near their ends.
#[inline]
const fn slot_of(name: &[u8]) -> usize {
    let n = name.len();
    let mut hash = n as u32;
    hash = hash.wrapping_mul(31).wrapping_add(name[0] as u32);
    hash = hash.wrapping_mul(31).wrapping_add(name[n - 1] as u32);
    hash = hash.wrapping_mul(31).wrapping_add(name[n / 2] as u32);
    hash = hash.wrapping_mul(31).wrapping_add(name[n * 3 / 4] as u32);
    hash = hash
        .wrapping_mul(31)
        .wrapping_add(name[n - n.div_ceil(8)] as u32);
    (hash ^ (hash >> 9)) as usize % SLOTS
}

const fn build_table() -> [u8; SLOTS] {
    let mut table = [FREE; SLOTS];
    let mut i = 0;
    while i < NAMES.len() {
        let mut slot = slot_of(NAMES[i].as_bytes());
        while table[slot] != FREE {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = i as u8;
        i += 1;
    }
    table
}

const fn longest_name() -> usize {
    let mut longest = 0;
    let mut i = 0;
    while i < NAMES.len() {
        if NAMES[i].len() > longest {
            longest = NAMES[i].len();
        }
        i += 1;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_id() {
        for (number, id) in HeaderId::all().enumerate() {
            assert_eq!(id as usize, number);
            assert_eq!(HeaderId::from_lower(id.as_str().as_bytes()), Some(id));
        }
    }

    #[test]
    fn names_are_lower_case_and_unique() {
        let mut seen = std::collections::HashSet::new();
        for id in HeaderId::all() {
            assert_eq!(id.as_str(), id.as_str().to_ascii_lowercase());
            assert!(seen.insert(id.as_str()), "{} twice", id.as_str());
        }
    }

    #[test]
    fn near_misses_have_no_id() {
        for id in HeaderId::all() {
            let name = id.as_str().as_bytes();
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] = b'!';
                assert_eq!(HeaderId::from_lower(&other), None);
            }
            let cut = HeaderId::from_lower(&name[..name.len() - 1]);
            assert_ne!(cut, Some(id));
        }
        assert_eq!(HeaderId::from_lower(b""), None);
        assert_eq!(HeaderId::from_lower(b"Host"), None);
        assert_eq!(HeaderId::from_lower(&[b'x'; 4096]), None);
    }

    #[test]
    fn the_table_needs_few_steps() {
        let steps = |id: HeaderId| {
            let mut slot = slot_of(id.as_str().as_bytes());
            let mut steps = 1;
            while usize::from(TABLE[slot]) != id as usize {
                slot = (slot + 1) % SLOTS;
                steps += 1;
            }
            steps
        };
        let total: usize = HeaderId::all().map(steps).sum();
        assert!(total <= HeaderId::COUNT * 3 / 2, "{total} steps");
        assert!(HeaderId::all().map(steps).all(|s| s <= 4));
    }
}
