//! The data plane as one of Pingora's services, over sockets that are bound already.

use std::net::TcpListener;
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use async_trait::async_trait;
use log::error;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening;
use pingora_proxy::{HttpProxy, http_proxy};

use crate::proxy::DataPlane;
use crate::proxy::watchdog::watched;

use super::sockets;

/// The proxy, its sockets, and the signal that closes them. Pingora's own signal comes too late:
/// it ends the process, and by then the last request must be done.
pub(super) struct Bound {
    proxy: listening::Service<Watched>,
    sockets: Vec<(String, TcpListener)>,
    closing: ShutdownWatch,
    serving: Box<dyn Fn() + Send + Sync>,
}

impl Bound {
    pub(super) fn new(
        conf: &Arc<ServerConf>,
        data_plane: DataPlane,
        sockets: Vec<TcpListener>,
        closing: ShutdownWatch,
        serving: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let watched = Watched(Arc::new(http_proxy(conf, data_plane)));
        let mut proxy = listening::Service::new("proxy".to_owned(), watched);
        let sockets: Vec<_> = sockets
            .into_iter()
            .map(|socket| (sockets::address(&socket), socket))
            .collect();
        for (address, _) in &sockets {
            proxy.add_tcp(address);
        }
        Self {
            proxy,
            sockets,
            closing,
            serving: Box::new(serving),
        }
    }
}

/// The proxy with a watch on each of its connections.
struct Watched(Arc<HttpProxy<DataPlane>>);

#[async_trait]
impl HttpServerApp for Watched {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        watched(self.0.process_new_http(session, shutdown)).await
    }

    async fn http_cleanup(&self) {
        self.0.http_cleanup().await;
    }
}

#[async_trait]
impl Service for Bound {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        _process_ends: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        // Pingora takes a socket it finds in this table instead of binding one.
        let Some(fds) = fds else {
            return error!("the data plane was given no table of sockets and cannot start");
        };
        for (address, socket) in self.sockets.drain(..) {
            sockets::announce("proxy", "http", &address);
            fds.lock().add(address, socket.into_raw_fd());
        }
        (self.serving)();
        self.proxy
            .start_service(Some(fds), self.closing.clone(), listeners_per_fd)
            .await;
    }

    fn name(&self) -> &str {
        self.proxy.name()
    }

    fn threads(&self) -> Option<usize> {
        self.proxy.threads()
    }
}
