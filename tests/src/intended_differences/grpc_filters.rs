//! What the suite about the filters of gRPC sees.

use super::{DELAYED_CLOSE, Intended, routing};

/// An entry of the suite.
const fn of(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("grpc_filters", case, what, reason)
}

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    of("*", "log[*].*header_bytes_*", COMPRESSED),
    of("*", "log[*].*wire_bytes_*", COMPRESSED),
    of("*", "stats.*http2.nghttp2_*_connections", ONE_CODEC),
    of("*", "stats.*delayed_close_timeout", DELAYED_CLOSE),
    of("* no host", "stats.http2.tx_reset", UNREAD),
    of("stats of a direct response", "stats.http2.tx_reset", UNREAD),
    of("text that *", "upstream[0]*", READ_LATER),
    of("text that *", "log[0].upstream_protocol", READ_LATER),
    of("text that *", "stats.*", READ_LATER),
    of("* small", "upstream[0]*", READ_LATER),
    of("* small", "log[0].upstream_protocol", READ_LATER),
    of("* small", "stats.cluster.*", READ_LATER),
    of("too large to be upgraded", "*", WAITS),
    of("z wrong size", "stats.cluster.*", BROKEN_OFF),
];

const COMPRESSED: &str = "the library does not say how many bytes headers were compressed to; \
     counted is what they are without";

const ONE_CODEC: &str = "it says which of Envoy's libraries is used";

const UNREAD: &str = "a request that is answered before its body was read is given up by a reset; \
     Envoy has read it";

const READ_LATER: &str = "a body is read when a host takes it, and refused then; Envoy reads it \
     while it connects";

const WAITS: &str = "Envoy stops reading and waits until somebody else ends the request; we \
     answer 413, as where it buffers for others";

const BROKEN_OFF: &str = "the connection of a host whose response is broken off is closed";
