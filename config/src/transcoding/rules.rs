//! The `google.api.http` rules of a descriptor set's services.

use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3 as pb;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

use super::binding::resolve;
use super::template::Template;
use super::{HTTP_BODY, Rule};
use crate::descriptors;

/// The option that has a method's rule.
const HTTP: &str = "google.api.http";

/// The files that define it. Descriptor sets may have the option without them.
const HTTP_FILES: [&str; 3] = [
    "google/protobuf/descriptor.proto",
    "google/api/http.proto",
    "google/api/annotations.proto",
];

/// What a status of a call is written as.
const STATUS: &str = "google.rpc.Status";

/// The files that define it.
const STATUS_FILES: [&str; 2] = ["google/protobuf/any.proto", "google/rpc/status.proto"];

/// What a configuration's descriptor set is compiled to.
pub(super) struct Compiled {
    pub rules: Vec<Rule>,
    pub status: Option<MessageDescriptor>,
}

/// Compiles the rules of the services that are named.
pub(super) fn compile(
    descriptors: &[u8],
    proto: &pb::GrpcJsonTranscoder,
) -> Result<Compiled, (&'static str, String)> {
    let unreadable = |error| format!("is no descriptor set: {error}");
    let mut pool = DescriptorPool::decode(descriptors).map_err(|error| ("", unreadable(error)))?;
    if pool.get_extension_by_name(HTTP).is_none() {
        add(&mut pool, &HTTP_FILES).map_err(|reason| ("", reason))?;
    }
    if proto.convert_grpc_status && pool.get_message_by_name(STATUS).is_none() {
        add(&mut pool, &STATUS_FILES).map_err(|reason| ("convert_grpc_status", reason))?;
    }
    let option = pool.get_extension_by_name(HTTP);
    let mut rules = Vec::new();
    for name in &proto.services {
        let service = pool.get_service_by_name(name);
        let missing = || {
            (
                "services",
                format!("the descriptor set has no service {name:?}"),
            )
        };
        for method in service.ok_or_else(missing)?.methods() {
            let wrong = |reason| ("services", format!("{}: {reason}", method.full_name()));
            match option
                .as_ref()
                .and_then(|option| http_rule(&method, option))
            {
                Some(rule) => add_rule(&method, &rule, true, &mut rules).map_err(wrong)?,
                None if proto.auto_mapping => rules.push(Rule {
                    http_method: "POST".into(),
                    template: Template::parse(&format!("/{name}/{}", method.name()))
                        .map_err(wrong)?,
                    body: Vec::new(),
                    response_body: Vec::new(),
                    method,
                }),
                None => {}
            }
        }
    }
    let status = pool.get_message_by_name(STATUS);
    Ok(Compiled {
        rules,
        status: status.filter(|_| proto.convert_grpc_status),
    })
}

fn http_rule(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Option<DynamicMessage> {
    let options = method.options();
    options
        .has_extension(option)
        .then(|| options.get_extension(option).as_message().cloned())
        .flatten()
}

fn add_rule(
    method: &MethodDescriptor,
    rule: &DynamicMessage,
    is_outer: bool,
    rules: &mut Vec<Rule>,
) -> Result<(), String> {
    let text = |name: &str| {
        let value = rule.get_field_by_name(name);
        value.and_then(|value| value.as_str().map(str::to_owned))
    };
    let verbs = ["get", "put", "post", "delete", "patch"];
    let plain = verbs.iter().find(|verb| rule.has_field_by_name(verb));
    let (http_method, path) = match plain {
        Some(verb) => (verb.to_ascii_uppercase(), text(verb).unwrap_or_default()),
        None => {
            let custom = rule.get_field_by_name("custom");
            let part = |name| {
                let custom = custom.as_ref()?.as_message()?;
                Some(custom.get_field_by_name(name)?.as_str()?.to_owned())
            };
            let kind: String = part("kind").unwrap_or_default();
            if !rule.has_field_by_name("custom") {
                return Err(format!("its {HTTP} names no path"));
            }
            (kind, part("path").unwrap_or_default())
        }
    };
    let fields = |name: &str, message: &MessageDescriptor| match text(name).as_deref() {
        None | Some("" | "*") => Ok(Vec::new()),
        Some(path) => {
            let path: Vec<_> = path.split('.').map(str::to_owned).collect();
            resolve(message, &path)
        }
    };
    let response_body = fields("response_body", &method.output())?;
    // As in Envoy, only what carries a body can be a part of a response.
    if let Some(last) = response_body.last()
        && !matches!(last.kind(), Kind::Message(message) if message.full_name() == HTTP_BODY)
    {
        return Err(format!("its response_body is no {HTTP_BODY}"));
    }
    rules.push(Rule {
        http_method: http_method.into(),
        template: Template::parse(&path)?,
        body: fields("body", &method.input())?,
        response_body,
        method: method.clone(),
    });
    if let Some(more) = rule.get_field_by_name("additional_bindings")
        && is_outer
    {
        for more in more.as_list().unwrap_or_default() {
            if let Some(more) = more.as_message() {
                add_rule(method, more, false, rules)?;
            }
        }
    }
    Ok(())
}

/// Adds files that a descriptor set uses without having them.
fn add(pool: &mut DescriptorPool, files: &[&str]) -> Result<(), String> {
    let ours = descriptors::pool();
    for name in files {
        if pool.get_file_by_name(name).is_none()
            && let Some(file) = ours.get_file_by_name(name)
        {
            pool.add_file_descriptor_proto(file.file_descriptor_proto().clone())
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
