//! From a configuration to lines in files, with real files, pipes and threads.

mod compile;
mod writing;

use super::*;
use crate::formatter::AccessLogType;
use crate::stats::Store;
use crate::stream_info::{ConnectionInfo, ResponseFlag, StreamInfo, TimePoint};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{
    FileAccessLog, file_access_log,
};
use envoy_types::util::pack_any;
use proto::access_log_filter::FilterSpecifier;
use ringway_codecs::header::HeaderMap;
use ringway_config::Names;
use ringway_config::diagnostics::{Diagnostics, Marks};
use ringway_config::runtime::RuntimeValues;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A file log with a text format.
fn file_log(path: &Path, format: &str) -> proto::AccessLog {
    let source = core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(format.into())),
        ..Default::default()
    };
    let format = core::SubstitutionFormatString {
        format: Some(core::substitution_format_string::Format::TextFormatSource(
            source,
        )),
        ..Default::default()
    };
    logger(FileAccessLog {
        path: path.to_str().unwrap().to_owned(),
        access_log_format: Some(file_access_log::AccessLogFormat::LogFormat(format)),
    })
}

fn logger(message: FileAccessLog) -> proto::AccessLog {
    proto::AccessLog {
        name: "any name".to_owned(),
        filter: None,
        config_type: Some(proto::access_log::ConfigType::TypedConfig(pack_any(
            message,
        ))),
    }
}

fn compile_all(messages: &[proto::AccessLog]) -> (Vec<AccessLog>, Vec<String>) {
    let mut diagnostics = Diagnostics::new();
    let marks = Marks::new("test.yaml".into());
    let names = Names::default();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
    let logs = compile(messages, &mut cx);
    let errors = diagnostics
        .iter()
        .map(|d| format!("{}: {}", d.path, d.reason))
        .collect();
    (logs, errors)
}

fn compiled(messages: &[proto::AccessLog]) -> Vec<AccessLog> {
    let (logs, errors) = compile_all(messages);
    assert_eq!(errors, [""; 0]);
    logs
}

/// A finished request with a path, a status and a request id.
struct Finished {
    info: StreamInfo,
    request: HeaderMap,
    empty: HeaderMap,
}

impl Finished {
    fn new(path: &str, status: u16) -> Finished {
        let address = ([127, 0, 0, 1], 1).into();
        let connection = Rc::new(ConnectionInfo::new(1, address, address));
        let mut info = StreamInfo::new(connection, Instant::now(), SystemTime::now());
        info.response_code = status;
        info.mark(
            TimePoint::RequestComplete,
            info.start + Duration::from_millis(20),
        );
        let mut request = HeaderMap::default();
        request.append_name(b":path", path.as_bytes());
        Finished {
            info,
            request,
            empty: HeaderMap::default(),
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            info: &self.info,
            request: &self.request,
            response: &self.empty,
            trailers: &self.empty,
            local_reply_body: b"",
            kind: AccessLogType::DownstreamEnd,
        }
    }
}

fn writer(flush_bytes: usize) -> (LogWriter, Arc<Store>) {
    let store = Arc::new(Store::new());
    let options = Options {
        flush_bytes,
        ..Options::default()
    };
    (LogWriter::spawn(&options, &store).unwrap(), store)
}

/// Runs `work` as a worker does: a thread with a shard and a log handle.
fn worker<T: Send + 'static>(
    writer: &LogWriter,
    store: &Store,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let (handle, shard) = (writer.handle(), store.shard(None));
    std::thread::spawn(move || {
        shard.install();
        handle.install();
        work()
    })
}

fn log_paths(log: &AccessLog, paths: impl Iterator<Item = String>) {
    for path in paths {
        log.log(
            &Finished::new(&path, 200).context(),
            &RuntimeValues::default(),
        );
    }
}
