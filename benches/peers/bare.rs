//! What Pingora costs without callboard: its proxy with nothing but `upstream_peer`, round robin.
//!
//! `bare ENDPOINTS HTTP [HTTPS CERT KEY]`: a file with an address a line, and where it listens.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

// The one that callboard has, so that what differs is callboard.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    endpoints: Vec<SocketAddr>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let endpoint = self.endpoints[turn % self.endpoints.len()];
        Ok(Box::new(HttpPeer::new(endpoint, false, String::new())))
    }
}

fn main() {
    let words: Vec<_> = env::args().skip(1).collect();
    let file = fs::read_to_string(&words[0]).unwrap();
    let endpoints = file.lines().map(|line| line.parse().unwrap()).collect();
    let conf = ServerConf {
        threads: 1,
        // More than any workload has endpoints.
        upstream_keepalive_pool_size: 16_384,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let next = AtomicUsize::new(0);
    let mut service = http_proxy_service(&server.configuration, Bare { endpoints, next });
    service.add_tcp(&words[1]);
    if let [_, _, https, cert, key] = &words[..] {
        let mut tls = TlsSettings::intermediate(cert, key).unwrap();
        tls.enable_h2();
        service.add_tls_with_settings(https, None, tls);
    }
    server.add_service(service);
    server.run_forever();
}
