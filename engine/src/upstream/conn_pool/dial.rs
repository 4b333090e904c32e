//! Reaching a host: the socket as the cluster wants it, and which of the host's
//! addresses is tried when.
//!
//! A host with several addresses is tried at all of them, as RFC 8305 says: the
//! next one when the one before has failed or has not answered within
//! [`ATTEMPT_DELAY`]. The first connection that is there is used, the other
//! attempts are given up.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_config::core::Address;
use ringway_config::upstream_bind::Source;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::network::address::to_sock_addr;
use crate::network::socket_options::{ON, RefusedOption, set_option};
use crate::network::source::{self, SourceError};
use crate::reactor::{self, Stream, Timer};
use crate::stream_info::OriginalSource;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::Host;

/// Envoy's. RFC 8305 recommends 250 ms.
const ATTEMPT_DELAY: Duration = Duration::from_millis(300);

/// Why a host was not reached.
#[derive(Debug)]
pub(super) enum DialError {
    /// There is no end of ours to begin at.
    Source(SourceError),
    /// The host refused, or there is no way to it.
    Connect(io::Error),
}

impl From<SourceError> for DialError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Connect(error)
    }
}

/// Connects to a host, which sees `source` if there is one, and says at which of its
/// addresses.
pub(super) async fn dial(
    cluster: &Rc<Cluster>,
    host: &Host,
    source: Option<OriginalSource>,
) -> Result<(Stream, Address), DialError> {
    let attempts = host.shared.attempts();
    if attempts.is_empty() {
        let address = host.shared.address();
        let stream = attempt(cluster, address, source).await?;
        return Ok((stream, address.clone()));
    }
    let race = Race {
        cluster: Rc::clone(cluster),
        source,
        left: attempts.iter().cloned().collect(),
        running: Vec::new(),
        timer: Timer::new(),
    };
    // In a box: it is as large as all attempts, and few hosts have several.
    Box::pin(race.run()).await
}

async fn attempt(
    cluster: &Cluster,
    address: &Address,
    source: Option<OriginalSource>,
) -> Result<Stream, DialError> {
    let kernel = to_sock_addr(address)?;
    let socket = prepared(cluster, &kernel, source)?;
    Ok(Stream::connect_socket(socket, &kernel).await?)
}

/// The attempts at the addresses of one host.
struct Race {
    cluster: Rc<Cluster>,
    source: Option<OriginalSource>,
    left: VecDeque<Address>,
    running: Vec<Running>,
    timer: Timer,
}

struct Running {
    address: Address,
    connecting: Pin<Box<dyn Future<Output = Result<Stream, DialError>>>>,
}

impl Race {
    async fn run(mut self) -> Result<(Stream, Address), DialError> {
        self.begin();
        poll_fn(|cx| self.poll(cx)).await
    }

    fn begin(&mut self) {
        let Some(address) = self.left.pop_front() else {
            return;
        };
        let cluster = Rc::clone(&self.cluster);
        let (to, source) = (address.clone(), self.source);
        self.running.push(Running {
            address,
            connecting: Box::pin(async move { attempt(&cluster, &to, source).await }),
        });
        let next = (!self.left.is_empty()).then(|| reactor::now() + ATTEMPT_DELAY);
        self.timer.set(next);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Stream, Address), DialError>> {
        let mut place = 0;
        while place < self.running.len() {
            match self.running[place].connecting.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    return Poll::Ready(Ok((stream, self.running[place].address.clone())));
                }
                Poll::Ready(Err(error)) => {
                    self.running.remove(place);
                    if !self.left.is_empty() {
                        self.begin();
                    } else if self.running.is_empty() {
                        return Poll::Ready(Err(error));
                    }
                }
                Poll::Pending => place += 1,
            }
        }
        while !self.left.is_empty() && self.timer.poll_expired(cx).is_ready() {
            self.begin();
            let last = self.running.len() - 1;
            if let Poll::Ready(outcome) = self.running[last].connecting.as_mut().poll(cx) {
                let ended = self.running.remove(last);
                match outcome {
                    Ok(stream) => return Poll::Ready(Ok((stream, ended.address))),
                    Err(_) if !self.left.is_empty() => self.timer.set(Some(reactor::now())),
                    Err(error) if self.running.is_empty() => return Poll::Ready(Err(error)),
                    Err(_) => {}
                }
            }
        }
        Poll::Pending
    }
}

/// A socket with the options and the local address that the cluster asks for, or with
/// the client's address.
fn prepared(
    cluster: &Cluster,
    to: &SockAddr,
    client: Option<OriginalSource>,
) -> Result<Socket, DialError> {
    let domain = to.domain();
    let socket = Socket::new(domain, Type::STREAM, None)?;
    if domain == Domain::UNIX {
        return Ok(socket);
    }
    // Small writes leave at once, as in Envoy.
    socket.set_tcp_nodelay(true)?;
    let ipv6 = domain == Domain::IPV6;
    let source = cluster.config.bind.as_ref();
    let source = source.and_then(|bind| bind.source(ipv6));
    if source.is_some() || client.is_some() {
        let bound = bind(&socket, source, client, ipv6);
        match &bound {
            Ok(()) => {}
            Err(SourceError::Bind(..)) => cluster.stats.bind_errors.inc(),
            Err(SourceError::Option(refused)) => cluster.shared.warn_of_option(refused),
        }
        bound?;
    }
    Ok(socket)
}

fn bind(
    socket: &Socket,
    source: Option<&Source>,
    client: Option<OriginalSource>,
    ipv6: bool,
) -> Result<(), SourceError> {
    if let Some(client) = client {
        imitate(socket, client, ipv6).map_err(SourceError::Option)?;
    }
    let any = Source::default();
    let instead = client.map(|client| client.ip);
    source::bind(socket, source.unwrap_or(&any), instead, ipv6)
}

/// Lets a socket have an address that is not the machine's, and its packets a mark.
fn imitate(socket: &Socket, client: OriginalSource, ipv6: bool) -> Result<(), RefusedOption> {
    let (level, transparent) = match ipv6 {
        false => (libc::SOL_IP, libc::IP_TRANSPARENT),
        true => (libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
    };
    set_option(socket, level, transparent, &ON)?;
    match client.mark {
        0 => Ok(()),
        mark => set_option(socket, libc::SOL_SOCKET, libc::SO_MARK, &mark.to_ne_bytes()),
    }
}
