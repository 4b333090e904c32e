//! How long a connection may take, how long nothing may move on it, and when it is
//! logged while it goes on. Movement stores a time and touches no timer.

use std::time::{Duration, Instant};

use ringway_config::filter_state::{FilterState, Object, PER_CONNECTION_IDLE_TIMEOUT};

use super::config::Config;
use crate::reactor;

/// The deadlines of one connection.
pub(super) struct Deadlines {
    idle: Option<Duration>,
    /// When something moved last; `None` before there is a host.
    moved: Option<Instant>,
    over: Option<Instant>,
    log: Option<Instant>,
    log_interval: Option<Duration>,
}

impl Deadlines {
    /// The deadlines of a connection that begins now. `random`, from 0 to 1, says
    /// how much longer than others it may take.
    pub(super) fn new(config: &Config, random: f64) -> Self {
        let begun = reactor::now();
        let longer = 1.0 + random * config.duration_jitter / 100.0;
        let log_interval = config.log_flushes.interval;
        Self {
            idle: config.idle_timeout,
            moved: None,
            over: config.duration_max.map(|max| begun + max.mul_f64(longer)),
            log: log_interval.map(|interval| begun + interval),
            log_interval,
        }
    }

    /// From now on something has to move, as often as filters say, if they do.
    pub(super) fn start_idle(&mut self, said: &FilterState, now: Instant) {
        if let Some(Object::U64(idle_ms)) = said.get(PER_CONNECTION_IDLE_TIMEOUT) {
            self.idle = Some(Duration::from_millis(*idle_ms));
        }
        self.moved = Some(now);
    }

    /// Something has moved.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = Some(now);
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.idle_at(), self.over, self.log]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.over.is_some_and(|at| at <= now)
    }

    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.idle_at().is_some_and(|at| at <= now)
    }

    /// Whether a line of the log is due, which is then the next one's turn.
    pub(super) fn take_log(&mut self, now: Instant) -> bool {
        let is_due = self.log.is_some_and(|at| at <= now);
        if is_due {
            self.log = self.log_interval.map(|interval| now + interval);
        }
        is_due
    }

    fn idle_at(&self) -> Option<Instant> {
        Some(self.moved? + self.idle?)
    }
}
