//! The route configurations of a connection manager: one, or one for each
//! scope.
//!
//! The numbers that a request keeps of its route (header changes, overrides,
//! statistics) are places in its route table, so the request also keeps which
//! table that is: [`TableId`].

use std::slice;

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use ringway_codecs::header::HeaderMap;
use ringway_config::Cx;
use ringway_config::route;
use ringway_config::scoped_route::{self, Scope, Scopes};

use crate::http::route_table::{RouteTable, TableId};
use crate::stats::Store;

/// The compiled `route_specifier`.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each connection manager, and a box would be a step more for \
              every request"
)]
pub enum Routes {
    /// `route_config`: the same for all requests.
    Single(RouteTable),
    /// `scoped_routes`: which one depends on the request's headers.
    Scoped(ScopedTables),
}

/// The route configurations of all scopes.
#[derive(Debug)]
pub struct ScopedTables {
    scopes: Scopes,
    /// By the number of the scope; never empty.
    tables: Box<[RouteTable]>,
}

impl Routes {
    /// Compiles the route configurations, or reports why not.
    pub fn compile(proto: Option<&RouteSpecifier>, cx: &mut Cx<'_>) -> Option<Self> {
        match proto {
            Some(RouteSpecifier::RouteConfig(config)) => cx.field("route_config", |cx| {
                let lowered = route::lower(config, cx)?;
                RouteTable::compile(lowered, cx).map(Self::Single)
            }),
            Some(RouteSpecifier::ScopedRoutes(config)) => cx.field("scoped_routes", |cx| {
                let lowered = scoped_route::lower(config, cx)?;
                let tables = lowered.configurations.into_iter();
                // All of them, so that all mistakes are reported.
                let tables: Vec<_> = tables.map(|one| RouteTable::compile(one, cx)).collect();
                Some(Self::Scoped(ScopedTables {
                    scopes: lowered.scopes,
                    tables: tables.into_iter().collect::<Option<_>>()?,
                }))
            }),
            Some(RouteSpecifier::Rds(_)) => {
                cx.error_at("rds", "not supported yet");
                None
            }
            None => {
                cx.error("a route_config is needed here");
                None
            }
        }
    }

    /// Registers what is counted by route.
    pub fn register(&mut self, store: &Store) {
        let tables = match self {
            Routes::Single(table) => slice::from_mut(table),
            Routes::Scoped(scoped) => &mut scoped.tables,
        };
        for table in tables {
            table.register(store);
        }
    }

    /// The table that a request with these headers is routed by; `None` when
    /// it belongs to no scope.
    #[inline]
    pub fn choose(&self, headers: &HeaderMap) -> Option<TableId> {
        match self {
            Routes::Single(_) => Some(TableId::default()),
            Routes::Scoped(scoped) => scoped.scopes.find(headers).map(TableId),
        }
    }

    /// A table by its number.
    #[must_use]
    #[inline]
    pub fn table(&self, id: TableId) -> &RouteTable {
        match self {
            Routes::Single(table) => table,
            Routes::Scoped(scoped) => &scoped.tables[id.0 as usize],
        }
    }

    /// All tables by number.
    #[must_use]
    pub fn tables(&self) -> &[RouteTable] {
        match self {
            Routes::Single(table) => slice::from_ref(table),
            Routes::Scoped(scoped) => &scoped.tables,
        }
    }

    /// Lower-case names of headers that an external request with these headers
    /// may not carry.
    #[must_use]
    pub fn internal_only_headers(&self, headers: &HeaderMap) -> &[Box<[u8]>] {
        self.choose(headers).map_or(&[], |id| {
            self.table(id).configuration.internal_only_headers()
        })
    }

    /// The scopes, if there are any.
    #[must_use]
    pub fn scopes(&self) -> Option<&Scopes> {
        match self {
            Routes::Single(_) => None,
            Routes::Scoped(scoped) => Some(&scoped.scopes),
        }
    }

    /// The scope of a table, if it has one.
    #[must_use]
    pub fn scope(&self, id: TableId) -> Option<&Scope> {
        self.scopes()?.list().get(id.0 as usize)
    }
}
