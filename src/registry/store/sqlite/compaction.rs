//! Keeping the file small, a few milliseconds at a time.
//!
//! History is compacted from its start: of the events up to a moment, what is left is the last of
//! each instance that was in at that moment. Those say who was in then, so the membership can be told
//! for every moment since. A mark says how far that has got; a step looks only at events behind it,
//! and each of those makes the earlier ones of its instance redundant, and itself as well when it
//! says that the instance left.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

use super::schema::Mark;
use super::time::millis;

/// The most events one step passes.
const EVENTS: usize = 100;
/// The most pages one step gives back.
const PAGES: i64 = 64;
/// So many unused pages are kept for what comes next.
const SPARE_PAGES: i64 = 256;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For how long.
    pub(super) history: Duration,
    /// In how many bytes, unused pages apart.
    pub(super) max_size: u64,
}

/// Does one step; says whether there is more to do.
pub(super) fn step(db: &mut Connection, limits: Limits, now: SystemTime) -> rusqlite::Result<bool> {
    let horizon = now.checked_sub(limits.history).map_or(0, millis);
    let size = Size::of(db)?;
    let passed = if size.used() > limits.max_size {
        pass(db, i64::MAX)?
    } else {
        pass(db, horizon)?
    };
    if passed == EVENTS {
        return Ok(true);
    }
    if Size::of(db)?.unused > SPARE_PAGES {
        give_back(db)?;
        return Ok(true);
    }
    Ok(false)
}

/// An event that the mark passes.
struct Passed {
    revision: i64,
    at: i64,
    service: String,
    id: String,
    leaving: bool,
}

/// Compacts up to [`EVENTS`] events that happened before `horizon`; says how many there were.
fn pass(db: &mut Connection, horizon: i64) -> rusqlite::Result<usize> {
    let transaction = db.transaction()?;
    let mark = Mark::Compacted.read(&transaction)?.unwrap_or(0);
    let next: Vec<Passed> = transaction
        .prepare(
            "SELECT revision, at, service, id, change IN ('deregistered', 'expired') \
             FROM events WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )?
        .query_map(params![mark, EVENTS as i64], |row| {
            Ok(Passed {
                revision: row.get(0)?,
                at: row.get(1)?,
                service: row.get(2)?,
                id: row.get(3)?,
                leaving: row.get(4)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let passed: Vec<_> = (next.into_iter())
        .take_while(|event| event.at < horizon)
        .collect();
    let Some(last) = passed.last() else {
        return Ok(0);
    };
    let latest = passed.iter().map(|event| event.at).max();
    Mark::Compacted.advance(&transaction, last.revision)?;
    Mark::Forgotten.advance(&transaction, latest.unwrap_or(0))?;
    {
        // What a member rests on stays, whatever else the file says.
        let mut delete = transaction.prepare(
            "DELETE FROM events WHERE id = ?2 AND service = ?1 AND revision < ?3 \
             AND revision IS NOT \
             (SELECT revision FROM members WHERE service = ?1 AND id = ?2)",
        )?;
        for event in &passed {
            let end = event.revision + i64::from(event.leaving);
            delete.execute(params![event.service, event.id, end])?;
        }
    }
    transaction.commit()?;
    Ok(passed.len())
}

/// Returns unused pages to the file system.
fn give_back(db: &Connection) -> rusqlite::Result<()> {
    // Each row of the result is one page.
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}

/// How large the file is, in pages.
struct Size {
    pages: i64,
    unused: i64,
    page: i64,
}

impl Size {
    fn of(db: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get(0));
        Ok(Self {
            pages: pragma("page_count")?,
            unused: pragma("freelist_count")?,
            page: pragma("page_size")?,
        })
    }

    /// In bytes.
    fn used(&self) -> u64 {
        u64::try_from((self.pages - self.unused) * self.page).unwrap_or(0)
    }
}
