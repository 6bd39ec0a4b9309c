//! An instance that speaks no HTTP: it says its name on each connection and then repeats what it hears.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::Callboard;

/// What the instance does with a connection.
#[derive(Clone)]
pub(crate) enum Manner {
    /// Says its name and a line's end, then repeats what it hears.
    Repeats,
    /// The same over TLS.
    Secured(TlsAcceptor),
    /// Listens until the other side has ended, and then says how many bytes that were.
    Counts,
    /// Resets a connection once something is said on it.
    Resets,
}

/// The instance; its connections are reset when it is dropped.
pub(crate) struct Talker {
    pub(crate) id: String,
    pub(crate) port: u16,
    open: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
    work: AbortHandle,
}

impl Talker {
    pub(crate) async fn start(id: &str) -> Self {
        Self::with_manner(id, Manner::Repeats).await
    }

    pub(crate) async fn with_manner(id: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicUsize::new(0));
        let heard = Arc::default();
        let shared = (id.to_owned(), Arc::clone(&open), Arc::clone(&heard));
        let work = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (id, open, heard) = shared.clone();
                let manner = manner.clone();
                connections.spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    let _ = talk(stream, &id, manner, &heard).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            id: id.to_owned(),
            port,
            open,
            heard,
            work: work.abort_handle(),
        }
    }

    /// How many connections it has.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// All it has heard on all connections.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn talk(
    stream: TcpStream,
    id: &str,
    manner: Manner,
    heard: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    match manner {
        Manner::Repeats => repeat(stream, id, heard).await,
        Manner::Secured(acceptor) => repeat(acceptor.accept(stream).await?, id, heard).await,
        Manner::Counts => {
            let mut stream = stream;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await?;
            stream.write_all(all.len().to_string().as_bytes()).await
        }
        Manner::Resets => {
            let mut stream = stream;
            stream.read_u8().await?;
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
        }
    }
}

async fn repeat(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    id: &str,
    heard: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    stream.write_all(format!("{id}\n").as_bytes()).await?;
    stream.flush().await?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return stream.shutdown().await;
        }
        {
            let mut heard = heard.lock().unwrap();
            // Enough to see how it began.
            if heard.len() < 4_096 {
                heard.extend_from_slice(&buffer[..length]);
            }
        }
        stream.write_all(&buffer[..length]).await?;
        stream.flush().await?;
    }
}

impl Callboard {
    /// Registers whatever listens on `port` for `service`, without a check, with `extra` fields.
    pub(crate) async fn register_port(&self, service: &str, id: &str, port: u16, extra: Value) {
        let url = self.api(&format!("/services/{service}/instances/{id}"));
        let mut body =
            json!({"address": "127.0.0.1", "port": port, "scheme": "tcp", "check": "off"});
        let fields = extra.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        let reply = self.client.put(url).json(&body).send().await.unwrap();
        assert!(reply.status().is_success(), "{:?}", reply.text().await);
    }

    /// Registers `talker` for `service`.
    pub(crate) async fn register_talker(&self, service: &str, talker: &Talker) {
        self.register_port(service, &talker.id, talker.port, json!({}))
            .await;
    }

    /// What the registry says of this instance's availability.
    pub(crate) async fn availability(&self, service: &str, id: &str) -> String {
        let url = self.api(&format!("/services/{service}/instances/{id}"));
        let reply = self.client.get(url).send().await.unwrap();
        let now: Value = reply.json().await.unwrap();
        now["availability"].as_str().unwrap().to_owned()
    }

    /// A connection to the listener with this number.
    pub(crate) async fn dial(&self, listener: usize) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port(listener)))
            .await
            .unwrap()
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.registry);
        let reply = self.client.get(url).send().await.unwrap();
        reply.text().await.unwrap()
    }
}

/// The first line that comes; nothing when the connection ends or breaks before it.
pub(crate) async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        if byte == b'\n' {
            break;
        }
        line.push(byte);
    }
    String::from_utf8(line).unwrap()
}

/// Sends `text` and reads as much back.
pub(crate) async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.unwrap();
    String::from_utf8(back).unwrap()
}
