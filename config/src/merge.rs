//! What paths become when one message is merged over another.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use std::collections::HashMap;

/// How long the lists of a message are, by path: where a list that is merged
/// over them will be appended.
pub(crate) struct ListLengths(HashMap<String, usize>);

impl ListLengths {
    /// Lists inside other lists, in maps, and in an `Any` are not looked at:
    /// merging appends or replaces those as a whole.
    pub(crate) fn of(message: &DynamicMessage) -> Self {
        let mut lengths = HashMap::new();
        collect(message, "", &mut lengths);
        ListLengths(lengths)
    }

    /// What `path` of the message merged over this one is called afterwards.
    pub(crate) fn moved(&self, path: &str) -> String {
        let unchanged = || path.to_owned();
        let Some((list, rest)) = path.split_once('[') else {
            return unchanged();
        };
        let Some((index, rest)) = rest.split_once(']') else {
            return unchanged();
        };
        match (self.0.get(list), index.parse::<usize>()) {
            (Some(length), Ok(index)) => format!("{list}[{}]{rest}", length + index),
            _ => unchanged(),
        }
    }
}

fn collect(message: &DynamicMessage, path: &str, lengths: &mut HashMap<String, usize>) {
    if message.descriptor().full_name() == crate::loader::ANY {
        return;
    }
    for (field, value) in message.fields() {
        let path = match path {
            "" => field.name().to_owned(),
            _ => format!("{path}.{}", field.name()),
        };
        match value {
            Value::List(items) => {
                lengths.insert(path, items.len());
            }
            Value::Message(message) => collect(message, &path, lengths),
            _ => {}
        }
    }
}
