//! An instance that speaks HTTP/2, with prior knowledge or over TLS, and HTTP/1.1 over TLS to whoever
//! does not ask for HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::Callboard;

/// The instance; its connections end with it. What it does depends on the path's last segment:
///
/// - `held` waits for [`Http2Instance::release`], `stuck` for ever,
/// - `half` answers with a head, a piece and silence; `deaf` does not read its body,
/// - `refused` is refused unseen the first time,
/// - `trailers` ends with some; `nothing` is a 204; `flood` sends a body without end,
/// - `swallow` reads its body and says how long it was; anything else is echoed.
pub(crate) struct Http2Instance {
    pub(crate) id: String,
    pub(crate) port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

pub(crate) struct State {
    id: String,
    connections: AtomicUsize,
    hits: AtomicUsize,
    waiting: AtomicUsize,
    resets: AtomicUsize,
    refusals: AtomicUsize,
    sent: AtomicUsize,
    releases: Semaphore,
    leave: Notify,
}

impl Http2Instance {
    /// With prior knowledge.
    pub(crate) async fn clear(id: &str) -> Self {
        Self::start(id, None).await
    }

    /// Over TLS as `config` says.
    pub(crate) async fn secured(id: &str, config: ServerConfig) -> Self {
        Self::start(id, Some(config)).await
    }

    async fn start(id: &str, config: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            id: id.to_owned(),
            connections: AtomicUsize::new(0),
            hits: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            resets: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            releases: Semaphore::new(0),
            leave: Notify::new(),
        });
        let shared = state.clone();
        let acceptor = config.map(|config| TlsAcceptor::from(Arc::new(config)));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (shared.clone(), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => serve(state, stream).await,
                        Some(acceptor) => secured(state, acceptor, stream).await,
                    }
                });
            }
        });
        Self {
            id: id.to_owned(),
            port,
            state,
            accepting,
        }
    }

    /// How many connections there were on which a request could be sent.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many requests it looked at.
    pub(crate) fn hits(&self) -> usize {
        self.state.hits.load(Ordering::SeqCst)
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::SeqCst)
    }

    /// How many requests were reset while they waited.
    pub(crate) fn resets(&self) -> usize {
        self.state.resets.load(Ordering::SeqCst)
    }

    /// How many bytes `flood` could send.
    pub(crate) fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Answers `count` of the requests held.
    pub(crate) fn release(&self, count: usize) {
        self.state.releases.add_permits(count);
    }

    /// Closes its connections once what they carry is answered.
    pub(crate) fn leave(&self) {
        self.state.leave.notify_waiters();
    }

    /// Ends all connections and the listener.
    pub(crate) fn kill(&self) {
        self.accepting.abort();
    }
}

impl Drop for Http2Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Callboard {
    /// Registers `instance` for `service`; `scheme` is what it is said to speak.
    pub(crate) async fn register_http2(
        &self,
        service: &str,
        instance: &Http2Instance,
        scheme: &str,
    ) -> reqwest::Response {
        let url = self.api(&format!("/services/{service}/instances/{}", instance.id));
        let body = json!({"address": "127.0.0.1", "port": instance.port, "scheme": scheme});
        let reply = self.client.put(url).json(&body).send().await.unwrap();
        assert!(reply.status().is_success(), "{reply:?}");
        reply
    }
}

async fn secured(state: Arc<State>, acceptor: TlsAcceptor, stream: TcpStream) {
    let stream = match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => stream,
        Err((_, mut stream)) => {
            // Closed with something unread, the connection would be reset, and the alert be lost.
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            return;
        }
    };
    let session = stream.get_ref().1;
    if session.alpn_protocol() == Some(b"h2") {
        return serve(state, stream).await;
    }
    state.connections.fetch_add(1, Ordering::SeqCst);
    let shown = session.peer_certificates().is_some();
    let name = session.server_name().unwrap_or_default().to_owned();
    let answer = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        state.hits.fetch_add(1, Ordering::SeqCst);
        let (head, _) = request.into_parts();
        let mut echo = echo(&state.id, &head, 0);
        echo["certificate"] = json!(shown);
        echo["server_name"] = json!(name);
        async move {
            let body = http_body_util::Full::new(Bytes::from(echo.to_string()));
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn serve(state: Arc<State>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    state.connections.fetch_add(1, Ordering::SeqCst);
    let mut streams = tokio::task::JoinSet::new();
    let left = state.leave.notified();
    tokio::pin!(left);
    let mut leaving = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = &mut left, if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            break;
        };
        streams.spawn(answer(state.clone(), request, respond));
    }
    while streams.join_next().await.is_some() {}
}

async fn answer(
    state: Arc<State>,
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let what = head.uri.path().rsplit('/').next().unwrap_or_default();
    if what == "refused" && state.refusals.fetch_add(1, Ordering::SeqCst) == 0 {
        respond.send_reset(Reason::REFUSED_STREAM);
        return None;
    }
    state.hits.fetch_add(1, Ordering::SeqCst);
    match what {
        "held" | "stuck" | "deaf" => {
            state.waiting.fetch_add(1, Ordering::SeqCst);
            let released = async {
                if what == "held" {
                    state.releases.acquire().await.unwrap().forget();
                } else {
                    std::future::pending::<()>().await;
                }
            };
            let reset = tokio::select! {
                () = released => false,
                _ = std::future::poll_fn(|context| respond.poll_reset(context)) => true,
            };
            state.waiting.fetch_sub(1, Ordering::SeqCst);
            if reset {
                state.resets.fetch_add(1, Ordering::SeqCst);
                return None;
            }
        }
        _ => {}
    }
    let mut length = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        length += piece.len();
        body.flow_control().release_capacity(piece.len()).ok()?;
    }
    let mut response = Response::builder();
    if what == "nothing" {
        response = response.status(204);
    }
    let ends = what == "nothing" || head.method == http::Method::HEAD;
    let mut send = respond
        .send_response(response.body(()).unwrap(), ends)
        .ok()?;
    if ends {
        return Some(());
    }
    let echo = echo(&state.id, &head, length).to_string();
    match what {
        "half" => {
            send.send_data(Bytes::from_static(b"half"), false).ok()?;
            let reset = std::future::poll_fn(|context| send.poll_reset(context)).await;
            state.resets.fetch_add(1, Ordering::SeqCst);
            reset.ok()?;
        }
        "flood" => loop {
            send.reserve_capacity(16 << 10);
            let capacity = std::future::poll_fn(|context| send.poll_capacity(context)).await;
            let length = capacity?.ok()?;
            state.sent.fetch_add(length, Ordering::SeqCst);
            send.send_data(Bytes::from(vec![b'x'; length]), false)
                .ok()?;
        },
        "trailers" => {
            send.send_data(Bytes::from(echo), false).ok()?;
            let mut trailers = HeaderMap::new();
            trailers.insert("x-trailer", http::HeaderValue::from_static("yes"));
            send.send_trailers(trailers).ok()?;
        }
        _ => send.send_data(Bytes::from(echo), true).ok()?,
    }
    Some(())
}

fn echo(id: &str, head: &http::request::Parts, length: usize) -> serde_json::Value {
    let headers: serde_json::Map<_, _> = head
        .headers
        .keys()
        .map(|name| {
            let values: Vec<_> = head.headers.get_all(name).iter().collect();
            let values: Vec<_> = values.iter().map(|v| v.to_str().unwrap()).collect();
            (name.to_string(), json!(values.join("|")))
        })
        .collect();
    json!({
        "id": id,
        "version": format!("{:?}", head.version),
        "uri": head.uri.to_string(),
        "headers": headers,
        "length": length,
    })
}
