//! `override_host`: requests may ask for hosts by their addresses, and another
//! policy picks the host of those that do not. Compiled types on top, lowering
//! below.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::load_balancing_policies::override_host::v3 as pb;
use envoy_types::pb::envoy::extensions::load_balancing_policies::override_host::v3::override_host::OverrideHostSource;
use ringway_codecs::header::HeaderMap;

use super::Balancing;
use crate::context::Cx;
use crate::metadata::Metadata;
use crate::metadata_path::MetadataPath;
use crate::original_dst::{of_header, of_metadata};
use crate::route::HeaderKey;

/// Where requests ask for hosts.
#[derive(Debug, PartialEq)]
pub struct OverrideHost {
    /// All are asked, in this order.
    sources: Box<[Source]>,
    /// Where in the request's metadata its host is said.
    pub selected_host: Option<MetadataPath>,
}

#[derive(Debug, PartialEq)]
enum Source {
    Header(HeaderKey),
    Metadata(MetadataPath),
}

/// The hosts that a request asks for: one for each of its tries.
#[derive(Debug, Default)]
pub struct AskedHosts {
    /// What all sources say: hosts, each with a comma behind it.
    listed: String,
    /// Where in it the next one begins.
    next: usize,
    /// The sources have been asked.
    is_known: bool,
}

impl OverrideHost {
    /// Asks the sources, once a request: what they say later does not count.
    pub fn ask(&self, headers: &HeaderMap, metadata: &Metadata, hosts: &mut AskedHosts) {
        if hosts.is_known {
            return;
        }
        hosts.is_known = true;
        for source in &self.sources {
            let said = match source {
                Source::Header(header) => header.first(headers),
                Source::Metadata(path) => path.text(metadata),
            };
            if let Some(said) = said {
                hosts.add(said);
            }
        }
    }

    /// What may ask for hosts, in the order in which it is asked; for people.
    pub fn sources(&self) -> Vec<String> {
        let sources = self.sources.iter().map(|source| match source {
            Source::Header(header) => of_header(header),
            Source::Metadata(path) => of_metadata(path),
        });
        sources.collect()
    }
}

impl AskedHosts {
    /// Adds those of a source, which are separated by commas.
    pub(crate) fn add(&mut self, said: &[u8]) {
        for host in said.split(|at| *at == b',') {
            // What is no text is no host.
            let host = str::from_utf8(host).unwrap_or_default();
            let host = host.trim_matches(is_blank);
            if !host.is_empty() {
                self.listed.push_str(host);
                self.listed.push(',');
            }
        }
    }

    /// The next of them.
    pub fn take_next(&mut self) -> Option<&str> {
        let (host, _) = self.listed[self.next..].split_once(',')?;
        self.next += host.len() + 1;
        Some(host)
    }

    /// Of another request.
    pub fn clear(&mut self) {
        self.listed.clear();
        (self.next, self.is_known) = (0, false);
    }
}

/// Like C's `isspace`.
fn is_blank(of: char) -> bool {
    of.is_ascii_whitespace() || of == '\u{b}'
}

impl Balancing {
    /// Lowers the policy and the one that it falls back to.
    pub(super) fn take_override_host(&mut self, proto: &pb::OverrideHost, cx: &mut Cx<'_>) {
        // The rules of the API ask for the field.
        let policies = proto.fallback_policy.clone().unwrap_or_default();
        cx.field("fallback_policy", |cx| {
            if self.take_first(&policies, cx).is_none() {
                cx.error("none of these policies is known");
            }
            if self.override_host.is_some() {
                cx.error("an override_host policy inside of another one is not supported");
            }
            if self.is_provided {
                cx.error("has to be a policy that picks hosts: cluster_provided does not");
            }
        });
        let sources = proto.override_host_sources.iter().enumerate();
        let sources = sources.filter_map(|(i, source)| {
            cx.index("override_host_sources", i, |cx| lower_source(source, cx))
        });
        self.override_host = Some(Arc::new(OverrideHost {
            sources: sources.collect(),
            selected_host: proto.selected_host_key.as_ref().map(MetadataPath::lower),
        }));
    }
}

fn lower_source(proto: &OverrideHostSource, cx: &mut Cx<'_>) -> Option<Source> {
    match (proto.header.as_str(), &proto.metadata) {
        ("", None) => {
            cx.error("says neither a header nor metadata");
            None
        }
        ("", Some(key)) => Some(Source::Metadata(MetadataPath::lower(key))),
        (name, None) => Some(Source::Header(HeaderKey::new(name))),
        (_, Some(_)) => {
            cx.error("cannot be both a header and metadata: make it two sources");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(of: &OverrideHost, headers: &[(&str, &[u8])], metadata: &str) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append_name(name.as_bytes(), value);
        }
        let mut said = Metadata::default();
        if !metadata.is_empty() {
            MetadataPath::new("n", &["a"]).set_text(&mut said, metadata.as_bytes());
        }
        let mut hosts = AskedHosts::default();
        of.ask(&map, &said, &mut hosts);
        let mut all = Vec::new();
        while let Some(host) = hosts.take_next() {
            all.push(host.to_owned());
        }
        assert_eq!(hosts.take_next(), None, "there is no second round");
        of.ask(&map, &said, &mut hosts);
        assert_eq!(hosts.take_next(), None, "sources are asked once");
        hosts.clear();
        of.ask(&map, &said, &mut hosts);
        assert_eq!(hosts.take_next(), all.first().map(String::as_str));
        all
    }

    #[test]
    fn requests_ask_for_hosts_one_by_one() {
        let of = OverrideHost {
            sources: [
                Source::Header(HeaderKey::new("X-To")),
                Source::Metadata(MetadataPath::new("n", &["a"])),
            ]
            .into(),
            selected_host: None,
        };
        for (header, metadata, expected) in [
            ("", "", &[][..]),
            ("a", "", &["a"]),
            ("", "m", &["m"]),
            ("a,b", "m,n", &["a", "b", "m", "n"]),
            (" a ,\t b\u{b}, ,,", "", &["a", "b"]),
            (",", " ", &[]),
            ("a b", "", &["a b"]),
        ] {
            let found = asked(&of, &[("x-to", header.as_bytes())], metadata);
            assert_eq!(found, expected, "{header:?} {metadata:?}");
            for end in 0..header.len() {
                let prefix = &header.as_bytes()[..end];
                crate::fuzz::destination(prefix);
                // Whatever a prefix is, it asks for no more than the whole.
                assert!(asked(&of, &[("x-to", prefix)], metadata).len() <= expected.len());
            }
        }
        let twice: [(&str, &[u8]); 2] = [("x-to", b"a"), ("x-to", b"b")];
        assert_eq!(asked(&of, &twice, ""), ["a"], "the first line counts");
        assert_eq!(asked(&of, &[("x-to", b"\xff,b")], ""), ["b"]);
        assert_eq!(of.sources(), ["the header x-to", "the metadata n:a"]);
    }
}
