//! Reading the membership back, and setting aside the rows that cannot be believed.

use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, Row, params};

use crate::registry::snapshot::Revision;
use crate::registry::store::{Recovered, Remembered};

use super::fault::corrupt;
use super::row::EventRow;
use super::schema::Mark;
use super::time::millis;
use super::write::fitness;

/// A member that cannot be brought back.
#[derive(Debug)]
struct Lost {
    service: String,
    id: String,
    revision: i64,
    wrong: String,
}

/// The members of the file at `path`; those that are damaged are set aside and reported.
pub(super) fn recover(db: &mut Connection, path: &Path) -> rusqlite::Result<Recovered> {
    check_members(db)?;
    let (members, lost) = members(db)?;
    for lost in &lost {
        log::error!(
            "{}: table events, index {}: {}; service {:?} instance {:?} is set aside in table \
             damaged and has to register again",
            path.display(),
            lost.revision,
            lost.wrong,
            lost.service,
            lost.id,
        );
    }
    let last = last(db)?;
    if let Err(error) = set_aside(db, &lost) {
        log::error!("{}: damaged rows stay in place: {error}", path.display());
    }
    Ok(Recovered { members, last })
}

/// Damage to the tree of `members` can make rows disappear without an error; damage to any other is
/// noticed where a member misses its event.
fn check_members(db: &Connection) -> rusqlite::Result<()> {
    let mut check = db.prepare("PRAGMA quick_check(members)")?;
    let found: String = check.query_row([], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(corrupt(format!("table members: {found}")))
}

fn members(db: &Connection) -> rusqlite::Result<(Vec<Remembered>, Vec<Lost>)> {
    let query = "SELECT events.*, members.service, members.id, members.revision, members.fitness \
                 FROM members LEFT JOIN events ON events.revision = members.revision \
                 ORDER BY members.service, members.id";
    let mut statement = db.prepare(query)?;
    let mut rows = statement.query([])?;
    let (mut members, mut lost) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        match member(row) {
            Ok(member) => members.push(member),
            Err(wrong) => lost.push(Lost {
                service: row.get(17).unwrap_or_default(),
                id: row.get(18).unwrap_or_default(),
                revision: row.get(19).unwrap_or_default(),
                wrong,
            }),
        }
    }
    Ok((members, lost))
}

fn member(row: &Row<'_>) -> Result<Remembered, String> {
    let text = |position| {
        let value = row.get_ref(position).map_err(|error| error.to_string())?;
        value
            .as_str()
            .map_err(|_| "a name in table members is no text".to_owned())
    };
    let (service, id, found) = (text(17)?, text(18)?, text(20)?);
    if matches!(row.get_ref(0), Ok(rusqlite::types::ValueRef::Null)) {
        return Err("is not there (expected it for a member)".to_owned());
    }
    let event = EventRow::read(row)?;
    let member = event.remembered(fitness(found))?;
    if (event.service, event.id) != (service, id) {
        return Err(format!(
            "is of service {:?} instance {:?} (expected the member's)",
            event.service, event.id
        ));
    }
    if event.change()?.is_leaving() {
        return Err(format!(
            "is {} (expected a member's event)",
            event.change()?
        ));
    }
    Ok(member)
}

/// The greatest revision ever kept: the event that made it may have been compacted since, or be
/// among the damaged.
fn last(db: &Connection) -> rusqlite::Result<Revision> {
    let query = "SELECT max( \
         coalesce((SELECT max(revision) FROM events), 0), \
         coalesce((SELECT max(revision) FROM members), 0), \
         coalesce((SELECT max(revision) FROM damaged WHERE typeof(revision) = 'integer'), 0))";
    let kept: i64 = db.query_row(query, [], |row| row.get(0))?;
    let passed = Mark::Compacted.read(db)?.unwrap_or(0);
    let reserved = Mark::Reserved.read(db)?.unwrap_or(0);
    let last = kept.max(passed).max(reserved);
    Ok(Revision(u64::try_from(last).unwrap_or(0)))
}

fn set_aside(db: &mut Connection, lost: &[Lost]) -> rusqlite::Result<()> {
    if lost.is_empty() {
        return Ok(());
    }
    let transaction = db.transaction()?;
    for lost in lost {
        transaction.execute(
            "INSERT INTO damaged SELECT ?2, ?3, events.* FROM events WHERE revision = ?1",
            params![lost.revision, lost.wrong, millis(SystemTime::now())],
        )?;
        transaction.execute("DELETE FROM events WHERE revision = ?1", [lost.revision])?;
        transaction.execute("DELETE FROM members WHERE revision = ?1", [lost.revision])?;
    }
    transaction.commit()
}
