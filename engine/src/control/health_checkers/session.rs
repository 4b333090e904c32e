//! The checks of one host, one after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::uri::Scheme;
use ringway_config::cluster::Cluster;
use ringway_config::core::Address;
use ringway_config::health_check::{Checker, HttpCheck, Protocol};
use ringway_config::upstream_bind::Source;
use tokio::time::{sleep, timeout};

use super::progress::{Failure, FailureKind, Outcome, Progress, Transition, interval, with_jitter};
use super::socket::Target;
use super::{Shared, grpc, http, http2, redis, tcp, thrift};
use crate::control::cluster_manager::ClusterEvent;
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::Member;
use crate::worker::shared::Locked;

/// A host and how to ask it.
pub(super) struct Session {
    shared: Arc<Shared>,
    host: Arc<SharedHost>,
    progress: Arc<Locked<Progress>>,
    target: Target,
    client: Client,
    rng: fastrand::Rng,
}

/// What is spoken with the host; the connection is in there.
enum Client {
    Http(Box<http::Client>),
    Http2(Box<http2::Client>),
    Tcp(tcp::Client),
    Redis(redis::Client),
    Thrift(thrift::Client),
}

impl Session {
    pub fn new(shared: Arc<Shared>, member: &Member, progress: Arc<Locked<Progress>>) -> Self {
        let own = member.config.health_check();
        let address: &Address = own
            .and_then(|own| own.address.as_ref())
            .unwrap_or_else(|| member.shared.address());
        let hostname = own.map_or("", |own| &*own.hostname);
        let authority = |of_check: &'_ str| {
            let names = [hostname, of_check, &*shared.cluster.name];
            let named = names.into_iter().find(|name| !name.is_empty());
            named.unwrap_or_default().to_owned()
        };
        let matches = &shared.cluster.socket_matches;
        let socket = match &shared.check.socket_labels {
            Some(labels) => matches.of_check(labels, &member.config),
            None => matches.of_host(&member.config),
        };
        let tls = shared.tls.get(socket.index()).cloned().flatten();
        let scheme = match tls {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        };
        let client = match &shared.check.checker {
            Checker::Http(check) => {
                let authority = authority(&check.host);
                match check.protocol {
                    Protocol::Http1 => Client::Http(Box::new(http::Client::new(
                        check,
                        &authority,
                        shared.cluster.header_names.case,
                    ))),
                    Protocol::Http2 => Client::Http2(Box::new(http2::Client::new(
                        &check.request,
                        &authority,
                        scheme,
                    ))),
                }
            }
            Checker::Grpc(check) => {
                let authority = authority(&check.authority);
                let request = grpc::request(check, shared.check.timeout);
                Client::Http2(Box::new(http2::Client::new(&request, &authority, scheme)))
            }
            Checker::Tcp(_) => Client::Tcp(tcp::Client::default()),
            Checker::Redis(key) => Client::Redis(redis::Client::new(key)),
            Checker::Thrift(check) => Client::Thrift(thrift::Client::new(check)),
        };
        Self {
            host: Arc::clone(&member.shared),
            target: Target {
                address: address.clone(),
                source: source(&shared.cluster, address),
                cluster: Arc::clone(&shared.cluster),
                hostname: Arc::clone(&member.config.hostname),
                tls,
                counted: (shared.counted.as_ref()).map(|cluster| (socket, Arc::clone(cluster))),
            },
            shared,
            progress,
            client,
            rng: fastrand::Rng::new(),
        }
    }

    /// Checks the host until the task is aborted.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let intervals = &shared.check.intervals;
        if !intervals.initial_jitter.is_zero() {
            self.wait(Duration::ZERO, intervals.initial_jitter).await;
        }
        loop {
            shared.stats.attempt.inc();
            let outcome = match timeout(shared.check.timeout, self.ask()).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => {
                    self.client.close();
                    Outcome::Failed(Failure {
                        kind: FailureKind::NetworkTimeout,
                        retriable: false,
                        status: 0,
                    })
                }
            };
            if !shared.check.reuse_connection {
                self.client.close();
            }
            let passed = matches!(outcome, Outcome::Passed { .. });
            let was_unhealthy = self.host.has(HealthFlag::FailedActiveHc);
            let transition = self.progress.with(|progress| match outcome {
                Outcome::Passed { degraded } => shared.passed(&self.host, progress, degraded),
                Outcome::Failed(failure) => shared.failed(&self.host, progress, failure),
            });
            // Nobody listens any more only when the process ends.
            let _ = shared.events.send(ClusterEvent::Checked {
                cluster: shared.cluster.id,
                host: Arc::clone(&self.host),
                changed: transition == Transition::Changed,
                passed,
                recovered: was_unhealthy && !self.host.has(HealthFlag::FailedActiveHc),
            });
            let has_traffic = shared.store.counter_value(shared.connections) > 0;
            let base = interval(intervals, passed, transition, has_traffic);
            self.wait(base, intervals.jitter).await;
        }
    }

    async fn wait(&mut self, base: Duration, jitter: Duration) {
        let runtime = Arc::clone(&self.shared.runtime.borrow());
        let intervals = &self.shared.check.intervals;
        sleep(with_jitter(
            base,
            jitter,
            intervals,
            &runtime,
            &mut self.rng,
        ))
        .await;
    }

    async fn ask(&mut self) -> Outcome {
        let shared = Arc::clone(&self.shared);
        match (&mut self.client, &shared.check.checker) {
            (Client::Http(client), Checker::Http(check)) => {
                let answer = client.check(check, &self.target).await;
                self.judge(check, answer)
            }
            (Client::Http2(client), Checker::Http(check)) => {
                let answer = client.check(check, &self.target).await;
                self.judge(check, answer)
            }
            (Client::Http2(client), Checker::Grpc(check)) => {
                grpc::check(client, check, &self.target)
                    .await
                    .unwrap_or_else(|_broken| network_failure())
            }
            (Client::Tcp(client), Checker::Tcp(check)) => client
                .check(check, &self.target)
                .await
                .unwrap_or_else(|_broken| network_failure()),
            (Client::Redis(client), Checker::Redis(key)) => client
                .check(!key.is_empty(), &self.target)
                .await
                .unwrap_or_else(|_broken| network_failure()),
            (Client::Thrift(client), Checker::Thrift(check)) => client
                .check(check, &self.target)
                .await
                .unwrap_or_else(|_broken| network_failure()),
            _ => unreachable!("the client was made for this checker"),
        }
    }

    fn judge(&mut self, check: &HttpCheck, answer: io::Result<http::Answer>) -> Outcome {
        let Ok(answer) = answer else {
            return network_failure();
        };
        if answer.fails_at_once {
            self.host
                .set_health(HealthFlag::ExcludedViaImmediateHcFail, true);
        }
        self.judge_service(check, &answer)
    }

    /// Looks whether the host that answered well is the service that it is
    /// taken for.
    fn judge_service(&mut self, check: &HttpCheck, answer: &http::Answer) -> Outcome {
        let Some(matcher) = &check.service_name else {
            return answer.outcome;
        };
        let runtime = Arc::clone(&self.shared.runtime.borrow());
        let percent = runtime.integer(check.verify_key, 100);
        if !matches!(answer.outcome, Outcome::Passed { .. }) || self.rng.u64(..100) >= percent {
            return answer.outcome;
        }
        self.shared.stats.verify_cluster.inc();
        match matcher.matches(&answer.service) {
            true => answer.outcome,
            false => Outcome::Failed(Failure {
                kind: FailureKind::Active,
                retriable: false,
                status: answer.status,
            }),
        }
    }
}

impl Client {
    fn close(&mut self) {
        match self {
            Self::Http(client) => client.close(),
            Self::Http2(client) => client.close(),
            Self::Tcp(client) => client.close(),
            Self::Redis(client) => client.close(),
            Self::Thrift(client) => client.close(),
        }
    }
}

/// Where checks of a host come from: from where its connections do.
fn source(cluster: &Cluster, to: &Address) -> Option<Source> {
    let Address::Socket(to) = to else { return None };
    cluster.bind.as_ref()?.source(to.is_ipv6()).cloned()
}

fn network_failure() -> Outcome {
    Outcome::Failed(Failure {
        kind: FailureKind::Network,
        retriable: false,
        status: 0,
    })
}
