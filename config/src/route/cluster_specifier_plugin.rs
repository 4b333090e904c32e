//! Cluster specifier plugins (`envoy.router.cluster_specifier_plugin.*`):
//! extensions that choose a request's cluster.
//!
//! A plugin is a variant of [`Plugin`], a file with its compiled type, and a
//! line in [`Plugin::compile`].

use crate::context::{Cx, Source, type_name};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::google::protobuf::Any;
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled plugin.
#[derive(Debug)]
pub enum Plugin {
    /// Of a type that is not there, and optional: routes that use it are
    /// passed over.
    Unknown,
}

impl Plugin {
    /// Compiles the message, or reports why not.
    pub(super) fn lower(message: &proto::ClusterSpecifierPlugin, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(extension) = &message.extension else {
            cx.error_at("extension", "is required");
            return None;
        };
        cx.field("extension", |cx| {
            let Some(config) = &extension.typed_config else {
                cx.error_at("typed_config", "is required");
                return None;
            };
            cx.field("typed_config", |cx| {
                Self::compile(config, message.is_optional, cx)
            })
        })
    }

    /// Types of Envoy's that cannot be had yet are for Ringway what unknown
    /// ones are for Envoy. Those that are not optional do not come here: the
    /// support table refuses them.
    fn compile(config: &Any, is_optional: bool, cx: &mut Cx<'_>) -> Option<Self> {
        match type_name(&config.type_url) {
            name if is_optional => {
                cx.warn(format!(
                    "routes that use this plugin are passed over: it is optional, and there is \
                     none of the type {name:?}"
                ));
                Some(Plugin::Unknown)
            }
            name => {
                cx.error(format!("{name:?} is not a cluster specifier plugin"));
                None
            }
        }
    }
}

/// `RouteConfiguration.cluster_specifier_plugins`, by name.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    by_name: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// `None` when it could not be compiled, which was reported.
    plugin: Option<Arc<Plugin>>,
    source: Source,
}

impl Plugins {
    /// Compiles the plugins of a route configuration. Their names must be
    /// unique, as the API says; Envoy accepts two and uses one of them.
    pub(super) fn lower(messages: &[proto::ClusterSpecifierPlugin], cx: &mut Cx<'_>) -> Self {
        let mut plugins = Plugins::default();
        for (i, message) in messages.iter().enumerate() {
            cx.index("cluster_specifier_plugins", i, |cx| {
                let plugin = Plugin::lower(message, cx).map(Arc::new);
                let name = message.extension.as_ref().map_or("", |e| e.name.as_str());
                if let Some(first) = plugins.by_name.get(name) {
                    cx.error_at(
                        "extension.name",
                        format!(
                            "{name:?} is the name of {} already ({})",
                            first.source.path, first.source
                        ),
                    );
                    return;
                }
                let source = cx.source();
                plugins
                    .by_name
                    .insert(name.to_owned(), Entry { plugin, source });
            });
        }
        plugins
    }

    /// The plugin of this name, or a report that there is none.
    pub(super) fn find(&self, name: &str, cx: &mut Cx<'_>) -> Option<Arc<Plugin>> {
        match self.by_name.get(name) {
            Some(entry) => entry.plugin.clone(),
            None => {
                cx.error(format!(
                    "no plugin of the name {name:?} is in cluster_specifier_plugins"
                ));
                None
            }
        }
    }
}
