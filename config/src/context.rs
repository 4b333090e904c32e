//! What every lowering function carries with it: where it is in the
//! configuration, where to report, and how clusters are numbered.

use crate::clusters::{ClusterNames, KnownClusters};
use crate::diagnostics::{Diagnostic, Diagnostics, Marks, Position, Severity};
use crate::dns_cache::DnsCaches;
use crate::names::Names;
use crate::runtime::RuntimeKeys;
use envoy_types::pb::google::protobuf::Any;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

/// Where something was configured, kept in the compiled snapshot for messages
/// that come later, such as "address already in use".
///
/// Displays as `FILE:LINE:COLUMN`, or as much of that as is known, and else
/// as the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file's name as the operator gave it.
    pub file: Option<Arc<str>>,
    /// Where in the file.
    pub position: Option<Position>,
    /// The field path.
    pub path: Arc<str>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.position) {
            (Some(file), Some(position)) => write!(f, "{file}:{position}"),
            (Some(file), None) => f.write_str(file),
            (None, Some(position)) => write!(f, "{position}"),
            (None, None) => f.write_str(&self.path),
        }
    }
}

/// The lowering context: a path that follows the walk through the message,
/// and the collections it reports to.
///
/// ```text
/// cx.field("route_config", |cx| {
///     for (i, host) in hosts.iter().enumerate() {
///         cx.index("virtual_hosts", i, |cx| lower_host(host, cx));
///     }
/// });
/// ```
pub struct Cx<'a> {
    diagnostics: &'a mut Diagnostics,
    marks: &'a Marks,
    file: Option<Arc<str>>,
    path: String,
    /// The numbering of cluster names.
    pub clusters: &'a ClusterNames,
    /// The clusters that there are, where that is known.
    pub known_clusters: Option<&'a KnownClusters>,
    /// The numbering of runtime keys.
    pub runtime_keys: &'a RuntimeKeys,
    /// The caches of names that requests ask for.
    pub dns_caches: &'a DnsCaches,
}

impl<'a> Cx<'a> {
    /// A context at the root of the message that `marks` describes. `file` is
    /// the name to report for paths that `marks` does not place in a file.
    pub fn new(
        diagnostics: &'a mut Diagnostics,
        marks: &'a Marks,
        file: impl Into<Option<Arc<str>>>,
        names: &'a Names,
    ) -> Self {
        Cx {
            diagnostics,
            marks,
            file: file.into(),
            path: String::new(),
            clusters: &names.clusters,
            known_clusters: None,
            runtime_keys: &names.runtime_keys,
            dns_caches: &names.dns_caches,
        }
    }

    /// Runs `f` one field deeper.
    pub fn field<T>(&mut self, name: &str, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let length = self.path.len();
        push_name(&mut self.path, name);
        let result = f(self);
        self.path.truncate(length);
        result
    }

    /// Runs `f` at one element of the repeated field `name`.
    pub fn index<T>(&mut self, name: &str, i: usize, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let length = self.path.len();
        push_name(&mut self.path, name);
        let _ = write!(self.path, "[{i}]");
        let result = f(self);
        self.path.truncate(length);
        result
    }

    /// Runs `f` at one entry of the map field `name`.
    pub fn entry<T>(&mut self, name: &str, key: &str, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let length = self.path.len();
        push_name(&mut self.path, name);
        let _ = write!(self.path, "[{key:?}]");
        let result = f(self);
        self.path.truncate(length);
        result
    }

    /// Runs `f` at an absolute path: a piece of configuration that was set
    /// aside with its path and is compiled later.
    pub fn at<T>(&mut self, path: &str, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let before = std::mem::replace(&mut self.path, path.to_owned());
        let result = f(self);
        self.path = before;
        result
    }

    /// Runs `f` here, and gives what it finds instead of reporting it.
    pub fn aside<T>(&mut self, f: impl FnOnce(&mut Cx<'_>) -> T) -> (T, Diagnostics) {
        let mut found = Diagnostics::new();
        let result = f(&mut Cx {
            diagnostics: &mut found,
            marks: self.marks,
            file: self.file.clone(),
            path: self.path.clone(),
            clusters: self.clusters,
            known_clusters: self.known_clusters,
            runtime_keys: self.runtime_keys,
            dns_caches: self.dns_caches,
        });
        (result, found)
    }

    /// Reports an error here.
    pub fn error(&mut self, reason: impl Into<String>) {
        self.report(Severity::Error, self.path.clone(), reason.into());
    }

    /// Reports a warning here.
    pub fn warn(&mut self, reason: impl Into<String>) {
        self.report(Severity::Warning, self.path.clone(), reason.into());
    }

    /// Reports an error at a path below this one.
    pub fn error_at(&mut self, subpath: &str, reason: impl Into<String>) {
        let mut path = self.path.clone();
        push_name(&mut path, subpath);
        self.report(Severity::Error, path, reason.into());
    }

    /// Reports a warning at a path below this one.
    pub fn warn_at(&mut self, subpath: &str, reason: impl Into<String>) {
        let mut path = self.path.clone();
        push_name(&mut path, subpath);
        self.report(Severity::Warning, path, reason.into());
    }

    /// The path from the root of the message.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where this path was written.
    pub fn position(&self) -> Option<Position> {
        self.marks.position(&self.path)
    }

    /// File, position and path, to be kept for later messages.
    pub fn source(&self) -> Source {
        Source {
            file: self.file_of(&self.path),
            position: self.position(),
            path: self.path.as_str().into(),
        }
    }

    /// Whether any error has been reported so far, here or elsewhere.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.has_errors()
    }

    fn report(&mut self, severity: Severity, path: String, reason: String) {
        self.diagnostics.push(Diagnostic {
            severity,
            file: self.file_of(&path),
            position: self.marks.position(&path),
            path,
            reason,
        });
    }

    fn file_of(&self, path: &str) -> Option<Arc<str>> {
        self.marks.file(path).or(self.file.as_ref()).cloned()
    }
}

/// Decodes an `Any` as the message `M`, or reports here why it is not one.
///
/// Any prefix before the last `/` of the type URL is accepted, as Envoy does.
pub fn unpack<M: prost::Message + prost::Name + Default>(any: &Any, cx: &mut Cx<'_>) -> Option<M> {
    let expected = M::full_name();
    let given = type_name(&any.type_url);
    if given != expected {
        cx.error(match given {
            "" => format!("a typed_config of type {expected} is needed here"),
            _ => format!("a typed_config of type {expected} is needed here, not {given}"),
        });
        return None;
    }
    match M::decode(any.value.as_slice()) {
        Ok(message) => Some(message),
        Err(error) => {
            cx.error(format!("the bytes are not a {expected}: {error}"));
            None
        }
    }
}

/// The message name in a type URL: what follows the last slash.
pub fn type_name(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() && !name.starts_with('[') {
        path.push('.');
    }
    path.push_str(name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::config::core::v3::{Node, SocketAddress};
    use prost::{Message, Name};

    fn with_cx(f: impl FnOnce(&mut Cx<'_>)) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        let mut marks = Marks::new("f.yaml".into());
        marks.set("a.b[2]", Position { line: 3, column: 7 });
        let names = Names::default();
        f(&mut Cx::new(&mut diagnostics, &marks, None, &names));
        diagnostics
    }

    #[test]
    fn paths_follow_the_walk_and_find_their_marks() {
        let found = with_cx(|cx| {
            cx.field("a", |cx| {
                cx.index("b", 2, |cx| {
                    assert_eq!(cx.path(), "a.b[2]");
                    assert_eq!(cx.source().to_string(), "f.yaml:3:7");
                    cx.error("no");
                    cx.error_at("c.d", "deeper");
                    cx.entry("m", "k.l", |cx| cx.warn("in a map"));
                });
            });
            assert_eq!(cx.path(), "");
            cx.at("a.b[2].x", |cx| cx.error("later"));
        });
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "f.yaml:3:7: a.b[2]: no",
                "f.yaml:3:7: a.b[2].c.d: deeper",
                "f.yaml:3:7: a.b[2].m[\"k.l\"]: in a map",
                "f.yaml:3:7: a.b[2].x: later",
            ]
        );
    }

    #[test]
    fn unpack_checks_the_type_and_the_bytes() {
        let node = Node {
            id: "n".into(),
            ..Node::default()
        };
        let good = Any {
            type_url: Node::type_url(),
            value: node.encode_to_vec(),
        };
        let found = with_cx(|cx| {
            assert_eq!(unpack::<Node>(&good, cx), Some(node.clone()));
            assert_eq!(unpack::<SocketAddress>(&good, cx), None);
            assert_eq!(unpack::<Node>(&Any::default(), cx), None);
            let cut = Any {
                value: vec![0x0a],
                ..good.clone()
            };
            assert_eq!(unpack::<Node>(&cut, cx), None);
        });
        assert_eq!(found.errors().count(), 3);
        assert!(found.iter().next().is_some_and(|d| d.reason
            == "a typed_config of type envoy.config.core.v3.SocketAddress is needed here, not envoy.config.core.v3.Node"));
    }
}
