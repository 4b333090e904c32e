//! Whether a request is tried again, when, and where: the state of one
//! request's retries.
//!
//! Each failed try is shown to one of [`RetryState::on_head`],
//! [`RetryState::on_failure`] and [`RetryState::on_slow_try`]. A decision for
//! another try counts it and takes a permit of the cluster's retry breaker,
//! which is held until the next decision: it counts the retry as long as it is
//! in flight.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{
    BackOff, HostPredicate, RateLimitedBackOff, ResetFormat, RetryOn, RetryPolicy, RetryPriority,
};
use ringway_config::runtime::{RuntimeKey, RuntimeValues};
use ringway_lb::priority::Loads;

use super::charge::Places;
use super::failure::Failure;
use super::retries::{Retries, number};
use super::retry_priority::PreviousPriorities;
use crate::http::exchange::Expired;
use crate::stats::Counter;
use crate::stats::route::RouteRequestStats;
use crate::upstream::circuit_breaker::RetryPermit;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::Host;
use crate::upstream::load_balancer::LoadBalancerContext;

/// What becomes of a try that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Another try, after this time.
    Retry(Wait),
    /// The failure is not one that is tried again.
    No,
    /// Too many retries are in flight.
    Overflow,
    /// It was tried as often as is allowed.
    LimitExceeded,
}

/// How long to wait before another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// The time.
    pub time: Duration,
    /// What made it so long.
    pub kind: WaitKind,
}

/// What makes the time between two tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitKind {
    /// There is none.
    Immediate,
    /// The policy's back-off.
    BackOff,
    /// The host has asked for it.
    Told,
}

/// Whether a response is one to try again after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    No,
    AfterWait,
    /// What the host had against it is not so any more.
    AtOnce,
}

impl Wait {
    /// Counts the retry, when the wait is over.
    pub fn count(self, cluster: &Cluster, places: Places<'_>) {
        let stats = &cluster.stats;
        stats.upstream_rq_retry.inc();
        for stats in places.into_iter().flatten() {
            stats.requests.upstream_rq_retry.inc();
        }
        match self.kind {
            WaitKind::Immediate => {}
            WaitKind::BackOff => stats.upstream_rq_retry_backoff_exponential.inc(),
            WaitKind::Told => stats.upstream_rq_retry_backoff_ratelimited.inc(),
        }
    }
}

/// The retries of one request.
pub(super) struct RetryState<'a> {
    policy: &'a RetryPolicy,
    /// What is left of them.
    retries: Retries,
    /// The bounds of the next wait and of all.
    back_off: BackOff,
    permit: Option<RetryPermit>,
    /// There was a retry, of which it is not known yet what it was good for.
    retrying: bool,
    /// The hosts that were asked; the first one apart, because it is the only
    /// one as a rule.
    first_host: Option<Rc<Host>>,
    later_hosts: Vec<Rc<Host>>,
    priorities: Option<Box<PreviousPriorities>>,
}

impl<'a> RetryState<'a> {
    /// The retries of a request, or `None` when there will be none: neither
    /// the policy nor the request's own headers ask for any.
    pub fn new(
        policy: &'a RetryPolicy,
        request: &HeaderMap,
        runtime: &RuntimeValues,
    ) -> Option<Self> {
        Some(Self {
            policy,
            retries: Retries::of(policy, request)?,
            back_off: policy.back_off_in_force(runtime),
            permit: None,
            retrying: false,
            first_host: None,
            later_hosts: Vec::new(),
            priorities: policy.priority.map(
                |RetryPriority::PreviousPriorities { update_frequency }| {
                    Box::new(PreviousPriorities::new(update_frequency))
                },
            ),
        })
    }

    /// Decides about a try that was answered with this head.
    pub fn on_head(
        &mut self,
        status: u16,
        request: &HeaderMap,
        response: &HeaderMap,
        now: SystemTime,
        source: &mut Source<'_>,
    ) -> Decision {
        let wanted = self.would_retry_head(status, request, response);
        let told = self.policy.rate_limited_back_off.as_ref();
        let told = told.and_then(|back_off| told_wait(back_off, response, now));
        self.decide(wanted, told, source)
    }

    /// Whether such a head is tried again, as far as it alone decides.
    pub fn would_retry_head(
        &self,
        status: u16,
        request: &HeaderMap,
        response: &HeaderMap,
    ) -> Wanted {
        let on = self.retries.on;
        let if_so = |wanted| match wanted {
            true => Wanted::AfterWait,
            false => Wanted::No,
        };
        // An Envoy that limits its clients means it.
        if response.contains(HeaderId::XEnvoyRatelimited) {
            return if_so(on.has(RetryOn::ENVOY_RATELIMITED));
        }
        if on.has(RetryOn::STATUS_CODES) && self.lists(status) {
            if status != TOO_EARLY {
                return Wanted::AfterWait;
            }
            // What has come to us as early data itself may not be sent again.
            if request.get_name(b"early-data").is_none() {
                return Wanted::AtOnce;
            }
        }
        if_so(
            on.has(RetryOn::FIVE_XX) && (500..600).contains(&status)
                || on.has(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&status)
                || on.has(RetryOn::RETRIABLE_4XX) && status == 409
                || on.has(RetryOn::HEADERS) && self.has_retriable_header(response)
                || on.has(GRPC) && self.has_retriable_grpc_status(response),
        )
    }

    fn lists(&self, status: u16) -> bool {
        let listed = |codes: &[u32]| codes.contains(&u32::from(status));
        listed(&self.policy.retriable_status_codes) || listed(&self.retries.status_codes)
    }

    fn has_retriable_header(&self, response: &HeaderMap) -> bool {
        let mut of_policy = self.policy.retriable_headers.iter();
        let mut of_request = self.retries.response_headers.iter();
        of_policy.any(|matcher| matcher.matches(response))
            || of_request.any(|name| response.get_name(name).is_some())
    }

    fn has_retriable_grpc_status(&self, response: &HeaderMap) -> bool {
        let condition = match response.get(HeaderId::GrpcStatus).and_then(number::<u32>) {
            Some(1) => RetryOn::GRPC_CANCELLED,
            Some(4) => RetryOn::GRPC_DEADLINE_EXCEEDED,
            Some(8) => RetryOn::GRPC_RESOURCE_EXHAUSTED,
            Some(13) => RetryOn::GRPC_INTERNAL,
            Some(14) => RetryOn::GRPC_UNAVAILABLE,
            _ => return false,
        };
        self.retries.on.has(condition)
    }

    /// Decides about a try that got no response. `sent` says that its request
    /// was on its way.
    pub fn on_failure(
        &mut self,
        failure: &Failure,
        sent: bool,
        source: &mut Source<'_>,
    ) -> Decision {
        let wanted = match self.would_retry_failure(failure, sent) {
            true => Wanted::AfterWait,
            false => Wanted::No,
        };
        self.decide(wanted, None, source)
    }

    fn would_retry_failure(&self, failure: &Failure, sent: bool) -> bool {
        let on = self.retries.on;
        let any_reset = RetryOn::FIVE_XX
            .and(RetryOn::GATEWAY_ERROR)
            .and(RetryOn::RESET);
        match failure {
            Failure::ConnectTimeout
            | Failure::Source(_)
            | Failure::Connect(_)
            | Failure::Handshake(_) => on.has(
                any_reset
                    .and(RetryOn::CONNECT_FAILURE)
                    .and(RetryOn::RESET_BEFORE_REQUEST),
            ),
            Failure::UpstreamRefused | Failure::UpstreamUnprocessed => {
                on.has(any_reset.and(RetryOn::REFUSED_STREAM))
                    || !sent && on.has(RetryOn::RESET_BEFORE_REQUEST)
            }
            Failure::UpstreamClosed
            | Failure::UpstreamReset
            | Failure::UpstreamProtocol
            | Failure::Expired(Expired::Try | Expired::TryIdle | Expired::Upstream) => {
                on.has(any_reset) || !sent && on.has(RetryOn::RESET_BEFORE_REQUEST)
            }
            // A limit of ours is not passed by trying again, and nobody waits
            // for the answer to the others.
            Failure::NoPool
            | Failure::Overflow
            | Failure::DownstreamProtocol
            | Failure::EarlyData
            | Failure::Refused
            | Failure::DownstreamClosed
            | Failure::Stopped
            | Failure::Expired(_) => false,
        }
    }

    /// Decides about a hedge: a second try beside one that takes too long.
    pub fn on_slow_try(&mut self, source: &mut Source<'_>) -> Decision {
        self.decide(Wanted::AfterWait, None, source)
    }

    fn decide(
        &mut self,
        wanted: Wanted,
        told: Option<Duration>,
        source: &mut Source<'_>,
    ) -> Decision {
        let stats = &source.cluster.stats;
        if wanted == Wanted::No {
            self.permit = None;
            if std::mem::take(&mut self.retrying) {
                stats.upstream_rq_retry_success.inc();
                source.count(|stats| &stats.upstream_rq_retry_success);
            }
            return Decision::No;
        }
        if self.retries.times == 0 {
            stats.upstream_rq_retry_limit_exceeded.inc();
            source.count(|stats| &stats.upstream_rq_retry_limit_exceeded);
            return Decision::LimitExceeded;
        }
        self.retries.times -= 1;
        // One that is over makes room for the next one.
        self.permit = None;
        self.permit = source.cluster.acquire_retry(source.priority);
        if self.permit.is_none() {
            stats.upstream_rq_retry_overflow.inc();
            source.count(|stats| &stats.upstream_rq_retry_overflow);
            return Decision::Overflow;
        }
        if !source.uses_retry() {
            self.permit = None;
            return Decision::No;
        }
        self.retrying = true;
        if wanted == Wanted::AtOnce {
            return Decision::Retry(Wait {
                time: Duration::ZERO,
                kind: WaitKind::Immediate,
            });
        }
        if let Some(told) = told {
            // Everybody was told the same: half as long again spreads them.
            let spread = (told.as_millis() as u64 / 2).max(1);
            return Decision::Retry(Wait {
                time: told + Duration::from_millis(source.rng.u64(..spread)),
                kind: WaitKind::Told,
            });
        }
        let bound = self.back_off.base_ms;
        self.back_off.base_ms = next_bound(self.back_off);
        Decision::Retry(Wait {
            time: Duration::from_millis(source.rng.u64(..bound)),
            kind: WaitKind::BackOff,
        })
    }

    /// Remembers the host of a try.
    pub fn note_host(&mut self, host: &Rc<Host>) {
        if let Some(priorities) = &mut self.priorities {
            priorities.note_host(host);
        }
        if self.policy.host_predicates.is_empty() {
            return;
        }
        let host = Rc::clone(host);
        match &self.first_host {
            None => self.first_host = Some(host),
            Some(_) => self.later_hosts.push(host),
        }
    }

    /// Another try is about to be made.
    pub fn update_priorities(&mut self, cluster: &Cluster) {
        if let Some(priorities) = &mut self.priorities {
            priorities.update(cluster);
        }
    }

    /// The priority loads of the next try, where they are not the cluster's
    /// own.
    pub fn loads(&self) -> Option<&Loads> {
        self.priorities.as_ref()?.loads()
    }

    /// The host of another try: one that the policy does not want to avoid, if
    /// one is found soon enough.
    pub fn pick_host(
        &self,
        cluster: &Cluster,
        mut context: LoadBalancerContext<'_>,
    ) -> Option<Rc<Host>> {
        let mut host = cluster.pick_host(&mut context)?;
        // A cluster cannot have more hosts than a balancer has turns, so more
        // attempts than that would ask the same ones again.
        let turns = u32::try_from(cluster.host_count()).unwrap_or(u32::MAX);
        for _ in 0..self
            .policy
            .host_selections_max
            .min(turns.saturating_mul(SELECTIONS_PER_HOST))
        {
            if !self.avoids(&host) {
                break;
            }
            context.pick_another();
            host = cluster.pick_host(&mut context)?;
        }
        Some(host)
    }

    fn avoids(&self, host: &Rc<Host>) -> bool {
        let mut predicates = self.policy.host_predicates.iter();
        predicates.any(|predicate| match predicate {
            HostPredicate::PreviousHosts => {
                let mut asked = self.first_host.iter().chain(&self.later_hosts);
                asked.any(|other| Rc::ptr_eq(other, host))
            }
            other => other.rejects(&host.info().metadata),
        })
    }
}

/// What a decision depends on and what it counts in.
pub(super) struct Source<'a> {
    /// Where the request goes.
    pub cluster: &'a Cluster,
    /// Where its retries are counted besides.
    pub places: Places<'a>,
    /// The routing priority.
    pub priority: usize,
    /// For back-offs.
    pub rng: &'a mut fastrand::Rng,
    /// Whether retries are made at all.
    pub runtime: &'a RuntimeValues,
}

impl Source<'_> {
    /// Whether the runtime lets the next retry be made (`upstream.use_retry`).
    fn uses_retry(&mut self) -> bool {
        match self.runtime.percent(RuntimeKey::USE_RETRY, 100) {
            100 => true,
            percent => self.rng.u64(..100) < percent,
        }
    }

    /// Counts for the request's virtual cluster and route.
    fn count(&self, counter: impl Fn(&RouteRequestStats) -> &Counter) {
        for stats in self.places.into_iter().flatten() {
            counter(&stats.requests).inc();
        }
    }
}

const GRPC: RetryOn = RetryOn::GRPC_CANCELLED
    .and(RetryOn::GRPC_DEADLINE_EXCEEDED)
    .and(RetryOn::GRPC_RESOURCE_EXHAUSTED)
    .and(RetryOn::GRPC_INTERNAL)
    .and(RetryOn::GRPC_UNAVAILABLE);

/// RFC 8470: the host does not act on what may be a replay. Early data is sent to
/// no host yet, so that the next try is as good as any.
const TOO_EARLY: u16 = 425;

/// By weight, a host may have its turn often before another one has it; a
/// large `host_selection_retry_max_attempts` ends here.
const SELECTIONS_PER_HOST: u32 = 128;

/// The bound doubles until it would pass the largest one.
fn next_bound(BackOff { base_ms, max_ms }: BackOff) -> u64 {
    base_ms.saturating_mul(2).min(max_ms)
}

/// How long the host says to wait: the first header that says something
/// believable.
fn told_wait(
    back_off: &RateLimitedBackOff,
    response: &HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    // In whole seconds, as in Envoy: a part of one is waited for, too.
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
    let since_epoch = Duration::from_secs(since_epoch.unwrap_or_default().as_secs());
    let mut told = back_off.headers.iter().filter_map(|header| {
        let seconds: u32 = response.get_name(&header.name).and_then(number)?;
        let told = Duration::from_secs(u64::from(seconds));
        match header.format {
            ResetFormat::Seconds => Some(told),
            ResetFormat::UnixTimestamp => told.checked_sub(since_epoch),
        }
    });
    told.find(|wait| *wait <= back_off.max)
        .filter(|wait| wait.as_millis() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::route::ResetHeader;

    #[test]
    fn bounds_double_up_to_the_largest() {
        let after = |base_ms| {
            next_bound(BackOff {
                base_ms,
                max_ms: 250,
            })
        };
        let mut bounds = vec![25];
        for _ in 0..5 {
            bounds.push(after(bounds[bounds.len() - 1]));
        }
        assert_eq!(bounds, [25, 50, 100, 200, 250, 250]);
        assert_eq!(after(u64::MAX), 250);
    }

    #[test]
    fn waits_fill_their_bounds() {
        let store = crate::stats::Store::new();
        store.shard(None).install();
        let setup = crate::test_support::setup::Setup {
            cluster: "circuit_breakers: { thresholds: [ { max_retries: 1 } ] },",
            ..Default::default()
        };
        let cluster = setup.cluster(([127, 0, 0, 1], 1).into(), &store);
        let policy = RetryPolicy {
            retry_on: RetryOn::FIVE_XX,
            retries: 3,
            ..RetryPolicy::default()
        };
        let mut rng = fastrand::Rng::with_seed(1);
        let mut seen = [(u128::MAX, 0); 3];
        let runtime = &RuntimeValues::default();
        for _ in 0..2000 {
            let state = RetryState::new(&policy, &HeaderMap::new(), runtime);
            let mut state = state.expect("it retries");
            for (least, most) in &mut seen {
                let source = &mut Source {
                    cluster: &cluster,
                    places: [None; 2],
                    priority: 0,
                    rng: &mut rng,
                    runtime,
                };
                let Decision::Retry(wait) = state.on_slow_try(source) else {
                    panic!("three retries are allowed");
                };
                let ms = wait.time.as_millis();
                (*least, *most) = ((*least).min(ms), (*most).max(ms));
            }
        }
        // 2000 draws miss one of at most 100 values with less than 2e-7.
        assert_eq!(seen, [(0, 24), (0, 49), (0, 99)]);
    }

    #[test]
    fn waits_that_the_host_asks_for() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_900);
        let header = |name: &str, format| ResetHeader {
            name: name.as_bytes().into(),
            format,
        };
        let back_off = RateLimitedBackOff {
            headers: [
                header("retry-after", ResetFormat::Seconds),
                header("x-reset", ResetFormat::UnixTimestamp),
            ]
            .into(),
            max: Duration::from_secs(60),
        };
        for (lines, wait) in [
            (&[][..], None),
            (&[("retry-after", "5")], Some(5)),
            (&[("retry-after", "0")], None),
            (&[("retry-after", "61")], None),
            (&[("retry-after", "-5")], None),
            (&[("retry-after", "99999999999")], None),
            (&[("retry-after", "61"), ("x-reset", "1007")], Some(7)),
            (&[("x-reset", "999")], None),
            (&[("x-reset", "1060")], Some(60)),
            (&[("x-reset", "soon")], None),
        ] {
            let mut response = HeaderMap::new();
            for (name, value) in lines {
                response.append_name(name.as_bytes(), value.as_bytes());
            }
            let told = told_wait(&back_off, &response, now);
            assert_eq!(told, wait.map(Duration::from_secs), "{lines:?}");
        }
    }
}
