//! Objects that filters leave in the filter state because the configuration says
//! so (`envoy.extensions.filters.common.set_filter_state.v3`).

use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3 as common;
use ringway_config::context::Cx;
use ringway_config::filter_state::{Factory, NoFactory, Object};

use crate::formatter::{Context, Format};

/// A compiled `FilterStateValue`.
pub struct FilterStateValue {
    key: Box<str>,
    factory: Factory,
    format: Format,
    skip_if_empty: bool,
}

impl FilterStateValue {
    /// Compiles the list `field`, or reports what is wrong with it.
    pub fn compile_all(
        protos: &[common::FilterStateValue],
        field: &str,
        cx: &mut Cx<'_>,
    ) -> Option<Box<[Self]>> {
        let protos = protos.iter().enumerate();
        let values: Vec<_> = protos
            .map(|(i, value)| cx.index(field, i, |cx| Self::compile(value, cx)))
            .collect();
        values.into_iter().collect()
    }

    fn compile(proto: &common::FilterStateValue, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(common::filter_state_value::Key::ObjectKey(key)) = &proto.key else {
            cx.error_at("object_key", "is required");
            return None;
        };
        let Some(common::filter_state_value::Value::FormatString(format)) = &proto.value else {
            cx.error_at("format_string", "is required");
            return None;
        };
        // Without a factory of its own an object is made by the one that has
        // its key as a name.
        let (field, name) = match proto.factory_key.as_str() {
            "" => ("object_key", key.as_str()),
            name => ("factory_key", name),
        };
        let factory = Factory::find(name);
        match factory {
            Ok(_) => {}
            Err(NoFactory::Unknown) => cx.error_at(
                field,
                format!(
                    "there is no factory {name:?}, in Envoy neither; an object of another key \
                     needs a factory_key, such as envoy.string"
                ),
            ),
            Err(NoFactory::NothingReads(reader)) => cx.error_at(
                field,
                format!("objects of {name:?} are not supported yet: they are for {reader}"),
            ),
        }
        let format = cx.field("format_string", |cx| Format::compile(format, cx));
        Some(Self {
            key: key.as_str().into(),
            factory: factory.ok()?,
            format: format?,
            skip_if_empty: proto.skip_if_empty,
        })
    }

    /// The object's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Makes the object, if there is anything to make it of.
    pub fn create(&self, context: &Context<'_>) -> Option<Object> {
        let mut text = Vec::new();
        self.format.write(context, &mut text);
        if text.is_empty() && self.skip_if_empty {
            return None;
        }
        self.factory.create(&text)
    }
}
