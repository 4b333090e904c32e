//! Subsets (`envoy.load_balancing_policies.subset`): a request is balanced
//! over the hosts whose metadata is what its route asks for.
//!
//! Keys and values that subsets are made of have numbers, keys in the order of
//! their names. What a request asks for becomes pairs of numbers once a pick,
//! and everything after that compares numbers.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::among::{Among, Which};
use crate::balancer::{Request, Shared};
use crate::config::{FallbackPolicy, SelectorFallback, Subset};
use crate::events::Events;
use crate::group::{Group, GroupCursor};
use crate::host_set::ByLocality;
use crate::members::Members;
use crate::metadata::Value;

mod build;

/// All subsets of a cluster.
#[derive(Debug)]
pub(crate) struct Subsets {
    keys: FxHashMap<Arc<str>, u32>,
    values: FxHashMap<Value, u32>,
    /// From what a request asks for to its subset.
    by_criteria: FxHashMap<Box<[Pair]>, u32>,
    subsets: Vec<Hosts>,
    selectors: Box<[Selector]>,
    fallback: Option<Fallback>,
    default_subset: Option<Box<Group>>,
    allow_redundant_keys: bool,
    panic_mode_any: bool,
    metadata_fallback_list: bool,
    /// Hosts that have no subset because another one has it.
    pub(crate) duplicates: u32,
}

/// The numbers of a key and of one of its values.
type Pair = (u32, u32);

/// A value that no subset is made of.
const UNKNOWN: u32 = u32::MAX;

/// The hosts of a subset.
#[derive(Debug)]
enum Hosts {
    Group(Box<Group>),
    /// `single_host_per_subset`: this one, whatever its health.
    Single(u32),
}

#[derive(Debug)]
struct Selector {
    /// In ascending order.
    keys: Box<[u32]>,
    fallback: AfterSelector,
}

/// What is done when a selector's subset is not there.
#[derive(Debug)]
enum AfterSelector {
    NotDefined,
    No,
    Other(Fallback),
    /// Once more with these keys only, which are in ascending order.
    Keys(Box<[u32]>),
}

/// Hosts that stand in for a subset.
#[derive(Clone, Copy, Debug)]
enum Fallback {
    Any,
    Default,
}

/// One worker's place in all subsets.
#[derive(Debug, Default)]
pub(crate) struct SubsetCursor {
    seed: u64,
    /// By subset, made when it is first picked from.
    subsets: Vec<Option<Box<GroupCursor>>>,
    default_subset: Option<Box<GroupCursor>>,
    /// Memory for what a request asks for.
    criteria: Vec<Pair>,
    /// What was asked for before, see [`SubsetCursor::known`].
    known: Vec<Option<Known>>,
    /// How often something was put in there.
    noted: u32,
}

/// What routes ask for is the same again and again.
#[derive(Debug)]
struct Known {
    asked: Box<[(Arc<str>, Value)]>,
    subset: u32,
}

impl SubsetCursor {
    /// The subset for what a request asks for, if a request before has asked
    /// for the same. Where in memory that is tells where to look, and no more:
    /// another route may be there by now.
    #[inline]
    fn known(&self, asked: &[(Arc<str>, Value)]) -> Option<u32> {
        let known = self.known.get(Self::place(asked))?.as_ref()?;
        (*known.asked == *asked).then_some(known.subset)
    }

    /// Keeps what was found for others that ask for the same.
    #[cold]
    fn note(&mut self, asked: &[(Arc<str>, Value)], subset: u32) {
        if self.noted == NOTED_MAX {
            return;
        }
        self.noted += 1;
        self.known.resize_with(KNOWN_MAX, || None);
        self.known[Self::place(asked)] = Some(Known {
            asked: asked.into(),
            subset,
        });
    }

    fn place(asked: &[(Arc<str>, Value)]) -> usize {
        // Lists of routes lie at multiples of 16.
        (asked.as_ptr() as usize >> 4) % KNOWN_MAX
    }
}

/// How many things that were asked for a worker remembers: routes with subsets
/// are few, and requests that bring other metadata are not to fill its memory.
const KNOWN_MAX: usize = 16;

/// How often it remembers another one. Where what is asked for is never the
/// same that only costs.
const NOTED_MAX: u32 = 256;

/// What a request asks for.
struct Criteria {
    /// In ascending order of the keys.
    pairs: Vec<Pair>,
    /// It also asks for keys that no subset has.
    has_unknown_key: bool,
}

impl Criteria {
    fn has(&self, keys: &[u32]) -> bool {
        let mut pairs = self.pairs.iter();
        keys.iter().all(|key| pairs.any(|(other, _)| other == key))
    }

    /// Leaves these keys only.
    fn reduce(&mut self, keys: &[u32]) {
        self.has_unknown_key = false;
        self.pairs.retain(|(key, _)| keys.contains(key));
    }

    fn set(&mut self, key: u32, value: u32) {
        match self.pairs.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => self.pairs[place].1 = value,
            Err(place) => self.pairs.insert(place, (key, value)),
        }
    }
}

/// Everything that a pick needs besides the subsets themselves.
struct Context<'a, R> {
    shared: &'a Shared,
    any: &'a Group,
    any_cursor: &'a mut GroupCursor,
    cursor: &'a mut SubsetCursor,
    request: &'a mut R,
    events: &'a mut Events,
}

impl<R: Request> Context<'_, R> {
    fn any(&mut self) -> Option<u32> {
        self.request.among(Among::group(Which::All, self.any));
        self.any
            .pick(self.shared, self.any_cursor, self.request, self.events)
    }

    /// Counts an event, but not again for a host that was not wanted.
    fn count(&mut self, event: Events) {
        if self.request.attempt() == 0 {
            *self.events |= event;
        }
    }
}

impl Subsets {
    pub(crate) fn len(&self) -> usize {
        self.subsets.len()
    }

    pub(crate) fn cursor(&self, seed: u64) -> SubsetCursor {
        SubsetCursor {
            seed,
            ..SubsetCursor::default()
        }
    }

    /// Picks a host for what the request asks for. `any` are all hosts of the
    /// cluster.
    pub(crate) fn pick<R: Request>(
        &self,
        shared: &Shared,
        any: &Group,
        any_cursor: &mut GroupCursor,
        cursor: &mut SubsetCursor,
        request: &mut R,
        events: &mut Events,
    ) -> Option<u32> {
        if let Some(subset) = cursor.known(request.subset()) {
            let mut context = Context {
                shared,
                any,
                any_cursor,
                cursor,
                request,
                events,
            };
            context.count(Events::SUBSETS_SELECTED);
            return self.pick_from(&mut context, subset);
        }
        let mut criteria = Criteria {
            pairs: std::mem::take(&mut cursor.criteria),
            has_unknown_key: false,
        };
        let mut context = Context {
            shared,
            any,
            any_cursor,
            cursor,
            request,
            events,
        };
        let mut variant = 0;
        let host = loop {
            let variants = self.ask(&mut criteria, context.request.subset(), variant);
            let host = self.choose(&mut context, &mut criteria, variants == 1);
            variant += 1;
            if host.is_some() || variant >= variants {
                break host;
            }
        };
        cursor.criteria = criteria.pairs;
        host
    }

    /// Turns what the request asks for into numbers, with the given variant of
    /// its fallback list. Answers how many variants there are.
    fn ask(&self, criteria: &mut Criteria, asked: &[(Arc<str>, Value)], variant: usize) -> usize {
        criteria.pairs.clear();
        criteria.has_unknown_key = false;
        let mut variants = 1;
        let mut add = |key: &Arc<str>, value: &Value| match self.keys.get(key) {
            Some(key) => criteria.set(*key, self.values.get(value).copied().unwrap_or(UNKNOWN)),
            None => criteria.has_unknown_key = true,
        };
        let is_list = |key: &str| self.metadata_fallback_list && key == FALLBACK_LIST;
        for (key, value) in asked {
            if !is_list(key) {
                add(key, value);
            }
        }
        let list = asked.iter().find(|(key, _)| is_list(key));
        if let Some((_, Value::List(list))) = list {
            variants = list.len();
            if let Some(Value::Struct(fields)) = list.get(variant) {
                for (key, value) in fields {
                    add(key, value);
                }
            }
        }
        variants
    }

    fn choose<R: Request>(
        &self,
        context: &mut Context<'_, R>,
        criteria: &mut Criteria,
        is_sole: bool,
    ) -> Option<u32> {
        // Each turn but the last one leaves fewer keys.
        loop {
            if self.allow_redundant_keys {
                let fits = |selector: &&Selector| criteria.has(&selector.keys);
                if let Some(selector) = self.selectors.iter().find(fits) {
                    criteria.reduce(&selector.keys);
                }
            }
            if criteria.has_unknown_key {
                break;
            }
            if let Some(subset) = self.by_criteria.get(&criteria.pairs[..]) {
                if is_sole {
                    context.cursor.note(context.request.subset(), *subset);
                }
                context.count(Events::SUBSETS_SELECTED);
                return self.pick_from(context, *subset);
            }
            let is_exact = |selector: &&Selector| {
                let keys = criteria.pairs.iter().map(|(key, _)| key);
                selector.keys.iter().eq(keys)
            };
            match self.selectors.iter().find(is_exact).map(|s| &s.fallback) {
                None | Some(AfterSelector::NotDefined) => break,
                Some(AfterSelector::No) => return None,
                Some(AfterSelector::Other(fallback)) => return self.fall_back(context, *fallback),
                Some(AfterSelector::Keys(keys)) => criteria.reduce(keys),
            }
        }
        let fallback = self.fallback?;
        if let Some(host) = self.fall_back(context, fallback) {
            context.count(Events::SUBSETS_FALLBACK);
            return Some(host);
        }
        if self.panic_mode_any
            && let Some(host) = context.any()
        {
            context.count(Events::SUBSETS_FALLBACK_PANIC);
            return Some(host);
        }
        None
    }

    fn pick_from<R: Request>(&self, context: &mut Context<'_, R>, subset: u32) -> Option<u32> {
        let group = match &self.subsets[subset as usize] {
            Hosts::Single(host) => {
                context.request.among(Among::single(*host));
                return Some(*host);
            }
            Hosts::Group(group) => group,
        };
        let cursors = &mut context.cursor.subsets;
        if cursors.is_empty() {
            cursors.resize_with(self.subsets.len(), || None);
        }
        let seed = context.cursor.seed ^ (u64::from(subset) << 32);
        let cursor = cursors[subset as usize]
            .get_or_insert_with(|| Box::new(group.cursor(context.shared, seed)));
        context.request.among(Among::group(Which::Subset, group));
        group.pick(context.shared, cursor, context.request, context.events)
    }

    fn fall_back<R: Request>(
        &self,
        context: &mut Context<'_, R>,
        fallback: Fallback,
    ) -> Option<u32> {
        match fallback {
            Fallback::Any => context.any(),
            Fallback::Default => {
                let group = self.default_subset.as_ref()?;
                let seed = !context.cursor.seed;
                let cursor = context
                    .cursor
                    .default_subset
                    .get_or_insert_with(|| Box::new(group.cursor(context.shared, seed)));
                let among = Among::group(Which::DefaultSubset, group);
                context.request.among(among);
                group.pick(context.shared, cursor, context.request, context.events)
            }
        }
    }
}

/// The key whose value are variants of what a request asks for.
const FALLBACK_LIST: &str = "fallback_list";

#[cfg(test)]
mod tests;
