//! A double of the socket layer that misbehaves as networks do.
//!
//! With a [`Plan`] in the reactor's options, receives arrive in small pieces and late, sends are
//! cut short, and connections are reset at a chosen byte, on real sockets and with either driver.
//! All choices come from one seed, which is printed when the thread panics, so that a failing test
//! can be repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::buffer::Chunk;
use super::socket::Socket;

/// Which sockets misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// All of them.
    #[default]
    Both,
    /// Those from a [`Listener`](super::Listener).
    Accepted,
    /// The others.
    Connected,
}

/// What goes wrong. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Of all random choices.
    pub seed: u64,
    /// Which sockets are meant.
    pub side: Side,
    /// Receives are cut into pieces of one to this many bytes.
    pub recv_max: Option<usize>,
    /// Sends are given to the kernel in pieces of one to this many bytes.
    pub send_max: Option<usize>,
    /// After this many received bytes of a connection receiving fails with `ECONNRESET`.
    pub reset_after: Option<u64>,
    /// After this many sent bytes of a connection sending fails with `ECONNRESET`.
    pub reset_sends_after: Option<u64>,
    /// Every piece arrives up to this much later.
    pub delay: Option<Duration>,
}

/// A plan at work.
#[derive(Debug)]
pub(super) struct Faults {
    plan: Plan,
    rng: fastrand::Rng,
    held: BTreeMap<(u64, u64), (u32, Outcome)>,
    sequence: u64,
    histories: FxHashMap<u32, History>,
}

/// A received piece, or the end: an errno, 0 for FIN.
pub(super) type Outcome = Result<Chunk, i32>;

#[derive(Debug, Default)]
struct History {
    received: u64,
    last_due_ms: u64,
    reset: bool,
}

impl Faults {
    pub(super) fn new(plan: Plan) -> Self {
        Faults {
            rng: fastrand::Rng::with_seed(plan.seed),
            plan,
            held: BTreeMap::new(),
            sequence: 0,
            histories: FxHashMap::default(),
        }
    }

    /// Bytes that the next send may take, or the errno with which it fails.
    pub(super) fn send_max(&mut self, socket: &Socket) -> Result<usize, i32> {
        if !self.concerns(socket) {
            return Ok(usize::MAX);
        }
        let mut bytes = match self.plan.send_max {
            Some(max) => self.rng.usize(1..=max.max(1)),
            None => usize::MAX,
        };
        if let Some(after) = self.plan.reset_sends_after {
            let left = after.saturating_sub(socket.bytes_sent);
            if left == 0 {
                return Err(libc::ECONNRESET);
            }
            bytes = bytes.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        Ok(bytes)
    }

    /// Takes in what was received, to be handed out by `next_due`.
    pub(super) fn hold(&mut self, slot: u32, socket: &Socket, outcome: Outcome, now_ms: u64) {
        if !self.concerns(socket) {
            self.push(slot, outcome, now_ms, false);
            return;
        }
        let mut chunk = match outcome {
            Ok(chunk) => chunk,
            Err(errno) => {
                if !self.histories.entry(slot).or_default().reset {
                    self.push(slot, Err(errno), now_ms, true);
                }
                return;
            }
        };
        let history = self.histories.entry(slot).or_default();
        if history.reset {
            return;
        }
        let mut reset = false;
        if let Some(after) = self.plan.reset_after {
            let left = after.saturating_sub(history.received);
            reset = left <= chunk.len() as u64;
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        history.received += chunk.len() as u64;
        history.reset = reset;
        while !chunk.is_empty() {
            let piece = match self.plan.recv_max {
                Some(max) => self.rng.usize(1..=max.max(1)).min(chunk.len()),
                None => chunk.len(),
            };
            let mut piece = chunk.split_to(piece);
            // Many pieces of one buffer must not exhaust its count of views.
            piece.detach();
            self.push(slot, Ok(piece), now_ms, true);
        }
        if reset {
            self.push(slot, Err(libc::ECONNRESET), now_ms, true);
        }
    }

    /// What is to be delivered by now, one at a time, in order for each socket.
    pub(super) fn next_due(&mut self, now_ms: u64) -> Option<(u32, Outcome)> {
        let first = self.held.first_entry()?;
        (first.key().0 <= now_ms).then(|| first.remove())
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.held.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// The socket is being closed; its slot may soon be another's.
    pub(super) fn forget(&mut self, slot: u32) {
        self.histories.remove(&slot);
        self.held.retain(|_, (held_slot, _)| *held_slot != slot);
    }

    fn push(&mut self, slot: u32, outcome: Outcome, now_ms: u64, late: bool) {
        let delay_ms = match self.plan.delay {
            Some(delay) if late => self.rng.u64(0..=delay.as_millis() as u64),
            _ => 0,
        };
        let history = self.histories.entry(slot).or_default();
        history.last_due_ms = history.last_due_ms.max(now_ms + delay_ms);
        self.sequence += 1;
        self.held
            .insert((history.last_due_ms, self.sequence), (slot, outcome));
    }

    fn concerns(&self, socket: &Socket) -> bool {
        match self.plan.side {
            Side::Both => true,
            Side::Accepted => socket.accepted,
            Side::Connected => !socket.accepted,
        }
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("fault plan: {:?}", self.plan);
        }
    }
}
