//! Access logs: which requests are logged, in which format, to which file.
//!
//! [`compile`] turns `envoy.config.accesslog.v3.AccessLog` messages into
//! [`AccessLog`]s, which all workers share. [`AccessLog::log`] appends a line
//! to a buffer of the current thread (`buffer`); full buffers go over a
//! bounded queue to one thread that writes all files (`writer`). A worker
//! never writes to a file and never waits for one: when the queue is full,
//! lines are dropped and counted.
//!
//! - `file`, `stream`: the loggers, by their Envoy names.
//! - `filter`: conditions under which a line is written.
//! - `event_log`: events that are no requests.
//! - `destination`: files, shared by all loggers that name them.

mod buffer;
mod destination;
mod event_log;
mod file;
mod filter;
mod stats;
mod stream;
mod writer;

pub use buffer::{FlushCause, flush_local};
pub use event_log::EventLog;
pub(crate) use filter::Filter;
pub use stats::LogStats;
pub use writer::{LogHandle, LogWriter, Options};

use crate::formatter::{Context, Format};
use destination::Destination;
use envoy_types::pb::envoy::config::accesslog::v3 as proto;
use envoy_types::pb::envoy::config::core::v3::SubstitutionFormatString;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::Cx;
use ringway_config::runtime::RuntimeValues;
use std::sync::Arc;

/// One configured access log.
#[derive(Debug)]
pub struct AccessLog {
    filter: Option<Filter>,
    format: Format,
    destination: Arc<Destination>,
}

impl AccessLog {
    /// Whether it tells how much was sent to the client.
    #[must_use]
    pub fn tells_sent_bytes(&self) -> bool {
        self.format.tells_sent_bytes()
    }

    /// Appends a line for the request to the current thread's buffer, if the
    /// filter lets it pass. The thread has installed a [`LogHandle`].
    pub fn log(&self, cx: &Context<'_>, runtime: &RuntimeValues) {
        let passes = |filter: &Filter| filter.passes(cx, runtime);
        if self.filter.as_ref().is_none_or(passes) {
            buffer::append(&self.destination, |out| self.format.write(cx, out));
        }
    }
}

/// Compiles the messages of a field named `access_log` of the message that
/// `cx` is at. What is wrong is reported there; a logger with an error is
/// left out.
///
/// Files are opened here, so that one that cannot be written is an error of
/// the configuration and not a surprise at the first request.
pub fn compile(protos: &[proto::AccessLog], cx: &mut Cx<'_>) -> Vec<AccessLog> {
    let mut logs = Vec::with_capacity(protos.len());
    for (position, message) in protos.iter().enumerate() {
        logs.extend(cx.index("access_log", position, |cx| compile_one(message, cx)));
    }
    logs
}

/// A log of all requests in the default format: the admin server's
/// `access_log_path`. What is wrong is reported where `cx` is.
pub fn compile_path(path: &str, cx: &mut Cx<'_>) -> Option<AccessLog> {
    Some(AccessLog {
        filter: None,
        format: Format::default(),
        destination: file::open(destination::Target::of_path(path), cx)?,
    })
}

fn compile_one(message: &proto::AccessLog, cx: &mut Cx<'_>) -> Option<AccessLog> {
    let filter = message
        .filter
        .as_ref()
        .map(|filter| cx.field("filter", |cx| Filter::compile(filter, cx)));
    let logger = match &message.config_type {
        Some(proto::access_log::ConfigType::TypedConfig(any)) => {
            cx.field("typed_config", |cx| compile_logger(any, cx))
        }
        None => {
            cx.error("an access log needs a typed_config");
            None
        }
    };
    let (format, destination) = logger?;
    let filter = match filter {
        None => None,
        Some(compiled) => Some(compiled?),
    };
    Some(AccessLog {
        filter,
        format,
        destination,
    })
}

/// Compiles the format of a log.
fn log_format(message: &SubstitutionFormatString, cx: &mut Cx<'_>) -> Option<Format> {
    if !message.content_type.is_empty() {
        cx.warn_at("content_type", "only local replies use it");
    }
    Format::compile(message, cx)
}

/// Finds the logger by the type of its message, as Envoy does; the name in the
/// configuration is free.
fn compile_logger(any: &Any, cx: &mut Cx<'_>) -> Option<(Format, Arc<Destination>)> {
    match any.type_url.rsplit('/').next().unwrap_or_default() {
        file::TYPE => file::compile(any, cx),
        stream::STDOUT_TYPE => stream::compile_stdout(any, cx),
        stream::STDERR_TYPE => stream::compile_stderr(any, cx),
        other => {
            cx.error(format!("access logger {other} is not supported yet"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
