//! Time limits, retries and redirects are those that are told.

use crate::asking::{Request, get, items, line_of, text};
use crate::setting::{INTERNAL, on_each_driver};
use ringway_tests::origin::Act;

#[test]
fn how_long_responses_wait_for_their_clients_is_told() {
    on_each_driver(|scene| {
        for (path, limit, field) in [
            ("/plain", "300s", "default"),
            ("/idle", "100ms", "idle_timeout: 0.1s"),
            ("/flush", "2s", "flush_timeout: 2s"),
        ] {
            let told = get("a", path, &[]).ask(scene, "decisions", "");
            let flush = &told["timeouts"]["flush"];
            assert_eq!(flush["value"], limit, "{path}");
            match field {
                "default" => assert_eq!(flush["set_at"], field, "{path}"),
                field => assert!(
                    line_of(scene, &flush["set_at"]).contains(field),
                    "{path}: {flush}"
                ),
            }
        }
    });
}

/// The host says nothing: whichever limit is told to be the shortest ends the
/// request.
#[test]
fn the_shortest_limit_that_is_told_ends_the_request() {
    const PER_TRY: (&str, &str) = ("x-envoy-upstream-rq-per-try-timeout-ms", "60");
    const ROUTE: (&str, &str) = ("x-envoy-upstream-rq-timeout-ms", "70");
    const STREAM: (&str, &str) = ("x-envoy-upstream-stream-duration-ms", "65");
    const NO_RETRY: (&str, &str) = ("x-envoy-max-retries", "0");
    const ALT: (&str, &str) = ("x-envoy-upstream-rq-timeout-alt-response", "1");
    let table = [
        (
            get("a", "/slow", &[("grpc-timeout", "100m")]),
            "stream",
            "grpc-timeout",
        ),
        // As much as the route allows.
        (
            get("a", "/slow", &[("grpc-timeout", "30S")]),
            "stream",
            "grpc-timeout",
        ),
        (get("a", "/plain", &[INTERNAL, ROUTE]), "route", ROUTE.0),
        (
            get("a", "/plain", &[INTERNAL, ROUTE, ALT]),
            "route",
            ROUTE.0,
        ),
        (
            get("a", "/plain", &[INTERNAL, STREAM, NO_RETRY]),
            "upstream_stream",
            STREAM.0,
        ),
        (get("a", "/limits", &[]), "per_try_idle", ""),
        (
            get("a", "/limits", &[INTERNAL, ROUTE, NO_RETRY]),
            "route",
            ROUTE.0,
        ),
        (
            get("a", "/limits", &[INTERNAL, PER_TRY, NO_RETRY]),
            "per_try",
            PER_TRY.0,
        ),
        (get("a", "/idle", &[]), "idle", ""),
        (
            get("a", "/brief", &[INTERNAL, NO_RETRY]),
            "upstream_stream",
            "",
        ),
    ];
    on_each_driver(|scene| {
        for (request, shortest, header) in &table {
            let told = request.ask(scene, "decisions", "");
            let timeouts = told["timeouts"].as_object().expect("an object");
            // Of a response that is complete, which there is none.
            let limits = timeouts
                .iter()
                .filter(|(name, _)| *name != "flush")
                .filter_map(|(name, limit)| Some((seconds(limit["value"].as_str()?)?, name)));
            let (_, first) = limits
                .min_by(|one, other| one.0.total_cmp(&other.0))
                .expect("a limit");
            assert_eq!(first, shortest, "{request:?}\n{told:#}");
            let place = text(&timeouts[first]["set_at"]);
            match *header {
                "" => assert!(place.contains(".yaml:"), "{place}"),
                header => assert_eq!(place, format!("the request's header {header}")),
            }
            let case = request.case("decisions");
            let seen = scene.play(&case.origin([Act::Read, Act::Drain]));
            let details = match *shortest {
                "route" => "response_timeout",
                "per_try" => "upstream_per_try_timeout",
                "per_try_idle" => "upstream_per_try_idle_timeout",
                "upstream_stream" => "upstream_max_stream_duration_reached",
                "stream" => "max_duration_timeout",
                _ => "stream_idle_timeout",
            };
            assert_eq!(seen["log[0].details"], details, "{request:?}\n{told:#}");
            if details == "response_timeout" {
                let status = text(&told["timeouts"]["status"]["value"]);
                assert_eq!(seen["log[0].code"], status, "{request:?}\n{told:#}");
            }
        }
    });
}

/// A time as it is told.
fn seconds(text: &str) -> Option<f64> {
    match text.strip_suffix("ms") {
        Some(ms) => ms.parse::<f64>().ok().map(|ms| ms / 1000.0),
        None => text.strip_suffix('s')?.parse().ok(),
    }
}

/// The host refuses every try with 503, so that all retries are made that there
/// are.
#[test]
fn the_retries_that_are_told_are_made() {
    const ON: (&str, &str) = ("x-envoy-retry-on", "retriable-4xx, 5xx");
    const GRPC: (&str, &str) = ("x-envoy-retry-grpc-on", "internal");
    const THREE: (&str, &str) = ("x-envoy-max-retries", "3");
    const CODES: (&str, &str) = ("x-envoy-retriable-status-codes", "503,404");
    const ON_CODES: (&str, &str) = ("x-envoy-retry-on", "retriable-status-codes");
    let table: &[(Request, usize, &[&str])] = &[
        (get("a", "/plain", &[]), 2, &["gateway-error"]),
        (get("a", "/plain", &[THREE]), 2, &["gateway-error"]),
        (
            get("a", "/plain", &[INTERNAL, THREE]),
            3,
            &["gateway-error"],
        ),
        (
            get("a", "/plain", &[INTERNAL, ON, GRPC]),
            2,
            &["5xx", "gateway-error", "retriable-4xx", "internal"],
        ),
        (get("a", "/limits", &[]), 0, &["5xx"]),
        (get("a", "/limits", &[INTERNAL, THREE]), 3, &["5xx"]),
        (get("a", "/chosen", &[("x-again", "1")]), 1, &["5xx"]),
        (get("a", "/chosen", &[]), 0, &[]),
        (get("told.example", "/", &[]), 0, &[]),
        (get("told.example", "/", &[INTERNAL, THREE]), 0, &[]),
        (
            get("told.example", "/", &[INTERNAL, THREE, ON_CODES, CODES]),
            3,
            &["retriable-status-codes"],
        ),
    ];
    on_each_driver(|scene| {
        for (request, retries, on) in table {
            let told = request.ask(scene, "decisions", "");
            let conditions = items(&told["retries"]["on"]).iter();
            let names: Vec<_> = conditions.map(|one| text(&one["name"])).collect();
            assert_eq!(&names, on, "{request:?}\n{told:#}");
            // Without a condition nothing is tried again, however often it may.
            let times = told["retries"]["value"].as_u64().unwrap_or(0);
            let times = if on.is_empty() { 0 } else { times };
            assert_eq!(times, *retries as u64, "{request:?}\n{told:#}");

            let case = request.case("decisions");
            let refusal = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
            let seen = scene.play(&case.answer(refusal));
            let attempts = (retries + 1).to_string();
            assert_eq!(seen["log[0].attempts"], attempts, "{request:?}\n{told:#}");
        }
        let told = get("a", "/plain", &[INTERNAL, ON, GRPC, THREE]).ask(scene, "decisions", "");
        let retries = &told["retries"];
        assert_eq!(
            retries["set_at"],
            "the request's header x-envoy-max-retries"
        );
        let places = items(&retries["on"]).iter().map(|one| text(&one["set_at"]));
        let places: Vec<_> = places.collect();
        assert_eq!(places[0], "the request's header x-envoy-retry-on");
        assert!(places[1].contains(".yaml:"), "{places:?}");
        assert_eq!(places[3], "the request's header x-envoy-retry-grpc-on");
        assert_eq!(retries["hedging"]["value"], true, "{told:#}");
        let line = line_of(scene, &retries["hedging"]["set_at"]);
        assert!(line.contains("hedge_on_per_try_timeout: true"), "{line}");
        let told = get("a", "/limits", &[]).ask(scene, "decisions", "");
        assert_eq!(told["retries"]["hedging"]["value"], false, "{told:#}");
    });
}

#[test]
fn redirects_that_are_followed_are_told() {
    on_each_driver(|scene| {
        let redirect = |status: u16| {
            let head = format!(
                "HTTP/1.1 {status} Away\r\nlocation: http://a/followed\r\ncontent-length: 0\r\n\r\n"
            );
            let case = get("a", "/followed", &[]).case("decisions");
            scene.play(&case.answer(head))
        };
        let told = get("a", "/followed", &[]).ask(scene, "decisions", "");
        let policy = &told["internal_redirect_policy"];
        let most = policy["redirects_at_most"].as_u64().expect("a number");
        let followed = policy["followed_statuses"].as_array().expect("a list");
        for status in [301, 302, 307] {
            let seen = redirect(status);
            let tries = seen.keys().filter(|name| name.starts_with("upstream["));
            let tries = tries.filter(|name| name.ends_with(".line")).count() as u64;
            let expected = match followed.contains(&status.into()) {
                true => 1 + most,
                false => 1,
            };
            assert_eq!(tries, expected, "{status} {policy:#} {seen:#?}");
        }
        let told = get("a", "/plain", &[]).ask(scene, "decisions", "");
        assert!(told["internal_redirect_policy"]["value"].is_null());
    });
}
