//! How names of HTTP/1 headers look on the wire (`header_key_format` of
//! `envoy.config.core.v3.Http1ProtocolOptions`).

use envoy_types::pb::envoy::config::core::v3::http1_protocol_options::HeaderKeyFormat;
use envoy_types::pb::envoy::config::core::v3::http1_protocol_options::header_key_format::HeaderFormat;
use envoy_types::pb::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use envoy_types::pb::envoy::extensions::http::header_formatters::preserve_case::v3::preserve_case_formatter_config::FormatterTypeOnEnvoyHeaders;
use ringway_codecs::header::{NameCase, PreserveCase};

use crate::context::{Cx, unpack};

/// How the two sides of a connection treat names.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderNames {
    /// How they are written that nobody has written otherwise.
    pub case: NameCase,
    /// They go on as they are received. As in Envoy, that is what the side does
    /// that receives them: it needs nothing of the side that sends them on.
    pub preserved: Option<PreserveCase>,
}

impl HeaderNames {
    /// Lowers the field `header_key_format` of the message that `cx` is at.
    pub fn lower(proto: Option<&HeaderKeyFormat>, cx: &mut Cx<'_>) -> HeaderNames {
        let mut names = HeaderNames::default();
        // The validation rules want one of them.
        match proto.and_then(|proto| proto.header_format.as_ref()) {
            None => {}
            Some(HeaderFormat::ProperCaseWords(_)) => names.case = NameCase::Proper,
            Some(HeaderFormat::StatefulFormatter(formatter)) => {
                names.preserved = cx.field("header_key_format", |cx| {
                    cx.field("stateful_formatter", |cx| {
                        let Some(any) = &formatter.typed_config else {
                            cx.error_at(
                                "typed_config",
                                "is needed here: its type selects the formatter",
                            );
                            return None;
                        };
                        cx.field("typed_config", |cx| unpack(any, cx))
                            .map(preserved)
                    })
                });
            }
        }
        names
    }
}

fn preserved(proto: PreserveCaseFormatterConfig) -> PreserveCase {
    PreserveCase {
        others: match proto.formatter_type_on_envoy_headers() {
            FormatterTypeOnEnvoyHeaders::Default => NameCase::Lower,
            FormatterTypeOnEnvoyHeaders::ProperCase => NameCase::Proper,
        },
        reason_phrase: proto.forward_reason_phrase,
    }
}
