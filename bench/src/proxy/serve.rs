//! The minimal proxy for event loops that read into memory of the caller.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread::LocalKey;

use super::heads;
use crate::wire::Malformed;

/// A connection of some event loop. Buffers are handed over and returned, because loops on
/// io_uring must own what the kernel writes to.
pub trait Socket: Sized + 'static {
    /// Whether one can wait for bytes without a buffer, so that idle connections own none.
    const WAITS_WITHOUT_BUFFER: bool;

    async fn connect(address: SocketAddr) -> io::Result<Self>;
    /// Appends to the buffer; 0 is the end.
    async fn read(&mut self, buffer: Buffer) -> (io::Result<usize>, Buffer);
    /// Writes what the buffer holds.
    async fn write(&mut self, buffer: Buffer) -> (io::Result<()>, Buffer);
    async fn write_head(&mut self, head: Vec<u8>) -> (io::Result<()>, Vec<u8>);
    async fn readable(&mut self) -> io::Result<()>;
    /// What the connections of a thread share.
    fn shared() -> &'static LocalKey<RefCell<Shared<Self>>>;
}

/// Memory to read into.
pub struct Buffer {
    pub memory: Box<[u8]>,
    pub filled: usize,
}

/// Idle upstream connections and spare buffers of a thread.
pub struct Shared<S> {
    idle: Vec<S>,
    small: Vec<Buffer>,
    large: Vec<Buffer>,
    heads: Vec<Vec<u8>>,
}

impl<S> Shared<S> {
    /// Nothing spare yet.
    pub const fn new() -> Shared<S> {
        Shared {
            idle: Vec::new(),
            small: Vec::new(),
            large: Vec::new(),
            heads: Vec::new(),
        }
    }
}

impl Buffer {
    fn new(bytes: usize) -> Buffer {
        Buffer {
            memory: vec![0; bytes].into_boxed_slice(),
            filled: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[..self.filled]
    }

    fn remove_front(&mut self, bytes: usize) {
        self.memory.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }
}

/// Proxies a client's requests until it leaves or a connection fails.
pub async fn serve<S: Socket>(
    mut client: S,
    address: IpAddr,
    upstream: SocketAddr,
) -> io::Result<()> {
    let client_text = address.to_string();
    let mut input = take_small::<S>();
    loop {
        let mut head = with::<S, _>(|shared| shared.heads.pop()).unwrap_or_default();
        let request = loop {
            if input.filled > 0
                && let Some(request) = heads::request(input.bytes(), &client_text, &mut head)?
            {
                break request;
            }
            if input.filled == 0 && S::WAITS_WITHOUT_BUFFER {
                give_small::<S>(input);
                client.readable().await?;
                input = take_small::<S>();
            }
            let (read, buffer) = client.read(input).await;
            input = buffer;
            if read? == 0 {
                return Ok(());
            }
        };
        let available = (input.filled - request.head_bytes) as u64;
        let with_head = available.min(request.body_bytes);
        let end = request.head_bytes + usize::try_from(with_head).unwrap_or(usize::MAX);
        head.extend_from_slice(&input.bytes()[request.head_bytes..end]);
        input.remove_front(end);

        let pooled = with::<S, _>(|shared| shared.idle.pop());
        let mut server = match pooled {
            Some(server) => server,
            None => S::connect(upstream).await?,
        };
        let (written, mut head) = server.write_head(head).await;
        written?;
        head.clear();
        with::<S, _>(|shared| shared.heads.push(head));
        relay(&mut client, &mut server, request.body_bytes - with_head).await?;

        let mut output = take_small::<S>();
        let response = loop {
            let (read, buffer) = server.read(output).await;
            output = buffer;
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(response) = heads::response(output.bytes(), request.is_head)? {
                break response;
            }
        };
        let received = output.filled as u64;
        let total = response.head_bytes as u64 + response.body_bytes;
        if received > total {
            return Err(Malformed.into());
        }
        let (written, output) = client.write(output).await;
        give_small::<S>(output);
        written?;
        relay(&mut server, &mut client, total - received).await?;
        if response.keep_alive {
            with::<S, _>(|shared| shared.idle.push(server));
        }
        if !request.keep_alive {
            return Ok(());
        }
    }
}

/// Moves the rest of a body.
async fn relay<S: Socket>(from: &mut S, to: &mut S, mut left: u64) -> io::Result<()> {
    if left == 0 {
        return Ok(());
    }
    let pooled = with::<S, _>(|shared| shared.large.pop());
    let mut buffer = pooled.unwrap_or_else(|| Buffer::new(LARGE_BYTES));
    while left > 0 {
        let (read, filled) = from.read(buffer).await;
        let count = read? as u64;
        if count == 0 || count > left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= count;
        let (written, emptied) = to.write(filled).await;
        written?;
        buffer = emptied;
        buffer.filled = 0;
    }
    with::<S, _>(|shared| shared.large.push(buffer));
    Ok(())
}

fn take_small<S: Socket>() -> Buffer {
    with::<S, _>(|shared| shared.small.pop()).unwrap_or_else(|| Buffer::new(SMALL_BYTES))
}

fn give_small<S: Socket>(mut buffer: Buffer) {
    buffer.filled = 0;
    with::<S, _>(|shared| shared.small.push(buffer));
}

fn with<S: Socket, T>(f: impl FnOnce(&mut Shared<S>) -> T) -> T {
    S::shared().with_borrow_mut(f)
}

impl From<Malformed> for io::Error {
    fn from(_: Malformed) -> io::Error {
        io::ErrorKind::InvalidData.into()
    }
}

/// Holds a head; loops on io_uring give one to every idle connection.
const SMALL_BYTES: usize = 4 * 1024;

/// Moves bodies.
const LARGE_BYTES: usize = 64 * 1024;
