//! Connections that switched protocols, with a test at both ends.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::wire::{connect, read_head};
use super::{Callboard, eventually};

/// A Close frame that says "going away", as a server sends it.
pub(crate) const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];
/// A client's answer to it, with a mask of zeros.
pub(crate) const GONE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// An instance that agrees to every switch, and then is the test's.
pub(crate) struct Switching {
    pub(crate) id: String,
    listener: TcpListener,
}

impl Switching {
    /// An instance of `service`.
    pub(crate) async fn start(callboard: &Callboard, service: &str, id: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = callboard.api(&format!("/services/{service}/instances/{id}"));
        let body = json!({"address": "127.0.0.1", "port": port, "check": "off"});
        let reply = callboard.client.put(url).json(&body).send().await.unwrap();
        assert!(reply.status().is_success(), "{reply:?}");
        Self {
            id: id.to_owned(),
            listener,
        }
    }

    /// A switch to `protocol` that a client of `service` asks for: both ends of it.
    pub(crate) async fn switch(
        &self,
        callboard: &Callboard,
        service: &str,
        protocol: &str,
    ) -> (TcpStream, TcpStream) {
        let request = ask(service, protocol);
        self.switch_by(callboard, &request, protocol).await
    }

    /// As [`Self::switch`], asked for by this request.
    pub(crate) async fn switch_by(
        &self,
        callboard: &Callboard,
        request: &str,
        protocol: &str,
    ) -> (TcpStream, TcpStream) {
        let mut client = connect(callboard).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut instance, _) = self.listener.accept().await.unwrap();
        let head = read_head(&mut instance).await.to_ascii_lowercase();
        assert!(
            head.contains(&format!("\r\nupgrade: {protocol}\r\n")),
            "{head}"
        );
        instance
            .write_all(agree(protocol).as_bytes())
            .await
            .unwrap();
        let head = read_head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        (client, instance)
    }
}

impl Callboard {
    /// What the registry says of an instance.
    pub(crate) async fn described(&self, service: &str, id: &str) -> Value {
        let url = self.api(&format!("/services/{service}/instances/{id}"));
        let reply = self.client.get(url).send().await.unwrap();
        reply.json().await.unwrap_or_default()
    }

    /// Waits until an instance has so many requests in hand.
    pub(crate) async fn until_in_flight(&self, service: &str, id: &str, count: u64) {
        eventually(&format!("{count} are in flight"), || async {
            let now = self.described(service, id).await;
            (now["in_flight"] == count).then_some(())
        })
        .await;
    }
}

pub(crate) fn ask(service: &str, protocol: &str) -> String {
    format!(
        "GET /{service}/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    )
}

pub(crate) fn agree(protocol: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    )
}

/// Asserts that `bytes` go from one end to the other.
pub(crate) async fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.unwrap();
    hears(to, bytes).await;
}

/// Asserts that these are the next bytes.
pub(crate) async fn hears(end: &mut TcpStream, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    let read = timeout(Duration::from_secs(40), end.read_exact(&mut heard));
    read.await.expect("nothing comes").unwrap();
    assert_eq!(heard, bytes);
}

/// Asserts that the next bytes are a masked Close frame that says "going away".
pub(crate) async fn hears_masked_goodbye(end: &mut TcpStream) {
    let mut frame = [0; 8];
    let read = timeout(Duration::from_secs(40), end.read_exact(&mut frame));
    read.await.expect("nothing comes").unwrap();
    assert_eq!(frame[..2], [0x88, 0x82]);
    assert_eq!([frame[6] ^ frame[2], frame[7] ^ frame[3]], [0x03, 0xe9]);
}

/// Asserts that nothing more comes but the end, be it a broken one.
pub(crate) async fn ends(end: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(Duration::from_secs(40), end.read_to_end(&mut rest));
    let _ = read.await.expect("the connection stays open");
    assert!(rest.is_empty(), "{rest:?}");
}
