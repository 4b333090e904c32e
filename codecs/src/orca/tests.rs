use super::fuzz::report;
use super::{METRICS_MAX, Metric, OrcaError, read};
use crate::header::HeaderMap;

/// The metrics of a report as text, in the order in which they come.
fn found(value: &[u8]) -> Result<String, OrcaError> {
    let metrics = report(value)?;
    let metrics: Vec<_> = metrics
        .iter()
        .map(|(name, number)| format!("{name} {number}"))
        .collect();
    Ok(metrics.join(", "))
}

const ALL: &str = "CpuUtilization 0.7, ApplicationUtilization 0.8, MemUtilization 0.9, \
                   RpsFractional 1000, Eps 2, named_metrics.foo 123, utilization.total 0.5";

const TEXT: &str = "TEXT cpu_utilization=0.7,application_utilization=0.8,mem_utilization=0.9,\
                    rps_fractional=1000,eps=2,named_metrics.foo=123,utilization.total=0.5";

const JSON: &str = "JSON {\"cpu_utilization\": 0.7, \"applicationUtilization\": \"0.8\", \
                    \"mem_utilization\": 9e-1, \"rpsFractional\": 1000, \"eps\": 2.0, \
                    \"rps\": \"1000\", \"named_metrics\": {\"foo\": 123}, \
                    \"utilization\": {\"t\\u006ftal\": 0.5}}";

/// CPU 0.5, 100 requests and 2 errors a second, `named_metrics.rif` 4.
const BINARY: &str = "CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA==";

const IN_BINARY: &str = "CpuUtilization 0.5, RpsFractional 100, Eps 2, named_metrics.rif 4";

#[test]
fn a_report_has_three_forms() {
    assert_eq!(found(TEXT.as_bytes()).as_deref(), Ok(ALL));
    let colons = TEXT.replace('=', ":").replace(',', " ,\t");
    assert_eq!(found(colons.as_bytes()).as_deref(), Ok(ALL));
    assert_eq!(found(JSON.as_bytes()).as_deref(), Ok(ALL));
    for padding in ["==", ""] {
        let value = format!("BIN {}{padding}", BINARY.trim_end_matches('='));
        assert_eq!(found(value.as_bytes()).as_deref(), Ok(IN_BINARY));
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let table: &[(&str, OrcaError)] = &[
        ("", OrcaError::Format),
        ("TEXT", OrcaError::Format),
        ("text eps=1", OrcaError::Format),
        ("BAD eps=1", OrcaError::Format),
        ("cpu_utilization:0.7", OrcaError::Format),
        ("BIN ", OrcaError::Base64),
        ("BIN ==", OrcaError::Base64),
        ("BIN not-a-valid-binary", OrcaError::Base64),
        ("BIN CQAAAAA=", OrcaError::Protobuf),
        // Field 0, a group, a kind that does not exist, a tag of 33 bits.
        ("BIN AAA=", OrcaError::Protobuf),
        ("BIN Cw==", OrcaError::Protobuf),
        ("BIN Dg==", OrcaError::Protobuf),
        ("BIN gYCAgBAA", OrcaError::Protobuf),
        // A key that is not UTF-8.
        ("BIN QgMKAf8=", OrcaError::Protobuf),
        ("TEXT eps", OrcaError::Text),
        ("TEXT eps=", OrcaError::Text),
        ("TEXT =1", OrcaError::Text),
        ("TEXT eps=one", OrcaError::Text),
        ("TEXT eps=\"1\"", OrcaError::Text),
        ("TEXT eps=nan", OrcaError::Text),
        ("TEXT eps=inf", OrcaError::Text),
        ("TEXT eps=1e999", OrcaError::Text),
        ("TEXT eps=-1", OrcaError::Text),
        ("TEXT named_metrics.=1", OrcaError::Text),
        ("TEXT utilization.=1", OrcaError::Text),
        ("TEXT rps=1", OrcaError::UnknownMetric),
        ("TEXT request_cost.a=1", OrcaError::UnknownMetric),
        ("TEXT eps=1,other=1", OrcaError::UnknownMetric),
        ("TEXT eps=1,eps=1", OrcaError::Repeated),
        (
            "TEXT eps=1,named_metrics.a=1,named_metrics.a=2",
            OrcaError::Repeated,
        ),
        ("JSON ", OrcaError::Json),
        ("JSON []", OrcaError::Json),
        ("JSON {} {}", OrcaError::Json),
        ("JSON {\"eps\": 1", OrcaError::Json),
        ("JSON {\"eps\": 1,,}", OrcaError::Json),
        ("JSON {,}", OrcaError::Json),
        ("JSON {eps: 1}", OrcaError::Json),
        ("JSON {'eps': 1}", OrcaError::Json),
        ("JSON {\"eps\": 01}", OrcaError::Json),
        ("JSON {\"eps\": .5}", OrcaError::Json),
        ("JSON {\"eps\": 1.}", OrcaError::Json),
        ("JSON {\"eps\": +1}", OrcaError::Json),
        ("JSON {\"eps\": 1e}", OrcaError::Json),
        ("JSON {\"eps\": 1e999}", OrcaError::Json),
        ("JSON {\"eps\": NaN}", OrcaError::Json),
        ("JSON {\"eps\": true}", OrcaError::Json),
        ("JSON {\"eps\": {}}", OrcaError::Json),
        ("JSON {\"eps\": \"one\"}", OrcaError::Json),
        ("JSON {\"rps\": -1}", OrcaError::Json),
        ("JSON {\"rps\": 1.5}", OrcaError::Json),
        ("JSON {\"named_metrics\": 1}", OrcaError::Json),
        ("JSON {\"e\\ps\": 1}", OrcaError::Json),
        (
            "JSON {\"named_metrics\": {\"\\ud800\": 1}}",
            OrcaError::Json,
        ),
        ("JSON {\"named_metrics\": {\"\u{1}\": 1}}", OrcaError::Json),
        ("JSON {\"other\": 1}", OrcaError::UnknownMetric),
    ];
    for (value, error) in table {
        assert_eq!(found(value.as_bytes()), Err(*error), "{value:?}");
    }
    assert_eq!(found(b"JSON {\"\xff\": 1}"), Err(OrcaError::Json));
}

#[test]
fn what_says_nothing_is_right_too() {
    for value in [
        "TEXT ",
        "TEXT , ,",
        "JSON {}",
        "JSON {\"eps\": null, \"rps\": null, \"utilization\": null, \"named_metrics\": {}}",
        // Fields of other messages.
        "BIN eAF9AAAAAA==",
    ] {
        assert_eq!(found(value.as_bytes()).as_deref(), Ok(""), "{value}");
    }
    let as_protobuf = "JSON {\"named_metrics\": {\"a\": null,}, \"eps\": 1,}";
    let expected = Ok("named_metrics.a 0, Eps 1");
    assert_eq!(found(as_protobuf.as_bytes()).as_deref(), expected);
    let not_finite = "JSON {\"eps\": \"NaN\", \"rps_fractional\": \"-Infinity\"}";
    let expected = Ok("Eps NaN, RpsFractional -inf");
    assert_eq!(found(not_finite.as_bytes()).as_deref(), expected);
}

#[test]
fn no_more_metrics_are_read_than_anybody_needs() {
    let list = |count: usize| {
        let metrics: Vec<_> = (0..count).map(|i| format!("named_metrics.{i}=1")).collect();
        format!("TEXT {}", metrics.join(","))
    };
    let object = |count: usize| {
        let metrics: Vec<_> = (0..count).map(|i| format!("\"{i}\": 1")).collect();
        format!("JSON {{\"named_metrics\": {{{}}}}}", metrics.join(","))
    };
    for value in [list(METRICS_MAX), object(METRICS_MAX)] {
        assert_eq!(
            report(value.as_bytes()).map(|found| found.len()),
            Ok(METRICS_MAX)
        );
    }
    for value in [list(METRICS_MAX + 1), object(METRICS_MAX + 1)] {
        assert_eq!(report(value.as_bytes()), Err(OrcaError::TooMany));
    }
}

/// Whatever is cut off is refused, or is a report with fewer metrics; nothing
/// that follows makes a metric another one.
#[test]
fn reports_that_are_cut_off_anywhere_are_no_other_reports() {
    for value in [TEXT, JSON, &format!("BIN {BINARY}")] {
        let all = report(value.as_bytes()).expect("a report");
        for end in 0..value.len() {
            let Ok(part) = report(&value.as_bytes()[..end]) else {
                continue;
            };
            // Of a list the last number may be cut.
            let whole = part.len().saturating_sub(usize::from(value == TEXT));
            assert_eq!(part[..whole], all[..whole], "cut at {end}");
        }
        for place in 0..value.len() {
            for byte in [0, b' ', b'"', b'=', b'9', 0xff] {
                let mut changed = value.as_bytes().to_vec();
                changed[place] = byte;
                let _ = report(&changed);
            }
        }
    }
}

#[test]
fn the_header_of_grpc_comes_first() {
    let with = |headers: &[(&[u8], &[u8])]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append_name(name, value);
        }
        let mut sum = 0.0;
        let mut add = |_: Metric<'_>, number| sum += number;
        let is_there = read(&map, &mut Vec::new(), &mut add);
        is_there.map(|is_there| (is_there, sum))
    };
    let (text, binary) = (
        &b"endpoint-load-metrics"[..],
        &b"endpoint-load-metrics-bin"[..],
    );
    let eps = &b"TEXT eps=3"[..];
    assert_eq!(with(&[]), Ok((false, 0.0)));
    assert_eq!(with(&[(b"endpoint-load", eps)]), Ok((false, 0.0)));
    assert_eq!(with(&[(text, eps)]), Ok((true, 3.0)));
    let both = [(text, eps), (binary, BINARY.as_bytes())];
    assert_eq!(with(&both), Ok((true, 106.5)));
    assert_eq!(with(&[(text, eps), (binary, b"")]), Err(OrcaError::Base64));
    // Of more than one the first.
    assert_eq!(with(&[(text, eps), (text, b"TEXT eps=4")]), Ok((true, 3.0)));
}
