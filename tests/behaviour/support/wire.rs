//! Clients that speak byte by byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Callboard;

/// A connection to the data plane.
pub(crate) async fn connect(callboard: &Callboard) -> TcpStream {
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// All that comes until the connection ends, or breaks.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    let in_time = timeout(Duration::from_secs(40), stream.read_to_end(&mut reply)).await;
    let reply = String::from_utf8_lossy(&reply).into_owned();
    assert!(in_time.is_ok(), "the connection stays open after {reply:?}");
    reply
}

/// One response with a `Content-Length`; `None` when the connection ends or breaks before its first
/// byte.
pub(crate) async fn read_one(stream: &mut TcpStream) -> Option<String> {
    let head = read_head(stream).await;
    if head.is_empty() {
        return None;
    }
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Some(head + &String::from_utf8_lossy(&body))
}

/// Up to the first empty line; nothing when the connection ends or breaks before the first byte.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

/// What comes back for these bytes on a connection of their own, until that ends.
pub(crate) async fn say(callboard: &Callboard, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(callboard).await;
    // It may be answered and closed before all of it is sent.
    let _ = stream.write_all(bytes.as_ref()).await;
    read_all(&mut stream).await
}

/// Asserts that `reply` is callboard's own last answer on a connection.
pub(crate) fn assert_refusal(reply: &str, status: u16, of: &str) {
    assert!(
        reply.starts_with(&format!("HTTP/1.1 {status} ")),
        "{of}: {reply}"
    );
    for part in [
        "\r\nProxy-Status: callboard; error=http_request_error; details=\"",
        "\r\nConnection: close\r\n",
        "\r\nX-Request-Id: ",
        "\r\nContent-Type: application/problem+json\r\n",
        &format!("\"status\":{status},"),
    ] {
        assert!(reply.contains(part), "{of}: no {part:?} in {reply}");
    }
    assert_eq!(
        reply.matches("\r\nX-Request-Id: ").count(),
        1,
        "{of}: {reply}"
    );
}
