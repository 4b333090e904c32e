//! `envoy.config.core.v3.DataSource`, kept for whoever may read files and the
//! environment: this crate reads neither.

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;

use crate::context::Cx;

/// Bytes that are in the configuration, in a file or in the environment.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSource {
    /// Where they are.
    pub message: pb::DataSource,
    /// The path of the message in the configuration.
    pub path: String,
}

impl DataSource {
    /// The source in the field `name`. One that holds nothing is none, as it is
    /// for Envoy.
    pub(crate) fn lower(
        proto: Option<&pb::DataSource>,
        name: &str,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let message = proto.filter(|proto| !is_empty(proto))?.clone();
        let path = cx.field(name, |cx| cx.path().to_owned());
        Some(Self { message, path })
    }
}

/// Whether there is nothing to be read, whatever the files hold.
pub(crate) fn is_empty(proto: &pb::DataSource) -> bool {
    match &proto.specifier {
        Some(Specifier::InlineString(text)) => text.is_empty(),
        Some(Specifier::InlineBytes(bytes)) => bytes.is_empty(),
        Some(Specifier::Filename(name) | Specifier::EnvironmentVariable(name)) => name.is_empty(),
        None => true,
    }
}
