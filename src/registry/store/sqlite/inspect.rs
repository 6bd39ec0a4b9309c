//! What is at the database's path before anything is written there.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::registry::store::StoreError;

use super::fault::{Fault, failed, fault, store_error};
use super::files::Files;
use super::schema::{APPLICATION, FIRST, TABLES, VERSION, open_to_read};

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No database, or one without anything in it.
    Nothing,
    /// A database of ours.
    Ours,
    /// A file that cannot be read as a database, though it may have been ours, and why not.
    Damaged(String),
}

/// Looks at a file without changing it.
///
/// # Errors
/// When the file is not ours to use.
pub(super) fn inspect(files: &Files) -> Result<Found, StoreError> {
    let path = files.path();
    match fs::metadata(path) {
        Err(_) if !path.try_exists().unwrap_or(true) => return Ok(empty(files)),
        Err(error) => return Err(failed(path, format!("cannot be looked at: {error}"))),
        Ok(file) if !file.is_file() => return Err(failed(path, "is no file (expected one)")),
        Ok(file) if file.len() == 0 => return Ok(empty(files)),
        Ok(_) => {}
    }
    let identity = open_to_read(path).and_then(|db| Identity::read(&db));
    match identity {
        Ok(identity) => identity.judge(path),
        Err(error) if fault(&error) == Fault::Corrupt => Ok(Found::Damaged(error.to_string())),
        Err(error) => Err(store_error(path, &error)),
    }
}

/// SQLite would throw away the log of a database that is empty.
fn empty(files: &Files) -> Found {
    if files.has_log() {
        Found::Damaged("it is empty, and its log is not".to_owned())
    } else {
        Found::Nothing
    }
}

/// What a database says it is.
struct Identity {
    application: i32,
    version: i32,
    tables: Vec<String>,
}

impl Identity {
    fn read(db: &Connection) -> rusqlite::Result<Self> {
        let names = "SELECT name FROM sqlite_schema \
                     WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
        let tables = (db.prepare(names)?.query_map([], |row| row.get(0))?)
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self {
            application: db.pragma_query_value(None, "application_id", |row| row.get(0))?,
            version: db.pragma_query_value(None, "user_version", |row| row.get(0))?,
            tables,
        })
    }

    fn judge(self, path: &Path) -> Result<Found, StoreError> {
        let has_ours = TABLES
            .iter()
            .all(|ours| self.tables.iter().any(|table| table == ours));
        match (self.application, self.version) {
            (0, _) if self.tables.is_empty() => Ok(Found::Nothing),
            (APPLICATION, version) if version > VERSION => Err(failed(
                path,
                format!(
                    "has layout {version}, which a later callboard has given it (expected at most \
                     {VERSION}); it is left as it is"
                ),
            )),
            (APPLICATION, FIRST..=VERSION) if has_ours => Ok(Found::Ours),
            (APPLICATION, _) => Ok(Found::Damaged("it lacks tables".to_owned())),
            (other, _) if has_ours => Ok(Found::Damaged(format!(
                "its application_id is {other} (expected {APPLICATION})"
            ))),
            _ => Err(failed(
                path,
                "is the database of another program (expected one of callboard's or none); it is \
                 left as it is",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::store::sqlite::schema::create;

    fn inspected(make: impl FnOnce(&Path)) -> Result<Found, String> {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::at(&folder.path().join("a.db")).unwrap();
        make(files.path());
        let before = fs::read(files.path()).ok();
        let found = inspect(&files).map_err(|error| error.to_string());
        assert_eq!(fs::read(files.path()).ok(), before, "it was only looked at");
        found
    }

    fn sql(path: &Path, sql: &str) {
        Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }

    #[test]
    fn our_own_file_is_known() {
        assert_eq!(
            inspected(|path| create(path, |_| Ok(())).unwrap()),
            Ok(Found::Ours)
        );
    }

    #[test]
    fn where_nothing_is_one_can_be_made() {
        assert_eq!(inspected(|_| {}), Ok(Found::Nothing));
        assert_eq!(
            inspected(|path| fs::write(path, "").unwrap()),
            Ok(Found::Nothing)
        );
        let vacant = |path: &Path| sql(path, "CREATE TABLE a (b); DROP TABLE a");
        assert_eq!(inspected(vacant), Ok(Found::Nothing));
    }

    #[test]
    fn the_files_of_others_and_of_the_future_are_refused() {
        let foreign = inspected(|path| sql(path, "CREATE TABLE bookmarks (url)")).unwrap_err();
        assert!(
            foreign.contains("a.db is the database of another program"),
            "{foreign}"
        );
        let marked = inspected(|path| sql(path, "PRAGMA application_id = 7")).unwrap_err();
        assert!(marked.contains("another program"), "{marked}");
        let newer = inspected(|path| {
            create(path, |_| Ok(())).unwrap();
            sql(path, "PRAGMA user_version = 3");
        });
        let newer = newer.unwrap_err();
        assert!(newer.contains("a.db has layout 3"), "{newer}");
    }

    #[test]
    fn what_was_ours_and_cannot_be_read_is_damaged() {
        let damaged = |make: fn(&Path)| match inspected(make) {
            Ok(Found::Damaged(wrong)) => wrong,
            other => panic!("{other:?}"),
        };
        damaged(|path| fs::write(path, "not a database at all").unwrap());
        damaged(|path| fs::write(path.with_extension("db-wal"), "log").unwrap());
        damaged(|path| {
            create(path, |_| Ok(())).unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(5_000).unwrap();
        });
        let wrong = damaged(|path| {
            create(path, |_| Ok(())).unwrap();
            sql(path, "PRAGMA application_id = 7");
        });
        assert!(wrong.contains("application_id is 7"), "{wrong}");
    }

    use std::fs::File;
}
