//! The minimal proxy on Ringway's reactor: received buffers are lent, writes are queued.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringway::reactor::{self, Chunk, ConnectOptions, DriverChoice, Listener, Reactor, Stream};
use socket2::SockAddr;

use super::heads;
use crate::listener;
use crate::wire::Malformed;

/// Serves until the process is killed.
pub fn run(listen: SocketAddr, upstream: SocketAddr, driver: DriverChoice) -> anyhow::Result<()> {
    let setup = reactor::Options {
        driver,
        ..reactor::Options::default()
    };
    let socket = listener::open(listen)?;
    let shared = Rc::new(Shared {
        upstream: upstream.into(),
        idle: RefCell::new(Vec::new()),
        heads: RefCell::new(Vec::new()),
    });
    Reactor::new(&setup)?.block_on(async move {
        let listener = Listener::from_socket(socket)?;
        listener::announce(listener.local_addr()?)?;
        loop {
            let client = listener.accept().await?;
            let shared = Rc::clone(&shared);
            // A connection that fails is closed, and that is all.
            drop(reactor::spawn(
                async move { drop(serve(client, &shared).await) },
            ));
        }
    })
}

/// What all connections use.
struct Shared {
    upstream: SockAddr,
    idle: RefCell<Vec<Stream>>,
    /// Spare memory for putting request heads together.
    heads: RefCell<Vec<Vec<u8>>>,
}

impl Shared {
    async fn connect(&self) -> io::Result<Stream> {
        loop {
            let pooled = self.idle.borrow_mut().pop();
            match pooled {
                Some(server) if server.is_closed() => {}
                Some(server) => return Ok(server),
                None => return Stream::connect(&self.upstream, &ConnectOptions::default()).await,
            }
        }
    }
}

async fn serve(client: Stream, shared: &Shared) -> io::Result<()> {
    let client_text = client.peer_addr()?.ip().to_string();
    loop {
        let Some(first) = client.recv().await? else {
            return Ok(());
        };
        let mut head = shared.heads.borrow_mut().pop().unwrap_or_default();
        let parse = |input: &[u8]| heads::request(input, &client_text, &mut head);
        let (request, carried, mut chunk) = read_head(&client, first, parse).await?;
        chunk.advance(request.head_bytes - carried.len());

        let server = shared.connect().await?;
        server.write(&head);
        head.clear();
        shared.heads.borrow_mut().push(head);
        relay(&client, &server, chunk, request.body_bytes).await?;

        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let first = server.recv().await?.ok_or_else(ended)?;
        let parse = |input: &[u8]| heads::response(input, request.is_head);
        let (response, carried, chunk) = read_head(&server, first, parse).await?;
        client.write(&carried);
        let total = response.head_bytes as u64 + response.body_bytes;
        relay(&server, &client, chunk, total - carried.len() as u64).await?;
        if response.keep_alive && !server.has_unread() {
            shared.idle.borrow_mut().push(server);
        }
        if !request.keep_alive {
            return Ok(());
        }
    }
}

/// Parses a head that begins in `chunk`. Returns it with the bytes of earlier chunks that belong
/// to it, nearly always none, and the chunk in which it ends.
async fn read_head<T>(
    from: &Stream,
    mut chunk: Chunk,
    mut parse: impl FnMut(&[u8]) -> Result<Option<T>, Malformed>,
) -> io::Result<(T, Vec<u8>, Chunk)> {
    if let Some(head) = parse(&chunk)? {
        return Ok((head, Vec::new(), chunk));
    }
    let mut carried = Vec::new();
    loop {
        carried.extend_from_slice(&chunk);
        chunk = from.recv().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let before = carried.len();
        carried.extend_from_slice(&chunk);
        if let Some(head) = parse(&carried)? {
            carried.truncate(before);
            return Ok((head, carried, chunk));
        }
        carried.truncate(before);
    }
}

/// Moves `left` bytes, which begin in `chunk`, and gives back what follows them.
async fn relay(from: &Stream, to: &Stream, mut chunk: Chunk, mut left: u64) -> io::Result<()> {
    loop {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        if count < chunk.len() {
            let follows = chunk.split_to(count);
            from.unread(std::mem::replace(&mut chunk, follows));
        }
        left -= count as u64;
        if count > 0 {
            to.write_chunk(chunk);
        }
        if left == 0 {
            return Ok(());
        }
        to.writable(QUEUED_BYTES_MAX).await?;
        chunk = from.recv().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    }
}

/// Bytes that a slow receiver may have queued before no more are read for it.
const QUEUED_BYTES_MAX: usize = 512 * 1024;
