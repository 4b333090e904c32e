//! Which responses are errors for outlier detection
//! (`HttpProtocolOptions.outlier_detection.error_matcher`), by their headers.

use envoy_types::pb::envoy::config::common::matcher::v3 as pb;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options;
use pb::match_predicate::{MatchSet, Rule};
use ringway_codecs::header::HeaderMap;

use crate::context::Cx;
use crate::route::HeaderMatcher;

/// A compiled predicate on the headers of a response.
#[derive(Debug)]
pub struct ErrorMatcher(Predicate);

#[derive(Debug)]
enum Predicate {
    Or(Box<[Predicate]>),
    And(Box<[Predicate]>),
    Not(Box<Predicate>),
    Any,
    /// All of them pass.
    ResponseHeaders(Box<[HeaderMatcher]>),
    /// It asks for something else of the exchange, which Envoy does not show it.
    Never,
}

/// How many predicates may be within each other: a response follows them by
/// recursion, whose stack must be bounded.
const DEPTH_MAX: usize = 32;

impl ErrorMatcher {
    /// The status that a response counts as. An error that says of itself that it
    /// is none counts as a plain one.
    #[must_use]
    pub fn status_of(&self, status: u16, response: &HeaderMap) -> u16 {
        match self.0.matches(response) {
            true => status.max(500),
            false => 200,
        }
    }

    pub(crate) fn lower(
        proto: &http_protocol_options::OutlierDetection,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let proto = proto.error_matcher.as_ref()?;
        cx.field("error_matcher", |cx| Predicate::lower(proto, DEPTH_MAX, cx))
            .map(Self)
    }
}

impl Predicate {
    fn matches(&self, response: &HeaderMap) -> bool {
        match self {
            Self::Or(of) => of.iter().any(|one| one.matches(response)),
            Self::And(of) => of.iter().all(|one| one.matches(response)),
            Self::Not(of) => !of.matches(response),
            Self::Any => true,
            Self::ResponseHeaders(all) => all.iter().all(|one| one.matches(response)),
            Self::Never => false,
        }
    }

    fn lower(proto: &pb::MatchPredicate, depth: usize, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(depth) = depth.checked_sub(1) else {
            cx.error(format!("predicates are nested deeper than {DEPTH_MAX}"));
            return None;
        };
        // The rules of the message want one of them.
        match proto.rule.as_ref()? {
            Rule::OrMatch(set) => cx
                .field("or_match", |cx| lower_set(set, depth, cx))
                .map(Self::Or),
            Rule::AndMatch(set) => cx
                .field("and_match", |cx| lower_set(set, depth, cx))
                .map(Self::And),
            Rule::NotMatch(of) => {
                let of = cx.field("not_match", |cx| Self::lower(of, depth, cx));
                of.map(|of| Self::Not(Box::new(of)))
            }
            Rule::AnyMatch(_) => Some(Self::Any),
            Rule::HttpResponseHeadersMatch(all) => cx.field("http_response_headers_match", |cx| {
                let all = all.headers.iter().enumerate();
                let all: Vec<_> = all
                    .map(|(i, one)| cx.index("headers", i, |cx| HeaderMatcher::lower(one, cx)))
                    .collect();
                let all: Option<Vec<_>> = all.into_iter().collect();
                all.map(|all| Self::ResponseHeaders(all.into()))
            }),
            Rule::HttpRequestHeadersMatch(_)
            | Rule::HttpRequestTrailersMatch(_)
            | Rule::HttpResponseTrailersMatch(_)
            | Rule::HttpRequestGenericBodyMatch(_)
            | Rule::HttpResponseGenericBodyMatch(_) => Some(Self::Never),
        }
    }
}

fn lower_set(set: &MatchSet, depth: usize, cx: &mut Cx<'_>) -> Option<Box<[Predicate]>> {
    let rules = set.rules.iter().enumerate();
    let lowered: Vec<_> = rules
        .map(|(i, rule)| cx.index("rules", i, |cx| Predicate::lower(rule, depth, cx)))
        .collect();
    lowered.into_iter().collect()
}
