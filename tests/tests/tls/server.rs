//! A server with TLS that remembers how clients came, and answers HTTP/1, HTTP/2 and
//! `PING` by what they say first.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::body::Bytes;
use hyper::http::Response;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::files::Files;

/// What the server does with the next client, or its next question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    /// Speaks TLS as `server`, and answers.
    Answer,
    /// The same, but HTTP is answered with 503.
    Refuse,
    /// Shows the certificate of `stranger`.
    Stranger,
    /// Does not understand TLS.
    Plain,
    /// Closes what it accepts.
    Close,
    /// Says nothing.
    Hang,
}

/// A server on a port of its own. It ends with the test's process.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Mutex<Manner>,
    seen: Mutex<Vec<String>>,
    own: Arc<ServerConfig>,
    strange: Arc<ServerConfig>,
}

impl Server {
    pub fn start(files: &Files, manner: Manner) -> Self {
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            seen: Mutex::default(),
            own: config(files, "server"),
            strange: config(files, "stranger"),
        });
        let (tell, told) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("it is bound");
                tell.send(address).expect("the test waits");
                while let Ok((stream, _)) = listener.accept().await {
                    // Whatever goes wrong is the client's to tell of.
                    tokio::spawn(serve(stream, Arc::clone(&serving)));
                }
            });
        });
        let address = told.recv().expect("it listens");
        Self { address, shared }
    }

    pub fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// How each client came whose handshake succeeded, and each request's first line.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap()
    }

    fn note(&self, line: String) {
        self.seen.lock().unwrap().push(line);
    }
}

/// A server's configuration with the certificate of this name.
pub fn config(files: &Files, name: &str) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(files.path(&format!("{name}.pem")));
    let chain = chain.expect("certificates").map(|der| der.expect("one"));
    let key = PrivateKeyDer::from_pem_file(files.path(&format!("{name}.key")));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let config = builder.with_single_cert(chain.collect(), key.expect("a key"));
    let mut config = config.expect("they belong together");
    config.alpn_protocols = ["one", "two", "h2", "http/1.1"]
        .map(|name| name.as_bytes().to_vec())
        .into();
    Arc::new(config)
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let config = match shared.manner() {
        Manner::Answer | Manner::Refuse => &shared.own,
        Manner::Stranger => &shared.strange,
        Manner::Close => return Ok(()),
        Manner::Hang => std::future::pending().await,
        Manner::Plain => {
            let _ = stream.read(&mut [0; 4096]).await?;
            return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    };
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    let mut stream = acceptor.accept(stream).await?;
    let session = stream.get_ref().1;
    let alpn = session.alpn_protocol().map(String::from_utf8_lossy);
    shared.note(format!(
        "sni={:?} alpn={alpn:?} {:?}",
        session.server_name(),
        session.protocol_version()
    ));
    if alpn.as_deref() == Some("h2") {
        return serve_http2(stream, &shared).await;
    }
    let mut question = vec![0; 4096];
    loop {
        let length = stream.read(&mut question).await?;
        if length == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&question[..length]);
        shared.note(text.lines().next().unwrap_or_default().to_owned());
        let answer = match (&*text, shared.manner()) {
            (text, Manner::Refuse) if text.starts_with("GET") => {
                "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"
            }
            (text, _) if text.starts_with("GET") => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            _ => "+PONG\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn serve_http2(stream: TlsStream<TcpStream>, shared: &Shared) -> io::Result<()> {
    let connection = h2::server::Builder::new().handshake::<_, Bytes>(stream);
    let mut connection = connection.await.map_err(io::Error::other)?;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        shared.note(format!("{} {}", request.method(), request.uri()));
        let response = Response::new(());
        respond
            .send_response(response, true)
            .map_err(io::Error::other)?;
    }
    Ok(())
}
