//! What an authorization service has answered (`envoy.service.auth.v3.CheckResponse`).

use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use prost::Message as _;
use ringway_config::metadata::Struct;

/// The status of a denial that says nothing else.
const FORBIDDEN: i32 = 403;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Decision {
    /// It may go on.
    Ok,
    /// It may not.
    Denied,
    /// Nobody knows.
    #[default]
    Error,
}

/// An answer, as far as connections are concerned.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub decision: Decision,
    /// What a request would be answered with; 0 is nothing in particular.
    pub status_code: i32,
    /// What is told of the connection.
    pub metadata: Struct,
}

impl Verdict {
    /// Of no answer.
    pub(super) fn error() -> Self {
        Self::default()
    }

    /// Reads the message of an answer. One that is no such message is none.
    pub(super) fn read(message: &[u8]) -> Self {
        match CheckResponse::decode(message) {
            Ok(answer) => Self::of(&answer),
            Err(_) => Self::error(),
        }
    }

    fn of(answer: &CheckResponse) -> Self {
        let is_ok = (answer.status.as_ref()).is_none_or(|status| status.code == 0);
        let (decision, status) = match &answer.http_response {
            _ if is_ok => (Decision::Ok, None),
            Some(HttpResponse::ErrorResponse(response)) => {
                (Decision::Error, response.status.as_ref())
            }
            Some(HttpResponse::DeniedResponse(response)) => {
                (Decision::Denied, response.status.as_ref())
            }
            Some(HttpResponse::OkResponse(_)) | None => (Decision::Denied, None),
        };
        let status_code = status.map_or(0, |status| status.code);
        #[expect(deprecated, reason = "Envoy still reads it")]
        let of_requests = match &answer.http_response {
            Some(HttpResponse::OkResponse(response)) => response.dynamic_metadata.as_ref(),
            _ => None,
        };
        let metadata = of_requests.or(answer.dynamic_metadata.as_ref());
        Self {
            decision,
            status_code: match (decision, status_code) {
                (Decision::Denied, 0) => FORBIDDEN,
                (_, status_code) => status_code,
            },
            metadata: metadata.map(Struct::from_proto).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_what_envoy_reads() {
        // Status 7; a denial with 429; an error with 503; metadata `a: "b"` of the answer
        // and `c: "d"` of what requests would be let through with.
        let denied: &[u8] = b"\x0a\x02\x08\x07";
        let denial: &[u8] = b"\x12\x05\x0a\x03\x08\xad\x03";
        let error: &[u8] = b"\x2a\x05\x0a\x03\x08\xf7\x03";
        let metadata: &[u8] = b"\x22\x0a\x0a\x08\x0a\x01a\x12\x03\x1a\x01b";
        let of_requests: &[u8] = b"\x1a\x0c\x1a\x0a\x0a\x08\x0a\x01c\x12\x03\x1a\x01d";
        for (parts, decision, status_code, told) in [
            (&[][..], Decision::Ok, 0, None),
            (&[metadata], Decision::Ok, 0, Some("a")),
            (&[of_requests, metadata], Decision::Ok, 0, Some("c")),
            (&[denied], Decision::Denied, 403, None),
            (&[denied, of_requests], Decision::Denied, 403, Some("c")),
            (&[denied, b"\x12\x00"], Decision::Denied, 403, None),
            (
                &[denied, denial, metadata],
                Decision::Denied,
                429,
                Some("a"),
            ),
            (&[denied, b"\x2a\x00"], Decision::Error, 0, None),
            (&[denied, error], Decision::Error, 503, None),
            // Whoever may go on may, whatever else is said.
            (&[denial], Decision::Ok, 0, None),
            (&[error], Decision::Ok, 0, None),
            (&[b"\xff\xff\xff"], Decision::Error, 0, None),
        ] {
            let verdict = Verdict::read(&parts.concat());
            let said = (verdict.decision, verdict.status_code);
            assert_eq!(said, (decision, status_code), "{parts:?}");
            let names: Vec<_> = verdict.metadata.iter().map(|(name, _)| name).collect();
            assert_eq!(names, told.as_slice(), "{parts:?}");
        }
    }

    #[test]
    fn parts_of_answers_are_no_panic() {
        let answer = b"\x0a\x02\x08\x07\x12\x05\x0a\x03\x08\xad\x03\x22\x0a\x0a\x08\x0a\x01a\x12\x03\x1a\x01b";
        for end in 0..answer.len() {
            let expected = match end {
                0 => Decision::Ok,
                4 | 11 => Decision::Denied,
                _ => Decision::Error,
            };
            assert_eq!(Verdict::read(&answer[..end]).decision, expected, "{end}");
        }
    }
}
