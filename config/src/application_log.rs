//! The format of the proxy's own log lines
//! (`envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig`). Lines have
//! our own format, so this only refuses what Envoy refuses.

use envoy_types::pb::envoy::config::bootstrap::v3::bootstrap::ApplicationLogConfig;
use envoy_types::pb::envoy::config::bootstrap::v3::bootstrap::application_log_config::log_format::LogFormat;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

use crate::context::Cx;

/// Reports flags that would put unescaped text into JSON.
pub(crate) fn check(proto: &ApplicationLogConfig, cx: &mut Cx<'_>) {
    let format = proto
        .log_format
        .as_ref()
        .and_then(|format| format.log_format.as_ref());
    let Some(LogFormat::JsonFormat(json)) = format else {
        return;
    };
    for flag in ["%v", "%_"] {
        if struct_contains(json, flag) {
            let reason = format!("{flag} may not be used in JSON: its text is not escaped");
            cx.error_at("log_format.json_format", reason);
        }
    }
}

fn struct_contains(json: &Struct, flag: &str) -> bool {
    let mut fields = json.fields.iter();
    fields.any(|(name, value)| name.contains(flag) || value_contains(value, flag))
}

fn value_contains(json: &Value, flag: &str) -> bool {
    match &json.kind {
        Some(Kind::StringValue(text)) => text.contains(flag),
        Some(Kind::StructValue(inner)) => struct_contains(inner, flag),
        Some(Kind::ListValue(list)) => list.values.iter().any(|item| value_contains(item, flag)),
        Some(Kind::NullValue(_) | Kind::NumberValue(_) | Kind::BoolValue(_)) | None => false,
    }
}
