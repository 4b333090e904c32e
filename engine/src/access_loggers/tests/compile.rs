//! Messages to loggers and filters, and what is wrong with them.

use super::*;
use ringway_config::runtime::RuntimeValues;

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
                log.log(&request.context(), &RuntimeValues::default());
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
    let names = Names::default();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
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
        let names = Names::default();
        let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
        let compiled = Filter::compile(&wrap(filter.clone()), &mut cx).expect("compiles");
        assert_eq!(
            compiled.passes(&request.context(), &RuntimeValues::default()),
            passes,
            "{filter:?}"
        );
        if !matches!(filter, FilterSpecifier::RuntimeFilter(_)) {
            assert_eq!(
                compiled.passes(&health_check.context(), &RuntimeValues::default()),
                passes_health_check,
                "{filter:?}"
            );
        }
    }
    let mut diagnostics = Diagnostics::new();
    let marks = Marks::new("test.yaml".into());
    let names = Names::default();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
    let below = Filter::compile(&wrap(sample(42, false)), &mut cx).unwrap();
    assert!(
        !below.passes(&request.context(), &RuntimeValues::default()),
        "42 is not below 42"
    );
}
