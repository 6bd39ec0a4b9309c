//! What the proxies have behind them: a listener in this process.

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listener;
use crate::load::websocket::{self, ACCEPTED};
use crate::workload::{LARGE, SMALL};

/// Room for a head and the longest body that comes.
const BUFFER: usize = 32 << 10;

/// Answers for as long as the runtime lives, on the port that is returned.
pub(crate) async fn serve() -> u16 {
    listener::serve(answer).await
}

/// Answers one request after the other, until the connection ends or says what nobody should.
async fn answer(mut stream: TcpStream) -> Option<()> {
    let (small, large) = (whole(SMALL), whole(LARGE));
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut filled = 0;
        let end = loop {
            filled += read(&mut stream, &mut buffer[filled..]).await?;
            if let Some(end) = memmem::find(&buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = &buffer[..end];
        if head.starts_with(b"GET /socket") {
            stream.write_all(ACCEPTED.as_bytes()).await.ok()?;
            return websocket::echo(&mut stream, &mut buffer).await;
        }
        let answer = match head.starts_with(b"GET /large") {
            true => &large,
            false => &small,
        };
        let body = if head.starts_with(b"POST") {
            length(head)?
        } else {
            0
        };
        while filled < end + body {
            filled += read(&mut stream, &mut buffer[filled..]).await?;
        }
        if filled > end + body {
            return None;
        }
        stream.write_all(answer).await.ok()?;
    }
}

/// An answer with a body of so many bytes.
fn whole(length: usize) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

/// How long a request's body is.
fn length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    })
}

async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<usize> {
    let count = stream.read(buffer).await.ok()?;
    (count > 0).then_some(count)
}
