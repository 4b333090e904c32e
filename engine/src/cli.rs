//! The command line: Envoy's flags with Envoy's names and meanings, and a few
//! of our own.
//!
//! [`Options`] is what was typed. A flag that is accepted only so that a start
//! script made for Envoy keeps working is told of by
//! [`Options::unsupported_flags`]; none is dropped in silence.

use crate::access_loggers;
use crate::admin::LogLevel;
use crate::reactor::DriverChoice;
use crate::worker::cpu;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// What was typed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ringway",
    about = "An edge proxy: Envoy v3 configuration on a thread-per-core io_uring engine",
    after_help = "Without -c or --config-yaml an embedded example is started that shows what to try.\n\
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
    #[arg(long, value_name = "TAG:VALUE", value_parser = stats_tag, help_heading = IDENTITY)]
    pub stats_tag: Vec<StatsTag>,

    /// Number of worker threads; by default one for each core this process may use
    #[arg(long, value_name = "N", help_heading = WORKERS)]
    pub concurrency: Option<u32>,

    /// Count the cores of the cpuset (always done)
    #[arg(long, help_heading = WORKERS)]
    pub cpuset_threads: bool,

    /// How workers talk to the kernel; auto is io_uring where it works
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = io_driver(), help_heading = WORKERS)]
    pub io_driver: DriverChoice,

    /// Least serious messages to log
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "info", value_parser = log_level(), help_heading = LOGGING)]
    pub log_level: LogLevel,

    /// Levels of components, such as upstream:debug,config:trace
    #[arg(long, value_name = "LEVELS", value_parser = component_log_level, help_heading = LOGGING)]
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
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = socket_mode, help_heading = HOT_RESTART)]
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

    /// What follows `--` is ignored, as Envoy does.
    #[arg(last = true, hide = true)]
    pub ignored: Vec<String>,
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
    /// Reads this process's command line. On a mistake, and for `--help`,
    /// prints and exits: 1 for mistakes as Envoy does, 0 for help.
    pub fn parse() -> Self {
        match Self::try_parse_from(std::env::args_os()) {
            Ok(options) => options,
            Err(error) => {
                let _ = error.print();
                let asked = matches!(error.kind(), ErrorKind::DisplayHelp);
                std::process::exit(i32::from(!asked));
            }
        }
    }

    /// Reads a command line whose first word is the program.
    pub fn try_parse_from<I, T>(words: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
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

    /// The flags that were given and do nothing yet, to be warned about at
    /// start.
    pub fn unsupported_flags(&self) -> Vec<&'static str> {
        let given = UNSUPPORTED.iter().filter(|(_, given)| given(self));
        given.map(|(flag, _)| *flag).collect()
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

fn stats_tag(text: &str) -> Result<StatsTag, String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err(format!(
            "misformatted stats-tag '{text}', expected TAG:VALUE"
        ));
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!(
            "the tag name '{name}' may have only letters, digits and _"
        ));
    }
    if value.is_empty() || value.contains('.') {
        return Err(format!(
            "the tag value '{value}' may not be empty or have dots"
        ));
    }
    Ok(StatsTag {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// Envoy's level names; `warn` stands for `warning`.
fn log_level() -> impl TypedValueParser<Value = LogLevel> {
    let names = LogLevel::ALL.into_iter().map(|level| {
        let name = PossibleValue::new(level.as_str());
        match level {
            LogLevel::Warning => name.alias("warn"),
            _ => name,
        }
    });
    PossibleValuesParser::new(names)
        .map(|name| LogLevel::parse(&name).expect("only these names are possible"))
}

fn io_driver() -> impl TypedValueParser<Value = DriverChoice> {
    PossibleValuesParser::new(["auto", "io_uring", "epoll"]).try_map(|name| name.parse())
}

fn component_log_level(text: &str) -> Result<String, String> {
    for part in text.split(',') {
        let Some((component, level)) = part.split_once(':') else {
            return Err(format!(
                "component log level not correctly specified '{part}'"
            ));
        };
        if component.is_empty() {
            return Err(format!("invalid component specified '{component}'"));
        }
        if LogLevel::parse(level).is_none() {
            return Err(format!("invalid log level specified '{level}'"));
        }
    }
    Ok(text.to_owned())
}

fn socket_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("error: invalid socket-mode '{text}'"))
}

/// A duration as protobuf's JSON writes it: seconds with 0, 3, 6 or 9 decimals.
fn duration_text(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match millis {
        0 => format!("{seconds}s"),
        _ => format!("{seconds}.{millis:03}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &str) -> Result<Options, String> {
        let words = std::iter::once("ringway").chain(words.split_whitespace());
        Options::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn clap_finds_no_contradiction() {
        Options::command().debug_assert();
    }

    #[test]
    fn defaults_are_envoys() {
        let options = parse("").expect("nothing is required");
        assert!(!options.has_configuration());
        assert_eq!(options.mode, Mode::Serve);
        assert_eq!(options.log_level, LogLevel::Info);
        assert_eq!(options.concurrency, None);
        assert_eq!(options.drain_time(), Duration::from_secs(600));
        assert_eq!(options.file_flush_interval(), Duration::from_secs(10));
        assert_eq!(options.unsupported_flags(), [""; 0]);
        let json = options.command_line_options_json();
        assert_ne!(json["concurrency"], 0);
        assert_eq!(json["parent_shutdown_time"], "900s");
        assert_eq!(json["log_format"], LOG_FORMAT);
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(39));
    }

    #[test]
    fn flags_as_envoys_users_write_them() {
        let options = parse(
            "-c /etc/envoy.yaml -l warn --mode validate --concurrency 0 --io-driver io_uring \
             --file-flush-interval-msec=1500 --stats-tag a:b --stats-tag c:d:e \
             --drain-strategy immediate --disable-extensions x,y --allow-unknown-fields \
             --component-log-level upstream:debug,config:trace -- --whatever follows",
        )
        .expect("all are valid");
        assert_eq!(options.config_path, Some("/etc/envoy.yaml".into()));
        assert_eq!(options.log_level, LogLevel::Warning);
        assert_eq!(options.mode, Mode::Validate);
        assert_eq!(options.concurrency, Some(0));
        assert_eq!(options.io_driver, DriverChoice::IoUring);
        assert!(options.allow_unknown_static_fields);
        let json = options.command_line_options_json();
        assert_eq!(json["concurrency"], 1);
        assert_eq!(json["file_flush_interval"], "1.500s");
        assert_eq!(options.log_writer_options().flush_bytes, 65_536);
        assert_eq!(options.config_name(), "/etc/envoy.yaml");
        assert_eq!(json["stats_tag"], json!(["a:b", "c:d:e"]));
        assert_eq!(json["disabled_extensions"], json!(["x", "y"]));
        assert_eq!(json["drain_strategy"], "Immediate");
        assert_eq!(json["log_level"], "warning");
        assert_eq!(
            options.unsupported_flags(),
            [
                "--disable-extensions",
                "--stats-tag",
                "--component-log-level"
            ]
        );
        assert_eq!(
            parse("--config-validate").map(|o| o.mode),
            Ok(Mode::Validate)
        );
    }

    #[test]
    fn service_flags_win_over_the_node() {
        let mut node = json!({"id": "a", "cluster": "b"});
        let options = parse("--service-node n --service-zone z").expect("valid");
        options.override_node(&mut node);
        assert_eq!(
            node,
            json!({"id": "n", "cluster": "b", "locality": {"zone": "z"}})
        );
    }

    #[test]
    fn mistakes_are_refused() {
        for (words, part) in [
            ("--bogus", "unexpected argument '--bogus'"),
            ("extra", "unexpected argument 'extra'"),
            ("--mode foo", "invalid value 'foo' for '--mode"),
            ("-l loud", "invalid value 'loud' for '--log-level"),
            (
                "--concurrency abc",
                "invalid value 'abc' for '--concurrency",
            ),
            ("--concurrency -1", "unexpected argument '-1'"),
            (
                "--base-id 4294967296",
                "4294967296 is not in 0..=4294967295",
            ),
            ("-c a -c b", "cannot be used multiple times"),
            ("--stats-tag foo", "misformatted stats-tag 'foo'"),
            ("--stats-tag a-b:c", "the tag name 'a-b'"),
            ("--stats-tag a:b.c", "the tag value 'b.c'"),
            (
                "--stats-tag a:b --stats-tag a:c",
                "the stats tag 'a' is given twice",
            ),
            (
                "--component-log-level upstream:bad",
                "invalid log level specified 'bad'",
            ),
            (
                "--component-log-level upstream",
                "not correctly specified 'upstream'",
            ),
            ("--socket-mode 999", "invalid socket-mode '999'"),
            (
                "--io-driver kqueue",
                "invalid value 'kqueue' for '--io-driver",
            ),
            ("--local-address-ip-version v5", "invalid value 'v5'"),
        ] {
            let error = parse(words).expect_err(words);
            assert!(error.contains(part), "{words}: {error}");
        }
    }

    #[test]
    fn help_names_every_group() {
        let help = Options::command().render_long_help().to_string();
        for heading in [
            CONFIGURATION,
            IDENTITY,
            WORKERS,
            LOGGING,
            PROCESS,
            HOT_RESTART,
        ] {
            assert!(help.contains(&format!("\n{heading}:\n")), "{heading}");
        }
    }
}
