//! `envoy.path.match.uri_template` and `envoy.path.rewrite.uri_template`:
//! paths with variables, `/v{version}/{rest=**}`.
//!
//! A template has at most one `**`, and only literal text behind it. So each
//! glob's end is known without trying: a `*` ends at the next slash, less the
//! literal text before that slash; a `**` ends where the literal text to the
//! end of the path begins. Matching is one pass without backtracking, and
//! variables are ranges of the path.

use crate::context::{Cx, unpack};
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::path::{r#match as match_pb, rewrite as rewrite_pb};

/// Variables that one template may have, as in Envoy.
const VARIABLES_MAX: usize = 5;

/// Letters that the name of a variable may have, as in Envoy.
const VARIABLE_NAME_MAX: usize = 16;

/// A compiled template that a path matches or not.
#[derive(Debug)]
pub struct PathTemplate {
    text: Box<str>,
    pieces: Box<[Piece]>,
    variables: Box<[Variable]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// These bytes.
    Text(Box<[u8]>),
    /// `*`: at least one byte up to the next slash, but for so many of literal
    /// text that stand before it.
    Segment { suffix_bytes: usize },
    /// `**`: everything but so many bytes of literal text.
    Rest { suffix_bytes: usize },
}

#[derive(Debug)]
struct Variable {
    name: Box<str>,
    /// Its pieces: from the first, up to the second.
    pieces: (usize, usize),
}

/// Where the variables are in a path.
type Captures = [(usize, usize); VARIABLES_MAX];

impl PathTemplate {
    /// Whether the whole of `path`, which has no query string, fits.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.capture(path).is_some()
    }

    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What every path that fits begins with.
    pub(super) fn literal_prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => prefix.extend_from_slice(text),
                Piece::Segment { .. } | Piece::Rest { .. } => break,
            }
        }
        prefix
    }

    fn capture(&self, path: &[u8]) -> Option<Captures> {
        let mut captures = Captures::default();
        let mut at = 0;
        for (number, piece) in self.pieces.iter().enumerate() {
            for (capture, variable) in captures.iter_mut().zip(&self.variables) {
                if variable.pieces.0 == number {
                    capture.0 = at;
                }
            }
            at = piece.end(path, at)?;
            for (capture, variable) in captures.iter_mut().zip(&self.variables) {
                if variable.pieces.1 == number + 1 {
                    capture.1 = at;
                }
            }
        }
        (at == path.len()).then_some(captures)
    }

    /// Compiles `RouteMatch.path_match_policy`, or reports why not.
    pub(super) fn lower(extension: &TypedExtensionConfig, cx: &mut Cx<'_>) -> Option<Self> {
        let any = extension.typed_config.as_ref()?;
        let message = cx.field("typed_config", |cx| {
            unpack::<match_pb::uri_template::v3::UriTemplateMatchConfig>(any, cx)
        })?;
        match Self::parse(&message.path_template) {
            Ok(template) => Some(template),
            Err(reason) => {
                cx.error_at("typed_config.path_template", reason);
                None
            }
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser::default();
        parser.template(text)?;
        parser.finish(text)
    }
}

impl Piece {
    /// Where the piece ends that begins at `at`, if the path fits so far.
    fn end(&self, path: &[u8], at: usize) -> Option<usize> {
        let rest = &path[at..];
        match self {
            Piece::Text(text) => rest.starts_with(text).then_some(at + text.len()),
            Piece::Segment { suffix_bytes } => {
                let slash = memchr::memchr(b'/', rest).unwrap_or(rest.len());
                let bytes = slash.checked_sub(*suffix_bytes)?;
                let fits = bytes > 0 && rest[..bytes].iter().all(|byte| is_path_character(*byte));
                fits.then_some(at + bytes)
            }
            Piece::Rest { suffix_bytes } => {
                let bytes = rest.len().checked_sub(*suffix_bytes)?;
                let fits = |byte: &u8| *byte == b'/' || is_path_character(*byte);
                rest[..bytes].iter().all(fits).then_some(at + bytes)
            }
        }
    }
}

/// What a glob takes: `pchar` of RFC 3986, section 3.3.
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@".contains(&byte)
}

/// Collects the pieces of a template from left to right.
#[derive(Default)]
struct Parser {
    pieces: Vec<Piece>,
    variables: Vec<Variable>,
    /// A `**` was there.
    has_rest: bool,
}

impl Parser {
    fn template(&mut self, text: &str) -> Result<(), String> {
        let Some(mut rest) = text.strip_prefix('/') else {
            return Err(format!("{text:?} does not begin with a slash"));
        };
        self.literal_text("/");
        while !rest.is_empty() {
            rest = self.segment(rest)?;
            match rest.strip_prefix('/') {
                // Nothing follows the last slash.
                Some(left) => {
                    self.literal_text("/");
                    rest = left;
                }
                None => debug_assert!(rest.is_empty(), "a segment ends at a slash"),
            }
        }
        Ok(())
    }

    /// Takes one segment, or several when one variable stands for them; gives
    /// what is left, which is empty or begins with a slash.
    fn segment<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let slash = text.find('/').unwrap_or(text.len());
        if text.starts_with('*') {
            let left = self.operator(text)?;
            let (suffix, left) = left.split_at(left.find('/').unwrap_or(left.len()));
            self.suffix(suffix)?;
            if !suffix.is_empty() && !left.is_empty() {
                return Err(format!(
                    "text right behind an operator must be the end of the template, which {suffix:?} is not"
                ));
            }
            return Ok(left);
        }
        match text[..slash].find('{') {
            None => {
                let (literal, left) = text.split_at(slash);
                self.literal(literal)?;
                Ok(left)
            }
            Some(0) => self.variable(text),
            Some(bracket) if text[bracket..slash].contains('}') => {
                let (prefix, variable) = text.split_at(bracket);
                self.literal(prefix)?;
                self.variable(variable)
            }
            Some(_) => {
                Err("a variable with text before it must be closed in the same segment".into())
            }
        }
    }

    /// Takes a variable and the literal text behind it.
    fn variable<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let Some((inside, left)) = text[1..].split_once('}') else {
            return Err("a bracket is not closed".into());
        };
        let (name, pattern) = match inside.split_once('=') {
            Some((name, pattern)) => (name, Some(pattern)),
            None => (inside, None),
        };
        self.check_name(name)?;
        let first = self.pieces.len();
        match pattern {
            None => {
                self.operator("*")?;
            }
            Some("") => return Err(format!("the pattern of variable {name:?} is empty")),
            Some(pattern) => self.variable_pattern(pattern)?,
        }
        self.variables.push(Variable {
            name: name.into(),
            pieces: (first, self.pieces.len()),
        });
        let (suffix, left) = left.split_at(left.find('/').unwrap_or(left.len()));
        self.suffix(suffix)?;
        Ok(left)
    }

    fn variable_pattern(&mut self, pattern: &str) -> Result<(), String> {
        for (number, part) in pattern.split('/').enumerate() {
            if number > 0 {
                self.literal_text("/");
            }
            match part {
                "*" | "**" => {
                    self.operator(part)?;
                }
                literal => self.literal(literal)?,
            }
        }
        Ok(())
    }

    fn check_name(&self, name: &str) -> Result<(), String> {
        let bytes = name.as_bytes();
        if !bytes.first().is_some_and(u8::is_ascii_alphabetic)
            || !bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            return Err(format!("{name:?} cannot be the name of a variable"));
        }
        if bytes.len() > VARIABLE_NAME_MAX {
            return Err(format!(
                "the name of variable {name:?} is longer than {VARIABLE_NAME_MAX} characters"
            ));
        }
        if self
            .variables
            .iter()
            .any(|variable| *variable.name == *name)
        {
            return Err(format!("variable {name:?} is there twice"));
        }
        if self.variables.len() == VARIABLES_MAX {
            return Err(format!("there are more than {VARIABLES_MAX} variables"));
        }
        Ok(())
    }

    fn operator<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        if self.has_rest {
            return Err("only literal text may follow a **".into());
        }
        // What follows the operator is only known when all is read.
        let suffix_bytes = 0;
        match text.strip_prefix("**") {
            Some(left) => {
                self.has_rest = true;
                self.pieces.push(Piece::Rest { suffix_bytes });
                Ok(left)
            }
            None => {
                self.pieces.push(Piece::Segment { suffix_bytes });
                Ok(&text[1..])
            }
        }
    }

    fn suffix(&mut self, text: &str) -> Result<(), String> {
        match text {
            "" => Ok(()),
            text => self.literal(text),
        }
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        check_literal(text, is_path_character)?;
        self.literal_text(text);
        Ok(())
    }

    fn literal_text(&mut self, text: &str) {
        self.pieces.push(Piece::Text(text.as_bytes().into()));
    }

    fn finish(mut self, text: &str) -> Result<PathTemplate, String> {
        // From the end: literal bytes to the next slash, and to the end.
        let (mut to_slash, mut to_end) = (0, 0);
        for piece in self.pieces.iter_mut().rev() {
            match piece {
                Piece::Text(text) => {
                    to_end += text.len();
                    match memchr::memchr(b'/', text) {
                        Some(slash) => to_slash = slash,
                        None => to_slash += text.len(),
                    }
                }
                Piece::Segment { suffix_bytes } => *suffix_bytes = to_slash,
                Piece::Rest { suffix_bytes } => *suffix_bytes = to_end,
            }
        }
        Ok(PathTemplate {
            text: text.into(),
            pieces: self.pieces.into(),
            variables: self.variables.into(),
        })
    }
}

/// Reports text that cannot be meant literally.
///
/// Envoy accepts an asterisk between other characters and then takes it as a
/// regular expression's: `/v*` fits `/vvv`, and not `/v1`. Nobody means that.
fn check_literal(text: &str, is_allowed: impl Fn(u8) -> bool) -> Result<(), String> {
    if text.is_empty() {
        return Err("there is nothing between two slashes".into());
    }
    if text.contains('*') {
        return Err(format!(
            "the asterisk in {text:?} is not an operator, which stands alone between slashes; \
             write a variable, as in v{{version}}"
        ));
    }
    match text.bytes().find(|byte| !is_allowed(*byte)) {
        Some(_) => Err(format!("{text:?} has characters that no path has")),
        None => Ok(()),
    }
}

/// A compiled `UriTemplateRewriteConfig`: a new path with the variables of the
/// template that the route matched.
#[derive(Debug)]
pub struct TemplateRewrite {
    template: PathTemplate,
    pieces: Box<[RewritePiece]>,
}

#[derive(Debug, PartialEq, Eq)]
enum RewritePiece {
    Text(Box<[u8]>),
    Variable(usize),
}

impl TemplateRewrite {
    /// Appends what becomes of `path`, which has no query string; the path as
    /// it is if it does not fit the template any more.
    pub fn write(&self, path: &[u8], out: &mut Vec<u8>) {
        let Some(captures) = self.template.capture(path) else {
            out.extend_from_slice(path);
            return;
        };
        for piece in &self.pieces {
            match piece {
                RewritePiece::Text(text) => out.extend_from_slice(text),
                RewritePiece::Variable(number) => {
                    let (start, end) = captures[*number];
                    out.extend_from_slice(&path[start..end]);
                }
            }
        }
    }

    /// Compiles `RouteAction.path_rewrite_policy` of a route that matches
    /// `template`, or reports why not.
    pub(super) fn lower(
        extension: &TypedExtensionConfig,
        template: Option<&PathTemplate>,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let any = extension.typed_config.as_ref()?;
        let message = cx.field("typed_config", |cx| {
            unpack::<rewrite_pb::uri_template::v3::UriTemplateRewriteConfig>(any, cx)
        })?;
        let Some(template) = template else {
            cx.error("needs a route whose match is a path_match_policy, whose variables it uses");
            return None;
        };
        match Self::parse(&message.path_template_rewrite, template) {
            Ok(rewrite) => Some(rewrite),
            Err(reason) => {
                cx.error_at("typed_config.path_template_rewrite", reason);
                None
            }
        }
    }

    fn parse(text: &str, template: &PathTemplate) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("{text:?} does not begin with a slash"));
        }
        if text.contains("//") {
            return Err("there is nothing between two slashes".into());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, variable) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            if !literal.is_empty() {
                check_rewrite_literal(literal)?;
                pieces.push(RewritePiece::Text(literal.as_bytes().into()));
            }
            rest = match variable.strip_prefix('{') {
                None => "",
                Some(variable) => {
                    let Some((name, left)) = variable.split_once('}') else {
                        return Err("a bracket is not closed".into());
                    };
                    pieces.push(RewritePiece::Variable(template.variable(name)?));
                    left
                }
            };
        }
        let template = PathTemplate::parse(&template.text)?;
        Ok(TemplateRewrite {
            template,
            pieces: pieces.into(),
        })
    }
}

impl PathTemplate {
    fn variable(&self, name: &str) -> Result<usize, String> {
        let mut variables = self.variables.iter();
        variables
            .position(|variable| *variable.name == *name)
            .ok_or_else(|| format!("the template {:?} has no variable {name:?}", self.text))
    }
}

fn check_rewrite_literal(text: &str) -> Result<(), String> {
    match text
        .bytes()
        .all(|byte| byte == b'/' || is_path_character(byte))
    {
        true => Ok(()),
        false => Err(format!("{text:?} has characters that no path has")),
    }
}

#[cfg(test)]
mod tests;
