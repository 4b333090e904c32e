//! Which scope a request belongs to, where `scoped_routes` decide about its
//! route configuration.

use ringway_codecs::header::HeaderMap;

use super::Sources;
use super::fact::Fact;
use crate::filters::network::http_connection_manager::routes::Routes;
use crate::http::route_table::TableId;

/// The scope of a request with these headers, whose route table is `table`.
/// Nothing where there are no scopes.
pub(super) fn explain(
    routes: &Routes,
    table: Option<TableId>,
    request: &HeaderMap,
    sources: &Sources<'_>,
) -> Vec<Fact> {
    let Some(scopes) = routes.scopes() else {
        return Vec::new();
    };
    let fragments = scopes.key(request).into_iter().map(|fragment| {
        fragment.map_or_else(
            || "(missing)".into(),
            |value| format!("{:?}", String::from_utf8_lossy(value)),
        )
    });
    let key = fragments.collect::<Vec<_>>().join(", ");
    let fact = Fact::new("scope");
    vec![match table.and_then(|table| routes.scope(table)) {
        Some(scope) => fact
            .value(&*scope.name)
            .note(format!("by its key {key}"))
            .place(sources.document.place(&scope.source.path)),
        None => fact.note(format!(
            "none of {} scopes has the key {key}",
            scopes.list().len()
        )),
    }]
}
