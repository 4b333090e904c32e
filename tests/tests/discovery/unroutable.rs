//! Names whose addresses cannot be reached from here (`filter_unroutable_families`):
//! the proxies run where there is no other interface than the loopback's.

use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::Program;
use ringway_tests::programs;
use std::fmt::Write as _;
use std::process::Command;

const FAMILIES: &[&str] = &["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"];

/// Starts the program in a network of its own, and prints what its admin server
/// says once each cluster has asked for its hosts.
const SCRIPT: &str = r#"
ip link set lo up
admin="$1"; shift
"$@" --admin-address-path "$admin" &
child=$!
trap 'kill $child; wait $child' EXIT
get() {
    exec 3<>"/dev/tcp/$(cut -d: -f1 "$admin")/$(cut -d: -f2 "$admin")" || return 1
    printf 'GET %s HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n' "$1" >&3
    tr -d '\r' <&3
}
for _ in $(seq 400); do
    sleep 0.05
    test -s "$admin" || continue
    test "$(get '/stats?filter=update_(failure|success)' 2>/dev/null | grep -c ': [1-9]')" = 5 && break
done
get '/clusters' | grep ::cx_total
get '/stats?filter=update_(failure|success)' | grep ': [1-9]' | sed 's/: .*//'
"#;

fn configuration(filters: bool) -> String {
    let mut text = String::from(
        "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n\
         static_resources:\n  clusters:\n",
    );
    for family in FAMILIES {
        let _ = writeln!(
            text,
            "  - {{ name: {family}, type: STRICT_DNS, dns_lookup_family: {family}, dns_refresh_rate: 600s, \
             typed_dns_resolver_config: {{ name: a, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, \
             filter_unroutable_families: {filters} }} }}, load_assignment: {{ cluster_name: {family}, \
             endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ \
             address: localhost, port_value: 80 }} }} }} }} ] }} ] }} }}"
        );
    }
    text
}

/// What the admin server says, in the order of its lines.
fn seen(program: &Program, filters: bool) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("configuration.yaml");
    std::fs::write(&file, configuration(filters)).expect("the configuration can be written");
    let run = program.command();
    let output = Command::new("unshare")
        .args(["-rn", "bash", "-c", SCRIPT, "bash"])
        .arg(folder.path().join("admin"))
        .arg(run.get_program())
        .args(run.get_args())
        .arg("-c")
        .arg(&file)
        .args(["--concurrency", "1", "-l", "error"])
        .output()
        .expect("the script runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Whether this user may have networks of its own.
fn has_networks() -> bool {
    let tried = Command::new("unshare")
        .args(["-rn", "ip", "link", "set", "lo", "up"])
        .output();
    tried.is_ok_and(|output| output.status.success())
}

#[test]
fn families_without_an_interface_are_not_asked_for_as_in_envoy() {
    let test = "families_without_an_interface_are_not_asked_for_as_in_envoy";
    if !has_networks() {
        programs::say(&format!("skipped: {test} (no networks of one's own here)"));
        return;
    }
    let Some(found) = as_in_envoy(test, |program| {
        [true, false].map(|filters| seen(program, filters))
    }) else {
        return;
    };
    let failures = |lines: &[String]| {
        let failures = lines
            .iter()
            .filter(|line| line.ends_with(".update_failure"));
        failures.count()
    };
    // Where all families are asked for at once, none is an answer.
    assert_eq!(found[0].len(), FAMILIES.len(), "{found:?}");
    assert_eq!(failures(&found[0]), FAMILIES.len() - 1, "{found:?}");
    assert_eq!(failures(&found[1]), 0, "{found:?}");
}
