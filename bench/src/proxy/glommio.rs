//! The minimal proxy on glommio.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::thread::LocalKey;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};

use super::serve::{Buffer, Shared, Socket, serve};
use crate::listener;

thread_local! {
    static SHARED: RefCell<Shared<TcpStream>> = const { RefCell::new(Shared::new()) };
}

/// Serves until the process is killed.
pub fn run(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<()> {
    // The thread is pinned already, if that was asked for.
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .make()
        .map_err(|error| anyhow::anyhow!("starting glommio: {error}"))?;
    let failed = |error| anyhow::anyhow!("glommio: {error}");
    executor.run(async move {
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener::announce(listener.local_addr().map_err(failed)?)?;
        loop {
            let client = listener.accept().await.map_err(failed)?;
            let address = client.peer_addr().map_err(failed)?;
            client.set_nodelay(true).map_err(failed)?;
            let served = async move { serve(client, address.ip(), upstream).await.is_ok() };
            // A connection that fails is closed, and that is all.
            glommio::spawn_local(served).detach();
        }
    })
}

impl Socket for TcpStream {
    const WAITS_WITHOUT_BUFFER: bool = false;

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
        Ok(())
    }

    fn shared() -> &'static LocalKey<RefCell<Shared<TcpStream>>> {
        &SHARED
    }
}
