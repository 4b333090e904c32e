//! How long certificates and responses of OCSP hold: what statistics and `/certs` say.

use ringway_tests::process::{Process, Program};
use ringway_tests::programs;

use super::files::Files;
use super::ocsp::respond;
use super::{PATIENCE, all_alike, certificate, client_tls, cluster, listener, server_tls, start};

/// What a listener and a cluster have: `SERVER` is a certificate.
const CASES: &[(&str, &str, &str)] = &[
    ("no TLS", "", ""),
    ("a certificate", "tls_certificates: [ SERVER ]", ""),
    (
        "an authority that ends before it",
        "tls_certificates: [ SERVER ], validation_context: { trusted_ca: { filename: FILES/until-2060.pem } }",
        "",
    ),
    (
        "several authorities",
        "tls_certificates: [ SERVER ], validation_context: { trusted_ca: { filename: FILES/bundle.pem } }",
        "",
    ),
    (
        "a cluster that trusts nobody",
        "",
        "tls_certificates: [ SERVER ]",
    ),
    (
        "a cluster",
        "tls_certificates: [ SERVER ]",
        "validation_context: { trusted_ca: { filename: FILES/until-2050.pem } }",
    ),
    (
        "what has ended",
        "tls_certificates: [ SERVER ], validation_context: { trusted_ca: { filename: FILES/until-2020.pem } }",
        "",
    ),
    ("responses", "tls_certificates: [ SERVER, WEEK, DAY ]", ""),
    (
        "a response that never held",
        "tls_certificates: [ DAY, NEVER ]",
        "",
    ),
];

fn start_case(program: &Program, files: &Files, listens: &str, connects: &str) -> Process {
    let context = |context: &str| {
        let stapled = |name: &str, response: &str| {
            format!(
                "{{ ocsp_staple: {{ filename: FILES/{response}.ocsp }}, {}",
                certificate(name).trim_start_matches('{')
            )
        };
        let context = (context.replace("SERVER", &certificate("server")))
            .replace("WEEK", &stapled("client", "week"))
            .replace("DAY", &stapled("must-staple", "day"))
            .replace("NEVER", &stapled("stranger", "never"));
        format!("common_tls_context: {{ {context} }}")
    };
    let listens = match listens {
        "" => "name: plain".to_owned(),
        text => server_tls(&context(text)),
    };
    let connects = match connects {
        "" => String::new(),
        text => client_tls(&format!("sni: a.test, {}", context(text))),
    };
    let nowhere = ([127, 0, 0, 1], 1).into();
    let clusters = cluster("c", nowhere, &connects) + "stats_flush_interval: 0.1s\n";
    start(program, files, &listener("l", &listens, ""), &clusters)
}

fn held(process: &Process) -> String {
    // Envoy counts when it flushes.
    let days = "server.days_until_first_cert_expiring";
    let (stats, flushed) =
        (process.admin()).await_stats(PATIENCE, |stats| stats.contains_key(days));
    assert!(flushed, "{}: {stats:?}", process.name());
    let days = stats[days];
    // The time goes on.
    let seconds = stats.get("server.seconds_until_first_ocsp_response_expiring");
    let hours = seconds.copied().unwrap_or(0) / 3600;
    let certificates = process.admin().get("/certs").text();
    let certificates: serde_json::Value =
        serde_json::from_str(&certificates).expect("a JSON document");
    let contexts = certificates["certificates"].as_array().expect("a list");
    let mut contexts: Vec<String> = contexts.iter().map(ToString::to_string).collect();
    // What never held is said to hold until now.
    contexts.retain(|context| !context.contains("stranger"));
    contexts.sort();
    format!("{days} days, {hours} hours\n{}\n", contexts.join("\n"))
}

#[test]
fn what_ends_first_is_told() {
    let test = "what_ends_first_is_told";
    let Some(openssl) = programs::optional(test, "openssl") else {
        return;
    };
    let files = Files::new();
    for year in [2020, 2050, 2060] {
        files.authority_until(&format!("until-{year}"), year);
    }
    files.chain("bundle", &["ca", "until-2060", "until-2050"]);
    respond(&files, &openssl, "client", &["-ndays", "7"]);
    respond(&files, &openssl, "must-staple", &["-ndays", "1"]);
    respond(&files, &openssl, "stranger", &[]);
    for (name, of) in [
        ("week", "client"),
        ("day", "must-staple"),
        ("never", "stranger"),
    ] {
        let (from, to) = (format!("{of}.ocsp"), format!("{name}.ocsp"));
        std::fs::rename(files.path(&from), files.path(&to)).expect("it is there");
    }
    all_alike(test, |program| {
        let mut seen = String::new();
        for (name, listens, connects) in CASES {
            let process = start_case(program, &files, listens, connects);
            let held = held(&process);
            let least = match *name {
                "no TLS" => "4294967295 days, 0 hours",
                "responses" => "days, 23 hours",
                _ => " days, 0 hours",
            };
            assert!(held.contains(least), "{}, {name}: {held}", program.name());
            seen += &format!("{name}: {held}");
        }
        seen
    });
}
