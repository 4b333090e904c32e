//! A raw client: sends exactly the bytes it is given, as they are cut up, and
//! records what comes back and what becomes of the connection.

use crate::admin::{Admin, Stats};
use crate::http2;
use crate::message::{self, Kind, Message};
use crate::observation;
use crate::origin::Witness;
use crate::patience;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long to watch where nothing else of the proxy is seen.
const UNSEEN: Duration = Duration::from_millis(30);

/// Long enough to read what is there.
const MOMENT: Duration = Duration::from_millis(1);

/// How long a statistic that must move may take.
const STAT_MAX: Duration = Duration::from_secs(30);

/// One step of a client's script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send these bytes at once.
    Send(Vec<u8>),
    /// Send these bytes in pieces of this many bytes.
    Pieces(Vec<u8>, usize),
    /// Wait for this many messages in all, interim responses included.
    Await(usize),
    /// Wait for this many bytes behind the messages: what a tunnel carries.
    AwaitBytes(usize),
    /// Wait for this many bytes of the last message's body.
    AwaitBody(usize),
    /// Wait until the proxy ends its side.
    AwaitEnd,
    /// Do nothing for a while.
    Wait(Duration),
    /// Wait until a statistic has this value, of the proxy of a scene.
    AwaitStat(String, u64, Option<Admin>),
    /// Wait until the origin has so many bytes of the body of a request; with 0, until
    /// it has its head. Only on a [`Stage`], as what follows.
    AwaitRequest(usize),
    /// Wait until the origins have nothing to do and nothing of the proxy moves.
    AwaitStill,
    /// Let the origins go on behind [`crate::origin::Act::AwaitRelease`].
    Release,
    /// End our side; go on reading.
    Finish,
    /// Close the whole connection now.
    Leave,
}

/// What became of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Open a while after the last answer.
    Open,
    /// Closed by the proxy.
    Closed,
    /// We closed it.
    Left,
    /// Something that was waited for did not come.
    TimedOut,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Messages in order, interim ones too.
    pub messages: Vec<Message>,
    /// Bytes after the last message, or that are no message.
    pub rest: Vec<u8>,
    /// What became of the connection.
    pub end: End,
    /// Our own address.
    pub local: Option<SocketAddr>,
    /// From the first byte sent to the last byte received.
    pub took: Duration,
}

impl Outcome {
    /// Messages that are not interim.
    pub fn finals(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| is_final(message))
    }
}

/// How a conversation ends.
#[derive(Clone, Copy, Debug)]
pub struct Expectation {
    /// Final answers to wait for.
    pub answers: usize,
    /// Whether they answer HEAD.
    pub to_head: bool,
    /// Whether they are frames of HTTP/2; see [`http2::read`].
    pub http2: bool,
    /// How long to wait for something that must come.
    pub patience: Duration,
    /// How long to watch an open connection that may still be closed, where something
    /// closes it in time.
    pub watch: Option<Duration>,
}

impl Default for Expectation {
    fn default() -> Expectation {
        Expectation {
            answers: 1,
            to_head: false,
            http2: false,
            // Less than a route's own time limit, which some cases are not to see.
            patience: Duration::from_secs(12),
            watch: None,
        }
    }
}

/// What goes on behind a client, which some of its steps wait for.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The proxy.
    pub admin: Admin,
    /// The origin.
    pub origin: Witness,
    /// The origin to which requests are mirrored.
    pub mirror: Witness,
}

impl Stage {
    /// Whether the origins have nothing to do.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.origin.is_at_rest() && self.mirror.is_at_rest()
    }

    /// Does such a step; whether what it waits for has come.
    fn act(&self, step: &Step) -> bool {
        match step {
            Step::AwaitRequest(body) => {
                let deadline = Instant::now() + STAT_MAX;
                while !self.origin.has_request(*body) && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.origin.has_request(*body)
            }
            Step::AwaitStill => {
                let is_still = |stats: &Stats| {
                    self.is_at_rest()
                        && observation::gauges(stats, "cluster.", ".upstream_rq_pending_active")
                            == 0
                };
                drop(observation::await_still(&self.admin, is_still));
                true
            }
            Step::Release => {
                self.origin.release();
                self.mirror.release();
                true
            }
            _ => true,
        }
    }
}

/// Plays `steps` against the proxy at `address`.
///
/// # Panics
/// When the connection cannot be made.
#[must_use]
pub fn converse(address: SocketAddr, steps: &[Step], expected: &Expectation) -> Outcome {
    converse_on(None, address, steps, expected)
}

/// [`converse`] where there is something behind the client.
///
/// # Panics
/// When the connection cannot be made.
#[must_use]
pub fn converse_on(
    stage: Option<&Stage>,
    address: SocketAddr,
    steps: &[Step],
    expected: &Expectation,
) -> Outcome {
    let stream = TcpStream::connect(address).expect("the proxy's listener takes connections");
    // Small pieces must arrive as they are sent.
    stream.set_nodelay(true).expect("a TCP socket");
    let local = stream.local_addr().ok();
    let mut reader = Reader {
        stream,
        bytes: Vec::new(),
        ended: false,
        to_head: expected.to_head,
        answered: expected.http2.then_some(0),
    };
    let started = Instant::now();
    let mut outcome = Outcome {
        messages: Vec::new(),
        rest: Vec::new(),
        end: End::Open,
        local,
        took: Duration::ZERO,
    };
    for step in steps {
        match step {
            Step::Send(bytes) => reader.send(bytes, bytes.len()),
            Step::Pieces(bytes, size) => reader.send(bytes, *size),
            Step::Await(count) => {
                if !reader.read_until(expected.patience, |all| all.len() >= *count) {
                    outcome.end = End::TimedOut;
                    break;
                }
            }
            Step::AwaitBytes(count) => {
                if !reader.read_rest(expected.patience, *count) {
                    outcome.end = End::TimedOut;
                    break;
                }
            }
            Step::AwaitBody(count) => {
                if !reader.read_body(expected.patience, *count) {
                    outcome.end = End::TimedOut;
                    break;
                }
            }
            Step::AwaitEnd => {
                if !reader.read_until(expected.patience, |_| false) {
                    outcome.end = End::TimedOut;
                    break;
                }
            }
            Step::AwaitRequest(_) | Step::AwaitStill | Step::Release => {
                if !stage.is_some_and(|stage| stage.act(step)) {
                    outcome.end = End::TimedOut;
                    break;
                }
            }
            Step::Wait(time) => std::thread::sleep(*time),
            Step::AwaitStat(name, value, of) => {
                let there = |stats: &Stats| stats.get(name).copied().unwrap_or(0) == *value;
                let came = (of.as_ref()).is_some_and(|of| of.await_stats(STAT_MAX, there).1);
                if !came {
                    outcome.end = End::TimedOut;
                    break;
                }
            }
            Step::Finish => {
                // The proxy may have closed already.
                let _ = reader.stream.shutdown(Shutdown::Write);
            }
            Step::Leave => {
                outcome.end = End::Left;
                break;
            }
        }
    }
    if outcome.end == End::Open {
        outcome.end = reader.finish(stage, expected);
    }
    outcome.took = started.elapsed();
    (outcome.messages, outcome.rest) = reader.parse();
    outcome
}

struct Reader {
    stream: TcpStream,
    bytes: Vec<u8>,
    ended: bool,
    to_head: bool,
    /// How many frames of HTTP/2 were answered, where that is spoken.
    answered: Option<usize>,
}

impl Reader {
    /// What cannot be sent because the proxy closed is found by reading.
    fn send(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size.max(1)) {
            if self.stream.write_all(piece).is_err() {
                return;
            }
        }
    }

    /// Reads the answers, then watches whether the connection is closed: for its time,
    /// and until nothing of the proxy moves, where that is to be seen.
    fn finish(&mut self, stage: Option<&Stage>, expected: &Expectation) -> End {
        let enough = |all: &[Message]| {
            all.iter().filter(|message| is_final(message)).count() >= expected.answers
        };
        if expected.answers > 0 && !self.read_until(expected.patience, enough) {
            return End::TimedOut;
        }
        let closing = self.parse().0.iter().any(|message| {
            message
                .header("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close"))
        });
        let watch = match (expected.watch, stage) {
            _ if closing || expected.answers == 0 => expected.patience,
            (Some(time), _) => time,
            (None, Some(_)) => Duration::ZERO,
            (None, None) => UNSEEN,
        };
        self.read_until(watch, |_| false);
        if !self.ended
            && let Some(stage) = stage
        {
            stage.act(&Step::AwaitStill);
            self.read_until(MOMENT, |_| false);
        }
        if self.ended { End::Closed } else { End::Open }
    }

    /// Reads until `enough` holds for the complete messages, or the connection
    /// ends. False when neither happened in time.
    fn read_until(&mut self, max: Duration, enough: impl Fn(&[Message]) -> bool) -> bool {
        self.read_while(max, |reader| {
            let (mut messages, _) = reader.parse();
            messages.retain(|message| message.complete);
            !enough(&messages)
        })
    }

    /// Reads until there are `count` bytes behind the messages.
    fn read_rest(&mut self, max: Duration, count: usize) -> bool {
        self.read_while(max, |reader| reader.parse().1.len() < count)
    }

    /// Reads until the last message has `count` bytes of its body.
    fn read_body(&mut self, max: Duration, count: usize) -> bool {
        self.read_while(max, |reader| {
            let (messages, _) = reader.parse();
            (messages.last()).is_none_or(|message| message.body.len() < count)
        })
    }

    fn read_while(&mut self, max: Duration, more: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + max;
        let mut buffer = vec![0; 65536];
        loop {
            if self.ended || !more(self) {
                return true;
            }
            if let Some(answered) = &mut self.answered {
                let answers = http2::answers(&self.bytes, answered);
                self.send(&answers, answers.len());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.stream
                .set_read_timeout(Some(left))
                .expect("a timeout above zero");
            match patience::read(&mut self.stream, &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => self.ended = true,
            }
        }
    }

    fn parse(&self) -> (Vec<Message>, Vec<u8>) {
        if self.answered.is_some() {
            return http2::read(&self.bytes);
        }
        let mut messages = Vec::new();
        let mut at = 0;
        let kind = Kind::Response {
            to_head: self.to_head,
        };
        while at < self.bytes.len() {
            let Some((message, taken)) = message::read(&self.bytes[at..], kind, self.ended) else {
                break;
            };
            at += taken;
            messages.push(message);
        }
        (messages, self.bytes[at..].to_vec())
    }
}

fn is_final(message: &Message) -> bool {
    message.status() / 100 != 1 || message.status() == 101
}
