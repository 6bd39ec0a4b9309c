//! The file's layout, and what every connection is told before it works.
//!
//! `events` is the history, one row a change, and each row describes the instance as the change left
//! it. `members` is who is in now: it names for each instance the event that last described it, so
//! that a description is kept once. Operators may read all of it with `sqlite3` while callboard runs.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

/// `cbrd`: marks a file as callboard's.
pub(super) const APPLICATION: i32 = 0x6362_7264;
/// The version of a new file's layout.
pub(super) const FIRST: i32 = 1;
/// The last version that is understood; a file with a later one is left alone. What each brings is said
/// in [`description`](super::description). A file has the lowest that all of its rows can be read by,
/// so that an earlier callboard can have it back as long as that is possible.
pub(super) const VERSION: i32 = 2;
/// The tables, by which a file with a damaged mark is known all the same.
pub(super) const TABLES: [&str; 4] = ["damaged", "events", "members", "meta"];

/// How long to wait for another program that writes to the file.
const PATIENCE: Duration = Duration::from_secs(2);

const LAYOUT: &str = "
-- What changed: one row a change, in order. Times are milliseconds since 1970.
CREATE TABLE events (
    revision      INTEGER PRIMARY KEY, -- the index the change made
    at            INTEGER NOT NULL,    -- when
    actor         TEXT    NOT NULL,    -- callboard itself, a peer, or the registry mirrored
    peer          TEXT,                -- the address the peer called from; the registry's URL
    token         TEXT,                -- the name of the token it showed
    admin         INTEGER NOT NULL,    -- 1: it may change what others registered
    service       TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    change        TEXT    NOT NULL,    -- registered patched drained undrained deregistered expired
    why           TEXT,
    instance      TEXT    NOT NULL,    -- its description as JSON, as the change left it
    draining      INTEGER NOT NULL,    -- 1: it gets no new requests
    created       INTEGER NOT NULL,    -- the index it first signed in at
    modified      INTEGER NOT NULL,    -- the index its registration last changed at
    registered_at INTEGER NOT NULL,    -- when it first signed in
    owner         TEXT,                -- the name of the token it was registered with
    checksum      INTEGER NOT NULL     -- XXH3 of the columns before it
) STRICT;
CREATE INDEX events_by_instance ON events (id, service, revision);
CREATE INDEX events_by_service ON events (service, revision);
CREATE INDEX events_by_time ON events (at);

-- Who is in: the event that last described each, and how its probes found it last.
CREATE TABLE members (
    service  TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    fitness  TEXT    NOT NULL, -- unproven fit failing
    PRIMARY KEY (service, id)
) STRICT, WITHOUT ROWID;

-- compacted: history up to this index was thinned out to what each instance was last;
-- forgotten: the membership before this moment cannot be told any more;
-- reserved: indexes from this one on may have been given out without an event.
CREATE TABLE meta (
    key   TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows of events that could not be believed, as they were found. Nothing reads them.
CREATE TABLE damaged (
    wrong TEXT, found INTEGER,
    revision, at, actor, peer, token, admin, service, id, change, why, instance, draining,
    created, modified, registered_at, owner, checksum
);
";

/// The keys of `meta`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// Up to which revision history is compacted.
    Compacted,
    /// Before which moment the membership is not known any more.
    Forgotten,
    /// From which revision on they may have been given out without an event.
    Reserved,
}

impl Mark {
    fn key(self) -> &'static str {
        match self {
            Self::Compacted => "compacted",
            Self::Forgotten => "forgotten",
            Self::Reserved => "reserved",
        }
    }

    /// The mark as it stands; `None` if it was never set.
    pub(super) fn read(self, db: &Connection) -> rusqlite::Result<Option<i64>> {
        let query = "SELECT value FROM meta WHERE key = ?1";
        db.query_row(query, [self.key()], |row| row.get(0))
            .optional()
    }

    /// Moves the mark to `value`; never back.
    pub(super) fn advance(self, db: &Connection, value: i64) -> rusqlite::Result<()> {
        let upsert = "INSERT INTO meta VALUES (?1, ?2) \
                      ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)";
        db.execute(upsert, params![self.key(), value])?;
        Ok(())
    }
}

/// How far an acknowledged change is from the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// On it: a change survives the loss of power.
    #[default]
    Full,
    /// With the system: a change survives the end of callboard, and the last ones may be lost with
    /// the machine.
    Normal,
}

impl Sync {
    /// Puts it in force.
    pub(super) fn apply(self, db: &Connection) -> rusqlite::Result<()> {
        let level = match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        };
        db.pragma_update(None, "synchronous", level)
    }
}

/// Makes a complete file at `path`, where there is none, with what `fill` puts into it.
pub(super) fn create(
    path: &Path,
    fill: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    // Only a file without tables takes this.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction = db.transaction()?;
    transaction.execute_batch(LAYOUT)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FIRST)?;
    fill(&transaction)?;
    transaction.commit()?;
    db.close().map_err(|(_, error)| error)
}

/// Opens a file for its one writer.
pub(super) fn open(path: &Path, sync: Sync) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    harden(&db)?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    sync.apply(&db)?;
    // The write-ahead log is carried over every 4 MiB, and is no larger than that afterwards.
    db.pragma_update(None, "wal_autocheckpoint", 1_000)?;
    db.pragma_update_and_check(None, "journal_size_limit", 4_194_304, |_| Ok(()))?;
    // The first look makes the log.
    Mark::Compacted.read(&db)?;
    Ok(db)
}

/// Marks the file as one that is understood from `version` on; never as one of an earlier.
pub(super) fn raise(db: &Connection, version: i32) -> rusqlite::Result<()> {
    let now: i32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if now < version {
        db.pragma_update(None, "user_version", version)?;
    }
    Ok(())
}

/// Carries the log over into the database, so that what is written next needs no new room for it.
pub(super) fn empty_log(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update_and_check(None, "wal_checkpoint", "PASSIVE", |_| Ok(()))
}

/// Opens a file to look at.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    harden(&db)?;
    Ok(db)
}

/// Files may come from anywhere: their schema runs nothing and their pages are looked at before
/// they are used.
fn harden(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)
}
