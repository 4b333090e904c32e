//! A route configuration that is ready to serve: the lowered configuration and
//! what only the engine can compile of it.

use ringway_config::context::Cx;
use ringway_config::format_strings::FormatId;
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
        let mut formats = Vec::new();
        let mut good = true;
        for string in configuration.formats().iter() {
            match Formatter::parse(&string.text) {
                Ok(format) => formats.push(format),
                Err(error) => {
                    good = false;
                    cx.at(&string.source.path, |cx| cx.error(error.to_string()));
                }
            }
        }
        good.then(|| Self {
            configuration,
            formats: formats.into(),
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
