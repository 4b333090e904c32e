//! Building subsets: which ones there are, and which hosts are in them.

use super::*;

/// Numbers for keys, and for values as they are found.
struct Numbers {
    keys: FxHashMap<Arc<str>, u32>,
    values: FxHashMap<Value, u32>,
}

/// A subset that is being collected.
struct Collected {
    hosts: Vec<u32>,
    single: bool,
}

/// The hosts by what they are asked for, in the order in which subsets were
/// found.
#[derive(Default)]
struct Collection {
    by_criteria: FxHashMap<Box<[Pair]>, u32>,
    subsets: Vec<Collected>,
    duplicates: u32,
}

impl Subsets {
    /// Builds all subsets; `None` when there are no selectors.
    pub(crate) fn new(
        config: &Subset,
        shared: &Shared,
        members: &Members<'_>,
        by_locality: ByLocality,
        events: &mut Events,
    ) -> Option<Self> {
        if config.selectors.is_empty() {
            return None;
        }
        let mut numbers = Numbers::new(config);
        let selectors = numbers.selectors(config);
        let collection = collect(config, members, &mut numbers);
        let locality_weights = Localities::new(config, members);
        let mut group = |hosts: &[u32]| {
            let localities = locality_weights.of(members, hosts);
            let members = Members {
                localities: &localities,
                ..*members
            };
            let group = Group::new(shared, &members, hosts, by_locality, events);
            Box::new(group)
        };
        let subsets = collection
            .subsets
            .iter()
            .map(|subset| match subset.hosts[..] {
                [host, ..] if subset.single => Hosts::Single(host),
                _ => Hosts::Group(group(&subset.hosts)),
            })
            .collect();
        let wants_default = |selector: &crate::config::Selector| {
            selector.fallback_policy == SelectorFallback::DefaultSubset
        };
        let default_subset = (config.fallback_policy == FallbackPolicy::DefaultSubset
            || config.selectors.iter().any(wants_default))
        .then(|| group(&default_hosts(config, members)));
        Some(Self {
            keys: numbers.keys,
            values: numbers.values,
            by_criteria: collection.by_criteria,
            subsets,
            selectors,
            fallback: match config.fallback_policy {
                FallbackPolicy::NoFallback => None,
                FallbackPolicy::AnyEndpoint => Some(Fallback::Any),
                FallbackPolicy::DefaultSubset => Some(Fallback::Default),
            },
            default_subset,
            allow_redundant_keys: config.allow_redundant_keys,
            panic_mode_any: config.panic_mode_any,
            metadata_fallback_list: config.metadata_fallback_list,
            duplicates: collection.duplicates,
        })
    }
}

impl Numbers {
    fn new(config: &Subset) -> Self {
        let mut names: Vec<&Arc<str>> = config.selectors.iter().flat_map(|s| &s.keys).collect();
        names.sort_unstable();
        names.dedup();
        Self {
            keys: names.into_iter().cloned().zip(0..).collect(),
            values: FxHashMap::default(),
        }
    }

    fn value(&mut self, value: Value) -> u32 {
        let next = self.values.len() as u32;
        *self.values.entry(value).or_insert(next)
    }

    /// The numbers of these keys in ascending order; those of other selectors
    /// only.
    fn sorted(&self, keys: &[Arc<str>]) -> Box<[u32]> {
        let numbers = keys.iter().filter_map(|key| self.keys.get(key).copied());
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into()
    }

    fn selectors(&self, config: &Subset) -> Box<[Selector]> {
        let mut selectors: Vec<_> = config
            .selectors
            .iter()
            .filter(|selector| !selector.keys.is_empty())
            .map(|selector| {
                let keys = self.sorted(&selector.keys);
                Selector {
                    fallback: match &selector.fallback_policy {
                        SelectorFallback::NotDefined => AfterSelector::NotDefined,
                        SelectorFallback::NoFallback => AfterSelector::No,
                        SelectorFallback::AnyEndpoint => AfterSelector::Other(Fallback::Any),
                        SelectorFallback::DefaultSubset => AfterSelector::Other(Fallback::Default),
                        SelectorFallback::KeysSubset(subset) => {
                            let subset = self.sorted(subset);
                            let is_part = subset.len() < keys.len();
                            // With all keys it would be tried for ever.
                            if is_part {
                                AfterSelector::Keys(subset)
                            } else {
                                AfterSelector::No
                            }
                        }
                    },
                    keys,
                }
            })
            .collect();
        if config.allow_redundant_keys {
            // The selector with the most keys is the one that is meant.
            selectors.sort_by_key(|selector| std::cmp::Reverse(selector.keys.len()));
        }
        forget_fallbacks(&mut selectors);
        selectors.into()
    }
}

/// Envoy has no fallback for a selector whose keys are the first ones of a
/// selector before it: its tree of keys keeps the fallback of a node only where
/// the selector is the first one to come there. What it does is what counts.
fn forget_fallbacks(selectors: &mut [Selector]) {
    for place in 1..selectors.len() {
        let (before, after) = selectors.split_at_mut(place);
        let selector = &mut after[0];
        let is_first_part = |other: &Selector| {
            other.keys.len() > selector.keys.len() && other.keys.starts_with(&selector.keys)
        };
        if before.iter().any(is_first_part) {
            selector.fallback = AfterSelector::NotDefined;
        }
    }
}

/// Puts every host into its subsets.
fn collect(config: &Subset, members: &Members<'_>, numbers: &mut Numbers) -> Collection {
    let mut collection = Collection::default();
    // Priority by priority, because the first host of a subset that has one
    // host only is the first of its first priority.
    let mut hosts: Vec<u32> = (0..members.hosts.len() as u32).collect();
    hosts.sort_by_key(|host| members.hosts[*host as usize].priority);
    let selectors: Vec<_> = config
        .selectors
        .iter()
        .filter(|selector| !selector.keys.is_empty())
        .map(|selector| {
            let mut keys: Vec<_> = selector.keys.iter().collect();
            keys.sort_unstable();
            keys.dedup();
            (keys, selector.single_host_per_subset)
        })
        .collect();
    for host in hosts {
        for (keys, single) in &selectors {
            for criteria in criteria_of(config, members, numbers, host, keys) {
                collection.add(criteria, host, *single);
            }
        }
    }
    collection
}

impl Collection {
    fn add(&mut self, criteria: Vec<Pair>, host: u32, single: bool) {
        let subsets = &mut self.subsets;
        let subset = *self.by_criteria.entry(criteria.into()).or_insert_with(|| {
            subsets.push(Collected {
                hosts: Vec::new(),
                single,
            });
            subsets.len() as u32 - 1
        });
        let subset = &mut subsets[subset as usize];
        if subset.hosts.last() == Some(&host) {
            return;
        }
        if subset.single && !subset.hosts.is_empty() {
            self.duplicates += 1;
            return;
        }
        subset.hosts.push(host);
    }
}

/// What a request can ask for to get this host by these keys: nothing when the
/// host lacks a key, several things when lists mean each of their values.
fn criteria_of(
    config: &Subset,
    members: &Members<'_>,
    numbers: &mut Numbers,
    host: u32,
    keys: &[&Arc<str>],
) -> Vec<Vec<Pair>> {
    let mut all: Vec<Vec<Pair>> = vec![Vec::with_capacity(keys.len())];
    for key in keys {
        let Some(value) = members.describe.metadata(host, key) else {
            return Vec::new();
        };
        let values = match value {
            Value::List(values) if config.list_as_any => values,
            value => vec![value],
        };
        let key = numbers.keys[*key];
        let values: Vec<u32> = values.into_iter().map(|v| numbers.value(v)).collect();
        all = all
            .iter()
            .flat_map(|pairs| {
                values.iter().map(|value| {
                    let mut pairs = pairs.clone();
                    pairs.push((key, *value));
                    pairs
                })
            })
            .take(CRITERIA_MAX)
            .collect();
    }
    all
}

/// The hosts that have all of the default subset.
fn default_hosts(config: &Subset, members: &Members<'_>) -> Vec<u32> {
    (0..members.hosts.len() as u32)
        .filter(|host| {
            config.default_subset.iter().all(|(key, wanted)| {
                match members.describe.metadata(*host, key) {
                    None => false,
                    Some(value) if value == *wanted => true,
                    Some(Value::List(values)) => config.list_as_any && values.contains(wanted),
                    Some(_) => false,
                }
            })
        })
        .collect()
}

/// The weights of localities in subsets.
struct Localities {
    scale: bool,
    /// Hosts by locality in the whole cluster.
    hosts: Vec<u32>,
}

impl Localities {
    fn new(config: &Subset, members: &Members<'_>) -> Self {
        let all = 0..members.hosts.len() as u32;
        Self {
            scale: config.locality_weight_aware && config.scale_locality_weight,
            hosts: count(members, all),
        }
    }

    /// The groups with the weights that they have for these hosts.
    fn of(&self, members: &Members<'_>, hosts: &[u32]) -> Vec<crate::members::Locality> {
        let mut localities = members.localities.to_vec();
        if !self.scale {
            return localities;
        }
        let left = count(members, hosts.iter().copied());
        for ((locality, all), left) in localities.iter_mut().zip(&self.hosts).zip(left) {
            let scaled = |weight: u32| {
                // In single precision, as Envoy calculates it.
                let share = (u64::from(weight) * u64::from(left)) as f32 / *all as f32;
                share.round() as u32
            };
            locality.weight = locality.weight.filter(|_| *all > 0).map(scaled);
        }
        localities
    }
}

/// Hosts by locality.
fn count(members: &Members<'_>, hosts: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut counts = vec![0; members.localities.len()];
    for host in hosts {
        if let Some(count) = counts.get_mut(members.hosts[host as usize].locality as usize) {
            *count += 1;
        }
    }
    counts
}

/// A host that lists make a member of more subsets than this by one selector
/// is in the first ones only: memory is not what a few lists multiply to.
const CRITERIA_MAX: usize = 4096;
