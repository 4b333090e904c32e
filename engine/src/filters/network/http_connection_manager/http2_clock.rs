//! The deadlines of a connection that speaks HTTP/2: how long it may be idle, how old it
//! gets, when its client is asked for a sign of life, and when it is closed.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use h2::{Ping, PingPong};
use ringway_config::http2_protocol_options::Keepalive;

use super::ConnectionManager;
use super::config::Config;
use super::connection::{FIRST_REQUEST_GRACE, earliest};
use super::http2_connection::Http2Connection;
use super::http2_head::HeadClock;
use crate::reactor;

/// What is to be done with a connection whose deadlines were looked at.
pub(super) enum Verdict {
    /// Nothing.
    Wait,
    /// The client is to open no more streams.
    Notice,
    /// It takes no more streams.
    GoAway,
    /// It is to be closed.
    Close,
    /// The headers of a request have taken too long.
    LateHead,
    /// The client has not answered a ping.
    PingTimeout,
}

/// The deadlines of a connection.
pub(super) struct Clock {
    opened: Instant,
    idle: Option<Duration>,
    drain: Duration,
    keepalive: Option<Keepalive>,
    /// Without streams since then.
    idle_since: Option<Instant>,
    /// Of headers that are on their way.
    pub head: HeadClock,
    age_at: Option<Instant>,
    ending: Ending,
    /// What sends pings, once there is a connection to send them on.
    pub pings: Option<PingPong>,
    ping: PingState,
    /// Requests so far.
    pub accepted: u32,
}

/// Where a connection is with its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is not in sight.
    Open,
    /// The client knows of it, and what it has begun before it knew is still taken, until then.
    Announced(Instant),
    /// No more streams are taken. A client that does not even answer pings loses the
    /// connection then.
    Going(Instant),
}

/// Where a connection is with its pings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PingState {
    /// None is sent.
    Off,
    /// The next one is due then.
    Next(Instant),
    /// Its answer is due then.
    Sent(Instant),
}

impl Clock {
    /// The clock of a connection that was accepted then.
    pub fn new(config: &Config, opened: Instant) -> Self {
        let keepalive = config.http2.keepalive;
        let mut clock = Self {
            opened,
            idle: config.timeouts.idle,
            drain: config.timeouts.drain,
            keepalive,
            idle_since: Some(reactor::now()),
            head: HeadClock::new(&config.timeouts),
            age_at: config.timeouts.connection.map(|age| opened + age),
            ending: Ending::Open,
            pings: None,
            ping: PingState::Off,
            accepted: 0,
        };
        clock.schedule_ping();
        clock
    }

    /// Whether it has no streams.
    pub fn is_idle(&self) -> bool {
        self.idle_since.is_some()
    }

    /// Whether its end was announced.
    pub fn is_draining(&self) -> bool {
        self.ending != Ending::Open
    }

    /// Whether it takes no more streams.
    pub fn is_going(&self) -> bool {
        matches!(self.ending, Ending::Going(_))
    }

    /// The headers of a request are on their way: as long as they are the connection is
    /// not idle, whether or not it has streams.
    pub fn on_head(&mut self, stream: Option<u32>) {
        let now = reactor::now();
        if self.head.set(stream, now) && stream.is_none() {
            self.idle_since = self.idle_since.map(|_| now);
        }
    }

    /// It has so many streams.
    pub fn on_activity(&mut self, active: usize) {
        match (active, self.idle_since) {
            (0, None) => self.idle_since = Some(reactor::now()),
            (0, Some(_)) => {}
            _ => self.idle_since = None,
        }
    }

    /// When something is due.
    pub fn next(&self) -> Option<Instant> {
        let ping = match self.ping {
            PingState::Off => None,
            PingState::Next(at) | PingState::Sent(at) => Some(at),
        };
        match self.ending {
            Ending::Open => earliest([self.idle_at(), self.late_at(), self.age_at, ping]),
            Ending::Announced(until) => earliest([Some(until), ping]),
            Ending::Going(until) => earliest([Some(until).filter(|_| self.is_idle()), ping]),
        }
    }

    fn idle_at(&self) -> Option<Instant> {
        if self.head.stream().is_some() {
            return None;
        }
        Some(self.idle_since? + self.idle?)
    }

    /// When the connection ends for headers that do not come to their end.
    fn late_at(&self) -> Option<Instant> {
        self.head.ends_at().filter(|_| self.is_idle())
    }

    /// Its end is announced now. Where all connections end there may be less time for it.
    pub fn announce(&mut self, now: Instant, manager: &ConnectionManager) {
        let worker = &manager.worker;
        let drain = match worker.is_draining() {
            true => self.drain.min(worker.drain_time / 2),
            false => self.drain,
        };
        self.ending = Ending::Announced(now + drain);
    }

    /// It takes no more streams from now on.
    pub fn go_away(&mut self, now: Instant) {
        self.ending = Ending::Going(now + self.drain);
    }

    /// What is due now.
    pub fn judge(
        &mut self,
        now: Instant,
        connection: &Http2Connection,
        manager: &ConnectionManager,
    ) -> Verdict {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.ping {
            PingState::Next(at) if at <= now => self.send_ping(now),
            PingState::Sent(at) if at <= now => return Verdict::PingTimeout,
            PingState::Off | PingState::Next(_) | PingState::Sent(_) => {}
        }
        let is_idle = connection.is_idle();
        match self.ending {
            Ending::Open => {}
            Ending::Announced(until) if until <= now => return Verdict::GoAway,
            Ending::Going(until) if until <= now && is_idle => return Verdict::Close,
            Ending::Announced(_) | Ending::Going(_) => return Verdict::Wait,
        }
        if passed(self.late_at()) {
            return Verdict::LateHead;
        }
        if connection.ends() {
            return Verdict::Notice;
        }
        // Its first request may be on its way.
        let is_new = self.accepted == 0 && now < self.opened + FIRST_REQUEST_GRACE;
        if manager.is_draining() && is_idle && !is_new {
            return Verdict::Notice;
        }
        if is_idle && passed(self.idle_at()) {
            manager.stats().downstream_cx_idle_timeout.inc();
            return Verdict::Notice;
        }
        if passed(self.age_at) {
            manager.stats().downstream_cx_max_duration_reached.inc();
            return Verdict::Notice;
        }
        Verdict::Wait
    }

    fn schedule_ping(&mut self) {
        self.ping = PingState::Off;
        if let Some(keepalive) = &self.keepalive
            && let Some(interval) = keepalive.interval
        {
            let jitter = interval.mul_f64(keepalive.jitter_percent / 100.0 * fastrand::f64());
            self.ping = PingState::Next(reactor::now() + interval + jitter);
        }
    }

    fn send_ping(&mut self, now: Instant) {
        let (Some(keepalive), Some(pings)) = (&self.keepalive, &mut self.pings) else {
            return;
        };
        // One is on its way already where this fails: that will be answered.
        let _ = pings.send_ping(Ping::opaque());
        self.ping = PingState::Sent(now + keepalive.timeout);
    }

    /// Counts a stream. The first one behind a long silence is begun with a ping,
    /// where the configuration says so.
    pub fn on_stream(&mut self, now: Instant) {
        self.accepted += 1;
        if let Some(since) = self.idle_since
            && let Some(interval) = self.keepalive.and_then(|keepalive| keepalive.idle_interval)
            && now > since + interval
            && !matches!(self.ping, PingState::Sent(_))
        {
            self.send_ping(now);
        }
    }

    /// Takes the answer to a ping.
    pub fn poll_pong(&mut self, cx: &mut Context<'_>) {
        if let PingState::Sent(_) = self.ping
            && let Some(pings) = &mut self.pings
            && let Poll::Ready(Ok(_)) = pings.poll_pong(cx)
        {
            self.schedule_ping();
        }
    }
}
