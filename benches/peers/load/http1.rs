//! HTTP/1.1, and one exchange after the other.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Target;
use crate::workload::Client;

/// More than the heads of answers take.
const HEAD: usize = 4 << 10;
/// More headers than answers have.
const HEADERS: usize = 32;

/// A connection.
pub(super) struct Http1<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    pub(super) fn new(stream: S, target: &Target) -> Self {
        let buffer = vec![0; HEAD + target.body];
        Self { stream, buffer }
    }

    /// Sends the request and waits for the whole answer; whether the connection is good for another.
    pub(super) async fn exchange(&mut self, target: &Target) -> Result<bool, String> {
        let broken = |error| format!("the connection broke: {error}");
        self.stream.write_all(&target.ask).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)?;
        let (mut filled, mut head) = (0, None);
        loop {
            filled += self.read(filled).await?;
            if head.is_none() {
                head = Head::parse(&self.buffer[..filled])?;
            }
            let Some(head) = &head else { continue };
            if head.length != target.body || filled > head.end + target.body {
                let text = String::from_utf8_lossy(&self.buffer[..head.end]);
                return Err(format!("not the answer that was asked for: {text}"));
            }
            if filled == head.end + target.body {
                break;
            }
        }
        if target.client == Client::Fresh {
            // Who is told to close does.
            let rest = self.stream.read(&mut self.buffer).await.map_err(broken)?;
            return if rest == 0 {
                Ok(false)
            } else {
                Err("more than the answer".to_owned())
            };
        }
        Ok(head.is_some_and(|head| head.is_kept))
    }

    async fn read(&mut self, filled: usize) -> Result<usize, String> {
        match self.stream.read(&mut self.buffer[filled..]).await {
            Ok(0) => Err("the connection ended before the answer did".to_owned()),
            Ok(count) => Ok(count),
            Err(error) => Err(format!("the connection broke: {error}")),
        }
    }
}

/// What the head of an answer says.
struct Head {
    end: usize,
    length: usize,
    is_kept: bool,
}

impl Head {
    /// `None` while it is not whole.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(bytes).map_err(|error| error.to_string())?;
        let httparse::Status::Complete(end) = parsed else {
            return Ok(None);
        };
        if answer.code != Some(200) {
            let text = String::from_utf8_lossy(bytes);
            return Err(format!("not 200: {text}"));
        }
        let value = |name: &str| {
            let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
            answer.headers.iter().find(named).map(|header| header.value)
        };
        let length = value("content-length").and_then(|value| std::str::from_utf8(value).ok());
        let length = length.and_then(|value| value.parse().ok());
        Ok(Some(Self {
            end,
            length: length.ok_or("an answer without its length")?,
            is_kept: !value("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close")),
        }))
    }
}
