//! A little instance: a listener in this process.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

use std::net::{Ipv4Addr, SocketAddr};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listener;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhere\n";

/// Room for the longest head that comes.
const BUFFER: usize = 2 << 10;

/// Answers every request without a body for as long as the runtime lives, on the port that is returned.
pub(crate) async fn serve() -> u16 {
    listener::serve(answer).await
}

/// Another address of the listener for every number below 16 million.
pub(crate) fn address(number: usize, port: u16) -> SocketAddr {
    let first = Ipv4Addr::LOCALHOST.to_bits();
    let address = Ipv4Addr::from_bits(first + u32::try_from(number).unwrap());
    SocketAddr::from((address, port))
}

/// Whoever leaves, or says what nobody should, is answered no more.
async fn answer(mut stream: TcpStream) -> Option<()> {
    let mut buffer = [0; BUFFER];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await.ok()?;
        if count == 0 {
            return None;
        }
        filled += count;
        if memmem::find(&buffer[..filled], b"\r\n\r\n").is_some() {
            stream.write_all(ANSWER).await.ok()?;
            filled = 0;
        }
    }
}
