//! The instances of one service, each a process.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::board::{Board, PATIENCE};
use super::process::Process;
use super::record::Record;

/// How long an instance takes over a request: long enough for some to be in flight at any moment.
const WORK: &str = "5ms";

/// How a new instance is to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    /// The port it takes; 0 for any.
    pub(super) port: u16,
    /// How long after signing in it begins to listen.
    pub(super) listens_after: Duration,
    /// How long after its start it is ready.
    pub(super) ready_after: Duration,
}

/// A service's instances, the oldest first.
pub(super) struct Fleet {
    /// The service.
    pub(super) service: String,
    /// The instances that are meant to be in.
    pub(super) members: VecDeque<Member>,
    folder: PathBuf,
    registry: SocketAddr,
    ttl: &'static str,
    abrupt: bool,
    started: usize,
    records: Vec<PathBuf>,
}

/// One instance.
pub(super) struct Member {
    /// Its id.
    pub(super) id: String,
    /// The port it listens on; 0 until that is known.
    pub(super) port: u16,
    /// Its process.
    pub(super) process: Process,
    /// Where its record is.
    pub(super) record: PathBuf,
}

/// What the records of all instances add up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    /// POSTs that were sent more than once.
    pub(super) repeated_posts: Vec<u64>,
    /// Requests that came before an instance was ready.
    pub(super) early: Vec<u64>,
}

impl Fleet {
    /// A service without instances.
    pub(super) fn new(service: &str, folder: &Path, board: &Board) -> Self {
        Self {
            service: service.to_owned(),
            members: VecDeque::new(),
            folder: folder.to_owned(),
            registry: board.registry,
            ttl: "5s",
            abrupt: false,
            started: 0,
            records: Vec::new(),
        }
    }

    /// With leases of this time to live.
    pub(super) fn with_ttl(mut self, ttl: &'static str) -> Self {
        self.ttl = ttl;
        self
    }

    /// With instances that end without signing out.
    pub(super) fn abrupt(mut self, abrupt: bool) -> Self {
        self.abrupt = abrupt;
        self
    }

    /// Starts `count` instances and waits until they take traffic.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn fill(&mut self, count: usize, board: &Board) -> Result<(), String> {
        for _ in 0..count {
            let member = self.launch(&Manner::default())?;
            self.members.push_back(member);
        }
        for at in 0..self.members.len() {
            self.members[at].is_ready(board, &self.service).await?;
        }
        Ok(())
    }

    /// Starts one more and waits until it takes traffic; the id it has.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn grow(&mut self, manner: &Manner, board: &Board) -> Result<String, String> {
        let mut member = self.launch(manner)?;
        member.is_ready(board, &self.service).await?;
        let id = member.id.clone();
        self.members.push_back(member);
        Ok(id)
    }

    /// The id the next instance will have.
    pub(super) fn next_id(&self) -> String {
        format!("{}-{}", self.service, self.started + 1)
    }

    /// Takes the oldest instance out of the list.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn oldest(&mut self) -> Result<Member, String> {
        let none = || format!("service {} has no instance left", self.service);
        self.members.pop_front().ok_or_else(none)
    }

    fn launch(&mut self, manner: &Manner) -> Result<Member, String> {
        let id = self.next_id();
        self.started += 1;
        let record = self.folder.join(format!("{id}.record"));
        let mut line = vec![
            "prove".to_owned(),
            "instance".to_owned(),
            format!("--registry={}", self.registry),
            format!("--service={}", self.service),
            format!("--id={id}"),
            format!("--port={}", manner.port),
            format!("--ttl={}", self.ttl),
            format!("--work={WORK}"),
            format!("--listens-after={}ms", manner.listens_after.as_millis()),
            format!("--ready-after={}ms", manner.ready_after.as_millis()),
        ];
        if self.abrupt {
            line.push("--abrupt".to_owned());
        }
        let mut line: Vec<_> = line.into_iter().map(OsString::from).collect();
        line.push("--record".into());
        line.push(record.clone().into());
        let log = self.folder.join("instances.log");
        let program = std::env::current_exe().map_err(|error| format!("{id}: {error}"))?;
        let process = Process::start(&id, &program, line, &self.folder, &log)?;
        self.records.push(record.clone());
        Ok(Member {
            id,
            port: manner.port,
            process,
            record,
        })
    }

    /// The records of all instances there were.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn records(&self) -> Result<Vec<Record>, String> {
        let read = |path: &PathBuf| {
            Record::read(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        self.records.iter().map(read).collect()
    }
}

impl Member {
    /// Waits until it takes traffic.
    async fn is_ready(&mut self, board: &Board, service: &str) -> Result<(), String> {
        let port = |now: Option<&Value>| {
            let now = now.filter(|now| now["availability"] == "ready")?;
            now["port"].as_u64().and_then(|port| port.try_into().ok())
        };
        self.port = board.until(service, &self.id, "ready", port).await?;
        Ok(())
    }

    /// Tells it to leave and waits until it has.
    ///
    /// # Errors
    /// When it does not, or says that it could not sign out.
    pub(super) async fn leave(mut self) -> Result<(), String> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.ended(PATIENCE).await?;
        let left = status.success();
        left.then_some(())
            .ok_or(format!("{} ended with {status}", self.id))
    }

    /// Its address, as callboard writes it.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// What these records add up to.
pub(super) fn accounts<'a>(records: impl IntoIterator<Item = &'a Record>) -> Accounts {
    let mut accounts = Accounts::default();
    let mut posts = HashMap::new();
    for record in records {
        accounts.early.extend(&record.early);
        for tag in &record.posts {
            *posts.entry(*tag).or_insert(0) += 1;
        }
    }
    let repeated = posts.into_iter().filter(|(_, times)| *times > 1);
    accounts.repeated_posts = repeated.map(|(tag, _)| tag).collect();
    accounts.repeated_posts.sort_unstable();
    accounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_that_two_instances_or_one_twice_were_sent_is_found() {
        let record = |gets: &[u64], posts: &[u64], early: &[u64]| Record {
            gets: gets.to_vec(),
            posts: posts.to_vec(),
            early: early.to_vec(),
        };
        let records = [
            record(&[1, 1], &[2, 3, 4, 4], &[]),
            record(&[1], &[3, 5], &[5]),
        ];
        let found = accounts(&records);
        assert_eq!(found.repeated_posts, [3, 4]);
        assert_eq!(found.early, [5]);
    }
}
