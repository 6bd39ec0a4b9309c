//! Playing an exchange: a client and an instance that say byte by byte what they are told to.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::exchange::{Answer, EVIL, Exchange};

/// What the client says last, to see whether it is still listened to: callboard itself answers that.
const LAST: &[u8] = b"GET /nobody/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
/// Longer than an exchange takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between the pieces of what is said, so that they arrive as pieces.
const BREATH: Duration = Duration::from_millis(2);

/// What came of an exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// What the client received.
    pub(super) received: Vec<u8>,
    /// What the instance received.
    pub(super) asked: Vec<Asked>,
    /// Whether the client was left waiting.
    pub(super) is_stuck: bool,
}

/// A request as the instance got it.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Whether all of the body came.
    pub(super) is_whole: bool,
    /// Whether it came on a connection on which more had been said than an answer.
    pub(super) is_after_more: bool,
}

/// An instance, and who plays with it.
pub(super) struct Stage {
    pub(super) port: u16,
    scene: Arc<Mutex<Scene>>,
    /// Changes at the end of each exchange, and with it all connections to the instance.
    number: watch::Sender<u64>,
}

#[derive(Default)]
struct Scene {
    answers: Vec<Answer>,
    asked: Vec<Asked>,
    /// How many requests have come.
    heads: usize,
}

impl Stage {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scene = Arc::<Mutex<Scene>>::default();
        let (number, numbers) = watch::channel(0);
        let shared = Arc::clone(&scene);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (scene, mut numbers) = (Arc::clone(&shared), numbers.clone());
                numbers.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = serve(stream, &scene) => {}
                        _ = numbers.changed() => {}
                    }
                });
            }
        });
        Self {
            port,
            scene,
            number,
        }
    }

    /// Plays `exchange` through the callboard on `port`.
    pub(super) async fn play(&self, port: u16, exchange: &Exchange) -> Outcome {
        *self.scene.lock().unwrap() = Scene {
            answers: exchange.answers.clone(),
            ..Scene::default()
        };
        let mut received = Vec::new();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let speaking = async {
            let mut said = Vec::new();
            for request in &exchange.requests {
                said.extend([&request.head[..], &request.body].concat());
            }
            said.extend(LAST);
            let cuts = exchange.cuts.iter().map(|cut| cut * said.len() / 1_000);
            // It may be answered and closed before all of it is sent.
            let _ = say(&mut writing, &said, cuts).await;
            let _ = writing.shutdown().await;
        };
        let both = async { tokio::join!(speaking, reading.read_to_end(&mut received)) };
        let is_stuck = timeout(PATIENCE, both).await.is_err();
        self.number.send_modify(|number| *number += 1);
        let asked = std::mem::take(&mut self.scene.lock().unwrap().asked);
        Outcome {
            received,
            asked,
            is_stuck,
        }
    }
}

/// Writes `bytes` in pieces that end at `cuts`.
async fn say<W: AsyncWriteExt + Unpin>(
    stream: &mut W,
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> io::Result<()> {
    let mut from = 0;
    for cut in cuts {
        stream.write_all(&bytes[from..cut]).await?;
        from = cut;
        sleep(BREATH).await;
    }
    stream.write_all(&bytes[from..]).await
}

/// Answers the requests of one connection.
async fn serve(mut stream: TcpStream, scene: &Mutex<Scene>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut is_after_more = false;
    loop {
        let mut asked = Asked {
            is_after_more,
            ..Asked::default()
        };
        while !asked.head.ends_with(b"\r\n\r\n") {
            asked.head.push(stream.read_u8().await?);
        }
        let answer = {
            let mut scene = scene.lock().unwrap();
            let answer = scene.answers[scene.heads % scene.answers.len()].clone();
            scene.heads += 1;
            answer
        };
        let is_head = asked.head.starts_with(b"HEAD ");
        let bytes = written(&answer, is_head, mark_of(&asked.head));
        let cut = answer.cut.map(|cut| cut * bytes.len() / 1_000);
        if answer.is_early {
            let said = say(&mut stream, &bytes, cut).await;
            if said.is_err() || answer.closes {
                scene.lock().unwrap().asked.push(asked);
                return said;
            }
        }
        let read = read_body(&mut stream, &mut asked).await;
        scene.lock().unwrap().asked.push(asked);
        read?;
        if !answer.is_early {
            say(&mut stream, &bytes, cut).await?;
        }
        if answer.closes {
            return Ok(());
        }
        is_after_more = answer.has_more;
    }
}

/// What the request says it is.
fn mark_of(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let line = head.split("\r\n").next().unwrap_or_default();
    line.escape_default().to_string().replace(' ', "_")
}

fn written(answer: &Answer, is_head: bool, mark: String) -> Vec<u8> {
    let mark = format!("X-Mark: {mark}\r\n").into_bytes();
    let mut bytes = [&answer.interim[..], &answer.line, &mark, &answer.fields].concat();
    if !is_head {
        bytes.extend(&answer.body);
    }
    if answer.has_more {
        let more = format!("HTTP/1.1 200 OK\r\nX-Mark: {EVIL}\r\nContent-Length: 4\r\n\r\n{EVIL}");
        bytes.extend(more.bytes());
    }
    bytes
}

/// Reads the body that the head announces, and no byte more.
async fn read_body(stream: &mut TcpStream, asked: &mut Asked) -> io::Result<()> {
    let head = String::from_utf8_lossy(&asked.head).to_ascii_lowercase();
    let value = |name: &str| {
        let mut lines = head
            .split("\r\n")
            .filter_map(|line| line.strip_prefix(name));
        let value = lines.next().map(|value| value.trim().to_owned());
        assert!(lines.next().is_none(), "{name} is there twice: {head}");
        value
    };
    let (length, coding) = (value("content-length:"), value("transfer-encoding:"));
    assert!(length.is_none() || coding.is_none(), "two framings: {head}");
    if coding.is_some_and(|coding| coding == "chunked") {
        loop {
            let line = read_line(stream).await?;
            let size = usize::from_str_radix(&line, 16).expect("a chunk begins with its size");
            if size == 0 {
                while !read_line(stream).await?.is_empty() {}
                break;
            }
            take(stream, size, &mut asked.body).await?;
            assert_eq!(read_line(stream).await?, "");
        }
    } else if let Some(length) = length {
        let length = length.parse().expect("a length is a number");
        take(stream, length, &mut asked.body).await?;
    }
    asked.is_whole = true;
    Ok(())
}

async fn take(stream: &mut TcpStream, mut left: usize, into: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 4_096];
    while left > 0 {
        let most = left.min(piece.len());
        let came = stream.read(&mut piece[..most]).await?;
        if came == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into.extend(&piece[..came]);
        left -= came;
    }
    Ok(())
}

async fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await?);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}
