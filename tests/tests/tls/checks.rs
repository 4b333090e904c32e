//! Health checks over TLS, beside the real Envoy: how hosts are connected to, what is
//! asked of them, what becomes of those with whom there is no TLS, and what is counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ringway_tests::bootstrap::bootstrap;
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::{Process, Program};

use super::files::Files;
use super::server::{Manner, Server};
use super::{PATIENCE, certificate, client_tls};

const HEALTHY: &str = "healthy";
const FAILED: &str = "/failed_active_hc";
const TIMED_OUT: &str = "/failed_active_hc/active_hc_timeout";

/// A cluster with one host.
struct Case {
    name: &'static str,
    /// Fields of its TLS context, of the endpoint, each with a comma behind it, and of
    /// the health check.
    context: &'static str,
    endpoint: &'static str,
    check: &'static str,
    manner: Manner,
    /// What the host is known for after the first check.
    flags: &'static str,
}

const HTTP: &str = "http_health_check: { path: /check }";

const PLAIN: Case = Case {
    name: "",
    context: "sni: a.test",
    endpoint: "",
    check: HTTP,
    manner: Manner::Answer,
    flags: HEALTHY,
};

/// Trusts the server.
const TRUSTS: &str = "validation_context: { trusted_ca: { filename: FILES/ca.pem } }";

const CASES: &[Case] = &[
    Case {
        name: "unverified",
        ..PLAIN
    },
    Case {
        name: "verified",
        context: "sni: a.test, common_tls_context: { validation_context: { \
                  trusted_ca: { filename: FILES/ca.pem }, match_typed_subject_alt_names: [ { \
                  san_type: DNS, matcher: { exact: a.test } } ] } }",
        ..PLAIN
    },
    Case {
        name: "new",
        context: "sni: a.test, common_tls_context: { tls_params: { \
                  tls_maximum_protocol_version: TLSv1_3 }, TRUSTS }",
        ..PLAIN
    },
    Case {
        name: "nameless",
        context: "common_tls_context: { TRUSTS }",
        ..PLAIN
    },
    Case {
        name: "own_certificate",
        context: "sni: a.test, common_tls_context: { tls_certificates: [ CLIENT ] }",
        ..PLAIN
    },
    Case {
        name: "named_after_host",
        context: "sni: a.test, auto_host_sni: true, auto_sni_san_validation: true, \
                  common_tls_context: { TRUSTS }",
        endpoint: "hostname: q.b.test, health_check_config: { hostname: c.test },",
        ..PLAIN
    },
    Case {
        name: "protocols",
        context: "sni: a.test, common_tls_context: { alpn_protocols: [ one ] }",
        ..PLAIN
    },
    Case {
        name: "other_protocols",
        context: "sni: a.test, common_tls_context: { alpn_protocols: [ one ] }",
        check: "tls_options: { alpn_protocols: [ two ] }, http_health_check: { path: / }",
        ..PLAIN
    },
    Case {
        name: "no_protocols",
        context: "sni: a.test, common_tls_context: { alpn_protocols: [ one ] }",
        check: "tls_options: {}, http_health_check: { path: / }",
        ..PLAIN
    },
    Case {
        name: "http2",
        check: "tls_options: { alpn_protocols: [ h2 ] }, http_health_check: { path: '/c?a', \
                host: www.test, codec_client_type: HTTP2 }",
        ..PLAIN
    },
    Case {
        name: "tcp",
        check: "tcp_health_check: {}",
        ..PLAIN
    },
    // PONG
    Case {
        name: "tcp_payload",
        check: "tcp_health_check: { send: { text: '61' }, receive: [ { text: 504f4e47 } ] }",
        ..PLAIN
    },
    Case {
        name: "redis",
        check: "custom_health_check: { name: redis, typed_config: { \"@type\": \
                type.googleapis.com/envoy.extensions.health_checkers.redis.v3.Redis } }",
        ..PLAIN
    },
    Case {
        name: "no_criteria",
        check: "transport_socket_match_criteria: { a: b }, http_health_check: { path: / }",
        ..PLAIN
    },
    Case {
        name: "refuses",
        manner: Manner::Refuse,
        flags: FAILED,
        ..PLAIN
    },
    Case {
        name: "stranger",
        context: "sni: a.test, common_tls_context: { TRUSTS }",
        manner: Manner::Stranger,
        flags: FAILED,
        ..PLAIN
    },
    Case {
        name: "other_name",
        context: "sni: zzz.test, auto_sni_san_validation: true, common_tls_context: { TRUSTS }",
        flags: FAILED,
        ..PLAIN
    },
    Case {
        name: "other_hash",
        context: "sni: a.test, common_tls_context: { validation_context: { \
                  verify_certificate_hash: [ \"0000000000000000000000000000000000000000000000000000000000000000\" ] } }",
        flags: FAILED,
        ..PLAIN
    },
    Case {
        name: "tcp_stranger",
        context: "sni: a.test, common_tls_context: { TRUSTS }",
        check: "tcp_health_check: {}",
        manner: Manner::Stranger,
        flags: FAILED,
        ..PLAIN
    },
    Case {
        name: "not_tls",
        manner: Manner::Plain,
        flags: FAILED,
        ..PLAIN
    },
    Case {
        name: "closes",
        manner: Manner::Close,
        flags: FAILED,
        ..PLAIN
    },
    Case {
        name: "hangs",
        check: "tcp_health_check: {}",
        manner: Manner::Hang,
        flags: TIMED_OUT,
        ..PLAIN
    },
];

fn configuration(files: &Files, cases: &[Case], servers: &[Server], times: &str) -> String {
    let mut text = bootstrap(&[], "") + "  clusters:\n";
    for (case, server) in cases.iter().zip(servers) {
        let Case {
            name,
            context,
            endpoint,
            check,
            ..
        } = case;
        let _ = writeln!(
            text,
            "  - {{ name: {name}, type: STATIC, {}, load_assignment: {{ cluster_name: {name}, \
             endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ {endpoint} address: {{ \
             socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ] }}, \
             health_checks: [ {{ timeout: 5s, {times}, unhealthy_threshold: 1, \
             healthy_threshold: 1, {check} }} ] }}",
            client_tls(context),
            server.address.port()
        );
    }
    text.replace("TRUSTS", TRUSTS)
        .replace("CLIENT", &certificate("client"))
        .replace("FILES", &files.folder().to_string_lossy())
}

/// The flags of the one host of `cluster`, once they are as wanted or as long as one
/// may wait for that.
fn await_flags(process: &Process, cluster: &str, wanted: &str) -> String {
    let begun = Instant::now();
    let prefix = format!("{cluster}::127.0.0.1:");
    loop {
        let text = process.admin().get("/clusters").text();
        let mut lines = text.lines().filter(|line| line.starts_with(&prefix));
        let line = lines.find_map(|line| line.split_once("::health_flags::"));
        let flags = line.map_or("", |(_, flags)| flags);
        if flags == wanted || begun.elapsed() > PATIENCE {
            return flags.to_owned();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a cluster counts of TLS and of checks.
fn counted(process: &Process, cluster: &str) -> BTreeMap<String, u64> {
    let prefix = format!("cluster.{cluster}.");
    let stats = process.admin().stats();
    let own = stats.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(&prefix)?;
        let wanted = name.starts_with("ssl.") || name.starts_with("health_check.");
        (wanted && *value > 0).then_some((name, value))
    });
    own.map(|(name, value)| (name.to_owned(), *value)).collect()
}

/// Of each case: the host's flags, what the host saw, what was counted.
type Played = Vec<(String, Vec<String>, BTreeMap<String, u64>)>;

#[test]
fn a_host_is_checked_over_tls_as_envoy_checks_it() {
    let files = Files::new();
    let play = |program: &Program| -> Played {
        let servers = CASES.iter().map(|case| Server::start(&files, case.manner));
        let servers: Vec<_> = servers.collect();
        // One check: the next one comes after the test.
        let text = configuration(&files, CASES, &servers, "interval: 600s");
        let process = Process::start_with(program, &text, &["--concurrency", "1"]);
        let all = CASES.iter().zip(&servers).map(|(case, server)| {
            let flags = await_flags(&process, case.name, case.flags);
            (flags, server.seen(), counted(&process, case.name))
        });
        all.collect()
    };
    let test = "a_host_is_checked_over_tls_as_envoy_checks_it";
    let Some(seen) = as_in_envoy(test, play) else {
        return;
    };
    for (case, (flags, ..)) in CASES.iter().zip(seen) {
        assert_eq!(flags, case.flags, "{}", case.name);
    }
}

/// Hosts that change, and connections that are used again or not.
#[test]
fn checks_over_tls_follow_their_hosts() {
    const STEPS: &[(Manner, &str)] = &[
        (Manner::Answer, HEALTHY),
        (Manner::Refuse, FAILED),
        (Manner::Stranger, FAILED),
        (Manner::Answer, HEALTHY),
        (Manner::Close, FAILED),
        (Manner::Answer, HEALTHY),
    ];
    const CLUSTERS: &[Case] = &[Case {
        name: "each_its_own",
        context: "sni: a.test, common_tls_context: { TRUSTS }",
        check: "reuse_connection: false, http_health_check: { path: / }",
        ..PLAIN
    }];
    let files = Files::new();
    let play = |program: &Program| {
        let servers = [Server::start(&files, Manner::Answer)];
        let times = "interval: 0.05s, no_traffic_interval: 0.05s";
        let text = configuration(&files, CLUSTERS, &servers, times);
        let process = Process::start_with(program, &text, &["--concurrency", "1"]);
        let flags = STEPS.iter().map(|(manner, flags)| {
            servers[0].set(*manner);
            await_flags(&process, "each_its_own", flags)
        });
        let flags: Vec<_> = flags.collect();
        // How often something happened depends on how long it took.
        let kinds: Vec<_> = counted(&process, "each_its_own").into_keys().collect();
        (flags, kinds)
    };
    let test = "checks_over_tls_follow_their_hosts";
    let Some((flags, _)) = as_in_envoy(test, play) else {
        return;
    };
    let wanted: Vec<_> = STEPS.iter().map(|(_, flags)| *flags).collect();
    assert_eq!(flags, wanted);
}

/// Waits until a server has been asked so often, and says how many connections that
/// took.
fn connections(server: &Server, questions: usize) -> usize {
    let begun = Instant::now();
    loop {
        let seen = server.seen();
        let handshakes = seen.iter().filter(|line| line.starts_with("sni=")).count();
        if seen.len() - handshakes >= questions {
            return handshakes;
        }
        assert!(begun.elapsed() < PATIENCE, "{seen:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn connections_with_tls_serve_many_checks() {
    let files = Files::new();
    let cases: Vec<Case> = CASES
        .iter()
        .filter(|case| {
            matches!(
                case.name,
                "unverified" | "new" | "http2" | "redis" | "tcp_payload"
            )
        })
        .map(|case| Case { ..*case })
        .collect();
    let play = |program: &Program| {
        let servers = cases.iter().map(|case| Server::start(&files, case.manner));
        let servers: Vec<_> = servers.collect();
        let times = "interval: 0.05s, no_traffic_interval: 0.05s";
        let text = configuration(&files, &cases, &servers, times);
        let process = Process::start_with(program, &text, &["--concurrency", "1"]);
        let counts = servers.iter().map(|server| connections(server, 5));
        let counts: Vec<_> = counts.collect();
        drop(process);
        counts
    };
    let test = "connections_with_tls_serve_many_checks";
    let Some(counts) = as_in_envoy(test, play) else {
        return;
    };
    assert_eq!(counts, vec![1; cases.len()]);
}
