//! What the process counts: `server.`, the managers, files, watchdogs.
//!
//! All that Envoy 1.40 lists for a static configuration is here, also what has
//! no meaning in this process and stays zero.

use super::Store;
use crate::stats_struct;

/// All statistics of the process that exist whatever is configured.
#[derive(Clone, Debug)]
pub struct ProcessStats {
    /// `server.`
    pub server: ServerStats,
    /// `listener_manager.`
    pub listener_manager: ListenerManagerStats,
    /// `cluster_manager.`
    pub cluster_manager: ClusterManagerStats,
    /// `filesystem.`
    pub filesystem: FilesystemStats,
    /// `runtime.`
    pub runtime: RuntimeStats,
    /// `server.main_thread.`, then `server.worker_<n>.`
    pub watchdogs: Vec<WatchdogStats>,
    /// `main_thread.`
    pub main_watchdog: WatchdogStats,
    /// `workers.`
    pub worker_watchdog: WatchdogStats,
}

impl ProcessStats {
    /// Registers them for a process with `workers` workers.
    #[must_use]
    pub fn new(store: &Store, workers: u32) -> Self {
        register_placeholders(store, workers);
        let threads = std::iter::once("main_thread".to_owned())
            .chain((0..workers).map(|worker| format!("worker_{worker}")));
        Self {
            server: ServerStats::new(store, "server."),
            listener_manager: ListenerManagerStats::new(store, "listener_manager."),
            cluster_manager: ClusterManagerStats::new(store, "cluster_manager."),
            filesystem: FilesystemStats::new(store, "filesystem."),
            runtime: RuntimeStats::new(store, "runtime."),
            watchdogs: threads
                .map(|thread| WatchdogStats::new(store, &format!("server.{thread}.")))
                .collect(),
            main_watchdog: WatchdogStats::new(store, "main_thread."),
            worker_watchdog: WatchdogStats::new(store, "workers."),
        }
    }
}

/// Names that Envoy lists and that nothing here moves: dashboards and scripts
/// that ask for them find them.
fn register_placeholders(store: &Store, workers: u32) {
    let _ = store.counter("envoy.overload_actions.reset_high_memory_stream.count");
    let _ = store.histogram("overload.refresh_interval_delay", super::Unit::Milliseconds);
    let _ = store.gauge("server.compilation_settings.fips_mode");
    // Look-ups in Envoy's table of symbols.
    let _ = store.gauge("server.stats_recent_lookups");
    let _ = super::http_connection_manager::RouterStats::new(store, "http.async-client.");
    let threads = std::iter::once("main_thread".to_owned())
        .chain((0..workers).map(|worker| format!("worker_{worker}")));
    for thread in threads {
        let name = format!("thread_local_cluster_manager.{thread}.clusters_inflated");
        let _ = store.gauge(&name);
    }
}

stats_struct! {
    /// The process: under `server.`.
    pub struct ServerStats {
        counters: [
            debug_assertion_failures,
            dropped_stat_flushes,
            dynamic_unknown_fields,
            envoy_bug_failures,
            envoy_notifications,
            static_unknown_fields,
            wip_protos,
        ],
        gauges: [
            concurrency,
            days_until_first_cert_expiring,
            hot_restart_epoch,
            hot_restart_generation,
            live,
            memory_allocated,
            memory_heap_size,
            memory_physical_size,
            parent_connections,
            seconds_until_first_ocsp_response_expiring,
            state,
            total_connections,
            uptime,
            version,
        ],
        histograms: [initialization_time_ms: Milliseconds],
    }
}

stats_struct! {
    /// Listeners as a whole: under `listener_manager.`.
    pub struct ListenerManagerStats {
        counters: [
            listener_added,
            listener_create_failure,
            listener_create_success,
            listener_in_place_updated,
            listener_modified,
            listener_removed,
            listener_stopped,
        ],
        gauges: [
            total_filter_chains_draining,
            total_listeners_active,
            total_listeners_draining,
            total_listeners_warming,
            workers_pinned,
            workers_started,
        ],
    }
}

stats_struct! {
    /// Clusters as a whole: under `cluster_manager.`.
    pub struct ClusterManagerStats {
        counters: [
            cluster_added,
            cluster_modified,
            cluster_removed,
            cluster_updated,
            cluster_updated_via_merge,
            update_merge_cancelled,
            update_out_of_merge_window,
        ],
        gauges: [active_clusters, warming_clusters],
    }
}

stats_struct! {
    /// Files that are written, such as access logs: under `filesystem.`.
    pub struct FilesystemStats {
        counters: [
            flushed_by_timer,
            reopen_failed,
            write_buffered,
            write_completed,
            write_failed,
        ],
        gauges: [write_total_buffered],
    }
}

stats_struct! {
    /// Runtime values: under `runtime.`.
    pub struct RuntimeStats {
        counters: [
            deprecated_feature_use,
            load_error,
            load_success,
            override_dir_exists,
            override_dir_not_exists,
        ],
        gauges: [
            admin_overrides_active,
            deprecated_feature_seen_since_process_start,
            num_keys,
            num_layers,
        ],
    }
}

stats_struct! {
    /// How often a thread, or one of a kind of threads, did not report in time.
    pub struct WatchdogStats {
        counters: [watchdog_mega_miss, watchdog_miss],
    }
}

stats_struct! {
    /// The admin server's own listener: under `listener.admin.`.
    pub struct AdminListenerStats {
        counters: [
            downstream_cx_destroy,
            downstream_cx_overflow,
            downstream_cx_overload_reject,
            downstream_cx_total,
            downstream_cx_transport_socket_connect_timeout,
            downstream_global_cx_overflow,
            downstream_listener_filter_error,
            downstream_listener_filter_remote_close,
            downstream_pre_cx_timeout,
            no_filter_chain_match,
        ],
        gauges: [downstream_cx_active, downstream_pre_cx_active],
        histograms: [
            connections_accepted_per_socket_event: Unspecified,
            downstream_cx_length_ms: Milliseconds,
        ],
    }
}
