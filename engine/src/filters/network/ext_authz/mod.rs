//! `envoy.filters.network.ext_authz`: another service is asked whether a connection
//! may go on, when its first bytes are there. Those that may not are closed.
//!
//! A chain asks once a connection, while a TCP proxy behind it already connects to
//! a host. What the client sends meanwhile waits in its socket. A client that is
//! gone, or a worker that ends, drops the call. In shadow mode nobody is closed: what
//! was decided is left for filters and logs behind.

mod check_request;
mod verdict;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::extensions::filters::network::ext_authz::v3::ExtAuthz as ExtAuthzPb;
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;
use ringway_config::context::Cx;
use ringway_config::filter_state::Object;
use ringway_config::grpc_service::GrpcService;
use ringway_config::metadata::Value;
use ringway_config::metadata_match::MetadataMatcher;
use ringway_config::unpack;

use self::check_request::Told;
use self::verdict::{Decision, Verdict};
use super::{Connection, Flow, NetworkFilter};
use crate::filters::grpc_async_client::UnaryMethod;
use crate::reactor;
use crate::stats::{Gauge, Store};
use crate::stats_struct;
use crate::stream_info::{ResponseFlag, details};

/// The name of the filter, of its metadata, and of its object in the filter state.
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
    /// Nobody is closed.
    is_shadow: bool,
    /// Those that are closed are told by an alert of TLS.
    sends_alert: bool,
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
                namespaces: names(&proto.metadata_context_namespaces),
                typed_namespaces: names(&proto.typed_metadata_context_namespaces),
            },
            allows_on_failure: proto.failure_mode_allow,
            is_shadow: proto.shadow_mode,
            sends_alert: proto.send_tls_alert_on_denial,
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
        let outcome = Rc::new(RefCell::new(Verdict::error()));
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
                Ok(message) => Verdict::read(&message),
                Err(failed) => {
                    tracing::debug!(status = failed.0, "no answer about a connection");
                    Verdict::error()
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
        let mut verdict = check.outcome.take();
        match verdict.decision {
            Decision::Ok => {
                stats.ok.inc();
                let took = reactor::now().saturating_duration_since(check.begun);
                let took = Value::Number(took.as_millis() as f64);
                verdict.metadata.set(DURATION, took);
            }
            Decision::Denied => stats.denied.inc(),
            Decision::Error => stats.error.inc(),
        }
        if verdict.metadata.iter().next().is_some() {
            info.metadata_mut().entry(NAME).update(&verdict.metadata);
        }
        if self.is_shadow {
            info.filter_state_mut().set(NAME, decision(&verdict));
            return Flow::Continue;
        }
        let why = match verdict.decision {
            Decision::Ok => return Flow::Continue,
            Decision::Error if self.allows_on_failure => {
                stats.failure_mode_allowed.inc();
                return Flow::Continue;
            }
            Decision::Denied => details::EXT_AUTHZ_DENIED,
            Decision::Error => details::EXT_AUTHZ_ERROR,
        };
        info.details.set(why);
        info.flags.set(ResponseFlag::UnauthorizedExternalService);
        stats.cx_closed.inc();
        match self.sends_alert {
            true => Flow::DenyAccess,
            false => Flow::Close,
        }
    }
}

fn names(proto: &[String]) -> Box<[Box<str>]> {
    proto.iter().map(|name| name.as_str().into()).collect()
}

/// What those behind see of a verdict.
fn decision(verdict: &Verdict) -> Object {
    Object::Decision {
        check_result: match verdict.decision {
            Decision::Ok => "OK",
            Decision::Denied => "DENIED",
            Decision::Error => "ERROR",
        },
        status_code: verdict.status_code,
    }
}

/// A check that waits for its answer.
struct Check {
    begun: Instant,
    /// What the answer says, once it is there.
    outcome: Rc<RefCell<Verdict>>,
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
