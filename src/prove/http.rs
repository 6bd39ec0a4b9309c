//! HTTP/1.1 as the prover needs it: nothing is tried again, and a connection that was closed before a
//! request was written to it is told apart from one that broke under the request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything may take, a connection included.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

/// An answer in full.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection was closed before the request was written to it.
    Unsent,
    /// Anything else, in words.
    Failed(String),
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn open(to: SocketAddr) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("connect: {error}");
        let stream = TcpStream::connect(to).await.map_err(|e| failed(&e))?;
        stream.set_nodelay(true).map_err(|e| failed(&e))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|e| failed(&e))?;
        let driver = tokio::spawn(async move {
            // What breaks a request is told to its sender.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Whether the other side has closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// Any [`Broken`].
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, Broken> {
        if self.sender.ready().await.is_err() {
            return Err(Broken::Unsent);
        }
        let answered = self.sender.try_send_request(request).await;
        let answer = answered.map_err(|mut error| match error.take_message() {
            Some(_) => Broken::Unsent,
            None => Broken::Failed(in_words(&error.into_error())),
        })?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await;
        let body = body.map_err(|error| {
            Broken::Failed(format!("in a {} answer: {}", head.status, in_words(&error)))
        })?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Reply {
    /// Whether the connection ends with this answer.
    pub(super) fn is_last(&self) -> bool {
        self.headers
            .get(header::CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
    }
}

/// A request for `path` with a body.
pub(super) fn request(
    to: SocketAddr,
    method: Method,
    path: &str,
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // What does not parse as a path is asked for as the root, and answered accordingly.
    *request.uri_mut() = path.parse().unwrap_or_default();
    if let Ok(host) = to.to_string().parse() {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

/// One call on a connection of its own.
///
/// # Errors
/// What went wrong, in words.
pub(super) async fn call(
    to: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
    patience: Duration,
) -> Result<Reply, String> {
    let text = body.map(serde_json::Value::to_string).unwrap_or_default();
    let mut request = request(to, method, path, text.into());
    let json = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    let exchange = async {
        let mut connection = Connection::open(to).await?;
        connection
            .exchange(request)
            .await
            .map_err(|broken| match broken {
                Broken::Unsent => "closed before the request was sent".to_owned(),
                Broken::Failed(how) => how,
            })
    };
    match timeout(patience, exchange).await {
        Ok(done) => done.map_err(|error| format!("{to}{path}: {error}")),
        Err(_) => Err(format!("{to}{path}: no answer within {patience:?}")),
    }
}

/// The error with what caused it.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}
