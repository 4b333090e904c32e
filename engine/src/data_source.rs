//! `envoy.config.core.v3.DataSource`: bytes that are in the configuration, in a
//! file or in the environment, read once when the configuration is compiled.

use std::fs::File;
use std::io::Read as _;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use ringway_config::Cx;

/// Bytes of a source: bodies live in memory for as long as the configuration and
/// are sent whole.
const SOURCE_BYTES_MAX: u64 = 1024 * 1024;

/// The bytes of a source, or a report of why there are none.
pub fn read(source: &DataSource, cx: &mut Cx<'_>) -> Option<Box<[u8]>> {
    let bytes = match &source.specifier {
        Some(Specifier::InlineString(text)) => text.clone().into_bytes(),
        Some(Specifier::InlineBytes(bytes)) => bytes.clone(),
        Some(Specifier::Filename(name)) => match read_file(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                cx.error_at("filename", format!("cannot read {name:?}: {error}"));
                return None;
            }
        },
        Some(Specifier::EnvironmentVariable(name)) => match std::env::var_os(name) {
            Some(value) => value.into_encoded_bytes(),
            None => {
                let reason = format!("there is no environment variable {name:?}");
                cx.error_at("environment_variable", reason);
                return None;
            }
        },
        None => {
            cx.error(
                "one of filename, inline_string, inline_bytes and environment_variable is needed",
            );
            return None;
        }
    };
    if bytes.len() as u64 > SOURCE_BYTES_MAX {
        cx.error(format!(
            "a data source has at most {SOURCE_BYTES_MAX} bytes"
        ));
        return None;
    }
    Some(bytes.into())
}

/// The bytes of a file that is named without more, or a report of why there are
/// none.
pub fn file(name: &str, cx: &mut Cx<'_>) -> Option<Box<[u8]>> {
    let read = read_file(name);
    match read {
        Ok(bytes) if bytes.len() as u64 <= SOURCE_BYTES_MAX => Some(bytes.into()),
        Ok(_) => {
            cx.error(format!(
                "a data source has at most {SOURCE_BYTES_MAX} bytes"
            ));
            None
        }
        Err(error) => {
            cx.error(format!("cannot read {name:?}: {error}"));
            None
        }
    }
}

/// The bytes of a file, up to one more than are allowed: a device that was
/// named by mistake must not fill the memory.
fn read_file(name: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(name)?
        .take(SOURCE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
