//! A gRPC server for the measured proxies: it answers every call with one message.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use crate::listener;

/// Answer gRPC calls, over HTTP/2 without TLS, with one message of 100 bytes each.
#[derive(clap::Args)]
pub struct Options {
    /// Port to listen on; 0 takes a free one. The port is printed
    #[arg(long, default_value_t = 9001)]
    port: u16,
}

/// Serves until the process is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let socket = listener::open(address).with_context(|| format!("listening on {address}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(socket.into())?;
        listener::announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                if let Err(error) = serve(stream).await {
                    eprintln!("a connection ended: {error}");
                }
            });
        }
    })
}

async fn serve(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(STREAMS_MAX)
        .handshake(stream)
        .await?;
    let message = Bytes::from_static(&MESSAGE);
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        let message = message.clone();
        tokio::spawn(async move {
            // A call that its client has given up concerns nobody else.
            let _ = answer(request, respond, message).await;
        });
    }
    Ok(())
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    message: Bytes,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    while let Some(part) = body.data().await {
        let length = part?.len();
        body.flow_control().release_capacity(length)?;
    }
    let mut head = Response::new(());
    let content_type = HeaderValue::from_static("application/grpc");
    head.headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(message, false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

/// More than any proxy opens on a connection.
const STREAMS_MAX: u32 = 4096;

/// Not compressed, its length in four bytes, and as many bytes of a message: a field of bytes.
const MESSAGE: [u8; 5 + 100] = {
    let mut message = [b'x'; 5 + 100];
    (message[0], message[1], message[2], message[3]) = (0, 0, 0, 0);
    (message[4], message[5], message[6]) = (100, 0x0a, 98);
    message
};
