//! A route configuration that is ready to serve: the lowered configuration and
//! what only the engine can compile of it.

use ringway_config::context::Cx;
use ringway_config::format_strings::{FormatId, FormatStrings};
use ringway_config::route::{RouteConfiguration, StatScopeId};

use crate::formatter::Formatter;
use crate::stats::Store;
use crate::stats::route::RouteStats;

/// A route configuration with its format strings compiled.
#[derive(Debug)]
pub struct RouteTable {
    /// Virtual hosts and routes.
    pub configuration: RouteConfiguration,
    formats: Box<[Formatter]>,
    stats: Box<[RouteStats]>,
}

impl RouteTable {
    /// Compiles what the engine knows of a lowered configuration, or reports
    /// why not.
    pub fn compile(configuration: RouteConfiguration, cx: &mut Cx<'_>) -> Option<Self> {
        let formats = compile_formats(configuration.formats(), cx)?;
        Some(Self {
            configuration,
            formats,
            stats: Box::default(),
        })
    }

    /// Registers what is counted by route.
    pub fn register(&mut self, store: &Store) {
        let scopes = self.configuration.stat_scopes().iter();
        self.stats = scopes.map(|scope| RouteStats::new(store, scope)).collect();
    }

    /// What is counted at a place of this configuration, once it is registered.
    #[must_use]
    pub fn stats(&self, place: StatScopeId) -> Option<&RouteStats> {
        self.stats.get(place.0 as usize)
    }

    /// The format strings of this configuration by number.
    #[must_use]
    pub fn formats(&self) -> &[Formatter] {
        &self.formats
    }

    /// A format string of this configuration.
    #[must_use]
    pub fn format(&self, id: FormatId) -> &Formatter {
        &self.formats[id.0 as usize]
    }
}

/// Compiles all format strings, or reports why one cannot be, where it was
/// configured.
pub fn compile_formats(strings: &FormatStrings, cx: &mut Cx<'_>) -> Option<Box<[Formatter]>> {
    let mut formats = Vec::new();
    let mut good = true;
    for string in strings.iter() {
        match Formatter::parse(&string.text) {
            Ok(format) => formats.push(format),
            Err(error) => {
                good = false;
                cx.at(&string.source.path, |cx| cx.error(error.to_string()));
            }
        }
    }
    good.then(|| formats.into())
}
