//! Clients that call one service in a closed loop: each sends its next request when the last was
//! answered, and a little later. Nothing is tried again on their side.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer;
use super::http::{Broken, Connection, PATIENCE, Reply, request};
use super::tally::{Failure, Kind, Tally};

/// What a client waits between an answer and its next request, so that the machine is busy with
/// callboard and not with its callers.
const PAUSE: Duration = Duration::from_millis(2);

/// What a load is put on.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// callboard's data plane.
    pub(super) proxy: SocketAddr,
    /// The service that is called.
    pub(super) service: String,
    /// How many clients call it.
    pub(super) clients: usize,
    /// When the scenario began.
    pub(super) began: Instant,
    /// Numbers the scenario's requests.
    pub(super) tags: Arc<AtomicU64>,
}

/// Clients at work.
pub(super) struct Load {
    clients: JoinSet<()>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

struct Shared {
    target: Target,
    tally: Mutex<Tally>,
    phase: Mutex<String>,
}

impl Load {
    /// Sets the clients to work.
    pub(super) fn start(target: Target) -> Self {
        let (stop, stopped) = watch::channel(false);
        let clients = target.clients;
        let shared = Arc::new(Shared {
            target,
            tally: Mutex::default(),
            phase: Mutex::new("before the first replacement".to_owned()),
        });
        let mut set = JoinSet::new();
        for kind in Kind::ALL.into_iter().cycle().take(clients) {
            set.spawn(run(Arc::clone(&shared), kind, stopped.clone()));
        }
        Self {
            clients: set,
            shared,
            stop,
        }
    }

    /// Says what the scenario does from now on, for those who read of failures.
    pub(super) fn phase(&self, phase: String) {
        *lock(&self.shared.phase) = phase;
    }

    /// How many requests there have been.
    pub(super) fn requests(&self) -> u64 {
        let tally = lock(&self.shared.tally);
        Kind::ALL.into_iter().map(|kind| tally.sent(kind)).sum()
    }

    /// Lets the clients finish what they began, and gives the account.
    pub(super) async fn stop(mut self) -> Tally {
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
        std::mem::take(&mut *lock(&self.shared.tally))
    }
}

/// One client's requests.
async fn run(shared: Arc<Shared>, kind: Kind, stopped: watch::Receiver<bool>) {
    let mut client = Client {
        shared: &shared,
        kind,
        kept: None,
    };
    while !*stopped.borrow() {
        client.ask().await;
        sleep(PAUSE).await;
    }
}

struct Client<'a> {
    shared: &'a Shared,
    kind: Kind,
    kept: Option<Connection>,
}

impl Client<'_> {
    async fn ask(&mut self) {
        let tag = self.shared.target.tags.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let saw = match timeout(PATIENCE, self.exchange(tag)).await {
            Ok(Ok(reply)) => judge(&reply, &self.shared.target.service, tag),
            Ok(Err(saw)) => Err(saw),
            Err(_) => Err(format!("no answer within {}s", PATIENCE.as_secs())),
        };
        let mut tally = lock(&self.shared.tally);
        match saw {
            Ok(()) => tally.answered(self.kind, begun.elapsed()),
            Err(saw) => {
                let at = self.shared.target.began.elapsed().as_millis();
                tally.failed(Failure {
                    at_ms: u64::try_from(at).unwrap_or(u64::MAX),
                    kind: self.kind,
                    tag,
                    saw,
                    phase: lock(&self.shared.phase).clone(),
                    explained: None,
                });
            }
        }
    }

    async fn exchange(&mut self, tag: u64) -> Result<Reply, String> {
        if let Some(mut connection) = self.kept.take() {
            if !connection.is_closed() {
                match connection.exchange(self.request(tag)).await {
                    Ok(reply) => {
                        self.keep(connection, &reply);
                        return Ok(reply);
                    }
                    Err(Broken::Unsent) => {}
                    Err(Broken::Failed(how)) => return Err(format!("kept connection: {how}")),
                }
            }
            lock(&self.shared.tally).closed();
        }
        let mut connection = Connection::open(self.shared.target.proxy).await?;
        match connection.exchange(self.request(tag)).await {
            Ok(reply) => {
                self.keep(connection, &reply);
                Ok(reply)
            }
            Err(Broken::Unsent) => Err("new connection: closed at once".to_owned()),
            Err(Broken::Failed(how)) => Err(format!("new connection: {how}")),
        }
    }

    fn keep(&mut self, connection: Connection, reply: &Reply) {
        if !self.kind.keeps() {
            return;
        }
        if reply.is_last() {
            lock(&self.shared.tally).closed();
        } else {
            self.kept = Some(connection);
        }
    }

    fn request(&self, tag: u64) -> http::Request<http_body_util::Full<Bytes>> {
        let target = &self.shared.target;
        let (method, body) = match self.kind.is_repeatable() {
            true => (Method::GET, Bytes::new()),
            false => (Method::POST, answer::payload(tag).into()),
        };
        let path = format!("/{}{}", target.service, answer::path(tag));
        request(target.proxy, method, &path, body)
    }
}

/// Whether a reply is what was asked for; the error says what it is instead.
fn judge(reply: &Reply, service: &str, tag: u64) -> Result<(), String> {
    if reply.status == StatusCode::OK {
        return answer::check(&reply.body, service, tag);
    }
    let why = reply.headers.get("proxy-status");
    let why = why.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let why = why.unwrap_or_else(|| String::from_utf8_lossy(&reply.body));
    Err(format!("{} {why}", reply.status.as_u16()))
}

/// Nothing panics while it holds one of these locks, and what it guards stays whole if it did.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
