//! Responses of OCSP that are sent along with certificates: openssl makes them, and
//! asks for them.

use std::process::{Command, Stdio};

use super::files::Files;
use super::{all_alike, listener, moved, s_client, server_tls, start};
use ringway_tests::programs;

/// Listeners: their name, certificate, response and policy.
const LISTENERS: &[(&str, &str, &str, &str)] = &[
    ("holds", "server", "server.ocsp", "LENIENT_STAPLING"),
    ("holds_strict", "server", "server.ocsp", "STRICT_STAPLING"),
    (
        "must",
        "must-staple",
        "must-staple.ocsp",
        "LENIENT_STAPLING",
    ),
    ("old", "client", "client.ocsp", "LENIENT_STAPLING"),
    ("old_strict", "client", "client.ocsp", "STRICT_STAPLING"),
    ("old_must", "client", "client.ocsp", "MUST_STAPLE"),
    ("none", "client", "", "LENIENT_STAPLING"),
    ("none_strict", "client", "", "STRICT_STAPLING"),
    ("empty", "client", "empty", "STRICT_STAPLING"),
];

/// Has the authority say that a certificate is good: `NAME.ocsp`, which holds for as
/// long as `holds` says; where that is nothing, it never did.
pub fn respond(files: &Files, openssl: &std::path::Path, name: &str, holds: &[&str]) {
    let run = |arguments: &[&str]| {
        let output = Command::new(openssl)
            .current_dir(files.folder())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let certificate = format!("{name}.pem");
    let serial = run(&["x509", "-noout", "-serial", "-in", &certificate]);
    let serial = serial.trim().strip_prefix("serial=").expect("a number");
    let index = format!("V\t360101000000Z\t\t{serial}\tunknown\t/CN=x\n");
    std::fs::write(files.path("index"), index).expect("a file");
    let request = ["ocsp", "-issuer", "ca.pem", "-cert", &certificate];
    run(&[&request[..], &["-reqout", "request"]].concat());
    let (response, authority) = (
        format!("{name}.ocsp"),
        ["-rsigner", "ca.pem", "-rkey", "ca.key"],
    );
    let answer = [
        "ocsp", "-index", "index", "-CA", "ca.pem", "-reqin", "request",
    ];
    run(&[&answer[..], &authority, &["-respout", &response], holds].concat());
}

/// A folder with responses.
fn files(openssl: &std::path::Path) -> Files {
    let files = Files::new();
    respond(&files, openssl, "server", &["-ndays", "7"]);
    respond(&files, openssl, "must-staple", &["-ndays", "7"]);
    respond(&files, openssl, "client", &[]);
    std::fs::write(files.path("empty"), "").expect("a file");
    std::fs::write(files.path("garbage"), "garbage").expect("a file");
    std::fs::write(files.path("refusal"), [0x30, 3, 0x0a, 1, 6]).expect("a file");
    files
}

fn context(certificate: &str, response: &str, policy: &str) -> String {
    let response = match response {
        "" => String::new(),
        response => format!("ocsp_staple: {{ filename: FILES/{response} }}, "),
    };
    format!(
        "ocsp_staple_policy: {policy}, common_tls_context: {{ tls_certificates: [ {{ {response}\
         certificate_chain: {{ filename: FILES/{certificate}.pem }}, \
         private_key: {{ filename: FILES/{certificate}.key }} }} ] }}"
    )
}

#[test]
fn clients_get_the_responses_that_envoys_get() {
    let test = "clients_get_the_responses_that_envoys_get";
    let Some(openssl) = programs::optional(test, "openssl") else {
        return;
    };
    let files = files(&openssl);
    all_alike(test, |program| {
        let listeners = LISTENERS
            .iter()
            .map(|(name, certificate, response, policy)| {
                listener(
                    name,
                    &server_tls(&context(certificate, response, policy)),
                    "",
                )
            });
        let process = start(program, &files, &listeners.collect::<String>(), "");
        let mut seen = String::new();
        for (name, ..) in LISTENERS {
            for arguments in [&["-status"][..], &["-status", "-tls1_2"], &[]] {
                let said = s_client(&files, process.listener(name), arguments);
                let told = said.lines().filter_map(|line| {
                    let of_response =
                        line.contains("OCSP response") || line.contains("Cert Status");
                    let alert = line.split("SSL alert").nth(1);
                    alert.or(of_response.then_some(line.trim()))
                });
                let told: Vec<_> = told.collect();
                seen += &format!("{name} {arguments:?}: {told:?}\n");
            }
        }
        let stats = moved(&process).into_iter();
        let kinds = ["ocsp", "handshake", "connection_error"];
        for (name, value) in stats.filter(|(name, _)| kinds.iter().any(|it| name.contains(it))) {
            seen += &format!("{name}: {value}\n");
        }
        let certificates = process.admin().get("/certs").text();
        let certificates: serde_json::Value =
            serde_json::from_str(&certificates).expect("a JSON document");
        let contexts = certificates["certificates"].as_array().expect("a list");
        let own = contexts.iter().map(|context| &context["cert_chain"][0]);
        // One that never held is said to hold until now.
        let mut own: Vec<String> = own
            .filter(|one| !one["path"].to_string().contains("client"))
            .map(|one| format!("{} {}", one["path"], one["ocsp_details"]))
            .collect();
        own.sort();
        assert!(own[0].contains("expiration"), "{own:?}");
        seen + &own.join("\n")
    });
}

/// What is wrong with responses ends the start, in Envoy too.
#[test]
fn what_is_wrong_with_a_response_is_told() {
    let test = "what_is_wrong_with_a_response_is_told";
    let Some(openssl) = programs::optional(test, "openssl") else {
        return;
    };
    let files = files(&openssl);
    let envoy = programs::envoy(test);
    for (certificate, response, policy, reason) in [
        (
            "server",
            "client.ocsp",
            "LENIENT_STAPLING",
            "about another certificate",
        ),
        (
            "server",
            "refusal",
            "LENIENT_STAPLING",
            "not a successful one",
        ),
        (
            "server",
            "garbage",
            "LENIENT_STAPLING",
            "no response of OCSP",
        ),
        ("server", "nowhere", "LENIENT_STAPLING", "cannot read"),
        (
            "server",
            "",
            "MUST_STAPLE",
            "ocsp_staple_policy is MUST_STAPLE",
        ),
        (
            "server",
            "empty",
            "MUST_STAPLE",
            "ocsp_staple_policy is MUST_STAPLE",
        ),
        (
            "must-staple",
            "",
            "LENIENT_STAPLING",
            "says that it has one",
        ),
    ] {
        let listener = listener(
            "l",
            &server_tls(&context(certificate, response, policy)),
            "",
        );
        let text = format!("static_resources:\n  listeners:\n{listener}");
        let text = text.replace("FILES", &files.folder().to_string_lossy());
        let text = text.replace("{DIR}", &files.folder().to_string_lossy());
        let ours = programs::refusal(&programs::ringway(), &text);
        let ours = ours.unwrap_or_else(|| panic!("{response} {policy} is taken"));
        assert!(ours.contains(reason), "{response} {policy}: {ours}");
        if let Some(envoy) = &envoy {
            let envoys = programs::refusal(envoy, &text);
            assert!(envoys.is_some(), "{response} {policy}: Envoy takes it");
        }
    }
}
