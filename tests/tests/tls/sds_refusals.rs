//! What is refused at load of contexts whose secrets are in files, by Envoy too.

use ringway_tests::programs;

use super::files::Files;
use super::sds::{SECRET, named, put};
use super::{certificate, listener, server_tls};

const NODE: &str = "node: { id: me, cluster: mine }\n";

/// The node, the fields of `common_tls_context`, whether it is taken, and what we say.
const CASES: &[(&str, &str, bool, &str)] = &[
    (
        NODE,
        "tls_certificate_sds_secret_configs: [ SRV ]",
        true,
        "",
    ),
    // Nobody looks into the file before it is needed.
    (
        NODE,
        "tls_certificate_sds_secret_configs: [ BROKEN ]",
        true,
        "",
    ),
    (
        NODE,
        "tls_certificate_sds_secret_configs: [ MISSING ]",
        false,
        "tls_certificate_sds_secret_configs[0].sds_config.path_config_source.path: there is no ",
    ),
    (
        "",
        "tls_certificate_sds_secret_configs: [ SRV ]",
        false,
        "tls_certificate_sds_secret_configs[0].sds_config: needs node.id and node.cluster",
    ),
    (
        "node: { id: me }\n",
        "tls_certificates: [ CERTIFICATE ], validation_context_sds_secret_config: SRV",
        false,
        "validation_context_sds_secret_config.sds_config: needs node.id and node.cluster",
    ),
    (
        NODE,
        "tls_certificates: [ CERTIFICATE ], tls_certificate_sds_secret_configs: [ SRV ]",
        false,
        "tls_certificate_sds_secret_configs: a server has either these or tls_certificates",
    ),
    (
        NODE,
        "tls_certificate_sds_secret_configs: [ SRV, { name: fixed } ]",
        true,
        "",
    ),
    (
        NODE,
        "tls_certificates: [ CERTIFICATE ], combined_validation_context: { \
         default_validation_context: {}, validation_context_sds_secret_config: MISSING }",
        false,
        "combined_validation_context.validation_context_sds_secret_config.sds_config.\
         path_config_source.path: there is no ",
    ),
    (
        NODE,
        "tls_certificates: [ CERTIFICATE ], combined_validation_context: { \
         default_validation_context: {}, validation_context_sds_secret_config: SRV }",
        true,
        "",
    ),
    (
        NODE,
        "tls_certificate_sds_secret_configs: [ { name: srv, sds_config: {} } ]",
        false,
        "sds_config",
    ),
];

#[test]
fn contexts_are_refused_as_by_envoy() {
    let files = Files::new();
    put(&files, "srv.yaml", "version_info: \"1\"");
    put(&files, "broken.yaml", "{[");
    let envoy = programs::envoy("contexts_are_refused_as_by_envoy");
    for (node, fields, taken, said) in CASES {
        let fields = fields
            .replace("SRV", &named("srv"))
            .replace("BROKEN", &named("broken"))
            .replace("MISSING", &named("missing"))
            .replace("CERTIFICATE", &certificate("server"));
        let chain = server_tls(&format!("common_tls_context: {{ {fields} }}"));
        let text = format!(
            "{node}static_resources:\n  secrets: [ {{ name: fixed, tls_certificate: {} }} ]\n  \
             listeners:\n{}",
            certificate("server"),
            listener("front", &chain, "")
        );
        let text = text.replace("FILES", &files.folder().to_string_lossy());
        let ours = programs::refusal(&programs::ringway(), &text);
        assert_eq!(ours.is_none(), *taken, "{fields}: {ours:?}");
        if let Some(ours) = ours {
            assert!(ours.contains(said), "{fields}:\n{ours}");
        }
        if let Some(envoy) = &envoy {
            let theirs = programs::refusal(envoy, &text);
            assert_eq!(theirs.is_none(), *taken, "{fields}: {theirs:?}");
        }
    }
}

/// The command line may say who this is.
#[test]
fn flags_say_who_this_is() {
    let files = Files::new();
    put(
        &files,
        "srv.yaml",
        &format!("resources:\n- {{ {SECRET}, name: srv }}\n"),
    );
    let context = format!(
        "common_tls_context: {{ tls_certificate_sds_secret_configs: [ {} ] }}",
        named("srv")
    );
    let text = format!(
        "static_resources:\n  listeners:\n{}",
        listener("front", &server_tls(&context), "")
    );
    let text = text.replace("FILES", &files.folder().to_string_lossy());
    let text = text.replace("{DIR}", &files.folder().to_string_lossy());
    let file = files.path("bootstrap.yaml");
    std::fs::write(&file, text).expect("a file");
    let envoy = programs::envoy("flags_say_who_this_is");
    for program in envoy.into_iter().chain([programs::ringway()]) {
        for (flags, taken) in [
            (
                &["--service-node", "me", "--service-cluster", "mine"][..],
                true,
            ),
            (&["--service-node", "me"], false),
        ] {
            let output = std::process::Command::new(&program)
                .args(["--mode", "validate", "-c"])
                .arg(&file)
                .args(flags)
                .output()
                .expect("it runs");
            assert_eq!(
                output.status.success(),
                taken,
                "{program:?} {flags:?}: {output:?}"
            );
        }
    }
}
