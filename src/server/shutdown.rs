//! Leaving: readiness fails first, then the data plane stops accepting, then requests in flight
//! finish and kept connections end, each with an answer that says so or after a short while without a
//! request; then the control plane closes, and the process ends as soon as nothing is left to do. A
//! process whose place another one took leaves the same way, without a signal.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::admin::health::Readiness;
use crate::proxy::gate::Gate;

use super::door::Door;
use super::handover::Held;

/// How long the control plane gets to finish its answers.
const CONTROL_GRACE: Duration = Duration::from_secs(3);
/// How long before the end of the grace nobody waits for an instance any more.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Turns the phases on, one after the other.
#[derive(Clone)]
pub(super) struct Phases {
    readiness: watch::Sender<Readiness>,
    data_closing: watch::Sender<bool>,
    control_closing: watch::Sender<bool>,
    door: watch::Sender<Door>,
    replaced: watch::Sender<bool>,
}

/// The phases as others watch them.
pub(super) struct Phase {
    pub(super) readiness: watch::Receiver<Readiness>,
    pub(super) data_closing: ShutdownWatch,
    pub(super) control_closing: ShutdownWatch,
    pub(super) door: watch::Receiver<Door>,
}

/// The phases of a process that is about to serve, whose control plane has this `door` for now.
pub(super) fn phases(door: Door) -> (Phases, Phase) {
    let (readiness, is_ready) = watch::channel(Readiness::Starting);
    let (data_closing, data_closes) = watch::channel(false);
    let (control_closing, control_closes) = watch::channel(false);
    let (door, is_open) = watch::channel(door);
    let phases = Phases {
        readiness,
        data_closing,
        control_closing,
        door,
        replaced: watch::Sender::new(false),
    };
    let phase = Phase {
        readiness: is_ready,
        data_closing: data_closes,
        control_closing: control_closes,
        door: is_open,
    };
    (phases, phase)
}

impl Phases {
    /// A call that says that the data plane serves.
    pub(super) fn serving(&self) -> impl Fn() + Send + Sync + 'static {
        let readiness = self.readiness.clone();
        move || {
            // A process that was told to leave before it served does not become ready.
            readiness.send_if_modified(|now| {
                let starting = *now == Readiness::Starting;
                if starting {
                    *now = Readiness::Serving;
                }
                starting
            });
        }
    }

    /// How far the process is in its life.
    pub(super) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// Turns true when the data plane closes.
    pub(super) fn data_closing(&self) -> watch::Receiver<bool> {
        self.data_closing.subscribe()
    }

    /// Lets nobody into the control plane for now, and those who wait there for something go.
    pub(super) fn shut(&self) {
        self.door.send_if_modified(|door| door.becomes(Door::Shut));
        self.control_closing.send_replace(true);
    }

    /// Lets callers in, unless the process is leaving.
    pub(super) fn open(&self) {
        // A process that leaves says so before it closes; so whichever comes last here, it is closed.
        self.control_closing.send_modify(|closing| {
            *closing = *self.readiness.borrow() == Readiness::Leaving;
        });
        self.door.send_if_modified(|door| door.becomes(Door::Open));
    }

    /// Leaves, as at SIGTERM, because another process has taken this one's place.
    pub(super) fn replaced(&self) {
        self.replaced.send_replace(true);
    }

    /// Whether another process has.
    pub(super) fn is_replaced(&self) -> bool {
        *self.replaced.borrow()
    }
}

/// What Pingora asks when to end the process.
pub(super) struct Signals {
    pub(super) gate: Arc<Gate>,
    pub(super) phases: Phases,
    pub(super) held: Held,
    pub(super) grace: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    /// Gives its answer only when everything is done, so that Pingora has nothing to wait for.
    async fn recv(&self) -> ShutdownSignal {
        let signals = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        );
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            error!("cannot watch for signals; only SIGKILL will end this process");
            return std::future::pending().await;
        };
        let mut replaced = self.phases.replaced.subscribe();
        tokio::select! {
            () = either(&mut terminate, &mut interrupt) => {}
            _ = replaced.wait_for(|&replaced| replaced) => {}
        }
        tokio::select! {
            () = self.leave() => ShutdownSignal::GracefulTerminate,
            () = either(&mut terminate, &mut interrupt) => {
                warn!("told twice to leave: leaving at once");
                ShutdownSignal::FastShutdown
            }
        }
    }
}

impl Signals {
    async fn leave(&self) {
        info!("leaving: {} requests in flight", self.gate.inside());
        self.phases.readiness.send_replace(Readiness::Leaving);
        self.held.release();
        self.phases.data_closing.send_replace(true);
        if !self.emptied().await {
            let (left, open) = (self.gate.inside(), self.gate.connections());
            warn!(
                "{left} requests did not finish in time and are cut off; {open} connections were open"
            );
        }
        self.phases.control_closing.send_replace(true);
        self.held.release_registry();
        self.phases.door.send_replace(Door::Gone);
        // Every receiver belongs to the control plane and its streams, and goes with them.
        if timeout(CONTROL_GRACE, self.phases.control_closing.closed())
            .await
            .is_err()
        {
            warn!("the control plane's last answers are cut off");
        }
        info!("left");
    }

    /// Waits for the requests inside, as long as the grace allows; says whether all are done. Those
    /// that wait for an instance are answered before it ends, rather than cut off.
    async fn emptied(&self) -> bool {
        let last_call = (self.grace / 10).min(LAST_CALL);
        let early = self.grace - last_call;
        if timeout(early, self.gate.empty()).await.is_ok() {
            return true;
        }
        self.gate.call_last();
        timeout(last_call, self.gate.empty()).await.is_ok()
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
