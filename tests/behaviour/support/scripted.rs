//! An instance that speaks raw TCP and plays a script, to do what no HTTP server would.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Callboard;

/// What the instance does, one after the other, once it has read the head of a request. At the end
/// of the script it reads the next request from the same connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads the body that `Content-Length` announced.
    ReadBody,
    Say(&'static str),
    /// Says the same until the connection breaks, with a pause each time.
    Repeat(&'static str, Duration),
    Pause(Duration),
    Close,
    Reset,
    /// Does nothing until the other side closes.
    Stall,
}

/// The instance.
pub(crate) struct Scripted {
    pub(crate) id: String,
    pub(crate) port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    heads: Mutex<Vec<String>>,
    bodies: Mutex<Vec<String>>,
}

impl Scripted {
    /// Plays the same script for every request.
    pub(crate) async fn always(id: &str, steps: impl Into<Vec<Step>>) -> Self {
        let steps = steps.into();
        Self::start(id, move |_| steps.clone()).await
    }

    /// Plays the script that is made for the request's number on its connection, from 0.
    pub(crate) async fn start(
        id: &str,
        script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let (shared, script) = (seen.clone(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let (seen, script) = (shared.clone(), script.clone());
                tokio::spawn(async move {
                    seen.open.fetch_add(1, Ordering::Relaxed);
                    serve(stream, seen.clone(), script).await;
                    seen.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self {
            id: id.to_owned(),
            port,
            seen,
        }
    }

    /// How many requests it was given.
    pub(crate) fn hits(&self) -> usize {
        self.seen.heads.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// How many of them are open, as far as it has noticed.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::Relaxed)
    }

    /// The heads of the requests, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// The bodies that were read in full.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.seen.bodies.lock().unwrap().clone()
    }
}

impl Callboard {
    /// Registers `instance` for `service`, without a check.
    pub(crate) async fn register_scripted(&self, service: &str, instance: &Scripted) {
        let url = self.api(&format!("/services/{service}/instances/{}", instance.id));
        let body = json!({"address": "127.0.0.1", "port": instance.port, "check": "off"});
        let reply = self.client.put(url).json(&body).send().await.unwrap();
        assert!(reply.status().is_success(), "{reply:?}");
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Seen>,
    script: Arc<impl Fn(usize) -> Vec<Step> + Send + Sync + 'static>,
) {
    for number in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| {
            let length = line.strip_prefix("content-length: ")?;
            length.parse::<usize>().ok()
        });
        seen.heads.lock().unwrap().push(head);
        for step in script(number) {
            let done = match step {
                Step::ReadBody => {
                    let mut body = vec![0; length.unwrap_or(0)];
                    let read = stream.read_exact(&mut body).await;
                    let body = String::from_utf8(body).unwrap();
                    seen.bodies.lock().unwrap().push(body);
                    read.map(|_| ())
                }
                Step::Say(text) => stream.write_all(text.as_bytes()).await,
                Step::Repeat(text, pause) => loop {
                    if let Err(error) = stream.write_all(text.as_bytes()).await {
                        break Err(error);
                    }
                    tokio::time::sleep(pause).await;
                },
                Step::Pause(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Step::Close => return,
                Step::Reset => {
                    let socket = socket2::SockRef::from(&stream);
                    socket.set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                Step::Stall => {
                    let mut rest = [0; 4_096];
                    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                    return;
                }
            };
            if done.is_err() {
                return;
            }
        }
    }
}
