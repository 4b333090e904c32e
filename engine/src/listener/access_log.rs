//! Access logs of a listener: a line for each of its connections once it is over,
//! whether a filter chain has served it or not.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use super::Serving;
use crate::filters::listener::Inspected;
use crate::formatter::Context;
use crate::reactor;
use crate::stream_info::{ConnectionInfo, ResponseFlag, StreamInfo, TimePoint, details};

/// A connection of a listener that logs, which no filter chain has served.
pub(super) struct Unserved<'a> {
    serving: &'a Serving,
    info: StreamInfo,
}

impl<'a> Unserved<'a> {
    /// What is known of one that listener filters have `inspected`; `None` where nobody
    /// wants to know.
    pub(super) fn new(
        serving: &'a Serving,
        mut info: ConnectionInfo,
        inspected: Inspected,
        (begun, begun_wall): (Instant, SystemTime),
    ) -> Option<Self> {
        if !serving.logs() {
            return None;
        }
        // Only those that are served have a number.
        info.id = 0;
        info.remote = inspected.remote.unwrap_or(info.remote);
        info.local = inspected.local.unwrap_or(info.local);
        info.requested_server_name = inspected.server_name;
        info.fingerprints = inspected.fingerprints;
        info.filter_state = inspected.filter_state;
        let mut known = StreamInfo::new(Rc::new(info), begun, begun_wall);
        if !inspected.metadata.is_empty() {
            *known.metadata_mut() = inspected.metadata;
        }
        Some(Self {
            serving,
            info: known,
        })
    }

    /// No filter chain is for it.
    pub(super) fn without_chain(mut self) -> Self {
        self.info.flags.set(ResponseFlag::NoRouteFound);
        self.info.details.set(details::FILTER_CHAIN_NOT_FOUND);
        self
    }

    /// Logs it: it is over.
    pub(super) fn log(mut self) {
        log(self.serving, &mut self.info);
    }
}

/// Logs a connection that is over.
pub(super) fn log(serving: &Serving, info: &mut StreamInfo) {
    info.mark(TimePoint::RequestComplete, reactor::now());
    let context = Context::of_connection(info);
    let runtime = serving.worker.runtime.borrow();
    for log in &serving.shared.access_logs {
        log.log(&context, &runtime);
    }
}
