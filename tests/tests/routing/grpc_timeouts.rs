//! Time limits of gRPC requests: what `max_stream_duration` makes of
//! `grpc-timeout`, and what a client is told when its time is over.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: include_str!("grpc_timeouts/routes.yaml"),
    }
}

const LISTENERS: &[Listener] = &[
    listener("unlimited", ""),
    listener(
        "limited",
        "common_http_protocol_options: { max_stream_duration: 3s }",
    ),
    listener(
        "mapped",
        "local_reply_config: { mappers: [{ filter: { status_code_filter: { comparison: \
         { op: EQ, value: { default_value: 504, runtime_key: none } } } }, status_code: 599 }] }",
    ),
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

fn asked(listener: &'static str, name: &'static str, path: &str, timeout: &str) -> Case {
    let timeout = match timeout {
        "" => String::new(),
        timeout => format!("grpc-timeout: {timeout}\r\n"),
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n{timeout}x-end: 1\r\n\r\n"
    );
    case(name, listener, request)
}

fn silent() -> Vec<Act> {
    vec![Act::Read, Act::Drain]
}

/// The origin says this first, and that all is well afterwards.
fn turns(first: &str) -> Vec<Act> {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let say = |text: &str| vec![Act::Send(text.as_bytes().to_vec())];
    vec![Act::Read, Act::Turns(vec![say(first), say(OK)])]
}

fn cases() -> Vec<Case> {
    /// Per listener a name, then path and timeout. Those that end with the
    /// stream's first moment are left out: what is sent by then is a race.
    macro_rules! both {
        ($($path:literal $timeout:literal;)*) => {
            [$(
                asked("unlimited", concat!($path, " ", $timeout), $path, $timeout),
                asked("limited", concat!("limited ", $path, " ", $timeout), $path, $timeout),
            )*]
        };
    }
    let mut all = both! {
        "/none" ""; "/none" "9S"; "/none" "bad";
        "/second" ""; "/second" "9S"; "/second" "0S"; "/second" "bad";
        "/off" ""; "/off" "9S"; "/off" "0S"; "/off" "bad";
        "/empty" ""; "/empty" "9S"; "/empty" "bad";
        "/capped" ""; "/capped" "9S"; "/capped" "1999m"; "/capped" "1H"; "/capped" "bad";
        "/capped" "99999999H"; "/capped" "00000001S"; "/capped" "000000001S"; "/capped" "1s"; "/capped" "+1S"; "/capped" "1 S";
        "/capped" "100000000m"; "/capped" "-1S"; "/capped" "1Sx";
        "/earlier" ""; "/earlier" "3S"; "/earlier" "1M"; "/earlier" "1H"; "/earlier" "99999999H";
        "/earlier" "2500000u"; "/earlier" "99999999m"; "/earlier" "bad";
        "/only-earlier" ""; "/only-earlier" "9S";
        "/second-earlier" ""; "/second-earlier" "9S";
        "/both" ""; "/both" "9S"; "/both" "900m"; "/both" "bad";
        "/timeout" ""; "/timeout" "9S";
        "/days" ""; "/days" "1S";
        "/years" ""; "/years" "1S";
    }
    .to_vec();
    let other = |name, kind: &str| {
        let request = format!(
            "GET /second HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\ngrpc-timeout: 9S\r\n\r\n"
        );
        case(name, "unlimited", request)
    };
    all.extend([
        other("with a suffix", "application/grpc+proto"),
        other("of the web", "application/grpc-web"),
        other("of no gRPC", "text/plain"),
        case(
            "of no type",
            "unlimited",
            "GET /capped HTTP/1.1\r\nhost: a\r\ngrpc-timeout: 9S\r\n\r\n",
        ),
        case(
            "over, of no gRPC",
            "unlimited",
            "GET /short HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .origin(silent()),
        // Nobody answers so soon.
        asked("unlimited", "over in no time", "/earlier", "99999999n").origin(silent()),
        asked(
            "limited",
            "limited, over in no time",
            "/earlier",
            "99999999n",
        )
        .origin(silent()),
        asked("unlimited", "over", "/short", "").origin(silent()),
        asked("unlimited", "over as asked", "/capped", "100m").origin(silent()),
        asked("unlimited", "over as capped", "/capped", "9S").origin(silent()),
        asked(
            "unlimited",
            "over by the route's timeout",
            "/route-timeout",
            "",
        )
        .origin(silent()),
        asked("mapped", "over, mapped", "/short", "").origin(silent()),
        asked(
            "mapped",
            "over by the route's timeout, mapped",
            "/route-timeout",
            "",
        )
        .origin(silent()),
        asked("unlimited", "over, by HEAD", "/short", "").to_head(),
        asked("unlimited", "retried", "/retried", "3S")
            .origin(turns("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")),
        asked("unlimited", "redirected", "/redirected", "3S").origin(turns(
            "HTTP/1.1 302 Found\r\nlocation: http://a/earlier\r\ncontent-length: 0\r\n\r\n",
        )),
    ]);
    all
}

#[test]
fn grpc_timeouts_as_envoy_does() {
    let suite = Comparison {
        suite: Suite::Routing("grpc_timeouts"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("grpc_timeouts_as_envoy_does");
}
