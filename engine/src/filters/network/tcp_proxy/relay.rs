//! Bytes in both directions between a client and a host.
//!
//! A side is read only while the other one has little to send, so that a
//! connection holds no more than its limit in each direction, and none when it is
//! idle. Each direction ends by itself: the end of one side is told to the other
//! behind all bytes, and the connection is over when both have ended and all was
//! sent.

use std::io;
use std::task::{Context, Poll};

use super::End;
use crate::stats::tcp_proxy::TcpProxyStats;
use crate::stats::{Counter, Gauge};
use crate::stream_info::StreamInfo;
use crate::transport_sockets::TransportSocket;
use crate::upstream::conn_pool::Lease;

/// The most that waits to be sent in one direction, whatever the listener allows:
/// more would not make anything faster.
const QUEUED_BYTES_MAX: usize = 256 * 1024;

/// What the caller has to know of.
pub(super) enum Event {
    /// The client's first bytes are there, or its end, and filters wait for them.
    FirstData,
    /// It is over.
    Ended(End),
}

/// A client and a host that are joined.
pub(super) struct Relay<'a> {
    client: &'a TransportSocket,
    upstream: &'a Lease,
    stats: &'a TcpProxyStats,
    limit: usize,
    from_client: Direction,
    from_host: Direction,
    /// Nothing of the client may be read yet.
    held_back: bool,
    moved: bool,
    /// The host has ended after the client.
    host_last: bool,
    /// What gauges say of this connection.
    buffered: Buffered,
}

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    /// The reading side has ended.
    ended: bool,
    /// It is not read because the other side has too much to send.
    paused: bool,
}

#[derive(Debug, Default)]
struct Buffered {
    received: i64,
    to_send: i64,
}

/// A direction that cannot go on.
enum Broken {
    /// The side that is read.
    Reading(io::Error),
    /// The side that is written.
    Writing(io::Error),
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        client: &'a TransportSocket,
        upstream: &'a Lease,
        stats: &'a TcpProxyStats,
        buffer_limit: u32,
    ) -> Self {
        Self {
            client,
            upstream,
            stats,
            limit: (buffer_limit as usize).clamp(1, QUEUED_BYTES_MAX),
            from_client: Direction::default(),
            from_host: Direction::default(),
            held_back: false,
            moved: false,
            host_last: false,
            buffered: Buffered::default(),
        }
    }

    /// Whether filters still wait for the client's first bytes.
    pub(super) fn holds_client_back(&mut self, held_back: bool) {
        self.held_back = held_back;
    }

    /// Whether something has moved since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Carries what can be carried.
    pub(super) fn poll(&mut self, info: &mut StreamInfo, cx: &mut Context<'_>) -> Poll<Event> {
        if let Err(broken) = self.poll_from_host(info, cx) {
            let (Broken::Reading(error) | Broken::Writing(error)) = &broken;
            let reset = is_reset(error);
            return Poll::Ready(Event::Ended(match broken {
                Broken::Reading(_) => End::Host { reset },
                Broken::Writing(_) => End::Client { reset },
            }));
        }
        if self.held_back {
            if self.is_client_there(cx) {
                return Poll::Ready(Event::FirstData);
            }
        } else if let Err(broken) = self.poll_from_client(info, cx) {
            let (Broken::Reading(error) | Broken::Writing(error)) = &broken;
            let reset = is_reset(error);
            return Poll::Ready(Event::Ended(match broken {
                Broken::Reading(_) => End::Client { reset },
                Broken::Writing(_) => End::Host { reset },
            }));
        }
        if self.moved {
            self.upstream.count_bytes();
        }
        self.count_buffered();
        if self.from_client.ended && self.from_host.ended {
            return self.poll_flushed(cx);
        }
        Poll::Pending
    }

    /// Says that nothing is buffered any more.
    pub(super) fn finish(&mut self) {
        self.set_buffered(Buffered::default());
    }

    fn poll_from_host(
        &mut self,
        info: &mut StreamInfo,
        cx: &mut Context<'_>,
    ) -> Result<(), Broken> {
        let of_cluster = &self.upstream.cluster().stats;
        let counters = Pauses {
            paused: of_cluster.upstream_flow_control_paused_reading_total,
            resumed: of_cluster.upstream_flow_control_resumed_reading_total,
        };
        let (from, to) = (&self.upstream.stream, self.client);
        let ended = self.from_host.ended;
        let moved = self.from_host.carry(from, to, self.limit, counters, cx)?;
        if self.from_host.ended && !ended {
            self.host_last = self.from_client.ended;
            self.moved = true;
        }
        self.moved |= moved > 0;
        if moved > 0 {
            self.stats.downstream_cx_tx_bytes_total.add(moved);
            info.bytes_sent += moved;
            info.downstream_bytes.wire_sent += moved;
            info.upstream_bytes.wire_received += moved;
        }
        Ok(())
    }

    fn poll_from_client(
        &mut self,
        info: &mut StreamInfo,
        cx: &mut Context<'_>,
    ) -> Result<(), Broken> {
        let counters = Pauses {
            paused: self.stats.downstream_flow_control_paused_reading_total,
            resumed: self.stats.downstream_flow_control_resumed_reading_total,
        };
        let (from, to) = (self.client, &self.upstream.stream);
        let ended = self.from_client.ended;
        let moved = self.from_client.carry(from, to, self.limit, counters, cx)?;
        self.moved |= moved > 0 || ended != self.from_client.ended;
        if moved > 0 {
            self.stats.downstream_cx_rx_bytes_total.add(moved);
            info.bytes_received += moved;
            info.downstream_bytes.wire_received += moved;
            info.upstream_bytes.wire_sent += moved;
        }
        Ok(())
    }

    /// Whether the client has sent something, or its end. It stays there to be
    /// read.
    fn is_client_there(&self, cx: &mut Context<'_>) -> bool {
        match self.client.poll_recv(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(Some(chunk))) => {
                self.client.unread(chunk);
                true
            }
            Poll::Ready(Ok(None) | Err(_)) => true,
        }
    }

    /// Waits until all was sent. Whoever breaks off now has broken nothing.
    fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<Event> {
        let to_host = self.upstream.stream.poll_writable(cx, 1);
        let to_client = self.client.poll_writable(cx, 1);
        if to_host.is_pending() || to_client.is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Event::Ended(End::Both {
            host_last: self.host_last,
        }))
    }

    fn count_buffered(&mut self) {
        let to_send = match self.from_host.paused {
            true => self.client.queued() as i64,
            false => 0,
        };
        self.set_buffered(Buffered {
            received: i64::from(self.client.last_received()),
            to_send,
        });
    }

    fn set_buffered(&mut self, now: Buffered) {
        let add = |gauge: Gauge, by: i64| {
            if by != 0 {
                gauge.add(by);
            }
        };
        let (stats, before) = (self.stats, &self.buffered);
        add(
            stats.downstream_cx_rx_bytes_buffered,
            now.received - before.received,
        );
        add(
            stats.downstream_cx_tx_bytes_buffered,
            now.to_send - before.to_send,
        );
        self.buffered = now;
    }
}

/// What counts that a side is not read for a while.
struct Pauses {
    paused: Counter,
    resumed: Counter,
}

impl Direction {
    /// Carries what has arrived, while the other side takes it, and then its end.
    /// Gives the number of bytes.
    fn carry(
        &mut self,
        from: &TransportSocket,
        to: &TransportSocket,
        limit: usize,
        pauses: Pauses,
        cx: &mut Context<'_>,
    ) -> Result<u64, Broken> {
        let mut moved = 0;
        while !self.ended {
            // Once too much waits, half of it has to go first.
            let below = match self.paused {
                true => limit.div_ceil(2),
                false => limit,
            };
            match to.poll_writable(cx, below) {
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
                    moved += chunk.len() as u64;
                    to.write_chunk(chunk);
                }
                Poll::Ready(Ok(None)) => {
                    to.shutdown_write();
                    self.ended = true;
                }
                Poll::Ready(Err(error)) => return Err(Broken::Reading(error)),
            }
        }
        Ok(moved)
    }
}

/// Whether the peer has broken the connection off, rather than ended it before.
fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}
