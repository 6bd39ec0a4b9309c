//! The membership and its history in a SQLite file, so that both outlive the process and operators
//! can look at them with a tool they know.
//!
//! What is acknowledged is on the disk: each batch is one transaction, and in WAL mode with
//! `synchronous` FULL that is one sync, shared by all who wait for it. Heartbeats never come here;
//! how probes found an instance does, without a sync, for nobody was promised it.
//!
//! No damage keeps callboard from starting or from taking changes. A row that cannot be believed is
//! set aside, and so is a file that cannot be read: a new one takes its place, with what can be saved
//! of the old one at start, and with the membership in memory while running. What is not ours to
//! repair, a file of another program or of a later version, keeps callboard from starting instead,
//! and is left as it is.

mod compaction;
pub(super) mod description;
mod fault;
mod files;
mod inspect;
mod reader;
mod recover;
mod row;
mod salvage;
mod schema;
#[cfg(test)]
mod tests;
pub(super) mod time;
pub(super) mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::names::{InstanceId, ServiceName};
use crate::registry::event::Event;
use crate::registry::journal::Journal;
use crate::registry::snapshot::{Fitness, Revision, Snapshot};

use super::{Recovered, Store, StoreError};
use compaction::Limits;
use fault::{Fault, failed, fault, store_error};
use files::{Files, Identity, Lock};
use inspect::{Found, inspect};
use reader::Reader;
use schema::Mark;
pub use schema::Sync;

/// How long to rest between two pieces of the same upkeep.
const PAUSE: Duration = Duration::from_millis(20);
/// How long until there may be upkeep again.
const REST: Duration = Duration::from_secs(10);

/// Where the file is and how much it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; relative to the process's working folder.
    pub path: PathBuf,
    /// How long history is kept.
    pub history: Duration,
    /// History is kept for less when the file would become larger than so many bytes.
    pub max_size: u64,
    /// Whether a change is on the disk before it is acknowledged.
    pub sync: Sync,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("data/callboard.db"),
            history: Duration::from_secs(7 * 24 * 60 * 60),
            max_size: 256 * 1024 * 1024,
            sync: Sync::Full,
        }
    }
}

/// The store that survives.
#[derive(Debug)]
pub struct SqliteStore {
    settings: Settings,
    files: Files,
    /// The open file, or what is wrong with the one at the path, so that another has to take its
    /// place.
    db: Result<Connection, String>,
    /// Which files are open; `None` is a path that could not be looked at.
    identity: Option<Identity>,
    reader: Arc<Reader>,
    /// What fails where nobody is answered, reported once until it works again.
    notes: Complaint,
    upkeep: Complaint,
    _lock: Lock,
}

impl SqliteStore {
    /// Opens the file, or makes one, or makes one of what can be saved from a damaged one.
    ///
    /// # Errors
    /// When the file is in use by another callboard, is not one of ours, or cannot be used at all.
    pub fn open(settings: Settings) -> Result<Self, StoreError> {
        let files = Files::at(&settings.path)?;
        let lock = files.lock()?;
        let path = files.path();
        files
            .tidy_up()
            .map_err(|error| failed(path, format!("cannot be put in place: {error}")))?;
        match inspect(&files)? {
            Found::Ours => {}
            Found::Nothing => {
                replace(&files, |_| Ok(()))?;
            }
            Found::Damaged(wrong) => rescue(&files, &wrong)?,
        }
        let db = match schema::open(path, settings.sync) {
            Ok(db) => db,
            Err(error) if fault(&error) == Fault::Corrupt => {
                rescue(&files, &error.to_string())?;
                reopen(&files, settings.sync)?
            }
            Err(error) => return Err(store_error(path, &error)),
        };
        Ok(Self {
            db: Ok(db),
            identity: files.identity(),
            reader: Arc::new(Reader::new(path.to_owned())),
            notes: Complaint::about("how instances are found is not remembered"),
            upkeep: Complaint::about("history is not compacted"),
            settings,
            files,
            _lock: lock,
        })
    }

    /// The open file, or what is wrong with it.
    fn db(&mut self) -> Result<&mut Connection, StoreError> {
        let path = self.files.path();
        (self.db.as_mut()).map_err(|wrong| failed(path, format!("is damaged: {wrong}")))
    }

    /// Stops using the file because it is damaged, and leaves it and its log as they are.
    fn give_up(&mut self, wrong: &dyn std::fmt::Display) {
        if let Ok(db) = &self.db {
            // Fails with versions of SQLite that do not know the setting, and ours does.
            let _ = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        self.db = Err(wrong.to_string());
    }

    /// Puts a file with the membership `before` in the place of the damaged one.
    fn start_over(&mut self, before: &Snapshot) -> Result<(), StoreError> {
        let Err(wrong) = &self.db else {
            return Ok(());
        };
        let at = SystemTime::now();
        let events = write::base(before, at)?;
        let rows = write::rows(&events)?;
        let kept = replace(&self.files, |transaction| {
            write::insert(transaction, &rows, before)?;
            write::forget_before(transaction, at, before)
        })?;
        let kept = kept.map_or_else(String::new, |kept| {
            format!(" and is kept as {}", kept.display())
        });
        log::error!(
            "{} is damaged: {wrong}. It is replaced{kept}; the new one starts with the {} \
             instances that are registered, and without their history",
            self.files.path().display(),
            rows.len(),
        );
        self.reopen()
    }

    /// Goes on with the file that is at the path now.
    fn reopen(&mut self) -> Result<(), StoreError> {
        self.reader.replaced();
        self.db = Ok(reopen(&self.files, self.settings.sync)?);
        self.identity = self.files.identity();
        Ok(())
    }

    /// Carries out `work`, which nobody was promised, without waiting for the disk.
    fn unsynced<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let sync = self.settings.sync;
        let result = {
            let db = self.db()?;
            Sync::Normal
                .apply(db)
                .and_then(|()| work(db))
                .and_then(|done| sync.apply(db).map(|()| done))
                .inspect_err(|_| {
                    // Whether or not that works: each append makes sure of it again.
                    let _ = sync.apply(db);
                })
        };
        result.map_err(|error| {
            if fault(&error) == Fault::Corrupt {
                self.give_up(&error);
            }
            store_error(self.files.path(), &error)
        })
    }

    fn compact(&mut self, now: SystemTime) -> Result<bool, StoreError> {
        let limits = Limits {
            history: self.settings.history,
            max_size: self.settings.max_size,
        };
        self.unsynced(|db| compaction::step(db, limits, now))
    }
}

impl Store for SqliteStore {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        let path = self.files.path().to_owned();
        match recover::recover(self.db()?, &path) {
            Ok(recovered) => Ok(recovered),
            Err(error) if fault(&error) == Fault::Corrupt => {
                self.give_up(&error);
                rescue(&self.files, &error.to_string())?;
                self.reopen()?;
                recover::recover(self.db()?, &path).map_err(|error| store_error(&path, &error))
            }
            Err(error) => Err(store_error(&path, &error)),
        }
    }

    fn reserve(&mut self, first: Revision) -> Result<(), StoreError> {
        let sync = self.settings.sync;
        let db = self.db()?;
        let reserved = (sync.apply(db)).and_then(|()| write::reserve(db, first));
        reserved.map_err(|error| store_error(self.files.path(), &error))
    }

    fn append(&mut self, events: &[Event], before: &Snapshot) -> Result<(), StoreError> {
        let rows = write::rows(events)?;
        if self.db.is_ok() && self.files.identity() != self.identity {
            self.give_up(&"somebody removed, emptied or replaced it or its log");
        }
        self.start_over(before)?;
        let sync = self.settings.sync;
        let db = self.db()?;
        let mut written = sync
            .apply(db)
            .and_then(|()| write::append(db, &rows, before));
        if let Err(error) = &written
            && fault(error) == Fault::Full
            && schema::empty_log(db).is_ok()
        {
            written = write::append(db, &rows, before);
        }
        if let Err(error) = &written
            && fault(error) == Fault::Corrupt
        {
            self.give_up(error);
            self.start_over(before)?;
            written = write::append(self.db()?, &rows, before);
        }
        written.map_err(|error| store_error(self.files.path(), &error))
    }

    fn note(&mut self, found: &[(ServiceName, InstanceId, Fitness)]) {
        let noted = self.unsynced(|db| write::note(db, found));
        self.notes.hear(&noted);
    }

    fn tidy(&mut self, _now: Instant) -> Option<Duration> {
        // How old history is, is a matter of the calendar.
        let compacted = self.compact(SystemTime::now());
        self.upkeep.hear(&compacted);
        Some(if compacted == Ok(true) { PAUSE } else { REST })
    }

    fn journal(&self) -> Arc<dyn Journal> {
        self.reader.clone()
    }
}

/// Puts a new file, filled by `fill`, in the place of what is there, which is kept under the name
/// returned if it holds anything.
fn replace(
    files: &Files,
    fill: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>,
) -> Result<Option<PathBuf>, StoreError> {
    let path = files.path();
    let in_place = |error| failed(path, format!("cannot be put in place: {error}"));
    files.tidy_up().map_err(in_place)?;
    schema::create(&files.draft(), fill).map_err(|error| store_error(path, &error))?;
    files.replace().map_err(in_place)
}

/// Puts a new file in the place of a damaged one, with what can be read of that.
fn rescue(files: &Files, wrong: &str) -> Result<(), StoreError> {
    let path = files.path();
    let mut salvaged = salvage::Salvaged::default();
    let kept = replace(files, |transaction| {
        salvaged = salvage::salvage(path, transaction)?;
        // What is missing cannot be told from what never was.
        Mark::Forgotten.advance(transaction, time::millis(SystemTime::now()))
    })?;
    let kept = kept.unwrap_or_default();
    log::error!(
        "{} is damaged: {wrong}. It is kept as {}; {} instances and {} events of it could be read",
        path.display(),
        kept.display(),
        salvaged.members,
        salvaged.events,
    );
    // One line each, as an operator may have to look for one of them.
    for lost in &salvaged.lost {
        log::error!(
            "{}: {lost} could not be read and has to register again",
            path.display()
        );
    }
    Ok(())
}

fn reopen(files: &Files, sync: Sync) -> Result<Connection, StoreError> {
    let path = files.path();
    schema::open(path, sync).map_err(|error| store_error(path, &error))
}

/// Says that something fails when it starts to, and not again until it worked.
#[derive(Debug)]
struct Complaint {
    what: &'static str,
    standing: bool,
}

impl Complaint {
    fn about(what: &'static str) -> Self {
        Self {
            what,
            standing: false,
        }
    }

    fn hear<T>(&mut self, outcome: &Result<T, StoreError>) {
        if let Err(error) = outcome
            && !self.standing
        {
            log::error!("{}: {error}", self.what);
        }
        self.standing = outcome.is_err();
    }
}
