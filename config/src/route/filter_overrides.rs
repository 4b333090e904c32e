//! `typed_per_filter_config`: what routes, virtual hosts and the whole
//! configuration say to the HTTP filters.
//!
//! For each filter the most specific level counts. Which one that is does not
//! depend on the request beyond its route, so it is decided here: a level that
//! says something gets a set of overrides of its own, with what it inherits,
//! and all others have the number of the set around them. The engine compiles
//! a set to a list with a place for each filter of the chain.

use super::lower::Lowering;
use super::{Action, ClusterChoice, Route};
use crate::context::{Cx, Source, type_name, unpack};
use crate::support;
use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::google::protobuf::Any;
use prost::Name;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The field that holds the overrides, at every level.
const FIELD: &str = "typed_per_filter_config";

/// The number of a set of overrides; 0 is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OverridesId(pub u32);

/// All sets of overrides of a route configuration.
#[derive(Debug)]
pub struct FilterOverrides {
    sets: Vec<OverrideSet>,
    configs: Vec<OverrideConfig>,
    said: Vec<OverrideName>,
    /// The set of the level that is being lowered.
    current: OverridesId,
}

/// What a level says to the filters, by their names in `http_filters`, with
/// what it inherits.
pub type OverrideSet = BTreeMap<Arc<str>, FilterOverride>;

/// What is said to one filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterOverride {
    /// The filter is passed by. Otherwise it runs, also when it is `disabled`
    /// in `http_filters`.
    pub disabled: bool,
    /// The place of its configuration in [`FilterOverrides::configs`]; `None`
    /// leaves it its own.
    pub config: Option<usize>,
    /// The place in [`FilterOverrides::said`] of what was said last.
    pub said: usize,
}

/// A filter's configuration for some routes, for the engine to compile.
#[derive(Debug)]
pub struct OverrideConfig {
    /// The filter's name in `http_filters`.
    pub filter: Arc<str>,
    /// The message.
    pub config: Any,
    /// The place of the one that it stands in front of, which a wider level
    /// has.
    pub outer: Option<usize>,
    /// Where it was written.
    pub source: Source,
}

impl Route {
    /// What is said to the filters for a request whose cluster has been chosen.
    pub fn filter_overrides_of(&self, choice: ClusterChoice) -> OverridesId {
        let weighted = match &self.action {
            Action::Forward(forward) => forward.cluster.weighted(choice),
            _ => None,
        };
        weighted.map_or(self.filter_overrides, |cluster| cluster.filter_overrides)
    }
}

/// A filter's name where something is said to it.
#[derive(Debug)]
pub struct OverrideName {
    /// The name in `http_filters`.
    pub filter: Arc<str>,
    /// Where it was written.
    pub source: Source,
}

impl Default for FilterOverrides {
    fn default() -> Self {
        Self {
            sets: vec![OverrideSet::new()],
            configs: Vec::new(),
            said: Vec::new(),
            current: OverridesId::default(),
        }
    }
}

impl FilterOverrides {
    /// The sets by number.
    pub fn sets(&self) -> &[OverrideSet] {
        &self.sets
    }

    /// All configurations.
    pub fn configs(&self) -> &[OverrideConfig] {
        &self.configs
    }

    /// Every entry of every level, for the check of the names.
    pub fn said(&self) -> &[OverrideName] {
        &self.said
    }

    /// The set of the level that is being lowered.
    pub(super) fn current(&self) -> OverridesId {
        self.current
    }

    /// Runs `inner` at a level that says `messages` to the filters.
    pub(super) fn within<T>(
        messages: &HashMap<String, Any>,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
        inner: impl FnOnce(&mut Lowering, &mut Cx<'_>) -> T,
    ) -> T {
        let outer = lowering.filter_overrides.current;
        if !messages.is_empty() {
            lowering.filter_overrides.begin(messages, cx);
        }
        let result = inner(lowering, cx);
        lowering.filter_overrides.current = outer;
        result
    }

    /// Makes the set of a level below the current one.
    fn begin(&mut self, messages: &HashMap<String, Any>, cx: &mut Cx<'_>) {
        let mut set = self.sets[self.current.0 as usize].clone();
        let mut messages: Vec<_> = messages.iter().collect();
        messages.sort_by_key(|(filter, _)| *filter);
        for (filter, any) in messages {
            cx.entry(FIELD, filter, |cx| self.add(&mut set, filter, any, cx));
        }
        self.current = OverridesId(
            u32::try_from(self.sets.len()).expect("fewer than 2^32 levels fit in memory"),
        );
        self.sets.push(set);
    }

    fn add(&mut self, set: &mut OverrideSet, filter: &str, any: &Any, cx: &mut Cx<'_>) {
        let place = self.said.len();
        self.said.push(OverrideName {
            filter: filter.into(),
            source: cx.source(),
        });
        let inherited = set.get(filter).and_then(|said| said.config);
        let mut said = FilterOverride {
            disabled: false,
            config: inherited,
            said: place,
        };
        if type_name(&any.type_url) == FilterConfig::full_name() {
            let Some(message) = unpack::<FilterConfig>(any, cx) else {
                return;
            };
            said.disabled = message.disabled;
            match &message.config {
                None if !message.disabled => {
                    cx.error("a FilterConfig has to be disabled or to have a config");
                }
                None => {}
                Some(config) => {
                    let name = type_name(&config.type_url);
                    if message.is_optional && !support::is_known(name) {
                        // As if nothing were said; a warning has been given.
                        return;
                    }
                    // An empty config only says that the filter runs.
                    if !name.is_empty() {
                        said.config =
                            Some(cx.field("config", |cx| self.note(filter, config, inherited, cx)));
                    }
                }
            }
        } else {
            said.config = Some(self.note(filter, any, inherited, cx));
        }
        set.insert(filter.into(), said);
    }

    fn note(&mut self, filter: &str, any: &Any, outer: Option<usize>, cx: &Cx<'_>) -> usize {
        self.configs.push(OverrideConfig {
            filter: filter.into(),
            config: any.clone(),
            outer,
            source: cx.source(),
        });
        self.configs.len() - 1
    }
}
