//! Headers of which a message has one line, however many were sent or added.
//!
//! Envoy keeps the headers that it reads itself, and those that some of its
//! extensions registered, in a place of their own with one value: another line
//! is added to that value behind a comma. Filters, logs and peers see one line,
//! where the first one was. All other headers keep their lines. Which headers
//! these are depends on the message; the tables are what Envoy 1.40 does.

use super::{HeaderId, HeaderMap, Range};

/// What a list holds, as far as that decides which headers have one line.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lines {
    /// A request's headers.
    Request,
    /// A response's headers.
    Response,
    /// A response's trailers. Those of a request keep all their lines.
    ResponseTrailers,
}

impl Lines {
    /// The ids of which there is one line.
    pub(super) const fn single(self) -> u128 {
        match self {
            Lines::Request => set(EITHER) | set(REQUEST),
            Lines::Response => set(EITHER) | set(RESPONSE) | set(RESPONSE_TRAILERS),
            Lines::ResponseTrailers => set(RESPONSE_TRAILERS),
        }
    }
}

impl HeaderMap {
    /// Joins the lines of a received message that should be one.
    #[inline]
    pub fn join_repeated(&mut self) {
        let ids = self.repeated & self.single;
        if ids != 0 {
            self.join_lines(ids);
        }
    }

    /// Joins the lines of each of `ids`. All of a name's are joined at once, so
    /// that many of them cost no more than their bytes.
    #[cold]
    fn join_lines(&mut self, ids: u128) {
        self.repeated &= !ids;
        for number in (0..HeaderId::COUNT as u8).filter(|number| ids >> number & 1 != 0) {
            let (arena, entries) = (&mut self.arena, &mut self.entries);
            let lines = entries.iter().filter(|entry| entry.id == number);
            let joined = join(arena, lines.map(|entry| entry.value));
            let mut is_first = true;
            entries.retain_mut(|entry| {
                let keep = entry.id != number || is_first;
                if entry.id == number {
                    entry.value = joined;
                    is_first = false;
                }
                keep
            });
        }
    }

    /// Adds a value to the line of `id`, which is in the list.
    #[cold]
    pub(super) fn add_to_line(&mut self, id: HeaderId, value: Range) {
        let arena = &mut self.arena;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id as u8) {
            entry.value = join(arena, [entry.value, value].into_iter());
        }
    }
}

/// Values with commas between. Empty ones are left out.
fn join(arena: &mut Vec<u8>, values: impl Iterator<Item = Range>) -> Range {
    let start = arena.len();
    for value in values.filter(|value| !value.is_empty()) {
        if arena.len() > start {
            arena.push(b',');
        }
        arena.extend_from_within(value.bounds());
    }
    Range::new(start, arena.len() - start)
}

const fn set(ids: &[HeaderId]) -> u128 {
    let mut set = 0;
    let mut i = 0;
    while i < ids.len() {
        set |= 1 << (ids[i] as u8);
        i += 1;
    }
    set
}

/// Of requests and responses. Those that say where a message ends are not
/// among them: the codecs let them come once.
const EITHER: &[HeaderId] = &[
    HeaderId::CacheControl,
    HeaderId::Connection,
    HeaderId::ContentEncoding,
    HeaderId::ContentType,
    HeaderId::KeepAlive,
    HeaderId::ProxyConnection,
    HeaderId::ProxyStatus,
    HeaderId::Upgrade,
    HeaderId::Via,
    HeaderId::XEnvoyAttemptCount,
    HeaderId::XEnvoyDecoratorOperation,
    HeaderId::XRequestId,
];

const REQUEST: &[HeaderId] = &[
    HeaderId::Accept,
    HeaderId::AcceptEncoding,
    HeaderId::AccessControlRequestHeaders,
    HeaderId::AccessControlRequestMethod,
    HeaderId::AccessControlRequestPrivateNetwork,
    HeaderId::Authentication,
    HeaderId::Authorization,
    HeaderId::CdnLoop,
    HeaderId::Expect,
    HeaderId::GrpcAcceptEncoding,
    HeaderId::GrpcTimeout,
    HeaderId::IfMatch,
    HeaderId::IfModifiedSince,
    HeaderId::IfNoneMatch,
    HeaderId::IfRange,
    HeaderId::IfUnmodifiedSince,
    HeaderId::Origin,
    HeaderId::Pragma,
    HeaderId::Referer,
    HeaderId::Te,
    HeaderId::UserAgent,
    HeaderId::XClientTraceId,
    HeaderId::XEnvoyDownstreamServiceCluster,
    HeaderId::XEnvoyDownstreamServiceNode,
    HeaderId::XEnvoyExpectedRqTimeoutMs,
    HeaderId::XEnvoyExternalAddress,
    HeaderId::XEnvoyForceTrace,
    HeaderId::XEnvoyHedgeOnPerTryTimeout,
    HeaderId::XEnvoyInternal,
    HeaderId::XEnvoyIpTags,
    HeaderId::XEnvoyIsTimeoutRetry,
    HeaderId::XEnvoyMaxRetries,
    HeaderId::XEnvoyOriginalHost,
    HeaderId::XEnvoyOriginalPath,
    HeaderId::XEnvoyOriginalUrl,
    HeaderId::XEnvoyRetriableHeaderNames,
    HeaderId::XEnvoyRetriableStatusCodes,
    HeaderId::XEnvoyRetryGrpcOn,
    HeaderId::XEnvoyRetryOn,
    HeaderId::XEnvoyUpstreamAltStatName,
    HeaderId::XEnvoyUpstreamRqPerTryTimeoutMs,
    HeaderId::XEnvoyUpstreamRqTimeoutAltResponse,
    HeaderId::XEnvoyUpstreamRqTimeoutMs,
    HeaderId::XEnvoyUpstreamStreamDurationMs,
    HeaderId::XForwardedClientCert,
    HeaderId::XForwardedFor,
    HeaderId::XForwardedHost,
    HeaderId::XForwardedPort,
    HeaderId::XForwardedProto,
];

const RESPONSE: &[HeaderId] = &[
    HeaderId::AccessControlAllowCredentials,
    HeaderId::AccessControlAllowHeaders,
    HeaderId::AccessControlAllowMethods,
    HeaderId::AccessControlAllowOrigin,
    HeaderId::AccessControlAllowPrivateNetwork,
    HeaderId::AccessControlExposeHeaders,
    HeaderId::AccessControlMaxAge,
    HeaderId::Age,
    HeaderId::Date,
    HeaderId::Etag,
    HeaderId::Expires,
    HeaderId::LastModified,
    HeaderId::Location,
    HeaderId::Server,
    HeaderId::Vary,
    HeaderId::XEnvoyDegraded,
    HeaderId::XEnvoyImmediateHealthCheckFail,
    HeaderId::XEnvoyRatelimited,
    HeaderId::XEnvoyUpstreamCanary,
    HeaderId::XEnvoyUpstreamHealthcheckedCluster,
    HeaderId::XEnvoyUpstreamServiceTime,
];

const RESPONSE_TRAILERS: &[HeaderId] = &[HeaderId::GrpcMessage, HeaderId::GrpcStatus];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(map: &HeaderMap) -> Vec<String> {
        let one = |(name, value): (crate::header::HeaderName<'_>, &[u8])| {
            let name = String::from_utf8_lossy(name.as_bytes());
            format!("{name}: {}", String::from_utf8_lossy(value))
        };
        map.iter().map(one).collect()
    }

    /// Adds the fields as codecs do and as others do; all must give `want`.
    fn check(lines: Lines, fields: &[(&str, &str)], want: &[&str]) {
        let mut added = HeaderMap::of(lines);
        for (name, value) in fields {
            added.append_name(name.as_bytes(), value.as_bytes());
        }
        assert_eq!(text(&added), want, "added: {fields:?}");

        let mut received = HeaderMap::of(lines);
        let head: String = fields.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        received.store_received(head.as_bytes());
        let mut at = 0;
        for (name, value) in fields {
            let value_at = at + name.len() + 1;
            received.push_received(
                Range::new(at, name.len()),
                Range::new(value_at, value.len()),
            );
            at = value_at + value.len() + 1;
        }
        received.join_repeated();
        assert_eq!(text(&received), want, "received: {fields:?}");

        let mut given = HeaderMap::of(lines);
        for (name, value) in fields {
            given.append_received(name.as_bytes(), value.as_bytes());
        }
        given.join_repeated();
        assert_eq!(text(&given), want, "given: {fields:?}");
    }

    #[test]
    fn lines_become_one_at_the_place_of_the_first() {
        let fields = [
            ("user-agent", "1"),
            ("x-a", "1"),
            ("cookie", "1"),
            ("via", "1"),
            ("user-agent", "2"),
            ("x-a", "2"),
            ("cookie", "2"),
            ("via", "2"),
            ("user-agent", "3"),
        ];
        let want = [
            "user-agent: 1,2,3",
            "x-a: 1",
            "cookie: 1",
            "via: 1,2",
            "x-a: 2",
            "cookie: 2",
        ];
        check(Lines::Request, &fields, &want);
    }

    #[test]
    fn empty_values_add_nothing() {
        check(
            Lines::Response,
            &[("etag", ""), ("date", "d"), ("etag", "e"), ("date", "")],
            &["etag: e", "date: d"],
        );
        check(Lines::Response, &[("etag", ""), ("etag", "")], &["etag: "]);
    }

    #[test]
    fn each_message_has_its_own() {
        let twice = [("grpc-status", "1"), ("grpc-status", "2")];
        let two = ["grpc-status: 1", "grpc-status: 2"];
        check(Lines::Request, &twice, &two);
        check(Lines::Response, &twice, &["grpc-status: 1,2"]);
        check(Lines::ResponseTrailers, &twice, &["grpc-status: 1,2"]);
        let twice = [("location", "1"), ("location", "2")];
        check(Lines::Request, &twice, &["location: 1", "location: 2"]);
        check(Lines::Response, &twice, &["location: 1,2"]);
        let two = ["location: 1", "location: 2"];
        check(Lines::ResponseTrailers, &twice, &two);
        let mut any = HeaderMap::new();
        any.append(HeaderId::Via, b"1");
        any.append(HeaderId::Via, b"2");
        assert_eq!(text(&any), ["via: 1", "via: 2"]);
    }

    #[test]
    fn a_list_that_is_used_again_is_of_the_same_message() {
        let mut map = HeaderMap::of(Lines::Request);
        for _ in 0..2 {
            map.append(HeaderId::Via, b"1");
            map.append_with(HeaderId::Via, |out| out.push(b'2'));
            assert_eq!(text(&map.clone()), ["via: 1,2"]);
            map.clear();
        }
        map.append(HeaderId::Via, b"1");
        map.remove(HeaderId::Via);
        map.append(HeaderId::Via, b"2");
        assert_eq!(text(&map), ["via: 2"]);
    }

    #[test]
    fn no_name_is_listed_twice() {
        for list in [REQUEST, RESPONSE, RESPONSE_TRAILERS] {
            let all = EITHER.len() + list.len();
            assert_eq!((set(EITHER) | set(list)).count_ones() as usize, all);
        }
    }
}
