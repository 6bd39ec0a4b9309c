//! The control plane's listener: the APIs' router over hyper, with the time limits that keep slow
//! and idle clients from piling up. A handshake has one of its own, so that a client which speaks no
//! TLS, or says nothing, holds its place for seconds only.
//! It can be shut for a while and opened again; meanwhile connections wait.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use log::{debug, error, warn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::door::{Door, Visitor, Visitors};
use super::entrance::Entrance;
use super::listening::{Listener, Listening};
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
/// Where callers over a Unix socket are taken to call from: this machine.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the control plane listens, who may come in, and who wants to know.
pub(super) struct ControlPlane {
    pub(super) socket: Listening,
    pub(super) router: Router,
    pub(super) entrance: Arc<Entrance>,
    pub(super) door: watch::Receiver<Door>,
    /// Told whether nobody is inside because the door is shut. Those who took longer than their grace
    /// do not count.
    pub(super) quiet: watch::Sender<bool>,
    /// Dropped when the last caller is out: a leaving process waits for that.
    pub(super) closing: watch::Receiver<bool>,
}

/// Serves the control plane while its door is open, until that is gone.
pub(super) async fn serve(control_plane: ControlPlane) {
    let ControlPlane {
        socket,
        router,
        entrance,
        mut door,
        quiet,
        closing: _closing,
    } = control_plane;
    let scheme = entrance.tls.as_ref().map_or("http", |_| "https");
    let url = sockets::url(&socket, scheme);
    let listener = match Listener::new(socket) {
        Ok(listener) => listener,
        Err(error) => return error!("the control plane cannot use its socket: {error}"),
    };
    let mut announced = false;
    loop {
        match door.wait_for(|door| *door != Door::Shut).await.as_deref() {
            Ok(Door::Open) => {}
            _ => return,
        }
        quiet.send_replace(false);
        if !announced {
            sockets::announce("registry", &url);
            announced = true;
        }
        let visitors = Visitors::new();
        tokio::select! {
            () = accept(&listener, &visitors, &router, &entrance) => {}
            _ = door.wait_for(|door| *door != Door::Open) => {}
        }
        if *door.borrow() == Door::Gone {
            // Whoever comes now is refused at once instead of waiting for nobody.
            drop(listener);
            return see_off(visitors).await;
        }
        see_off(visitors).await;
        quiet.send_replace(true);
    }
}

async fn see_off(visitors: Visitors) {
    if !visitors.leave(CLOSING_GRACE).await {
        debug!("the control plane closed on requests under way");
    }
}

/// Takes connections in, for as long as it is polled.
async fn accept(listener: &Listener, visitors: &Visitors, router: &Router, entrance: &Entrance) {
    loop {
        let slot = entrance.slots.take().await;
        let accepted = listener.accept().await;
        match accepted {
            Ok((stream, peer)) => {
                let peer = peer.unwrap_or(HERE);
                let visitor = visitors.admit();
                let router = router.clone();
                let tls = entrance.tls.clone();
                tokio::spawn(async move {
                    let _slot = slot;
                    patience::set_up(&stream);
                    let stream = Patient::new(stream, patience::STALLED);
                    match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => connect(stream, peer, router, visitor).await,
                            Err(error) => debug!("no TLS with {peer}: {error}"),
                        },
                        None => connect(stream, peer, router, visitor).await,
                    }
                });
            }
            Err(error) => {
                warn!("the control plane cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it is closed.
async fn connect(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    mut visitor: Visitor,
) {
    let router = TowerToHyperService::new(router);
    let asking = visitor.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.call(request);
        let asking = asking.clone();
        async move {
            let mut answer = answer.await?;
            if asking.is_leaving() {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = visitor.time_is_up() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!("control plane connection from {peer}: {error}");
    }
}
