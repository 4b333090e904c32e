//! The order of filters, and the health check filter on a real worker.

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ringway_codecs::header::HeaderId;
use ringway_config::core::{Locality, Node};

use super::*;
use crate::filters::WorkerFacts;
use crate::http::exchange::ExchangePool;
use crate::network::address::NO_ADDRESS;
use crate::stats::Store;
use crate::stream_info::ConnectionInfo;
use crate::test_support::on_both_drivers;
use crate::test_support::origin::{Origin, with_length};
use crate::test_support::proxy::Proxy;
use crate::test_support::setup::Setup;
use crate::worker::Change;

/// Writes its name into a header whenever it is called.
struct Tracer {
    name: &'static str,
    answers: bool,
}

impl HttpFilter for Tracer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let request = &mut stream.exchange.request;
        request.append(HeaderId::Via, self.name.as_bytes());
        if self.answers {
            return Flow::Reply(LocalReply::new(418, "", "traced"));
        }
        Flow::Continue
    }

    fn response_headers(&self, stream: &mut StreamContext<'_>) {
        let response = &mut stream.exchange.response;
        response.append(HeaderId::Via, self.name.as_bytes());
    }
}

#[test]
fn requests_run_forward_to_who_answers_and_responses_backward_through_all() {
    let worker = WorkerContext::new(
        WorkerFacts {
            index: 0,
            count: 1,
            local_address: Ipv4Addr::LOCALHOST.into(),
            node: Node {
                id: "test".into(),
                cluster: "tests".into(),
                locality: Locality::default(),
                metadata: None,
            },
            drain_time: Duration::ZERO,
        },
        &Store::new(),
    );
    // Which filter answers, and who sees request and response then.
    let cases = [
        (None, "a,b,c", "c,b,a"),
        (Some("a"), "a", "c,b,a"),
        (Some("b"), "a,b", "c,b,a"),
        (Some("c"), "a,b,c", "c,b,a"),
    ];
    for (answering, request, response) in cases {
        let filters = ["a", "b", "c"].map(|name| -> Box<dyn HttpFilter> {
            let answers = answering == Some(name);
            Box::new(Tracer { name, answers })
        });
        let chain = FilterChain::new(filters.into(), OverrideTable::default());
        let info = Rc::new(ConnectionInfo::new(1, NO_ADDRESS, NO_ADDRESS));
        let mut pool = ExchangePool::default();
        let mut exchange = pool.take(info, Instant::now(), SystemTime::now());
        let flow = chain.request_headers(&mut exchange, &worker, None);
        assert_eq!(matches!(flow, Flow::Reply(_)), answering.is_some());
        chain.response_headers(&mut exchange, &worker);
        let seen = |headers: &ringway_codecs::header::HeaderMap| -> String {
            let value = headers.get(HeaderId::Via).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        assert_eq!(seen(&exchange.request), request, "{answering:?}");
        assert_eq!(seen(&exchange.response), response, "{answering:?}");
    }
}

/// The filter for `GET /health`, with or without pass-through.
macro_rules! health_check {
    ($pass_through:literal) => {
        concat!(
            r#"{ name: envoy.filters.http.health_check, typed_config: {
                "@type": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck,
                pass_through_mode: "#,
            $pass_through,
            r#", headers: [ { name: ":path", string_match: { exact: /health } } ] } },"#
        )
    };
}

fn with_filter(filters: &'static str) -> Setup {
    Setup {
        filters,
        ..Setup::default()
    }
}

#[test]
fn the_health_check_filter_answers_for_the_host() {
    on_both_drivers(|driver| {
        let origin = Origin::echo();
        let setup = with_filter(health_check!("false"));
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        let mut client = proxy.connect();
        let healthy = client.ask("/health");
        assert_eq!((healthy.status, healthy.text()), (200, ""));
        assert!(
            healthy
                .header("x-envoy-upstream-healthchecked-cluster")
                .is_some()
        );
        assert_eq!(healthy.header("x-envoy-immediate-health-check-fail"), None);

        proxy.apply(vec![Change::HealthFailed(true)]);
        let failed = client.ask("/health");
        assert_eq!(failed.status, 503);
        assert_eq!(
            failed.header("x-envoy-immediate-health-check-fail"),
            Some("true")
        );
        // A failed host also tells its clients to go elsewhere.
        assert_eq!(failed.header("connection"), Some("close"));
        assert!(client.is_at_end());

        proxy.apply(vec![Change::HealthFailed(false)]);
        let mut client = proxy.connect();
        assert_eq!(client.ask("/health").status, 200);
        assert_eq!(origin.accepted(), 0, "the host was never asked");
        let other = client.ask("/other");
        assert_eq!(other.text(), "/other");
        assert_eq!(other.header("x-envoy-upstream-healthchecked-cluster"), None);
        drop(client);
        proxy.check_balance();
    });
}

#[test]
fn the_health_check_filter_lets_the_host_answer() {
    on_both_drivers(|driver| {
        let origin = Origin::answering(|request| match request.path() {
            "/health" => b"HTTP/1.1 204 Well\r\n\r\n".to_vec(),
            path => with_length(path.as_bytes()),
        });
        let setup = with_filter(health_check!("true"));
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        let mut client = proxy.connect();
        let healthy = client.ask("/health");
        assert_eq!(healthy.status, 204);
        assert!(
            healthy
                .header("x-envoy-upstream-healthchecked-cluster")
                .is_some()
        );
        assert_eq!(client.ask("/other").text(), "/other");
        assert_eq!(proxy.cluster("upstream_rq_total"), 2);

        proxy.apply(vec![Change::HealthFailed(true)]);
        let failed = client.ask("/health");
        assert_eq!(failed.status, 503);
        assert_eq!(
            failed.header("x-envoy-immediate-health-check-fail"),
            Some("true")
        );
        assert_eq!(
            proxy.cluster("upstream_rq_total"),
            2,
            "the host was not asked"
        );
        // Other requests are served on.
        let mut client = proxy.connect();
        let other = client.ask("/other");
        assert_eq!(
            (other.text(), other.header("connection")),
            ("/other", Some("close"))
        );
        assert_eq!(
            other.header("x-envoy-immediate-health-check-fail"),
            Some("true")
        );
        drop(client);
        proxy.check_balance();
    });
}

/// `drain_type: MODIFY_ONLY`: the health check is no reason to close.
#[test]
fn a_listener_that_only_drains_when_it_is_changed_keeps_its_connections() {
    on_both_drivers(|driver| {
        let origin = Origin::echo();
        let setup = Setup {
            listener: "drain_type: MODIFY_ONLY,",
            ..with_filter(health_check!("false"))
        };
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        proxy.apply(vec![Change::HealthFailed(true)]);
        let mut client = proxy.connect();
        for _ in 0..3 {
            let failed = client.ask("/health");
            assert_eq!((failed.status, failed.header("connection")), (503, None));
        }
    });
}
