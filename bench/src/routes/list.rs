//! The lists: what their entries match, in the words of each proxy, and a request for the last.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use crate::compare::configs;
use crate::compare::peers::{Kind, Peer};

/// The body of the last entry's answer. The others' is empty, so that an answer from the wrong
/// entry is noticed.
pub const LAST_BODY: &str = "this is the answer of the last entry of the list, and it is exactly one hundred bytes long, really!\n";

/// A kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum List {
    /// Routes of whole paths
    Path,
    /// Routes of prefixes
    Prefix,
    /// Routes of prefixes that end at a slash
    SeparatedPrefix,
    /// Routes of regular expressions with different beginnings
    Regex,
    /// Routes of regular expressions that differ only behind a class of characters
    RegexAlike,
    /// Virtual hosts by name
    Host,
    /// Virtual hosts by the end of the name
    HostSuffix,
    /// Virtual hosts by the beginning of the name
    HostPrefix,
}

impl List {
    /// What its rows are headed with.
    pub fn title(self) -> &'static str {
        match self {
            List::Path => "routes: path",
            List::Prefix => "routes: prefix",
            List::SeparatedPrefix => "routes: path_separated_prefix",
            List::Regex => "routes: regex, different beginnings",
            List::RegexAlike => "routes: regex, all begin alike",
            List::Host => "hosts: name",
            List::HostSuffix => "hosts: *.suffix",
            List::HostPrefix => "hosts: prefix.*",
        }
    }

    /// Whether a proxy has such a list.
    pub fn is_known_to(self, kind: Kind) -> bool {
        // nginx has no prefix that ends at a slash or at the end of the path.
        self != List::SeparatedPrefix || kind != Kind::Peer(Peer::Nginx)
    }

    /// Path and host of a request for the last of `length` entries.
    pub fn last(self, length: usize) -> (String, Option<String>) {
        let last = length - 1;
        match self {
            List::Path => (format!("/api/v1/resource{last}"), None),
            List::Prefix | List::SeparatedPrefix | List::Regex | List::RegexAlike => {
                (format!("/api/v1/resource{last}/items"), None)
            }
            List::Host => ("/".into(), Some(format!("host{last}.example.com"))),
            List::HostSuffix => ("/".into(), Some(format!("www.zone{last}.example.com"))),
            List::HostPrefix => ("/".into(), Some(format!("site{last}.example.com"))),
        }
    }

    fn is_of_hosts(self) -> bool {
        matches!(self, List::Host | List::HostSuffix | List::HostPrefix)
    }

    /// What the entry matches, in Envoy's words: a path specifier or a domain.
    fn entry(self, number: usize) -> String {
        match self {
            List::Path => format!("path: /api/v1/resource{number}"),
            List::Prefix => format!("prefix: /api/v1/resource{number}/"),
            List::SeparatedPrefix => format!("path_separated_prefix: /api/v1/resource{number}"),
            List::Regex => {
                format!("safe_regex: {{ regex: '/api/v1/resource{number}/[^/]+' }}")
            }
            List::RegexAlike => {
                format!("safe_regex: {{ regex: '/api/v[0-9]+/resource{number}/[^/]+' }}")
            }
            List::Host => format!("host{number}.example.com"),
            List::HostSuffix => format!("*.zone{number}.example.com"),
            List::HostPrefix => format!("site{number}.*"),
        }
    }

    /// Envoy's configuration, which is Ringway's too. What is not in the list is answered too,
    /// so that one can tell when the proxy is up.
    pub fn envoy(self, length: usize, listen: SocketAddr, admin: SocketAddr) -> String {
        let any = "  - match: { path: / }\n    direct_response: { status: 200 }\n";
        let mut hosts = String::new();
        // The formatting of a string cannot fail.
        if self.is_of_hosts() {
            let _ = write!(hosts, "- name: any\n  domains: ['*']\n  routes:\n{any}");
            for number in 0..length {
                let _ = write!(
                    hosts,
                    "- name: v{number}\n  domains: ['{}']\n  routes:\n  - match: {{ prefix: / }}\n    direct_response: {}\n",
                    self.entry(number),
                    answer(number, length),
                );
            }
        } else {
            let _ = write!(hosts, "- name: all\n  domains: ['*']\n  routes:\n{any}");
            for number in 0..length {
                let _ = write!(
                    hosts,
                    "  - match: {{ {} }}\n    direct_response: {}\n",
                    self.entry(number),
                    answer(number, length),
                );
            }
        }
        configs::envoy::hosts(listen, admin, &hosts)
    }

    /// nginx's configuration. Its prefixes are not tried in order: the longest wins.
    pub fn nginx(self, length: usize, listen: SocketAddr, dir: &Path) -> String {
        let mut servers = String::from(
            "  server_names_hash_max_size 65536;\n  server_names_hash_bucket_size 128;\n",
        );
        if self.is_of_hosts() {
            let _ = writeln!(
                servers,
                "  server {{ listen {listen} default_server backlog=4096; return 200 ''; }}"
            );
            for number in 0..length {
                let _ = writeln!(
                    servers,
                    "  server {{ listen {listen}; server_name {}; location / {{ return 200 {}; }} }}",
                    self.entry(number),
                    quoted_answer(number, length),
                );
            }
        } else {
            let _ = writeln!(servers, "  server {{\n    listen {listen} backlog=4096;");
            for number in 0..length {
                let _ = writeln!(
                    servers,
                    "    location {} {{ return 200 {}; }}",
                    self.location(number),
                    quoted_answer(number, length),
                );
            }
            servers.push_str("    location = / { return 200 ''; }\n  }\n");
        }
        configs::nginx::file(dir, 1024, &servers)
    }

    fn location(self, number: usize) -> String {
        match self {
            List::Path => format!("= /api/v1/resource{number}"),
            List::Regex => format!("~ ^/api/v1/resource{number}/[^/]+$"),
            List::RegexAlike => format!("~ ^/api/v[0-9]+/resource{number}/[^/]+$"),
            _ => format!("/api/v1/resource{number}/"),
        }
    }
}

fn answer(number: usize, length: usize) -> String {
    if number + 1 < length {
        return "{ status: 200 }".to_owned();
    }
    format!("{{ status: 200, body: {{ inline_string: {LAST_BODY:?} }} }}")
}

fn quoted_answer(number: usize, length: usize) -> String {
    let body = if number + 1 < length { "" } else { LAST_BODY };
    format!("\"{body}\"")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::compare::peers::find_program;

    #[test]
    fn the_last_body_has_a_hundred_bytes() {
        assert_eq!(LAST_BODY.len(), 100);
    }

    #[test]
    fn every_program_takes_its_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for &list in List::value_variants() {
            for (program, arguments, text) in [
                (
                    "envoy",
                    &["--mode", "validate", "-c"][..],
                    list.envoy(20, local(18_080), local(19_901)),
                ),
                (
                    "nginx",
                    &["-t", "-c"],
                    list.nginx(20, local(18_080), dir.path()),
                ),
            ] {
                let Some(path) = find_program(program) else {
                    eprintln!("skipped: {program} is not installed");
                    continue;
                };
                let file = dir.path().join(format!("{program}.yaml"));
                std::fs::write(&file, &text).expect("writable temporary directory");
                let output = Command::new(path)
                    .args(arguments)
                    .arg(&file)
                    .output()
                    .expect("can be started");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{program}: {said}\n{text}");
            }
        }
    }
}
