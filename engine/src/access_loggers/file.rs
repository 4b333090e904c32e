//! `envoy.access_loggers.file`: lines in a file.

use super::destination::{Destination, Target};
use super::log_format;
use crate::formatter::Format;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{
    FileAccessLog, file_access_log::AccessLogFormat,
};
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::{Cx, unpack};
use std::sync::Arc;

pub(super) const TYPE: &str = "envoy.extensions.access_loggers.file.v3.FileAccessLog";

#[expect(deprecated, reason = "Envoy still accepts the old formats")]
pub(super) fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<(Format, Arc<Destination>)> {
    let message: FileAccessLog = unpack(any, cx)?;
    let format = match &message.access_log_format {
        None => Some(Format::default()),
        Some(AccessLogFormat::Format(text)) if text.is_empty() => Some(Format::default()),
        Some(AccessLogFormat::Format(text)) => {
            cx.field("format", |cx| Format::text(text, false, cx))
        }
        Some(AccessLogFormat::JsonFormat(json)) => {
            cx.field("json_format", |cx| Format::json(json, false, cx))
        }
        Some(AccessLogFormat::TypedJsonFormat(json)) => {
            cx.field("typed_json_format", |cx| Format::json(json, false, cx))
        }
        Some(AccessLogFormat::LogFormat(format)) => {
            cx.field("log_format", |cx| log_format(format, cx))
        }
    };
    let destination = cx.field("path", |cx| open(Target::of_path(&message.path), cx));
    Some((format?, destination?))
}

/// The opened destination, or an error that names the path.
pub(super) fn open(target: Target, cx: &mut Cx<'_>) -> Option<Arc<Destination>> {
    match Destination::get(target.clone()) {
        Ok(destination) => Some(destination),
        Err(error) => {
            let name = match target {
                Target::File(path) => path.display().to_string(),
                Target::Stdout => "the standard output".to_owned(),
                Target::Stderr => "the standard error output".to_owned(),
            };
            cx.error(format!("unable to open file '{name}': {error}"));
            None
        }
    }
}
