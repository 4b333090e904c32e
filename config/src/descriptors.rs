//! The protobuf descriptors of Envoy's whole v3 API.

use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use prost::Name;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::sync::LazyLock;

/// An encoded `FileDescriptorSet`, put there by the build script.
static ENCODED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/types.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(ENCODED).expect("the embedded descriptors are valid");
    for package in TYPED_STRUCT_PACKAGES {
        if pool
            .get_message_by_name(&format!("{package}.TypedStruct"))
            .is_none()
        {
            pool.add_file_descriptor_proto(typed_struct(package))
                .expect("TypedStruct is well formed");
        }
    }
    for file in (contributed().into_iter())
        .chain(matchers())
        .chain(of_cel())
    {
        pool.add_file_descriptor_proto(file)
            .expect("the messages of extensions are well formed");
    }
    pool
});

/// The packages that define a `TypedStruct`, the same in both. The embedded
/// descriptors have neither, because no message of the API refers to them:
/// they only ever stand in an `Any`.
const TYPED_STRUCT_PACKAGES: [&str; 2] = ["xds.type.v3", "udpa.type.v1"];

/// All message types of the API. Built on first use, which takes some tens of
/// milliseconds: keep it off the data path.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The descriptor of `envoy.config.bootstrap.v3.Bootstrap`.
pub fn bootstrap() -> MessageDescriptor {
    of::<Bootstrap>()
}

/// The descriptor of a message of the API.
pub(crate) fn of<M: Name>() -> MessageDescriptor {
    pool()
        .get_message_by_name(&M::full_name())
        .expect("the descriptors are those of the messages")
}

/// Whether a message of this full name is a `TypedStruct`: a type URL and a
/// `Struct` that is to be read as that type.
pub(crate) fn is_typed_struct(name: &str) -> bool {
    name.strip_suffix(".TypedStruct")
        .is_some_and(|package| TYPED_STRUCT_PACKAGES.contains(&package))
}

fn typed_struct(package: &str) -> FileDescriptorProto {
    let fields = vec![
        field("type_url", 1, Type::String, None),
        field("value", 2, Type::Message, Some(".google.protobuf.Struct")),
    ];
    FileDescriptorProto {
        name: Some(format!("{}/typed_struct.proto", package.replace('.', "/"))),
        dependency: vec!["google/protobuf/struct.proto".into()],
        ..file(package, "TypedStruct", fields)
    }
}

/// Messages of extensions that Envoy has in its `contrib` folder. The embedded
/// descriptors are those of `api/envoy` only.
fn contributed() -> [FileDescriptorProto; 2] {
    let message = |name, number, type_name| field(name, number, Type::Message, Some(type_name));
    let policy = vec![
        message("decay_time", 1, DURATION),
        message("aggregation_interval", 2, DURATION),
        message("max_samples_per_host", 3, ".google.protobuf.UInt32Value"),
        message("default_rtt", 4, DURATION),
        message("penalty_value", 5, ".google.protobuf.DoubleValue"),
    ];
    [
        FileDescriptorProto {
            dependency: vec![
                "google/protobuf/duration.proto".into(),
                "google/protobuf/wrappers.proto".into(),
            ],
            ..file(
                "envoy.extensions.load_balancing_policies.peak_ewma.v3alpha",
                "PeakEwma",
                policy,
            )
        },
        file(
            "envoy.extensions.filters.http.peak_ewma.v3alpha",
            "PeakEwmaConfig",
            Vec::new(),
        ),
    ]
}

/// Messages of matchers that stand in an `Any`, too.
fn matchers() -> [FileDescriptorProto; 2] {
    let list = |name: &str, number, kind, of: Option<&str>| FieldDescriptorProto {
        label: Some(Label::Repeated.into()),
        ..field(name, number, kind, of)
    };
    let on_match = ".xds.type.matcher.v3.Matcher.OnMatch";
    let on_match = field("on_match", 2, Type::Message, Some(on_match));
    let matcher = |name: &str, lists: &str, of: &str, fields| {
        let package = "xds.type.matcher.v3";
        let of_list = format!(".{package}.{name}.{of}");
        let lists = list(lists, 1, Type::Message, Some(&of_list));
        let mut file = file(package, name, vec![lists]);
        file.dependency = vec![
            "xds/core/v3/cidr.proto".into(),
            "xds/type/matcher/v3/matcher.proto".into(),
        ];
        for message in &mut file.message_type {
            message.nested_type = vec![DescriptorProto {
                name: Some(of.into()),
                field: Vec::clone(&fields),
                ..Default::default()
            }];
        }
        file
    };
    let ranges = list("ranges", 1, Type::Message, Some(".xds.core.v3.CidrRange"));
    let exclusive = field("exclusive", 3, Type::Bool, None);
    let domains = list("domains", 1, Type::String, None);
    [
        matcher(
            "IPMatcher",
            "range_matchers",
            "IPRangeMatcher",
            vec![ranges, on_match.clone(), exclusive],
        ),
        matcher(
            "ServerNameMatcher",
            "domain_matchers",
            "DomainMatcher",
            vec![domains, on_match],
        ),
    ]
}

/// What matches by expressions, which is not supported: that is told of it, and not that
/// nobody knows it.
fn of_cel() -> [FileDescriptorProto; 2] {
    let (package, expression) = ("xds.type.matcher.v3", ".xds.type.v3.CelExpression");
    let fields = vec![
        field("expr_match", 1, Type::Message, Some(expression)),
        field("description", 2, Type::String, None),
    ];
    [
        FileDescriptorProto {
            dependency: vec!["xds/type/v3/cel.proto".into()],
            ..file(package, "CelMatcher", fields)
        },
        file(package, "HttpAttributesCelMatchInput", Vec::new()),
    ]
}

const DURATION: &str = ".google.protobuf.Duration";

/// A file with one message.
fn file(package: &str, message: &str, field: Vec<FieldDescriptorProto>) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(format!(
            "contrib/{}/{message}.proto",
            package.replace('.', "/")
        )),
        package: Some(package.into()),
        message_type: vec![DescriptorProto {
            name: Some(message.into()),
            field,
            ..Default::default()
        }],
        syntax: Some("proto3".into()),
        ..Default::default()
    }
}

fn field(name: &str, number: i32, kind: Type, type_name: Option<&str>) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(i32::from(kind)),
        type_name: type_name.map(Into::into),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_there() {
        for name in [
            "envoy.config.bootstrap.v3.Bootstrap",
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "xds.type.v3.TypedStruct",
            "udpa.type.v1.TypedStruct",
            "envoy.extensions.load_balancing_policies.peak_ewma.v3alpha.PeakEwma",
            "envoy.extensions.filters.http.peak_ewma.v3alpha.PeakEwmaConfig",
            "xds.type.matcher.v3.IPMatcher.IPRangeMatcher",
            "xds.type.matcher.v3.ServerNameMatcher.DomainMatcher",
            "xds.type.matcher.v3.CelMatcher",
            "google.protobuf.Any",
        ] {
            assert!(pool().get_message_by_name(name).is_some(), "{name}");
        }
        assert!(pool().get_extension_by_name("validate.rules").is_some());
    }
}
