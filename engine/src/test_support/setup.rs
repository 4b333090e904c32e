//! A configuration in the order of a test: Envoy's YAML, loaded, checked,
//! lowered and compiled as a file is.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use envoy_types::pb::google::protobuf::Any;
use ringway_config::load::{Format, LoadOptions, load};
use ringway_config::{Cx, Diagnostics, bootstrap};

use crate::control::cluster_manager::ClusterManager;
use crate::server::compile::{Compiled, compile};
use crate::stats::Store;
use crate::upstream::cluster::Cluster;

/// Loads a connection manager with these lines, which are indented by ten, and has its
/// message looked at where it is; with what is found, also before that.
pub(crate) fn at_manager<T>(
    lines: &str,
    look: impl FnOnce(&Any, &mut Cx<'_>) -> T,
) -> Result<(T, Diagnostics), Diagnostics> {
    let text = format!(
        "\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          '@type': {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          route_config: {{}}
{lines}"
    );
    let loaded = load(&text, "f.yaml", Format::Yaml, &LoadOptions::default())?;
    let snapshot = bootstrap::lower(&loaded)?;
    let chain = snapshot.listeners[0].chains().next().expect("it has one");
    let manager = &chain.filters[0];
    let mut found = Diagnostics::new();
    let file = Arc::clone(&loaded.file);
    let mut cx = Cx::new(&mut found, &loaded.marks, file, &snapshot.names);
    let seen = cx.at(&manager.path, |cx| look(&manager.config, cx));
    Ok((seen, found))
}

/// One listener with a connection manager in front of one cluster, `host`.
/// The parts are pieces of flow mappings that end with a comma.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// Fields of the listener.
    pub listener: &'static str,
    /// Fields of the connection manager.
    pub manager: &'static str,
    /// HTTP filters before the router.
    pub filters: &'static str,
    /// All routes.
    pub routes: &'static str,
    /// Fields of the cluster.
    pub cluster: &'static str,
    /// More clusters.
    pub more_clusters: &'static str,
    /// `common_http_protocol_options` of the cluster.
    pub cluster_http: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listener: "",
            manager: "",
            filters: "",
            routes: r#"{ match: { prefix: "/" }, route: { cluster: host } },"#,
            cluster: "",
            more_clusters: "",
            cluster_http: "",
        }
    }
}

impl Setup {
    /// Compiles the configuration with `host` as the cluster's only endpoint.
    pub fn compile(&self, host: SocketAddr) -> Compiled {
        let text = self.text(host);
        let loaded = load(&text, "test.yaml", Format::Yaml, &LoadOptions::default())
            .unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        compile(&loaded).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
    }

    /// The cluster alone, on the current thread.
    pub fn cluster(&self, host: SocketAddr, store: &Store) -> Rc<Cluster> {
        let compiled = self.compile(host);
        let clusters = ClusterManager::new(
            &compiled.snapshot,
            Arc::default(),
            &Default::default(),
            store,
        );
        let shared = clusters.shared().next().expect("it has one");
        Cluster::new(Arc::clone(shared), 0, store)
    }

    fn text(&self, host: SocketAddr) -> String {
        let Self {
            listener,
            manager,
            filters,
            routes,
            cluster,
            more_clusters,
            cluster_http,
        } = self;
        // A flow mapping must not touch the first column.
        let routes = routes.trim();
        let (ip, port) = (host.ip(), host.port());
        format!(
            r#"
static_resources:
  listeners:
  - {{
      name: test,
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }},
      {listener}
      filter_chains: [ {{ filters: [ {{
        name: envoy.filters.network.http_connection_manager,
        typed_config: {{
          "@type": "{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
          stat_prefix: test,
          {manager}
          route_config: {{ virtual_hosts: [ {{ name: all, domains: ["*"], routes: [ {routes} ] }} ] }},
          http_filters: [
            {filters}
            {{
              name: envoy.filters.http.router,
              typed_config: {{ "@type": "{TYPES}.filters.http.router.v3.Router" }}
            }}
          ]
        }}
      }} ] }} ]
    }}
  clusters:
  - {{
      name: host,
      type: STATIC,
      {cluster}
      typed_extension_protocol_options: {{
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{
          "@type": "{TYPES}.upstreams.http.v3.HttpProtocolOptions",
          common_http_protocol_options: {{ {cluster_http} }},
          explicit_http_config: {{ http_protocol_options: {{}} }}
        }}
      }},
      load_assignment: {{ cluster_name: host, endpoints: [ {{ lb_endpoints: [ {{
        endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }}
      }} ] }} ] }}
    }}
  {more_clusters}
"#
        )
    }
}

/// Where Envoy's extension messages are.
const TYPES: &str = "type.googleapis.com/envoy.extensions";
