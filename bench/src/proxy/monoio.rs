//! The minimal proxy on monoio's io_uring driver.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::thread::LocalKey;

use monoio::buf::{IoBuf, SliceMut};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::serve::{Buffer, Shared, Socket, serve};
use crate::listener;

thread_local! {
    static SHARED: RefCell<Shared<TcpStream>> = const { RefCell::new(Shared::new()) };
}

/// Serves until the process is killed. `tuned` asks for the ring that Ringway uses: one issuer,
/// completions run when they are waited for.
pub fn run(listen: SocketAddr, upstream: SocketAddr, tuned: bool) -> anyhow::Result<()> {
    let mut builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES);
    if tuned {
        let mut ring = io_uring_06::IoUring::builder();
        ring.setup_single_issuer().setup_defer_taskrun();
        builder = builder.uring_builder(ring);
    }
    let socket = listener::open(listen)?;
    // monoio waits for connections inside the kernel, so the socket may block.
    socket.set_nonblocking(false)?;
    builder.build()?.block_on(async move {
        let listener = TcpListener::from_std(socket.into())?;
        listener::announce(listener.local_addr()?)?;
        loop {
            let (client, address) = listener.accept().await?;
            // A connection that fails is closed, and that is all.
            monoio::spawn(async move { serve(client, address.ip(), upstream).await.is_ok() });
        }
    })
}

impl Socket for TcpStream {
    const WAITS_WITHOUT_BUFFER: bool = false;

    async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn read(&mut self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        let Buffer { memory, filled } = buffer;
        let end = memory.len();
        let (read, slice) = AsyncReadRent::read(self, SliceMut::new(memory, filled, end)).await;
        let filled = filled + read.as_ref().copied().unwrap_or(0);
        (
            read,
            Buffer {
                memory: slice.into_inner(),
                filled,
            },
        )
    }

    async fn write(&mut self, buffer: Buffer) -> (io::Result<()>, Buffer) {
        let Buffer { memory, filled } = buffer;
        let (written, slice) = self.write_all(memory.slice(..filled)).await;
        (
            written.map(drop),
            Buffer {
                memory: slice.into_inner(),
                filled,
            },
        )
    }

    async fn write_head(&mut self, head: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let (written, head) = self.write_all(head).await;
        (written.map(drop), head)
    }

    async fn readable(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn shared() -> &'static LocalKey<RefCell<Shared<TcpStream>>> {
        &SHARED
    }
}

/// Room for an operation on each of a few hundred connections in one submission.
const RING_ENTRIES: u32 = 4096;
