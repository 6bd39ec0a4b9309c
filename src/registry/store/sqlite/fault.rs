//! What an error of SQLite means for the store.

use std::fmt::Display;
use std::path::Path;

use rusqlite::{Error, ErrorCode, ffi};

use crate::registry::store::StoreError;

/// The kinds of failure that are answered differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no room; later there may be.
    Full,
    /// The file is not what it should be, and will not become so again.
    Corrupt,
    /// Anything else: the file may be locked, or not be ours to write.
    Other,
}

/// Which kind of failure an error is.
///
/// A write that fails counts as no room, whatever the system said: SQLite singles out only ENOSPC
/// and has one code for the rest, a spent quota and the limit of a file's size among them.
pub(super) fn fault(error: &Error) -> Fault {
    let Error::SqliteFailure(failure, _) = error else {
        return Fault::Other;
    };
    match (failure.code, failure.extended_code) {
        (ErrorCode::DiskFull, _) => Fault::Full,
        (_, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE) => Fault::Full,
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Fault::Corrupt,
        (_, ffi::SQLITE_IOERR_CORRUPTFS) => Fault::Corrupt,
        _ => Fault::Other,
    }
}

/// The error of a file whose content contradicts itself, as SQLite would report it.
pub(super) fn corrupt(wrong: String) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(wrong))
}

/// An error of the file at `path` in the registry's terms.
pub(super) fn store_error(path: &Path, error: &Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    match fault(error) {
        Fault::Full => StoreError::Full(text),
        Fault::Corrupt | Fault::Other => StoreError::Failed(text),
    }
}

/// What the file at `path` cannot be used for.
pub(super) fn failed(path: &Path, wrong: impl Display) -> StoreError {
    StoreError::Failed(format!("{} {wrong}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_grow_is_one_without_room() {
        for (code, expected) in [
            (ffi::SQLITE_FULL, Fault::Full),
            (ffi::SQLITE_IOERR_WRITE, Fault::Full),
            (ffi::SQLITE_CORRUPT, Fault::Corrupt),
            (ffi::SQLITE_CORRUPT_INDEX, Fault::Corrupt),
            (ffi::SQLITE_NOTADB, Fault::Corrupt),
            (ffi::SQLITE_BUSY, Fault::Other),
            (ffi::SQLITE_IOERR_READ, Fault::Other),
            (ffi::SQLITE_READONLY, Fault::Other),
        ] {
            let error = Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(fault(&error), expected, "{code}");
        }
    }
}
