//! Clients of HTTP/2: one that speaks it well, and one that speaks it frame by frame.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Callboard;
use super::wire::connect;

/// One connection of a client that speaks HTTP/2 well.
#[derive(Clone)]
pub(crate) struct Http2(SendRequest<Bytes>);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http2 {
    /// Connects to the data plane without any agreement beforehand.
    pub(crate) async fn connect(callboard: &Callboard) -> Self {
        Self::over(connect(callboard).await).await
    }

    /// Speaks over `stream`.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        // Not as many as it likes until it hears of a limit, for then some would be refused.
        let mut client = h2::client::Builder::new();
        let client = client.initial_max_send_streams(100);
        let (send, connection) = client.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self(send)
    }

    /// Begins a request.
    pub(crate) async fn send(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let mut ready = self.0.clone().ready().await?;
        ready.send_request(request, ends)
    }

    /// GETs `path` of host `a`.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, h2::Error> {
        whole(self.send(request("GET", path), true).await?.0).await
    }

    /// POSTs `body` to `path`.
    pub(crate) async fn post(&self, path: &str, body: Bytes) -> Result<Reply, h2::Error> {
        let (reply, mut sending) = self.send(request("POST", path), false).await?;
        let feeding = feed(&mut sending, body);
        // An answer may come before all was sent.
        let (reply, _) = tokio::join!(whole(reply), feeding);
        reply
    }
}

/// Sends all of `body`, as fast as it is taken.
pub(crate) async fn feed(
    sending: &mut h2::SendStream<Bytes>,
    mut body: Bytes,
) -> Result<(), h2::Error> {
    while !body.is_empty() {
        sending.reserve_capacity(body.len());
        let room = std::future::poll_fn(|context| sending.poll_capacity(context)).await;
        let Some(room) = room.transpose()? else {
            return Ok(());
        };
        sending.send_data(body.split_to(room.min(body.len())), false)?;
    }
    sending.send_data(Bytes::new(), true)
}

/// A request for `path` of host `a`.
pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    let request = Request::builder().method(method);
    request.uri(format!("http://a{path}")).body(()).unwrap()
}

/// Reads an answer to its end.
pub(crate) async fn whole(reply: ResponseFuture) -> Result<Reply, h2::Error> {
    let (head, mut body) = reply.await?.into_parts();
    let mut read = Vec::new();
    while let Some(piece) = body.data().await.transpose()? {
        read.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: read.into(),
        trailers: body.trailers().await?,
    })
}

/// What a connection of HTTP/2 begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame (RFC 9113, section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A block of fields, none of them compressed (RFC 7541, section 6.2.2).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The fields of a request for `path`.
pub(crate) fn head(method: &str, path: &str) -> Vec<u8> {
    fields(&[
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
    ])
}

/// A GET of `path`, whole.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &head("GET", path),
    )
}

/// A connection of a client that speaks frame by frame.
pub(crate) struct Frames(pub(crate) TcpStream);

impl Frames {
    /// Connects, and says `settings` after the preface.
    pub(crate) async fn connect(callboard: &Callboard, settings: &[u8]) -> Self {
        let mut stream = connect(callboard).await;
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
        stream.write_all(&hello).await.unwrap();
        Self(stream)
    }

    /// Sends these bytes, which the other side may not stay for.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` when the connection ends or breaks.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The next frame that is `wanted`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let waiting = async {
            while let Some(frame) = self.next().await {
                if wanted(&frame) {
                    return Some(frame);
                }
            }
            None
        };
        let found = timeout(Duration::from_secs(40), waiting).await.unwrap();
        found.expect("the connection ended before the frame came")
    }

    /// All frames until the connection ends, which it should.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let reading = async {
            while let Some(frame) = self.next().await {
                frames.push(frame);
            }
        };
        let ended = timeout(Duration::from_secs(40), reading).await;
        assert!(ended.is_ok(), "the connection stays open after {frames:?}");
        frames
    }
}

/// The error code of a GOAWAY or RST_STREAM.
pub(crate) fn code(frame: &Frame) -> u32 {
    let at = if frame.kind == GOAWAY { 4 } else { 0 };
    u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap())
}
