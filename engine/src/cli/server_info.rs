//! The command line as the admin server shows it.

use super::{DrainStrategy, IpVersion, Mode, Options, path_text};
use crate::worker::cpu;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

impl Options {
    /// Puts what the `--service-…` flags give into the JSON form of the
    /// configuration's node, over what it says itself, as Envoy does.
    pub fn override_node(&self, node: &mut Value) {
        if !self.service_node.is_empty() {
            node["id"] = json!(self.service_node);
        }
        if !self.service_cluster.is_empty() {
            node["cluster"] = json!(self.service_cluster);
        }
        if !self.service_zone.is_empty() {
            node["locality"]["zone"] = json!(self.service_zone);
        }
    }

    /// The options as Envoy's `/server_info` reports them.
    pub fn command_line_options_json(&self) -> Value {
        let path = |path: &Option<PathBuf>| path_text(path.as_ref());
        let mode = match self.mode {
            Mode::Serve => "Serve",
            Mode::Validate => "Validate",
            Mode::InitOnly => "InitOnly",
        };
        let ip_version = match self.local_address_ip_version {
            IpVersion::V4 => "v4",
            IpVersion::V6 => "v6",
        };
        let drain_strategy = match self.drain_strategy {
            DrainStrategy::Gradual => "Gradual",
            DrainStrategy::Immediate => "Immediate",
        };
        let tags = self.stats_tag.iter();
        let tags: Vec<String> = tags.map(|t| format!("{}:{}", t.name, t.value)).collect();
        json!({
            "base_id": self.base_id.to_string(),
            "concurrency": cpu::placement(self.concurrency).len(),
            "config_path": path(&self.config_path),
            "config_yaml": self.config_yaml.as_deref().unwrap_or(""),
            "allow_unknown_static_fields": self.allow_unknown_static_fields,
            "admin_address_path": path(&self.admin_address_path),
            "local_address_ip_version": ip_version,
            "log_level": self.log_level.as_str(),
            "component_log_level": self.component_log_level.as_deref().unwrap_or(""),
            "log_format": self.log_format,
            "log_path": path(&self.log_path),
            "service_cluster": self.service_cluster,
            "service_node": self.service_node,
            "service_zone": self.service_zone,
            "file_flush_interval": duration_text(self.file_flush_interval()),
            "drain_time": duration_text(self.drain_time()),
            "parent_shutdown_time":
                duration_text(Duration::from_secs(self.parent_shutdown_time_s.into())),
            "mode": mode,
            "disable_hot_restart": self.disable_hot_restart,
            "enable_mutex_tracing": self.enable_mutex_tracing,
            "restart_epoch": self.restart_epoch,
            "cpuset_threads": self.cpuset_threads,
            "reject_unknown_dynamic_fields": self.reject_unknown_dynamic_fields,
            "log_format_escaped": self.log_format_escaped,
            "disabled_extensions": self.disable_extensions,
            "ignore_unknown_dynamic_fields": self.ignore_unknown_dynamic_fields,
            "use_dynamic_base_id": self.use_dynamic_base_id,
            "base_id_path": path(&self.base_id_path),
            "drain_strategy": drain_strategy,
            "enable_fine_grain_logging": self.enable_fine_grain_logging,
            "socket_path": self.socket_path,
            // Envoy 1.40 reports 0 here and below, whatever was given.
            "socket_mode": 0,
            "enable_core_dump": self.enable_core_dump,
            "stats_tag": tags,
            "skip_hot_restart_on_no_parent": self.skip_hot_restart_on_no_parent,
            "skip_hot_restart_parent_stats": self.skip_hot_restart_parent_stats,
            "skip_deprecated_logs": self.skip_deprecated_logs,
            "file_flush_min_size": 0,
            "log_stacktrace_single_entry": self.log_stacktrace_single_entry,
        })
    }
}

/// A duration as protobuf's JSON writes it: seconds with 0, 3, 6 or 9 decimals.
fn duration_text(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match millis {
        0 => format!("{seconds}s"),
        _ => format!("{seconds}.{millis:03}s"),
    }
}
