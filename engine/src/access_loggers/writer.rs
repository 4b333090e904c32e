//! The thread that writes all log files.
//!
//! Workers hand it batches of lines over a bounded queue. A destination that
//! takes no bytes (a pipe that nobody reads) is put aside and tried again,
//! while the others go on; what it cannot take within a bound is dropped and
//! counted. A plain file on a file system that hangs does stop the thread;
//! then the queue fills and the workers drop, without waiting.

use super::buffer;
use super::destination::Destination;
use super::stats::LogStats;
use crate::stats::{Shard, Store};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How lines are collected.
#[derive(Debug, Clone)]
pub struct Options {
    /// A thread's buffer is handed over at this many bytes:
    /// `--file-flush-min-size-kb`, 64 KiB.
    pub flush_bytes: usize,
    /// How often workers call [`flush_local`](super::flush_local):
    /// `--file-flush-interval-msec`, 10 s.
    pub flush_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            flush_bytes: 64 * 1024,
            flush_interval: Duration::from_secs(10),
        }
    }
}

/// The queue holds about as many bytes as this: at 100 bytes a line, a second
/// of a worker at 160,000 requests a second.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that are kept for a destination that takes none.
const BLOCKED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How soon a blocked destination is tried again.
const BLOCKED_RETRY: Duration = Duration::from_millis(5);

/// How often destinations that nobody uses any more are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How long blocked destinations are tried at the end.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(2);

/// Lines of one thread for one destination.
pub(super) struct Batch {
    pub destination: Arc<Destination>,
    pub bytes: Vec<u8>,
    pub lines: u64,
    /// How often logs had been reopened when the lines were written.
    pub generation: u32,
}

enum Message {
    Batch(Batch),
    /// Something changed: look at the generation.
    Wake,
    Shutdown,
}

/// A thread's way to the writer.
#[derive(Clone, Debug)]
pub struct LogHandle {
    queue: SyncSender<Message>,
    /// How often logs were reopened. Relaxed: a thread that sees a change late
    /// logs to the old file, which is still open. The queue orders it before
    /// the batches that carry it.
    generation: Arc<AtomicU32>,
    stats: LogStats,
    flush_bytes: usize,
}

impl LogHandle {
    /// Lets the current thread log. Its lines are handed over at the latest
    /// when the thread ends.
    pub fn install(self) {
        buffer::install(self);
    }

    /// Opens all log files anew, after they were renamed. Lines that were
    /// logged before this call go to the old files, also those in the buffers
    /// of other threads. Call it from any thread, then let every worker call
    /// [`flush_local`](super::flush_local), so that the old files are complete
    /// at once and not after the flush interval.
    pub fn reopen(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        // A full queue wakes the writer too.
        let _ = self.queue.try_send(Message::Wake);
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> &LogStats {
        &self.stats
    }

    pub(super) fn flush_bytes(&self) -> usize {
        self.flush_bytes
    }

    /// Puts a batch into the queue, or gives it back when the queue is full or
    /// the writer gone.
    pub(super) fn offer(&self, batch: Batch) -> Result<(), Batch> {
        match self.queue.try_send(Message::Batch(batch)) {
            Err(
                TrySendError::Full(Message::Batch(batch))
                | TrySendError::Disconnected(Message::Batch(batch)),
            ) => Err(batch),
            _ => Ok(()),
        }
    }

    /// Counts the lines of a batch that cannot be written.
    pub(super) fn drop_batch(&self, batch: &Batch) {
        self.stats.dropped_lines.add(batch.lines);
        let bytes = batch.bytes.len() as i64;
        self.stats.filesystem.write_total_buffered.add(-bytes);
    }
}

/// The writer's thread.
#[derive(Debug)]
pub struct LogWriter {
    handle: LogHandle,
    thread: JoinHandle<()>,
    done: Receiver<()>,
}

impl LogWriter {
    /// Starts the thread. `store` gets the statistics (see [`LogStats`]).
    pub fn spawn(options: &Options, store: &Store) -> io::Result<LogWriter> {
        let flush_bytes = options.flush_bytes.max(1);
        let batches = (QUEUE_BYTES_MAX / flush_bytes).clamp(16, 4096);
        let (queue, messages) = sync_channel(batches);
        let handle = LogHandle {
            queue,
            generation: Arc::default(),
            stats: LogStats::new(store),
            flush_bytes,
        };
        let (done_sender, done) = sync_channel(1);
        let mut files = Files {
            sinks: HashMap::new(),
            generation: 0,
            shared_generation: handle.generation.clone(),
            stats: handle.stats,
            // A worker's timer may be late by as much again.
            previous_kept: options.flush_interval * 2 + HOUSEKEEPING,
        };
        let shard = store.shard(None);
        let thread = std::thread::Builder::new()
            .name("access_log".to_owned())
            .spawn(move || {
                shard.install();
                files.run(&messages);
                let _ = done_sender.send(());
            })?;
        Ok(LogWriter {
            handle,
            thread,
            done,
        })
    }

    /// A handle for a thread that logs, or that reopens logs.
    pub fn handle(&self) -> LogHandle {
        self.handle.clone()
    }

    /// Writes everything that was handed over, then ends the thread. Threads
    /// that log have ended or flushed before. False when a destination hung,
    /// and the thread was left behind.
    pub fn shutdown(self) -> bool {
        // The writer itself gives up on blocked pipes within SHUTDOWN_WAIT.
        let deadline = Instant::now() + 2 * SHUTDOWN_WAIT;
        let mut message = Message::Shutdown;
        while let Err(TrySendError::Full(back)) = self.handle.queue.try_send(message) {
            if Instant::now() >= deadline {
                return false;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if self.done.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            return false;
        }
        self.thread.join().is_ok()
    }
}

/// What the writer's thread owns.
struct Files {
    sinks: HashMap<u64, Sink>,
    /// The reopenings that have been done.
    generation: u32,
    shared_generation: Arc<AtomicU32>,
    stats: LogStats,
    previous_kept: Duration,
}

/// One open destination.
struct Sink {
    destination: Weak<Destination>,
    file: File,
    /// The file before the last reopening, for the lines that were still in
    /// buffers then.
    previous: Option<(File, Instant)>,
    /// Batches that wait because the file takes no bytes now; the first may be
    /// written in part.
    blocked: VecDeque<Batch>,
    blocked_bytes: usize,
    /// How much of the first blocked batch is written.
    written: usize,
    /// The last write stopped within a line.
    torn: bool,
}

impl Files {
    fn run(&mut self, messages: &Receiver<Message>) {
        let mut housekeeping = Instant::now() + HOUSEKEEPING;
        loop {
            let wait = match self.sinks.values().any(|sink| !sink.blocked.is_empty()) {
                true => BLOCKED_RETRY,
                false => HOUSEKEEPING,
            };
            let message = messages.recv_timeout(wait);
            self.reopen_if_asked();
            match message {
                Ok(Message::Batch(batch)) => self.write(batch),
                Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.retry_blocked();
            let now = Instant::now();
            if now >= housekeeping {
                self.close_unused(now);
                // What others removed is free once every thread has let it go.
                Shard::flush();
                housekeeping = now + HOUSEKEEPING;
            }
        }
        self.finish();
    }

    fn write(&mut self, batch: Batch) {
        let id = batch.destination.id;
        if !self.sinks.contains_key(&id) {
            match batch.destination.take_file() {
                Ok(file) => {
                    let mut sink = Sink::new(&batch.destination, file);
                    // The file may have been opened, with the configuration,
                    // before logs were reopened for the last time.
                    if self.generation > 0 && batch.destination.target.has_moved(&sink.file) {
                        sink.reopen(self.previous_kept, &self.stats);
                    }
                    self.sinks.insert(id, sink);
                }
                Err(_) => {
                    self.stats.filesystem.write_failed.inc();
                    return drop_lines(&self.stats, batch.lines, batch.bytes.len());
                }
            }
        }
        let current = batch.generation == self.generation;
        if let Some(sink) = self.sinks.get_mut(&id) {
            sink.write(batch, current, &self.stats);
        }
    }

    fn retry_blocked(&mut self) {
        for sink in self.sinks.values_mut() {
            sink.retry(&self.stats);
        }
    }

    fn reopen_if_asked(&mut self) {
        let asked = self.shared_generation.load(Ordering::Relaxed);
        if asked == self.generation {
            return;
        }
        self.generation = asked;
        for sink in self.sinks.values_mut() {
            sink.reopen(self.previous_kept, &self.stats);
        }
    }

    fn close_unused(&mut self, now: Instant) {
        self.sinks.retain(|_, sink| {
            sink.previous.take_if(|(_, until)| *until <= now);
            sink.destination.strong_count() > 0 || !sink.blocked.is_empty()
        });
    }

    /// Tries blocked destinations a last time, then counts what is lost.
    fn finish(&mut self) {
        let deadline = Instant::now() + SHUTDOWN_WAIT;
        loop {
            self.retry_blocked();
            let blocked = self.sinks.values().any(|sink| !sink.blocked.is_empty());
            if !blocked || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(BLOCKED_RETRY);
        }
        for sink in self.sinks.values_mut() {
            while let Some(batch) = sink.next_blocked() {
                sink.lose(&batch, &self.stats);
            }
        }
    }
}

enum Outcome {
    Done,
    Blocked,
    Failed,
}

impl Sink {
    fn new(destination: &Arc<Destination>, file: File) -> Sink {
        Sink {
            destination: Arc::downgrade(destination),
            file,
            previous: None,
            blocked: VecDeque::new(),
            blocked_bytes: 0,
            written: 0,
            torn: false,
        }
    }

    fn write(&mut self, batch: Batch, current: bool, stats: &LogStats) {
        if let (false, Some((previous, _))) = (current, &mut self.previous)
            && previous.write_all(&batch.bytes).is_ok()
        {
            stats.filesystem.write_completed.inc();
            return buffered(stats, batch.bytes.len());
        }
        if self.blocked_bytes + batch.bytes.len() > BLOCKED_BYTES_MAX && !self.blocked.is_empty() {
            return drop_lines(stats, batch.lines, batch.bytes.len());
        }
        self.blocked_bytes += batch.bytes.len();
        self.blocked.push_back(batch);
        self.retry(stats);
    }

    /// Writes what waits, as far as the file takes it.
    fn retry(&mut self, stats: &LogStats) {
        while let Some(batch) = self.blocked.front() {
            match write_from(
                &mut self.file,
                &batch.bytes,
                &mut self.written,
                &mut self.torn,
            ) {
                Outcome::Blocked => return,
                Outcome::Done => {
                    if let Some(batch) = self.next_blocked() {
                        stats.filesystem.write_completed.inc();
                        buffered(stats, batch.bytes.len());
                        self.written = 0;
                    }
                }
                Outcome::Failed => {
                    stats.filesystem.write_failed.inc();
                    if let Some(batch) = self.next_blocked() {
                        self.lose(&batch, stats);
                    }
                }
            }
        }
    }

    fn next_blocked(&mut self) -> Option<Batch> {
        let batch = self.blocked.pop_front()?;
        self.blocked_bytes -= batch.bytes.len();
        Some(batch)
    }

    /// Gives up on a batch, of which the first `written` bytes are in the file.
    fn lose(&mut self, batch: &Batch, stats: &LogStats) {
        let written = &batch.bytes[..std::mem::take(&mut self.written)];
        let whole = memchr::memchr_iter(b'\n', written).count() as u64;
        self.torn |= written.last().is_some_and(|last| *last != b'\n');
        drop_lines(stats, batch.lines.saturating_sub(whole), batch.bytes.len());
    }

    fn reopen(&mut self, previous_kept: Duration, stats: &LogStats) {
        let Some(destination) = self.destination.upgrade() else {
            return;
        };
        match destination.target.open() {
            Ok(file) => {
                let old = std::mem::replace(&mut self.file, file);
                self.previous = Some((old, Instant::now() + previous_kept));
                self.torn = false;
            }
            // The old file still takes lines: none is lost.
            Err(_) => stats.filesystem.reopen_failed.inc(),
        }
    }
}

/// Writes `bytes` from `written` on. A line that was cut by an earlier failure
/// is ended first, so that the next one stands alone.
fn write_from(file: &mut File, bytes: &[u8], written: &mut usize, torn: &mut bool) -> Outcome {
    while *written < bytes.len() {
        let result = match torn {
            true => file.write(b"\n"),
            false => file.write(&bytes[*written..]),
        };
        match result {
            Ok(0) => return Outcome::Failed,
            Ok(_) if *torn => *torn = false,
            Ok(count) => *written += count,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => return Outcome::Blocked,
                _ => return Outcome::Failed,
            },
        }
    }
    Outcome::Done
}

fn drop_lines(stats: &LogStats, lines: u64, bytes: usize) {
    stats.dropped_lines.add(lines);
    buffered(stats, bytes);
}

/// So many bytes are not buffered any more.
fn buffered(stats: &LogStats, bytes: usize) {
    stats.filesystem.write_total_buffered.add(-(bytes as i64));
}
