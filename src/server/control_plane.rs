//! The control plane's listener: the APIs' router over hyper, with the time limits that keep slow
//! and idle clients from piling up. A handshake has one of its own, so that a client which speaks no
//! TLS, or says nothing, holds its place for seconds only.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use log::{debug, error, warn};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::entrance::Entrance;
use super::patience::{self, Patient};
use super::sockets;

/// How long a client may take over the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take over the head of a request, and stay idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How much of a request's head is read at most, and how much of a reply waits for its reader besides
/// the chunk that goes beyond it, in bytes. A thousand readers that stopped reading take that much
/// each.
const BUFFER: usize = 32 * 1_024;
/// How long requests under way may take once the control plane closes.
const CLOSING_GRACE: Duration = Duration::from_secs(2);
/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the control plane's `router` on `socket` until `closing` turns true.
pub(super) async fn serve(
    socket: TcpListener,
    router: Router,
    entrance: Arc<Entrance>,
    mut closing: watch::Receiver<bool>,
) {
    let address = sockets::address(&socket);
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return error!("the control plane cannot use its socket: {error}"),
    };
    let connections = GracefulShutdown::new();
    let scheme = entrance.tls().map_or("http", |_| "https");
    sockets::announce("registry", scheme, &address);
    loop {
        let next = async { (entrance.slots.take().await, listener.accept().await) };
        let (slot, accepted) = tokio::select! {
            next = next => next,
            _ = closing.wait_for(|&closing| closing) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connections.watcher();
                let router = router.clone();
                let tls = entrance.tls();
                tokio::spawn(async move {
                    let _slot = slot;
                    patience::set_up(&stream);
                    let stream = Patient::new(stream, patience::STALLED);
                    match tls {
                        Some(tls) => match handshake(stream, tls).await {
                            Ok(stream) => connect(stream, peer, router, connection).await,
                            Err(error) => debug!("no TLS with {peer}: {error}"),
                        },
                        None => connect(stream, peer, router, connection).await,
                    }
                });
            }
            Err(error) => {
                warn!("the control plane cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(CLOSING_GRACE, connections.shutdown())
        .await
        .is_err()
    {
        debug!("the control plane closed on requests under way");
    }
}

/// Agrees on a key with the client.
async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    tls: Arc<ServerConfig>,
) -> io::Result<TlsStream<S>> {
    let handshake = TlsAcceptor::from(tls).accept(stream);
    let finished = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await;
    finished.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Serves one connection until it is closed.
async fn connect(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        debug!("control plane connection from {peer}: {error}");
    }
}
