//! The control plane's listener: the APIs' router over hyper, with the time limits that keep slow
//! and idle clients from piling up.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use log::{debug, error, warn};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::patience::{self, Patient};
use super::sockets;

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
pub(super) async fn serve(socket: TcpListener, router: Router, mut closing: watch::Receiver<bool>) {
    let address = sockets::address(&socket);
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return error!("the control plane cannot use its socket: {error}"),
    };
    let connections = GracefulShutdown::new();
    sockets::announce("registry", &address);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|&closing| closing) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connections.watcher();
                let router = router.clone();
                tokio::spawn(async move { connect(stream, peer, router, connection).await });
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

/// Serves one connection until it is closed.
async fn connect(stream: TcpStream, peer: SocketAddr, router: Router, watcher: Watcher) {
    patience::set_up(&stream);
    let stream = Patient::new(stream, patience::STALLED);
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
