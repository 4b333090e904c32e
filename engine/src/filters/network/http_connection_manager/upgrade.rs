//! Upgrades: `upgrade_configs` of the connection manager, and who may change
//! the protocol of a connection.
//!
//! A request asks for an upgrade with `Connection: upgrade` and `Upgrade`, or
//! by being a CONNECT. What the route says comes first, then what the
//! connection manager says. A request that may not is refused before any
//! filter sees it; one that may runs through the filters of its kind. Whether
//! the protocol really changes is the upstream's decision, see the router's
//! `tunnel.rs`.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager as pb;
use ringway_codecs::header::HeaderId;
use ringway_config::listener::Extension;
use ringway_config::route::{Action, RouteMatch, RouteUpgrade};
use ringway_config::{Cx, Source};

use super::super::super::http::{FilterChain, HttpFilters, router};
use super::{ConnectionManager, Shared, config};
use crate::http::exchange::{Exchange, Tunnel};
use crate::stats::Store;

/// One of the compiled `upgrade_configs`.
pub struct UpgradeConfig {
    /// `upgrade_type`, whose case does not count.
    pub kind: Box<[u8]>,
    /// Whether it is allowed where the route says nothing.
    pub enabled: bool,
    /// The filters of such requests; empty for those of all others.
    pub http_filters: Vec<Extension>,
}

/// Compiles the `upgrade_configs` of a connection manager.
pub(super) fn compile(protos: &[pb::UpgradeConfig], cx: &mut Cx<'_>) -> Vec<UpgradeConfig> {
    let mut compiled: Vec<UpgradeConfig> = Vec::with_capacity(protos.len());
    let mut places = Vec::with_capacity(protos.len());
    for (i, proto) in protos.iter().enumerate() {
        let kind = &proto.upgrade_type;
        cx.index("upgrade_configs", i, |cx| {
            let same = |other: &pb::UpgradeConfig| other.upgrade_type.eq_ignore_ascii_case(kind);
            if let Some(first) = protos[..i].iter().position(same) {
                let first: &Source = &places[first];
                let path = &first.path;
                let error = format!("{kind:?} is configured by {path} already ({first})");
                cx.error_at("upgrade_type", error);
            }
            places.push(cx.source());
            if kind.eq_ignore_ascii_case("CONNECT-UDP") {
                cx.error_at(
                    "upgrade_type",
                    "CONNECT-UDP is not supported yet: it needs HTTP/2 or HTTP/3",
                );
            }
            compiled.push(UpgradeConfig {
                kind: kind.as_bytes().into(),
                enabled: proto.enabled.is_none_or(|enabled| enabled.value),
                http_filters: config::http_filters(&proto.filters, "filters", "http upgrade", cx),
            });
        });
    }
    compiled
}

/// The kinds of upgrades that a connection manager knows, with their filters.
#[derive(Default)]
pub struct Upgrades(Box<[Upgrade]>);

struct Upgrade {
    kind: Box<[u8]>,
    enabled: bool,
    filters: Option<HttpFilters>,
}

impl Upgrades {
    /// Brings the configurations and the compiled filters of each together.
    pub(super) fn new(
        configs: &[UpgradeConfig],
        filters: Vec<Option<HttpFilters>>,
        store: &Store,
        prefix: &str,
    ) -> Self {
        let with_filters = configs.iter().zip(filters).map(|(config, mut filters)| {
            if let Some(filters) = &mut filters {
                filters.chain.register(store, prefix);
            }
            Upgrade {
                kind: config.kind.clone(),
                enabled: config.enabled,
                filters,
            }
        });
        Self(with_filters.collect())
    }

    /// The place of a kind in the list.
    fn find(&self, kind: &[u8]) -> Option<usize> {
        let mut list = self.0.iter();
        list.position(|upgrade| upgrade.kind.eq_ignore_ascii_case(kind))
    }

    fn filters(&self, place: usize) -> Option<&HttpFilters> {
        self.0.get(place)?.filters.as_ref()
    }
}

impl Shared {
    /// The filters that a request runs through.
    pub fn filters_of(&self, exchange: &Exchange) -> &FilterChain {
        match self.own_filters(exchange) {
            Some(own) => &own.chain,
            None => &self.filters,
        }
    }

    /// The router at their end.
    pub fn router_of(&self, exchange: &Exchange) -> &router::Config {
        match self.own_filters(exchange) {
            Some(own) => &own.router,
            None => &self.router,
        }
    }

    fn own_filters(&self, exchange: &Exchange) -> Option<&HttpFilters> {
        self.upgrades.filters(exchange.upgrade?)
    }
}

/// What is decided about a request that asks for another protocol.
#[derive(Debug, Clone, Copy)]
pub struct Ruling<'a> {
    /// What it asks for.
    pub kind: &'a [u8],
    /// What becomes of it.
    pub outcome: Outcome,
    /// Who says so.
    pub said_by: SaidBy<'a>,
}

/// What becomes of a request that asks for another protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may ask its host for it.
    Allowed {
        /// What its connection may become.
        tunnel: Tunnel,
        /// The place of its kind in the `upgrade_configs` of the connection
        /// manager, if it is there.
        place: Option<usize>,
    },
    /// It is answered as what is not found, whatever it asks for.
    NotFound,
    /// It is answered with 403.
    Refused,
}

/// Who decides about an upgrade.
#[derive(Debug, Clone, Copy)]
pub enum SaidBy<'a> {
    /// The route.
    Route(&'a RouteUpgrade),
    /// The connection manager, in the `upgrade_configs` of this place.
    Manager(usize),
    /// Nobody has said anything, which is a no.
    Nobody,
    /// The request, which asks for two protocols at once.
    Request,
}

impl Shared {
    /// Decides whether a request may ask for another protocol, which it does.
    /// As in Envoy, one without a route is the router's to answer.
    pub fn rule_on_upgrade<'a>(
        &self,
        exchange: &'a Exchange,
        found: &RouteMatch<'a>,
    ) -> Ruling<'a> {
        let asked = exchange.request.get(HeaderId::Upgrade);
        let (kind, tunnel) = match asked {
            // With an Upgrade it would ask for two protocols at once.
            Some(kind) if exchange.facts.is_connect => {
                return Ruling {
                    kind,
                    outcome: Outcome::Refused,
                    said_by: SaidBy::Request,
                };
            }
            None if exchange.facts.is_connect => (&b"CONNECT"[..], Tunnel::Connect),
            Some(kind) if kind.eq_ignore_ascii_case(b"websocket") => (kind, Tunnel::WebSocket),
            kind => (kind.unwrap_or_default(), Tunnel::Upgrade),
        };
        let of_route = match found {
            RouteMatch::Route(selected) => match &selected.route.action {
                Action::Forward(forward) => forward.upgrades.find(kind),
                _ => None,
            },
            _ => None,
        };
        let place = self.upgrades.find(kind);
        let (allowed, said_by) = match (of_route, place) {
            (Some(upgrade), _) => (upgrade.enabled, SaidBy::Route(upgrade)),
            (None, Some(place)) => (self.upgrades.0[place].enabled, SaidBy::Manager(place)),
            (None, None) => (false, SaidBy::Nobody),
        };
        let no_route = matches!(found, RouteMatch::NoVirtualHost | RouteMatch::NoRoute(_));
        let outcome = if allowed {
            Outcome::Allowed { tunnel, place }
        } else if no_route {
            Outcome::NotFound
        } else {
            Outcome::Refused
        };
        Ruling {
            kind,
            outcome,
            said_by,
        }
    }
}

impl ConnectionManager {
    /// Lets the request ask for another protocol if it may; false when it must
    /// be refused.
    pub(super) fn may_upgrade(&self, exchange: &mut Exchange, found: &RouteMatch<'_>) -> bool {
        match self.shared.rule_on_upgrade(exchange, found).outcome {
            Outcome::Refused => return false,
            Outcome::NotFound => {
                if !exchange.facts.is_connect {
                    // Bytes of another protocol must not be taken for a request.
                    exchange.request_complete = false;
                    exchange.keep_alive = false;
                }
                return true;
            }
            Outcome::Allowed { tunnel, place } => {
                exchange.upgrade = place;
                exchange.tunnel = tunnel;
            }
        }
        // Whatever becomes of it: what the client sends behind it may be meant
        // for another protocol and is never taken for a request.
        exchange.keep_alive = false;
        let stats = &self.shared.stats;
        stats.downstream_cx_upgrades_total.inc();
        stats.downstream_cx_upgrades_active.inc();
        true
    }
}
