//! Every client is sent the same bytes, and its connection is closed
//! (`envoy.filters.network.direct_response`).

use envoy_types::pb::envoy::extensions::filters::network::direct_response::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::{Cx, unpack};

use crate::data_source;
use crate::stream_info::{StreamInfo, details};
use crate::transport_sockets::TransportSocket;

/// The compiled filter.
pub struct DirectResponse {
    response: Box<[u8]>,
}

impl DirectResponse {
    /// Compiles `envoy.extensions.filters.network.direct_response.v3.Config`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::Config>(any, cx)?;
        let response = match &proto.response {
            None => Box::default(),
            Some(source) => cx.field("response", |cx| data_source::read(source, cx))?,
        };
        Some(Self { response })
    }

    /// Sends the response. The connection is closed behind it.
    pub fn serve(&self, socket: &TransportSocket, info: &mut StreamInfo) {
        info.details.set(details::DIRECT_RESPONSE);
        info.bytes_sent += self.response.len() as u64;
        socket.write(&self.response);
    }
}
