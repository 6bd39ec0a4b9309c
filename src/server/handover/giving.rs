//! The predecessor: waits to be asked, hands over, and takes back what its successor does not take.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use rustix::process::{Signal, geteuid, kill_process};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::timeout;

use crate::admin::health::Readiness;
use crate::config;
use crate::registry::Registry;
use crate::registry::store::carried;
use crate::registry::suspension::Suspended;
use crate::route::splits::Splits;
use crate::server::shutdown::Phases;
use crate::server::store;

use super::channel::{Channel, ChannelError};
use super::message::PROTOCOL;
use super::{Held, Holdings, LETTING_GO, Message, Place, STARTING, STEP};

/// How long a successor that failed may keep the store before it is killed.
const REMAINS: Duration = Duration::from_secs(5);
/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What there is to hand over. Cheap to clone.
#[derive(Clone)]
pub(in crate::server) struct Giver {
    pub(in crate::server) phases: Phases,
    pub(in crate::server) quiet: watch::Receiver<bool>,
    pub(in crate::server) registry: Registry,
    pub(in crate::server) splits: Arc<Splits>,
    pub(in crate::server) store: config::Store,
    pub(in crate::server) held: Held,
}

/// Why there was no handover.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("{0}")]
    Refused(String),
}

impl Giver {
    /// Hands over to whoever asks at `place` first, for as long as the process does not leave.
    pub(super) async fn run(self, mut place: Place) {
        let mut closing = self.phases.data_closing();
        let busy = Arc::new(AsyncMutex::new(()));
        tokio::select! {
            () = self.accept(&place, &busy) => {}
            _ = closing.wait_for(|&closing| closing) => {}
        }
        if self.phases.is_replaced() {
            place.leave();
        }
    }

    async fn accept(&self, place: &Place, busy: &Arc<AsyncMutex<()>>) {
        let listener = place.listener.try_clone();
        let listener = listener.and_then(tokio::net::UnixListener::from_std);
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return error!("nobody can take over: {error}"),
        };
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream.into_std(),
                Err(error) => {
                    warn!("cannot accept who wants to take over: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (giver, busy, handle) = (self.clone(), Arc::clone(busy), Handle::current());
            tokio::task::spawn_blocking(move || {
                let alone = busy.try_lock();
                let outcome = stream
                    .map_err(|error| Broken::Channel(error.into()))
                    .and_then(|stream| giver.answer(stream, alone.is_ok(), &handle));
                if let Err(error) = outcome {
                    warn!("nothing was handed over: {error}; this process goes on");
                }
            });
        }
    }

    /// One conversation, with nobody else at it if `alone`.
    fn answer(&self, stream: UnixStream, alone: bool, handle: &Handle) -> Result<(), Broken> {
        let mut channel = Channel::new(stream).map_err(ChannelError::from)?;
        let outcome = self.converse(&mut channel, alone, handle);
        if alone && outcome.is_err() {
            self.held.reclaim();
        }
        match outcome {
            Err(Broken::Refused(why)) => {
                channel.send(&Message::Refused { why: why.clone() }, STEP)?;
                Err(Broken::Refused(why))
            }
            outcome => outcome,
        }
    }

    fn converse(&self, channel: &mut Channel, alone: bool, handle: &Handle) -> Result<(), Broken> {
        let refused = |why: &str| Err(Broken::Refused(why.to_owned()));
        let (user, _) = channel.peer().map_err(ChannelError::from)?;
        if user != geteuid() && !user.is_root() {
            return refused("it runs as another user (expected the same, or root)");
        }
        if !alone {
            return refused("another process is taking over (expected one at a time)");
        }
        let (pid, version) = match channel.receive(STEP)? {
            Message::Hello {
                protocol: PROTOCOL,
                version,
                pid,
            } => (pid, version),
            Message::Hello { protocol, .. } => {
                let why = format!(
                    "it speaks protocol {protocol} of upgrades (expected {PROTOCOL}; restart instead)"
                );
                return Err(Broken::Refused(why));
            }
            other => return Err(ChannelError::unexpected(&other).into()),
        };
        if !handle.block_on(self.serves()) {
            return refused("this process is leaving (expected one that serves)");
        }
        self.welcome(channel)?;
        match channel.receive(STEP)? {
            Message::Ready => {}
            other => return Err(ChannelError::unexpected(&other).into()),
        }
        info!("callboard {version} (process {pid}) takes over: the control plane is shut");
        let since = Instant::now();
        handle.block_on(self.shut());
        let suspended = match handle.block_on(self.suspend()) {
            Ok(suspended) => suspended,
            Err(why) => {
                self.phases.open();
                let _ = channel.send(&Message::Withdrawn { why: why.clone() }, STEP);
                return Err(Broken::Refused(why));
            }
        };
        info!("the store is handed over; requests are served on from memory");
        match self.hand_over(channel, &suspended) {
            Ok(()) => {
                suspended.give_up();
                info!("process {pid} serves, {:.1?} later", since.elapsed());
                self.phases.replaced();
                Ok(())
            }
            Err(error) => {
                warn!("process {pid} does not take over: {error}; taking the store back");
                let why = error.to_string();
                let _ = channel.send(&Message::Withdrawn { why }, STEP);
                handle.block_on(Self::take_back(channel, suspended));
                self.phases.open();
                Err(error.into())
            }
        }
    }

    /// Waits until this process serves; says whether it does.
    async fn serves(&self) -> bool {
        let mut readiness = self.phases.readiness();
        let known = readiness.wait_for(|now| *now != Readiness::Starting).await;
        known.is_ok_and(|now| *now == Readiness::Serving)
    }

    fn welcome(&self, channel: &mut Channel) -> Result<(), Broken> {
        let lent = self.held.lend(|Holdings { proxy, registry }| {
            let welcome = Message::Welcome {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: process::id(),
                store: self.store.whereabouts(),
                proxy: proxy.iter().map(|(address, _)| address.clone()).collect(),
                registry: registry.0.clone(),
            };
            let sockets = proxy.iter().chain([registry]);
            let files: Vec<_> = sockets.map(|(_, socket)| socket.as_fd()).collect();
            channel.send_with(&welcome, &files, STEP)
        });
        match lent {
            Some(sent) => Ok(sent?),
            None => Err(Broken::Refused("this process is leaving".to_owned())),
        }
    }

    async fn shut(&self) {
        self.phases.shut();
        // A process that is leaving has nobody inside either.
        let _ = self.quiet.clone().wait_for(|&quiet| quiet).await;
    }

    async fn suspend(&self) -> Result<Suspended, String> {
        let settings = self.store.clone();
        let reopen = Box::new(move || store(&settings, None));
        match timeout(LETTING_GO, self.registry.suspend(reopen)).await {
            Ok(suspended) => suspended.map_err(|refusal| refusal.to_string()),
            Err(_) => Err("the registry did not let go of its store in time".to_owned()),
        }
    }

    /// The last steps, up to the one there is no way back from.
    fn hand_over(&self, channel: &mut Channel, suspended: &Suspended) -> Result<(), ChannelError> {
        let carried = suspended.carried.as_ref().map(carried::write).transpose();
        let membership = carried.map_err(|error| std::io::Error::other(error.to_string()))?;
        let splits = (membership.is_some())
            .then(|| self.splits.to_text())
            .transpose();
        let splits = splits.map_err(std::io::Error::other)?;
        channel.send(&Message::Yours { membership, splits }, STEP)?;
        match channel.receive(STARTING)? {
            // One that has died meanwhile is noticed here.
            Message::Serving => channel.send(&Message::Go, STEP),
            other => Err(ChannelError::unexpected(&other)),
        }
    }

    /// Has the registry go on. A successor that neither serves nor ends would keep the store from
    /// it for ever.
    async fn take_back(channel: &mut Channel, suspended: Suspended) {
        let mut resumed = std::pin::pin!(suspended.resume());
        if timeout(REMAINS, &mut resumed).await.is_err() {
            // As long as the conversation is open it is its process that has this id, and no other.
            if channel.is_open()
                && let Ok((_, pid)) = channel.peer()
            {
                warn!(
                    "process {} does not let go of the store and is killed",
                    pid.as_raw_nonzero()
                );
                if let Err(error) = kill_process(pid, Signal::KILL) {
                    error!("it cannot be killed: {error}");
                }
            }
            resumed.await;
        }
        info!("the store is taken back");
    }

    /// Leaves with nothing handed over, and nothing to be handed over.
    pub(super) fn leave(&self) {
        self.phases.replaced();
    }
}
