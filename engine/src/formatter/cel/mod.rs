//! Expressions of CEL, the Common Expression Language, as Envoy 1.40 has them:
//! `%CEL(request.path.startsWith("/api"))%`.
//!
//! [`Expression::compile`] reads and checks an expression once;
//! [`Expression::evaluate`] computes its value for one request. `lexer` and
//! `parser` are the grammar, `check` resolves names to attributes and
//! functions, `evaluate` computes, `attributes` reads what is known of a
//! request, and `value` and `time` know how values compare and print. Whoever
//! else needs expressions (filters, access-log filters, matchers) uses these.
//!
//! Envoy turns off what could cost a lot: macros that go over lists, joining
//! strings and lists, conversions to strings. Without them the time of an
//! evaluation is bounded by the length of the expression times the length of
//! what the request holds, and its depth by [`parser::DEPTH_MAX`].
//!
//! What Envoy has and this has not is refused when it is compiled, so that no
//! value differs in silence; docs/cel.md lists it.

mod attributes;
mod check;
mod evaluate;
mod json;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod time;
mod value;

use super::Context;
use check::Node;

pub use value::Value;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    root: Node,
}

impl Expression {
    /// Compiles an expression; the error is the reason.
    pub fn compile(text: &str) -> Result<Expression, String> {
        let root = check::check(parser::parse(text)?)?;
        Ok(Expression { root })
    }

    /// Its value for a request. `None` is what CEL calls an error: an attribute
    /// that is not set, an operator that does not fit its operands.
    pub fn evaluate<'a>(&'a self, cx: &Context<'a>) -> Option<Value<'a>> {
        self.root.evaluate(cx)
    }
}
