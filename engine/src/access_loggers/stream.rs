//! `envoy.access_loggers.stdout` and `envoy.access_loggers.stderr`: lines on a
//! standard stream.

use super::destination::{Destination, Target};
use super::file::open;
use super::log_format;
use crate::formatter::Format;
use envoy_types::pb::envoy::config::core::v3::SubstitutionFormatString;
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3::{
    StderrAccessLog, StdoutAccessLog, stderr_access_log, stdout_access_log,
};
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::{Cx, unpack};
use std::sync::Arc;

pub(super) const STDOUT_TYPE: &str = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
pub(super) const STDERR_TYPE: &str = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog";

pub(super) fn compile_stdout(any: &Any, cx: &mut Cx<'_>) -> Option<(Format, Arc<Destination>)> {
    let message: StdoutAccessLog = unpack(any, cx)?;
    let format = message
        .access_log_format
        .as_ref()
        .map(|format| match format {
            stdout_access_log::AccessLogFormat::LogFormat(format) => format,
        });
    compile(Target::Stdout, format, cx)
}

pub(super) fn compile_stderr(any: &Any, cx: &mut Cx<'_>) -> Option<(Format, Arc<Destination>)> {
    let message: StderrAccessLog = unpack(any, cx)?;
    let format = message
        .access_log_format
        .as_ref()
        .map(|format| match format {
            stderr_access_log::AccessLogFormat::LogFormat(format) => format,
        });
    compile(Target::Stderr, format, cx)
}

fn compile(
    target: Target,
    format: Option<&SubstitutionFormatString>,
    cx: &mut Cx<'_>,
) -> Option<(Format, Arc<Destination>)> {
    let format = match format {
        None => Some(Format::default()),
        Some(format) => cx.field("log_format", |cx| log_format(format, cx)),
    };
    let destination = open(target, cx);
    Some((format?, destination?))
}
