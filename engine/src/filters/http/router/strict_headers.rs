//! `strict_check_headers`: requests that tell the router something that means
//! nothing are refused. Without it such headers are as if they were not there.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::RetryOn;

use super::{ConnectionManager, Handled, LocalReply};
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::stream_info::{ResponseFlag, details};

/// The headers that are checked, as places in [`CHECKED`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StrictHeaders(u8);

/// All that can be, in Envoy's order: the first that is wrong is told of.
const CHECKED: [(HeaderId, Check); 5] = [
    (HeaderId::XEnvoyUpstreamRqTimeoutMs, is_number),
    (HeaderId::XEnvoyUpstreamRqPerTryTimeoutMs, is_number),
    (HeaderId::XEnvoyMaxRetries, is_number),
    (HeaderId::XEnvoyRetryOn, |list| {
        is_known(|unknown| RetryOn::parse(list, unknown))
    }),
    (HeaderId::XEnvoyRetryGrpcOn, |list| {
        is_known(|unknown| RetryOn::parse_grpc(list, unknown))
    }),
];

/// Whether a value means something.
type Check = fn(&[u8]) -> bool;

impl StrictHeaders {
    /// Those of these names; the validation rules allow no others.
    pub(super) fn compile(names: &[String]) -> Self {
        let listed = |id: HeaderId| names.iter().any(|name| name == id.as_str());
        let places = CHECKED.iter().enumerate();
        Self(places.fold(0, |set, (place, (id, _))| {
            set | u8::from(listed(*id)) << place
        }))
    }

    /// The first header of a request that says nothing that the router knows.
    pub fn first_wrong(self, request: &HeaderMap) -> Option<HeaderId> {
        if self.0 == 0 {
            return None;
        }
        let mut checked = CHECKED.iter().enumerate();
        let wrong = checked.find(|(place, (id, is_right))| {
            let is_checked = self.0 & 1 << place != 0;
            is_checked && request.get(*id).is_some_and(|value| !is_right(value))
        });
        wrong.map(|(_, (id, _))| *id)
    }
}

/// Answers a request that is refused.
pub(super) fn refuse(
    wrong: HeaderId,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let name = wrong.as_str();
    exchange.info.details.compose(format_args!(
        "{}{{{name}}}",
        details::REQUEST_HEADERS_FAILED_STRICT_CHECK
    ));
    let body = wrong_header_text(wrong, &exchange.request);
    let reply = LocalReply {
        body: &body,
        ..LocalReply::new(400, "", "")
    };
    let reply = reply.flag(ResponseFlag::InvalidEnvoyRequestHeaders);
    manager.reply(downstream, exchange, reply);
    Handled::Answered
}

/// What is told of a wrong header.
pub fn wrong_header_text(wrong: HeaderId, request: &HeaderMap) -> Vec<u8> {
    let mut text = format!("invalid header '{}' with value '", wrong.as_str()).into_bytes();
    text.extend_from_slice(request.get(wrong).unwrap_or_default());
    text.push(b'\'');
    text
}

fn is_number(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.trim().parse::<u64>().is_ok())
}

fn is_known(parse: impl FnOnce(&mut dyn FnMut(&[u8])) -> RetryOn) -> bool {
    let mut known = true;
    parse(&mut |_| known = false);
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_codecs::header::Lines;

    fn all() -> Vec<String> {
        let names = CHECKED.iter().map(|(id, _)| id.as_str().to_owned());
        names.collect()
    }

    #[test]
    fn the_first_wrong_header_is_found() {
        use HeaderId as Id;
        for (lines, expected) in [
            (&[][..], None),
            (&[(Id::XEnvoyRetryOn, "5xx, reset")], None),
            (&[(Id::XEnvoyRetryOn, "")], None),
            (&[(Id::XEnvoyRetryOn, "5xx,")], None),
            (
                &[(Id::XEnvoyRetryOn, "5xx,nonsense")],
                Some(Id::XEnvoyRetryOn),
            ),
            (&[(Id::XEnvoyRetryOn, "cancelled")], Some(Id::XEnvoyRetryOn)),
            (&[(Id::XEnvoyRetryGrpcOn, "cancelled")], None),
            (
                &[(Id::XEnvoyRetryGrpcOn, "5xx")],
                Some(Id::XEnvoyRetryGrpcOn),
            ),
            (&[(Id::XEnvoyMaxRetries, " +1 ")], None),
            (&[(Id::XEnvoyMaxRetries, "18446744073709551615")], None),
            (
                &[(Id::XEnvoyMaxRetries, "18446744073709551616")],
                Some(Id::XEnvoyMaxRetries),
            ),
            (&[(Id::XEnvoyMaxRetries, "")], Some(Id::XEnvoyMaxRetries)),
            (
                &[(Id::XEnvoyMaxRetries, "1"), (Id::XEnvoyMaxRetries, "1")],
                Some(Id::XEnvoyMaxRetries),
            ),
            (
                &[
                    (Id::XEnvoyRetryOn, "x"),
                    (Id::XEnvoyUpstreamRqPerTryTimeoutMs, "-1"),
                ],
                Some(Id::XEnvoyUpstreamRqPerTryTimeoutMs),
            ),
        ] {
            let mut request = HeaderMap::of(Lines::Request);
            for (id, value) in lines {
                request.append(*id, value.as_bytes());
            }
            let found = StrictHeaders::compile(&all()).first_wrong(&request);
            assert_eq!(found, expected, "{lines:?}");
            let some = StrictHeaders::compile(&[Id::XEnvoyUpstreamRqTimeoutMs.as_str().into()]);
            assert_eq!(some.first_wrong(&request), None, "{lines:?}");
        }
    }
}
