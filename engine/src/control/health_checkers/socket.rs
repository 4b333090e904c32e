//! A connection to a host that is checked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ringway_codecs::proxy_protocol::Endpoints;
use ringway_config::cluster::Cluster;
use ringway_config::core::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::transport_sockets::proxy_protocol::{Of, write_header};

/// Where a host is checked.
pub(super) struct Target {
    pub address: Address,
    /// The local address of connections.
    pub bind: Option<SocketAddr>,
    /// Whose host it is.
    pub cluster: Arc<Cluster>,
}

/// An open connection.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub async fn connect(target: &Target) -> io::Result<Self> {
        let mut socket = Self::open(target).await?;
        if let Some(config) = &target.cluster.proxy_protocol {
            let own = socket.endpoints()?;
            let mut header = Vec::new();
            write_header(&mut header, config, &[], Of::Own(own.as_ref()));
            socket.write_all(&header).await?;
        }
        Ok(socket)
    }

    async fn open(target: &Target) -> io::Result<Self> {
        match &target.address {
            Address::Socket(address) => {
                let socket = match address {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                if let Some(bind) = target.bind {
                    socket.bind(bind)?;
                }
                let stream = socket.connect(*address).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Address::Pipe { path, .. } => Ok(Self::Unix(UnixStream::connect(path).await?)),
        }
    }

    /// Its addresses, if it has any.
    fn endpoints(&self) -> io::Result<Option<Endpoints>> {
        let Self::Tcp(stream) = self else {
            return Ok(None);
        };
        Ok(Some(Endpoints {
            source: stream.local_addr()?,
            destination: stream.peer_addr()?,
        }))
    }

    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Unix(stream) => stream.write_all(bytes).await,
        }
    }

    /// Reads some bytes behind those in `into`.
    ///
    /// # Errors
    /// The end of the connection is one.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let count = match self {
            Self::Tcp(stream) => stream.read_buf(into).await?,
            Self::Unix(stream) => stream.read_buf(into).await?,
        };
        match count {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Whether nothing has happened since the last answer: neither an end nor
    /// bytes that nobody asked for.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
        };
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Whether `received` has all of `wanted` in their order, with anything in
/// between.
pub(super) fn contains_in_order(wanted: &[Box<[u8]>], received: &[u8]) -> bool {
    let mut rest = received;
    wanted.iter().all(|part| {
        let found = rest.windows(part.len()).position(|bytes| bytes == &**part);
        found.is_some_and(|at| {
            rest = &rest[at + part.len()..];
            true
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_found_in_their_order() {
        let wanted = |texts: &[&str]| -> Vec<Box<[u8]>> {
            texts.iter().map(|text| text.as_bytes().into()).collect()
        };
        for (texts, found) in [
            (&[][..], true),
            (&["ab"], true),
            (&["ab", "cd"], true),
            (&["a", "b", "d"], true),
            (&["cd", "ab"], true),
            (&["cd", "cd", "ab"], false),
            (&["abc", "cd"], true),
            (&["abcda", "bcd", "d"], false),
            (&["x"], false),
            (&["abcdabcd0"], false),
            (&["ab", "ab", "cd"], true),
        ] {
            assert_eq!(
                contains_in_order(&wanted(texts), b"abcdabcd"),
                found,
                "{texts:?}"
            );
        }
        // Whatever is still to come cannot be found yet.
        for end in 0..8 {
            let wanted = wanted(&["abcd", "abcd"]);
            assert!(!contains_in_order(&wanted, &b"abcdabcd"[..end]));
        }
    }
}
