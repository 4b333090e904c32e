//! Labels taken out of names: `cluster.a.upstream_rq_2xx` becomes
//! `cluster.upstream_rq_xx` with `envoy.cluster_name` and
//! `envoy.response_code_class`, as Envoy does by default.
//!
//! Each rule looks at the whole name; the first that gives a tag wins, and what
//! all of them take is removed at the end. The order of the rules is the order
//! of the labels.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// A label of a statistic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// `envoy.cluster_name` and its kin.
    pub name: &'static str,
    /// A part of the statistic's name.
    pub value: &'a str,
}

/// A statistic's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged<'a> {
    /// The name without what went into the tags.
    pub name: String,
    /// The tags, in the order of the rules.
    pub tags: Vec<Tag<'a>>,
}

impl<'a> Tagged<'a> {
    /// Takes a statistic's name apart.
    #[must_use]
    pub fn new(full: &'a str) -> Self {
        let mut tags: Vec<Tag<'a>> = Vec::new();
        let mut removed: Vec<Range<usize>> = Vec::new();
        for (name, rule) in &*RULES {
            if tags.iter().any(|tag| tag.name == *name) {
                continue;
            }
            if let Some(found) = rule.find(full) {
                let value = &full[found.value];
                tags.push(Tag { name, value });
                removed.push(found.removed);
            }
        }
        Self {
            name: without(full, removed),
            tags,
        }
    }
}

fn without(full: &str, mut removed: Vec<Range<usize>>) -> String {
    removed.sort_unstable_by_key(|range| range.start);
    let mut name = String::with_capacity(full.len());
    let mut at = 0;
    for range in removed {
        if range.start > at {
            name.push_str(&full[at..range.start]);
        }
        at = at.max(range.end);
    }
    name.push_str(&full[at..]);
    name
}

enum Rule {
    /// Parts between dots: `*` is any one, `$` the value, `**` whatever follows,
    /// of which there must be something.
    Parts(&'static [&'static str]),
    /// Group 1 is removed, group 2 the value.
    Pattern(Regex),
    /// The same, unless that is the value.
    PatternExcept(Regex, &'static str),
}

struct Found {
    value: Range<usize>,
    removed: Range<usize>,
}

impl Rule {
    fn find(&self, full: &str) -> Option<Found> {
        match self {
            Self::Parts(parts) => find_parts(parts, full),
            Self::PatternExcept(regex, value) => {
                let captures = regex.captures(full)?;
                (&captures[2] != *value).then_some(Found {
                    removed: captures.get(1)?.range(),
                    value: captures.get(2)?.range(),
                })
            }
            Self::Pattern(regex) => {
                let captures = regex.captures(full)?;
                Some(Found {
                    removed: captures.get(1)?.range(),
                    value: captures.get(2)?.range(),
                })
            }
        }
    }
}

fn find_parts(parts: &[&str], full: &str) -> Option<Found> {
    let mut found = None;
    let mut at = 0;
    let mut parts = parts.iter().copied();
    while let Some(part) = parts.next() {
        if part == "**" {
            // It is last and stands for one part at least, or for the parts
            // before one that must come.
            let Some(next) = parts.next() else {
                return found.filter(|_| at <= full.len());
            };
            let ahead = full.get(at..)?.split('.').position(|part| part == next)?;
            at += full[at..]
                .split('.')
                .take(ahead + 1)
                .map(|part| part.len() + 1)
                .sum::<usize>();
            continue;
        }
        let rest = full.get(at..)?;
        let len = rest.find('.').unwrap_or(rest.len());
        let end = at + len;
        match part {
            "*" => {}
            "$" => {
                // The dot after it goes too, or the one before it at the end.
                let removed = match end < full.len() {
                    true => at..end + 1,
                    false => at.saturating_sub(1)..end,
                };
                found = Some(Found {
                    value: at..end,
                    removed,
                });
            }
            literal if rest[..len] == *literal => {}
            _ => return None,
        }
        at = end + 1;
    }
    // Without `**` the name must end here.
    (at == full.len() + 1).then_some(found).flatten()
}

/// An address as a listener's name has it, or the first part of another prefix.
const ADDRESS: &str = r"(?:[_.0-9]*|[_\[\]a-fA-F0-9]*|[^.]+)";

static RULES: LazyLock<Vec<(&'static str, Rule)>> = LazyLock::new(|| {
    let parts = |name, parts| (name, Rule::Parts(parts));
    let regex = |pattern: &str| Regex::new(pattern).expect("the rules are valid, as a test shows");
    let pattern = |name, pattern: &str| (name, Rule::Pattern(regex(pattern)));
    vec![
        pattern("envoy.response_code", r"_rq(_(\d{3}))$"),
        pattern("envoy.response_code_class", r"_rq_((\d))xx$"),
        parts(
            "envoy.mongo_callsite",
            &[
                "mongo",
                "*",
                "collection",
                "*",
                "callsite",
                "$",
                "query",
                "**",
            ],
        ),
        parts(
            "envoy.mongo_collection",
            &["mongo", "*", "collection", "$", "**", "query", "*"],
        ),
        parts("envoy.mongo_cmd", &["mongo", "*", "cmd", "$", "**"]),
        parts(
            "envoy.grpc_bridge_method",
            &["cluster", "*", "grpc", "*", "$", "**"],
        ),
        parts(
            "envoy.http_user_agent",
            &["http", "*", "user_agent", "$", "**"],
        ),
        parts(
            "envoy.virtual_cluster",
            &["vhost", "*", "vcluster", "$", "**"],
        ),
        parts(
            "envoy.fault_downstream_cluster",
            &["http", "*", "fault", "$", "**"],
        ),
        pattern(
            "envoy.ssl_cipher",
            r"^(?:listener|cluster)\..*?\.ssl\.ciphers(\.(.*?))$",
        ),
        pattern(
            "envoy.tls_certificate",
            r"^(?:listener|cluster)\..*?\.ssl\.certificate\.((.*?)\.)",
        ),
        parts(
            "envoy.grpc_bridge_service",
            &["cluster", "*", "grpc", "$", "**"],
        ),
        parts("envoy.tcp_prefix", &["tcp", "$", "**"]),
        parts("envoy.udp_prefix", &["udp", "$", "**"]),
        parts("envoy.clientssl_prefix", &["auth", "clientssl", "$", "**"]),
        parts("envoy.ratelimit_prefix", &["ratelimit", "$", "**"]),
        parts("envoy.cluster_name", &["cluster", "$", "**"]),
        pattern(
            "envoy.http_conn_manager_prefix",
            r"^listener\..*?\.http\.((.*?)\.)",
        ),
        parts("envoy.http_conn_manager_prefix", &["http", "$", "**"]),
        pattern(
            "envoy.worker_id",
            &format!(
                r"^(?:listener\.{ADDRESS}|server|listener_manager|thread_local_cluster_manager)\.worker(_(\d+))\."
            ),
        ),
        (
            "envoy.listener_address",
            // `listener.admin.` is the admin server's.
            Rule::PatternExcept(regex(&format!(r"^listener\.(({ADDRESS})\.)")), "admin"),
        ),
        parts("envoy.virtual_host", &["vhost", "$", "**"]),
        parts("envoy.mongo_prefix", &["mongo", "$", "**"]),
        pattern(
            "envoy.rds_route_config",
            r"^http\.[^.]*?\.rds\.((.*?)\.)\w+?$",
        ),
        pattern(
            "envoy.scoped_rds_config",
            r"^http\.[^.]*?\.scoped_rds\.((.*?)\.)\w+?$",
        ),
        parts("envoy.route", &["vhost", "*", "route", "$", "**"]),
        parts("envoy.thrift_prefix", &["thrift", "$", "**"]),
        parts("envoy.redis_prefix", &["redis", "$", "**"]),
        parts(
            "envoy.ext_authz_prefix",
            &["*", "*", "ext_authz", "$", "**"],
        ),
        parts(
            "envoy.connection_limit_prefix",
            &["connection_limit", "$", "**"],
        ),
        parts(
            "envoy.local_http_ratelimit_prefix",
            &["$", "http_local_rate_limit", "**"],
        ),
        parts(
            "envoy.local_network_ratelimit_prefix",
            &["local_rate_limit", "$", "**"],
        ),
        parts("envoy.rbac_prefix", &["$", "rbac", "**"]),
        parts("envoy.dns_filter_prefix", &["dns_filter", "$", "**"]),
        parts("envoy.google_grpc_client_prefix", &["grpc", "$", "**"]),
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_envoy_does() {
        for (full, name, tags) in [
            ("server.live", "server.live", ""),
            (
                "cluster.a.upstream_rq_total",
                "cluster.upstream_rq_total",
                "cluster_name=a",
            ),
            (
                "cluster.a.upstream_rq_200",
                "cluster.upstream_rq",
                "response_code=200 cluster_name=a",
            ),
            (
                "cluster.a.external.upstream_rq_2xx",
                "cluster.external.upstream_rq_xx",
                "response_code_class=2 cluster_name=a",
            ),
            (
                "cluster.with.dots.version",
                "cluster.dots.version",
                "cluster_name=with",
            ),
            (
                "cluster_manager.active_clusters",
                "cluster_manager.active_clusters",
                "",
            ),
            (
                "http.in.downstream_rq_total",
                "http.downstream_rq_total",
                "http_conn_manager_prefix=in",
            ),
            ("http1.response_flood", "http1.response_flood", ""),
            (
                "listener.127.0.0.1_80.http.in.downstream_rq_5xx",
                "listener.http.downstream_rq_xx",
                "response_code_class=5 http_conn_manager_prefix=in listener_address=127.0.0.1_80",
            ),
            (
                "listener.127.0.0.1_80.ssl.certificate.a.b.expiration_unix_time_seconds",
                "listener.ssl.certificate.b.expiration_unix_time_seconds",
                "tls_certificate=a listener_address=127.0.0.1_80",
            ),
            (
                "listener.[__1]_80.worker_12.downstream_cx_total",
                "listener.worker.downstream_cx_total",
                "worker_id=12 listener_address=[__1]_80",
            ),
            (
                "listener.admin.http.admin.downstream_rq_completed",
                "listener.admin.http.downstream_rq_completed",
                "http_conn_manager_prefix=admin",
            ),
            (
                "listener.my.own.worker_0.downstream_cx_total",
                "listener.own.worker_0.downstream_cx_total",
                "listener_address=my",
            ),
            (
                "listener.solo.worker_0.downstream_cx_total",
                "listener.worker.downstream_cx_total",
                "worker_id=0 listener_address=solo",
            ),
            (
                "listener./a.b/c.downstream_cx_total",
                "listener.b/c.downstream_cx_total",
                "listener_address=/a",
            ),
            (
                "listener.admin.main_thread.downstream_cx_total",
                "listener.admin.main_thread.downstream_cx_total",
                "",
            ),
            (
                "server.worker_3.watchdog_miss",
                "server.worker.watchdog_miss",
                "worker_id=3",
            ),
            (
                "vhost.v.vcluster.c.upstream_rq_503",
                "vhost.vcluster.upstream_rq",
                "response_code=503 virtual_cluster=c virtual_host=v",
            ),
            (
                "vhost.v.route.r.upstream_rq_time",
                "vhost.route.upstream_rq_time",
                "virtual_host=v route=r",
            ),
            (
                "tcp.t.downstream_cx_total",
                "tcp.downstream_cx_total",
                "tcp_prefix=t",
            ),
            (
                "http.in.rds.my.routes.config_reload",
                "http.rds.config_reload",
                "http_conn_manager_prefix=in rds_route_config=my.routes",
            ),
            (
                "mongo.m.collection.users.query.total",
                "mongo.collection.query.total",
                "mongo_collection=users mongo_prefix=m",
            ),
            ("", "", ""),
            ("cluster.", "cluster.", ""),
            (
                "http.in.fault.aborts_injected",
                "http.fault.aborts_injected",
                "http_conn_manager_prefix=in",
            ),
            (
                "http.in.fault.edge.aborts_injected",
                "http.fault.aborts_injected",
                "fault_downstream_cluster=edge http_conn_manager_prefix=in",
            ),
            ("cluster", "cluster", ""),
        ] {
            let tagged = Tagged::new(full);
            let shown: Vec<_> = (tagged.tags.iter())
                .map(|tag| format!("{}={}", tag.name.trim_start_matches("envoy."), tag.value))
                .collect();
            assert_eq!((&*tagged.name, &*shown.join(" ")), (name, tags), "{full}");
        }
    }
}
