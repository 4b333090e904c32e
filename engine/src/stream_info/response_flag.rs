//! Response flags: what Envoy's `%RESPONSE_FLAGS%` and
//! `response_flag_filter` name.

use std::fmt;

/// The set of response flags of a request. It remembers the order in which
/// the flags were set, because Envoy writes them in that order (`URX,UT`).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseFlags {
    bits: u32,
    /// Flag numbers plus one, five bits each, the first flag lowest.
    order: u64,
}

impl ResponseFlags {
    /// The order of more flags than this is not kept: 12 fit into 64 bits, and
    /// no request was seen with more than four.
    const ORDERED_MAX: u32 = 12;

    /// Adds a flag; setting it again changes nothing.
    pub fn set(&mut self, flag: ResponseFlag) {
        let bit = 1 << flag as u32;
        if self.bits & bit != 0 {
            return;
        }
        let position = self.bits.count_ones();
        self.bits |= bit;
        if position < Self::ORDERED_MAX {
            self.order |= (flag as u64 + 1) << (5 * position);
        }
    }

    /// The flag was set.
    pub fn has(self, flag: ResponseFlag) -> bool {
        self.bits & (1 << flag as u32) != 0
    }

    /// No flag was set.
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// The set as bits, one for each [`ResponseFlag`] number.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The flags in the order in which they were set.
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        let mut order = self.order;
        std::iter::from_fn(move || {
            let number = (order & 31).checked_sub(1)?;
            order >>= 5;
            ResponseFlag::ALL.get(number as usize).copied()
        })
    }
}

impl ResponseFlags {
    /// Appends the names of the flags in the order in which they were set, with
    /// commas between.
    pub fn write(self, name: fn(ResponseFlag) -> &'static str, out: &mut Vec<u8>) {
        for (position, flag) in self.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name(flag).as_bytes());
        }
    }
}

impl From<ResponseFlag> for ResponseFlags {
    fn from(flag: ResponseFlag) -> Self {
        let mut flags = ResponseFlags::default();
        flags.set(flag);
        flags
    }
}

impl fmt::Debug for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

macro_rules! response_flags {
    ($($(#[$doc:meta])* $name:ident $short:literal $long:literal,)*) => {
        /// What went wrong with a request, or was special about it.
        #[repr(u8)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ResponseFlag {
            $($(#[$doc])* $name,)*
        }

        impl ResponseFlag {
            /// All flags in the order of their numbers.
            pub const ALL: &'static [ResponseFlag] = &[$(ResponseFlag::$name,)*];

            /// The name in `%RESPONSE_FLAGS%`.
            pub const fn short(self) -> &'static str {
                match self { $(ResponseFlag::$name => $short,)* }
            }

            /// The name in `%RESPONSE_FLAGS_LONG%`.
            pub const fn long(self) -> &'static str {
                match self { $(ResponseFlag::$name => $long,)* }
            }

            /// The flag with this short name, as `response_flag_filter` gives it.
            pub fn from_short(short: &str) -> Option<ResponseFlag> {
                match short { $($short => Some(ResponseFlag::$name),)* _ => None }
            }
        }
    };
}

response_flags! {
    /// The local service failed its health check.
    FailedLocalHealthCheck "LH" "FailedLocalHealthCheck",
    /// No healthy host in the cluster; 503.
    NoHealthyUpstream "UH" "NoHealthyUpstream",
    /// The route's or the try's timeout; 504.
    UpstreamRequestTimeout "UT" "UpstreamRequestTimeout",
    /// We reset the upstream connection; 503.
    LocalReset "LR" "LocalReset",
    /// The upstream reset the stream; 503.
    UpstreamRemoteReset "UR" "UpstreamRemoteReset",
    /// The upstream connection could not be made; 503.
    UpstreamConnectionFailure "UF" "UpstreamConnectionFailure",
    /// The upstream closed the connection; 503.
    UpstreamConnectionTermination "UC" "UpstreamConnectionTermination",
    /// A circuit breaker was open; 503.
    UpstreamOverflow "UO" "UpstreamOverflow",
    /// No route matched; 404.
    NoRouteFound "NR" "NoRouteFound",
    /// A fault filter delayed the request.
    DelayInjected "DI" "DelayInjected",
    /// A fault filter answered the request.
    FaultInjected "FI" "FaultInjected",
    /// Rate limited; 429.
    RateLimited "RL" "RateLimited",
    /// Refused by an authorization service.
    UnauthorizedExternalService "UAEX" "UnauthorizedExternalService",
    /// The rate-limit service failed.
    RateLimitServiceError "RLSE" "RateLimitServiceError",
    /// The client went away.
    DownstreamConnectionTermination "DC" "DownstreamConnectionTermination",
    /// All retries were used up.
    UpstreamRetryLimitExceeded "URX" "UpstreamRetryLimitExceeded",
    /// The stream was idle for too long; 408 or 504.
    StreamIdleTimeout "SI" "StreamIdleTimeout",
    /// An `x-envoy-*` header could not be understood; 400.
    InvalidEnvoyRequestHeaders "IH" "InvalidEnvoyRequestHeaders",
    /// The client broke the protocol.
    DownstreamProtocolError "DPE" "DownstreamProtocolError",
    /// The cluster's `max_stream_duration` passed.
    UpstreamMaxStreamDurationReached "UMSDR" "UpstreamMaxStreamDurationReached",
    /// Served from a cache.
    ResponseFromCacheFilter "RFCF" "ResponseFromCacheFilter",
    /// A filter's configuration did not arrive.
    NoFilterConfigFound "NFCF" "NoFilterConfigFound",
    /// The connection's maximal duration passed.
    DurationTimeout "DT" "DurationTimeout",
    /// The upstream broke the protocol; 502.
    UpstreamProtocolError "UPE" "UpstreamProtocolError",
    /// The route's cluster does not exist.
    NoClusterFound "NC" "NoClusterFound",
    /// Terminated by the overload manager.
    OverloadManagerTerminated "OM" "OverloadManagerTerminated",
    /// DNS resolution failed.
    DnsResolutionFailed "DF" "DnsResolutionFailed",
    /// Dropped by `drop_overloads`.
    DropOverload "DO" "DropOverload",
    /// The client reset the stream.
    DownstreamRemoteReset "DR" "DownstreamRemoteReset",
    /// Dropped by a `drop_overloads` of 100 %.
    UnconditionalDropOverload "UDO" "UnconditionalDropOverload",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_keep_their_order_and_are_set_once() {
        let mut flags = ResponseFlags::default();
        assert!(flags.is_empty());
        flags.set(ResponseFlag::UpstreamRetryLimitExceeded);
        flags.set(ResponseFlag::UpstreamRequestTimeout);
        flags.set(ResponseFlag::UpstreamRetryLimitExceeded);
        let names: Vec<_> = flags.iter().map(ResponseFlag::short).collect();
        assert_eq!(names, ["URX", "UT"]);
        assert!(flags.has(ResponseFlag::UpstreamRequestTimeout));
        assert!(!flags.has(ResponseFlag::NoRouteFound));
    }

    #[test]
    fn every_flag_fits_and_is_found_by_its_short_name() {
        assert!(
            ResponseFlag::ALL.len() <= 31,
            "five bits each, zero is none"
        );
        let mut all = ResponseFlags::default();
        for flag in ResponseFlag::ALL {
            assert_eq!(ResponseFlag::from_short(flag.short()), Some(*flag));
            assert_eq!(
                ResponseFlags::from(*flag).iter().collect::<Vec<_>>(),
                [*flag]
            );
            all.set(*flag);
        }
        assert_eq!(all.bits().count_ones() as usize, ResponseFlag::ALL.len());
        assert_eq!(all.iter().count(), ResponseFlags::ORDERED_MAX as usize);
        assert_eq!(ResponseFlag::from_short("XX"), None);
    }
}
