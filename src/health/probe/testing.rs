//! Instances that behave as told, and a sink that remembers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Pace, Sink};
use crate::instance::check::{Check, CheckKind, HttpCheck};

/// Longer than any test needs; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// An instance on a port of its own: `behave` gets every connection with its number, from 0.
pub(super) async fn instance<F>(
    behave: impl Fn(TcpStream, usize) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(behave(stream, number));
        }
    });
    address
}

/// An address where nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Reads one request's head; `None` once the other end has closed.
pub(super) async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers every request on `stream` with the same bytes, until the other end closes.
pub(super) async fn answer_all(mut stream: TcpStream, answer: &'static str) {
    while request(&mut stream).await.is_some() {
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A check so slow that only its first probe and those asked for happen within a test.
pub(super) fn rare(kind: CheckKind) -> Check {
    Check {
        kind,
        interval: Duration::from_secs(10_000),
        timeout: PATIENCE,
        ..Check::default()
    }
}

/// As [`rare`], for an HTTP check of `/health`.
pub(super) fn rare_http() -> Check {
    rare(CheckKind::Http(HttpCheck::new("/health")))
}

/// Remembers every answer and always asks for the same pace.
pub(super) struct Recorder {
    answers: UnboundedSender<Result<(), String>>,
    pace: Pace,
}

pub(super) struct Answers(UnboundedReceiver<Result<(), String>>);

impl Recorder {
    pub(super) fn new(pace: Pace) -> (Arc<Self>, Answers) {
        let (answers, received) = unbounded_channel();
        (Arc::new(Self { answers, pace }), Answers(received))
    }
}

impl Sink for Recorder {
    fn answered(&self, answer: Result<(), String>) -> Pace {
        let _ = self.answers.send(answer);
        self.pace
    }
}

impl Answers {
    /// The next answer; `None` once the sink is gone.
    pub(super) async fn next(&mut self) -> Option<Result<(), String>> {
        tokio::time::timeout(PATIENCE, self.0.recv())
            .await
            .expect("no answer came")
    }
}
