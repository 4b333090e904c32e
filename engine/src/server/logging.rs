//! The application log: standard error or `--log-path`, with levels that the
//! admin server can change.

use std::fs::OpenOptions;
use std::sync::Mutex;

use anyhow::Context as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, reload};

use crate::admin::Loggers;
use crate::cli::Options;

/// Installs the log that the command line asks for.
///
/// # Errors
/// The file cannot be opened, or a log is installed already.
pub fn init(options: &Options) -> anyhow::Result<Loggers> {
    let (filter, handle) = reload::Layer::new(EnvFilter::default());
    let layer = fmt::layer().with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match &options.log_path {
        Some(path) => {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot open --log-path {}", path.display()))?;
            registry
                .with(layer.with_ansi(false).with_writer(Mutex::new(file)))
                .try_init()?;
        }
        None => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry
                .with(layer.with_ansi(terminal).with_writer(std::io::stderr))
                .try_init()?;
        }
    }
    Ok(Loggers::new(options.log_level, move |directives| {
        // The directives are composed of known names; the subscriber lives as
        // long as the process.
        if let Ok(filter) = EnvFilter::try_new(directives) {
            let _ = handle.reload(filter);
        }
    }))
}
