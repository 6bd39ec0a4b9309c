//! The clients: so many lanes, each with one exchange at a time, every answer looked at.

pub(crate) mod changes;
mod http1;
mod http2;
mod pace;
pub(crate) mod websocket;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::workload::{Client, Workload};
use http1::Http1;
use http2::Http2;
use pace::Pace;
use websocket::WebSocket;

/// How long an exchange may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a lane waits after a failure.
const PAUSE: Duration = Duration::from_millis(10);

/// Whom clients ask, and for what.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    /// How TLS is spoken, for clients that do.
    pub(crate) tls: TlsConnector,
    /// A request as it goes over the wire, and how long the answer's body has to be.
    pub(crate) ask: Arc<[u8]>,
    pub(crate) body: usize,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, workload: &Workload, tls: TlsConnector) -> Self {
        Self {
            address,
            client: workload.client,
            tls,
            ask: workload.ask().into(),
            body: workload.answered(),
        }
    }

    async fn tcp(&self) -> Result<TcpStream, String> {
        let connected = TcpStream::connect(self.address).await;
        let stream = connected.map_err(|error| format!("connect: {error}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        Ok(stream)
    }
}

/// What came of exchanges so far.
#[derive(Default)]
pub(crate) struct Tally {
    answered: AtomicU64,
    failed: AtomicU64,
    failure: OnceLock<String>,
    latencies: Mutex<Option<Histogram<u64>>>,
}

impl Tally {
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// What the first failure was.
    pub(crate) fn failure(&self) -> Option<&String> {
        self.failure.get()
    }

    /// From here on latencies are kept; gives those that were.
    pub(crate) fn latencies(&self) -> Option<Histogram<u64>> {
        let fresh = Histogram::new(3).unwrap();
        self.latencies.lock().unwrap().replace(fresh)
    }

    fn count(&self, came: Result<(), String>, due: Option<Instant>) {
        match came {
            Ok(()) => self.answered.fetch_add(1, Ordering::Relaxed),
            Err(failure) => {
                let _ = self.failure.set(failure);
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        if let Some(due) = due
            && let Some(latencies) = &mut *self.latencies.lock().unwrap()
        {
            // It grows as it has to.
            let _ = latencies.record(due.elapsed().as_nanos() as u64);
        }
    }
}

/// Clients at work; they stop when dropped.
pub(crate) struct Clients {
    pub(crate) tally: Arc<Tally>,
    lanes: JoinSet<()>,
}

impl Clients {
    /// So many lanes, each of which asks again as soon as it is answered.
    pub(crate) fn closed(target: &Target, lanes: usize) -> Self {
        Self::start(target, lanes, &Pace::Closed)
    }

    /// So many requests a second come due, whatever has become of the earlier ones.
    pub(crate) fn open(target: &Target, lanes: usize, rate: f64) -> Self {
        let (pace, clock) = pace::open(rate);
        let mut clients = Self::start(target, lanes, &pace);
        clients.lanes.spawn(clock);
        clients
    }

    fn start(target: &Target, lanes: usize, pace: &Pace) -> Self {
        let tally = Arc::new(Tally::default());
        let mut set = JoinSet::new();
        let per_connection = target.client.streams();
        set.spawn(awake());
        for _ in 0..lanes / per_connection {
            let shared = http2::Shared::default();
            for _ in 0..per_connection {
                let lane = lane(target.clone(), shared.clone(), pace.clone(), tally.clone());
                set.spawn(lane);
            }
        }
        Self { tally, lanes: set }
    }
}

/// Opens so many connections, one after the other, and has one exchange on each; they stay open as long
/// as what is returned.
pub(crate) async fn idle(target: &Target, count: usize) -> Result<Vec<impl Sized + use<>>, String> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut connection = Connection::open(target, &http2::Shared::default()).await?;
        connection.exchange(target).await?;
        held.push(connection);
    }
    Ok(held)
}

/// Asks once.
pub(crate) async fn once(target: &Target) -> Result<(), String> {
    let asked = timeout(PATIENCE, async {
        let mut connection = Connection::open(target, &http2::Shared::default()).await?;
        connection.exchange(target).await.map(drop)
    });
    asked.await.map_err(|_| "no answer in time".to_owned())?
}

/// Keeps this thread from sleeping: to be woken from another processor takes long, above all in a virtual
/// machine, and who wakes pays for it, which is the proxy.
async fn awake() {
    loop {
        yield_now().await;
    }
}

async fn lane(target: Target, shared: http2::Shared, mut pace: Pace, tally: Arc<Tally>) {
    let mut kept = None;
    loop {
        let due = pace.next().await;
        let exchange = async {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Connection::open(&target, &shared).await?,
            };
            if connection.exchange(&target).await? {
                kept = Some(connection);
            }
            Ok(())
        };
        let came = match timeout(PATIENCE, exchange).await {
            Ok(came) => came,
            Err(_) => Err("no answer in time".to_owned()),
        };
        let has_failed = came.is_err();
        tally.count(came, due);
        if has_failed {
            sleep(PAUSE).await;
        }
    }
}

enum Connection {
    Plain(Http1<TcpStream>),
    Tls(Box<Http1<tokio_rustls::client::TlsStream<TcpStream>>>),
    Http2(Http2),
    WebSocket(WebSocket),
}

impl Connection {
    async fn open(target: &Target, shared: &http2::Shared) -> Result<Self, String> {
        Ok(match target.client {
            Client::Http1 | Client::Fresh => Self::Plain(Http1::new(target.tcp().await?, target)),
            Client::Tls => Self::Tls(Box::new(Http1::new(secure(target).await?, target))),
            Client::Http2 => Self::Http2(Http2::open(target, shared).await?),
            Client::WebSocket => Self::WebSocket(WebSocket::open(target).await?),
        })
    }

    /// One exchange; whether the connection is good for another.
    async fn exchange(&mut self, target: &Target) -> Result<bool, String> {
        match self {
            Self::Plain(http) => http.exchange(target).await,
            Self::Tls(http) => http.exchange(target).await,
            Self::Http2(http) => http.exchange(target).await,
            Self::WebSocket(socket) => socket.exchange().await,
        }
    }
}

async fn secure(target: &Target) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = crate::certificate::NAME.try_into().unwrap();
    let secured = target.tls.connect(name, target.tcp().await?).await;
    secured.map_err(|error| format!("TLS: {error}"))
}
