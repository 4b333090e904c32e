//! Which HTTP filters a request runs through, and with whose configuration.

use ringway_config::listener::Extension;
use ringway_config::route::{Action, FilterOverride, FilterOverrides, OverrideSet, SelectedRoute};

use super::context::Context;
use super::fact::Fact;
use crate::filters::http::Said;
use crate::http::exchange::Exchange;

/// The filters in their order, those that are passed by too. The chain decides,
/// as for a real request; here the place that says so is looked up.
pub(super) fn explain(
    exchange: &Exchange,
    selected: Option<&SelectedRoute<'_>>,
    cx: &Context<'_>,
) -> Fact {
    let overrides = cx
        .manager
        .routes_of(exchange)
        .configuration
        .filter_overrides();
    let explained = Explained {
        overrides,
        set: &overrides.sets()[exchange.filter_overrides.0 as usize],
        levels: levels(exchange, selected),
        cx,
    };
    let config = &cx.manager.config;
    let own = exchange
        .upgrade
        .map(|place| &config.upgrades[place].http_filters);
    let own = own.filter(|filters| !filters.is_empty());
    let filters = own.unwrap_or(&config.http_filters);
    // The router, which is the last one, is in no chain: it always runs.
    let said = cx.manager.filters_of(exchange).said(exchange).map(Some);
    let said = said.chain(std::iter::repeat(None));
    let items = filters.iter().zip(said);
    let items = items.map(|(filter, said)| match said {
        Some(said) => explained.filter(filter, said),
        None => runs(filter)
            .note("the last one")
            .place(cx.place(&filter.path)),
    });
    Fact::new("filters")
        .note(match own {
            Some(_) => "those of the upgrade, in this order; what they do is not foreseen",
            None => "in this order; what they do is not foreseen",
        })
        .items(items.collect())
}

/// What there is to look places up in.
struct Explained<'a> {
    overrides: &'a FilterOverrides,
    /// What is said to the filters for this request.
    set: &'a OverrideSet,
    /// The levels that may say something, by their paths, the most specific one
    /// first.
    levels: Vec<(String, &'static str)>,
    cx: &'a Context<'a>,
}

fn levels(
    exchange: &Exchange,
    selected: Option<&SelectedRoute<'_>>,
) -> Vec<(String, &'static str)> {
    let Some(selected) = selected else {
        return Vec::new();
    };
    let weighted = match &selected.route.action {
        Action::Forward(forward) => forward.cluster.weighted(exchange.cluster),
        _ => None,
    };
    let mut levels = Vec::new();
    if let Some(weighted) = weighted {
        levels.push((&weighted.source.path, "the weighted cluster"));
    }
    levels.push((&selected.route.source.path, "the route"));
    levels.push((&selected.virtual_host.source.path, "the virtual host"));
    let configuration = selected.configuration.source();
    levels.push((&configuration.path, "the route configuration"));
    let field = |path: &str| format!("{path}.typed_per_filter_config[");
    levels
        .into_iter()
        .map(|(path, name)| (field(path), name))
        .collect()
}

fn runs(filter: &Extension) -> Fact {
    Fact::new(&*filter.name).value("runs")
}

impl Explained<'_> {
    fn filter(&self, filter: &Extension, said: Said) -> Fact {
        let place = |path: &str| self.cx.place(path);
        let one = self.set.get(&*filter.name);
        match said {
            Said::Off => {
                let fact = Fact::new(&*filter.name).value("off");
                match one {
                    Some(one) => {
                        let path = self.path_of(one);
                        fact.note(format!("turned off by {}", self.level(path)))
                            .place(place(path))
                    }
                    None => fact
                        .note("turned off in the list of filters")
                        .place(place(&beside_config(filter, "disabled"))),
                }
            }
            Said::Own => {
                let fact = runs(filter).place(place(&filter.path));
                let fact = fact.note("with its own configuration");
                match one {
                    Some(one) if filter.disabled => fact.parts(vec![self.turned_on(one)]),
                    _ => fact,
                }
            }
            Said::Settings(_) => {
                let config = one.and_then(|one| one.config);
                let path = config.map_or(&*filter.path, |number| {
                    &*self.overrides.configs()[number].source.path
                });
                let fact = runs(filter)
                    .note(format!("configured by {}", self.level(path)))
                    .place(place(path));
                match one {
                    Some(one) if filter.disabled => fact.parts(vec![self.turned_on(one)]),
                    _ => fact,
                }
            }
        }
    }

    /// What turns on a filter that is off in the list.
    fn turned_on(&self, one: &FilterOverride) -> Fact {
        let path = self.path_of(one);
        Fact::new("turned on by")
            .value(self.level(path))
            .place(self.cx.place(path))
    }

    /// Where the last word was said.
    fn path_of(&self, one: &FilterOverride) -> &str {
        &self.overrides.said()[one.said].source.path
    }

    /// The level that a path is in.
    fn level(&self, path: &str) -> &'static str {
        let mut levels = self.levels.iter();
        let found = levels.find(|(level, _)| path.starts_with(&**level));
        found.map_or("its own list", |(_, name)| name)
    }
}

/// A field of a filter that is beside its configuration.
fn beside_config(filter: &Extension, field: &str) -> String {
    let path = filter.path.strip_suffix("typed_config");
    format!("{}{field}", path.unwrap_or(&filter.path))
}
