//! What is wrong with a file that should be PEM, in words.

use rustls::pki_types::pem::Error;

/// Bytes of a line that are told.
const LINE_BYTES_MAX: usize = 60;

/// Why there is nothing to be read in it.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::MissingSectionEnd { end_marker } => {
            format!("the end of its {} is missing", text(end_marker))
        }
        Error::IllegalSectionStart { line } => {
            format!("this line begins nothing: {}", text(line))
        }
        Error::Base64Decode(_) => "what is between its marks is not base64".to_owned(),
        Error::SectionTooLarge => "it is too large".to_owned(),
        other => other.to_string(),
    }
}

/// As it is written, where it can be printed.
fn text(line: &[u8]) -> String {
    let told = &line[..line.len().min(LINE_BYTES_MAX)];
    format!("{:?}", String::from_utf8_lossy(told).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    #[test]
    fn reasons_are_words() {
        for (pem, expected) in [
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n",
                "the end of its \"CERTIFICATE\" is missing",
            ),
            (
                "-----BEGIN CERTIFICATE\nAAAA\n",
                "this line begins nothing: \"-----BEGIN CERTIFICATE\"",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n=\n-----END CERTIFICATE-----\n",
                "what is between its marks is not base64",
            ),
        ] {
            let read = CertificateDer::from_pem_slice(pem.as_bytes());
            assert_eq!(
                read.map_err(|error| reason(&error)),
                Err(expected.to_owned())
            );
        }
    }
}
