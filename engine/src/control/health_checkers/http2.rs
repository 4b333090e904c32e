//! HTTP/2: a request on a connection that is known to speak it. One stream is
//! open at a time.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use h2::client::{SendRequest, handshake};
use h2::{Reason, RecvStream};
use hyper::body::Bytes;
use hyper::http::uri::{Authority, Scheme};
use hyper::http::{self, Method, Request, Uri, Version};
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::health_check::HttpCheck;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::http::{Answer, body_bytes, judge};
use super::socket::{Socket, Target};
use crate::http::http2::headers::{read_response, read_trailers};

/// The connection of a host's checks.
pub(super) struct Client {
    connection: Option<Connection>,
    /// `None` for what HTTP/2 cannot say: then every check fails.
    request: Option<Request<()>>,
}

/// A connection with the task that reads and writes it. Dropping it ends both.
struct Connection {
    sender: SendRequest<Bytes>,
    /// What the host said when it announced the end of the connection.
    goes_away: watch::Receiver<Option<Reason>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// A client that sends a request with these headers and this authority.
    /// `scheme` is that of the host's transport socket.
    pub fn new(headers: &HeaderMap, authority: &str, scheme: Scheme) -> Self {
        Self {
            connection: None,
            request: request(headers, authority, scheme).ok(),
        }
    }

    pub fn close(&mut self) {
        self.connection = None;
    }

    /// Asks once.
    ///
    /// # Errors
    /// There is no connection, or no response that makes sense.
    pub async fn check(&mut self, check: &HttpCheck, target: &Target) -> io::Result<Answer> {
        let exchanged = self.exchange(&check.send, body_bytes(check), target);
        let Response {
            status,
            headers,
            body,
            ..
        } = exchanged.await?;
        Ok(judge(check, status, &headers, &body))
    }

    /// Sends the request with a body, and reads the response and so many bytes
    /// of its body.
    ///
    /// # Errors
    /// As [`Client::check`].
    pub async fn exchange(
        &mut self,
        body: &[u8],
        wanted: usize,
        target: &Target,
    ) -> io::Result<Response> {
        let request = self.request.clone().ok_or(io::ErrorKind::InvalidInput)?;
        let kept = self.connection.take();
        let kept =
            kept.filter(|kept| kept.goes_away.borrow().is_none() && !kept.task.is_finished());
        let connection = match kept {
            Some(connection) => connection,
            None => Connection::open(Socket::connect(target).await?).await?,
        };
        let mut goes_away = connection.goes_away.clone();
        let answer = {
            let mut asked = pin!(ask(&connection.sender, request, body, wanted));
            tokio::select! {
                answer = &mut asked => answer?,
                reason = announced(&mut goes_away) => match reason {
                    // It answers what it has begun to, and nothing else.
                    Some(Reason::NO_ERROR) => asked.await?,
                    Some(_) | None => return Err(io::ErrorKind::ConnectionAborted.into()),
                },
            }
        };
        self.connection = Some(connection);
        Ok(answer)
    }
}

impl Connection {
    async fn open(socket: Socket) -> io::Result<Self> {
        let transport = socket.into_transport();
        let (sender, mut connection) = handshake(transport).await.map_err(broken)?;
        let (tell, goes_away) = watch::channel(None);
        let mut probe = sender.clone();
        let running = async move {
            poll_fn(|cx| {
                let over = Future::poll(Pin::new(&mut connection), cx);
                // What the host announced is an error of what would be sent next.
                if let Poll::Ready(Err(error)) = probe.poll_ready(cx)
                    && error.is_go_away()
                    && let Some(reason) = error.reason()
                {
                    tell.send_if_modified(|told| told.replace(reason).is_none());
                }
                over.map(|_| ())
            })
            .await;
        };
        Ok(Self {
            sender,
            goes_away,
            task: tokio::spawn(running).abort_handle(),
        })
    }
}

/// Waits until the host announces the end of the connection; `None` when it
/// ends without.
async fn announced(goes_away: &mut watch::Receiver<Option<Reason>>) -> Option<Reason> {
    let said = goes_away.wait_for(Option::is_some).await;
    said.ok().and_then(|said| *said)
}

/// A response as far as it matters.
pub(super) struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    /// The first part of the body.
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

async fn ask(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
    wanted: usize,
) -> io::Result<Response> {
    let mut ready = sender.clone().ready().await.map_err(broken)?;
    let is_whole = body.is_empty();
    let (response, mut rest) = ready.send_request(request, is_whole).map_err(broken)?;
    if !is_whole {
        let data = Bytes::copy_from_slice(body);
        rest.send_data(data, true).map_err(broken)?;
    }
    let response = response.await.map_err(broken)?;
    let (head, mut body) = response.into_parts();
    let received = read(&mut body, wanted).await?;
    let fields = body.trailers().await.map_err(broken)?;
    let mut trailers = HeaderMap::new();
    if let Some(fields) = &fields {
        read_trailers(fields, &mut trailers);
    }
    let mut headers = HeaderMap::new();
    read_response(&head.headers, &mut headers);
    Ok(Response {
        status: head.status.as_u16(),
        headers,
        body: received,
        trailers,
    })
}

/// Reads to the end, and keeps what fits into `wanted` bytes.
async fn read(body: &mut RecvStream, wanted: usize) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(broken)?;
        let room = wanted.saturating_sub(received.len());
        received.extend_from_slice(&data[..data.len().min(room)]);
        let flow = body.flow_control();
        flow.release_capacity(data.len()).map_err(broken)?;
    }
    Ok(received)
}

/// The request with its authority. What is no authority for an URI is sent as
/// the host instead, which means the same.
fn request(
    headers: &HeaderMap,
    authority: &str,
    scheme: Scheme,
) -> Result<Request<()>, http::Error> {
    let path = headers.get(HeaderId::Path).unwrap_or_default();
    let method = headers.get(HeaderId::Method).unwrap_or_default();
    let uri = Uri::builder().path_and_query(path);
    let mut request = Request::builder().method(Method::from_bytes(method)?);
    request = match Authority::try_from(authority) {
        Ok(authority) => {
            let uri = uri.scheme(scheme).authority(authority);
            request.version(Version::HTTP_2).uri(uri.build()?)
        }
        // The version is of what is passed on; it is sent as HTTP/2 all the same.
        Err(_) => {
            let request = request.version(Version::HTTP_11).uri(uri.build()?);
            request.header(http::header::HOST, authority)
        }
    };
    for (name, value) in headers.iter() {
        if !name.as_bytes().starts_with(b":") {
            request = request.header(name.as_bytes(), value);
        }
    }
    request.body(())
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
