//! HTTP below the filters.
//!
//! - What the connection manager does to headers: pure functions over
//!   [`HeaderMap`](ringway_codecs::header::HeaderMap), for every protocol.
//!   Start at [`conn_manager_utility`], which calls the others in Envoy's
//!   order. They do no I/O and read no clock. Each rule was checked against
//!   Envoy 1.40; the tables in the tests are what it was seen to do, and where
//!   the answer here is stricter the test says so.
//! - [`exchange`]: one request and its response; [`downstream`]: the client's
//!   connection; [`http1`]: messages on streams; [`http2`]: what both sides
//!   need of HTTP/2.
//!
//! Nothing here knows of filters or upstreams.

pub mod body_copy;
pub mod body_filter;
pub mod conn_manager_utility;
pub mod connection_header;
pub mod date;
pub mod downstream;
pub mod exchange;
pub mod forward_client_cert;
pub mod forwarded_for;
pub mod header_parser;
pub mod header_utility;
pub mod host_utility;
pub mod http1;
pub mod http2;
pub mod internal_address;
pub mod message_sizes;
pub mod pacer;
pub mod path_utility;
pub mod redirect;
pub mod referer;
pub mod request_id;
pub mod route_table;
pub mod timeout_budget;
pub mod url;
mod value_copy;

use ringway_codecs::header::{HeaderId, HeaderMap};
use value_copy::ValueCopy;

/// Adds a value to a header that has one line, which is a list, behind
/// `separator`.
pub fn append_to_list(
    headers: &mut HeaderMap,
    id: HeaderId,
    separator: &[u8],
    write: impl FnOnce(&mut Vec<u8>),
) {
    let before = ValueCopy::of(headers.get(id).unwrap_or_default());
    headers.set_with(id, |out| {
        if !before.is_empty() {
            out.extend_from_slice(&before);
            out.extend_from_slice(separator);
        }
        write(out);
    });
}

#[cfg(test)]
mod test_headers {
    //! Header lists written and read as text, for table tests.

    use ringway_codecs::header::{HeaderMap, Lines};

    /// Fields of a request written `name: value`, one a line.
    pub(in crate::http) fn headers(text: &str) -> HeaderMap {
        let mut map = HeaderMap::of(Lines::Request);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let colon = line[1..].find(':').expect("name: value") + 1;
            map.append_name(
                &line.as_bytes()[..colon],
                line[colon + 1..].trim_start().as_bytes(),
            );
        }
        map
    }

    /// The fields in order, as `name: value` joined by ` | `.
    pub(in crate::http) fn text(map: &HeaderMap) -> String {
        let lines: Vec<_> = map
            .iter()
            .map(|(name, value)| {
                format!(
                    "{}: {}",
                    String::from_utf8_lossy(name.as_bytes()),
                    String::from_utf8_lossy(value)
                )
            })
            .collect();
        lines.join(" | ")
    }
}
