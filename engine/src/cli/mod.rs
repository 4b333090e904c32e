//! The command line: Envoy's flags with Envoy's names and meanings, and a few
//! of our own.
//!
//! [`Options`] is what was typed. A flag that is accepted only so that a start
//! script made for Envoy keeps working is told of by
//! [`Options::unsupported_flags`]; none is dropped in silence.

mod explain;
mod server_info;
mod values;

pub use self::explain::{ExplainOptions, Layout};
use crate::access_loggers;
use crate::admin::LogLevel;
use crate::reactor::DriverChoice;
use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Command {
    /// To serve, or to check a configuration.
    Serve(Box<Options>),
    /// To explain a request.
    Explain(Box<ExplainOptions>),
}

impl Command {
    /// Reads this process's command line. On a mistake, and for the flags that
    /// only ask something, prints and exits.
    pub fn parse() -> Self {
        let mut words = std::env::args_os();
        let program = words.next();
        if words.next().is_some_and(|word| word == "explain") {
            let words = program.into_iter().chain(words);
            return Command::Explain(Box::new(ExplainOptions::parse_from(words)));
        }
        Command::Serve(Box::new(Options::parse()))
    }
}

/// What was typed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ringway",
    about = "An edge proxy: Envoy v3 configuration on a thread-per-core io_uring engine",
    after_help = "`ringway explain --help`: what would happen to a request, and why.\n\
                  Without -c or --config-yaml an embedded example is started that shows what to try.\n\
                  Signals: SIGTERM and SIGINT drain and exit, SIGUSR1 reopens the log files.",
    disable_version_flag = true,
    max_term_width = 100
)]
pub struct Options {
    /// Configuration file: .yaml, .yml, .json, or .pb for an encoded Bootstrap
    #[arg(short = 'c', long, value_name = "FILE", help_heading = CONFIGURATION)]
    pub config_path: Option<PathBuf>,

    /// YAML text, merged over the file as protobuf merges messages
    #[arg(long, value_name = "YAML", help_heading = CONFIGURATION)]
    pub config_yaml: Option<String>,

    /// What to do with the configuration
    #[arg(long, value_enum, default_value_t = Mode::Serve, help_heading = CONFIGURATION)]
    pub mode: Mode,

    /// The same as --mode validate; sets [`Options::mode`].
    #[arg(long, help = "The same as --mode validate", help_heading = CONFIGURATION)]
    pub config_validate: bool,

    /// Warn about fields that the API does not have, instead of refusing them
    #[arg(long, alias = "allow-unknown-fields", help_heading = CONFIGURATION)]
    pub allow_unknown_static_fields: bool,

    /// Refuse unknown fields in what a management server sends
    #[arg(long, help_heading = CONFIGURATION)]
    pub reject_unknown_dynamic_fields: bool,

    /// Do not even warn about unknown fields in what a management server sends
    #[arg(long, help_heading = CONFIGURATION)]
    pub ignore_unknown_dynamic_fields: bool,

    /// Do not warn about deprecated fields
    #[arg(long, help_heading = CONFIGURATION)]
    pub skip_deprecated_logs: bool,

    /// Extensions to refuse, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = CONFIGURATION)]
    pub disable_extensions: Vec<String>,

    /// Node id to report; the configuration's node.id by default
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, help_heading = IDENTITY)]
    pub service_node: String,

    /// Cluster to report; the configuration's node.cluster by default
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, help_heading = IDENTITY)]
    pub service_cluster: String,

    /// Zone to report; the configuration's node.locality.zone by default
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, help_heading = IDENTITY)]
    pub service_zone: String,

    /// A tag of every statistic, repeatable
    #[arg(long, value_name = "TAG:VALUE", value_parser = values::stats_tag, help_heading = IDENTITY)]
    pub stats_tag: Vec<StatsTag>,

    /// Number of worker threads; by default one for each core this process may use
    #[arg(long, value_name = "N", help_heading = WORKERS)]
    pub concurrency: Option<u32>,

    /// Count the cores of the cpuset (always done)
    #[arg(long, help_heading = WORKERS)]
    pub cpuset_threads: bool,

    /// How workers talk to the kernel; auto is io_uring where it works
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = values::io_driver(), help_heading = WORKERS)]
    pub io_driver: DriverChoice,

    /// Least serious messages to log
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "info", value_parser = values::log_level(), help_heading = LOGGING)]
    pub log_level: LogLevel,

    /// Levels of components, such as upstream:debug,config:trace
    #[arg(long, value_name = "LEVELS", value_parser = values::component_log_level, help_heading = LOGGING)]
    pub component_log_level: Option<String>,

    /// File for the log; standard error by default
    #[arg(long, value_name = "FILE", help_heading = LOGGING)]
    pub log_path: Option<PathBuf>,

    /// Form of a log line, in spdlog's syntax
    #[arg(long, value_name = "FORMAT", default_value = LOG_FORMAT, hide_default_value = true, help_heading = LOGGING)]
    pub log_format: String,

    /// Escape control characters in log lines
    #[arg(long, help_heading = LOGGING)]
    pub log_format_escaped: bool,

    /// Levels of single source files
    #[arg(long, help_heading = LOGGING)]
    pub enable_fine_grain_logging: bool,

    /// Stack traces as one log line
    #[arg(long, help_heading = LOGGING)]
    pub log_stacktrace_single_entry: bool,

    /// Longest time that an access-log line stays buffered, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, help_heading = LOGGING)]
    pub file_flush_interval_msec: u32,

    /// Buffered access-log bytes that are written at once, in KiB
    #[arg(long, value_name = "KB", default_value_t = 64, help_heading = LOGGING)]
    pub file_flush_min_size_kb: u32,

    /// File to write the admin address to
    #[arg(long, value_name = "FILE", help_heading = PROCESS)]
    pub admin_address_path: Option<PathBuf>,

    /// IP version of the node's address
    #[arg(long, value_enum, value_name = "VERSION", default_value_t = IpVersion::V4, help_heading = PROCESS)]
    pub local_address_ip_version: IpVersion,

    /// Longest time to let requests in flight finish, in seconds
    #[arg(long, value_name = "S", default_value_t = 600, help_heading = PROCESS)]
    pub drain_time_s: u32,

    /// Discourage connections bit by bit over the drain time, or all at once
    #[arg(long, value_enum, value_name = "STRATEGY", default_value_t = DrainStrategy::Gradual, help_heading = PROCESS)]
    pub drain_strategy: DrainStrategy,

    /// Trace contention of locks
    #[arg(long, help_heading = PROCESS)]
    pub enable_mutex_tracing: bool,

    /// Allow core dumps
    #[arg(long, help_heading = PROCESS)]
    pub enable_core_dump: bool,

    /// Never take over from a running process
    #[arg(long, help_heading = HOT_RESTART)]
    pub disable_hot_restart: bool,

    /// Number that keeps servers on one machine apart
    #[arg(long, value_name = "ID", default_value_t = 0, help_heading = HOT_RESTART)]
    pub base_id: u32,

    /// Choose a free base id
    #[arg(long, help_heading = HOT_RESTART)]
    pub use_dynamic_base_id: bool,

    /// File to write the base id to
    #[arg(long, value_name = "FILE", help_heading = HOT_RESTART)]
    pub base_id_path: Option<PathBuf>,

    /// How many restarts came before
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = HOT_RESTART)]
    pub restart_epoch: u32,

    /// Time until the old process is stopped, in seconds
    #[arg(long, value_name = "S", default_value_t = 900, help_heading = HOT_RESTART)]
    pub parent_shutdown_time_s: u32,

    /// Socket over which processes talk
    #[arg(long, value_name = "PATH", default_value = "@envoy_domain_socket", help_heading = HOT_RESTART)]
    pub socket_path: String,

    /// Permissions of that socket, in octal
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = values::socket_mode, help_heading = HOT_RESTART)]
    pub socket_mode: u32,

    /// Start normally when there is no old process
    #[arg(long, help_heading = HOT_RESTART)]
    pub skip_hot_restart_on_no_parent: bool,

    /// Start with fresh statistics
    #[arg(long, help_heading = HOT_RESTART)]
    pub skip_hot_restart_parent_stats: bool,

    /// Print the hot-restart version
    #[arg(long, help_heading = HOT_RESTART)]
    pub hot_restart_version: bool,

    /// Print the version
    #[arg(long)]
    pub version: bool,
}

const CONFIGURATION: &str = "Configuration";
const IDENTITY: &str = "Identity";
const WORKERS: &str = "Workers";
const LOGGING: &str = "Logs";
const PROCESS: &str = "Process";
const HOT_RESTART: &str = "Hot restart (accepted for Envoy's scripts, not supported yet)";

/// Envoy's default, reported by `/server_info`.
const LOG_FORMAT: &str = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v";

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Check it and serve
    Serve,
    /// Check it and exit
    Validate,
    /// Start, initialise everything, and exit
    #[value(name = "init_only")]
    InitOnly,
}

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // The names say it.
pub enum IpVersion {
    V4,
    V6,
}

/// How connections are discouraged while draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DrainStrategy {
    /// With growing probability over the drain time.
    Gradual,
    /// All from the start.
    Immediate,
}

/// A tag that every statistic carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsTag {
    /// Letters, digits and underscores.
    pub name: String,
    /// Anything without dots.
    pub value: String,
}

impl Options {
    /// Reads this process's command line. On a mistake, and for the flags that
    /// only ask something, prints and exits: 1 for mistakes as Envoy does.
    pub fn parse() -> Self {
        match Self::try_parse_from(std::env::args_os()) {
            Ok(options) if options.version => answer(&version_line()),
            Ok(options) if options.hot_restart_version => answer(HOT_RESTART_VERSION),
            Ok(options) => options,
            Err(error) => {
                let _ = error.print();
                let asked = matches!(error.kind(), ErrorKind::DisplayHelp);
                std::process::exit(i32::from(!asked));
            }
        }
    }

    /// Reads a command line whose first word is the program. What follows `--`
    /// is ignored, as Envoy does.
    pub fn try_parse_from<I, T>(words: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString>,
    {
        let words = words.into_iter().map(Into::into);
        let words = words.take_while(|word: &OsString| word != "--");
        let mut options = <Self as Parser>::try_parse_from(words)?;
        if options.config_validate {
            options.mode = Mode::Validate;
        }
        for (i, tag) in options.stats_tag.iter().enumerate() {
            if options.stats_tag[..i].iter().any(|t| t.name == tag.name) {
                let reason = format!("the stats tag '{}' is given twice\n", tag.name);
                return Err(clap::Error::raw(ErrorKind::ValueValidation, reason));
            }
        }
        Ok(options)
    }

    /// Whether any configuration was given.
    pub fn has_configuration(&self) -> bool {
        self.config_path.is_some() || self.config_yaml.is_some()
    }

    /// [`Options::drain_time_s`] as a duration.
    pub fn drain_time(&self) -> Duration {
        Duration::from_secs(self.drain_time_s.into())
    }

    /// [`Options::file_flush_interval_msec`] as a duration.
    pub fn file_flush_interval(&self) -> Duration {
        Duration::from_millis(self.file_flush_interval_msec.into())
    }

    /// The name of the configuration in Envoy's messages: the file's, which is
    /// empty when there is only `--config-yaml`.
    pub fn config_name(&self) -> String {
        path_text(self.config_path.as_ref())
    }

    /// When access-log lines are written.
    pub fn log_writer_options(&self) -> access_loggers::Options {
        access_loggers::Options {
            flush_bytes: self.file_flush_min_size_kb as usize * 1024,
            flush_interval: self.file_flush_interval(),
        }
    }

    /// The flags that were given and do nothing yet, to be warned about at
    /// start.
    pub fn unsupported_flags(&self) -> Vec<&'static str> {
        let given = UNSUPPORTED.iter().filter(|(_, given)| given(self));
        given.map(|(flag, _)| *flag).collect()
    }
}

/// Answers a flag that only asks something, and exits.
fn answer(line: &str) -> ! {
    println!("{line}");
    std::process::exit(0)
}

/// What `--version` prints.
pub fn version_line() -> String {
    format!("ringway version: {}", env!("CARGO_PKG_VERSION"))
}

/// What `--hot-restart-version` prints: Envoy's word for "there is none".
pub const HOT_RESTART_VERSION: &str = "disabled";

/// A flag, and whether it was given.
type Unsupported = (&'static str, fn(&Options) -> bool);

/// The flags that are accepted so that a start script made for Envoy keeps
/// working. What they are for does not exist yet: xDS, hot restart, log
/// formats, tags.
const UNSUPPORTED: &[Unsupported] = &[
    ("--reject-unknown-dynamic-fields", |o| {
        o.reject_unknown_dynamic_fields
    }),
    ("--ignore-unknown-dynamic-fields", |o| {
        o.ignore_unknown_dynamic_fields
    }),
    ("--disable-extensions", |o| !o.disable_extensions.is_empty()),
    ("--stats-tag", |o| !o.stats_tag.is_empty()),
    ("--component-log-level", |o| o.component_log_level.is_some()),
    ("--log-format", |o| o.log_format != LOG_FORMAT),
    ("--log-format-escaped", |o| o.log_format_escaped),
    ("--enable-fine-grain-logging", |o| {
        o.enable_fine_grain_logging
    }),
    ("--log-stacktrace-single-entry", |o| {
        o.log_stacktrace_single_entry
    }),
    ("--enable-mutex-tracing", |o| o.enable_mutex_tracing),
    ("--enable-core-dump", |o| o.enable_core_dump),
    ("--base-id", |o| o.base_id != 0),
    ("--use-dynamic-base-id", |o| o.use_dynamic_base_id),
    ("--base-id-path", |o| o.base_id_path.is_some()),
    ("--restart-epoch", |o| o.restart_epoch != 0),
    ("--parent-shutdown-time-s", |o| {
        o.parent_shutdown_time_s != 900
    }),
    ("--socket-path", |o| o.socket_path != "@envoy_domain_socket"),
    ("--socket-mode", |o| o.socket_mode != 0o600),
    ("--skip-hot-restart-on-no-parent", |o| {
        o.skip_hot_restart_on_no_parent
    }),
    ("--skip-hot-restart-parent-stats", |o| {
        o.skip_hot_restart_parent_stats
    }),
];

fn path_text(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
