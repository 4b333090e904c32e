//! A route configuration that is ready to serve: the lowered configuration and
//! what only the engine can compile of it.

use ringway_config::context::Cx;
use ringway_config::format_strings::{FormatId, FormatStrings};
use ringway_config::route::{
    BodyRecipe, BodyText, RecipeId, RouteConfiguration, StatScopeId, check_size,
};

use crate::formatter::{Context, Format, Formatter};
use crate::stats::Store;
use crate::stats::route::RouteStats;

/// The number of a route table in its connection manager; 0 where there is only
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableId(pub u32);

/// A route configuration with its format strings compiled.
#[derive(Debug)]
pub struct RouteTable {
    /// Virtual hosts and routes.
    pub configuration: RouteConfiguration,
    formats: Box<[Formatter]>,
    bodies: Box<[DirectBody]>,
    stats: Box<[RouteStats]>,
}

impl RouteTable {
    /// Compiles what the engine knows of a lowered configuration, or reports
    /// why not.
    pub fn compile(configuration: RouteConfiguration, cx: &mut Cx<'_>) -> Option<Self> {
        let formats = compile_formats(configuration.formats(), cx);
        let mut bodies = Vec::new();
        for recipe in configuration.body_recipes() {
            bodies.push(cx.at(&recipe.source.path, |cx| DirectBody::compile(recipe, cx)));
        }
        let bodies = bodies.into_iter().collect::<Option<_>>();
        Some(Self {
            configuration,
            formats: formats?,
            bodies: bodies?,
            stats: Box::default(),
        })
    }

    /// Registers what is counted by route.
    pub fn register(&mut self, store: &Store) {
        let scopes = self.configuration.stat_scopes().iter();
        self.stats = scopes.map(|scope| RouteStats::new(store, scope)).collect();
    }

    /// What is counted at a place of this configuration, once it is registered.
    #[must_use]
    pub fn stats(&self, place: StatScopeId) -> Option<&RouteStats> {
        self.stats.get(place.0 as usize)
    }

    /// The format strings of this configuration by number.
    #[must_use]
    pub fn formats(&self) -> &[Formatter] {
        &self.formats
    }

    /// A format string of this configuration.
    #[must_use]
    pub fn format(&self, id: FormatId) -> &Formatter {
        &self.formats[id.0 as usize]
    }

    /// The body of a direct response of this configuration.
    #[must_use]
    pub fn body(&self, id: RecipeId) -> &DirectBody {
        &self.bodies[id.0 as usize]
    }
}

/// The body of a direct response.
#[derive(Debug)]
pub struct DirectBody {
    text: Box<[u8]>,
    format: Option<Format>,
    content_type: Option<Box<[u8]>>,
}

impl DirectBody {
    /// Appends the body for a request. The text is what `%LOCAL_REPLY_BODY%`
    /// stands for in its format.
    pub fn write(&self, cx: &Context<'_>, out: &mut Vec<u8>) {
        match &self.format {
            None => out.extend_from_slice(&self.text),
            Some(format) => format.write(
                &Context {
                    local_reply_body: &self.text,
                    ..*cx
                },
                out,
            ),
        }
    }

    /// What `content-type` says of it; plain text if nothing.
    #[must_use]
    pub fn content_type(&self) -> Option<&[u8]> {
        self.content_type.as_deref()
    }

    fn compile(recipe: &BodyRecipe, cx: &mut Cx<'_>) -> Option<Self> {
        let text = cx.field("body", |cx| text(recipe, cx));
        let format = match &recipe.format {
            None => Some(None),
            Some(format) => cx
                .field("body_format", |cx| Format::compile(format, cx))
                .map(Some),
        };
        let format = format?;
        let given = recipe.format.as_ref().map(|format| &format.content_type);
        let content_type = match (given, &format) {
            (Some(given), _) if !given.is_empty() => Some(given.as_bytes().into()),
            (_, Some(Format::Json(_))) => Some(Box::from(*b"application/json")),
            _ => None,
        };
        Some(Self {
            text: text?,
            format,
            content_type,
        })
    }
}

fn text(recipe: &BodyRecipe, cx: &mut Cx<'_>) -> Option<Box<[u8]>> {
    match &recipe.text {
        BodyText::Bytes(bytes) => Some((**bytes).into()),
        BodyText::Environment(name) => match std::env::var_os(name) {
            Some(value) => {
                let value = value.into_encoded_bytes();
                check_size(value.len(), recipe.bytes_max, cx).then(|| value.into())
            }
            None => {
                let reason = format!("there is no environment variable {name:?}");
                cx.error_at("environment_variable", reason);
                None
            }
        },
    }
}

/// Compiles all format strings, or reports why one cannot be, where it was
/// configured.
pub fn compile_formats(strings: &FormatStrings, cx: &mut Cx<'_>) -> Option<Box<[Formatter]>> {
    let mut formats = Vec::new();
    let mut good = true;
    for string in strings.iter() {
        match Formatter::parse(&string.text) {
            Ok(format) => formats.push(format.omit_empty_values(string.omit_empty_values)),
            Err(error) => {
                good = false;
                cx.at(&string.source.path, |cx| cx.error(error.to_string()));
            }
        }
    }
    good.then(|| formats.into())
}
