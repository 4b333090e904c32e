//! Messages of `xds.type.matcher.v3` that are in no crate: they only ever stand in
//! an `Any`.

use envoy_types::pb::xds::core::v3::CidrRange;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::OnMatch;

/// `xds.type.matcher.v3.IPMatcher`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IpMatcher {
    #[prost(message, repeated, tag = "1")]
    pub range_matchers: Vec<IpRangeMatcher>,
}

/// `xds.type.matcher.v3.IPMatcher.IPRangeMatcher`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IpRangeMatcher {
    #[prost(message, repeated, tag = "1")]
    pub ranges: Vec<CidrRange>,
    #[prost(message, optional, tag = "2")]
    pub on_match: Option<OnMatch>,
    #[prost(bool, tag = "3")]
    pub exclusive: bool,
}

/// `xds.type.matcher.v3.ServerNameMatcher`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServerNameMatcher {
    #[prost(message, repeated, tag = "1")]
    pub domain_matchers: Vec<DomainMatcher>,
}

/// `xds.type.matcher.v3.ServerNameMatcher.DomainMatcher`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DomainMatcher {
    #[prost(string, repeated, tag = "1")]
    pub domains: Vec<String>,
    #[prost(message, optional, tag = "2")]
    pub on_match: Option<OnMatch>,
}

impl prost::Name for IpMatcher {
    const NAME: &'static str = "IPMatcher";
    const PACKAGE: &'static str = "xds.type.matcher.v3";
}

impl prost::Name for ServerNameMatcher {
    const NAME: &'static str = "ServerNameMatcher";
    const PACKAGE: &'static str = "xds.type.matcher.v3";
}
