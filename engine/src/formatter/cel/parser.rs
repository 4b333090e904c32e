//! CEL's grammar: words to a tree.
//!
//! A tree is at most [`DEPTH_MAX`] deep, which is Envoy's limit, so that
//! whatever walks over it may call itself.

use super::lexer::{Token, tokens};

/// An expression as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Name(String),
    Select(Box<Expr>, String),
    /// `has(operand.field)`
    Has(Box<Expr>, String),
    Index(Box<[Expr; 2]>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<[Expr; 2]>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Conditional(Box<[Expr; 3]>),
    /// `name(arguments)` or `target.name(arguments)`; a target is the first
    /// argument.
    Call {
        name: String,
        is_method: bool,
        arguments: Vec<Expr>,
    },
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
}

/// An operator with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How deep a tree may be, as in Envoy. Chains of `&&` and of `||` count once.
pub(super) const DEPTH_MAX: usize = 32;

/// Words that no name may be.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Parses a whole expression.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        nested: 0,
        end: text.len(),
    };
    let tree = parser.expression()?;
    if parser.next < parser.tokens.len() {
        return Err(parser.unexpected("the end"));
    }
    Ok(tree.expr)
}

/// A tree, and how deep it is.
struct Tree {
    expr: Expr,
    depth: usize,
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    /// Expressions within expressions that are being read.
    nested: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    /// Takes a sign, if it is next.
    fn take(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.take(sign) {
            return Ok(());
        }
        Err(self.unexpected(&format!("'{sign}'")))
    }

    fn place(&self) -> usize {
        let place = self.tokens.get(self.next).map_or(self.end, |(at, _)| *at);
        place + 1
    }

    fn unexpected(&self, wanted: &str) -> String {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Sign(sign)) => format!("'{sign}'"),
            Some(Token::Name(name)) => format!("'{name}'"),
            Some(Token::Quoted(name)) => format!("'`{name}`'"),
            Some(_) => "a literal".to_owned(),
        };
        format!("expected {wanted}, found {found} at {}", self.place())
    }

    fn expression(&mut self) -> Result<Tree, String> {
        // Parentheses make no tree deeper, but the parser's own calls.
        if self.nested > DEPTH_MAX {
            return Err(too_deep());
        }
        self.nested += 1;
        let condition = self.or()?;
        let tree = if self.take("?") {
            let then = self.or()?;
            self.expect(":")?;
            let otherwise = self.expression()?;
            above([condition, then, otherwise], |parts| {
                Expr::Conditional(Box::new(parts))
            })?
        } else {
            condition
        };
        self.nested -= 1;
        Ok(tree)
    }

    fn or(&mut self) -> Result<Tree, String> {
        self.chain("||", Parser::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Tree, String> {
        self.chain("&&", Parser::relation, Expr::And)
    }

    fn chain(
        &mut self,
        sign: &str,
        operand: fn(&mut Parser) -> Result<Tree, String>,
        make: fn(Vec<Expr>) -> Expr,
    ) -> Result<Tree, String> {
        let first = operand(self)?;
        if !self.is_sign(sign) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take(sign) {
            operands.push(operand(self)?);
        }
        above_all(operands, make)
    }

    fn relation(&mut self) -> Result<Tree, String> {
        self.binary(
            |token| {
                Some(match token {
                    Token::Sign("==") => Operator::Equal,
                    Token::Sign("!=") => Operator::NotEqual,
                    Token::Sign("<") => Operator::Less,
                    Token::Sign("<=") => Operator::LessOrEqual,
                    Token::Sign(">") => Operator::Greater,
                    Token::Sign(">=") => Operator::GreaterOrEqual,
                    Token::Name(name) if name == "in" => Operator::In,
                    _ => return None,
                })
            },
            Parser::sum,
        )
    }

    fn sum(&mut self) -> Result<Tree, String> {
        self.binary(
            |token| {
                Some(match token {
                    Token::Sign("+") => Operator::Add,
                    Token::Sign("-") => Operator::Subtract,
                    _ => return None,
                })
            },
            Parser::product,
        )
    }

    fn product(&mut self) -> Result<Tree, String> {
        self.binary(
            |token| {
                Some(match token {
                    Token::Sign("*") => Operator::Multiply,
                    Token::Sign("/") => Operator::Divide,
                    Token::Sign("%") => Operator::Remainder,
                    _ => return None,
                })
            },
            Parser::unary,
        )
    }

    /// Operators of one rank, which bind to the left.
    fn binary(
        &mut self,
        operator: fn(&Token) -> Option<Operator>,
        operand: fn(&mut Parser) -> Result<Tree, String>,
    ) -> Result<Tree, String> {
        let mut left = operand(self)?;
        while let Some(operator) = self.peek().and_then(operator) {
            self.next += 1;
            let right = operand(self)?;
            left = above([left, right], |parts| {
                Expr::Binary(operator, Box::new(parts))
            })?;
        }
        Ok(left)
    }

    /// Signs before a value. As in Envoy's parser two of a kind are none.
    fn unary(&mut self) -> Result<Tree, String> {
        let sign = match self.peek() {
            Some(Token::Sign(sign @ ("!" | "-"))) => *sign,
            _ => return self.member(),
        };
        let mut count = 0;
        while self.take(sign) {
            count += 1;
        }
        if sign == "-"
            && count == 1
            && let Some(literal) = self.negative_literal()
        {
            return self.selections(literal);
        }
        let operand = self.member()?;
        match sign {
            _ if count % 2 == 0 => Ok(operand),
            "!" => above([operand], |[operand]| Expr::Not(Box::new(operand))),
            _ => above([operand], |[operand]| Expr::Negate(Box::new(operand))),
        }
    }

    /// The number behind a minus sign, if that makes a literal.
    fn negative_literal(&mut self) -> Option<Tree> {
        let expr = match self.peek()? {
            Token::Double(value) => Expr::Double(-value),
            Token::Int(value) => Expr::Int(0_i64.checked_sub_unsigned(*value)?),
            _ => return None,
        };
        self.next += 1;
        Some(Tree { expr, depth: 1 })
    }

    /// A value, and what is selected from it.
    fn member(&mut self) -> Result<Tree, String> {
        let value = self.primary()?;
        self.selections(value)
    }

    fn selections(&mut self, mut tree: Tree) -> Result<Tree, String> {
        loop {
            if self.take("[") {
                if self.is_sign("?") {
                    return Err(format!("optional syntax is off at {}", self.place()));
                }
                let index = self.expression()?;
                self.expect("]")?;
                tree = above([tree, index], |parts| Expr::Index(Box::new(parts)))?;
            } else if self.take(".") {
                tree = self.selection(tree)?;
            } else if self.is_sign("{") && is_path(&tree.expr) {
                return Err(format!(
                    "messages are not supported yet at {}",
                    self.place()
                ));
            } else {
                return Ok(tree);
            }
        }
    }

    /// What follows a dot.
    fn selection(&mut self, operand: Tree) -> Result<Tree, String> {
        let place = self.place();
        if self.is_sign("?") {
            return Err(format!("optional syntax is off at {place}"));
        }
        let field = match self.peek() {
            Some(Token::Name(name)) if !is_keyword(name) => name.clone(),
            Some(Token::Quoted(name)) => {
                let name = name.clone();
                self.next += 1;
                return above([operand], |[operand]| Expr::Select(Box::new(operand), name));
            }
            _ => return Err(self.unexpected("a name")),
        };
        self.next += 1;
        if !self.take("(") {
            return above([operand], |[operand]| {
                Expr::Select(Box::new(operand), field)
            });
        }
        let mut arguments = vec![operand];
        arguments.extend(self.arguments()?);
        check_macro(&field, &arguments, place)?;
        above_all(arguments, |arguments| Expr::Call {
            name: field,
            is_method: true,
            arguments,
        })
    }

    fn primary(&mut self) -> Result<Tree, String> {
        let place = self.place();
        let Some(token) = self.peek().cloned() else {
            return Err(self.unexpected("an expression"));
        };
        if let Token::Name(name) = &token
            && !is_keyword(name)
        {
            return self.name();
        }
        if token == Token::Sign(".") {
            // Names are looked up from the root anyway.
            self.next += 1;
            return match self.peek() {
                Some(Token::Name(name)) if !is_keyword(name) => self.name(),
                _ => Err(self.unexpected("a name")),
            };
        }
        let expr = match token {
            Token::Int(value) => match i64::try_from(value) {
                Ok(value) => Expr::Int(value),
                Err(_) => return Err(format!("invalid int literal at {place}")),
            },
            Token::TooLarge => return Err(format!("invalid int literal at {place}")),
            Token::Uint(value) => Expr::Uint(value),
            Token::Double(value) => Expr::Double(value),
            Token::Text(value) => Expr::Text(value),
            Token::Bytes(value) => Expr::Bytes(value),
            Token::Name(name) if name == "true" => Expr::Bool(true),
            Token::Name(name) if name == "false" => Expr::Bool(false),
            Token::Name(name) if name == "null" => Expr::Null,
            Token::Sign("(") => {
                self.next += 1;
                let inside = self.expression()?;
                self.expect(")")?;
                return Ok(inside);
            }
            Token::Sign("[") => {
                self.next += 1;
                return self.list();
            }
            Token::Sign("{") => {
                self.next += 1;
                return self.map();
            }
            _ => return Err(self.unexpected("an expression")),
        };
        self.next += 1;
        Ok(Tree { expr, depth: 1 })
    }

    /// A name or the call of a function.
    fn name(&mut self) -> Result<Tree, String> {
        let place = self.place();
        let Some(Token::Name(name)) = self.peek().cloned() else {
            return Err(self.unexpected("a name"));
        };
        self.next += 1;
        if !self.take("(") {
            if RESERVED.contains(&name.as_str()) {
                return Err(format!("reserved identifier: {name} at {place}"));
            }
            return Ok(Tree {
                expr: Expr::Name(name),
                depth: 1,
            });
        }
        let mut arguments = self.arguments()?;
        if name == "has" && arguments.len() == 1 {
            let argument = arguments.remove(0);
            if !matches!(argument.expr, Expr::Select(..)) {
                return Err(format!(
                    "has() argument must be a field selection at {place}"
                ));
            }
            return above([argument], |[argument]| match argument {
                Expr::Select(operand, field) => Expr::Has(operand, field),
                other => other,
            });
        }
        above_all(arguments, |arguments| Expr::Call {
            name,
            is_method: false,
            arguments,
        })
    }

    /// Expressions up to a closing parenthesis.
    fn arguments(&mut self) -> Result<Vec<Tree>, String> {
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if self.take(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }

    /// Expressions up to a closing bracket. One comma may stand at the end, and
    /// even alone.
    fn list(&mut self) -> Result<Tree, String> {
        let mut elements = Vec::new();
        if self.take(",") {
            self.expect("]")?;
            return above_all(elements, Expr::List);
        }
        while !self.take("]") {
            self.no_optional()?;
            elements.push(self.expression()?);
            if !self.take(",") {
                self.expect("]")?;
                break;
            }
        }
        above_all(elements, Expr::List)
    }

    /// Pairs of expressions up to a closing brace, with commas as in a list.
    fn map(&mut self) -> Result<Tree, String> {
        let mut parts = Vec::new();
        if self.take(",") {
            self.expect("}")?;
            return above_all(parts, pairs);
        }
        while !self.take("}") {
            self.no_optional()?;
            parts.push(self.expression()?);
            self.expect(":")?;
            parts.push(self.expression()?);
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        above_all(parts, pairs)
    }

    fn no_optional(&self) -> Result<(), String> {
        if self.is_sign("?") {
            return Err(format!("unsupported syntax '?' at {}", self.place()));
        }
        Ok(())
    }
}

/// A map of keys and values in turn.
fn pairs(parts: Vec<Expr>) -> Expr {
    let mut parts = parts.into_iter();
    let mut entries = Vec::new();
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        entries.push((key, value));
    }
    Expr::Map(entries)
}

/// A node above its parts.
fn above<const N: usize>(
    parts: [Tree; N],
    make: impl FnOnce([Expr; N]) -> Expr,
) -> Result<Tree, String> {
    let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    let expr = make(parts.map(|part| part.expr));
    Ok(Tree { expr, depth })
}

fn above_all(parts: Vec<Tree>, make: impl FnOnce(Vec<Expr>) -> Expr) -> Result<Tree, String> {
    let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    let expr = make(parts.into_iter().map(|part| part.expr).collect());
    Ok(Tree { expr, depth })
}

fn too_deep() -> String {
    format!("Exceeded max recursion depth of {DEPTH_MAX} when parsing")
}

fn is_keyword(name: &str) -> bool {
    matches!(name, "true" | "false" | "null" | "in")
}

/// `a.b.c`, which may be the name of a message.
fn is_path(expr: &Expr) -> bool {
    match expr {
        Expr::Name(_) => true,
        Expr::Select(operand, _) => is_path(operand),
        _ => false,
    }
}

/// Macros that go over lists are off in Envoy.
fn check_macro(name: &str, arguments: &[Tree], place: usize) -> Result<(), String> {
    let is_macro = match name {
        "all" | "exists" | "exists_one" | "filter" => arguments.len() == 3,
        "map" => matches!(arguments.len(), 3 | 4),
        _ => false,
    };
    if is_macro {
        return Err(format!(
            "Comprehension support is disabled: {name}() at {place}"
        ));
    }
    Ok(())
}
