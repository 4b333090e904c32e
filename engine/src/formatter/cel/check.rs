//! Names of an expression resolved: to attributes, functions, types. What
//! Envoy refuses when it loads a configuration is refused here, and what it
//! can do and we cannot, too.

use super::super::metadata::Owner;
use super::attributes::{Attribute, Root, Selected};
use super::parser::{Expr, Operator};
use super::time;
use super::value::Value;
use crate::formatter::operator::Side;
use regex::bytes::Regex;
use ringway_config::route::compile_search;
use std::borrow::Cow;

/// An expression that can be computed.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Value<'static>),
    Attribute(Attribute),
    /// Never has a value.
    Never,
    Header(Side, Box<Node>),
    HasHeader(Side, Box<Node>),
    /// A namespace of metadata.
    Namespace(Owner, Box<Node>),
    HasNamespace(Owner, Box<Node>),
    /// There is a namespace.
    HasNamespaces(Owner),
    FilterState(Box<Node>),
    HasFilterState(Box<Node>),
    /// The attribute has a value.
    IsSet(Attribute),
    /// An entry of a map by its name.
    Select(Box<Node>, Box<[u8]>),
    Has(Box<Node>, Box<[u8]>),
    Index(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    And(Box<[Node]>),
    Or(Box<[Node]>),
    Conditional(Box<[Node; 3]>),
    Call(Function, Box<[Node]>),
    Matches(Box<Node>, Box<Regex>),
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
}

/// A function with the number of arguments that its name has once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Uint,
    Double,
    Bool,
    Bytes,
    Dyn,
    Type,
    /// Of an integer or a time itself; of a literal it is a constant.
    Timestamp,
    /// Of a duration itself.
    Duration,
    /// A field of a time or of a duration, `ahead` seconds east of UTC.
    Get {
        field: Field,
        ahead: i64,
        zoned: bool,
    },
}

/// What can be asked of times and durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// What an expression stands for.
enum Resolved {
    Node(Node),
    Root(Root, String),
}

/// Resolves a whole expression.
pub(super) fn check(expr: Expr) -> Result<Node, String> {
    match resolve(expr)? {
        Resolved::Node(node) => Ok(node),
        Resolved::Root(_, name) => Err(format!("{name} as a whole is not supported yet")),
    }
}

fn boxed(expr: Expr) -> Result<Box<Node>, String> {
    check(expr).map(Box::new)
}

fn all(exprs: Vec<Expr>) -> Result<Box<[Node]>, String> {
    exprs.into_iter().map(check).collect()
}

fn text(bytes: Vec<u8>) -> Node {
    Node::Constant(Value::Text(Cow::Owned(bytes)))
}

fn resolve(expr: Expr) -> Result<Resolved, String> {
    let node = match expr {
        Expr::Null => Node::Constant(Value::Null),
        Expr::Bool(value) => Node::Constant(Value::Bool(value)),
        Expr::Int(value) => Node::Constant(Value::Int(value)),
        Expr::Uint(value) => Node::Constant(Value::Uint(value)),
        Expr::Double(value) => Node::Constant(Value::Double(value)),
        Expr::Text(value) => text(value),
        Expr::Bytes(value) => Node::Constant(Value::Bytes(Cow::Owned(value))),
        Expr::Name(name) => return self::name(name),
        Expr::Select(operand, field) => return select(*operand, field),
        Expr::Has(operand, field) => has(*operand, field)?,
        Expr::Index(parts) => return index(*parts),
        Expr::Not(operand) => Node::Not(boxed(*operand)?),
        Expr::Negate(operand) => Node::Negate(boxed(*operand)?),
        Expr::Binary(Operator::In, parts) => contained(*parts)?,
        Expr::Binary(operator, parts) => {
            let [left, right] = *parts;
            Node::Binary(operator, Box::new([check(left)?, check(right)?]))
        }
        Expr::And(operands) => Node::And(all(operands)?),
        Expr::Or(operands) => Node::Or(all(operands)?),
        Expr::Conditional(parts) => {
            let [condition, then, otherwise] = *parts;
            Node::Conditional(Box::new([
                check(condition)?,
                check(then)?,
                check(otherwise)?,
            ]))
        }
        Expr::Call {
            name,
            is_method,
            arguments,
        } => call(&name, is_method, arguments)?,
        Expr::List(elements) => Node::List(all(elements)?),
        Expr::Map(entries) => Node::Map(
            entries
                .into_iter()
                .map(|(key, value)| Ok((check(key)?, check(value)?)))
                .collect::<Result<_, String>>()?,
        ),
    };
    Ok(Resolved::Node(node))
}

fn name(name: String) -> Result<Resolved, String> {
    const TYPES: &[&str] = &[
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
    ];
    if let Some(found) = TYPES.iter().find(|found| **found == name) {
        return Ok(Resolved::Node(Node::Constant(Value::Type(found))));
    }
    if let Some(root) = Root::from_name(&name) {
        return Ok(Resolved::Root(root, name));
    }
    if name == "upstream_filter_state" {
        return Err(not_yet(&name));
    }
    // Envoy finds out when it computes the value.
    Ok(Resolved::Node(Node::Never))
}

fn not_yet(name: &str) -> String {
    format!("{name} is not supported yet")
}

fn select(operand: Expr, field: String) -> Result<Resolved, String> {
    match resolve(operand)? {
        Resolved::Root(root, path) => selected(root, &path, field),
        Resolved::Node(node) => Ok(Resolved::Node(Node::Select(
            Box::new(node),
            field.into_bytes().into(),
        ))),
    }
}

/// What a root has under a name that is known.
fn selected(root: Root, path: &str, field: String) -> Result<Resolved, String> {
    let path = format!("{path}.{field}");
    let node = match root.select(&field) {
        Some(Selected::Root(root)) => return Ok(Resolved::Root(root, path)),
        Some(Selected::Attribute(attribute)) => Node::Attribute(attribute),
        Some(Selected::Never) => Node::Never,
        Some(Selected::NotYet) => return Err(not_yet(&path)),
        None => looked_up(root, text(field.into_bytes())),
    };
    Ok(Resolved::Node(node))
}

/// What a root whose names are not known has under a key.
fn looked_up(root: Root, key: Node) -> Node {
    let key = Box::new(key);
    match root {
        Root::Headers(side) => Node::Header(side, key),
        Root::Namespaces(owner) => Node::Namespace(owner, key),
        Root::FilterState => Node::FilterState(key),
        _ => Node::Never,
    }
}

/// Whether such a root has a key.
fn has_key(root: Root, path: &str, key: Node) -> Result<Node, String> {
    let key = Box::new(key);
    Ok(match root {
        Root::Headers(side) => Node::HasHeader(side, key),
        Root::Namespaces(owner) => Node::HasNamespace(owner, key),
        Root::FilterState => Node::HasFilterState(key),
        _ => return Err(format!("'in {path}' is not supported yet")),
    })
}

fn has(operand: Expr, field: String) -> Result<Node, String> {
    let (root, path) = match resolve(operand)? {
        Resolved::Root(root, path) => (root, path),
        Resolved::Node(node) => return Ok(Node::Has(Box::new(node), field.into_bytes().into())),
    };
    Ok(match root.select(&field) {
        Some(Selected::Attribute(attribute)) => Node::IsSet(attribute),
        Some(Selected::Root(Root::Headers(_))) => Node::Constant(Value::Bool(true)),
        Some(Selected::Root(Root::Namespaces(owner))) => Node::HasNamespaces(owner),
        Some(Selected::Root(_) | Selected::NotYet) => {
            return Err(format!("has({path}.{field}) is not supported yet"));
        }
        // A message has the fields that it has.
        Some(Selected::Never) if matches!(root, Root::Metadata(_)) => Node::Never,
        Some(Selected::Never) => Node::Constant(Value::Bool(false)),
        None => has_key(root, &path, text(field.into_bytes()))?,
    })
}

fn index([operand, key]: [Expr; 2]) -> Result<Resolved, String> {
    let node = match resolve(operand)? {
        Resolved::Node(node) => Node::Index(Box::new([node, check(key)?])),
        // Messages have fields and no keys.
        Resolved::Root(Root::Metadata(_), path) => return Err(not_yet(&format!("{path}[…]"))),
        Resolved::Root(root, path) => {
            let is_open = matches!(
                root,
                Root::Headers(_) | Root::Namespaces(_) | Root::FilterState
            );
            match key {
                Expr::Text(key) if !is_open => {
                    let key = String::from_utf8_lossy(&key).into_owned();
                    return selected(root, &path, key);
                }
                key if is_open => looked_up(root, check(key)?),
                _ => return Err(format!("the key of {path}[…] has to be a literal")),
            }
        }
    };
    Ok(Resolved::Node(node))
}

fn contained([element, container]: [Expr; 2]) -> Result<Node, String> {
    let element = check(element)?;
    match resolve(container)? {
        Resolved::Node(node) => Ok(Node::Binary(Operator::In, Box::new([element, node]))),
        Resolved::Root(root, path) => has_key(root, &path, element),
    }
}

fn call(name: &str, is_method: bool, mut arguments: Vec<Expr>) -> Result<Node, String> {
    let unknown = || format!("No overload found in reference resolve step for {name}");
    if is_method && is_regex_extension(name, &arguments) {
        return Err(not_yet(&format!("re.{name}()")));
    }
    if let Some(field) = Field::from_name(name) {
        if !is_method || arguments.len() > 2 {
            return Err(unknown());
        }
        return get(field, arguments);
    }
    // Those that may stand behind a dot, with all their arguments.
    let both_ways = match (name, arguments.len()) {
        ("size", 1) => Some(Function::Size),
        ("contains", 2) => Some(Function::Contains),
        ("startsWith", 2) => Some(Function::StartsWith),
        ("endsWith", 2) => Some(Function::EndsWith),
        ("matches", 2) => return matches(arguments),
        _ => None,
    };
    if let Some(function) = both_ways {
        return Ok(Node::Call(function, all(arguments)?));
    }
    if is_method || arguments.len() != 1 {
        return Err(unknown());
    }
    let function = match name {
        "int" => Function::Int,
        "uint" => Function::Uint,
        "double" => Function::Double,
        "bool" => Function::Bool,
        "bytes" => Function::Bytes,
        "dyn" => Function::Dyn,
        "type" => Function::Type,
        "timestamp" | "duration" => return time_of(name, arguments.remove(0)),
        _ => return Err(unknown()),
    };
    Ok(Node::Call(function, all(arguments)?))
}

/// `re.extract(…)`: functions of Envoy's that are written like methods.
fn is_regex_extension(name: &str, arguments: &[Expr]) -> bool {
    matches!(name, "extract" | "capture" | "captureN")
        && matches!(arguments.first(), Some(Expr::Name(of)) if of == "re")
}

/// `timestamp("…")` and `duration("…")` are read once. Of texts that are known
/// at run time only, Envoy reads more forms than we do.
fn time_of(name: &str, argument: Expr) -> Result<Node, String> {
    let is_timestamp = name == "timestamp";
    if let Expr::Text(text) = argument {
        let text = String::from_utf8_lossy(&text);
        let value = match is_timestamp {
            true => time::parse_timestamp(&text).map(Value::Timestamp),
            false => time::parse_duration(&text).map(Value::Duration),
        };
        return value
            .map(Node::Constant)
            .ok_or_else(|| format!("{name}(\"{text}\") cannot be read"));
    }
    let argument = check(argument)?;
    let function = match is_timestamp {
        true => Function::Timestamp,
        false => Function::Duration,
    };
    match argument.type_name() {
        None | Some("string") => Err(format!(
            "{name}() of a text that is no literal is not supported yet"
        )),
        Some(_) => Ok(Node::Call(function, Box::new([argument]))),
    }
}

fn matches(mut arguments: Vec<Expr>) -> Result<Node, String> {
    let pattern = arguments.pop();
    let subject = arguments.pop().map(boxed).transpose()?;
    let (Some(subject), Some(Expr::Text(pattern))) = (subject, pattern) else {
        // The expression of a client might be one of its choice.
        return Err("matches() with an expression that is no literal is not supported yet".into());
    };
    let pattern = String::from_utf8_lossy(&pattern);
    let regex = compile_search(&pattern)
        .map_err(|reason| format!("invalid regular expression '{pattern}': {reason}"))?;
    Ok(Node::Matches(subject, Box::new(regex)))
}

fn get(field: Field, mut arguments: Vec<Expr>) -> Result<Node, String> {
    let zone = (arguments.len() == 2).then(|| arguments.pop()).flatten();
    let ahead = match &zone {
        None => Some(0),
        Some(Expr::Text(zone)) => std::str::from_utf8(zone).ok().and_then(time::parse_offset),
        Some(_) => None,
    };
    let Some(ahead) = ahead else {
        return Err("time zones other than \"UTC\" and \"+01:00\" are not supported yet".into());
    };
    let function = Function::Get {
        field,
        ahead,
        zoned: zone.is_some(),
    };
    Ok(Node::Call(function, all(arguments)?))
}

impl Field {
    fn from_name(name: &str) -> Option<Field> {
        Some(match name {
            "getFullYear" => Field::FullYear,
            "getMonth" => Field::Month,
            "getDate" => Field::Date,
            "getDayOfMonth" => Field::DayOfMonth,
            "getDayOfWeek" => Field::DayOfWeek,
            "getDayOfYear" => Field::DayOfYear,
            "getHours" => Field::Hours,
            "getMinutes" => Field::Minutes,
            "getSeconds" => Field::Seconds,
            "getMilliseconds" => Field::Milliseconds,
            _ => return None,
        })
    }
}

impl Node {
    /// The type of its values, if they can have one only.
    fn type_name(&self) -> Option<&'static str> {
        Some(match self {
            Node::Constant(value) => value.type_name(),
            Node::Call(function, _) => match function {
                Function::Size | Function::Int | Function::Get { .. } => "int",
                Function::Uint => "uint",
                Function::Double => "double",
                Function::Timestamp => "google.protobuf.Timestamp",
                Function::Duration => "google.protobuf.Duration",
                _ => return None,
            },
            Node::Attribute(Attribute::RequestTime) => "google.protobuf.Timestamp",
            Node::Attribute(Attribute::RequestDuration | Attribute::BackendLatency) => {
                "google.protobuf.Duration"
            }
            Node::Binary(_, parts) => match (parts[0].type_name()?, parts[1].type_name()?) {
                ("string", _) | (_, "string") => return None,
                (left, _) => left,
            },
            Node::Negate(operand) => operand.type_name()?,
            _ => return None,
        })
    }
}
