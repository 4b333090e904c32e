//! What the suite in `admin.rs` sees.

use super::{Intended, Suite};

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    admin(
        "*",
        "missing: *group",
        "loggers have levels of their own; there are no groups of them",
    ),
    admin(
        "*",
        "extra: *hidden",
        "a parameter that Envoy has and does not list",
    ),
    admin(
        "*",
        "missing: *.node.user_agent*",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*/server_info",
        "missing: .node.client_features []",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*/server_info",
        "missing: .node.listening_addresses []",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*/server_info",
        "missing: .node.dynamic_parameters {}",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*",
        "missing: *.node.extensions*",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*",
        "extra: .command_line_options.io_driver string",
        "a flag of ours",
    ),
    admin(
        "*/contention",
        "*",
        "there is no mutex whose contention could be traced",
    ),
    admin("*/stats?filter=(", "*", "the regex library's own words"),
    admin(
        "*",
        "extra: *access_log*dropped_lines*",
        "a counter of ours",
    ),
    admin("*", "extra: *server*io_uring*", "a gauge of ours"),
    admin(
        "*",
        "extra: *cluster*upstream_cx_lent*",
        "a counter of ours: connections that came from another worker",
    ),
    admin(
        "*",
        "extra: *cluster*upstream_rq_alt_stat_name_overflow*",
        "a counter of ours: names of requests beyond the limit",
    ),
    admin(
        "*",
        "extra: *cluster*upstream_rq_resent*",
        "a counter of ours: requests sent again for their clients",
    ),
    admin(
        "*",
        "extra: *server*hot_restart_generation*",
        "Envoy lists it without --disable-hot-restart only",
    ),
    admin(
        "*usedonly*",
        "missing: server.*_unknown_fields",
        "Envoy counts an addition of nothing as use",
    ),
    admin(
        "*usedonly*",
        "missing: server.wip_protos",
        "Envoy counts an addition of nothing as use",
    ),
    admin("*", "extra: */outliers", "an endpoint that Envoy has not"),
    admin("*", "extra: */explain", EXPLAIN),
    admin("*", "extra: *  all_routes", EXPLAIN),
    admin("*", "extra: *  alpn", EXPLAIN),
    admin("*", "extra: *  h.NAME", EXPLAIN),
    admin("*", "extra: *  host", EXPLAIN),
    admin("*", "extra: *  listener", EXPLAIN),
    admin("*", "extra: *  method", EXPLAIN),
    admin("*", "extra: *  path", EXPLAIN),
    admin("*", "extra: *  protocol", EXPLAIN),
    admin("*", "extra: *  random", EXPLAIN),
    admin("*", "extra: *  remote", EXPLAIN),
    admin("*", "extra: *  sni", EXPLAIN),
];

const EXPLAIN: &str = "an endpoint of ours";

const fn admin(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    Intended {
        suite: Suite::Admin,
        case,
        what,
        reason,
    }
}
