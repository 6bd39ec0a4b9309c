//! Saving what can be read of a damaged file.
//!
//! A table is a tree in the order of its revisions, and SQLite gives up at the first page it cannot
//! read. So each stretch is read forward to the damage and then backward to it from the other end,
//! and what is left between the two is halved and tried again, until too many attempts have failed.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use super::description::version;
use super::row::{COLUMNS, EventRow, INSERT};
use super::schema::{FIRST, Mark, open_to_read, raise};

/// How many reads may fail before the rest is given up.
const ATTEMPTS: usize = 512;

/// Who is in after these events, by the last one of each instance.
const FOLD: &str = "INSERT INTO members SELECT service, id, revision, 'unproven' FROM \
     (SELECT service, id, max(revision) AS revision, change FROM events GROUP BY service, id) \
     WHERE change NOT IN ('deregistered', 'expired')";

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// Events that were read and could be believed.
    pub(super) events: usize,
    /// Members that rest on them.
    pub(super) members: usize,
    /// Members known by name whose last event could not be read.
    pub(super) lost: Vec<String>,
}

/// Reads the file at `damaged` into a new one.
///
/// # Errors
/// Only those of the new file.
pub(super) fn salvage(damaged: &Path, into: &Transaction<'_>) -> rusqlite::Result<Salvaged> {
    // There is nothing in an empty file, and SQLite would throw its log away.
    let holds = fs::metadata(damaged).is_ok_and(|file| file.len() > 0);
    let Some(from) = holds.then(|| open_damaged(damaged).ok()).flatten() else {
        return Ok(Salvaged::default());
    };
    let mut sweep = Sweep {
        from: &from,
        into,
        events: 0,
        version: FIRST,
        attempts: ATTEMPTS,
    };
    sweep.stretch(0, i64::MAX)?;
    raise(into, sweep.version)?;
    let mut salvaged = Salvaged {
        events: sweep.events,
        ..Salvaged::default()
    };
    let (listed, complete) = listed(&from);
    if complete {
        salvaged.lost = keep_listed(into, &listed)?;
    } else {
        // Who has left may be in again, until its lease runs out: better than the reverse.
        into.execute(FOLD, [])?;
    }
    recall_fitness(into, &listed)?;
    for mark in [Mark::Compacted, Mark::Forgotten, Mark::Reserved] {
        if let Ok(Some(value)) = mark.read(&from) {
            mark.advance(into, value)?;
        }
    }
    // No revision that was ever given out is to be given out again.
    if let Some(last) = listed.iter().map(|member| member.revision).max() {
        Mark::Compacted.advance(into, last)?;
    }
    salvaged.members = into.query_row("SELECT count(*) FROM members", [], |row| {
        row.get::<_, i64>(0)
    })? as usize;
    Ok(salvaged)
}

fn open_damaged(path: &Path) -> rusqlite::Result<Connection> {
    let db = open_to_read(path)?;
    // Without it SQLite refuses a file that is shorter than its header says.
    db.pragma_update(None, "writable_schema", true)?;
    Ok(db)
}

/// Reads the events of a damaged file.
struct Sweep<'a> {
    from: &'a Connection,
    into: &'a Transaction<'a>,
    events: usize,
    /// The version of the layout that all of them can be read by.
    version: i32,
    attempts: usize,
}

impl Sweep<'_> {
    /// Reads the events from `first` to `last`.
    fn stretch(&mut self, first: i64, last: i64) -> rusqlite::Result<()> {
        if first > last || self.attempts == 0 {
            return Ok(());
        }
        let Err(reached) = self.read(first, last, "ASC")? else {
            return Ok(());
        };
        let first = reached.map_or(first, |reached| reached.saturating_add(1));
        let Err(reached) = self.read(first, last, "DESC")? else {
            return Ok(());
        };
        let last = reached.map_or(last, |reached| reached - 1);
        if first >= last {
            return Ok(());
        }
        let middle = first + (last - first) / 2;
        self.stretch(first, middle)?;
        self.stretch(middle + 1, last)
    }

    /// Reads in one direction. `Ok` when all could be read; `Err` with the last revision that was,
    /// if there was one.
    fn read(
        &mut self,
        first: i64,
        last: i64,
        direction: &str,
    ) -> rusqlite::Result<Result<(), Option<i64>>> {
        let query = format!(
            "SELECT {COLUMNS} FROM events WHERE revision BETWEEN ?1 AND ?2 \
             ORDER BY revision {direction}"
        );
        let mut insert = self
            .into
            .prepare(&INSERT.replace("INSERT", "INSERT OR IGNORE"))?;
        let mut reached = None;
        let failed = (|| {
            let mut statement = self.from.prepare(&query).map_err(Side::From)?;
            let mut rows = statement.query([first, last]).map_err(Side::From)?;
            while let Some(row) = rows.next().map_err(Side::From)? {
                if let Ok(row) = EventRow::read(row) {
                    reached = Some(row.revision);
                    if let Ok(event) = row.event() {
                        row.insert(&mut insert).map_err(Side::Into)?;
                        self.version = (self.version).max(version(&event.member.instance));
                        self.events += 1;
                    }
                }
            }
            Ok(())
        })();
        match failed {
            Ok(()) => Ok(Ok(())),
            Err(Side::Into(error)) => Err(error),
            Err(Side::From(_)) => {
                self.attempts = self.attempts.saturating_sub(1);
                Ok(Err(reached))
            }
        }
    }
}

/// Which of the two files an error is of.
enum Side {
    From(#[expect(dead_code, reason = "that it failed is all there is to know")] rusqlite::Error),
    Into(rusqlite::Error),
}

/// A row of `members`.
struct Listed {
    service: String,
    id: String,
    revision: i64,
    fitness: String,
}

/// The rows of `members` as far as they can be read, and whether those are all.
fn listed(from: &Connection) -> (Vec<Listed>, bool) {
    let mut listed = Vec::new();
    let complete = (|| -> rusqlite::Result<bool> {
        let mut check = from.prepare("PRAGMA quick_check(members)")?;
        let sound = check.query_row([], |row| row.get::<_, String>(0))? == "ok";
        let mut statement = from.prepare("SELECT service, id, revision, fitness FROM members")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            listed.push(Listed {
                service: row.get(0)?,
                id: row.get(1)?,
                revision: row.get(2)?,
                fitness: row.get(3)?,
            });
        }
        Ok(sound)
    })();
    (listed, complete.unwrap_or(false))
}

/// Makes members of those that are `listed` and whose event was saved; names the others.
fn keep_listed(into: &Transaction<'_>, listed: &[Listed]) -> rusqlite::Result<Vec<String>> {
    let mut keep = into.prepare(
        "INSERT OR IGNORE INTO members SELECT service, id, revision, 'unproven' FROM events \
         WHERE revision = ?3 AND service = ?1 AND id = ?2 \
         AND change NOT IN ('deregistered', 'expired')",
    )?;
    let mut lost = Vec::new();
    for member in listed {
        if keep.execute(params![member.service, member.id, member.revision])? == 0 {
            lost.push(format!(
                "service {:?} instance {:?}",
                member.service, member.id
            ));
        }
    }
    Ok(lost)
}

fn recall_fitness(into: &Transaction<'_>, listed: &[Listed]) -> rusqlite::Result<()> {
    let mut recall =
        into.prepare("UPDATE members SET fitness = ?3 WHERE service = ?1 AND id = ?2")?;
    for member in listed {
        recall.execute(params![member.service, member.id, member.fitness])?;
    }
    Ok(())
}
