//! Where resources come from that are not in the bootstrap
//! (`envoy.config.core.v3.ConfigSource`).

use std::path::{Path, PathBuf};

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;

use crate::context::Cx;

/// A file with a `DiscoveryResponse` (`core.v3.PathConfigSource`), read anew
/// whenever another is moved into its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathSource {
    /// The file.
    pub path: PathBuf,
    /// The file is read again when anything is moved into this directory,
    /// instead of when something is moved to its own name.
    pub watched_directory: Option<PathBuf>,
}

impl PathSource {
    /// Lowers a source of resources; only files are one so far. Like Envoy,
    /// refuses paths where there is nothing.
    pub(crate) fn lower(proto: &pb::ConfigSource, cx: &mut Cx<'_>) -> Option<Self> {
        let (field, path, watched) = match proto.config_source_specifier.as_ref()? {
            #[expect(deprecated, reason = "files written for older Envoys still use it")]
            ConfigSourceSpecifier::Path(path) => ("path", path, None),
            ConfigSourceSpecifier::PathConfigSource(source) => (
                "path_config_source.path",
                &source.path,
                source.watched_directory.as_ref(),
            ),
            // The support table refuses the others.
            ConfigSourceSpecifier::ApiConfigSource(_)
            | ConfigSourceSpecifier::Ads(_)
            | ConfigSourceSpecifier::Self_(_) => return None,
        };
        check(path, field, cx);
        let watched_directory = watched.map(|directory| {
            check(
                &directory.path,
                "path_config_source.watched_directory.path",
                cx,
            );
            PathBuf::from(&directory.path)
        });
        Some(Self {
            path: path.into(),
            watched_directory,
        })
    }
}

fn check(path: &str, field: &str, cx: &mut Cx<'_>) {
    if !Path::new(path).exists() {
        cx.error_at(field, format!("there is no {path:?}"));
    }
}
