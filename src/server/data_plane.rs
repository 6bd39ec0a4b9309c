//! The data plane as one of Pingora's services, over sockets that are bound already.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use log::{error, info, warn};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::proxy::connection::{Arrival, Connections};
use crate::proxy::listener::Listener;

use super::listening::{self, Accepted, Listening};
use super::sockets;

/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The shortest time between two warnings that no connection can be accepted.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// How long connections are still taken that had come before the data plane was told to close.
const LAST_ACCEPTS: Duration = Duration::from_secs(1);
/// How many of those are taken before others get a turn.
const AT_ONCE: usize = 32;

/// The sockets, what serves their connections, and the signal that closes them. Pingora's own signal
/// comes too late: it ends the process, and by then the last request must be done.
pub(super) struct Bound {
    connections: Arc<Connections>,
    sockets: Vec<(Arc<Listener>, Listening)>,
    closing: ShutdownWatch,
    serving: Box<dyn Fn() + Send + Sync>,
    places: Places,
}

impl Bound {
    /// At most `most` connections are open at a time; more wait in the system's queue.
    pub(super) fn new(
        connections: Arc<Connections>,
        sockets: Vec<(Arc<Listener>, Listening)>,
        closing: ShutdownWatch,
        serving: impl Fn() + Send + Sync + 'static,
        most: usize,
    ) -> Self {
        Self {
            connections,
            sockets,
            closing,
            serving: Box::new(serving),
            places: Places(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
        }
    }
}

/// How many connections there may be. Each costs a file, and another when it has a request.
#[derive(Clone)]
struct Places(Arc<Semaphore>);

impl Places {
    fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }

    /// Takes a place as soon as there is one; `None` never comes, as places are not closed.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// Accepts the connections of one socket.
struct Acceptor {
    connections: Arc<Connections>,
    listener: Arc<Listener>,
    places: Places,
    warned: Option<Instant>,
}

impl Acceptor {
    /// Accepts until `closing` turns true, and then those that wait already: each of them was told that
    /// callboard is there. The socket is closed in this process only.
    async fn run(mut self, socket: Listening, closing: ShutdownWatch) {
        let open = self.connections.gate().open();
        match listening::Listener::new(socket) {
            Ok(listener) => {
                self.accept(&listener, closing).await;
                self.connections.gate().close();
                match listener.into_inner() {
                    Ok(socket) => self.accept_last(&socket).await,
                    Err(error) => error!("the data plane lost its socket: {error}"),
                }
            }
            Err(error) => error!("the data plane cannot use its socket: {error}"),
        }
        drop(open);
    }

    async fn accept(&mut self, listener: &listening::Listener, mut closing: ShutdownWatch) {
        let mut closing = pin!(closing.wait_for(|&closing| closing));
        loop {
            if self.places.0.available_permits() == 0 {
                self.warn(
                    "as many connections are open as half of the files that the system lets \
                           callboard open (see ulimit -n); more have to wait",
                );
            }
            let next = async { (self.places.take().await, listener.accept().await) };
            let (place, accepted) = tokio::select! {
                next = next => next,
                _ = &mut closing => return,
            };
            match accepted {
                Ok(accepted) => self.serve(place, accepted),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    self.warn(&format!(
                        "the data plane cannot accept a connection: {error}"
                    ));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts what the system's queue holds. Tokio may not know of the last of it yet, so this asks the
    /// system itself.
    async fn accept_last(&mut self, socket: &Listening) {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed() < LAST_ACCEPTS {
            if count % AT_ONCE == AT_ONCE - 1 {
                // Those that were accepted are served on the same threads.
                tokio::task::yield_now().await;
            }
            let Some(place) = self.places.try_take() else {
                break;
            };
            match socket.accept() {
                Ok(accepted) => {
                    count += 1;
                    self.serve(Some(place), accepted);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(_) => break,
            }
        }
        if count > 0 {
            info!("accepted {count} connections that had come before the data plane closed");
        }
    }

    fn serve(&self, place: Option<OwnedSemaphorePermit>, (socket, peer): Accepted) {
        let connections = Arc::clone(&self.connections);
        // From here on: a process that is about to leave does not wait for a task that has not begun.
        let open = connections.gate().open();
        let arrival = Arrival {
            socket,
            peer,
            listener: Arc::clone(&self.listener),
        };
        tokio::spawn(async move {
            connections.serve(arrival).await;
            drop((open, place));
        });
    }

    fn warn(&mut self, what: &str) {
        if self.warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            warn!("{what}");
        }
    }
}

/// Whether the next connection may well be accepted (accept(2) passes on what befell this one).
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

#[async_trait]
impl Service for Bound {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        let acceptors: Vec<_> = self
            .sockets
            .drain(..)
            .map(|(listener, socket)| {
                let scheme = listener.scheme();
                sockets::announce("proxy", &sockets::url(&socket, scheme));
                let acceptor = Acceptor {
                    connections: Arc::clone(&self.connections),
                    listener,
                    places: self.places.clone(),
                    warned: None,
                };
                tokio::spawn(acceptor.run(socket, self.closing.clone()))
            })
            .collect();
        let connections = Arc::clone(&self.connections);
        let house = tokio::spawn(async move { connections.keep_house().await });
        (self.serving)();
        join_all(acceptors).await;
        house.abort();
    }

    fn name(&self) -> &str {
        "proxy"
    }
}
