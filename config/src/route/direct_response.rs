//! `envoy.config.route.v3.DirectResponseAction`.

use super::lower::Lowering;
use crate::context::Cx;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::config::route::v3 as proto;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

/// A compiled `envoy.config.route.v3.DirectResponseAction`.
#[derive(Debug)]
pub struct DirectResponse {
    /// The status, from 200 to 599.
    pub status: u16,
    /// The body, if there is one.
    pub body: Option<Arc<[u8]>>,
}

impl DirectResponse {
    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &proto::DirectResponseAction,
        lowering: &Lowering,
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
        let body = match &message.body {
            None => Some(None),
            Some(source) => cx
                .field("body", |cx| body(source, lowering.body_bytes_max, cx))
                .map(Some),
        };
        Some(DirectResponse {
            status: status?,
            body: body?.filter(|body| !body.is_empty()),
        })
    }
}

fn body(source: &DataSource, bytes_max: u32, cx: &mut Cx<'_>) -> Option<Arc<[u8]>> {
    use data_source::Specifier;
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
        Some(Specifier::EnvironmentVariable(_)) => {
            cx.error_at("environment_variable", "not supported yet");
            return None;
        }
        None => {
            cx.error("one of filename, inline_bytes or inline_string is needed");
            return None;
        }
    };
    if body.len() as u64 > u64::from(bytes_max) {
        cx.error(format!(
            "the body has {} bytes; at most {} are allowed \
             (max_direct_response_body_size_bytes of the route configuration)",
            body.len(),
            bytes_max
        ));
        return None;
    }
    Some(body)
}

/// The bytes of a file, or `None` when there are more than `max`: a device or
/// a log that was named by mistake must not fill the memory.
fn read_at_most(name: &str, max: u32) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut file = File::open(name)?.take(u64::from(max) + 1);
    file.read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= u64::from(max)).then_some(bytes))
}
