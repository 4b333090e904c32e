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
use super::direction::{Broken, Direction, Pauses, SPLICE_LIMIT_MIN};
use super::side::HostSide;
use crate::stats::Gauge;
use crate::stats::tcp_proxy::TcpProxyStats;
use crate::stream_info::StreamInfo;
use crate::transport_sockets::TransportSocket;

/// The most that waits to be sent in one direction, whatever the listener allows:
/// more would not make anything faster.
const QUEUED_BYTES_MAX: usize = 256 * 1024;

/// What the caller has to know of.
pub(super) enum Event {
    /// So many bytes of the client are there, or its end, and filters wait for them.
    Data(usize),
    /// It is over.
    Ended(End),
}

/// A client and a host that are joined.
pub(super) struct Relay<'a> {
    client: &'a TransportSocket,
    host: HostSide<'a>,
    stats: &'a TcpProxyStats,
    limit: usize,
    from_client: Direction<'a>,
    from_host: Direction<'a>,
    gate: Gate,
    moved: bool,
    /// Somebody wakes us when the host fails.
    watched: bool,
    /// The host has ended after the client.
    host_last: bool,
    /// What gauges say of this connection.
    buffered: Buffered,
}

/// What of a client may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Nothing: filters have to see first what it has sent.
    Shut,
    /// Nothing: they look at it. The client may break off.
    Told,
    /// Nothing: they look at it, and the client has ended behind it.
    Ended,
    /// What they have seen.
    Ajar,
    /// All.
    Open,
}

#[derive(Debug, Default)]
struct Buffered {
    received: i64,
    to_send: i64,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        client: &'a TransportSocket,
        host: HostSide<'a>,
        stats: &'a TcpProxyStats,
        buffer_limit: u32,
    ) -> Self {
        let limit = (buffer_limit as usize).clamp(1, QUEUED_BYTES_MAX);
        let plain = match (client.plain(), host.plain()) {
            (Some(client), Some(host)) if limit >= SPLICE_LIMIT_MIN => Some((client, host)),
            _ => None,
        };
        Self {
            client,
            host,
            stats,
            limit,
            from_client: Direction::new(plain),
            from_host: Direction::new(plain.map(|(client, host)| (host, client))),
            gate: Gate::Open,
            moved: false,
            watched: false,
            host_last: false,
            buffered: Buffered::default(),
        }
    }

    /// Filters see what the client sends before it goes anywhere: what comes first, or
    /// all of it, of which nothing may be left to the kernel then.
    pub(super) fn show_data(&mut self, all: bool) {
        self.gate = Gate::Shut;
        if all {
            self.from_client.piecemeal = true;
            self.from_client.plain = None;
        }
    }

    /// What filters have seen of the client goes on.
    pub(super) fn let_data_pass(&mut self) {
        self.gate = match self.from_client.piecemeal {
            true => Gate::Ajar,
            false => Gate::Open,
        };
    }

    /// Counts what a client has sent that filters have closed because of it: it was
    /// received, and goes nowhere.
    pub(super) fn count_refused(&self, bytes: usize) {
        self.stats.downstream_cx_rx_bytes_total.add(bytes as u64);
    }

    /// Whether something has moved since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Carries what can be carried.
    pub(super) fn poll(&mut self, info: &mut StreamInfo, cx: &mut Context<'_>) -> Poll<Event> {
        if !std::mem::replace(&mut self.watched, true) {
            self.host.lease.watch_health(cx.waker());
        }
        if self.host.lease.is_given_up() {
            return Poll::Ready(Event::Ended(End::GivenUp));
        }
        if let Err(broken) = self.poll_from_host(info, cx) {
            let (Broken::Reading(error) | Broken::Writing(error)) = &broken;
            let reset = is_reset(error);
            return Poll::Ready(Event::Ended(match broken {
                Broken::Reading(_) => End::Host { reset },
                Broken::Writing(_) => End::Client { reset },
            }));
        }
        match self.poll_gate(info, cx) {
            Ok(None) => {}
            Ok(Some(bytes)) => return Poll::Ready(Event::Data(bytes)),
            Err(broken) => {
                let (Broken::Reading(error) | Broken::Writing(error)) = &broken;
                let reset = is_reset(error);
                return Poll::Ready(Event::Ended(match broken {
                    Broken::Reading(_) => End::Client { reset },
                    Broken::Writing(_) => End::Host { reset },
                }));
            }
        }
        self.end_tunnel();
        if self.moved {
            self.host.lease.note_received();
            self.host.count(info);
        }
        self.count_buffered();
        if self.from_client.ended && self.from_host.ended {
            return self.poll_flushed(cx);
        }
        self.poll_broken_off(cx).map(Event::Ended)
    }

    /// Says that nothing is buffered any more, and what a tunnel has cost. What the
    /// kernel still has is queued.
    pub(super) fn finish(mut self, info: &mut StreamInfo) {
        self.set_buffered(Buffered::default());
        self.host.count(info);
        if let Some(tunnel) = &self.host.tunnel {
            tunnel.note_trailers(info);
        }
    }

    /// Ends both directions of a tunnel where one of them is the end of both.
    fn end_tunnel(&mut self) {
        let Some(tunnel) = &mut self.host.tunnel else {
            return;
        };
        if self.from_host.ended {
            self.from_client.ended = true;
            tunnel.finish(self.host.lease);
        } else if self.from_client.ended && tunnel.ends_with_client() {
            self.from_host.ended = true;
        }
    }

    fn poll_from_host(
        &mut self,
        info: &mut StreamInfo,
        cx: &mut Context<'_>,
    ) -> Result<(), Broken> {
        let of_cluster = &self.host.lease.cluster().stats;
        let counters = Pauses {
            paused: of_cluster.upstream_flow_control_paused_reading_total,
            resumed: of_cluster.upstream_flow_control_resumed_reading_total,
        };
        let (from, to) = (&mut self.host, &mut self.client);
        let ended = self.from_host.ended;
        let mut moved = 0;
        let carried = self
            .from_host
            .carry(from, to, self.limit, counters, &mut moved, cx);
        if self.from_host.ended && !ended {
            self.host_last = self.from_client.ended;
            self.moved = true;
        }
        self.moved |= moved > 0;
        if moved > 0 {
            self.stats.downstream_cx_tx_bytes_total.add(moved);
            info.bytes_sent += moved;
            info.downstream_bytes.wire_sent += moved;
            if self.host.tunnel.is_none() {
                info.upstream_bytes.wire_received += moved;
            }
        }
        carried
    }

    /// Carries what the client has sent, as far as it may pass. Gives the number of
    /// bytes that filters have to see first, if there are some.
    fn poll_gate(
        &mut self,
        info: &mut StreamInfo,
        cx: &mut Context<'_>,
    ) -> Result<Option<usize>, Broken> {
        if self.gate == Gate::Ajar && self.poll_from_client(info, cx)? {
            self.gate = Gate::Shut;
        }
        match self.gate {
            Gate::Shut if !self.from_client.ended => {
                let bytes = self.poll_data(cx)?;
                if bytes.is_some() {
                    self.gate = Gate::Told;
                }
                Ok(bytes)
            }
            Gate::Told if self.client.poll_closed(cx).is_ready() => {
                self.gate = Gate::Ended;
                match self.broken_off(cx) {
                    Some(error) => Err(Broken::Reading(error)),
                    None => Ok(None),
                }
            }
            Gate::Shut | Gate::Told | Gate::Ended | Gate::Ajar => Ok(None),
            Gate::Open => self.poll_from_client(info, cx).map(|_| None),
        }
    }

    /// Carries what the client has sent, and says if there was anything.
    fn poll_from_client(
        &mut self,
        info: &mut StreamInfo,
        cx: &mut Context<'_>,
    ) -> Result<bool, Broken> {
        let counters = Pauses {
            paused: self.stats.downstream_flow_control_paused_reading_total,
            resumed: self.stats.downstream_flow_control_resumed_reading_total,
        };
        let (from, to) = (&mut self.client, &mut self.host);
        let ended = self.from_client.ended;
        let mut moved = 0;
        let carried = self
            .from_client
            .carry(from, to, self.limit, counters, &mut moved, cx);
        let has_moved = moved > 0 || ended != self.from_client.ended;
        self.moved |= has_moved;
        if moved > 0 {
            self.stats.downstream_cx_rx_bytes_total.add(moved);
            info.bytes_received += moved;
            info.downstream_bytes.wire_received += moved;
            if self.host.tunnel.is_none() {
                info.upstream_bytes.wire_sent += moved;
            }
        }
        carried.map(|()| has_moved)
    }

    /// Why a client that has ended has done so, if that is an error. What is in front of
    /// its end, which is no more than a socket holds, stays there to be read.
    fn broken_off(&self, cx: &mut Context<'_>) -> Option<io::Error> {
        let mut chunks = Vec::new();
        let end = loop {
            match self.client.poll_recv(cx) {
                Poll::Ready(Ok(Some(chunk))) => chunks.push(chunk),
                Poll::Ready(Ok(None)) | Poll::Pending => break None,
                Poll::Ready(Err(error)) => break Some(error),
            }
        };
        for chunk in chunks.into_iter().rev() {
            self.client.unread(chunk);
        }
        end
    }

    /// Polls until the client has sent something, or its end, and says how many bytes.
    /// They stay there to be read.
    fn poll_data(&self, cx: &mut Context<'_>) -> Result<Option<usize>, Broken> {
        match self.client.poll_recv(cx) {
            Poll::Pending => Ok(None),
            Poll::Ready(Ok(Some(chunk))) => {
                let bytes = chunk.len();
                self.client.unread(chunk);
                Ok(Some(bytes))
            }
            Poll::Ready(Ok(None)) => Ok(Some(0)),
            Poll::Ready(Err(error)) => Err(Broken::Reading(error)),
        }
    }

    /// Polls until the side that has ended takes no more either: it is not read any more,
    /// which would tell.
    fn poll_broken_off(&self, cx: &mut Context<'_>) -> Poll<End> {
        if self.from_host.ended {
            let broken = self.host.poll_write_error(cx);
            broken.map(|error| End::Host {
                reset: is_reset(&error),
            })
        } else if self.from_client.ended {
            let broken = self.client.poll_write_error(cx);
            broken.map(|error| End::Client {
                reset: is_reset(&error),
            })
        } else {
            Poll::Pending
        }
    }

    /// Waits until all was sent. Whoever breaks off now has broken nothing.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let to_host = self.host.poll_flushed(cx);
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
            true => (self.client.queued() + self.from_host.spliced()) as i64,
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

/// Whether the peer has broken the connection off, rather than ended it before.
fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}
