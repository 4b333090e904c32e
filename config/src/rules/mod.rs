//! Envoy's own validation rules, as its protos state them (`validate.rules`),
//! and its deprecations.
//!
//! Works on messages, wherever they come from: files now, xDS later. The
//! content of an `Any` is checked too; its paths continue those of the `Any`.

mod plan;
mod scalar;
mod text;

use crate::context::type_name;
use crate::descriptors;
use crate::diagnostics::{Diagnostic, Diagnostics, Marks, Severity};
use crate::loader::is_wrapper;
use envoy_types::pb::validate::{
    FieldRules, MapRules, MessageRules, RepeatedRules, field_rules::Type,
};
use plan::{Plan, Plans};
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, Value};
use std::collections::{HashMap, HashSet};

/// Checks a message and all below it. Nothing is said about the paths in
/// `failed`, or about anything whose absence they explain.
pub(crate) fn check(
    message: &DynamicMessage,
    marks: &Marks,
    failed: &HashSet<String>,
    found: &mut Diagnostics,
) {
    let mut checker = Checker {
        plans: Plans::new(),
        patterns: text::Patterns::default(),
        marks,
        failed,
        found,
    };
    checker.message(message, "");
}

struct Checker<'a> {
    plans: Plans,
    patterns: text::Patterns,
    marks: &'a Marks,
    failed: &'a HashSet<String>,
    found: &'a mut Diagnostics,
}

impl Checker<'_> {
    fn message(&mut self, message: &DynamicMessage, path: &str) {
        if self.failed.contains(path) {
            return;
        }
        let descriptor = message.descriptor();
        if descriptor.full_name() == crate::loader::ANY {
            self.any(message, path);
            return;
        }
        let plan = self.plans.of(&descriptor);
        if plan.disabled {
            return;
        }
        self.fields(message, &plan, path);
        for oneof in &plan.required_oneofs {
            let mut members = oneof.fields();
            if members.any(|f| message.has_field(&f) || self.failed.contains(&join(path, f.name())))
            {
                continue;
            }
            let names: Vec<String> = oneof.fields().map(|f| f.name().to_owned()).collect();
            self.error(
                path,
                format!("one of these must be given: {}", names.join(", ")),
            );
        }
    }

    fn fields(&mut self, message: &DynamicMessage, plan: &Plan, path: &str) {
        for item in &plan.fields {
            let field = &item.field;
            let path = join(path, field.name());
            if self.failed.contains(&path) {
                continue;
            }
            let rules = item.rules.as_ref();
            let is_set = message.has_field(field);
            if is_set {
                item.deprecation.report(self, &path, field.full_name());
            } else if field.supports_presence() {
                // A member of a oneof is required by the oneof's own rule.
                if field.containing_oneof().is_none() && rules.is_some_and(is_required) {
                    self.error(&path, "must be given");
                }
                continue;
            }
            let value = message.get_field(field);
            match (&*value, rules.and_then(|r| r.r#type.as_ref())) {
                (Value::List(items), Some(Type::Repeated(rules))) => {
                    self.list(&field.kind(), items, Some(rules), &path);
                }
                (Value::List(items), _) => self.list(&field.kind(), items, None, &path),
                (Value::Map(entries), Some(Type::Map(rules))) => {
                    self.map(&field.kind(), entries, Some(rules), &path);
                }
                (Value::Map(entries), _) => self.map(&field.kind(), entries, None, &path),
                (value, _) => self.value(&field.kind(), value, rules, is_set, &path),
            }
        }
    }

    fn list(&mut self, kind: &Kind, items: &[Value], rules: Option<&RepeatedRules>, path: &str) {
        let count = items.len() as u64;
        if let Some(rules) = rules.filter(|r| !(r.ignore_empty() && items.is_empty())) {
            if rules.min_items.is_some_and(|min| count < min) {
                let reason = format!(
                    "needs at least {}, has {count}",
                    items_text(rules.min_items())
                );
                self.error(path, reason);
            }
            if rules.max_items.is_some_and(|max| count > max) {
                let reason = format!(
                    "has {count}, at most {} allowed",
                    items_text(rules.max_items())
                );
                self.error(path, reason);
            }
            if rules.unique() {
                // Values have no order and no hash; their text has both.
                let mut seen = HashSet::new();
                for (i, item) in items.iter().enumerate() {
                    if !seen.insert(format!("{item:?}")) {
                        self.error(&format!("{path}[{i}]"), "is a repetition");
                    }
                }
            }
        }
        let each = rules.and_then(|r| r.items.as_deref());
        for (i, item) in items.iter().enumerate() {
            self.value(kind, item, each, true, &format!("{path}[{i}]"));
        }
    }

    fn map(
        &mut self,
        pair: &Kind,
        entries: &HashMap<MapKey, Value>,
        rules: Option<&MapRules>,
        path: &str,
    ) {
        let Kind::Message(pair) = pair else { return };
        let count = entries.len() as u64;
        if let Some(rules) = rules.filter(|r| !(r.ignore_empty() && entries.is_empty())) {
            if rules.min_pairs.is_some_and(|min| count < min) {
                let reason = format!(
                    "needs at least {}, has {count}",
                    items_text(rules.min_pairs())
                );
                self.error(path, reason);
            }
            if rules.max_pairs.is_some_and(|max| count > max) {
                let reason = format!(
                    "has {count}, at most {} allowed",
                    items_text(rules.max_pairs())
                );
                self.error(path, reason);
            }
        }
        let key_kind = pair.map_entry_key_field().kind();
        let value_kind = pair.map_entry_value_field().kind();
        let mut sorted: Vec<_> = entries.iter().collect();
        sorted.sort_by_cached_key(|(key, _)| key_text(key));
        for (key, value) in sorted {
            let path = format!("{path}[{}]", key_text(key));
            let key: Value = key.clone().into();
            let key_rules = rules.and_then(|r| r.keys.as_deref());
            self.value(&key_kind, &key, key_rules, true, &path);
            let value_rules = rules.and_then(|r| r.values.as_deref());
            self.value(&value_kind, value, value_rules, true, &path);
        }
    }

    /// `is_set` is false for a scalar that has its default value because
    /// nothing was written.
    fn value(
        &mut self,
        kind: &Kind,
        value: &Value,
        rules: Option<&FieldRules>,
        is_set: bool,
        path: &str,
    ) {
        if self.failed.contains(path) {
            return;
        }
        if let Value::Message(message) = value {
            self.inner_message(message, rules, path);
            return;
        }
        if let (Kind::Enum(of), Value::EnumNumber(number), true) = (kind, value, is_set)
            && let Some(value) = of.get_value(*number)
        {
            plan::Deprecation::of_enum_value(&value).report(self, path, value.full_name());
        }
        let Some(rule) = rules.and_then(|r| r.r#type.as_ref()) else {
            return;
        };
        let mut reasons = Vec::new();
        scalar::check(kind, value, rule, &mut self.patterns, &mut reasons);
        for reason in reasons {
            self.error(path, reason);
        }
    }

    fn inner_message(&mut self, message: &DynamicMessage, rules: Option<&FieldRules>, path: &str) {
        if rules.is_some_and(|r| r.message.as_ref().is_some_and(MessageRules::skip)) {
            return;
        }
        let descriptor = message.descriptor();
        let rule = rules.and_then(|r| r.r#type.as_ref());
        match (descriptor.full_name(), rule) {
            ("google.protobuf.Duration", rule) => {
                let mut reasons = Vec::new();
                scalar::check_duration(message, rule, &mut reasons);
                for reason in reasons {
                    self.error(path, reason);
                }
            }
            (name, _) if is_wrapper(name) => {
                if let Some(field) = descriptor.get_field(1) {
                    let value = message.get_field(&field);
                    self.value(&field.kind(), &value, rules, true, path);
                }
            }
            (crate::loader::ANY, Some(Type::Any(rule))) => {
                let type_url = crate::loader::any_type_url(message);
                let is_listed = |list: &[String]| list.contains(&type_url);
                if !rule.r#in.is_empty() && !is_listed(&rule.r#in) || is_listed(&rule.not_in) {
                    self.error(path, format!("the type {type_url} is not allowed here"));
                }
                self.message(message, path);
            }
            _ => self.message(message, path),
        }
    }

    fn any(&mut self, any: &DynamicMessage, path: &str) {
        let type_url = crate::loader::any_type_url(any);
        if type_url.is_empty() {
            return;
        }
        let Some(descriptor) = descriptors::pool().get_message_by_name(type_name(&type_url)) else {
            self.error(path, format!("unknown type \"{type_url}\""));
            return;
        };
        match crate::loader::any_content(any, descriptor) {
            Ok(content) => self.inner_message(&content, None, path),
            Err(error) => self.error(path, format!("the bytes are not a {type_url}: {error}")),
        }
    }

    fn error(&mut self, path: &str, reason: impl Into<String>) {
        self.report(Severity::Error, path, reason.into());
    }

    fn report(&mut self, severity: Severity, path: &str, reason: String) {
        self.found.push(Diagnostic {
            severity,
            file: self.marks.file(path).cloned(),
            position: self.marks.position(path),
            path: path.to_owned(),
            reason,
        });
    }
}

fn is_required(rules: &FieldRules) -> bool {
    rules.message.as_ref().is_some_and(MessageRules::required)
        || match &rules.r#type {
            Some(Type::Duration(rules)) => rules.required(),
            Some(Type::Any(rules)) => rules.required(),
            Some(Type::Timestamp(rules)) => rules.required(),
            _ => false,
        }
}

fn items_text(count: u64) -> String {
    match count {
        1 => "1 item".into(),
        _ => format!("{count} items"),
    }
}

/// A map key as paths show it.
fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(key) => format!("{key:?}"),
        MapKey::Bool(key) => format!("\"{key}\""),
        MapKey::I32(key) => format!("\"{key}\""),
        MapKey::I64(key) => format!("\"{key}\""),
        MapKey::U32(key) => format!("\"{key}\""),
        MapKey::U64(key) => format!("\"{key}\""),
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests;
