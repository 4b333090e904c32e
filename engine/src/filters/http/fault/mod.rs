//! Faults on purpose (`envoy.filters.http.fault`): requests are delayed,
//! answered in place of their hosts, or get their responses slowly.
//!
//! The three are independent of each other: each is decided by its own random
//! number, a delayed request may be aborted after its delay, and whatever is
//! answered at last may be slowed down. All of them together are one active
//! fault of the request, which lasts as long as it does.

mod settings;

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::header::HeaderId;
use ringway_config::context::{Cx, unpack};

use self::settings::{Request, Settings, Status};
use super::{Flow, HttpFilter, StreamContext};
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::http::exchange::Held;
use crate::http::pacer::Pacer;
use crate::reactor;
use crate::stats::{Gauge, Store};
use crate::stats_struct;
use crate::stream_info::ResponseFlag;
use crate::worker::shared::SharedCount;

stats_struct! {
    /// `http.<stat_prefix>.fault.*`.
    pub struct FaultStats {
        counters: [
            aborts_injected,
            delays_injected,
            faults_overflow,
            response_rl_injected,
        ],
        gauges: [active_faults],
    }
}

/// The compiled filter.
pub struct Fault {
    own: Settings,
    /// What routes have in its place, by number.
    of_routes: Vec<Settings>,
    /// Requests with a fault, on all workers.
    active: Arc<SharedCount>,
    /// Where the statistics are: `http.<stat_prefix>.fault.`
    prefix: String,
    stats: Option<FaultStats>,
}

impl Fault {
    /// Compiles `envoy.extensions.filters.http.fault.v3.HTTPFault`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::HttpFault>(any, cx)?;
        Some(Self {
            own: Settings::compile(&proto, cx)?,
            of_routes: Vec::new(),
            active: Arc::default(),
            prefix: String::new(),
            stats: None,
        })
    }

    fn settings(&self, stream: &StreamContext<'_>) -> &Settings {
        match stream.settings {
            Some(number) => &self.of_routes[number as usize],
            None => &self.own,
        }
    }

    /// Answers in place of the host, if the request is to be aborted.
    fn abort(&self, settings: &Settings, stream: &mut StreamContext<'_>) -> Flow {
        let decided = decide(stream, |request, rng| settings.abort(request, rng));
        let Some(status) = decided else {
            return Flow::Continue;
        };
        if !self.charge(settings, stream) {
            return Flow::Continue;
        }
        self.count(settings, stream, Kind::Abort);
        self.tell(settings, stream);
        Flow::Reply(reply(status))
    }

    /// Makes the request one with an active fault, unless it is one already or
    /// there are too many.
    fn charge(&self, settings: &Settings, stream: &mut StreamContext<'_>) -> bool {
        let (Some(stats), exchange) = (&self.stats, &mut *stream.exchange) else {
            return false;
        };
        if exchange.held.iter().any(|held| held.is_fault()) {
            return true;
        }
        let max = settings.active_max(&stream.worker.runtime.borrow());
        if self.active.add_below(max).is_none() {
            stats.faults_overflow.inc();
            return false;
        }
        stats.active_faults.inc();
        exchange.held.push(Box::new(ActiveFault {
            active: Arc::clone(&self.active),
            gauge: stats.active_faults,
        }));
        true
    }

    /// Puts the configured metadata where later filters and logs find it.
    fn tell(&self, settings: &Settings, stream: &mut StreamContext<'_>) {
        if let Some(metadata) = &settings.metadata {
            let dynamic = stream.exchange.info.metadata_mut();
            dynamic.entry(self.name()).update(metadata);
        }
    }

    fn count(&self, settings: &Settings, stream: &StreamContext<'_>, kind: Kind) {
        let Some(stats) = &self.stats else { return };
        let name = match kind {
            Kind::Delay => {
                stats.delays_injected.inc();
                "delays_injected"
            }
            Kind::Abort => {
                stats.aborts_injected.inc();
                "aborts_injected"
            }
        };
        let request = &stream.exchange.request;
        let cluster = request.get(HeaderId::XEnvoyDownstreamServiceCluster);
        if let Some(cluster) = cluster
            && !cluster.is_empty()
            && settings.count_by_cluster
        {
            let cluster = String::from_utf8_lossy(cluster);
            // A name from outside has to be looked up; only faults do it.
            let by_cluster = format!("{}{cluster}.{name}", self.prefix);
            stream.worker.count_named(&by_cluster);
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Delay,
    Abort,
}

impl HttpFilter for Fault {
    fn name(&self) -> &'static str {
        "envoy.filters.http.fault"
    }

    fn register(&mut self, store: &Store, prefix: &str) {
        self.prefix = format!("{prefix}fault.");
        self.stats = Some(FaultStats::new(store, &self.prefix));
    }

    fn compile_override(&mut self, config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        let proto = unpack::<pb::HttpFault>(config, cx)?;
        self.of_routes.push(Settings::compile(&proto, cx)?);
        Some(self.of_routes.len() as u32 - 1)
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let settings = self.settings(stream);
        if !decide(stream, |request, _| settings.apply_to(request)) {
            return Flow::Continue;
        }
        let limit = decide(stream, |request, rng| settings.rate_limit(request, rng));
        if let Some(kbps) = limit
            && self.charge(settings, stream)
        {
            if let Some(stats) = &self.stats {
                stats.response_rl_injected.inc();
            }
            stream.exchange.pacer = Some(Box::new(Pacer::new(kbps, reactor::now())));
        }
        let delay = decide(stream, |request, rng| settings.delay(request, rng));
        if let Some(delay) = delay
            && self.charge(settings, stream)
        {
            self.count(settings, stream, Kind::Delay);
            self.tell(settings, stream);
            let flags = &mut stream.exchange.info.flags;
            flags.set(ResponseFlag::DelayInjected);
            return Flow::Wait(Box::pin(reactor::sleep(delay)));
        }
        self.abort(settings, stream)
    }

    fn resume(&self, stream: &mut StreamContext<'_>) -> Flow {
        self.abort(self.settings(stream), stream)
    }
}

/// Asks the settings about the request.
fn decide<T>(
    stream: &StreamContext<'_>,
    ask: impl FnOnce(&Request<'_>, &mut fastrand::Rng) -> T,
) -> T {
    let request = Request {
        headers: &stream.exchange.request,
        cluster: stream.exchange.cluster.cluster,
        runtime: &stream.worker.runtime.borrow(),
    };
    ask(&request, &mut stream.worker.rng.borrow_mut())
}

fn reply(status: Status) -> LocalReply<'static> {
    let reply = LocalReply::new(status.http, "fault filter abort", "fault_filter_abort");
    LocalReply {
        grpc_status: status.grpc,
        ..reply.flag(ResponseFlag::FaultInjected)
    }
}

/// A request with a fault; dropped when it is over.
#[derive(Debug)]
struct ActiveFault {
    active: Arc<SharedCount>,
    gauge: Gauge,
}

impl Drop for ActiveFault {
    fn drop(&mut self) {
        self.active.subtract();
        self.gauge.dec();
    }
}

impl Held for ActiveFault {
    fn is_fault(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
