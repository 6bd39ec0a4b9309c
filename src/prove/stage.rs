//! What every scenario needs: a callboard, services under load, and at the end the account.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use super::board::{Board, PATIENCE};
use super::fleet::{Fleet, accounts};
use super::load::{Load, Target};
use super::tally::{Kind, Tally};

/// How many instances a service has.
const INSTANCES: usize = 3;
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// What is asked of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The callboard that is put to the proof.
    pub(super) program: PathBuf,
    /// How many times the thing is done.
    pub(super) rounds: usize,
    /// How many clients call each service.
    pub(super) clients: usize,
    /// After how long no further round begins.
    pub(super) limit: Option<Duration>,
    /// Whether instances end without signing out, and nothing is tried again.
    pub(super) without_drain: bool,
}

/// What a scenario found.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding {
    /// How many times the thing was done.
    pub(super) replacements: usize,
    /// The account of all requests.
    pub(super) tally: Tally,
    /// What broke the guarantee, failed requests apart.
    pub(super) breaches: Vec<String>,
}

/// A scenario's callboard.
pub(super) struct Stage {
    /// callboard.
    pub(super) board: Board,
    asked: Asked,
    began: Instant,
    tags: Arc<AtomicU64>,
    // Last, so that the processes in it are gone when it is removed.
    folder: TempDir,
}

/// One service under load.
pub(super) struct Troupe {
    /// Its instances.
    pub(super) fleet: Fleet,
    /// Its clients.
    pub(super) load: Load,
}

impl Stage {
    /// Starts a callboard with these lines of configuration.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn set(policy: &str, asked: &Asked) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("callboard-prove-")
            .tempdir();
        let folder = folder.map_err(|error| format!("no temporary folder: {error}"))?;
        Ok(Self {
            board: Board::start(&asked.program, folder.path(), policy).await?,
            asked: asked.clone(),
            began: Instant::now(),
            tags: Arc::new(AtomicU64::new(1)),
            folder,
        })
    }

    /// A service without instances yet.
    pub(super) fn fleet(&self, service: &str) -> Fleet {
        Fleet::new(service, self.folder.path(), &self.board)
    }

    /// Gives a service its instances, and then its clients.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn troupe(&self, mut fleet: Fleet) -> Result<Troupe, String> {
        fleet.fill(INSTANCES, &self.board).await?;
        let load = Load::start(Target {
            proxy: self.proxy(),
            service: fleet.service.clone(),
            clients: self.asked.clients,
            began: self.began,
            tags: Arc::clone(&self.tags),
        });
        let troupe = Troupe { fleet, load };
        troupe.flows(2 * self.asked.clients).await?;
        Ok(troupe)
    }

    fn proxy(&self) -> SocketAddr {
        self.board.proxy
    }

    /// How many clients each service has.
    pub(super) fn clients(&self) -> usize {
        self.asked.clients
    }

    /// The rounds to do, as long as there is time.
    pub(super) fn rounds(&self) -> impl Iterator<Item = usize> + use<> {
        let (began, limit) = (self.began, self.asked.limit);
        (0..self.asked.rounds)
            .take_while(move |_| limit.is_none_or(|limit| began.elapsed() < limit))
    }

    /// Milliseconds since the scenario began.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The number the next request will have.
    pub(super) fn next_tag(&self) -> u64 {
        self.tags.load(Ordering::Relaxed)
    }

    /// Lets the clients finish and settles the account; `done` is how often the thing was done, or
    /// why that had to be given up.
    ///
    /// # Errors
    /// When an instance's record cannot be read.
    pub(super) async fn close(
        &self,
        troupes: Vec<Troupe>,
        done: Result<usize, String>,
    ) -> Result<Finding, String> {
        let mut finding = Finding::default();
        let mut records = Vec::new();
        for Troupe { fleet, load } in troupes {
            finding.tally.add(load.stop().await);
            records.extend(fleet.records()?);
        }
        match done {
            Ok(0) => (finding.breaches).push("nothing was done, so nothing was shown".to_owned()),
            Ok(replacements) => finding.replacements = replacements,
            Err(error) => finding.breaches.push(format!("given up: {error}")),
        }
        let unasked = Kind::ALL.into_iter().find(|k| finding.tally.sent(*k) == 0);
        if let Some(kind) = unasked {
            let breach = format!("there was no {kind}, so nothing was shown of it");
            finding.breaches.push(breach);
        }
        let accounts = accounts(&records);
        for (what, tags) in [
            (
                "POSTs were sent to instances twice",
                &accounts.repeated_posts,
            ),
            (
                "requests came before an instance was ready",
                &accounts.early,
            ),
        ] {
            if let Some(first) = tags.first() {
                let breach = format!("{} {what}, the first with number {first}", tags.len());
                finding.breaches.push(breach);
            }
        }
        Ok(finding)
    }
}

impl Troupe {
    /// Waits until another `requests` have been answered, or failed.
    ///
    /// # Errors
    /// When the clients have come to a stop.
    pub(super) async fn flows(&self, requests: usize) -> Result<(), String> {
        let goal = self.load.requests() + requests as u64;
        let begun = Instant::now();
        while self.load.requests() < goal {
            if begun.elapsed() > PATIENCE {
                let service = &self.fleet.service;
                return Err(format!("the clients of {service} have come to a stop"));
            }
            sleep(GLANCE).await;
        }
        Ok(())
    }
}
