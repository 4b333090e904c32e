//! `envoy.type.matcher.v3.MetadataMatcher` and `ValueMatcher`.

use envoy_types::pb::envoy::r#type::matcher::v3 as proto;

use crate::context::Cx;
use crate::metadata::{Found, Metadata, Value};
use crate::route::StringMatcher;

/// A compiled test of one value of some metadata.
#[derive(Debug)]
pub struct MetadataMatcher {
    namespace: Box<str>,
    path: Box<[Box<str>]>,
    value: ValueMatcher,
    invert: bool,
}

/// A compiled test of a value.
#[derive(Debug)]
pub enum ValueMatcher {
    /// It is null.
    Null,
    /// It is a number in the half-open range.
    Range(f64, f64),
    /// It is this number.
    Number(f64),
    /// It is a text that passes.
    Text(StringMatcher),
    /// It is this truth value.
    Bool(bool),
    /// `present_match`: true passes any value, false none, not even an absent
    /// one.
    Present(bool),
    /// It is a list, and one of its values passes.
    OneOf(Box<ValueMatcher>),
    /// One of these tests passes.
    Or(Box<[ValueMatcher]>),
}

impl MetadataMatcher {
    /// Whether the metadata passes.
    pub fn matches(&self, metadata: &Metadata) -> bool {
        let found = metadata.find(&self.namespace, &self.path);
        self.value.matches(found) != self.invert
    }

    /// Compiles the message, or reports why not.
    pub fn lower(message: &proto::MetadataMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        use proto::metadata_matcher::path_segment::Segment;
        let path = message.path.iter().enumerate().map(|(i, segment)| {
            cx.index("path", i, |cx| match &segment.segment {
                Some(Segment::Key(key)) => Some(key.as_str().into()),
                None => {
                    cx.error("key is required");
                    None
                }
            })
        });
        let path: Vec<Option<Box<str>>> = path.collect();
        let value = match &message.value {
            Some(value) => cx.field("value", |cx| ValueMatcher::lower(value, cx)),
            None => {
                cx.error_at("value", "is required");
                None
            }
        };
        Some(MetadataMatcher {
            namespace: message.filter.as_str().into(),
            path: path.into_iter().collect::<Option<_>>()?,
            value: value?,
            invert: message.invert,
        })
    }
}

impl ValueMatcher {
    /// Whether a value, or its absence, passes.
    pub fn matches(&self, found: Option<Found<'_>>) -> bool {
        match (self, found) {
            (ValueMatcher::Or(tests), found) => tests.iter().any(|test| test.matches(found)),
            (ValueMatcher::Present(wanted), found) => *wanted && found.is_some(),
            (_, None | Some(Found::Struct(_))) => false,
            (test, Some(Found::Value(value))) => test.matches_value(value),
        }
    }

    fn matches_value(&self, value: &Value) -> bool {
        match (self, value) {
            (ValueMatcher::Null, Value::Null) => true,
            (ValueMatcher::Range(start, end), Value::Number(number)) => {
                (*start..*end).contains(number)
            }
            (ValueMatcher::Number(wanted), Value::Number(number)) => wanted == number,
            (ValueMatcher::Text(test), Value::Text(text)) => test.matches(text),
            (ValueMatcher::Bool(wanted), Value::Bool(value)) => wanted == value,
            (ValueMatcher::OneOf(test), Value::List(values)) => {
                values.iter().any(|value| test.matches(Some(found(value))))
            }
            _ => false,
        }
    }

    /// Compiles the message, or reports why not.
    pub fn lower(message: &proto::ValueMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        use proto::value_matcher::MatchPattern;
        match &message.match_pattern {
            Some(MatchPattern::NullMatch(_)) => Some(ValueMatcher::Null),
            Some(MatchPattern::BoolMatch(wanted)) => Some(ValueMatcher::Bool(*wanted)),
            Some(MatchPattern::PresentMatch(wanted)) => Some(ValueMatcher::Present(*wanted)),
            Some(MatchPattern::DoubleMatch(double)) => {
                cx.field("double_match", |cx| Self::lower_double(double, cx))
            }
            Some(MatchPattern::StringMatch(text)) => cx
                .field("string_match", |cx| StringMatcher::lower(text, cx))
                .map(ValueMatcher::Text),
            Some(MatchPattern::ListMatch(list)) => {
                use proto::list_matcher::MatchPattern as Pattern;
                cx.field("list_match", |cx| match &list.match_pattern {
                    Some(Pattern::OneOf(test)) => cx
                        .field("one_of", |cx| Self::lower(test, cx))
                        .map(|test| ValueMatcher::OneOf(Box::new(test))),
                    None => {
                        cx.error_at("one_of", "is required");
                        None
                    }
                })
            }
            Some(MatchPattern::OrMatch(or)) => cx.field("or_match", |cx| {
                let tests: Vec<_> = or
                    .value_matchers
                    .iter()
                    .enumerate()
                    .map(|(i, test)| cx.index("value_matchers", i, |cx| Self::lower(test, cx)))
                    .collect();
                let tests: Option<_> = tests.into_iter().collect();
                Some(ValueMatcher::Or(tests?))
            }),
            None => {
                cx.error(
                    "one of null_match, double_match, string_match, bool_match, present_match, \
                     list_match and or_match is needed",
                );
                None
            }
        }
    }

    fn lower_double(message: &proto::DoubleMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        use proto::double_matcher::MatchPattern;
        match &message.match_pattern {
            Some(MatchPattern::Range(range)) => Some(ValueMatcher::Range(range.start, range.end)),
            Some(MatchPattern::Exact(number)) => Some(ValueMatcher::Number(*number)),
            None => {
                cx.error("one of range and exact is needed");
                None
            }
        }
    }
}

fn found(value: &Value) -> Found<'_> {
    match value {
        Value::Struct(inner) => Found::Struct(inner),
        value => Found::Value(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{Diagnostics, Marks};
    use crate::metadata::Struct;
    use crate::names::Names;
    use proto::metadata_matcher::{PathSegment, path_segment::Segment};
    use proto::value_matcher::MatchPattern;

    /// A namespace with one field, or none.
    fn metadata(value: Option<Value>) -> Metadata {
        let mut metadata = Metadata::default();
        let fields = metadata.entry("ns");
        if let Some(value) = value {
            fields.set("k", value);
        }
        metadata
    }

    fn matcher(pattern: MatchPattern, invert: bool) -> MetadataMatcher {
        let message = proto::MetadataMatcher {
            filter: "ns".into(),
            path: vec![PathSegment {
                segment: Some(Segment::Key("k".into())),
            }],
            value: Some(value(pattern)),
            invert,
        };
        let mut diagnostics = Diagnostics::new();
        let (marks, names) = (Marks::default(), Names::default());
        let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
        MetadataMatcher::lower(&message, &mut cx).expect("a good message")
    }

    fn value(pattern: MatchPattern) -> proto::ValueMatcher {
        proto::ValueMatcher {
            match_pattern: Some(pattern),
        }
    }

    #[test]
    fn table() {
        use proto::double_matcher::MatchPattern as Double;
        let text = |text: &str| Value::text(text.as_bytes());
        let exact = |text: &str| {
            MatchPattern::StringMatch(proto::StringMatcher {
                match_pattern: Some(proto::string_matcher::MatchPattern::Exact(text.into())),
                ..Default::default()
            })
        };
        let double = |pattern| {
            MatchPattern::DoubleMatch(proto::DoubleMatcher {
                match_pattern: Some(pattern),
            })
        };
        let range = double(Double::Range(
            envoy_types::pb::envoy::r#type::v3::DoubleRange {
                start: 1.0,
                end: 2.0,
            },
        ));
        let one_of = |pattern| {
            MatchPattern::ListMatch(Box::new(proto::ListMatcher {
                match_pattern: Some(proto::list_matcher::MatchPattern::OneOf(Box::new(value(
                    pattern,
                )))),
            }))
        };
        let or = MatchPattern::OrMatch(proto::OrMatcher {
            value_matchers: vec![value(exact("a")), value(MatchPattern::BoolMatch(true))],
        });
        let number = Value::Number;
        let empty = || Value::Struct(Struct::default());
        for (pattern, yes, no) in [
            (
                MatchPattern::NullMatch(Default::default()),
                vec![Some(Value::Null)],
                vec![
                    None,
                    Some(text("")),
                    Some(Value::Bool(false)),
                    Some(empty()),
                ],
            ),
            (
                range,
                vec![Some(number(1.0)), Some(number(1.999))],
                vec![Some(number(2.0)), Some(number(0.9)), Some(text("1")), None],
            ),
            (
                double(Double::Exact(1.5)),
                vec![Some(number(1.5))],
                vec![Some(number(1.0)), Some(Value::Null)],
            ),
            (
                exact("a"),
                vec![Some(text("a"))],
                vec![Some(text("A")), Some(Value::List(vec![text("a")])), None],
            ),
            (
                MatchPattern::BoolMatch(false),
                vec![Some(Value::Bool(false))],
                vec![Some(Value::Bool(true)), Some(Value::Null), None],
            ),
            (
                MatchPattern::PresentMatch(true),
                vec![Some(Value::Null), Some(empty()), Some(text(""))],
                vec![None],
            ),
            (
                MatchPattern::PresentMatch(false),
                vec![],
                vec![None, Some(Value::Null)],
            ),
            (
                one_of(exact("a")),
                vec![Some(Value::List(vec![Value::Null, text("a")]))],
                vec![Some(text("a")), Some(Value::List(vec![])), None],
            ),
            (
                or,
                vec![Some(text("a")), Some(Value::Bool(true))],
                vec![Some(text("b")), Some(Value::Bool(false)), None],
            ),
        ] {
            let [plain, inverted] = [false, true].map(|invert| matcher(pattern.clone(), invert));
            for (values, expected) in [(yes, true), (no, false)] {
                for value in values {
                    let metadata = metadata(value);
                    assert_eq!(
                        plain.matches(&metadata),
                        expected,
                        "{pattern:?} {metadata:?}"
                    );
                    assert_eq!(inverted.matches(&metadata), !expected, "{pattern:?}");
                }
            }
        }
        assert!(matcher(exact("a"), true).matches(Metadata::EMPTY));
    }
}
