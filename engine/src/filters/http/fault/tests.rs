//! Shares of the requests, and where the runtime has the last word. What a
//! client sees is compared with Envoy in the end-to-end tests.

use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common_pb;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as pb;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use pb::fault_abort::ErrorType;
use ringway_codecs::header::HeaderMap;
use ringway_config::runtime::RuntimeValues;
use ringway_config::{Cx, Diagnostics, Format, LoadOptions, Marks, Names, bootstrap, load};

use super::settings::{Request, Settings, Status};

const DRAWS: u32 = 20_000;

fn percent(numerator: u32, denominator: DenominatorType) -> Option<FractionalPercent> {
    Some(FractionalPercent {
        numerator,
        denominator: denominator.into(),
    })
}

/// An abort with 503 of a share of the requests.
fn aborting(percentage: Option<FractionalPercent>) -> pb::HttpFault {
    pb::HttpFault {
        abort: Some(pb::FaultAbort {
            percentage,
            error_type: Some(ErrorType::HttpStatus(503)),
            ..pb::FaultAbort::default()
        }),
        ..pb::HttpFault::default()
    }
}

fn compiled(proto: &pb::HttpFault, names: &Names) -> Settings {
    let mut found = Diagnostics::new();
    let marks = Marks::default();
    let settings = Settings::compile(proto, &mut Cx::new(&mut found, &marks, None, names));
    assert!(!found.has_errors(), "{found}");
    settings.expect("it is a good one")
}

/// How many of [`DRAWS`] requests are aborted.
fn aborted(settings: &Settings, headers: &HeaderMap, runtime: &RuntimeValues, seed: u64) -> u32 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let request = Request {
        headers,
        cluster: None,
        runtime,
    };
    (0..DRAWS)
        .filter(|_| settings.abort(&request, &mut rng).is_some())
        .count() as u32
}

/// Whether a count is within four standard deviations of the binomial
/// distribution: a right count fails once in 16,000 seeds.
fn is_share(count: u32, share: f64) -> bool {
    let draws = f64::from(DRAWS);
    let deviation = (draws * share * (1.0 - share)).sqrt();
    (f64::from(count) - draws * share).abs() <= 4.0 * deviation
}

#[test]
fn shares_of_the_requests() {
    let (headers, runtime) = (HeaderMap::new(), RuntimeValues::default());
    for (percentage, share) in [
        (percent(0, DenominatorType::Hundred), 0.0),
        (percent(1, DenominatorType::Hundred), 0.01),
        (percent(50, DenominatorType::Hundred), 0.5),
        (percent(2_500, DenominatorType::TenThousand), 0.25),
        (percent(1_000, DenominatorType::Million), 0.001),
        (percent(100, DenominatorType::Hundred), 1.0),
        (None, 0.0),
    ] {
        let settings = compiled(&aborting(percentage), &Names::default());
        let count = aborted(&settings, &headers, &runtime, 7);
        assert!(is_share(count, share), "{percentage:?}: {count}");
    }
}

#[test]
fn the_runtime_changes_shares_and_statuses() {
    let text = "layered_runtime: { layers: [{ name: admin, admin_layer: {} }] }";
    let loaded = load(text, "f.yaml", Format::Yaml, &LoadOptions::default());
    let snapshot = bootstrap::lower(&loaded.expect("a good file")).expect("a good file");
    let names = &snapshot.names;
    let settings = compiled(&aborting(percent(100, DenominatorType::Hundred)), names);
    let set = |key: &str, value: u64| {
        let mut layers = snapshot.runtime.clone();
        layers
            .modify(&[(key.into(), value.to_string())])
            .expect("there is an admin layer");
        layers.values(&names.runtime_keys)
    };
    let headers = HeaderMap::new();
    let runtime = set("fault.http.abort.abort_percent", 10);
    let count = aborted(&settings, &headers, &runtime, 11);
    assert!(is_share(count, 0.1), "{count}");
    let mut rng = fastrand::Rng::with_seed(1);
    let runtime = set("fault.http.abort.http_status", 418);
    let request = Request {
        headers: &headers,
        cluster: None,
        runtime: &runtime,
    };
    let status = settings.abort(&request, &mut rng);
    assert_eq!(
        status,
        Some(Status {
            http: 418,
            grpc: None
        })
    );
    let runtime = set("fault.http.max_active_faults", 3);
    assert_eq!(settings.active_max(&runtime), 3);
    assert_eq!(settings.active_max(&RuntimeValues::default()), u32::MAX);
}

#[test]
fn a_request_asks_for_a_smaller_share_only() {
    let by_header = pb::HttpFault {
        abort: Some(pb::FaultAbort {
            percentage: percent(50, DenominatorType::Hundred),
            error_type: Some(ErrorType::HeaderAbort(Default::default())),
            ..pb::FaultAbort::default()
        }),
        ..pb::HttpFault::default()
    };
    let settings = compiled(&by_header, &Names::default());
    let runtime = RuntimeValues::default();
    for (asked, share) in [(b"20".as_slice(), 0.2), (b"90", 0.5), (b"0", 0.0)] {
        let mut headers = HeaderMap::new();
        headers.append_name(b"x-envoy-fault-abort-request", b"503");
        headers.append_name(b"x-envoy-fault-abort-request-percentage", asked);
        let count = aborted(&settings, &headers, &runtime, 13);
        assert!(is_share(count, share), "{asked:?}: {count}");
    }
}

#[test]
fn a_negative_delay_is_refused() {
    let proto = pb::HttpFault {
        delay: Some(common_pb::FaultDelay {
            fault_delay_secifier: Some(common_pb::fault_delay::FaultDelaySecifier::FixedDelay(
                envoy_types::pb::google::protobuf::Duration {
                    seconds: -1,
                    nanos: 0,
                },
            )),
            ..common_pb::FaultDelay::default()
        }),
        ..pb::HttpFault::default()
    };
    let (mut found, marks, names) = (Diagnostics::new(), Marks::default(), Names::default());
    let mut cx = Cx::new(&mut found, &marks, None, &names);
    assert!(Settings::compile(&proto, &mut cx).is_none());
    assert!(found.to_string().contains("delay.fixed_delay"), "{found}");
}
