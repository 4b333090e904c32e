//! JSON clients of a gRPC server, through Envoy and through Ringway: what they
//! are answered, and what the server was sent.

use ringway_tests::process::{Process, Program};

use crate::script::{Script, as_in_envoy, python};

/// The listeners, each with the fields of its filter.
const LISTENERS: &[(&str, &str)] = &[
    ("plain", ""),
    (
        "printed",
        "print_options: { add_whitespace: true, always_print_primitive_fields: true, \
         always_print_enums_as_ints: true, preserve_proto_field_names: true }",
    ),
    (
        "lines",
        "auto_mapping: true, convert_grpc_status: true, ignored_query_parameters: [ key ], \
         print_options: { stream_newline_delimited: true }",
    ),
    (
        "events",
        "ignore_unknown_query_parameters: true, case_insensitive_enum_parsing: true, \
         url_unescape_spec: ALL_CHARACTERS, query_param_unescape_plus: true, \
         print_options: { stream_sse_style_delimited: true }",
    ),
    (
        "strict",
        "match_unregistered_custom_verb: true, url_unescape_spec: ALL_CHARACTERS_EXCEPT_SLASH, \
         request_validation_options: { reject_unknown_method: true, \
         reject_unknown_query_parameters: true, reject_binding_body_field_collisions: true }",
    ),
    (
        "captured",
        "capture_unknown_query_parameters: true, ignored_query_parameters: [ key ], \
         request_validation_options: { reject_unknown_query_parameters: true }",
    ),
];

const LISTENER: &str = include_str!("transcoding/listener.yaml");
const BOOTSTRAP: &str = include_str!("transcoding/bootstrap.yaml");

#[test]
fn json_clients_are_answered_as_by_envoy() {
    let test = "json_clients_are_answered_as_by_envoy";
    let Some(python) = python(test) else {
        return;
    };
    let play = |program: &Program| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut script = Script::start(&python, "transcoding.py", folder.path().as_os_str());
        let port = script.ports()[0];
        let listeners: String = LISTENERS
            .iter()
            .map(|(name, fields)| LISTENER.replace("NAME", name).replace("FIELDS", fields))
            .collect();
        let text = BOOTSTRAP
            .replace("LISTENERS", &listeners)
            .replace("PORT", &port.to_string())
            .replace("FOLDER", &folder.path().to_string_lossy());
        let process = Process::start(program, &text);
        let own = LISTENERS.iter().map(|(name, _)| {
            let port = process.listener(name).port();
            format!("{name}={port}")
        });
        script.tell(&own.collect::<Vec<_>>().join(" "));
        script.rest()
    };
    let Some(said) = as_in_envoy(test, play) else {
        return;
    };
    // That both say the same may also mean that nothing works.
    let ok = said.iter().filter(|line| line.contains(": 200 ")).count();
    assert!(ok > 150, "{ok} of {}: {said:#?}", said.len());
    // Parameters that are no fields have reached who carries bodies.
    let unknown = "UnknownQueryParams [('body.nothing', ['a b']), ('name.more', ['3']), \
                   ('nothing', ['1', ";
    let captured = said.iter().filter(|line| line.contains(unknown)).count();
    assert_eq!(captured, 1, "{said:#?}");
    // Each message of a call was answered before the next one was sent.
    let talked = "talk: [b'200'] [None, None, True, None, True, True]";
    let talks = said.iter().filter(|line| line.contains(talked)).count();
    assert_eq!(talks, LISTENERS.len(), "{said:#?}");
}
