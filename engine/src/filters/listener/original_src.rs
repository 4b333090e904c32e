//! `envoy.filters.listener.original_src`: hosts see the client's own address instead
//! of the proxy's. Their answers must find their way back to us, which is the
//! business of the network's routes; the mark is for them.

use envoy_types::pb::envoy::extensions::filters::listener::original_src::v3::OriginalSrc as OriginalSrcPb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::Cx;
use ringway_config::unpack;

use super::Inspected;
use crate::network::address::NO_ADDRESS;
use crate::reactor::Stream;
use crate::stream_info::OriginalSource;

/// The compiled filter.
#[derive(Debug, Clone, Copy)]
pub struct OriginalSrc {
    mark: u32,
}

impl OriginalSrc {
    /// Compiles a filter.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<OriginalSrcPb>(any, cx)?;
        Some(Self { mark: proto.mark })
    }

    /// Notes whom hosts are to see. A client of a Unix socket has no address.
    pub(super) fn inspect(self, stream: &Stream, inspected: &mut Inspected) {
        let client = inspected.remote.or_else(|| stream.peer_addr().ok());
        let client = client.filter(|address| *address != NO_ADDRESS);
        inspected.source = client.map(|address| OriginalSource {
            ip: address.ip(),
            mark: self.mark,
        });
    }
}
