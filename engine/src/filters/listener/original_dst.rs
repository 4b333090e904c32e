//! `envoy.filters.listener.original_dst`: where a connection wanted to go that the
//! kernel has led to us, by a rule of netfilter. From here on it counts as one to
//! that address.

use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::Cx;
use ringway_config::unpack;

use super::Inspected;
use crate::reactor::Stream;

/// Checks its message, which says nothing.
pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<()> {
    unpack::<OriginalDst>(any, cx).map(drop)
}

/// Asks the kernel. A connection that nobody has led here has no other address.
pub(super) fn inspect(stream: &Stream, inspected: &mut Inspected) {
    if let Ok(address) = stream.original_destination() {
        inspected.local = Some(address);
    }
}
