//! The history for readers on other threads, over a connection of their own: in SQLite's WAL mode
//! nobody who reads keeps the writer waiting.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use crate::names::ServiceName;
use crate::registry::event::Event;
use crate::registry::journal::{Journal, JournalError, Query};
use crate::registry::snapshot::{Fitness, Member};
use crate::registry::store::Remembered;

use super::row::{COLUMNS, EventRow};
use super::schema::{Mark, open_to_read};
use super::time::{millis, moment};

/// Reads the file that the writer keeps.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    /// How often the writer has put another file at the path.
    replaced: AtomicU64,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    /// With [`Reader::replaced`] as it was then.
    db: Option<(Connection, u64)>,
    /// The damaged rows that were reported.
    reported: BTreeSet<i64>,
}

impl Reader {
    /// A reader of the file at `path`, which is opened when it is first asked for.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            replaced: AtomicU64::new(0),
            opened: Mutex::default(),
        }
    }

    /// There is another file at the path.
    pub(super) fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }

    /// Carries out `read` on the file as it is at one moment.
    fn with<T>(
        &self,
        read: impl FnOnce(&Connection, &mut dyn FnMut(i64, &str)) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        // Nothing under the lock is left half done by a panic but a transaction, which the next
        // reader notices.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let Opened { db, reported } = &mut *opened;
        let mut report = |revision, wrong: &str| {
            if reported.insert(revision) {
                log::error!(
                    "{}: table events, index {revision}: {wrong}; the journal leaves it out",
                    self.path.display()
                );
            }
        };
        let replaced = self.replaced.load(Ordering::Relaxed);
        let result = (|| -> rusqlite::Result<T> {
            let current = db.take().filter(|(_, of)| *of == replaced);
            let mut current = match current {
                Some(current) => current,
                None => (open_to_read(&self.path)?, replaced),
            };
            let transaction = current.0.transaction()?;
            let found = read(&transaction, &mut report)?;
            transaction.commit()?;
            *db = Some(current);
            Ok(found)
        })();
        result.map_err(|error| JournalError::Failed(format!("{}: {error}", self.path.display())))
    }
}

impl Journal for Reader {
    fn events(&self, query: &Query) -> Result<Vec<Event>, JournalError> {
        let (sql, values) = sql(query);
        self.with(|db, report| {
            let mut statement = db.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut events = Vec::new();
            while events.len() < query.limit
                && let Some(row) = rows.next()?
            {
                events.extend(believed(row, report));
            }
            Ok(events)
        })
    }

    fn members_at(
        &self,
        service: &ServiceName,
        at: SystemTime,
    ) -> Result<Vec<Remembered>, JournalError> {
        let query = format!(
            "SELECT {COLUMNS} FROM events WHERE revision IN \
             (SELECT max(revision) FROM events WHERE service = ?1 AND at <= ?2 GROUP BY id) \
             ORDER BY id"
        );
        let found = self.with(|db, report| {
            let forgotten = Mark::Forgotten.read(db)?.unwrap_or(0);
            if millis(at) < forgotten {
                return Ok(Err(forgotten));
            }
            let mut statement = db.prepare(&query)?;
            let values = [Value::from(service.to_string()), Value::from(millis(at))];
            let mut rows = statement.query(params_from_iter(values))?;
            let mut members = Vec::new();
            while let Some(row) = rows.next()? {
                let event = believed(row, report).filter(|event| !event.change.is_leaving());
                members.extend(event.map(|event| remembered(&event.member)));
            }
            Ok(Ok(members))
        })?;
        found.map_err(|forgotten| {
            JournalError::Forgotten(moment(forgotten).unwrap_or(SystemTime::UNIX_EPOCH))
        })
    }
}

fn remembered(member: &Member) -> Remembered {
    Remembered {
        fitness: Fitness::Unproven,
        ..Remembered::from(member)
    }
}

/// The event of a row, unless the row is damaged.
fn believed(row: &Row<'_>, report: &mut dyn FnMut(i64, &str)) -> Option<Event> {
    let event = EventRow::read(row).and_then(|row| row.event());
    event
        .inspect_err(|wrong| report(row.get(0).unwrap_or_default(), wrong))
        .ok()
}

/// The statement of a query and its values. The limit is left to whoever reads, as damaged rows do
/// not count.
fn sql(query: &Query) -> (String, Vec<Value>) {
    let mut conditions = vec!["TRUE"];
    let mut values = Vec::new();
    let mut add = |condition: &'static str, value: Value| {
        conditions.push(condition);
        values.push(value);
    };
    if let Some(service) = &query.service {
        add("service = ?", service.to_string().into());
    }
    if let Some(id) = &query.id {
        add("id = ?", id.to_string().into());
    }
    if let Some(since) = query.since {
        add("at >= ?", millis(since).into());
    }
    if let Some(until) = query.until {
        add("at <= ?", millis(until).into());
    }
    if let Some(before) = query.before {
        let before = i64::try_from(before.0).unwrap_or(i64::MAX);
        add("revision < ?", before.into());
    }
    let conditions = conditions.join(" AND ");
    let sql = format!("SELECT {COLUMNS} FROM events WHERE {conditions} ORDER BY revision DESC");
    (sql, values)
}
