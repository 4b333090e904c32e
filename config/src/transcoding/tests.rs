use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3 as pb;

use super::*;

/// Descriptors of this build, which have no services with rules.
fn descriptors() -> Vec<u8> {
    crate::descriptors::pool().encode_to_vec()
}

fn auto(change: impl FnOnce(&mut pb::GrpcJsonTranscoder)) -> Transcoder {
    let mut proto = pb::GrpcJsonTranscoder {
        services: vec![SERVICE.into()],
        auto_mapping: true,
        ..Default::default()
    };
    change(&mut proto);
    Transcoder::new(&descriptors(), &proto).expect("it compiles")
}

const SERVICE: &str = "envoy.service.health.v3.HealthDiscoveryService";

const PATH: &str = "/v3/discovery:health_check";

fn call(transcoder: &Transcoder, query: &str) -> Result<Call, NoCall> {
    transcoder.find(b"POST", format!("{PATH}{query}").as_bytes())
}

fn requested(transcoder: &Transcoder, query: &str, body: &str) -> Result<String, Untranslatable> {
    let call = call(transcoder, query).expect("a call");
    let messages = transcoder.request(&call, b"", body.as_bytes())?;
    let input = transcoder.rules[call.rule].method.input();
    let message = prost_reflect::DynamicMessage::decode(input, &messages[0][..]);
    let message = message.expect("what was written can be read");
    Ok(serde_json::to_string(&message).expect("it has a JSON form"))
}

#[test]
fn requests_become_messages() {
    let plain = auto(|_| {});
    for (query, body, expected) in [
        ("", "", "{}"),
        ("", "{}", "{}"),
        (
            "?health_check_request.node.id=x&healthCheckRequest.node.cluster=a%20b",
            "",
            r#"{"healthCheckRequest":{"node":{"id":"x","cluster":"a b"}}}"#,
        ),
        (
            "?health_check_request.node.id=x",
            r#"{"healthCheckRequest":{"node":{"id":"y"}},"nothing":1}"#,
            r#"{"healthCheckRequest":{"node":{"id":"y"}}}"#,
        ),
        (
            "?health_check_request.capability.health_check_protocols=TCP\
             &health_check_request.capability.health_check_protocols=0",
            "",
            r#"{"healthCheckRequest":{"capability":{"healthCheckProtocols":["TCP","HTTP"]}}}"#,
        ),
    ] {
        assert_eq!(
            requested(&plain, query, body).as_deref(),
            Ok(expected),
            "{query} {body}"
        );
    }
    for body in ["{", "[]", "1", r#"{"healthCheckRequest":1}"#, "{} {}"] {
        assert!(requested(&plain, "", body).is_err(), "{body}");
    }
}

#[test]
fn each_prefix_of_a_body_is_read_or_refused() {
    let plain = auto(|_| {});
    let body = r#"{"healthCheckRequest":{"node":{"id":"\u00e9","metadata":{"a":[1,null]}}}}"#;
    for end in 0..=body.len() {
        let refused = requested(&plain, "", &body[..end]).is_err();
        assert_eq!(refused, end != 0 && end != body.len(), "{end}");
    }
}

#[test]
fn collisions_are_refused_where_they_are_to_be() {
    let strict = auto(|proto| {
        let options = proto.request_validation_options.get_or_insert_default();
        options.reject_binding_body_field_collisions = true;
    });
    let query = "?health_check_request.node.id=x";
    let body = |id| format!(r#"{{"healthCheckRequest":{{"node":{{"id":"{id}"}}}}}}"#);
    assert!(requested(&strict, query, &body("x")).is_ok());
    assert!(requested(&strict, query, &body("y")).is_err());
}

#[test]
fn enums_are_named_in_any_case_where_they_may() {
    let body = r#"{"healthCheckRequest":{"capability":{"healthCheckProtocols":["tcp"]}}}"#;
    assert!(requested(&auto(|_| {}), "", body).is_err());
    let lax = auto(|proto| proto.case_insensitive_enum_parsing = true);
    assert_eq!(
        requested(&lax, "", body).as_deref(),
        Ok(r#"{"healthCheckRequest":{"capability":{"healthCheckProtocols":["TCP"]}}}"#)
    );
}

#[test]
fn what_is_no_call_passes_or_is_refused() {
    let plain = auto(|_| {});
    let strict = auto(|proto| {
        let options = proto.request_validation_options.get_or_insert_default();
        options.reject_unknown_method = true;
        options.reject_unknown_query_parameters = true;
    });
    let lax = auto(|proto| proto.ignore_unknown_query_parameters = true);
    let capturing = auto(|proto| {
        proto.capture_unknown_query_parameters = true;
        let options = proto.request_validation_options.get_or_insert_default();
        options.reject_unknown_query_parameters = true;
    });
    let ignoring = auto(|proto| proto.ignored_query_parameters = vec!["key".into()]);
    let found = |transcoder: &Transcoder, query: &str| call(transcoder, query).map(|_| ());
    assert_eq!(found(&plain, "?key=1"), Err(NoCall::Passed));
    assert!(matches!(
        found(&strict, "?key=1"),
        Err(NoCall::Refused(400, ..))
    ));
    assert_eq!(found(&lax, "?key=1"), Ok(()));
    assert_eq!(found(&ignoring, "?key=1"), Ok(()));
    assert_eq!(found(&capturing, "?key=1"), Ok(()));
    // There is no place for it in a message that carries no body.
    assert_eq!(requested(&capturing, "?key=1", "").as_deref(), Ok("{}"));
    let other = |transcoder: &Transcoder| transcoder.find(b"GET", b"/x?y").map(|_| ());
    assert_eq!(other(&plain), Err(NoCall::Passed));
    assert!(matches!(other(&strict), Err(NoCall::Refused(404, ..))));
}

#[test]
fn statuses_are_written_with_their_details() {
    let none = auto(|_| {});
    assert!(!none.status(5, b"no", None, &mut Vec::new()));
    let written = |details: Option<&[u8]>| {
        let mut out = Vec::new();
        let transcoder = auto(|proto| proto.convert_grpc_status = true);
        assert!(transcoder.status(5, b"no", details, &mut out));
        String::from_utf8(out).expect("text")
    };
    assert_eq!(written(None), r#"{"code":5,"message":"no"}"#);
    assert_eq!(
        written(Some(b"CAcSAzxhPg==")),
        r#"{"code":7,"message":"\u003ca\u003e"}"#
    );
    assert_eq!(written(Some(b"?")), r#"{"code":5,"message":"no"}"#);
}

#[test]
fn what_does_not_fit_is_refused_with_its_field() {
    let refused = |descriptors: &[u8], service: &str| {
        let proto = pb::GrpcJsonTranscoder {
            services: vec![service.into()],
            ..Default::default()
        };
        Transcoder::new(descriptors, &proto)
            .err()
            .map(|(field, _)| field)
    };
    assert_eq!(refused(b"\xff", SERVICE), Some(""));
    assert_eq!(refused(&descriptors(), "a.B"), Some("services"));
    assert_eq!(refused(&descriptors(), SERVICE), None);
}

/// A descriptor set may have rules without the files that define what a rule is.
#[test]
fn rules_need_no_files_of_their_own() {
    use prost::encoding::{WireType, encode_key, encode_varint};
    let field = |tag: u32, value: &[u8]| {
        let mut out = Vec::new();
        encode_key(tag, WireType::LengthDelimited, &mut out);
        encode_varint(value.len() as u64, &mut out);
        [&out[..], value].concat()
    };
    let rule = field(2, b"/r");
    let options = field(72_295_728, &rule);
    let method = [
        field(1, b"R"),
        field(2, b".t.M"),
        field(3, b".t.M"),
        field(4, &options),
    ];
    let service = [field(1, b"S"), field(2, &method.concat())];
    let file = [
        field(1, b"t.proto"),
        field(2, b"t"),
        field(4, &field(1, b"M")),
        field(6, &service.concat()),
        field(12, b"proto3"),
    ];
    let proto = pb::GrpcJsonTranscoder {
        services: vec!["t.S".into()],
        ..Default::default()
    };
    let transcoder = Transcoder::new(&field(1, &file.concat()), &proto).expect("it compiles");
    assert!(transcoder.find(b"GET", b"/r").is_ok());
}
