//! The adapter for tokio's traits.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::tokio_io::TokioStream;
use super::super::*;
use super::{on_both_drivers, pair};

#[test]
fn tokio_code_echoes_over_our_streams() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let task = spawn(async move {
                let (mut read, mut write) = tokio::io::split(TokioStream::new(server));
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
            let body: Vec<u8> = (0..=255).cycle().take(2_000_000).collect();
            let sent = body.clone();
            let (mut read, mut write) = tokio::io::split(TokioStream::from(client));
            spawn(async move {
                write.write_all(&sent).await.unwrap();
                write.flush().await.unwrap();
                write.shutdown().await.unwrap();
            });
            let mut received = Vec::new();
            read.read_to_end(&mut received).await.unwrap();
            assert!(received == body);
            assert!(task.is_finished());
        });
    });
}

#[test]
fn vectored_writes_and_short_reads_keep_the_order() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let mut client = TokioStream::new(client);
            let slices = [std::io::IoSlice::new(b"ab"), std::io::IoSlice::new(b"cde")];
            assert_eq!(client.write_vectored(&slices).await.unwrap(), 5);
            let mut server = TokioStream::new(server);
            let mut read = [0; 3];
            server.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"abc");
            assert_eq!(
                &server.into_inner().recv().await.unwrap().unwrap()[..],
                b"de"
            );
        });
    });
}
