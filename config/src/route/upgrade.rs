//! `envoy.config.route.v3.RouteAction.UpgradeConfig`: which protocols a route
//! lets a connection change to, and whether CONNECT ends here.

use super::lower::all;
use crate::context::{Cx, Source};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::config::route::v3::route_action::UpgradeConfig;

/// The `upgrade_configs` of a route.
#[derive(Debug, Default)]
pub struct RouteUpgrades {
    list: Box<[RouteUpgrade]>,
    /// The `connect_config`, if there is one: CONNECT ends here and what
    /// follows it goes to the cluster as plain TCP.
    pub connect: Option<ConnectConfig>,
}

/// One of the `upgrade_configs`.
#[derive(Debug)]
pub struct RouteUpgrade {
    kind: Box<[u8]>,
    /// Whether the route turns this kind of upgrade on or off.
    pub enabled: bool,
    /// Where it was configured.
    pub source: Source,
}

/// A compiled `envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectConfig {
    /// The body of a POST is carried as plain TCP, too.
    pub allow_post: bool,
}

impl RouteUpgrades {
    /// What the route says of this kind of upgrade; `None` when it says nothing,
    /// and the connection manager decides.
    pub fn find(&self, kind: &[u8]) -> Option<&RouteUpgrade> {
        let mut list = self.list.iter();
        list.find(|upgrade| upgrade.kind.eq_ignore_ascii_case(kind))
    }

    /// Compiles the list, or reports why not.
    pub(super) fn lower(message: &proto::RouteAction, cx: &mut Cx<'_>) -> Option<Self> {
        let configs = &message.upgrade_configs;
        let mut connect = None;
        let mut earlier: Vec<(String, Source)> = Vec::with_capacity(configs.len());
        let list = all(configs, "upgrade_configs", cx, |config, cx| {
            let kind = config.upgrade_type.as_str();
            // The case does not count.
            let same = |(other, _): &&(String, Source)| other.eq_ignore_ascii_case(kind);
            if let Some((_, first)) = earlier.iter().find(same) {
                let path = &first.path;
                let error = format!("{kind:?} is configured by {path} already ({first})");
                cx.error_at("upgrade_type", error);
                return None;
            }
            earlier.push((kind.to_owned(), cx.source()));
            connect = connect.or(connect_config(config, cx)?);
            Some(RouteUpgrade {
                kind: config.upgrade_type.as_bytes().into(),
                enabled: config.enabled.is_none_or(|enabled| enabled.value),
                source: cx.source(),
            })
        })?;
        Some(Self { list, connect })
    }
}

/// `None` after an error.
fn connect_config(config: &UpgradeConfig, cx: &mut Cx<'_>) -> Option<Option<ConnectConfig>> {
    let kind = &config.upgrade_type;
    if kind.eq_ignore_ascii_case("CONNECT-UDP") {
        cx.error_at(
            "upgrade_type",
            "CONNECT-UDP is not supported yet: it needs HTTP/2 or HTTP/3",
        );
        return None;
    }
    let Some(connect) = &config.connect_config else {
        return Some(None);
    };
    if !kind.eq_ignore_ascii_case("CONNECT") {
        cx.error_at(
            "connect_config",
            format!("only upgrade_type CONNECT may have one, not {kind:?}"),
        );
        return None;
    }
    Some(Some(ConnectConfig {
        allow_post: connect.allow_post,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{Diagnostics, Marks};
    use crate::names::Names;
    use envoy_types::pb::envoy::config::route::v3::route_action::upgrade_config;
    use envoy_types::pb::google::protobuf::BoolValue;

    fn config(kind: &str) -> UpgradeConfig {
        UpgradeConfig {
            upgrade_type: kind.into(),
            ..UpgradeConfig::default()
        }
    }

    fn with_connect(kind: &str, allow_post: bool) -> UpgradeConfig {
        UpgradeConfig {
            connect_config: Some(upgrade_config::ConnectConfig {
                allow_post,
                ..Default::default()
            }),
            ..config(kind)
        }
    }

    /// What a list is lowered to, and the findings, one a line.
    fn lowered(upgrade_configs: Vec<UpgradeConfig>) -> (Option<RouteUpgrades>, String) {
        let message = proto::RouteAction {
            upgrade_configs,
            ..Default::default()
        };
        let mut diagnostics = Diagnostics::new();
        let marks = Marks::default();
        let names = Names::default();
        let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
        let upgrades = cx.field("route", |cx| RouteUpgrades::lower(&message, cx));
        let found: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
        (upgrades, found.join("\n"))
    }

    #[test]
    fn the_case_of_a_kind_does_not_count() {
        let off = UpgradeConfig {
            enabled: Some(BoolValue { value: false }),
            ..config("foo")
        };
        let (upgrades, found) = lowered(vec![config("WebSocket"), off]);
        assert_eq!(found, "");
        let upgrades = upgrades.expect("a list");
        assert_eq!(upgrades.connect, None);
        for (asked, allowed) in [
            ("websocket", Some(true)),
            ("WEBSOCKET", Some(true)),
            ("Foo", Some(false)),
            ("fo", None),
            ("websocket, foo", None),
            ("", None),
        ] {
            let found = upgrades.find(asked.as_bytes());
            assert_eq!(found.map(|one| one.enabled), allowed, "{asked}");
        }
    }

    #[test]
    fn connect_may_end_here() {
        let (upgrades, found) = lowered(vec![config("a"), with_connect("connect", true)]);
        assert_eq!(found, "");
        let connect = upgrades.expect("a list").connect;
        assert_eq!(connect, Some(ConnectConfig { allow_post: true }));
    }

    #[test]
    fn mistakes() {
        for (configs, expected) in [
            (
                vec![config("a"), config("b"), config("A")],
                "route.upgrade_configs[2].upgrade_type: \
                 \"A\" is configured by route.upgrade_configs[0] already \
                 (route.upgrade_configs[0])",
            ),
            (
                vec![with_connect("websocket", false)],
                "route.upgrade_configs[0].connect_config: \
                 only upgrade_type CONNECT may have one, not \"websocket\"",
            ),
            (
                vec![config("connect-udp")],
                "route.upgrade_configs[0].upgrade_type: \
                 CONNECT-UDP is not supported yet: it needs HTTP/2 or HTTP/3",
            ),
        ] {
            let (upgrades, found) = lowered(configs);
            assert!(upgrades.is_none());
            assert_eq!(found, expected);
        }
    }
}
