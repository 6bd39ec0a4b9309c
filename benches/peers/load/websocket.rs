//! WebSockets: an echo, of messages of one length.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Target;
use crate::workload::SMALL;

/// What who agrees to a WebSocket answers to the key in [`ASK`].
pub(crate) const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// The request for one.
pub(crate) const ASK: &str = "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A binary message of [`SMALL`] bytes: its header, with the length in two bytes, and a client's mask.
const HEADER: [u8; 4] = [0x82, 0x7e, 0, SMALL as u8];
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0; 4];
const SENT: usize = HEADER.len() + MASK.len() + SMALL;
const ECHOED: usize = HEADER.len() + SMALL;

/// A client's end.
pub(super) struct WebSocket(TcpStream);

impl WebSocket {
    pub(super) async fn open(target: &Target) -> Result<Self, String> {
        let mut stream = target.tcp().await?;
        let broken = |error| format!("no WebSocket: {error}");
        stream.write_all(ASK.as_bytes()).await.map_err(broken)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.map_err(broken)?);
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let head = String::from_utf8_lossy(&head);
            return Err(format!("no WebSocket: {head}"));
        }
        Ok(Self(stream))
    }

    /// Sends a message and waits for it to come back.
    pub(super) async fn exchange(&mut self) -> Result<bool, String> {
        let broken = |error| format!("the WebSocket broke: {error}");
        let mut message = [b'x'; SENT];
        message[..HEADER.len()].copy_from_slice(&HEADER);
        message[1] |= MASKED;
        message[HEADER.len()..][..MASK.len()].copy_from_slice(&MASK);
        self.0.write_all(&message).await.map_err(broken)?;
        // Room for more than is to come says that the last of it has come.
        let (mut echo, mut filled) = ([0; ECHOED + 1], 0);
        while filled < ECHOED {
            match self.0.read(&mut echo[filled..]).await.map_err(broken)? {
                0 => return Err("the WebSocket ended".to_owned()),
                count => filled += count,
            }
        }
        let is_echo = filled == ECHOED && echo.starts_with(&HEADER);
        is_echo.then_some(true).ok_or("not the echo".to_owned())
    }
}

/// The other end: sends every message back.
pub(crate) async fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<()> {
    let mut echo = [b'x'; ECHOED];
    echo[..HEADER.len()].copy_from_slice(&HEADER);
    loop {
        let mut filled = 0;
        while filled < SENT {
            match stream.read(&mut buffer[filled..]).await.ok()? {
                0 => return None,
                count => filled += count,
            }
        }
        if filled > SENT {
            return None;
        }
        stream.write_all(&echo).await.ok()?;
    }
}
