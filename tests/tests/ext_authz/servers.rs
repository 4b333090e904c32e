//! Servers behind TLS, those that are not who they should be, and clusters that let no
//! more calls through.

use crate::client::Client::{self, Follows, Says};
use crate::conversation::compare;
use crate::listener::{Listener, asks};

const HELLO: Client = Says("hello");

/// A cluster as `CLUSTERS` has it, what the server is told to say, and what clients do.
type Scenario = (&'static str, &'static str, Client);

/// Each cluster twice: as it is, and where connections are let through that nobody can
/// say anything about.
fn both(scenarios: &[Scenario]) -> Vec<(Listener, Client)> {
    let mut all = Vec::new();
    for (cluster, decision, client) in scenarios {
        let name = cluster.trim_start_matches("auth_");
        for (suffix, fields) in [("", ""), ("_allowed", "failure_mode_allow: true")] {
            let listener = asks(&format!("{name}{suffix}"), decision);
            let listener = listener.of(cluster).with(fields);
            // Others are answered, or break off.
            let listener = match cluster.starts_with("auth_mute") {
                true => listener.soon(),
                false => listener,
            };
            all.push((listener, *client));
        }
    }
    all
}

const SECURE: &[Scenario] = &[
    ("auth_tls", "told", HELLO),
    ("auth_alpn", "deny-told", HELLO),
    ("auth_of_other_ca", "ok", HELLO),
    ("auth_of_other_name", "ok", HELLO),
    ("auth_mute_tls", "ok", HELLO),
];

#[test]
fn servers_are_asked_over_tls() {
    let Some(seen) = compare("servers_are_asked_over_tls", &both(SECURE)) else {
        return;
    };
    let has = |line: &str| assert!(seen.iter().any(|one| one == line), "{line}: {seen:#?}");
    has("tls reads \"hello\"");
    has("tls: cluster.auth_tls.ssl.handshake +1");
    has("alpn reads \"\", then the end");
    has("of_other_ca reads \"\", then the end");
    has("of_other_ca: cluster.auth_of_other_ca.ssl.fail_verify_error +1");
    has("of_other_name_allowed reads \"hello\"");
    let calls = seen.iter().filter(|line| line.starts_with("call ")).count();
    assert_eq!(calls, 4, "{seen:#?}");
}

const LIMITED: &[Scenario] = &[
    ("auth_no_requests", "ok", HELLO),
    ("auth_one_request", "slow", Follows("hello")),
    ("auth_no_connections", "ok", HELLO),
    ("auth_one_connection", "ok", HELLO),
    ("auth_none_waits", "ok", HELLO),
    ("auth_one_waits", "ok", Follows("hello")),
];

#[test]
fn circuit_breakers_stop_calls() {
    let Some(seen) = compare("circuit_breakers_stop_calls", &both(LIMITED)) else {
        return;
    };
    let has = |line: &str| assert!(seen.iter().any(|one| one == line), "{line}: {seen:#?}");
    has("no_requests reads \"\", then the end");
    has("no_requests_allowed reads \"hello\"");
    has("one_connection reads \"hello\"");
    has("one_request reads \"\", then the end");
    has("one_request_allowed: cluster.auth_one_request.upstream_rq_active_overflow +1");
    has("one_waits_allowed reads \"hello\"");
    has("one_waits: cluster.auth_one_waits.upstream_rq_pending_overflow +1");
}
