//! Secrets that files hold (SDS): the same files, one after the other, for Envoy and
//! Ringway. What is counted, what is shown and who gets which certificate must be
//! alike.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use ringway_tests::process::{Process, each_driver};
use ringway_tests::programs;
use serde_json::Value;

use super::files::Files;
use super::{
    PATIENCE, all_alike, back, certificate, client_tls, cluster, curl, get, listener, log_of,
    server_tls, start,
};

pub const SECRET: &str =
    "\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Moves a file into its place in the folder of secrets: `FILES` is that of
/// certificates.
pub fn put(files: &Files, name: &str, text: &str) {
    let folder = files.path("sds");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = text.replace("FILES", &files.folder().to_string_lossy());
    std::fs::write(folder.join("new"), text).expect("a file");
    std::fs::rename(folder.join("new"), folder.join(name)).expect("it can be moved");
}

/// A response with one secret.
pub fn secret(name: &str, content: &str) -> String {
    format!("resources:\n- {SECRET}\n  name: {name}\n  {content}\n")
}

/// One with a certificate of the folder.
pub fn certificate_secret(name: &str, of: &str) -> String {
    secret(name, &format!("tls_certificate: {}", certificate(of)))
}

/// One with an authority of the folder.
pub fn trust(name: &str, of: &str, more: &str) -> String {
    let content =
        format!("validation_context: {{ trusted_ca: {{ filename: FILES/{of}.pem }}{more} }}");
    secret(name, &content)
}

/// What a context names: a secret in the file of its name.
pub fn named(name: &str) -> String {
    format!(
        "{{ name: {name}, sds_config: {{ path_config_source: {{ path: FILES/sds/{name}.yaml }} }} }}"
    )
}

/// A server whose certificate is `srv`.
fn server(more: &str) -> String {
    server_tls(&format!(
        "common_tls_context: {{ tls_certificate_sds_secret_configs: [ {} ]{more} }}",
        named("srv")
    ))
}

/// The common name of the certificate that a client is shown.
pub fn shown(address: SocketAddr) -> String {
    let curl = programs::optional("sds", "curl").expect("curl, which every machine has");
    let output = Command::new(curl)
        .args(["-s", "-k", "-v", "--max-time", "20"])
        .arg(format!("https://{address}/direct"))
        .output()
        .expect("curl runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let subject = said.lines().find_map(|line| line.split_once("subject: "));
    match subject {
        Some((_, subject)) if output.status.success() => subject
            .split([';', ','])
            .filter_map(|part| part.trim().strip_prefix("CN"))
            .map(|name| name.trim_start_matches([' ', '=']).to_owned())
            .collect(),
        _ => "nothing".to_owned(),
    }
}

/// Waits until a client is shown the certificate of this name.
pub fn await_shown(process: &Process, name: &str, wanted: &str) {
    let begun = Instant::now();
    loop {
        let now = shown(process.listener(name));
        if now == wanted {
            return;
        }
        let late = begun.elapsed() > PATIENCE;
        assert!(
            !late,
            "{}: {now}, not {wanted}: {}",
            process.name(),
            process.stderr()
        );
    }
}

/// Waits until a file was read this often.
fn await_read(process: &Process, secret: &str, times: u64) {
    let ended = ["success", "failure", "rejected"];
    let (stats, held) = process.admin().await_stats(PATIENCE, |stats| {
        let count = |end: &&str| stats.get(&format!("sds.{secret}.update_{end}"));
        ended.iter().filter_map(count).sum::<u64>() == times
    });
    assert!(held, "{}: {stats:?}", process.name());
}

/// What is counted of secrets and contexts, apart from times.
fn counted(process: &Process) -> String {
    let text = process.admin().get("/stats").text();
    let lines = text.lines().filter(|line| {
        let of_secrets = line.starts_with("sds.") || line.contains("_ssl_socket_factory.");
        of_secrets && !line.contains("update_time")
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// `/certs`, the ends of certificates in `/stats` and the secrets of `/config_dump`, apart
/// from times and orders.
fn dumped(process: &Process) -> String {
    let json = |path: &str| -> Value {
        let text = process.admin().get(path).text();
        serde_json::from_str(&text).expect("a JSON document")
    };
    let sorted = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        let mut list: Vec<String> = list
            .map(|one| {
                let mut one = one.clone();
                if let Some(fields) = one.as_object_mut() {
                    fields.remove("last_updated");
                }
                // By their names, whatever the order of these is.
                let sorted: BTreeMap<String, Value> =
                    serde_json::from_value(one).expect("an object");
                serde_json::to_string(&sorted).expect("JSON")
            })
            .collect();
        list.sort();
        list
    };
    let mut seen = sorted(&json("/certs")["certificates"]).join("\n");
    let dump = json("/config_dump");
    let sections = dump["configs"].as_array().expect("sections");
    for section in sections {
        for kind in [
            "static_secrets",
            "dynamic_active_secrets",
            "dynamic_warming_secrets",
        ] {
            for one in sorted(&section[kind]) {
                seen += &format!("\n{kind}: {one}");
            }
        }
    }
    let text = process.admin().get("/stats").text();
    for line in text
        .lines()
        .filter(|line| line.contains(".ssl.certificate."))
    {
        seen += &format!("\n{line}");
    }
    seen + "\n"
}

/// What a file says, one after the other, and which certificate clients get then.
const FILES: &[(&str, &str, &str)] = &[
    ("another name", "OTHER", "nothing"),
    (
        "another resource",
        "resources:\n- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: srv\n",
        "nothing",
    ),
    ("no YAML", "{[", "nothing"),
    ("an empty file", "", "nothing"),
    ("no resources", "version_info: \"7\"", "nothing"),
    ("two secrets", "SERVER+RSA", "nothing"),
    ("no such file", "NOWHERE", "nothing"),
    ("another kind", "TRUST", "nothing"),
    ("no kind", "NOTHING", "nothing"),
    ("without a key", "KEYLESS", "nothing"),
    ("another's key", "MISMATCH", "nothing"),
    ("a directory that is not there", "ELSEWHERE", "nothing"),
    ("a good one", "version_info: \"1\"\nSERVER", "server"),
    (
        "the same, of another version",
        "version_info: \"2\"\nSERVER",
        "server",
    ),
    ("another good one", "version_info: \"3\"\nRSA", "server-rsa"),
    ("no YAML again", "{[", "server-rsa"),
    (
        "another's key again",
        "version_info: \"4\"\nMISMATCH",
        "server-rsa",
    ),
    (
        "once more: nothing changes",
        "version_info: \"5\"\nMISMATCH",
        "server-rsa",
    ),
    ("another name again", "OTHER", "server-rsa"),
    ("the first again", "version_info: \"6\"\nSERVER", "server"),
    ("in a wrapper", "WRAPPED", "server-rsa"),
    ("as JSON, which is YAML", "JSON", "server"),
    ("in a directory that is watched", "WATCHED", "server"),
];

fn text(of: &str) -> String {
    let rsa = certificate_secret("srv", "server-rsa");
    let mismatch = "tls_certificate: { certificate_chain: { filename: FILES/server.pem }, \
         private_key: { filename: FILES/client.key } }";
    let elsewhere = mismatch
        .replace("client", "server")
        .replace("} }", "}, watched_directory: { path: FILES/nowhere } }");
    let keyless = "tls_certificate: { certificate_chain: { filename: FILES/server.pem } }";
    let wrapped = format!(
        "version_info: w\nresources:\n- \"@type\": type.googleapis.com/envoy.service.discovery.v3.Resource\n  \
         name: srv\n  version: v\n  resource: {{ {SECRET}, name: srv, tls_certificate: {} }}\n",
        certificate("server-rsa")
    );
    let json = "{\"resources\": [{\"@type\": \
         \"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret\", \"name\": \"srv\", \
         \"tls_certificate\": {\"certificate_chain\": {\"filename\": \"FILES/server.pem\"}, \
         \"private_key\": {\"filename\": \"FILES/server.key\"}}}]}";
    let second = rsa.replace("resources:\n", "");
    [
        ("SERVER+RSA", certificate_secret("srv", "server") + &second),
        ("SERVER", certificate_secret("srv", "server")),
        ("RSA", rsa),
        ("OTHER", certificate_secret("other", "server")),
        ("NOWHERE", certificate_secret("srv", "nowhere")),
        ("TRUST", trust("srv", "ca", "")),
        ("NOTHING", secret("srv", "")),
        ("KEYLESS", secret("srv", keyless)),
        ("WATCHED", secret("srv", &elsewhere.replace("/nowhere", ""))),
        ("ELSEWHERE", secret("srv", &elsewhere)),
        ("MISMATCH", secret("srv", mismatch)),
        ("WRAPPED", wrapped),
        ("JSON", json.to_owned()),
    ]
    .into_iter()
    .find(|(name, _)| of.ends_with(name))
    .map_or_else(|| of.to_owned(), |(name, text)| of.replace(name, &text))
}

#[test]
fn files_are_taken_and_refused_as_by_envoy() {
    let files = Files::new();
    all_alike("files_are_taken_and_refused_as_by_envoy", |program| {
        put(&files, "srv.yaml", &text(FILES[0].1));
        let process = start(program, &files, &listener("front", &server(""), ""), "");
        let mut seen = String::new();
        for (done, (what, of, wanted)) in FILES.iter().enumerate() {
            if done > 0 {
                put(&files, "srv.yaml", &text(of));
            }
            await_read(&process, "srv", done as u64 + 1);
            await_shown(&process, "front", wanted);
            seen += &format!("{what}:\n{}", counted(&process));
            if matches!(done, 0 | 12 | 14 | 19 | 22) {
                seen += &dumped(&process);
            }
        }
        seen
    });
}

/// A file that is refused is told of with its place and the reason.
#[test]
fn what_is_refused_is_told_of_with_its_place() {
    let files = Files::new();
    each_driver(|program| {
        put(&files, "srv.yaml", &certificate_secret("srv", "server"));
        let process = start(program, &files, &listener("front", &server(""), ""), "");
        put(&files, "srv.yaml", &text("MISMATCH"));
        await_read(&process, "srv", 2);
        let said = process.stderr();
        let place = format!("{}:4:", files.path("sds/srv.yaml").display());
        let reason = "resources[0].tls_certificate.private_key: the key is not that of the \
             certificate";
        assert!(said.contains(&place) && said.contains(reason), "{said}");
        // Two findings are two lines, each with what lines begin with.
        let odd = certificate("server").replace(
            "} }",
            "}, signed_certificate_timestamp: [ { filename: x } ], no_such_field: 1 }",
        );
        let odd = secret("srv", &format!("tls_certificate: {odd}"));
        put(&files, "srv.yaml", &odd);
        await_read(&process, "srv", 3);
        let said = process.stderr();
        let lines = said.lines().filter(|line| line.contains("sds/srv.yaml:"));
        let lines: Vec<_> = lines.collect();
        for of in ["signed_certificate_timestamp", "no_such_field"] {
            assert!(lines.iter().any(|line| line.contains(of)), "{said}");
        }
        assert!(lines.iter().all(|line| line.contains(" WARN ")), "{said}");
    });
}

/// Clients that come before the secret are turned away, and are none of TLS.
#[test]
fn clients_that_come_before_the_secret_are_turned_away() {
    let files = Files::new();
    all_alike(
        "clients_that_come_before_the_secret_are_turned_away",
        |program| {
            put(&files, "srv.yaml", &certificate_secret("other", "server"));
            let process = start(program, &files, &listener("front", &server(""), ""), "");
            await_read(&process, "srv", 1);
            let mut seen = String::new();
            for _ in 0..3 {
                seen += &shown(process.listener("front"));
            }
            put(&files, "srv.yaml", &certificate_secret("srv", "server"));
            await_shown(&process, "front", "server");
            let (stats, gone) = process.admin().await_stats(PATIENCE, |stats| {
                stats.get("http.front.downstream_cx_active") == Some(&0)
            });
            assert!(gone, "{}: {stats:?}", process.name());
            let of_tls = stats["http.front.downstream_cx_ssl_total"];
            let others = stats["http.front.downstream_cx_total"] - of_tls;
            let turned_away = stats["listener.front.server_ssl_socket_factory.downstream_context_secrets_not_ready"];
            // Some may come before the worker has the secret.
            assert_eq!(others, turned_away, "{}", process.name());
            assert!(others >= 3, "{}: {others}", process.name());
            format!("{seen} {of_tls}")
        },
    );
}

#[test]
fn clients_are_verified_by_what_a_file_says() {
    let files = Files::new();
    let lists = |context: &str, more: &str| {
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {} ], {context} }}{more}",
            certificate("server")
        );
        server_tls(&context)
    };
    let fixed = named("trust");
    let combined = "combined_validation_context: { default_validation_context: { \
         match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: client.test } } ] }, \
         validation_context_sds_secret_config: SECRET }";
    let required = ", require_client_certificate: true";
    all_alike("clients_are_verified_by_what_a_file_says", |program| {
        put(&files, "trust.yaml", &trust("another", "ca", ""));
        let alone = format!("validation_context_sds_secret_config: {fixed}");
        let listeners = [
            listener("lenient", &lists(&alone, ""), ""),
            listener("strict", &lists(&alone, required), ""),
            listener(
                "particular",
                &lists(&combined.replace("SECRET", &fixed), required),
                "",
            ),
        ];
        let process = start(program, &files, &listeners.concat(), "");
        let mut seen = String::new();
        let stranger = ", match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: \
             stranger.test } } ]";
        for (done, text) in [
            trust("another", "ca", ""),
            trust("trust", "ca", ""),
            trust("trust", "other-ca", ""),
            trust("trust", "nowhere", ""),
            trust("trust", "other-ca", stranger),
        ]
        .iter()
        .enumerate()
        {
            if done > 0 {
                put(&files, "trust.yaml", text);
            }
            await_read(&process, "trust", done as u64 + 1);
            for name in ["lenient", "strict", "particular"] {
                for client in ["client", "stranger", "server"] {
                    let (own, key) = (format!("{client}.pem"), format!("{client}.key"));
                    let address = process.listener(name);
                    let got = curl(&files, address, "a.test", &["--cert", &own, "--key", &key]);
                    seen += &format!("{done} {name} {client}: {got}\n");
                }
                let got = curl(&files, process.listener(name), "a.test", &[]);
                seen += &format!("{done} {name} nobody: {got}\n");
            }
            seen += &counted(&process);
            if done < 3 {
                seen += &dumped(&process);
            }
        }
        seen
    });
}

/// Hosts are shown the new certificate and verified by the new authority on new
/// connections; those that are open stay, in Envoy too.
#[test]
fn new_connections_to_hosts_use_new_secrets() {
    let files = Files::new();
    let Some(envoy) = programs::envoy("new_connections_to_hosts_use_new_secrets") else {
        return;
    };
    let back = back(&ringway_tests::process::Program::Envoy(envoy), &files);
    all_alike("new_connections_to_hosts_use_new_secrets", |program| {
        put(&files, "own.yaml", &certificate_secret("another", "client"));
        put(&files, "ca.yaml", &trust("ca", "ca", ""));
        let own = format!(
            "sni: a.test, common_tls_context: {{ tls_certificate_sds_secret_configs: [ {} ] }}",
            named("own")
        );
        let ca = format!(
            "sni: a.test, auto_sni_san_validation: true, common_tls_context: {{ \
             validation_context_sds_secret_config: {} }}",
            named("ca")
        );
        let route = |name: &str, more: &str| {
            format!(
                "              - {{ match: {{ prefix: /{name} }}, route: {{ cluster: {name}, \
                 prefix_rewrite: /direct }}{more} }}\n"
            )
        };
        // A request that is the connection's last makes room for a new one.
        let last = "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             explicit_http_config: { http_protocol_options: {} }, common_http_protocol_options: { \
             max_requests_per_connection: 2 } } }";
        let clusters = [
            cluster(
                "own",
                back.listener("mutual"),
                &format!("{}\n    {last}", client_tls(&own)),
            ),
            cluster(
                "ca",
                back.listener("any"),
                &format!("{}\n    {last}", client_tls(&ca)),
            ),
        ];
        let routes = route("own", "") + &route("ca", "");
        // Those of the bootstrap are shown, too.
        let fixed = format!(
            "  secrets:\n  - {{ name: fixed, tls_certificate: {} }}\n  - {{ name: fixed, \
             validation_context: {{ trusted_ca: {{ filename: FILES/ca.pem }} }} }}\n",
            certificate("server")
        );
        let process = start(
            program,
            &files,
            &listener("front", "name: plain", &routes),
            &(clusters.concat() + &fixed),
        );
        let front = process.listener("front");
        let mut seen = String::new();
        let ask = |seen: &mut String, name: &str| {
            let got = get(front, &format!("/{name}"));
            *seen += &format!("{name}: {got}\n");
        };
        await_read(&process, "own", 1);
        ask(&mut seen, "own");
        put(&files, "own.yaml", &certificate_secret("own", "client"));
        await_read(&process, "own", 2);
        seen += &counted(&process);
        ask(&mut seen, "own");
        // Not one that the host would take; the open connection is used once more.
        put(&files, "own.yaml", &certificate_secret("own", "stranger"));
        await_read(&process, "own", 3);
        ask(&mut seen, "own");
        ask(&mut seen, "own");
        put(&files, "own.yaml", &certificate_secret("own", "client"));
        await_read(&process, "own", 4);
        ask(&mut seen, "own");

        ask(&mut seen, "ca");
        put(&files, "ca.yaml", &trust("ca", "other-ca", ""));
        await_read(&process, "ca", 2);
        ask(&mut seen, "ca");
        ask(&mut seen, "ca");
        // Whoever asks for a name has to trust somebody.
        put(&files, "ca.yaml", &secret("ca", "validation_context: {}"));
        await_read(&process, "ca", 3);
        seen += &counted(&process);
        put(&files, "ca.yaml", &trust("ca", "ca", ""));
        await_read(&process, "ca", 4);
        ask(&mut seen, "ca");
        seen += &log_of(&process, "front", 9);
        seen + &counted(&process) + &dumped(&process)
    });
}

/// Health checks have the secrets that requests have.
#[test]
fn health_checks_use_new_secrets() {
    let files = Files::new();
    let Some(envoy) = programs::envoy("health_checks_use_new_secrets") else {
        return;
    };
    let back = back(&ringway_tests::process::Program::Envoy(envoy), &files);
    all_alike("health_checks_use_new_secrets", |program| {
        put(&files, "own.yaml", &certificate_secret("another", "client"));
        let context = format!(
            "sni: a.test, common_tls_context: {{ tls_certificate_sds_secret_configs: [ {} ] }}",
            named("own")
        );
        let checks = "health_checks: [ { timeout: 5s, interval: 0.05s, no_traffic_interval: \
             0.05s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { \
             path: /direct } } ]";
        let socket = format!("{}\n    {checks}", client_tls(&context));
        let cluster = cluster("own", back.listener("mutual"), &socket);
        let process = start(
            program,
            &files,
            &listener("front", "name: plain", ""),
            &cluster,
        );
        let healthy = |wanted: u64| {
            let (stats, held) = process.admin().await_stats(PATIENCE, |stats| {
                let value = |name: &str| stats.get(name).copied().unwrap_or(0);
                value("cluster.own.membership_healthy") == wanted
                    && value("cluster.own.health_check.failure") > 0
            });
            assert!(held, "{}: {stats:?}", process.name());
        };
        healthy(0);
        put(&files, "own.yaml", &certificate_secret("own", "client"));
        healthy(1);
        String::new()
    });
}
