//! What the suites of `listeners/` see.

use super::{Intended, Suite};

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    entry("proxy_protocol", "*: v1, a scope", "*", NO_ADDRESS),
    entry("proxy_protocol", "*: v1, a zero byte", "*", NO_ADDRESS),
];

const NO_ADDRESS: &str = "a name of one of our network interfaces, or what follows a zero byte, \
     is no part of a client's address; Envoy reads the address in front of it";

/// An entry.
const fn entry(
    suite: &'static str,
    case: &'static str,
    what: &'static str,
    reason: &'static str,
) -> Intended {
    Intended {
        suite: Suite::Listeners(suite),
        case,
        what,
        reason,
    }
}
