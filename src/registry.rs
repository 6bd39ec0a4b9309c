//! The registry: who is signed in.
//!
//! Every change goes through one writer, in order: command → validated against the state → `Event`
//! → store → state → published [`Snapshot`] → observer → answer. Reads and heartbeats never wait for
//! the writer.
//!
//! A lease that runs out does not decide alone: `suspects` weighs it with what observers find out.
//!
//! Architecture invariant: nothing in here knows of probes, requests or sockets, and no function
//! below [`Registry`] and its writer reads a clock.

mod addresses;
pub mod command;
pub mod event;
pub mod expiry;
pub mod figures;
#[cfg(test)]
mod fixtures;
pub mod journal;
pub mod lease;
mod limits;
mod paths;
mod pulse;
mod recent;
mod rules;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod suspects;
pub mod suspension;
pub mod watch;
mod writer;

use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::names::{InstanceId, ServiceName};
use command::{Applied, Command, Refusal};
use event::Actor;
use figures::Figures;
use journal::Journal;
use lease::Renewal;
use pulse::Pulse;
use snapshot::{Fitness, Revision, Snapshot};
use store::{Store, StoreError};
use suspects::Testimony;
use suspension::{Reopen, Suspended};
use watch::Published;
use writer::{Request, Submission, Writer};

pub use limits::Limits;
pub use paths::AllowedPath;
pub use rules::Rules;

/// Told of every published snapshot, in order, before the change is acknowledged.
pub trait Observer: Send + Sync + 'static {
    /// `snapshot` is now the membership; only `changed` services differ from the one before. Called
    /// on the writer's thread, which does nothing else meanwhile: be quick, and never wait for the
    /// registry ([`Registry::touch`] does not wait).
    fn published(&self, snapshot: &Snapshot, changed: &[ServiceName]);

    /// The leases of these members ran out, or those that had are renewed: look at each member's
    /// [`Lease`](lease::Lease). Whoever can tell whether one that ran out still answers is asked to
    /// find out now, and to say so by [`Registry::testify`]. As quick as `published`.
    fn leases_changed(&self, members: &[(ServiceName, InstanceId)], now: Instant);
}

/// The handle to the registry. Cheap to clone.
///
/// The writer's thread ends after the last handle is dropped. It owns the observer, so an observer
/// that is to outlive its handles must not hold one of them itself.
#[derive(Clone)]
pub struct Registry {
    published: Arc<Published>,
    rules: Arc<ArcSwap<Rules>>,
    requests: mpsc::Sender<Request>,
    journal: Arc<dyn Journal>,
}

impl Registry {
    /// Starts the writer over what `store` remembers, once `observer` has seen it.
    ///
    /// # Errors
    /// When the store cannot be read or the writer's thread cannot be started.
    pub fn start(
        store: Box<dyn Store>,
        rules: Rules,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let writer = Writer::new(
            store,
            rules.clone(),
            observer,
            Instant::now(),
            first_revision(),
        )?;
        let (published, journal) = (writer.published(), writer.journal());
        let (requests, received) = mpsc::channel();
        let threads = Pulse::start().and_then(|pulse| {
            std::thread::Builder::new()
                .name("registry".to_owned())
                .spawn(move || writer.run(&received, &pulse))
        });
        threads.map_err(|error| {
            StoreError::Failed(format!(
                "the threads that change the registry cannot be started: {error}"
            ))
        })?;
        Ok(Self {
            published,
            rules,
            requests,
            journal,
        })
    }

    /// The rules registrations must keep now.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Puts new rules in force for later registrations.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// The published membership.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.snapshot().load_full()
    }

    /// Carries out one command; answers when the result is stored, published and observed. A
    /// command is carried out even if the caller stops waiting.
    ///
    /// # Errors
    /// Any [`Refusal`]; nothing has changed then.
    pub async fn submit(&self, command: Command, actor: Actor) -> Result<Applied, Refusal> {
        let mut results = self.submit_all(vec![command], actor).await;
        results.pop().unwrap_or_else(|| Err(writer_is_gone()))
    }

    /// Carries out several commands as one change; each has its own result, in order.
    pub async fn submit_all(
        &self,
        commands: Vec<Command>,
        actor: Actor,
    ) -> Vec<Result<Applied, Refusal>> {
        let count = commands.len();
        let (answer, answered) = oneshot::channel();
        // Fails only when the writer is gone, and with it the other end of `answered`.
        let _ = self.requests.send(Request::Commands(Submission {
            commands,
            actor,
            answer,
        }));
        match answered.await {
            Ok(results) => results,
            Err(_) => (0..count).map(|_| Err(writer_is_gone())).collect(),
        }
    }

    /// Renews a lease: no lock, no snapshot, no disk. A lease that has run out is renewed as well, for
    /// as long as its holder has not been taken out. Answers with the lease's length, `None` for a
    /// static member.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the instance has to register again, because it is not here or
    /// its lease has run out; [`Refusal::NotOwner`]; [`Refusal::Fenced`] when a later life of it
    /// has registered.
    pub fn renew(
        &self,
        service: &str,
        id: &str,
        generation: Option<u64>,
        actor: &Actor,
        now: Instant,
    ) -> Result<Option<Duration>, Refusal> {
        let not_found = || Refusal::NotFound {
            service: service.to_owned(),
            id: id.to_owned(),
        };
        let snapshot = self.published.snapshot().load();
        let member = snapshot.member(service, id).ok_or_else(not_found)?;
        member.guard(actor)?;
        member.fence(generation)?;
        match &member.lease {
            None => Ok(None),
            Some(lease) => match lease.renew(now) {
                Renewal::Renewed => {
                    self.figures().renewed();
                    Ok(Some(lease.ttl()))
                }
                Renewal::Settled => {
                    self.figures().renewed();
                    let instance = &member.instance;
                    self.tell(Request::Settled(
                        instance.service.clone(),
                        instance.id.clone(),
                    ));
                    Ok(Some(lease.ttl()))
                }
                Renewal::Ended => Err(not_found()),
            },
        }
    }

    /// Says that what observers know of an instance changed (its availability), so that its index
    /// moves on and its watchers wake, and how it was `found`, to be remembered over a restart. Never
    /// waits.
    pub fn touch(&self, service: &ServiceName, id: &InstanceId, found: Fitness) {
        self.tell(Request::Touch(service.clone(), id.clone(), found));
    }

    /// Says whether an instance whose lease ran out still answers. Says nothing new about others.
    /// Never waits.
    pub fn testify(&self, service: &ServiceName, id: &InstanceId, testimony: Testimony) {
        self.tell(Request::Testimony(service.clone(), id.clone(), testimony));
    }

    /// Lets go of the store once everything asked for before is stored and answered. From then on
    /// nothing changes, and commands wait, until [`Suspended`] says who goes on with the store.
    /// `reopen` opens it again for this registry.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] when the registry is suspended already, or was for good.
    pub async fn suspend(&self, reopen: Reopen) -> Result<Suspended, Refusal> {
        let (suspension, suspended) = suspension::pair(reopen);
        self.tell(Request::Suspend(suspension));
        suspended.begun().await.ok_or_else(writer_is_gone)
    }

    fn tell(&self, request: Request) {
        // Without a writer there is nobody left whom it would matter to.
        let _ = self.requests.send(request);
    }

    /// The history. Its calls may block on a disk.
    pub fn journal(&self) -> Arc<dyn Journal> {
        self.journal.clone()
    }

    /// What is counted of it.
    pub fn figures(&self) -> &Figures {
        self.published.figures()
    }

    /// Follows the revision of one service, or of all with `None`.
    pub fn follow(&self, service: Option<&ServiceName>) -> watch::Follower {
        self.published.follow(service)
    }

    /// What somebody missed who follows one service, or all with `None`, and knows everything up to
    /// `knows`; `None` if that is too long ago to tell, or is no revision of this process's life.
    pub fn since(&self, service: Option<&ServiceName>, knows: Revision) -> Option<watch::Missed> {
        self.published.since(service, knows)
    }

    /// The revision `service` was last changed at; for one nobody has registered, never less than
    /// it would have been given before.
    pub fn revision_of(&self, service: &str) -> Revision {
        self.published.snapshot().load().revision_of(service)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("revision", &self.published.snapshot().load().revision)
            .finish_non_exhaustive()
    }
}

/// Where revisions start: at the time, in milliseconds. A store that forgets would otherwise start
/// over at 1, and whoever waits for an index beyond that, kept from before a restart, would wait long.
fn first_revision() -> Revision {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Revision(since_epoch.map_or(1, |time| time.as_millis() as u64))
}

fn writer_is_gone() -> Refusal {
    Refusal::Unavailable("the thread that changes it has ended; restart callboard".to_owned())
}
