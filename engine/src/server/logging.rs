//! The application log: levels that can change while the process runs.

use std::fs::OpenOptions;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use crate::admin::LogLevel;
use crate::cli::Options;

/// The application log's level, which the admin server may change.
#[derive(Clone)]
pub struct Logging {
    handle: reload::Handle<LevelFilter, Registry>,
    level: Arc<Mutex<LogLevel>>,
}

impl Logging {
    /// The level in force.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the level from now on.
    pub fn set_level(&self, level: LogLevel) {
        *self.level.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = level;
        // The subscriber lives as long as the process.
        let _ = self.handle.reload(level.filter());
    }
}

/// Installs the log that the command line asks for: standard error, or
/// `--log-path`.
///
/// # Errors
/// The file cannot be opened, or a log is installed already.
pub fn init(options: &Options) -> anyhow::Result<Logging> {
    let level = options.log_level;
    let (filter, handle) = reload::Layer::new(level.filter());
    let layer = fmt::layer().with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match &options.log_path {
        Some(path) => {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot open --log-path {}", path.display()))?;
            registry.with(layer.with_ansi(false).with_writer(Mutex::new(file))).try_init()?;
        }
        None => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(layer.with_ansi(terminal).with_writer(std::io::stderr)).try_init()?;
        }
    }
    Ok(Logging {
        handle,
        level: Arc::new(Mutex::new(level)),
    })
}
