//! What a failed handshake is called in logs and response-code details: BoringSSL's
//! error, as Envoy prints it, where there is one of the same meaning.

use ringway_codecs::client_hello::fault::Fault;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::handshake::{HandshakeError, NO_SECRET};
use super::verify_failure::VerifyFailure;

/// Errors of the library `SSL`, in the high byte of a packed error of OpenSSL.
const SSL_LIBRARY: u32 = 16 << 24;

/// `|<number>:SSL routines:OPENSSL_internal:<reason>`, between the marks that Envoy
/// puts around it. Empty where there is nothing to tell: the peer just left.
#[must_use]
pub fn reason(error: &HandshakeError) -> String {
    let error = match error {
        HandshakeError::Tls(error) => error,
        HandshakeError::Verify(VerifyFailure::NobodyTrusted) => {
            return told(125, "CERTIFICATE_VERIFY_FAILED");
        }
        HandshakeError::Verify(failure) => return certificate_verify_failed(failure),
        HandshakeError::NoHello(fault) => {
            let (number, name) = no_hello_reason(*fault);
            return told(number, name);
        }
        HandshakeError::NoSecret => return NO_SECRET.to_owned(),
        HandshakeError::HttpRequest => return told(156, "HTTP_REQUEST"),
        HandshakeError::HttpsProxyRequest => return told(155, "HTTPS_PROXY_REQUEST"),
        HandshakeError::Closed | HandshakeError::Io(_) => return String::new(),
    };
    let (number, name) = match error {
        Error::AlertReceived(alert) => alert_reason(*alert),
        Error::NoCertificatesPresented => {
            let name = "PEER_DID_NOT_RETURN_A_CERTIFICATE";
            return told(
                192,
                &format!("{name}:peer did not provide required client certificate"),
            );
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => (123, "BAD_SIGNATURE"),
        Error::InvalidCertificate(other) => return certificate_verify_failed(other),
        Error::InvalidMessage(
            InvalidMessage::UnknownProtocolVersion | InvalidMessage::InvalidContentType,
        ) => (247, "WRONG_VERSION_NUMBER"),
        Error::InvalidMessage(InvalidMessage::MessageTooLarge) | Error::PeerSentOversizedRecord => {
            (146, "ENCRYPTED_LENGTH_TOO_LONG")
        }
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => {
            (150, "EXCESSIVE_MESSAGE_SIZE")
        }
        Error::InvalidMessage(_) => (137, "DECODE_ERROR"),
        Error::InappropriateMessage { .. } => (225, "UNEXPECTED_RECORD"),
        Error::InappropriateHandshakeMessage { .. } => (223, "UNEXPECTED_MESSAGE"),
        Error::DecryptError => (140, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
        Error::PeerIncompatible(error) => incompatible_reason(error),
        Error::NoApplicationProtocol => (307, "NO_APPLICATION_PROTOCOL"),
        _ => (226, "UNKNOWN_ALERT_TYPE"),
    };
    told(number, name)
}

fn told(number: u32, name: &str) -> String {
    let number = SSL_LIBRARY + number;
    format!("TLS_error:|{number}:SSL routines:OPENSSL_internal:{name}:TLS_error_end")
}

fn certificate_verify_failed(detail: &dyn std::fmt::Display) -> String {
    let number = SSL_LIBRARY + 125;
    format!(
        "TLS_error:|{number}:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
         verify cert failed: {detail}:TLS_error_end"
    )
}

fn no_hello_reason(fault: Fault) -> (u32, &'static str) {
    match fault {
        Fault::Version => (247, "WRONG_VERSION_NUMBER"),
        Fault::RecordLength => (146, "ENCRYPTED_LENGTH_TOO_LONG"),
        Fault::PlaintextLength => (136, "DATA_LENGTH_TOO_LONG"),
        Fault::EmptyRecords => (219, "TOO_MANY_EMPTY_FRAGMENTS"),
        Fault::RecordKind => (225, "UNEXPECTED_RECORD"),
        Fault::MessageKind => (223, "UNEXPECTED_MESSAGE"),
        Fault::MessageLength => (150, "EXCESSIVE_MESSAGE_SIZE"),
        Fault::Malformed => (131, "CLIENTHELLO_PARSE_FAILED"),
    }
}

fn incompatible_reason(error: &rustls::PeerIncompatible) -> (u32, &'static str) {
    use rustls::PeerIncompatible as Peer;
    match error {
        Peer::NoCipherSuitesInCommon => (184, "NO_SHARED_CIPHER"),
        Peer::NoKxGroupsInCommon => (330, "NO_SHARED_GROUP"),
        Peer::NoSignatureSchemesInCommon => (253, "NO_COMMON_SIGNATURE_ALGORITHMS"),
        _ => (240, "UNSUPPORTED_PROTOCOL"),
    }
}

/// A fatal alert of the peer: its number and 1,000.
fn alert_reason(alert: AlertDescription) -> (u32, &'static str) {
    let name = match alert {
        AlertDescription::UnexpectedMessage => "SSLV3_ALERT_UNEXPECTED_MESSAGE",
        AlertDescription::BadRecordMac => "SSLV3_ALERT_BAD_RECORD_MAC",
        AlertDescription::RecordOverflow => "TLSV1_ALERT_RECORD_OVERFLOW",
        AlertDescription::HandshakeFailure => "SSLV3_ALERT_HANDSHAKE_FAILURE",
        AlertDescription::BadCertificate => "SSLV3_ALERT_BAD_CERTIFICATE",
        AlertDescription::UnsupportedCertificate => "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        AlertDescription::CertificateRevoked => "SSLV3_ALERT_CERTIFICATE_REVOKED",
        AlertDescription::CertificateExpired => "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        AlertDescription::CertificateUnknown => "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        AlertDescription::IllegalParameter => "SSLV3_ALERT_ILLEGAL_PARAMETER",
        AlertDescription::UnknownCA => "TLSV1_ALERT_UNKNOWN_CA",
        AlertDescription::AccessDenied => "TLSV1_ALERT_ACCESS_DENIED",
        AlertDescription::DecodeError => "TLSV1_ALERT_DECODE_ERROR",
        AlertDescription::DecryptError => "TLSV1_ALERT_DECRYPT_ERROR",
        AlertDescription::ProtocolVersion => "TLSV1_ALERT_PROTOCOL_VERSION",
        AlertDescription::InsufficientSecurity => "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        AlertDescription::InternalError => "TLSV1_ALERT_INTERNAL_ERROR",
        AlertDescription::UserCanceled => "TLSV1_ALERT_USER_CANCELLED",
        AlertDescription::NoRenegotiation => "TLSV1_ALERT_NO_RENEGOTIATION",
        AlertDescription::UnrecognisedName => "TLSV1_UNRECOGNIZED_NAME",
        AlertDescription::CertificateRequired => "TLSV1_ALERT_CERTIFICATE_REQUIRED",
        AlertDescription::NoApplicationProtocol => "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        _ => return (226, "UNKNOWN_ALERT_TYPE"),
    };
    (1000 + u32::from(u8::from(alert)), name)
}
