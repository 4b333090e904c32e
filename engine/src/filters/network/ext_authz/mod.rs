//! `envoy.filters.network.ext_authz`: another service is asked whether a connection
//! may go on, when its first bytes are there. Those that may not are closed.
//!
//! A chain asks once a connection, while a TCP proxy behind it already connects to
//! a host. What the client sends meanwhile waits in its socket. A client that is
//! gone, or a worker that ends, drops the call.

mod check_request;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::extensions::filters::network::ext_authz::v3::ExtAuthz as ExtAuthzPb;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;
use ringway_config::context::Cx;
use ringway_config::grpc_service::GrpcService;
use ringway_config::metadata::{Struct, Value};
use ringway_config::metadata_match::MetadataMatcher;
use ringway_config::unpack;

use self::check_request::Told;
use super::{Connection, Flow, NetworkFilter};
use crate::filters::grpc_async_client::UnaryMethod;
use crate::reactor;
use crate::stats::{Gauge, Store};
use crate::stats_struct;
use crate::stream_info::{ResponseFlag, StreamInfo, details};

/// The name of the filter, and of its metadata.
const NAME: &str = "envoy.filters.network.ext_authz";

/// The method that is called.
const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";

/// How long a check may take if nothing else is said.
const TIMEOUT: Duration = Duration::from_millis(200);

/// The metadata that tells how many milliseconds a check took that went well.
const DURATION: &str = "ext_authz_duration";

stats_struct! {
    /// Under `ext_authz.` and the filter's prefix.
    pub struct ExtAuthzStats {
        counters: [cx_closed, denied, disabled, error, failure_mode_allowed, ok, total],
        gauges: [active],
    }
}

/// The compiled filter.
pub struct ExtAuthz {
    method: Arc<UnaryMethod>,
    told: Told,
    allows_on_failure: bool,
    /// Which connections are asked about; `None` is all.
    enabled: Option<MetadataMatcher>,
    stat_prefix: Box<str>,
    /// Once they are registered.
    stats: Option<ExtAuthzStats>,
}

impl ExtAuthz {
    /// Compiles a filter.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<ExtAuthzPb>(any, cx)?;
        let enabled = proto.filter_enabled_metadata.as_ref();
        let enabled = enabled.map(|matcher| {
            cx.field("filter_enabled_metadata", |cx| {
                MetadataMatcher::lower(matcher, cx)
            })
        });
        let Some(service) = &proto.grpc_service else {
            cx.error_at("grpc_service", "is needed: without it nobody can be asked");
            return None;
        };
        let service = cx.field("grpc_service", |cx| {
            GrpcService::lower(service, TIMEOUT, cx)
        })?;
        Some(Self {
            method: Arc::new(UnaryMethod::new(&service, METHOD)),
            told: Told {
                certificate: proto.include_peer_certificate,
                tls_session: proto.include_tls_session,
                labels: proto.bootstrap_metadata_labels_key.as_str().into(),
            },
            allows_on_failure: proto.failure_mode_allow,
            enabled: match enabled {
                None => None,
                Some(matcher) => Some(matcher?),
            },
            stat_prefix: proto.stat_prefix.as_str().into(),
            stats: None,
        })
    }

    /// Begins a check.
    fn check(&self, stats: &ExtAuthzStats, connection: &mut Connection<'_>) -> Flow {
        stats.total.inc();
        let message = self.told.request(connection).encode_to_vec();
        let outcome = Rc::new(RefCell::new(None));
        connection.held.push(Box::new(Check {
            begun: reactor::now(),
            outcome: Rc::clone(&outcome),
        }));
        let active = Active::begin(stats.active);
        let worker = Rc::clone(connection.worker);
        let method = Arc::clone(&self.method);
        Flow::Wait(Box::pin(async move {
            let answer = method.call(&worker, &message).await;
            *outcome.borrow_mut() = match answer {
                Ok(message) => CheckResponse::decode(&*message).ok(),
                Err(failed) => {
                    tracing::debug!(status = failed.0, "no answer about a connection");
                    None
                }
            };
            drop(active);
        }))
    }
}

impl NetworkFilter for ExtAuthz {
    fn register(&mut self, store: &Store) {
        let prefix = format!("ext_authz.{}.", self.stat_prefix);
        self.stats = Some(ExtAuthzStats::new(store, &prefix));
    }

    fn wants_data(&self) -> bool {
        true
    }

    fn on_data(&self, connection: &mut Connection<'_>) -> Flow {
        let Some(stats) = &self.stats else {
            return Flow::Close;
        };
        let enabled = self.enabled.as_ref();
        if enabled.is_some_and(|matcher| !matcher.matches(connection.info.metadata())) {
            stats.disabled.inc();
            return Flow::Continue;
        }
        self.check(stats, connection)
    }

    fn resume(&self, connection: &mut Connection<'_>) -> Flow {
        // Filters wait one after the other: the last check is this one's.
        let held = connection.held.iter().rposition(|held| held.is::<Check>());
        let check = held.map(|at| connection.held.remove(at).downcast::<Check>());
        let (Some(Ok(check)), Some(stats)) = (check, &self.stats) else {
            return Flow::Close;
        };
        let info = &mut *connection.info;
        let Some(answer) = check.outcome.take() else {
            stats.error.inc();
            if self.allows_on_failure {
                stats.failure_mode_allowed.inc();
                return Flow::Continue;
            }
            stats.cx_closed.inc();
            return close(info, details::EXT_AUTHZ_ERROR);
        };
        let is_ok = answer.status.is_none_or(|status| status.code == 0);
        let mut told = answer.dynamic_metadata.as_ref().map(Struct::from_proto);
        if is_ok {
            let took = reactor::now().saturating_duration_since(check.begun);
            let took = Value::Number(took.as_millis() as f64);
            told.get_or_insert_default().set(DURATION, took);
        }
        if let Some(told) = told {
            info.metadata_mut().entry(NAME).update(&told);
        }
        if is_ok {
            stats.ok.inc();
            return Flow::Continue;
        }
        stats.denied.inc();
        stats.cx_closed.inc();
        close(info, details::EXT_AUTHZ_DENIED)
    }
}

fn close(info: &mut StreamInfo, why: &'static str) -> Flow {
    info.flags.set(ResponseFlag::UnauthorizedExternalService);
    info.details.set(why);
    Flow::Close
}

/// A check that waits for its answer.
struct Check {
    begun: Instant,
    /// The answer, if there is a good one.
    outcome: Rc<RefCell<Option<CheckResponse>>>,
}

/// Counts a check while it waits.
struct Active(Gauge);

impl Active {
    fn begin(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}
