//! What is said about broken configurations: place, path and reason, exactly.

use ringway_config::{Format, LoadOptions, load, to_json};

/// Every line that loading `text` gives, errors and warnings alike.
fn said(text: &str, format: Format, allow_unknown_static_fields: bool) -> Vec<String> {
    let options = LoadOptions {
        allow_unknown_static_fields,
        ..LoadOptions::default()
    };
    let found = match load(text, "f", format, &options) {
        Ok(loaded) => loaded.diagnostics,
        Err(found) => found,
    };
    found.to_string().lines().map(str::to_owned).collect()
}

fn check(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(said(text, Format::Yaml, false), *expected, "{text}");
    }
}

#[test]
fn names_and_shapes() {
    check(&[
        ("{}", &[]),
        (
            "[]",
            &["f:1:1: expected an object (envoy.config.bootstrap.v3.Bootstrap), got a list"],
        ),
        (
            "foo",
            &[
                "f:1:1: expected an object (envoy.config.bootstrap.v3.Bootstrap), got the string \"foo\"",
            ],
        ),
        (
            "null",
            &["f:1:1: expected an object (envoy.config.bootstrap.v3.Bootstrap), got null"],
        ),
        (
            "nod: {id: a}",
            &[
                "f:1:1: nod: envoy.config.bootstrap.v3.Bootstrap has no such field, did you mean \"node\"?",
            ],
        ),
        (
            "static_resources: {clusters: [&a {name: a}, {<<: *a, name: b}]}",
            &[
                "f:1:46: static_resources.clusters[1].<<: envoy.config.cluster.v3.Cluster has no such field: merge keys of YAML are not followed, by Envoy neither",
            ],
        ),
        (
            "whatever: 1",
            &["f:1:1: whatever: envoy.config.bootstrap.v3.Bootstrap has no such field"],
        ),
        // Both spellings of a name, but not at once.
        (
            "{node: {id: a, userAgentName: x}}",
            &["f:1:31: node.user_agent_name: has no effect: only sent to an xDS server"],
        ),
        (
            "{node: {id: a}, flagsPath: /a, flags_path: /b}",
            &[
                "f:1:28: flags_path: has no effect: only read by Envoy's disk flags",
                "f:1:32: flags_path: the field is already given as \"flagsPath\"",
            ],
        ),
        (
            "node: [a]",
            &["f:1:7: node: expected an object (envoy.config.core.v3.Node), got a list"],
        ),
        (
            "static_resources: {listeners: {name: a}}",
            &[
                "f:1:31: static_resources.listeners: expected a list of envoy.config.listener.v3.Listener, got an object",
            ],
        ),
        (
            "static_resources: {listeners: [null]}",
            &[
                "f:1:32: static_resources.listeners[0]: expected an object (envoy.config.listener.v3.Listener), got null",
            ],
        ),
        // Not set is not an error.
        ("{node: , admin: null}", &[]),
        (
            "node: {id: a}\nnode: {id: b}",
            &["f:2:1: the key \"node\" is already given at 1:1"],
        ),
    ]);
}

#[test]
fn scalars() {
    check(&[
        (
            "node: {id: yes}",
            &["f:1:12: node.id: expected a string, got the boolean yes; put it in quotes"],
        ),
        (
            "node: {id: 0x10}",
            &["f:1:12: node.id: expected a string, got the number 0x10; put it in quotes"],
        ),
        (
            "node: {id: '0x10', cluster: 1.5, locality: {zone: 1e3}}",
            &[],
        ),
        (
            "node: {id: {}}",
            &["f:1:12: node.id: expected a string, got an object"],
        ),
        (
            "node: {id: null, cluster: [x]}",
            &["f:1:27: node.cluster: expected a string, got a list"],
        ),
        (
            "enable_worker_cpu_affinity: 1",
            &["f:1:29: enable_worker_cpu_affinity: expected true or false, got the number 1"],
        ),
        (
            "stats_flush_interval: 5",
            &[
                "f:1:23: stats_flush_interval: expected a duration in seconds such as \"0.25s\", got the number 5",
            ],
        ),
        (
            "stats_flush_interval: 5ms",
            &[
                "f:1:23: stats_flush_interval: expected a duration in seconds such as \"0.25s\", got the string \"5ms\"",
            ],
        ),
        ("stats_flush_interval: {seconds: 1}", &[]),
        (
            "stats_flush_interval: 500s",
            &["f:1:23: stats_flush_interval: 500s given, must be less than 300s"],
        ),
        (
            "stats_flush_interval: 0.0005s",
            &["f:1:23: stats_flush_interval: 0.0005s given, must be at least 0.001s"],
        ),
    ]);
}

const CLUSTER: &str = "static_resources:
  clusters:
  - name: a
    connect_timeout: 1s
";

#[test]
fn numbers_and_enums() {
    for (line, expected) in [
        ("per_connection_buffer_limit_bytes: 1e3", &[][..]),
        ("per_connection_buffer_limit_bytes: {value: 1000}", &[]),
        (
            "per_connection_buffer_limit_bytes: -1",
            &["per_connection_buffer_limit_bytes: -1 is out of range, allowed are 0 to 4294967295"],
        ),
        (
            "per_connection_buffer_limit_bytes: 4294967296",
            &[
                "per_connection_buffer_limit_bytes: 4294967296 is out of range, allowed are 0 to 4294967295",
            ],
        ),
        (
            "per_connection_buffer_limit_bytes: 1.5",
            &[
                "per_connection_buffer_limit_bytes: expected a non-negative integer, got the string \"1.5\"",
            ],
        ),
        ("lb_policy: round_robin", &[]),
        ("lb_policy: 0", &[]),
        (
            "lb_policy: ROUND_ROBBIN",
            &[
                "lb_policy: \"ROUND_ROBBIN\" is not a value of envoy.config.cluster.v3.Cluster.LbPolicy, did you mean ROUND_ROBIN?",
            ],
        ),
        (
            "type: DNS",
            &[
                "type: \"DNS\" is not a value of envoy.config.cluster.v3.Cluster.DiscoveryType, allowed are STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST",
            ],
        ),
        (
            "type: 77",
            &["type: 77 is not a value of envoy.config.cluster.v3.Cluster.DiscoveryType"],
        ),
        (
            "protocol_selection: USE_DOWNSTREAM_PROTOCOL",
            &[
                "protocol_selection: envoy.config.cluster.v3.Cluster.protocol_selection is deprecated and will be removed from the API",
            ],
        ),
    ] {
        let text = format!("{CLUSTER}    {line}\n");
        let column = 5 + line.find(' ').expect("a space follows the key") + 1;
        let expected: Vec<String> = expected
            .iter()
            .map(|reason| format!("f:5:{column}: static_resources.clusters[0].{reason}"))
            .collect();
        assert_eq!(said(&text, Format::Yaml, false), expected, "{line}");
    }
}

#[test]
fn rules_of_envoy() {
    check(&[
        (
            "static_resources: {clusters: [{connect_timeout: 1s}]}",
            &["f:1:31: static_resources.clusters[0].name: must not be empty"],
        ),
        (
            "admin: {address: {socket_address: {port_value: 1}}}",
            &["f:1:35: admin.address.socket_address.address: must not be empty"],
        ),
        (
            "admin: {address: {socket_address: {address: a, port_value: 65536}}}",
            &[
                "f:1:60: admin.address.socket_address.port_value: 65536 given, must be at most 65535",
            ],
        ),
        (
            "admin: {address: {}}",
            &[
                "f:1:18: admin.address: one of these must be given: socket_address, pipe, envoy_internal_address",
            ],
        ),
        (
            "admin: {address: {pipe: {path: /a}, socket_address: {address: a, port_value: 1}}}",
            &[
                "f:1:37: admin.address.socket_address: \"pipe\" is already given, and only one of the oneof address may be",
            ],
        ),
        (
            "static_resources: {clusters: [{name: a, connect_timeout: -1s}]}",
            &[
                "f:1:58: static_resources.clusters[0].connect_timeout: -1s given, must be greater than 0s",
            ],
        ),
        // What is missing because it could not be read is reported once.
        (
            "static_resources: {clusters: [{nam: a}]}",
            &[
                "f:1:32: static_resources.clusters[0].nam: envoy.config.cluster.v3.Cluster has no such field, did you mean \"name\"?",
            ],
        ),
        (
            "admin: {address: {socket_addres: {address: a}}}",
            &[
                "f:1:19: admin.address.socket_addres: envoy.config.core.v3.Address has no such field, did you mean \"socket_address\"?",
            ],
        ),
    ]);
}

/// A listener whose only filter has this typed_config.
fn filter(typed_config: &str) -> String {
    format!(
        "static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: f
        typed_config: {typed_config}
"
    )
}

#[test]
fn typed_configs() {
    const HCM: &str =
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    const PATH: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    for (config, expected) in [
        ("1".into(), vec![format!("7:23: {PATH}: expected an object with \"@type\", got the number 1")]),
        ("{stat_prefix: a}".into(), vec![format!("7:23: {PATH}: \"@type\" is missing")]),
        ("{'@type': 5}".into(), vec![format!("7:33: {PATH}.@type: expected a type URL, got the number 5")]),
        (format!("{{'@type': {HCM}}}"), vec![format!(
            "7:33: {PATH}.@type: the type URL \"{HCM}\" has no \"/\", did you mean \"type.googleapis.com/{HCM}\"?"
        )]),
        (
            "{'@type': t/envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager}".into(),
            vec![format!(
                "7:33: {PATH}.@type: unknown type \"t/envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager\", \
                 did you mean \"type.googleapis.com/{HCM}\"?"
            )],
        ),
        ("{'@type': t/foo.Bar}".into(), vec![format!("7:33: {PATH}.@type: unknown type \"t/foo.Bar\"")]),
        (
            "{'@type': t/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy, stat_prefix: a, settings: {op_timeout: 1s}}".into(),
            vec![format!(
                "7:23: {PATH}: extension f (envoy.extensions.filters.network.redis_proxy.v3.RedisProxy) is not supported yet"
            )],
        ),
        // Fields and rules inside, also when the type stands last.
        (
            format!("{{stat_prefix: '', codec_tipe: AUTO, route_config: {{}}, '@type': t/{HCM}}}"),
            vec![
                format!("7:37: {PATH}.stat_prefix: must not be empty"),
                format!("7:41: {PATH}.codec_tipe: {HCM} has no such field, did you mean \"codec_type\"?"),
            ],
        ),
        (
            format!("{{'@type': t/xds.type.v3.TypedStruct, type_url: t/{HCM}, value: {{stat_prefix: 5, route_config: {{}}}}}}"),
            vec![format!("7:176: {PATH}.stat_prefix: expected a string, got the number 5; put it in quotes")],
        ),
        (
            "{'@type': t/xds.type.v3.TypedStruct, type_url: a, value: {}}".into(),
            vec![format!("7:70: {PATH}.type_url: the type URL \"a\" has no \"/\"")],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|line| format!("f:{line}")).collect();
        assert_eq!(said(&filter(&config), Format::Yaml, false), expected, "{config}");
    }
}

#[test]
fn unknown_fields_may_be_allowed() {
    let text = format!("{CLUSTER}    lb_policy: BEST\n    colour: red\n");
    let options = LoadOptions {
        allow_unknown_static_fields: true,
        ..LoadOptions::default()
    };
    let loaded = load(&text, "f", Format::Yaml, &options).expect("both are only warnings");
    assert_eq!(loaded.diagnostics.warnings().count(), 2);
    assert_eq!(
        said(&text, Format::Yaml, false),
        said(&text, Format::Yaml, true)
    );
    assert!(load(&text, "f", Format::Yaml, &LoadOptions::default()).is_err());
}

#[test]
fn deprecated_fields_are_warned_about() {
    let text = format!("{CLUSTER}    respect_dns_ttl: true\n");
    let loaded = load(&text, "f", Format::Yaml, &LoadOptions::default());
    let loaded = loaded.expect("a warning is no error");
    assert!(loaded.diagnostics.warnings().any(|warning| {
        warning.to_string()
            == "f:5:22: static_resources.clusters[0].respect_dns_ttl: \
                envoy.config.cluster.v3.Cluster.respect_dns_ttl is deprecated and will be removed from the API"
    }));
}

#[test]
fn all_phases_report_at_once() {
    let text = "
node: {id: 1}
bogus: {}
static_resources:
  clusters:
  - connect_timeout: 0s
    protocol_selection: USE_DOWNSTREAM_PROTOCOL
    name: a
    name: b
";
    assert_eq!(
        said(text, Format::Yaml, false),
        [
            "f:2:12: node.id: expected a string, got the number 1; put it in quotes",
            "f:3:1: bogus: envoy.config.bootstrap.v3.Bootstrap has no such field",
            "f:6:22: static_resources.clusters[0].connect_timeout: 0s given, must be greater than 0s",
            "f:7:25: static_resources.clusters[0].protocol_selection: envoy.config.cluster.v3.Cluster.protocol_selection is deprecated and will be removed from the API",
            "f:9:5: the key \"name\" is already given at 8:5",
        ]
    );
}

#[test]
fn json_has_positions_too() {
    assert_eq!(
        said(
            "{\n  \"node\": {\"id\": 1.5, \"x\": true}\n}",
            Format::Json,
            false
        ),
        [
            "f:2:18: node.id: expected a string, got the number 1.5; put it in quotes",
            "f:2:23: node.x: envoy.config.core.v3.Node has no such field",
        ]
    );
    // An unquoted word of YAML is no JSON.
    assert_eq!(
        said("node: {id: a}", Format::Json, false),
        ["f:1:5: \"node\" is not a value; strings need quotes"]
    );
}

#[test]
fn the_environment_is_never_read() {
    let text = "node: {id: '${HOME}', cluster: $HOME}";
    let loaded = load(text, "f", Format::Yaml, &LoadOptions::default()).expect("plain strings");
    let node = loaded.bootstrap.node.expect("it was given");
    assert_eq!(
        (node.id.as_str(), node.cluster.as_str()),
        ("${HOME}", "$HOME")
    );
}

#[test]
fn bombs_are_refused() {
    let found = said(&"[".repeat(200_000), Format::Yaml, false);
    assert!(
        found[0].contains("nested more than 100 levels deep"),
        "{found:?}"
    );

    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..20 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    let found = said(&bomb, Format::Yaml, false);
    assert!(
        found[0].contains("aliases expand to more than"),
        "{found:?}"
    );

    // As deep as the tree may be, in the type that nests deepest.
    let deep = format!(
        "node: {{metadata: {}{}}}",
        "{a: ".repeat(95),
        "}".repeat(95)
    );
    assert!(!said(&deep, Format::Yaml, false).is_empty());
}

/// Something of everything: anchors, tags, block text, both formats.
const SAMPLE_YAML: &str = r#"# é
!ignore common: &time 0.25s
node: {id: "a\u00e9", metadata: {x: [1, ~, on, 0x1F]}}
static_resources:
  clusters:
  - {name: a, type: STATIC, connect_timeout: *time}
  - &b
    name: >-
      b
  listeners:
  - address: {socket_address: {address: '::1', port_value: 1}}
    filter_chains:
    - filters:
      - name: f
        typed_config:
          "@type": t/google.protobuf.Duration
          value: 1s
"#;
const SAMPLE_JSON: &str =
    r#"{"node": {"id": "\ud83d\ude00é\n", "metadata": {"x": [1.5e-3, null, true]}}}"#;

#[test]
fn no_prefix_of_a_configuration_panics() {
    for (text, format) in [(SAMPLE_YAML, Format::Yaml), (SAMPLE_JSON, Format::Json)] {
        assert_eq!(said(text, format, false), [""; 0]);
        for end in 0..text.len() {
            if let Some(prefix) = text.get(..end) {
                let _ = load(prefix, "f", format, &LoadOptions::default());
            }
        }
    }
}

/// A small generator of numbers (SplitMix64), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// Pieces that mean something to one of the phases.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    ":",
    ",",
    "- ",
    "\n",
    "  ",
    "\t",
    "&a ",
    "*a",
    "<<: ",
    "!ignore ",
    "!!str ",
    "|",
    ">",
    "#",
    "? ",
    "---\n",
    "...",
    "@type",
    "\\u",
    "0x",
    "-",
    "1e9",
    "~",
    "null",
    "true",
    "é",
    "\u{feff}",
    "\u{0}",
    "name",
    "clusters",
    "value",
    "metadata",
    "9999999999999999999999",
];

#[test]
fn no_mutation_panics() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let (sample, format) = match seed % 4 {
            0 => (SAMPLE_JSON, Format::Json),
            _ => (SAMPLE_YAML, Format::Yaml),
        };
        let mut text: Vec<char> = sample.chars().collect();
        for _ in 0..=random.below(4) {
            let from = random.below(text.len());
            let to = (from + random.below(12)).min(text.len());
            let replacement: Vec<char> = match random.below(3) {
                0 => Vec::new(),
                1 => PIECES[random.below(PIECES.len())].chars().collect(),
                _ => {
                    let other = random.below(text.len());
                    text[other..(other + 12).min(text.len())].to_vec()
                }
            };
            text.splice(from..to, replacement);
        }
        let text: String = text.into_iter().collect();
        let Ok(loaded) = load(&text, "f", format, &LoadOptions::default()) else {
            continue;
        };
        let printed = to_json(&loaded.message);
        let again = load(
            &printed.to_string(),
            "f",
            Format::Json,
            &LoadOptions::default(),
        );
        let again = again.unwrap_or_else(|found| panic!("seed {seed}: {text}\n{printed}\n{found}"));
        assert_eq!(to_json(&again.message), printed, "seed {seed}: {text}");
    }
}
