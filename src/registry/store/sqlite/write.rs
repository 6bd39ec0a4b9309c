//! Writing: events with the members they change, how instances were found, and a whole membership
//! into a new file.

use std::collections::HashMap;
use std::time::SystemTime;

use rusqlite::{Connection, Statement, Transaction, params};

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};
use crate::registry::event::{Actor, Change, Event};
use crate::registry::snapshot::{Fitness, Member, Revision, Snapshot};
use crate::registry::store::StoreError;

use super::description;
use super::row::{EventRow, INSERT, column};
use super::schema::{self, Mark};
use super::time::millis;

/// A new description keeps how the instance was found unless ?4 says that it is another one.
const UPSERT_MEMBER: &str = "INSERT INTO members VALUES (?1, ?2, ?3, 'unproven') \
     ON CONFLICT (service, id) DO UPDATE SET revision = excluded.revision, \
     fitness = iif(?4, 'unproven', fitness)";
const DELETE_MEMBER: &str = "DELETE FROM members WHERE service = ?1 AND id = ?2";
const NOTE: &str = "UPDATE members SET fitness = ?3 \
     WHERE service = ?1 AND id = ?2 AND fitness <> ?3";

/// The rows of a batch, each with the event it is of.
pub(super) type Rows<'e> = Vec<(EventRow<'e>, &'e Event)>;

/// The rows of `events`.
///
/// # Errors
/// When one of them cannot be kept in a row.
pub(super) fn rows(events: &[Event]) -> Result<Rows<'_>, StoreError> {
    let row = |event| Ok((EventRow::of(event)?, event));
    events.iter().map(row).collect()
}

/// Appends `rows`, all or none; on the disk, as far as the connection's `synchronous` goes, when
/// this returns.
pub(super) fn append(
    db: &mut Connection,
    rows: &Rows<'_>,
    before: &Snapshot,
) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    insert(&transaction, rows, before)?;
    transaction.commit()
}

/// The same, within a transaction.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    rows: &Rows<'_>,
    before: &Snapshot,
) -> rusqlite::Result<()> {
    let versions = rows
        .iter()
        .map(|(_, event)| description::version(&event.member.instance));
    schema::raise(transaction, versions.max().unwrap_or(schema::FIRST))?;
    let mut event_statement = transaction.prepare(INSERT)?;
    let mut upsert = transaction.prepare(UPSERT_MEMBER)?;
    let mut delete = transaction.prepare(DELETE_MEMBER)?;
    let mut latest = Latest {
        before,
        batch: HashMap::new(),
    };
    for (row, event) in rows {
        row.insert(&mut event_statement)?;
        if event.change.is_leaving() {
            delete.execute([row.service, row.id])?;
        } else {
            let another = latest.is_another(event);
            upsert.execute(params![row.service, row.id, row.revision, another])?;
        }
        latest.learn(event);
    }
    Ok(())
}

/// What the instances were before each event of a batch.
struct Latest<'e> {
    before: &'e Snapshot,
    batch: HashMap<(&'e ServiceName, &'e InstanceId), &'e Event>,
}

impl<'e> Latest<'e> {
    fn learn(&mut self, event: &'e Event) {
        let instance = &event.member.instance;
        self.batch.insert((&instance.service, &instance.id), event);
    }

    /// Whether what was found of the instance says nothing of it any more: it is elsewhere, is
    /// asked something else, or is a later life of the process.
    fn is_another(&self, event: &Event) -> bool {
        let instance = &*event.member.instance;
        let known = match self.batch.get(&(&instance.service, &instance.id)) {
            Some(last) if last.change.is_leaving() => None,
            Some(last) => Some(&last.member),
            None => (self.before).member(instance.service.as_str(), instance.id.as_str()),
        };
        let what = |instance: &Instance| {
            let Instance {
                check, generation, ..
            } = instance;
            (instance.address.clone(), check.clone(), *generation)
        };
        known.is_none_or(|known| what(&known.instance) != what(instance))
    }
}

/// Writes `before` into a new file: one event for each member, under the revision that it has been
/// at anyway. Of the time before `at`, that file knows nothing.
///
/// # Errors
/// When a member cannot be kept in a row.
pub(super) fn base(before: &Snapshot, at: SystemTime) -> Result<Vec<Event>, StoreError> {
    let members = before.services.values();
    let members = members.flat_map(|members| members.instances.values());
    let mut events: Vec<_> = members.map(|member| carried_over(member, at)).collect();
    events.sort_by_key(|event| event.revision);
    Ok(events)
}

fn carried_over(member: &std::sync::Arc<Member>, at: SystemTime) -> Event {
    Event {
        revision: member.modified,
        at,
        actor: Actor::Callboard,
        change: if member.draining {
            Change::Drained
        } else {
            Change::Registered
        },
        why: Some("carried over from a file that was damaged".to_owned()),
        member: member.clone(),
    }
}

/// Marks that nothing is known of the time before `at`, in which `rows` were carried over.
pub(super) fn forget_before(
    transaction: &Transaction<'_>,
    at: SystemTime,
    before: &Snapshot,
) -> rusqlite::Result<()> {
    Mark::Forgotten.advance(transaction, millis(at))?;
    let last = column(before.revision).unwrap_or(i64::MAX);
    Mark::Compacted.advance(transaction, last)
}

/// Remembers that revisions from `first` on may be given out without an event.
pub(super) fn reserve(db: &mut Connection, first: Revision) -> rusqlite::Result<()> {
    Mark::Reserved.advance(db, column(first).unwrap_or(i64::MAX))
}

/// Remembers how instances were found.
pub(super) fn note(
    db: &mut Connection,
    found: &[(ServiceName, InstanceId, Fitness)],
) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    {
        let mut note: Statement<'_> = transaction.prepare(NOTE)?;
        for (service, id, fitness) in found {
            note.execute(params![service.as_str(), id.as_str(), word(*fitness)])?;
        }
    }
    transaction.commit()
}

/// What stands in the column `fitness`.
pub(in crate::registry::store) fn word(fitness: Fitness) -> &'static str {
    match fitness {
        Fitness::Unproven => "unproven",
        Fitness::Fit => "fit",
        Fitness::Failing => "failing",
    }
}

/// The reverse of [`word`]. Nothing that was acknowledged rests on it, so what cannot be read is
/// what nothing is known of.
pub(in crate::registry::store) fn fitness(word: &str) -> Fitness {
    match word {
        "fit" => Fitness::Fit,
        "failing" => Fitness::Failing,
        _ => Fitness::Unproven,
    }
}
