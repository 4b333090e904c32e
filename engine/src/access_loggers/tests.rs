//! From a configuration to lines in files, with real files, pipes and threads.

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
use ringway_config::clusters::ClusterNames;
use ringway_config::diagnostics::{Diagnostics, Marks};
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
    let clusters = ClusterNames::default();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &clusters);
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
        log.log(&Finished::new(&path, 200).context());
    }
}

#[test]
fn several_threads_and_loggers_share_a_file_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, store) = writer(1_000);
    let logs = Arc::new(compiled(&[
        file_log(&path, "a %REQ(:path)%\n"),
        file_log(&path, "b %REQ(:path)%\n"),
    ]));
    assert!(Arc::ptr_eq(&logs[0].destination, &logs[1].destination));
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let logs = logs.clone();
            worker(&writer, &store, move || {
                for line in 0..500 {
                    for log in &*logs {
                        log_paths(log, std::iter::once(format!("/{thread}/{line}")));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(writer.shutdown());
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3_000);
    for thread in 0..3 {
        // The lines of one thread stay in order, both loggers together.
        let expected: Vec<_> = (0..500)
            .flat_map(|n| [format!("a /{thread}/{n}"), format!("b /{thread}/{n}")])
            .collect();
        let part = format!(" /{thread}/");
        let actual: Vec<_> = text.lines().filter(|line| line.contains(&part)).collect();
        assert_eq!(actual, expected);
    }
    assert_eq!(store.value("filesystem.write_buffered"), Some(3_000));
    assert_eq!(store.value("filesystem.write_total_buffered"), Some(0));
    assert_eq!(store.value("access_log.dropped_lines"), Some(0));
    assert!(store.value("filesystem.write_completed").unwrap() > 3);
}

#[test]
fn lines_wait_for_the_size_or_the_timer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, store) = writer(64);
    let log = compiled(&[file_log(&path, "%REQ(:path)%\n")]);
    let seen = path.clone();
    worker(&writer, &store, move || {
        log_paths(&log[0], (0..5).map(|n| format!("/{n}")));
        assert_eq!(fs::read(&seen).unwrap(), b"", "nothing was handed over");
        flush_local(FlushCause::Timer);
        flush_local(FlushCause::Timer);
        while fs::read(&seen).unwrap() != b"/0\n/1\n/2\n/3\n/4\n" {
            std::thread::yield_now();
        }
        // 64 bytes are reached within the 22nd line.
        log_paths(&log[0], (0..22).map(|n| format!("/{}", n % 10)));
        while fs::read_to_string(&seen).unwrap().lines().count() != 27 {
            std::thread::yield_now();
        }
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    assert_eq!(store.value("filesystem.flushed_by_timer"), Some(1));
}

#[test]
fn rotation_under_load_loses_no_line_and_keeps_the_old_ones_in_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, store) = writer(512);
    let log = Arc::new(compiled(&[file_log(&path, "%REQ(:path)%\n")]));
    let rotated = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            let (log, rotated) = (log.clone(), rotated.clone());
            worker(&writer, &store, move || {
                let mut line = 0;
                // Until well after the rotation; where it falls is up to chance.
                let mut after = 0;
                while after < 200 {
                    let late = rotated.load(Ordering::SeqCst);
                    let mark = if late { "late" } else { "early" };
                    log_paths(&log[0], std::iter::once(format!("/{mark}/{thread}/{line}")));
                    line += 1;
                    after += u32::from(late);
                }
                line
            })
        })
        .collect();
    let old = directory.path().join("log.1");
    fs::rename(&path, &old).unwrap();
    writer.handle().reopen();
    rotated.store(true, Ordering::SeqCst);
    let lines: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert!(writer.shutdown());
    let old = fs::read_to_string(&old).unwrap();
    let new = fs::read_to_string(&path).unwrap();
    assert_eq!((old.lines().count() + new.lines().count()) as u64, lines);
    assert!(!old.contains("late"), "logged after the reopening");
    assert!(new.lines().filter(|line| line.contains("late")).count() == 400);
    assert_eq!(store.value("filesystem.reopen_failed"), Some(0));
}

#[test]
fn lines_buffered_before_a_reopening_go_to_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, store) = writer(4096);
    let log = compiled(&[file_log(&path, "%REQ(:path)%\n")]);
    let (handle, moved, from) = (
        writer.handle(),
        directory.path().join("log.1"),
        path.clone(),
    );
    let to = moved.clone();
    worker(&writer, &store, move || {
        log_paths(&log[0], std::iter::once("/before".to_owned()));
        flush_local(FlushCause::Request);
        log_paths(&log[0], std::iter::once("/buffered".to_owned()));
        fs::rename(&from, &to).unwrap();
        handle.reopen();
        log_paths(&log[0], std::iter::once("/after".to_owned()));
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    assert_eq!(fs::read_to_string(moved).unwrap(), "/before\n/buffered\n");
    assert_eq!(fs::read_to_string(path).unwrap(), "/after\n");
}

#[test]
fn a_failed_reopening_keeps_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let (writer, store) = writer(16);
    let log = compiled(&[file_log(&inner.join("log"), "%REQ(:path)%\n")]);
    let (handle, moved) = (writer.handle(), directory.path().join("moved"));
    let to = moved.clone();
    worker(&writer, &store, move || {
        log_paths(&log[0], std::iter::once("/a".to_owned()));
        flush_local(FlushCause::Request);
        while fs::read(inner.join("log")).unwrap().is_empty() {
            std::thread::yield_now();
        }
        fs::rename(&inner, &to).unwrap();
        handle.reopen();
        log_paths(&log[0], std::iter::once("/b".to_owned()));
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    assert_eq!(fs::read_to_string(moved.join("log")).unwrap(), "/a\n/b\n");
    assert_eq!(store.value("filesystem.reopen_failed"), Some(1));
}

#[test]
fn a_pipe_that_nobody_reads_drops_and_counts_and_stalls_nobody() {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    let file = directory.path().join("file");
    let (writer, store) = writer(64 * 1024);
    let format = format!("%REQ(:path)% {}\n", "x".repeat(1_000));
    let logs = compiled(&[file_log(&pipe, &format), file_log(&file, "%REQ(:path)%\n")]);
    // Opened before anything is written, read only at the end.
    let mut reader = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe)
        .unwrap();
    const LINES: u64 = 30_000;
    let slowest = worker(&writer, &store, move || {
        let mut slowest = Duration::ZERO;
        for line in 0..LINES {
            let request = Finished::new(&format!("/{line}"), 200);
            let before = Instant::now();
            for log in &logs {
                log.log(&request.context());
            }
            slowest = slowest.max(before.elapsed());
        }
        slowest
    })
    .join()
    .unwrap();
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let reading = std::thread::spawn(move || {
        // What the pipe held, then what was kept back for it.
        let (mut text, mut quiet) = (Vec::new(), 0);
        while quiet < 200 {
            match reader.read_to_end(&mut text) {
                Ok(_) => break,
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(2));
                    quiet += 1;
                }
            }
        }
        text
    });
    assert!(writer.shutdown());
    let read = reading.join().unwrap();
    let dropped = store.value("access_log.dropped_lines").unwrap();
    assert!(dropped > 10_000, "{dropped}");
    let text = String::from_utf8(read).unwrap();
    assert_eq!(text.lines().count() as u64 + dropped, LINES);
    assert!(
        text.lines()
            .all(|line| line.ends_with("xxx") && line.len() > 1_000)
    );
    // The other destination lost nothing.
    assert_eq!(
        fs::read_to_string(&file).unwrap().lines().count() as u64,
        LINES
    );
    assert_eq!(store.value("filesystem.write_total_buffered"), Some(0));
}

#[test]
fn a_full_disk_drops_counts_and_goes_on() {
    let (writer, store) = writer(64);
    let log = compiled(&[file_log(Path::new("/dev/full"), "%REQ(:path)%\n")]);
    worker(&writer, &store, move || {
        log_paths(&log[0], (0..100).map(|n| format!("/{n}")));
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    assert_eq!(store.value("access_log.dropped_lines"), Some(100));
    assert!(store.value("filesystem.write_failed").unwrap() >= 5);
    assert_eq!(store.value("filesystem.write_total_buffered"), Some(0));
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good");
    let bad = directory.path().join("absent/log");
    let filtered = |filter: FilterSpecifier| proto::AccessLog {
        filter: Some(proto::AccessLogFilter {
            filter_specifier: Some(filter),
        }),
        ..file_log(&good, "x")
    };
    let flags = |flags: &[&str]| {
        FilterSpecifier::ResponseFlagFilter(proto::ResponseFlagFilter {
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        })
    };
    let (logs, errors) = compile_all(&[
        file_log(&good, "%NOPE%"),
        file_log(&bad, "x"),
        proto::AccessLog::default(),
        filtered(flags(&["UH", "XX"])),
        filtered(FilterSpecifier::TraceableFilter(proto::TraceableFilter {})),
        filtered(FilterSpecifier::AndFilter(proto::AndFilter {
            filters: vec![proto::AccessLogFilter::default()],
        })),
        filtered(FilterSpecifier::StatusCodeFilter(
            proto::StatusCodeFilter::default(),
        )),
        file_log(&good, "fine"),
        filtered(flags(&["UH"])),
    ]);
    assert_eq!(logs.len(), 2);
    let bad = bad.display();
    assert_eq!(
        errors,
        [
            "access_log[0].typed_config.log_format.text_format_source.inline_string: Not supported \
             field in StreamInfo: NOPE at position 0"
                .to_owned(),
            format!(
                "access_log[1].typed_config.path: unable to open file '{bad}': No such file or \
                 directory (os error 2)"
            ),
            "access_log[2]: an access log needs a typed_config".to_owned(),
            "access_log[3].filter.response_flag_filter.flags[1]: there is no response flag 'XX'"
                .to_owned(),
            "access_log[4].filter.traceable_filter: not supported yet".to_owned(),
            "access_log[5].filter.and_filter.filters: at least two filters are needed".to_owned(),
            "access_log[6].filter.status_code_filter.comparison: a comparison is needed".to_owned(),
        ]
    );
}

/// What Envoy 1.40 wrote without a format, and with the deprecated fields.
#[test]
fn default_and_deprecated_formats_are_envoys() {
    use crate::formatter::golden;
    use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let name = path.to_str().unwrap().to_owned();
    let value = |text: &str| Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let json = Struct {
        fields: [
            ("b".to_owned(), value("%RESPONSE_CODE%")),
            ("a".to_owned(), value("%REQ(nope)%")),
            ("c".to_owned(), value("x%RESPONSE_CODE%")),
        ]
        .into(),
    };
    #[expect(deprecated, reason = "this is what is tested")]
    let formats = [
        None,
        Some(file_access_log::AccessLogFormat::Format(String::new())),
        Some(file_access_log::AccessLogFormat::Format(
            "old %PROTOCOL%\n".to_owned(),
        )),
        Some(file_access_log::AccessLogFormat::JsonFormat(json.clone())),
        Some(file_access_log::AccessLogFormat::TypedJsonFormat(json)),
    ];
    let messages: Vec<_> = formats
        .into_iter()
        .map(|access_log_format| {
            logger(FileAccessLog {
                path: name.clone(),
                access_log_format,
            })
        })
        .collect();
    let logs = compiled(&messages);
    let (writer, store) = writer(4096);
    worker(&writer, &store, move || {
        for request in [golden::forwarded(), golden::malformed(true)] {
            for log in &logs {
                log.log(&request.context());
            }
        }
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    let forwarded = "[2026-11-23T12:51:02.553Z] \"GET /u/x?q=abc%20d&e=&r=1 HTTP/1.1\" 200 - 0 3 \
                     1 1 \"1.2.3.4\" \"ua\" \"212ede04-63c0-43f6-b9cc-1f467be4ea5a\" \"a.b\" \
                     \"127.0.0.1:19972\"";
    let malformed = "[2026-11-23T12:51:04.059Z] \"- - HTTP/1.1\" 426 DPE 0 16 0 - \"-\" \"-\" \
                     \"-\" \"-\" \"-\"";
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let ok = r#"{"a":null,"b":200,"c":"x200"}"#;
    let old = r#"{"a":null,"b":426,"c":"x426"}"#;
    assert_eq!(lines[..5], [forwarded, forwarded, "old HTTP/1.1", ok, ok]);
    assert_eq!(lines[5..], [malformed, malformed, "old HTTP/1.1", old, old]);
}

#[test]
fn a_path_alone_is_a_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut diagnostics = Diagnostics::new();
    let marks = Marks::new("test.yaml".into());
    let clusters = ClusterNames::default();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &clusters);
    let path = directory.path().join("log");
    assert!(compile_path(path.to_str().unwrap(), &mut cx).is_some());
    assert!(path.exists());
    assert!(compile_path("/proc/absent", &mut cx).is_none());
    assert_eq!(diagnostics.len(), 1);
}

#[test]
fn filters_choose_requests() {
    let comparison = |op: proto::comparison_filter::Op, value| {
        Some(proto::ComparisonFilter {
            op: op.into(),
            value: Some(core::RuntimeUInt32 {
                default_value: value,
                runtime_key: "key".to_owned(),
            }),
        })
    };
    use proto::comparison_filter::Op;
    let status = |op, value| {
        FilterSpecifier::StatusCodeFilter(proto::StatusCodeFilter {
            comparison: comparison(op, value),
        })
    };
    let duration = |op, value| {
        FilterSpecifier::DurationFilter(proto::DurationFilter {
            comparison: comparison(op, value),
        })
    };
    let flags = |names: &[&str]| {
        FilterSpecifier::ResponseFlagFilter(proto::ResponseFlagFilter {
            flags: names.iter().map(|&name| name.to_owned()).collect(),
        })
    };
    let header = |name: &str, invert_match| {
        use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
        FilterSpecifier::HeaderFilter(proto::HeaderFilter {
            header: Some(HeaderMatcher {
                name: name.to_owned(),
                invert_match,
                ..Default::default()
            }),
        })
    };
    let wrap = |filter: FilterSpecifier| proto::AccessLogFilter {
        filter_specifier: Some(filter),
    };
    let both = |a: FilterSpecifier, b: FilterSpecifier| vec![wrap(a), wrap(b)];
    let sample = |numerator, independent| {
        FilterSpecifier::RuntimeFilter(proto::RuntimeFilter {
            runtime_key: "key".to_owned(),
            percent_sampled: Some(envoy_types::pb::envoy::r#type::v3::FractionalPercent {
                numerator,
                denominator: 0,
            }),
            use_independent_randomness: independent,
        })
    };
    let types = |kind: i32, exclude| {
        FilterSpecifier::LogTypeFilter(proto::LogTypeFilter {
            types: vec![kind],
            exclude,
        })
    };
    // A 503 after 20 ms with UH, request id 0000002a-…: 42 of 100.
    let mut request = Finished::new("/", 503);
    request.info.flags.set(ResponseFlag::NoHealthyUpstream);
    request
        .request
        .append_name(b"x-request-id", b"0000002a-0000-4000-8000-000000000000");
    let mut health_check = Finished::new("/", 200);
    health_check.info.health_check = true;
    for (filter, passes, passes_health_check) in [
        (status(Op::Ge, 500), true, false),
        (status(Op::Le, 500), false, true),
        (status(Op::Eq, 503), true, false),
        (status(Op::Ne, 503), false, true),
        (duration(Op::Ge, 20), true, true),
        (duration(Op::Ge, 21), false, false),
        (header("X-Request-Id", false), true, false),
        (header("x-request-id", true), false, true),
        (flags(&[]), true, false),
        (flags(&["UH", "UF"]), true, false),
        (flags(&["UF"]), false, false),
        (
            FilterSpecifier::NotHealthCheckFilter(proto::NotHealthCheckFilter {}),
            true,
            false,
        ),
        (sample(43, false), true, true),
        (sample(100, true), true, true),
        (sample(0, true), false, false),
        (types(6, false), true, true),
        (types(6, true), false, false),
        (types(5, false), false, false),
        (
            FilterSpecifier::AndFilter(proto::AndFilter {
                filters: both(status(Op::Ge, 500), duration(Op::Ge, 21)),
            }),
            false,
            false,
        ),
        (
            FilterSpecifier::OrFilter(proto::OrFilter {
                filters: both(status(Op::Ge, 500), duration(Op::Ge, 21)),
            }),
            true,
            false,
        ),
    ] {
        let mut diagnostics = Diagnostics::new();
        let marks = Marks::new("test.yaml".into());
        let clusters = ClusterNames::default();
        let mut cx = Cx::new(&mut diagnostics, &marks, None, &clusters);
        let compiled = Filter::compile(&wrap(filter.clone()), &mut cx).expect("compiles");
        assert_eq!(compiled.passes(&request.context()), passes, "{filter:?}");
        if !matches!(filter, FilterSpecifier::RuntimeFilter(_)) {
            assert_eq!(
                compiled.passes(&health_check.context()),
                passes_health_check,
                "{filter:?}"
            );
        }
    }
    let mut diagnostics = Diagnostics::new();
    let marks = Marks::new("test.yaml".into());
    let clusters = ClusterNames::default();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &clusters);
    let below = Filter::compile(&wrap(sample(42, false)), &mut cx).unwrap();
    assert!(!below.passes(&request.context()), "42 is not below 42");
}
