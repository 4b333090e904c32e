//! Values, layers and families of keys. What is expected was read off the
//! real Envoy.

use envoy_types::pb::envoy::config::bootstrap::v3::LayeredRuntime;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent as FractionMessage;
use prost::Message;

use super::*;
use crate::diagnostics::{Diagnostics, Marks};
use crate::names::Names;
use crate::{Cx, Format, LoadOptions, load};

/// The layers of a file that consists of them.
fn lower(layers: &str, names: &Names) -> (RuntimeLayers, Vec<String>) {
    let text = format!("layered_runtime:\n  layers:\n{layers}");
    let loaded = load(&text, "f.yaml", Format::Yaml, &LoadOptions::default())
        .unwrap_or_else(|found| panic!("{found}"));
    let message: &LayeredRuntime = loaded
        .bootstrap
        .layered_runtime
        .as_ref()
        .expect("the file has layers");
    let mut found = Diagnostics::new();
    let marks = Marks::new("f.yaml".into());
    let mut cx = Cx::new(&mut found, &marks, None, names);
    let layers = RuntimeLayers::lower(message, &mut cx);
    report_unread(&layers, &mut cx);
    let found = found.iter().map(ToString::to_string).collect();
    (layers, found)
}

fn fraction(numerator: u32, denominator: u32) -> RuntimeValue {
    RuntimeValue::Fraction(FractionalPercent {
        numerator,
        denominator,
    })
}

/// What `key` is worth after `/runtime_modify`.
fn modified(text: &str) -> Result<RuntimeValue, BadValue> {
    let names = Names::default();
    let key = names.runtime_keys.id("key");
    let (mut layers, _) = lower("  - {name: a, admin_layer: {}}\n", &names);
    layers.modify(&[("key".into(), text.into())])?;
    let values = layers.values(&names.runtime_keys);
    Ok(values.get(key).expect("it was set").clone())
}

#[test]
fn texts_and_structs_mean_what_envoy_takes_them_for() {
    let names = Names::default();
    let keys = &names.runtime_keys;
    let text = |text: &str| RuntimeValue::Text(text.into());
    for (written, expected) in [
        ("7", RuntimeValue::Integer(7)),
        ("-3", RuntimeValue::Double(-3.0)),
        ("99.5", RuntimeValue::Double(99.5)),
        ("100.0", RuntimeValue::Integer(100)),
        ("123456789012", RuntimeValue::Integer(123_456_789_012)),
        ("18446744073709551615", RuntimeValue::Integer(u64::MAX)),
        ("1e19", RuntimeValue::Integer(10_000_000_000_000_000_000)),
        ("1e20", RuntimeValue::Double(1e20)),
        ("\" 12 \"", RuntimeValue::Integer(12)),
        ("\"+12\"", RuntimeValue::Integer(12)),
        ("\"0x64\"", RuntimeValue::Integer(100)),
        ("\"1e2\"", RuntimeValue::Integer(100)),
        ("\"12abc\"", text("12abc")),
        ("yes", RuntimeValue::Bool(true)),
        ("\"TRUE\"", RuntimeValue::Bool(true)),
        ("\"yes\"", text("yes")),
        ("\"\"", text("")),
        ("\"numerator: 5\"", text("numerator: 5")),
        ("{numerator: 3}", fraction(3, 100)),
        (
            "{numerator: 3, denominator: TEN_THOUSAND}",
            fraction(3, 10_000),
        ),
        (
            "{numerator: 3, denominator: MILLION}",
            fraction(3, 1_000_000),
        ),
        ("{denominator: MILLION}", fraction(0, 1_000_000)),
        ("{}", fraction(0, 100)),
        ("{numerator: \"3\"}", fraction(0, 100)),
        ("{numerator: -1}", fraction(0, 100)),
        ("{numerator: 3, denominator: million}", text("")),
        ("{numerator: 3, denominator: 2}", text("")),
        ("{numerator: 3, other: 1}", text("")),
    ] {
        let id = keys.id("key");
        let (layers, found) = lower(
            &format!("  - {{name: s, static_layer: {{key: {written}}}}}\n"),
            &names,
        );
        assert_eq!(found, [""; 0], "{written}");
        assert_eq!(layers.values(keys).get(id), Some(&expected), "{written}");
    }
}

#[test]
fn a_change_is_read_as_yaml() {
    for (text, expected) in [
        ("7", RuntimeValue::Integer(7)),
        ("0x10", RuntimeValue::Integer(16)),
        ("\"7\"", RuntimeValue::Integer(7)),
        ("yes", RuntimeValue::Bool(true)),
        ("numerator: 5", fraction(5, 100)),
        (
            "{\"numerator\": 5, \"denominator\": \"MILLION\"}",
            fraction(5, 1_000_000),
        ),
        ("numerator: 99.9", fraction(0, 100)),
        ("[1]", RuntimeValue::Text("[1]".into())),
        ("null", RuntimeValue::Text("null".into())),
    ] {
        assert_eq!(modified(text), Ok(expected), "{text}");
    }
    for text in ["[1", "{", "a: b: c", "a: 1\na: 2"] {
        let refused = modified(text);
        assert!(
            matches!(refused, Err(BadValue::Malformed(_))),
            "{text}: {refused:?}"
        );
    }
}

#[test]
fn the_highest_layer_counts_and_a_bad_change_changes_nothing() {
    let names = Names::default();
    let a = names.runtime_keys.id("a.b");
    let (mut layers, _) = lower(
        "  - {name: one, static_layer: {a: {b: 1}}}\n  - {name: admin, admin_layer: {}}\n  \
         - {name: two, static_layer: {c: 2}}\n",
        &names,
    );
    let value = |layers: &RuntimeLayers| layers.values(&names.runtime_keys).integer(a, 9);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!((value(&layers), layers.is_overridden()), (1, false));
    let changes = [pair("a.b", "5"), pair("a.b", "6"), pair("new", "x")];
    layers.modify(&changes).expect("it is valid");
    assert_eq!((value(&layers), layers.is_overridden()), (5, true));
    let entries = layers.entries();
    assert_eq!(entries["a.b"], ["1", "5", ""]);
    assert_eq!(entries["c"], ["", "", "2"]);
    let broken = layers.modify(&[pair("a.b", "7"), pair("c", "[1")]);
    assert!(broken.is_err());
    assert_eq!(value(&layers), 5);
    let back = [pair("a.b", ""), pair("new", ""), pair("never", "")];
    layers.modify(&back).expect("it is valid");
    assert_eq!((value(&layers), layers.is_overridden()), (1, false));
    let many: Vec<_> = (0..=10_000).map(|n| pair(&n.to_string(), "1")).collect();
    assert_eq!(layers.modify(&many), Err(BadValue::TooMany));
    assert_eq!(
        RuntimeLayers::default().modify(&[]),
        Err(BadValue::NoAdminLayer)
    );
}

#[test]
fn a_family_has_a_value_for_each_name() {
    let names = Names::default();
    let family = names.runtime_keys.family("fault.http.*.abort.http_status");
    let (layers, found) = lower(
        "  - {name: s, static_layer: {fault.http: {one.two.abort: {http_status: 503}, \
         abort.http_status: 500}}}\n",
        &names,
    );
    assert_eq!(
        found,
        [
            "f.yaml: layers[0].static_layer[\"fault.http\"][\"abort.http_status\"]: runtime key \
             fault.http.abort.http_status: nothing reads it yet"
        ]
    );
    let values = layers.values(&names.runtime_keys);
    assert_eq!(values.integer_of(family, b"one.two", 1), 503);
    assert_eq!(values.integer_of(family, b"other", 1), 1);
    assert_eq!(RuntimeValues::default().get_of(family, b"one.two"), None);
}

#[test]
fn a_key_that_would_change_something_is_refused() {
    let names = Names::default();
    names.runtime_keys.id("upstream.mine");
    let (_, found) = lower(
        "  - name: s\n    static_layer:\n      upstream: {use_http2: false, mine: 1}\n      \
         overload.premature_reset_total_stream_count: 1\n      mine: 1\n",
        &names,
    );
    let path = "f.yaml: layers[0].static_layer";
    assert_eq!(
        found,
        [
            format!("{path}[\"mine\"]: runtime key mine: nothing reads it yet"),
            format!(
                "{path}[\"upstream\"][\"use_http2\"]: runtime key upstream.use_http2: not \
                 supported yet"
            ),
        ]
    );
}

#[test]
fn the_origin_of_a_value_is_that_of_the_highest_layer() {
    let names = Names::default();
    let (mut layers, found) = lower(
        "  - {name: one, static_layer: {a: {b: 1}, c: 1}}\n  - {name: two, static_layer: {c: 2}}\n  \
         - {name: admin, admin_layer: {}}\n",
        &names,
    );
    assert!(found.iter().all(|found| found.contains("nothing reads it")));
    let written = |path: &str| Origin::Written(format!("layers{path}").into());
    let of = |layers: &RuntimeLayers, key: &str| layers.origin_of(key).cloned();
    let nested = written("[0].static_layer[\"a\"][\"b\"]");
    assert_eq!(of(&layers, "a.b"), Some(nested));
    let upper = written("[1].static_layer[\"c\"]");
    assert_eq!(of(&layers, "c"), Some(upper.clone()));
    assert_eq!(of(&layers, "d"), None);
    let set = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
    layers.modify(&set("c", "3")).expect("it is valid");
    assert_eq!(of(&layers, "c"), Some(Origin::Modified));
    layers.modify(&set("c", "")).expect("it is valid");
    assert_eq!(of(&layers, "c"), Some(upper));
}

#[test]
fn values_are_shown_as_envoy_shows_them() {
    for (number, expected) in [
        ("0", "0"),
        ("10000", "10000"),
        ("100000", "100000"),
        ("120000", "120000"),
        ("1000000", "1e+06"),
        ("-2147483648", "-2.14748e+09"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1.5e300", "1.5e+300"),
        ("123456.789", "123457"),
        ("999999.9", "1e+06"),
        ("-2.5", "-2.5"),
    ] {
        let number = number.parse().expect("a number");
        assert_eq!(value::general(number, value::VALUE_DIGITS), expected);
    }
    let names = Names::default();
    let (layers, _) = lower(
        "  - {name: s, static_layer: {f: {numerator: 3, denominator: MILLION}, d: 50.0, b: yes}}\n",
        &names,
    );
    let entries = layers.entries();
    assert_eq!((entries["d"][0], entries["b"][0]), ("50.0", "true"));
    assert_eq!(
        entries["f"][0],
        "fields {\n  key: \"denominator\"\n  value {\n    string_value: \"MILLION\"\n  }\n}\n\
         fields {\n  key: \"numerator\"\n  value {\n    number_value: 3\n  }\n}\n"
    );
}

#[test]
fn a_percentage_beyond_a_hundred_is_all() {
    let message = FractionMessage::decode(&[0x08, 1, 0x10, 2][..]).expect("a message");
    let default = FractionalPercent::lower(&message);
    assert_eq!((default.numerator, default.denominator), (1, 1_000_000));
    for (value, random, expected) in [
        (None, 0, true),
        (None, 1, false),
        (Some(RuntimeValue::Integer(50)), 149, true),
        (Some(RuntimeValue::Integer(50)), 150, false),
        (Some(RuntimeValue::Integer(4_294_967_296)), 99, true),
        (Some(RuntimeValue::Double(1.9)), 0, true),
        (Some(RuntimeValue::Double(0.9)), 0, false),
        (Some(RuntimeValue::Double(-0.5)), 0, true),
        (Some(RuntimeValue::Bool(true)), 1, false),
        (Some(fraction(2, 10_000)), 20_001, true),
    ] {
        let taken = default.overridden(value.as_ref()).takes(random);
        assert_eq!(taken, expected, "{value:?} {random}");
    }
}
