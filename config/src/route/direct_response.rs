//! `envoy.config.route.v3.DirectResponseAction`.

use super::lower::Lowering;
use crate::context::{Cx, Source};
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, SubstitutionFormatString, data_source::Specifier,
};
use envoy_types::pb::envoy::config::route::v3 as proto;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

/// A compiled `envoy.config.route.v3.DirectResponseAction`.
#[derive(Debug)]
pub struct DirectResponse {
    /// The status, from 200 to 599.
    pub status: u16,
    /// The body.
    pub body: Body,
}

/// The body of a direct response.
#[derive(Debug)]
pub enum Body {
    /// These bytes, of which there may be none.
    Bytes(Arc<[u8]>),
    /// What the engine makes of a recipe.
    Recipe(RecipeId),
}

/// The number of a [`BodyRecipe`] in its route configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipeId(pub u32);

/// A body of which only the engine can make something: it knows the
/// environment and what format strings mean.
#[derive(Debug)]
pub struct BodyRecipe {
    /// `body`
    pub text: BodyText,
    /// `body_format`
    pub format: Option<SubstitutionFormatString>,
    /// What `body` may have at most.
    pub bytes_max: u32,
    /// Where the `direct_response` was configured.
    pub source: Source,
}

/// Where the text of a recipe comes from.
#[derive(Debug)]
pub enum BodyText {
    /// It is this.
    Bytes(Arc<[u8]>),
    /// It is in this environment variable.
    Environment(String),
}

impl DirectResponse {
    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &proto::DirectResponseAction,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let status = match u16::try_from(message.status) {
            Ok(status @ 200..600) => Some(status),
            _ => {
                cx.error_at(
                    "status",
                    format!("{} is not a status from 200 to 599", message.status),
                );
                None
            }
        };
        let text = match &message.body {
            None => Some(BodyText::Bytes(Arc::default())),
            Some(source) => cx.field("body", |cx| body(source, lowering.body_bytes_max, cx)),
        };
        let (status, text) = (status?, text?);
        if matches!(status, 204 | 304) {
            if message.body.is_some() || message.body_format.is_some() {
                cx.warn(format!(
                    "a response with status {status} has no body; what is given here is not sent"
                ));
            }
            let body = Body::Bytes(Arc::default());
            return Some(DirectResponse { status, body });
        }
        let body = match (text, &message.body_format) {
            (BodyText::Bytes(bytes), None) => Body::Bytes(bytes),
            (text, format) => Body::Recipe(lowering.recipe(BodyRecipe {
                text,
                format: format.clone(),
                bytes_max: lowering.body_bytes_max,
                source: cx.source(),
            })),
        };
        Some(DirectResponse { status, body })
    }
}

fn body(source: &DataSource, bytes_max: u32, cx: &mut Cx<'_>) -> Option<BodyText> {
    let body: Arc<[u8]> = match &source.specifier {
        Some(Specifier::InlineString(text)) => text.as_bytes().into(),
        Some(Specifier::InlineBytes(bytes)) => bytes.as_slice().into(),
        Some(Specifier::Filename(name)) => match read_at_most(name, bytes_max) {
            Ok(Some(bytes)) => bytes.into(),
            Ok(None) => {
                cx.error(format!(
                    "{name:?} is larger than the {bytes_max} bytes that are allowed \
                     (max_direct_response_body_size_bytes of the route configuration)"
                ));
                return None;
            }
            Err(error) => {
                cx.error_at("filename", format!("cannot read {name:?}: {error}"));
                return None;
            }
        },
        Some(Specifier::EnvironmentVariable(name)) => {
            return Some(BodyText::Environment(name.clone()));
        }
        None => {
            cx.error(
                "one of filename, inline_bytes, inline_string and environment_variable is needed",
            );
            return None;
        }
    };
    check_size(body.len(), bytes_max, cx).then_some(BodyText::Bytes(body))
}

/// Whether a body is small enough, or a report that it is not.
pub fn check_size(bytes: usize, bytes_max: u32, cx: &mut Cx<'_>) -> bool {
    let fits = bytes as u64 <= u64::from(bytes_max);
    if !fits {
        cx.error(format!(
            "the body has {bytes} bytes; at most {bytes_max} are allowed \
             (max_direct_response_body_size_bytes of the route configuration)"
        ));
    }
    fits
}

/// The bytes of a file, or `None` when there are more than `max`: a device or
/// a log that was named by mistake must not fill the memory.
fn read_at_most(name: &str, max: u32) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut file = File::open(name)?.take(u64::from(max) + 1);
    file.read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= u64::from(max)).then_some(bytes))
}
