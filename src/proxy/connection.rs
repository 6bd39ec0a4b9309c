//! Clients' connections, from the moment they are accepted to their last byte.
//!
//! [`http1`] reads the head of each request itself, under a deadline for all of it and limits of its
//! size, and refuses what could be understood in two ways; a whole head goes to Pingora, which reads
//! the body through [`client`]. [`http2`] does the same for the streams of a connection. Whatever is
//! wrong before there is a request gets callboard's own answer. The connection ends as [`closing`]
//! describes.

mod alarm;
mod client;
mod closing;
mod fields;
mod framing;
mod head;
mod http1;
mod http2;
mod pace;
mod proxied;
mod refusals;
pub(super) mod secured;
mod socket;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use log::debug;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, Session, http_proxy};
use tokio::time::timeout;

use super::failure::Failure;
use super::gate::Gate;
use super::lean::{Lean, Pool};
use super::listener::{Listener, Protocol};
use super::tcp::counts::Counts;
use super::tcp::{self, Ends};
use super::watchdog::watched;
use super::{DataPlane, Settings};

use crate::cluster::clusters::Clusters;
use crate::telemetry::Telemetry;
use crate::tls::{self, Identity};

pub(super) use alarm::Alarm;
pub(super) use client::{Client, Parted};
pub(super) use closing::close;
use closing::part;
pub(super) use framing::Chunks;
pub(super) use head::Plain;
pub(super) use http2::Passed;
pub use socket::Socket;
pub(super) use wire::{Wire, has_error, is_broken, unbuffered};

/// What serves clients' connections.
pub struct Connections {
    proxy: Arc<HttpProxy<DataPlane>>,
    lean: Lean,
    pool: Arc<Pool>,
    settings: Arc<ArcSwap<Settings>>,
    gate: Arc<Gate>,
    closing: ShutdownWatch,
    pub(super) telemetry: Arc<Telemetry>,
    /// For what is no HTTP.
    pub(super) clusters: Clusters,
    pub(super) counts: Arc<Counts>,
}

impl Connections {
    /// Serves connections with `data_plane`, whose gate counts them. Once `closing` is true, each gets
    /// at most one more request and says so in the answer.
    /// `counts` has figures of them.
    pub fn new(
        conf: &Arc<ServerConf>,
        data_plane: DataPlane,
        closing: ShutdownWatch,
        counts: Arc<Counts>,
    ) -> Arc<Self> {
        let pool = Arc::new(Pool::new(conf.threads, conf.upstream_keepalive_pool_size));
        Arc::new(Self {
            settings: Arc::clone(&data_plane.settings),
            gate: Arc::clone(&data_plane.gate),
            telemetry: Arc::clone(&data_plane.telemetry),
            clusters: data_plane.clusters.clone(),
            lean: Lean::new(data_plane.clone(), Arc::clone(&pool)),
            pool,
            proxy: Arc::new(http_proxy(conf, data_plane)),
            closing,
            counts,
        })
    }

    /// The gate that counts them.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Looks after the connections that are kept to instances, for as long as it is polled.
    pub async fn keep_house(&self) {
        self.pool.sweep().await;
    }

    /// Serves a connection until it ends. Whoever accepted it counts it at the gate.
    pub async fn serve(self: &Arc<Self>, arrival: Arrival) {
        let Arrival {
            mut socket,
            mut peer,
            listener,
        } = arrival;
        let mut local = socket.local_addr();
        let _open = self.counts.accept(&listener);
        if listener.proxy_protocol {
            let within = self.settings.load().clients.head_timeout;
            match timeout(within, Box::pin(proxied::read(&mut socket))).await {
                Ok(Ok(said)) => {
                    if let Some((client, destination)) = said.ends {
                        (peer, local) = (Some(client), Some(destination));
                    }
                }
                Ok(Err(error)) => return debug!("no PROXY header from {peer:?}: {error}"),
                Err(_) => return debug!("no PROXY header from {peer:?} in time"),
            }
        }
        let ends = Ends {
            client: peer,
            local,
        };
        // Boxed, so that a connection which goes on as something else has no room taken by this.
        let served = match (&listener.protocol, &listener.tls) {
            (Protocol::Tcp(routes), tls) => {
                Box::pin(tcp::serve(self, routes, tls.as_deref(), socket, ends))
                    .await
                    .map(|()| None)
            }
            (Protocol::Http, Some(tls)) => Box::pin(self.speak_tls(tls, socket, peer)).await,
            (Protocol::Http, None) => Box::pin(self.speak(socket, peer)).await,
        };
        match served {
            Ok(Some(parted)) => Box::pin(part(parted)).await,
            Ok(None) => {}
            Err(error) => debug!("a client left before it was served: {error}"),
        }
    }

    /// HTTP in clear text: HTTP/2 if the client begins with its preface, else HTTP/1.
    async fn speak(
        self: &Arc<Self>,
        socket: Socket,
        peer: Option<SocketAddr>,
    ) -> io::Result<Option<Parted>> {
        let stream = Box::new(Wire::plain(socket, peer)?);
        Ok(watched(http1::serve(self, stream)).await)
    }

    /// HTTP over TLS, in the version that was agreed upon.
    async fn speak_tls(
        self: &Arc<Self>,
        tls: &tls::Server,
        mut socket: Socket,
        peer: Option<SocketAddr>,
    ) -> io::Result<Option<Parted>> {
        if secured::is_missing(&mut socket).await? {
            let stream = Box::new(Wire::plain(socket, peer)?);
            http1::refuse(self, stream, Failure::no_tls()).await;
            return Ok(None);
        }
        let secured = secured::accept(tls, socket).await?;
        let speaks_http2 = secured.get_ref().1.alpn_protocol() == Some(tls::HTTP_2);
        let stream = Box::new(Wire::secured(secured, peer)?);
        if speaks_http2 {
            http2::serve(self, stream).await;
            return Ok(None);
        }
        Ok(watched(http1::serve(self, stream)).await)
    }
}

impl Connections {
    /// Counts what is answered to something that was no request.
    fn count_malformed(&self, failure: &Failure) {
        if self.telemetry.settings().metrics.requests {
            self.telemetry.malformed().count(failure.status());
        }
    }
}

/// A connection that was accepted.
pub struct Arrival {
    /// The connection.
    pub socket: Socket,
    /// Where it is from; `None` if it came over a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Where it came in.
    pub listener: Arc<Listener>,
}

/// Refuses a request's body from now on if it is longer than `most` bytes.
pub(super) fn limit_body(session: &Session, most: u64) {
    match of(session) {
        Some(client) => client.limit_body(most),
        None => http2::limit_body(most),
    }
}

/// What the client of a request did wrong while its body came.
pub(super) fn failure(session: &Session) -> Option<Failure> {
    match of(session) {
        Some(client) => client.failure(),
        None => http2::failure(),
    }
}

/// What has passed of the bodies of the request of HTTP/2 that is served by this task.
pub(super) fn passed() -> Passed {
    http2::passed()
}

/// The connection of HTTP/1 that a request came on.
pub(super) fn of(session: &Session) -> Option<&Client> {
    let stream = session.as_downstream().stream()?;
    stream.as_ref().as_any().downcast_ref()
}

/// Whether the request came over TLS.
pub(super) fn is_secured(session: &Session) -> bool {
    let digest = session.as_downstream().digest();
    digest.is_some_and(|digest| digest.ssl_digest.is_some())
}

/// Who sent the request by the certificate that was shown on its connection.
pub(super) fn identity(session: &Session) -> Option<&Identity> {
    let digest = session.as_downstream().digest()?;
    let data = digest.proxy_digest.as_ref()?.user_data.as_ref()?;
    data.downcast_ref()
}
