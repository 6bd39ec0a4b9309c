//! Clients' connections, from the moment they are accepted to their last byte.
//!
//! [`http1`] reads the head of each request itself, under a deadline for all of it and limits of its
//! size, and refuses what could be understood in two ways; a whole head goes to Pingora, which reads
//! the body through [`client`]. Whatever is wrong before there is a request gets callboard's own
//! answer. The connection ends as [`closing`] describes.

mod alarm;
mod client;
mod closing;
mod fields;
mod framing;
mod head;
mod http1;
mod pace;
mod plain;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use log::debug;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, Session, http_proxy};
use tokio::net::TcpStream;

use super::gate::Gate;
use super::watchdog::watched;
use super::{DataPlane, Settings};

pub(super) use client::Client;

/// What serves clients' connections.
pub struct Connections {
    proxy: Arc<HttpProxy<DataPlane>>,
    settings: Arc<ArcSwap<Settings>>,
    gate: Arc<Gate>,
    closing: ShutdownWatch,
}

impl Connections {
    /// Serves connections with `data_plane`, whose gate counts them. Once `closing` is true, each gets
    /// at most one more request and says so in the answer.
    pub fn new(conf: &Arc<ServerConf>, data_plane: DataPlane, closing: ShutdownWatch) -> Arc<Self> {
        Arc::new(Self {
            settings: Arc::clone(&data_plane.settings),
            gate: Arc::clone(&data_plane.gate),
            proxy: Arc::new(http_proxy(conf, data_plane)),
            closing,
        })
    }

    /// The gate that counts them.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Serves a connection that was accepted from `peer` until it ends. Whoever accepted it counts it
    /// at the gate.
    pub async fn serve(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let stream: Stream = match plain::Plain::new(stream, peer) {
            Ok(stream) => Box::new(stream),
            Err(error) => return debug!("{peer} left before it was served: {error}"),
        };
        watched(http1::serve(self, stream)).await;
    }
}

/// The connection that a request came on.
pub(super) fn of(session: &Session) -> Option<&Client> {
    let stream = session.as_downstream().stream()?;
    stream.as_ref().as_any().downcast_ref()
}
