//! Endpoints (`envoy.config.endpoint.v3`): the hosts of a cluster. Compiled
//! type on top, lowering below.

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::endpoint::v3 as pb;

use crate::context::Cx;
use crate::core::{Address, Locality};

/// One upstream host (`endpoint.v3.LbEndpoint` with the locality and
/// priority of its group).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where to connect to.
    pub address: Address,
    /// The address as `/clusters` and `%UPSTREAM_HOST%` show it.
    pub address_text: Arc<str>,
    /// The endpoint's `hostname`, for `auto_host_rewrite` and logs; empty
    /// when not given.
    pub hostname: Arc<str>,
    /// Share of the requests, relative to its peers; at least 1.
    pub weight: u32,
    /// 0 is the first choice; only 0 is accepted so far.
    pub priority: u32,
    /// Where it runs.
    pub locality: Locality,
}
