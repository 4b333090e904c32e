//! What the descriptors say about a message type, looked up once per check.

use super::Checker;
use crate::descriptors;
use crate::diagnostics::{DEPRECATED, Severity};
use envoy_types::pb::validate::FieldRules;
use prost::Message;
use prost_reflect::{
    DynamicMessage, EnumValueDescriptor, ExtensionDescriptor, FieldDescriptor, MessageDescriptor,
    OneofDescriptor,
};
use std::collections::HashMap;
use std::rc::Rc;

/// What to check about messages of one type.
pub(super) struct Plan {
    /// The type asks not to be checked.
    pub disabled: bool,
    pub fields: Vec<Item>,
    pub required_oneofs: Vec<OneofDescriptor>,
}

/// One field of a [`Plan`].
pub(super) struct Item {
    pub field: FieldDescriptor,
    pub rules: Option<FieldRules>,
    pub deprecation: Deprecation,
}

/// The plans made so far.
pub(super) struct Plans {
    made: HashMap<String, Rc<Plan>>,
    rules: Option<ExtensionDescriptor>,
    required: Option<ExtensionDescriptor>,
    disabled: Option<ExtensionDescriptor>,
    disallowed: Option<ExtensionDescriptor>,
}

impl Plans {
    pub(super) fn new() -> Self {
        let extension = |name| descriptors::pool().get_extension_by_name(name);
        Plans {
            made: HashMap::new(),
            rules: extension("validate.rules"),
            required: extension("validate.required"),
            disabled: extension("validate.disabled"),
            disallowed: extension("envoy.annotations.disallowed_by_default"),
        }
    }

    pub(super) fn of(&mut self, message: &MessageDescriptor) -> Rc<Plan> {
        if let Some(plan) = self.made.get(message.full_name()) {
            return plan.clone();
        }
        let plan = Rc::new(Plan {
            disabled: is_true(&message.options(), self.disabled.as_ref()),
            fields: message.fields().map(|field| self.item(field)).collect(),
            required_oneofs: message
                .oneofs()
                .filter(|oneof| is_true(&oneof.options(), self.required.as_ref()))
                .collect(),
        });
        self.made
            .insert(message.full_name().to_owned(), plan.clone());
        plan
    }

    fn item(&self, field: FieldDescriptor) -> Item {
        let options = field.options();
        let rules = self
            .rules
            .as_ref()
            .filter(|extension| options.has_extension(extension))
            .and_then(|extension| {
                let value = options.get_extension(extension);
                let bytes = value.as_message()?.encode_to_vec();
                FieldRules::decode(bytes.as_slice()).ok()
            });
        let deprecation = Deprecation {
            deprecated: is_true_by_name(&options, "deprecated"),
            disallowed: is_true(&options, self.disallowed.as_ref()),
        };
        Item {
            field,
            rules,
            deprecation,
        }
    }
}

/// Whether a field or enum value is on its way out of the API.
#[derive(Clone, Copy)]
pub(super) struct Deprecation {
    deprecated: bool,
    /// Envoy refuses it unless a runtime key allows it.
    disallowed: bool,
}

impl Deprecation {
    pub(super) fn of_enum_value(value: &EnumValueDescriptor) -> Self {
        let options = value.options();
        let disallowed = "envoy.annotations.disallowed_by_default_enum";
        let disallowed = descriptors::pool().get_extension_by_name(disallowed);
        Deprecation {
            deprecated: is_true_by_name(&options, "deprecated"),
            disallowed: is_true(&options, disallowed.as_ref()),
        }
    }

    pub(super) fn report(self, checker: &mut Checker<'_>, path: &str, name: &str) {
        if self.disallowed {
            checker.error(path, format!("{name} is deprecated and no longer allowed"));
        } else if self.deprecated {
            checker.report(Severity::Warning, path, format!("{name} {DEPRECATED}"));
        }
    }
}

fn is_true(options: &DynamicMessage, extension: Option<&ExtensionDescriptor>) -> bool {
    extension.is_some_and(|extension| {
        options.has_extension(extension) && options.get_extension(extension).as_bool() == Some(true)
    })
}

fn is_true_by_name(options: &DynamicMessage, name: &str) -> bool {
    options
        .get_field_by_name(name)
        .is_some_and(|value| value.as_bool() == Some(true))
}
