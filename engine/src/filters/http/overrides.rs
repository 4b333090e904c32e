//! What routes say to the filters of a chain (`typed_per_filter_config`),
//! compiled: a row for every set of overrides of a route configuration, with a
//! place for every filter. A request knows its route table and, by its route,
//! the number of its row, and a filter its place, so nothing is looked up.

use std::collections::HashMap;

use ringway_config::context::Cx;
use ringway_config::listener::Extension;
use ringway_config::route::{FilterOverrides, OverrideSet};

use super::HttpFilter;
use crate::http::exchange::Exchange;

/// The rows of each route table by number; the first is that of routes that say
/// nothing.
#[derive(Debug)]
pub struct OverrideTable {
    rows: Box<[Box<[Row]>]>,
}

/// What a set of overrides says to each filter of the chain. Filters without a
/// place run with their own configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Row(Box<[Said]>);

/// What becomes of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is passed by.
    Off,
    /// It runs with its own configuration.
    Own,
    /// It runs with one that it has under this number.
    Settings(u32),
}

impl Default for OverrideTable {
    fn default() -> Self {
        Self {
            rows: Box::new([Box::new([Row::default()])]),
        }
    }
}

impl OverrideTable {
    /// Compiles the overrides of each route table for a chain. `filters` have
    /// been compiled from `extensions`, in the same order.
    pub fn compile<'o>(
        overrides: impl Iterator<Item = &'o FilterOverrides>,
        extensions: &[&Extension],
        filters: &mut [Box<dyn HttpFilter>],
        cx: &mut Cx<'_>,
    ) -> Self {
        Self {
            rows: overrides
                .map(|overrides| Self::compile_rows(overrides, extensions, filters, cx))
                .collect(),
        }
    }

    fn compile_rows(
        overrides: &FilterOverrides,
        extensions: &[&Extension],
        filters: &mut [Box<dyn HttpFilter>],
        cx: &mut Cx<'_>,
    ) -> Box<[Row]> {
        let mut settings = HashMap::new();
        for (number, config) in overrides.configs().iter().enumerate() {
            for (place, filter) in filters.iter_mut().enumerate() {
                if extensions[place].name == config.filter {
                    let compiled = cx.at(&config.source.path, |cx| {
                        filter.compile_override(&config.config, cx)
                    });
                    let outer = config.outer.and_then(|outer| settings[&(outer, place)]);
                    if let (Some(inner), Some(outer)) = (compiled, outer) {
                        filter.link_overrides(inner, outer);
                    }
                    settings.insert((number, place), compiled);
                }
            }
        }
        let said = |place: usize, set: &OverrideSet| {
            let Some(one) = set.get(&extensions[place].name) else {
                return match extensions[place].disabled {
                    true => Said::Off,
                    false => Said::Own,
                };
            };
            if one.disabled {
                return Said::Off;
            }
            let number = one.config.and_then(|number| settings[&(number, place)]);
            number.map_or(Said::Own, Said::Settings)
        };
        let row = |set| Row((0..filters.len()).map(|place| said(place, set)).collect());
        overrides.sets().iter().map(row).collect()
    }

    /// What the exchange's route says.
    #[inline]
    pub(super) fn row(&self, exchange: &Exchange) -> &Row {
        let table = &self.rows[exchange.route_table.0 as usize];
        &table[exchange.filter_overrides.0 as usize]
    }
}

impl Row {
    /// What becomes of the filter at a place.
    pub(super) fn said(&self, place: usize) -> Said {
        self.0.get(place).copied().unwrap_or(Said::Own)
    }

    #[inline]
    pub(super) fn is_off(&self, place: usize) -> bool {
        self.0.get(place) == Some(&Said::Off)
    }

    #[inline]
    pub(super) fn settings(&self, place: usize) -> Option<u32> {
        match self.0.get(place) {
            Some(Said::Settings(number)) => Some(*number),
            _ => None,
        }
    }
}
