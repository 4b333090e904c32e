//! Connections that are no HTTP: the same bytes of clients and hosts for Envoy and
//! Ringway. What both sides read, what is logged and what is counted must be alike.

mod acts;
mod choices;
mod clusters;
mod failures;
mod filter_state;
mod listener_logs;
mod logs;
mod named_clusters;
mod operation;
mod proxying;
mod rbac;
mod rbac_data;
mod scene;
mod server_names;
mod small_filters;
mod sni_forward;
mod splices;
mod terminals;
mod tls;
mod tunnels;
