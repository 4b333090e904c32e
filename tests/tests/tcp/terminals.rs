//! The small filters that end a chain, and what they share: the handshake before
//! them, and the counting around them.

use crate::scene::{Act, Case, Listener, Suite, Who, case, client_sends, listener};

const ECHO: &str = r#"
- name: echo
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }
"#;

const LISTENERS: &[Listener] = &[
    listener("echo", ECHO),
    listener(
        "direct",
        r#"
- name: direct
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config
    response: { inline_string: "that is all\n" }
"#,
    ),
    listener(
        "nothing",
        r#"
- name: direct
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config }
"#,
    ),
];

fn cases() -> Vec<Case> {
    use Who::Client;
    let large: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    [
        case(
            "bytes come back",
            "echo",
            &[
                client_sends("one"),
                Act::Read(Client, 3),
                client_sends("two"),
                Act::Read(Client, 3),
                Act::Finish(Client),
                Act::ReadToEnd(Client),
            ],
        ),
        case(
            "many bytes come back",
            "echo",
            &[client_sends(&large), Act::Read(Client, large.len())],
        ),
        case(
            "a reset",
            "echo",
            &[
                client_sends("one"),
                Act::Read(Client, 3),
                Act::Reset(Client),
            ],
        ),
        case("an early end", "echo", &[Act::Close(Client)]),
        case("an answer", "direct", &[Act::ReadToEnd(Client)]),
        case(
            "an answer to a client that has ended",
            "direct",
            &[Act::Finish(Client), Act::ReadToEnd(Client)],
        ),
        case("no answer", "nothing", &[Act::ReadToEnd(Client)]),
    ]
    .map(|case| case.log_lines(0))
    .into()
}

#[test]
fn small_terminal_filters_do_what_envoys_do() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: "",
        behind: "",
        cases,
    };
    suite.run("small_terminal_filters_do_what_envoys_do");
}
