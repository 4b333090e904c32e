//! What keeps the process from starting, and what it says before it serves.

use ringway_tests::bootstrap::{self, EVERYTHING_TO_ORIGIN, Listener, cluster};
use ringway_tests::process::end_with_parent;
use ringway_tests::programs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "",
    hosts: EVERYTHING_TO_ORIGIN,
}];

fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    end_with_parent(&mut command);
    command
        .args(arguments)
        .output()
        .expect("the program can be run")
}

fn text(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn file_with(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    file.write_all(text.as_bytes())
        .expect("the file can be written");
    file
}

#[test]
fn an_address_in_use_names_listener_and_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let configuration = bootstrap::bootstrap(LISTENERS, &cluster("origin", 1, ""))
        .replace("{DIR}", "/tmp")
        .replacen(
            "port_value: 0 } }\n    filter",
            &format!("port_value: {port} }} }}\n    filter"),
            1,
        )
        .replace("/tmp/main.log", "/dev/null");
    let line = configuration
        .lines()
        .position(|line| line.contains(&format!("port_value: {port}")))
        .expect("the address is in the file")
        + 1;
    let file = file_with(&configuration);
    let path = file.path().to_string_lossy().into_owned();
    let output = run(&programs::ringway(), &["-c", &path]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["main", &format!("127.0.0.1:{port}"), "in use"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let place = format!("{path}:{line}:");
    let near = format!("{path}:{}:", line - 1);
    assert!(
        text.contains(&place) || text.contains(&near),
        "no {place} in: {text}"
    );
}

/// An address that could be had is not what is wrong.
#[test]
fn a_socket_option_that_the_kernel_refuses_is_named() {
    let test = "a_socket_option_that_the_kernel_refuses_is_named";
    let envoy = programs::envoy(test);
    for (place, state) in ["PREBIND", "BOUND", "LISTENING"].iter().enumerate() {
        let option = format!("level: 6, name: 9999, int_value: 1, state: STATE_{state}");
        let configuration = bootstrap::bootstrap(LISTENERS, &cluster("origin", 1, ""))
            .replace("{DIR}/main.log", "/dev/null")
            .replacen(
                "    filter_chains:",
                &format!("    socket_options: [ {{ {option} }} ]\n    filter_chains:"),
                1,
            );
        let file = file_with(&configuration);
        let path = file.path().to_string_lossy().into_owned();
        let output = run(&programs::ringway(), &["-c", &path]);
        let told = text(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let line = "listener 'main': 127.0.0.1:0: the kernel refuses the socket option 9999 of \
                    level 6: Protocol not available";
        assert!(
            told.contains(line) && !told.contains("cannot bind"),
            "{told}"
        );
        // Envoy starts without the listener if its socket was listening.
        if let Some(envoy) = envoy.as_ref().filter(|_| *state != "LISTENING") {
            let id = (std::process::id() * 4 + place as u32).to_string();
            let output = run(envoy, &["-c", &path, "--base-id", &id]);
            let told = text(&output);
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(
                told.contains("Setting 6/9999 option on socket failed"),
                "{told}"
            );
        }
    }
}

#[test]
fn an_unwritable_log_names_the_path() {
    let configuration = bootstrap::bootstrap(LISTENERS, &cluster("origin", 1, ""))
        .replace("{DIR}", "/nonexistent-folder");
    let file = file_with(&configuration);
    let output = run(
        &programs::ringway(),
        &["-c", &file.path().to_string_lossy()],
    );
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/nonexistent-folder/main.log"), "{text}");
}

#[test]
fn validate_says_what_envoy_says() {
    let good = bootstrap::bootstrap(LISTENERS, &cluster("origin", 1, "")).replace("{DIR}", "/tmp");
    let good = good.replace("/tmp/main.log", "/dev/null");
    let table = [
        ("good", good.clone(), true),
        ("unknown field", good.replacen("node:", "nodes:", 1), false),
        (
            "no stat prefix",
            good.replacen("stat_prefix: main", "", 1),
            false,
        ),
        (
            "unknown type",
            good.replacen("v3.Router", "v3.Rooter", 1),
            false,
        ),
        ("syntax", good.replacen("node: {", "node: {{", 1), false),
        (
            "port too large",
            good.replacen("port_value: 1 ", "port_value: 70000 ", 1),
            false,
        ),
        (
            "merge key",
            good.replacen("node: {", "node: { <<: {},", 1),
            false,
        ),
        ("empty", String::new(), false),
    ];
    let envoy = programs::envoy("validate_says_what_envoy_says");
    for (name, configuration, valid) in table {
        let file = file_with(&configuration);
        let path = file.path().to_string_lossy().into_owned();
        let code = Some(i32::from(!valid));
        for flags in [
            ["--mode", "validate", "-c", &path].as_slice(),
            &["--config-validate", "-c", &path],
        ] {
            let output = run(&programs::ringway(), flags);
            assert_eq!(
                output.status.code(),
                code,
                "{name} {flags:?}: {}",
                text(&output)
            );
            if valid {
                let line = format!("configuration '{path}' OK\n");
                assert_eq!(String::from_utf8_lossy(&output.stdout), line, "{name}");
            } else {
                assert!(text(&output).contains(&path), "{name}: {}", text(&output));
            }
        }
        if let Some(envoy) = &envoy {
            let output = run(envoy, &["--mode", "validate", "-c", &path]);
            assert_eq!(
                output.status.code(),
                code,
                "envoy, {name}: {}",
                text(&output)
            );
            if valid {
                let line = format!("configuration '{path}' OK\n");
                assert_eq!(
                    String::from_utf8_lossy(&output.stdout),
                    line,
                    "envoy, {name}"
                );
            }
        }
    }
}

#[test]
fn help_and_version_are_there() {
    let help = run(&programs::ringway(), &["--help"]);
    assert!(help.status.success());
    let help = text(&help);
    for flag in [
        "--config-path",
        "--mode",
        "--concurrency",
        "--io-driver",
        "--drain-time-s",
        "--log-level",
    ] {
        assert!(help.contains(flag), "{flag} is not in:\n{help}");
    }
    assert!(
        help.lines().all(|line| line.chars().count() <= 100),
        "{help}"
    );
    let version = run(&programs::ringway(), &["--version"]);
    assert!(version.status.success());
    assert!(text(&version).contains("ringway"), "{}", text(&version));
    let unknown = run(&programs::ringway(), &["--confg-path", "x"]);
    assert_eq!(
        unknown.status.code(),
        Some(1),
        "as Envoy: {}",
        text(&unknown)
    );
}

#[test]
fn every_mistake_of_a_scope_names_its_path() {
    const SCOPED: &[Listener] = &[Listener {
        name: "main",
        manager: r#"
scoped_routes:
  name: scopes
  rds_config_source: { ads: {} }
  scope_key_builder: { fragments: [{ header_value_extractor: { name: x-s, index: 0 } }] }
  scoped_route_configurations_list:
    scoped_route_configurations:
    - name: a
      key: { fragments: [{ string_key: a }] }
      route_configuration:
        virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: first } }] }]
    - name: b
      key: { fragments: [{ string_key: b }] }
      route_configuration:
        virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: second } }] }]
    - name: c
      key: { fragments: [{ string_key: c }] }
      route_configuration_name: elsewhere
"#,
        hosts: "",
    }];
    const AT: &str =
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.scoped_routes";
    const LIST: &str = "scoped_route_configurations_list.scoped_route_configurations";
    let all = bootstrap::bootstrap(SCOPED, &cluster("origin", 1, "")).replace("{DIR}", "/tmp");
    let refused = validated(&all);
    for field in [
        "rds_config_source".to_owned(),
        format!("{LIST}[2].route_configuration_name"),
    ] {
        let expected = format!("{AT}.{field}: not supported yet");
        assert!(refused.contains(&expected), "{expected}\n{refused}");
    }
    // What cannot be done at all is told before what is wrong.
    let supported: String = all
        .lines()
        .filter(|line| !line.contains("rds_config_source"))
        .take_while(|line| !line.contains("name: c"))
        .map(|line| format!("{line}\n"))
        .collect();
    let found = validated(&supported);
    for (place, name) in [(0, "first"), (1, "second")] {
        let at = format!("{AT}.{LIST}[{place}].route_configuration.virtual_hosts[0].routes[0]");
        let reason = format!("unknown cluster \"{name}\"");
        let is_told = |line: &str| line.contains(&at) && line.contains(&reason);
        assert!(found.lines().any(is_told), "{at}: {reason}\n{found}");
    }
}

#[test]
fn an_unknown_cluster_is_told_where_it_is_named_and_with_a_similar_one() {
    const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: /far }
    route: { cluster: elsewhere }
  - match: { prefix: /weighted }
    route: { weighted_clusters: { runtime_key_prefix: canary, clusters: [{ name: wbe, weight: 1 }, { name: api, weight: 1 }] } }
  - match: { prefix: / }
    route: { cluster: web, request_mirror_policies: [{ cluster: api }, { cluster: apj }] }
"#;
    const RUNTIME: &str = "layered_runtime: { layers: [{ name: s, static_layer: { canary: \
                           { web: 1, api: 2 }, unread: 1 } }] }\n";
    let listener = [Listener {
        name: "main",
        manager: "",
        hosts: HOSTS,
    }];
    let clusters = cluster("web", 1, "") + &cluster("api", 1, "");
    let unchecked = bootstrap::bootstrap(&listener, &clusters).replace("{DIR}", "/tmp") + RUNTIME;
    let checked = unchecked.replace("validate_clusters: false", "validate_clusters: true");
    assert_ne!(checked, unchecked);
    let found = validated(&checked);
    let routes = "route_config.virtual_hosts[0].routes";
    let expected = [
        format!("{routes}[0].route.cluster: unknown cluster \"elsewhere\""),
        format!(
            "{routes}[1].route.weighted_clusters.clusters[0].name: unknown cluster \"wbe\", did \
             you mean \"web\"?"
        ),
        format!(
            "{routes}[2].route.request_mirror_policies[1].cluster: unknown cluster \"apj\", did \
             you mean \"api\"?"
        ),
    ];
    let told: Vec<_> = found
        .lines()
        .filter(|line| line.contains("unknown"))
        .collect();
    assert_eq!(told.len(), expected.len(), "{found}");
    for (told, expected) in told.iter().zip(&expected) {
        assert!(told.ends_with(expected), "{expected}\n{found}");
    }
    // The key may be the one of the cluster that is meant.
    assert!(!found.contains("nothing reads it"), "{found}");
    // Where it may be unknown, the key of the other name has no reader.
    let file = file_with(&unchecked);
    let path = file.path().to_string_lossy().into_owned();
    let output = text(&run(
        &programs::ringway(),
        &["--mode", "validate", "-c", &path],
    ));
    for key in ["canary.web", "unread"] {
        let warning = format!("runtime key {key}: nothing reads it yet");
        assert!(output.contains(&warning), "{warning}\n{output}");
    }
}

#[test]
fn filters_in_a_wrong_order_are_told_so_and_nothing_else() {
    let filter = |name: &str, message: &str| {
        format!(
            "{{ name: {name}, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.{message} }} }}"
        )
    };
    let proxy = filter(
        "proxy",
        "tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: one",
    );
    let rbac = filter("rbac", "rbac.v3.RBAC, stat_prefix: a");
    let found = validated(&format!(
        "static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains: [ {{ filters: [ {proxy}, {rbac} ] }} ]
  clusters: [ {{ name: one }} ]
"
    ));
    for told in [
        "filters[0]: terminal filter proxy must be the last filter in a network filter chain",
        "filters[1]: non-terminal filter rbac is the last filter in a network filter chain",
    ] {
        assert!(found.contains(told), "{told}\n{found}");
    }
    assert!(!found.contains("not supported"), "{found}");
}

/// What is said of a configuration that is refused.
fn validated(configuration: &str) -> String {
    let file = file_with(configuration);
    let path = file.path().to_string_lossy().into_owned();
    let output = run(&programs::ringway(), &["--mode", "validate", "-c", &path]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}
