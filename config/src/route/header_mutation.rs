//! `request_headers_to_add`, `response_headers_to_remove` and their like: how
//! the configuration changes headers.
//!
//! The same four lists may stand at a weighted cluster, a route, a virtual host
//! and the route configuration. Each such place is a [`HeaderMutations`] with a
//! number; a route knows the numbers of all that apply to its requests, in
//! their order ([`MutationLevels`]), so a request that no list applies to pays
//! for one comparison. Values are literals, or formats that the engine compiles.

use super::lower::Lowering;
use super::{Action, ClusterChoice, Route};
use crate::context::Cx;
use crate::format_strings::{FormatId, FormatStrings};
use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::route::v3 as proto;
use ringway_codecs::header::{HeaderId, HeaderMap};
use std::num::NonZeroU32;

/// The changes that one place of the configuration asks for.
#[derive(Debug, Default)]
pub struct HeaderMutations {
    /// Of the request, before it goes upstream.
    pub request: HeaderChanges,
    /// Of the response, before the filters see it.
    pub response: HeaderChanges,
}

/// Headers to remove, then headers to add.
#[derive(Debug, Default)]
pub struct HeaderChanges {
    /// All values of these go.
    pub remove: Box<[MutableName]>,
    /// Their values are made of the message as it is after the removals, all of
    /// them before the first is added.
    pub add: Box<[HeaderToAdd]>,
}

/// A compiled `envoy.config.core.v3.HeaderValueOption`.
#[derive(Debug)]
pub struct HeaderToAdd {
    /// The name.
    pub name: MutableName,
    /// The value.
    pub value: HeaderValue,
    /// What becomes of values that are there already.
    pub action: AppendAction,
    /// An empty value is added, too.
    pub keep_empty_value: bool,
}

/// A value to add.
#[derive(Debug)]
pub enum HeaderValue {
    /// The same for every message.
    Literal(Box<[u8]>),
    /// A format string.
    Format(FormatId),
}

/// `HeaderValueOption.append_action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAction {
    /// Comes to the values that are there.
    AppendIfExistsOrAdd,
    /// Added when there is none.
    AddIfAbsent,
    /// Replaces all values.
    OverwriteIfExistsOrAdd,
    /// Replaces all values when there is one.
    OverwriteIfExists,
}

/// The name of a header that the configuration may change: any but pseudo
/// headers and `host`.
#[derive(Debug, PartialEq, Eq)]
pub enum MutableName {
    /// One of those that have a number.
    Known(HeaderId),
    /// Any other, in lower case.
    Other(Box<[u8]>),
}

impl MutableName {
    /// Whether the header is there.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        match self {
            MutableName::Known(id) => headers.contains(*id),
            MutableName::Other(name) => headers.get_name(name).is_some(),
        }
    }

    /// Removes all values.
    pub fn remove_from(&self, headers: &mut HeaderMap) {
        match self {
            MutableName::Known(id) => headers.remove(*id),
            MutableName::Other(name) => headers.remove_name(name),
        };
    }

    /// Adds a value.
    pub fn append_to(&self, headers: &mut HeaderMap, value: &[u8]) {
        match self {
            MutableName::Known(id) => headers.append(*id, value),
            MutableName::Other(name) => headers.append_name(name, value),
        }
    }

    /// Makes this the only value.
    pub fn set_in(&self, headers: &mut HeaderMap, value: &[u8]) {
        match self {
            MutableName::Known(id) => headers.set(*id, value),
            MutableName::Other(name) => headers.set_name(name, value),
        }
    }
}

/// The number of a [`HeaderMutations`] in its route configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MutationsId(NonZeroU32);

/// What applies to the requests of a route, in the order in which it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MutationLevels {
    /// The weighted cluster's come first, whichever order the others have.
    weighted_cluster: Option<MutationsId>,
    others: [Option<MutationsId>; 3],
}

impl MutationLevels {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        *self == MutationLevels::default()
    }

    /// Those of the weighted cluster, and those of all other levels.
    pub fn split(self) -> (MutationLevels, MutationLevels) {
        let others = MutationLevels {
            weighted_cluster: None,
            ..self
        };
        let weighted = MutationLevels {
            others: [None; 3],
            ..self
        };
        (weighted, others)
    }

    /// The numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = MutationsId> + use<> {
        let levels = [
            self.weighted_cluster,
            self.others[0],
            self.others[1],
            self.others[2],
        ];
        levels.into_iter().flatten()
    }
}

impl Route {
    /// The mutations of a request whose cluster has been chosen.
    pub fn mutations(&self, choice: ClusterChoice) -> MutationLevels {
        let weighted = match &self.action {
            Action::Forward(forward) => forward.cluster.weighted(choice),
            _ => None,
        };
        MutationLevels {
            weighted_cluster: weighted.and_then(|cluster| cluster.header_mutations),
            ..self.header_mutations
        }
    }
}

/// All mutations of a route configuration.
#[derive(Debug, Default)]
pub struct MutationTable(Vec<HeaderMutations>);

impl MutationTable {
    /// The mutations with a number of this table.
    pub fn get(&self, id: MutationsId) -> &HeaderMutations {
        &self.0[id.0.get() as usize - 1]
    }

    fn add(&mut self, mutations: HeaderMutations) -> Option<MutationsId> {
        let is_empty =
            |changes: &HeaderChanges| changes.add.is_empty() && changes.remove.is_empty();
        if is_empty(&mutations.request) && is_empty(&mutations.response) {
            return None;
        }
        self.0.push(mutations);
        let id = u32::try_from(self.0.len()).expect("fewer than 2^32 mutations fit in memory");
        NonZeroU32::new(id).map(MutationsId)
    }
}

/// The table of a route configuration that is being lowered, and the levels
/// around the place that is.
#[derive(Debug, Default)]
pub(super) struct Levels {
    pub(super) table: MutationTable,
    configuration: Option<MutationsId>,
    virtual_host: Option<MutationsId>,
    most_specific_wins: bool,
}

impl Levels {
    /// The levels of a route with mutations of its own.
    pub(super) fn of_route(&self, route: Option<MutationsId>) -> MutationLevels {
        let mut others = [route, self.virtual_host, self.configuration];
        if self.most_specific_wins {
            // Who comes last has the last word.
            others.reverse();
        }
        MutationLevels {
            weighted_cluster: None,
            others,
        }
    }
}

/// A message with the four lists.
pub(super) trait Mutating {
    fn lists(&self) -> Lists<'_>;
}

/// The four lists of a message.
pub(super) struct Lists<'a> {
    request_add: &'a [HeaderValueOption],
    request_remove: &'a [String],
    response_add: &'a [HeaderValueOption],
    response_remove: &'a [String],
}

macro_rules! mutating {
    ($($message:ty),*) => {$(
        impl Mutating for $message {
            fn lists(&self) -> Lists<'_> {
                Lists {
                    request_add: &self.request_headers_to_add,
                    request_remove: &self.request_headers_to_remove,
                    response_add: &self.response_headers_to_add,
                    response_remove: &self.response_headers_to_remove,
                }
            }
        }
    )*};
}

mutating!(
    proto::RouteConfiguration,
    proto::VirtualHost,
    proto::Route,
    proto::weighted_cluster::ClusterWeight
);

impl Lowering {
    /// Compiles the route configuration's own mutations.
    pub(super) fn enter_configuration(
        &mut self,
        message: &proto::RouteConfiguration,
        cx: &mut Cx<'_>,
    ) -> Option<()> {
        self.levels.most_specific_wins = message.most_specific_header_mutations_wins;
        self.levels.configuration = self.header_mutations(message, cx)?;
        Some(())
    }

    /// Compiles the mutations of a virtual host, whose routes come next.
    pub(super) fn enter_virtual_host(
        &mut self,
        message: &proto::VirtualHost,
        cx: &mut Cx<'_>,
    ) -> Option<()> {
        self.levels.virtual_host = self.header_mutations(message, cx)?;
        Some(())
    }

    /// Compiles the mutations of a message; `None` after an error, and
    /// `Some(None)` when it has none.
    pub(super) fn header_mutations(
        &mut self,
        message: &impl Mutating,
        cx: &mut Cx<'_>,
    ) -> Option<Option<MutationsId>> {
        let lists = message.lists();
        let request = HeaderChanges::lower(
            ("request_headers_to_add", lists.request_add),
            ("request_headers_to_remove", lists.request_remove),
            &mut self.formats,
            cx,
        );
        let response = HeaderChanges::lower(
            ("response_headers_to_add", lists.response_add),
            ("response_headers_to_remove", lists.response_remove),
            &mut self.formats,
            cx,
        );
        Some(self.levels.table.add(HeaderMutations {
            request: request?,
            response: response?,
        }))
    }
}

impl HeaderChanges {
    /// Compiles a list of response headers to add that stands outside of a
    /// route configuration; `field` is its name.
    pub fn lower_response(
        field: &str,
        add: &[HeaderValueOption],
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        HeaderChanges::lower((field, add), ("", &[]), formats, cx)
    }

    /// The same for request headers.
    pub fn lower_request(
        field: &str,
        add: &[HeaderValueOption],
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        HeaderChanges::lower((field, add), ("", &[]), formats, cx)
    }

    /// Compiles request headers to add and to remove that stand outside of a
    /// route configuration, each with the name of their field.
    pub(crate) fn lower_request_changes(
        add: (&str, &[HeaderValueOption]),
        remove: (&str, &[String]),
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        HeaderChanges::lower(add, remove, formats, cx)
    }

    /// Compiles one request header to add.
    pub(super) fn lower_one_request(
        option: &HeaderValueOption,
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let header = HeaderToAdd::lower(option, formats, cx)?;
        Some(HeaderChanges {
            remove: Box::default(),
            add: [header].into(),
        })
    }

    fn lower(
        (add_field, add): (&str, &[HeaderValueOption]),
        (remove_field, remove): (&str, &[String]),
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let remove: Vec<_> = remove
            .iter()
            .enumerate()
            .map(|(i, name)| cx.index(remove_field, i, |cx| removable(name, cx)))
            .collect();
        let add: Vec<_> = add
            .iter()
            .enumerate()
            .map(|(i, option)| cx.index(add_field, i, |cx| HeaderToAdd::lower(option, formats, cx)))
            .collect();
        Some(HeaderChanges {
            remove: remove.into_iter().collect::<Option<_>>()?,
            add: add.into_iter().collect::<Option<_>>()?,
        })
    }
}

impl HeaderToAdd {
    fn lower(
        message: &HeaderValueOption,
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let Some(header) = &message.header else {
            cx.error_at("header", "is required");
            return None;
        };
        let action = action(message, cx);
        let name = cx.field("header.key", |cx| addable(&header.key, cx));
        let value = cx.field("header.value", |cx| value(&header.value, formats, cx));
        Some(HeaderToAdd {
            name: name?,
            value: value?,
            action: action?,
            keep_empty_value: message.keep_empty_value,
        })
    }
}

fn action(message: &HeaderValueOption, cx: &mut Cx<'_>) -> Option<AppendAction> {
    #[expect(deprecated, reason = "Envoy still accepts append")]
    let append = message.append.as_ref().map(|append| append.value);
    match (append, message.append_action()) {
        (Some(_), action) if action != HeaderAppendAction::AppendIfExistsOrAdd => {
            cx.error_at("append", "only one of append and append_action may be set");
            None
        }
        (Some(false), _) => Some(AppendAction::OverwriteIfExistsOrAdd),
        (_, HeaderAppendAction::AppendIfExistsOrAdd) => Some(AppendAction::AppendIfExistsOrAdd),
        (_, HeaderAppendAction::AddIfAbsent) => Some(AppendAction::AddIfAbsent),
        (_, HeaderAppendAction::OverwriteIfExistsOrAdd) => {
            Some(AppendAction::OverwriteIfExistsOrAdd)
        }
        (_, HeaderAppendAction::OverwriteIfExists) => Some(AppendAction::OverwriteIfExists),
    }
}

fn addable(name: &str, cx: &mut Cx<'_>) -> Option<MutableName> {
    let name = mutable(name, "modified", cx)?;
    if matches!(
        name,
        MutableName::Known(HeaderId::ContentLength | HeaderId::TransferEncoding)
    ) {
        cx.error(
            "cannot be added: it says where the message ends, and the next one would be read \
             from within this one",
        );
        return None;
    }
    Some(name)
}

/// The name of a header that may be removed, or an error.
pub(super) fn removable(name: &str, cx: &mut Cx<'_>) -> Option<MutableName> {
    mutable(name, "removed", cx)
}

fn mutable(name: &str, verb: &str, cx: &mut Cx<'_>) -> Option<MutableName> {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with(':') || lower == "host" {
        cx.error(format!(":-prefixed or host headers may not be {verb}"));
        return None;
    }
    if lower.is_empty() || !lower.bytes().all(is_token_byte) {
        cx.error(format!("{name:?} is not the name of a header"));
        return None;
    }
    Some(match HeaderId::from_lower(lower.as_bytes()) {
        Some(id) => MutableName::Known(id),
        None => MutableName::Other(lower.into_bytes().into()),
    })
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~`".contains(&byte)
}

fn value(text: &str, formats: &mut FormatStrings, cx: &mut Cx<'_>) -> Option<HeaderValue> {
    if text
        .bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\t')
    {
        cx.error("a header's value cannot hold control characters");
        return None;
    }
    Some(if text.contains('%') {
        HeaderValue::Format(formats.add(text, cx))
    } else {
        HeaderValue::Literal(text.as_bytes().into())
    })
}
