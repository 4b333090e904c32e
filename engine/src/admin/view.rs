//! What the admin server asks of the rest of the process.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::runtime::{BadValue, RuntimeLayers, RuntimeValues};
use serde_json::{Value, json};

use crate::explain::{Fact, Question};

/// The process as the admin server sees it. Methods are called on the admin
/// thread, one request at a time; they may take a lock for a short while and
/// must not wait for a worker.
pub trait ServerView: Send + Sync {
    /// Where the process is in its life; decides `/ready`.
    fn state(&self) -> ServerState;
    /// Active listeners, in the order of the configuration.
    fn listeners(&self) -> Vec<ListenerStatus>;
    /// Active clusters, in the order in which they are to be shown.
    fn clusters(&self) -> Vec<ClusterStatus>;
    /// `envoy.admin.v3.ConfigDump` as proto JSON with the field names of the
    /// proto files: `{"configs": [{"@type": …}, …]}`. With `include_eds`, the
    /// endpoints too.
    fn config_dump(&self, include_eds: bool) -> Value;
    /// Build, uptime, command line, node.
    fn server_info(&self) -> ServerInfo;
    /// Since the first process of a chain of hot restarts started, for
    /// `server.uptime`.
    fn uptime(&self) -> Duration {
        self.server_info().uptime_all_epochs
    }
    /// `envoy.admin.v3.Certificates` as proto JSON.
    fn certs(&self) -> Value {
        json!({ "certificates": [] })
    }
    /// When the first certificate ends, and the first response of OCSP.
    fn expiry(&self) -> Expiry {
        Expiry::default()
    }
    /// Downstream connections of all listeners, for `server.total_connections`.
    fn connections(&self) -> u64 {
        0
    }
    /// What would happen to a request.
    ///
    /// # Errors
    /// The question asks for something that does not exist.
    fn explain(&self, question: &Question) -> Result<Fact, String>;
    /// Hosts that outlier detection has ejected, by cluster.
    fn outliers(&self) -> Vec<OutlierStatus> {
        Vec::new()
    }
    /// The loggers and their levels, in the order in which they are to be shown.
    fn loggers(&self) -> Vec<(String, LogLevel)>;
    /// The layers of the runtime.
    fn runtime(&self) -> RuntimeLayers {
        RuntimeLayers::default()
    }
    /// Sets keys of the admin layer, in their order.
    ///
    /// # Errors
    /// See [`RuntimeLayers::modify`]; nothing is changed then.
    fn modify_runtime(&self, _changes: &[(String, String)]) -> Result<(), BadValue> {
        Err(BadValue::NoAdminLayer)
    }
    /// Does what a `POST` asked for. Returns at once: draining and quitting go
    /// on by themselves.
    fn act(&self, action: Action);
}

/// `envoy.admin.v3.ServerInfo.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Serving.
    Live,
    /// Draining, or failing health checks on request.
    Draining,
    /// Waiting for the clusters' first configuration.
    PreInitializing,
    /// Waiting for the listeners' first configuration.
    Initializing,
}

impl ServerState {
    /// The name in the proto file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::PreInitializing => "PRE_INITIALIZING",
            Self::Initializing => "INITIALIZING",
        }
    }

    /// The number in the proto file, which `server.state` shows.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Live => 0,
            Self::Draining => 1,
            Self::PreInitializing => 2,
            Self::Initializing => 3,
        }
    }
}

/// An address as admin shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:80`, `[::1]:80`.
    Socket(SocketAddr),
    /// A Unix socket.
    Pipe(PathBuf),
}

impl Address {
    /// `envoy.config.core.v3.Address` as proto JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Socket(address) => {
                let mut socket = json!({ "address": address.ip().to_string() });
                // Zero is the default of the proto field and is not printed.
                if address.port() != 0 {
                    socket["port_value"] = address.port().into();
                }
                json!({ "socket_address": socket })
            }
            Self::Pipe(path) => json!({ "pipe": { "path": path.to_string_lossy() } }),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Pipe(path) => path.display().fmt(f),
        }
    }
}

/// How long what is in use holds, for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Whole days of the certificate that ends first; the largest number without any.
    pub certificate_days: u32,
    /// Seconds of the response of OCSP that ends first, if there is one.
    pub ocsp_seconds: Option<u64>,
}

impl Default for Expiry {
    fn default() -> Self {
        Self {
            certificate_days: u32::MAX,
            ocsp_seconds: None,
        }
    }
}

/// A line of `/listeners`.
#[derive(Clone, Debug)]
pub struct ListenerStatus {
    /// The listener's name.
    pub name: String,
    /// Where it listens, with the port that the kernel chose for port 0.
    pub local_address: Address,
    /// `additional_addresses`, likewise.
    pub additional_local_addresses: Vec<Address>,
}

/// A cluster of `/clusters`.
#[derive(Clone, Debug, Default)]
pub struct ClusterStatus {
    /// The cluster's name.
    pub name: String,
    /// `alt_stat_name`, or the name.
    pub observability_name: String,
    /// The EDS service name, if it has one.
    pub eds_service_name: Option<String>,
    /// Whether it came by CDS.
    pub added_via_api: bool,
    /// Circuit breakers of the default priority.
    pub default_thresholds: Thresholds,
    /// Circuit breakers of the high priority.
    pub high_thresholds: Thresholds,
    /// With outlier detection: what success rates were compared with in the
    /// last interval, the mean and the threshold, for errors of the hosts and
    /// of the proxy.
    pub success_rates: Option<[Option<(f64, f64)>; 2]>,
    /// Statistics list its hosts (`track_cluster_stats.per_endpoint_stats`).
    pub per_endpoint_stats: bool,
    /// By priority, then in the order of the configuration.
    pub hosts: Vec<HostStatus>,
}

/// A host of `/outliers`.
#[derive(Clone, Debug)]
pub struct OutlierStatus {
    /// Its cluster.
    pub cluster: String,
    /// Where it is.
    pub address: Address,
    /// What found it out.
    pub detector: &'static str,
    /// The numbers that made it an outlier.
    pub reason: String,
    /// How long it has been ejected.
    pub ejected: Duration,
    /// For how much longer it is at least.
    pub remaining: Duration,
    /// How often it has been ejected, this time included.
    pub ejections: u32,
}

/// Limits of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of Envoy's fields say it")]
pub struct Thresholds {
    pub max_connections: u32,
    pub max_pending_requests: u32,
    pub max_requests: u32,
    pub max_retries: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
        }
    }
}

/// A host of a cluster.
#[derive(Clone, Debug)]
pub struct HostStatus {
    /// Where it is.
    pub address: Address,
    /// Its name, or empty.
    pub hostname: String,
    /// What was counted with it, summed over the workers.
    pub stats: HostStats,
    /// Why it is not used, if so.
    pub health: HealthFlags,
    /// 1 or more.
    pub weight: u32,
    /// Where it is, coarsely.
    pub locality: Locality,
    /// Marked by metadata.
    pub canary: bool,
    /// 0 is the highest.
    pub priority: u32,
    /// Percent, when outlier detection has computed it.
    pub success_rate: Option<f64>,
    /// Percent, when outlier detection has computed it.
    pub local_origin_success_rate: Option<f64>,
}

/// Counters and gauges of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of Envoy's statistics say it")]
pub struct HostStats {
    pub cx_connect_fail: u64,
    pub cx_total: u64,
    pub rq_error: u64,
    pub rq_success: u64,
    pub rq_timeout: u64,
    pub rq_total: u64,
    pub cx_active: u64,
    pub rq_active: u64,
    pub rq_pending_active: u64,
}

/// `envoy.admin.v3.HostHealthStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of Envoy's flags say it")]
pub struct HealthFlags {
    pub failed_active_hc: bool,
    pub failed_outlier_check: bool,
    pub failed_eds_health: bool,
    pub degraded_active_hc: bool,
    pub degraded_eds_health: bool,
    pub pending_dynamic_removal: bool,
    pub pending_active_hc: bool,
    pub excluded_via_immediate_hc_fail: bool,
    pub active_hc_timeout: bool,
    pub eds_status_draining: bool,
    pub degraded_outlier_detection: bool,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of Envoy's fields say it")]
pub struct Locality {
    pub region: String,
    pub zone: String,
    pub sub_zone: String,
}

/// The answer to `/server_info`, but for the state.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// `<revision>/<version>/<clean or modified>/<build type>/<TLS library>`.
    pub version: String,
    /// Since this process started.
    pub uptime_current_epoch: Duration,
    /// Since the first process of a chain of hot restarts started.
    pub uptime_all_epochs: Duration,
    /// What `--hot-restart-version` prints.
    pub hot_restart_version: String,
    /// `envoy.admin.v3.CommandLineOptions` as proto JSON.
    pub command_line_options: Value,
    /// `envoy.config.core.v3.Node` as proto JSON.
    pub node: Value,
}

/// Envoy's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    Critical,
    Off,
}

impl LogLevel {
    /// All of them, the most talkative first.
    pub const ALL: [Self; 7] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Off,
    ];

    /// The name on the command line and in `/logging`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Off => "off",
        }
    }

    /// The level with this name; `warn` is another name of `warning`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "warn" => Some(Self::Warning),
            _ => Self::ALL.into_iter().find(|level| level.as_str() == name),
        }
    }

    /// The level of `tracing` that lets the same messages through, of which
    /// the gravest is `ERROR`.
    #[must_use]
    pub fn filter(self) -> tracing::level_filters::LevelFilter {
        use tracing::level_filters::LevelFilter;
        match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warning => LevelFilter::WARN,
            Self::Error | Self::Critical => LevelFilter::ERROR,
            Self::Off => LevelFilter::OFF,
        }
    }
}

/// What a `POST` asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Stop the listeners.
    DrainListeners {
        /// Let connections finish for the drain time first.
        graceful: bool,
        /// Only listeners whose `traffic_direction` is `INBOUND`.
        inbound_only: bool,
        /// Drain connections, but never stop the listeners.
        skip_exit: bool,
    },
    /// Exit with status 0.
    Quit,
    /// Fail health checks from now on; [`ServerView::state`] shows `DRAINING`.
    HealthcheckFail,
    /// Pass health checks again.
    HealthcheckOk,
    /// Open the access logs anew, after a rotation.
    ReopenLogs,
    /// Workers are to use these values from now on.
    Runtime(Arc<RuntimeValues>),
    /// Change a logger's level, or that of all.
    SetLogLevel {
        /// One of [`ServerView::loggers`], or all.
        logger: Option<String>,
        /// The new level.
        level: LogLevel,
    },
}
