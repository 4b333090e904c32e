//! One direction of a relay: what one side has sent, on its way to the other.
//!
//! Between two plain sides a direction that has much to carry is left to the kernel
//! ([`Splice`]), until it has less. Whatever ends it or goes wrong is seen by
//! receiving and sending, which then go on where the kernel has stopped.

use std::io;
use std::task::{Context, Poll};

use super::side::Side;
use crate::reactor::{Splice, Stream};
use crate::stats::Counter;

/// A direction is spliced when so many chunks in a row are large: what waits then is
/// more than a copy should carry, and likely to go on.
const LARGE_CHUNKS: u8 = 8;
const LARGE_CHUNK_BYTES: usize = 32 * 1024;

/// Where less than this may wait it is copied: too little would go at a time.
pub(super) const SPLICE_LIMIT_MIN: usize = LARGE_CHUNK_BYTES;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Direction<'a> {
    /// The reading side has ended.
    pub ended: bool,
    /// It is not read because the other side has too much to send.
    pub paused: bool,
    /// What it may be spliced from and to.
    pub plain: Option<(&'a Stream, &'a Stream)>,
    /// Every chunk goes by itself.
    pub piecemeal: bool,
    /// Large chunks in a row.
    large_chunks: u8,
    splice: Option<Splice<'a>>,
}

/// A direction that cannot go on.
pub(super) enum Broken {
    /// The side that is read.
    Reading(io::Error),
    /// The side that is written.
    Writing(io::Error),
}

/// What counts that a side is not read for a while.
#[derive(Clone, Copy)]
pub(super) struct Pauses {
    pub paused: Counter,
    pub resumed: Counter,
}

impl<'a> Direction<'a> {
    pub fn new(plain: Option<(&'a Stream, &'a Stream)>) -> Self {
        Self {
            plain,
            ..Self::default()
        }
    }

    /// Carries what has arrived, while the other side takes it, and then its end.
    /// Adds the number of bytes to `moved`, also of what goes before an error.
    pub fn carry(
        &mut self,
        from: &mut impl Side,
        to: &mut impl Side,
        limit: usize,
        pauses: Pauses,
        moved: &mut u64,
        cx: &mut Context<'_>,
    ) -> Result<(), Broken> {
        while !self.ended {
            if let Some(bytes) = self.poll_splice(limit, pauses, cx) {
                *moved += bytes;
                if self.splice.is_some() {
                    break;
                }
            }
            // Once too much waits, half of it has to go first.
            let below = match self.paused {
                true => limit.div_ceil(2),
                false => limit,
            };
            match to.poll_room(below, cx) {
                Poll::Ready(Err(error)) => return Err(Broken::Writing(error)),
                Poll::Ready(Ok(())) if self.paused => {
                    self.paused = false;
                    pauses.resumed.inc();
                }
                Poll::Ready(Ok(())) => {}
                Poll::Pending if self.paused => break,
                Poll::Pending => {
                    self.paused = true;
                    pauses.paused.inc();
                    continue;
                }
            }
            match from.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(chunk))) => {
                    *moved += chunk.len() as u64;
                    self.note_size(chunk.len());
                    to.write(chunk);
                    if self.piecemeal {
                        break;
                    }
                }
                Poll::Ready(Ok(None)) => {
                    self.splice = None;
                    to.finish();
                    self.ended = true;
                }
                Poll::Ready(Err(error)) => return Err(Broken::Reading(error)),
            }
        }
        Ok(())
    }

    /// Carries by splice, if that is begun and nothing goes before. Gives the number
    /// of bytes; a splice that is over is gone then.
    fn poll_splice(&mut self, limit: usize, pauses: Pauses, cx: &mut Context<'_>) -> Option<u64> {
        let splice = self.splice.as_mut()?;
        if !splice.is_clear(cx) {
            return None;
        }
        let half = limit.div_ceil(2);
        let below = match self.paused {
            true => half,
            false => limit,
        };
        let spliced = splice.poll(below, limit, cx);
        let queued = splice.queued();
        let is_full = queued >= limit || splice.is_full();
        if self.paused && queued < half && !is_full {
            self.paused = false;
            pauses.resumed.inc();
        } else if !self.paused && is_full {
            self.paused = true;
            pauses.paused.inc();
        }
        if spliced.is_over {
            self.splice = None;
        }
        Some(spliced.bytes as u64)
    }

    /// Begins to splice when enough large chunks have come.
    fn note_size(&mut self, bytes: usize) {
        let Some((from, to)) = self.plain else {
            return;
        };
        if bytes < LARGE_CHUNK_BYTES {
            self.large_chunks = 0;
            return;
        }
        self.large_chunks += 1;
        if self.large_chunks >= LARGE_CHUNKS {
            self.large_chunks = 0;
            if self.splice.is_none() {
                self.splice = Splice::begin(from, to);
            }
        }
    }

    /// Bytes that the kernel has on the way.
    pub fn spliced(&self) -> usize {
        self.splice.as_ref().map_or(0, Splice::queued)
    }
}
