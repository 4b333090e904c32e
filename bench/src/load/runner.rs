//! The loop of the load generator: connect, warm up, measure, let the last answers come.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;

use super::Options;
use super::connection::{Connection, End, Plan, Scratch, elapsed};
use super::meter::Meter;
use super::report::{Measured, Report};
use super::schedule::Schedule;
use crate::epoll::Epoll;
use crate::os::now_ns;

/// Runs the load that the options describe.
pub fn run(plan: &Plan, options: &Options) -> anyhow::Result<Report> {
    let mut runner = Runner::connect(plan, options.connections)?;
    let mut meter = Meter::new(options.watch_pid);

    let begin = now_ns();
    let measure_from = begin + nanoseconds(options.warmup);
    let end = measure_from + nanoseconds(options.duration);
    runner.schedule = options
        .rate
        .map(|rate| Schedule::new(rate, options.arrivals, begin, SEED));
    if runner.schedule.is_none() {
        runner.fill_all(begin);
    }
    runner.turn_until(measure_from)?;
    runner.start_measuring(&mut meter)?;
    runner.turn_until(end)?;
    let (seconds, watched_cpu, own_cpu_seconds) = meter.stop()?;
    let completed = runner.measured.completed;
    let body_bytes = runner.measured.body_bytes;
    runner.let_the_last_answers_come(end)?;

    let measured = &runner.measured;
    Ok(Report {
        connections: options.connections,
        pipeline: plan.pipeline,
        offered_rate: options.rate,
        seconds,
        requests: completed,
        requests_per_second: completed as f64 / seconds,
        body_bytes,
        non_2xx: measured.non_2xx,
        invalid: measured.invalid,
        unfinished: measured.unfinished,
        reconnects: measured.reconnects,
        socket_errors: measured.errors,
        latency_us: measured.latency(),
        watched_cpu,
        own_cpu_seconds,
    })
}

struct Runner<'a> {
    plan: &'a Plan,
    epoll: Epoll,
    /// Indexed by the event's token; none while a lost connection waits to be opened again.
    connections: Vec<Option<Connection>>,
    /// Connections with room for a request of the schedule, each as often as it has room.
    free: Vec<usize>,
    lost: Vec<usize>,
    connect_again_at: u64,
    schedule: Option<Schedule>,
    scratch: Scratch,
    measured: Measured,
    /// Requests that count from an earlier time belong to the warm-up.
    measured_from: u64,
}

impl<'a> Runner<'a> {
    fn connect(plan: &'a Plan, count: usize) -> anyhow::Result<Runner<'a>> {
        let mut runner = Runner {
            plan,
            epoll: Epoll::new()?,
            connections: Vec::with_capacity(count),
            free: Vec::with_capacity(count * plan.pipeline),
            lost: Vec::new(),
            connect_again_at: 0,
            schedule: None,
            scratch: Scratch {
                read: vec![0; READ_BYTES],
                discarded: vec![std::mem::MaybeUninit::uninit(); DISCARDED_BYTES],
            },
            measured: Measured::new()?,
            measured_from: u64::MAX,
        };
        for index in 0..count {
            runner.connections.push(None);
            runner
                .open(index)
                .with_context(|| format!("connecting to {}", plan.target))?;
        }
        Ok(runner)
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let connection = Connection::open(self.plan)?;
        self.epoll.add(connection.stream.as_fd(), index as u64)?;
        self.connections[index] = Some(connection);
        self.free
            .extend(std::iter::repeat_n(index, self.plan.pipeline));
        Ok(())
    }

    /// Starts a closed loop on every connection.
    fn fill_all(&mut self, now: u64) {
        self.free.clear();
        for index in 0..self.connections.len() {
            self.fill(index, now);
        }
    }

    /// Sends as many requests as the connection of a closed loop has room for.
    fn fill(&mut self, index: usize, now: u64) {
        let Some(connection) = self.connections[index].as_mut() else {
            return;
        };
        while connection.in_flight.len() < self.plan.pipeline {
            connection.queue(self.plan, now);
        }
        if let Err(end) = connection.flush(self.plan) {
            self.lose(index, end);
        }
    }

    fn start_measuring(&mut self, meter: &mut Meter) -> anyhow::Result<()> {
        self.measured.reset();
        meter.start()?;
        self.measured_from = meter.from;
        Ok(())
    }

    fn turn_until(&mut self, end: u64) -> anyhow::Result<()> {
        loop {
            let now = now_ns();
            if now >= end {
                return Ok(());
            }
            self.send_what_is_due(now);
            let mut wake_at = end;
            if let Some(schedule) = &self.schedule
                && !self.free.is_empty()
            {
                wake_at = wake_at.min(schedule.next_due());
            }
            if !self.lost.is_empty() {
                wake_at = wake_at.min(self.connect_again_at);
            }
            self.turn(wake_at.saturating_sub(now))?;
        }
    }

    /// Sends the requests of the schedule that are due, as far as connections have room.
    fn send_what_is_due(&mut self, now: u64) {
        let Some(schedule) = self.schedule.as_mut() else {
            return;
        };
        while let Some(index) = self.free.pop() {
            let Some(due) = schedule.take(now) else {
                self.free.push(index);
                return;
            };
            let Some(connection) = self.connections[index].as_mut() else {
                continue;
            };
            connection.queue(self.plan, due);
            if let Err(end) = connection.flush(self.plan) {
                self.lose(index, end);
                return;
            }
        }
    }

    /// Waits for events and settles what they bring.
    fn turn(&mut self, timeout_ns: u64) -> anyhow::Result<()> {
        let count = self.epoll.wait(Some(Duration::from_nanos(timeout_ns)))?;
        for position in 0..count {
            let event = self.epoll.event(position);
            let index = usize::try_from(event.token)?;
            let Some(connection) = self.connections[index].as_mut() else {
                continue;
            };
            connection.on_event(event);
            let open = self.schedule.is_some();
            let (from, free) = (self.measured_from, &mut self.free);
            let received = connection.receive(
                self.plan,
                &mut self.scratch,
                &mut self.measured,
                |measured, since| {
                    if since >= from {
                        measured.record(elapsed(since));
                    }
                    if open {
                        free.push(index);
                    }
                },
            );
            let done = received.and_then(|()| connection.flush(self.plan));
            match done {
                Err(end) => self.lose(index, end),
                Ok(()) if !open => self.fill(index, now_ns()),
                Ok(()) => {}
            }
        }
        if !self.lost.is_empty() {
            self.connect_lost();
        }
        Ok(())
    }

    fn lose(&mut self, index: usize, end: End) {
        self.connections[index] = None;
        self.free.retain(|&free| free != index);
        self.lost.push(index);
        match end {
            End::Closed => self.measured.reconnects += 1,
            End::Read => self.measured.errors.read += 1,
            End::Write => self.measured.errors.write += 1,
            End::Malformed => self.measured.invalid += 1,
        }
    }

    fn connect_lost(&mut self) {
        let now = now_ns();
        if now < self.connect_again_at {
            return;
        }
        while let Some(index) = self.lost.pop() {
            if self.open(index).is_err() {
                self.measured.errors.connect += 1;
                self.lost.push(index);
                self.connect_again_at = now_ns() + nanoseconds(CONNECT_PAUSE);
                return;
            }
            if self.schedule.is_none() {
                self.free.clear();
                self.fill(index, now_ns());
            }
        }
    }

    /// Waits a little for answers to what was sent, then counts every request that was due
    /// before the end and has no answer, with the time that it has waited so far.
    fn let_the_last_answers_come(&mut self, end: u64) -> anyhow::Result<()> {
        let Some(mut schedule) = self.schedule.take() else {
            return Ok(());
        };
        let give_up_at = end + nanoseconds(LAST_ANSWERS);
        // Without a schedule a turn would send again, so an empty one takes its place.
        self.schedule = Some(Schedule::new(
            1.0,
            super::Arrivals::Uniform,
            u64::MAX / 2,
            SEED,
        ));
        loop {
            let now = now_ns();
            let waiting = self
                .connections
                .iter()
                .flatten()
                .any(|c| !c.in_flight.is_empty());
            if now >= give_up_at || !waiting {
                break;
            }
            self.turn(give_up_at - now)?;
        }
        let now = now_ns();
        let in_flight = self
            .connections
            .iter()
            .flatten()
            .flat_map(|c| c.in_flight.iter().copied());
        let never_sent = std::iter::from_fn(|| schedule.take(end));
        for since in in_flight
            .chain(never_sent)
            .filter(|&since| since >= self.measured_from)
        {
            self.measured.unfinished += 1;
            self.measured.record(now.saturating_sub(since));
        }
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Every run offers the same sequence, so that two servers get the same bursts.
const SEED: u64 = 20_260_101;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// Bytes of a large body thrown away at once.
const DISCARDED_BYTES: usize = 1024 * 1024;

/// Pause before connecting again after a connect has failed.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// How long answers may take after the end of an open loop.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
