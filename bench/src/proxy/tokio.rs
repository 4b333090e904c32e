//! The minimal proxy on tokio's current_thread runtime.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::thread::LocalKey;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::serve::{Buffer, Shared, Socket, serve};
use crate::listener;

thread_local! {
    static SHARED: RefCell<Shared<TcpStream>> = const { RefCell::new(Shared::new()) };
}

/// Serves until the process is killed.
pub fn run(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<()> {
    let socket = listener::open(listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(socket.into())?;
        listener::announce(listener.local_addr()?)?;
        loop {
            let (client, address) = listener.accept().await?;
            // A connection that fails is closed, and that is all.
            tokio::spawn(async move { serve(client, address.ip(), upstream).await.is_ok() });
        }
    })
}

impl Socket for TcpStream {
    const WAITS_WITHOUT_BUFFER: bool = true;

    async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn read(&mut self, mut buffer: Buffer) -> (io::Result<usize>, Buffer) {
        let read = AsyncReadExt::read(self, &mut buffer.memory[buffer.filled..]).await;
        buffer.filled += read.as_ref().copied().unwrap_or(0);
        (read, buffer)
    }

    async fn write(&mut self, buffer: Buffer) -> (io::Result<()>, Buffer) {
        (
            self.write_all(&buffer.memory[..buffer.filled]).await,
            buffer,
        )
    }

    async fn write_head(&mut self, head: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        (self.write_all(&head).await, head)
    }

    async fn readable(&mut self) -> io::Result<()> {
        TcpStream::readable(self).await
    }

    fn shared() -> &'static LocalKey<RefCell<Shared<TcpStream>>> {
        &SHARED
    }
}
