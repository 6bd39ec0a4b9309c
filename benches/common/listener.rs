//! One listener on all loopback addresses, in this process.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpStream};

/// Lets `answer` have every connection for as long as the runtime lives, on the port that is returned.
pub(crate) async fn serve<A>(answer: fn(TcpStream) -> A) -> u16
where
    A: Future<Output = Option<()>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            // Out of files, say: those that are open go on.
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            if peer.ip().is_loopback() {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(answer(stream));
            }
        }
    });
    port
}
