//! The files beside the database, and how one database takes the place of another.
//!
//! A new database is made under a name of its own and renamed when it is complete, so that whatever
//! ends the process on the way, the next start finds either the old one or a complete new one:
//!
//! ```text
//! NAME.new ─ complete ─▶ NAME.ready; NAME, -wal, -shm ─▶ NAME.damaged-…; NAME.ready ─▶ NAME
//! ```

use std::ffi::OsString;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::registry::store::StoreError;

use super::fault::failed;

/// What SQLite keeps beside a database: its log first, as a database must never meet another's.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The names of one database and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Files {
    path: PathBuf,
}

/// How many links may lead from one to the next.
const LINKS: usize = 40;

/// Which files a database and its log are, whatever their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    database: Inode,
    log: Option<Inode>,
}

/// A file of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

/// Held for as long as the process uses the database. A lock of SQLite's own would keep `sqlite3`
/// out as well.
#[derive(Debug)]
pub(super) struct Lock(
    #[expect(dead_code, reason = "the system holds the lock while it is open")] File,
);

impl Files {
    /// Those of the database at `path`, whose folder is made if need be. If that is a link, they are
    /// beside what it leads to, where SQLite has its own: so the lock is the same by every name, and
    /// a link is never taken for the file.
    ///
    /// # Errors
    /// When there can be no database at `path`.
    pub(super) fn at(path: &Path) -> Result<Self, StoreError> {
        if path.is_dir() {
            return Err(failed(path, "is a folder (expected a file's name)"));
        }
        let path = followed(path)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|error| failed(folder, format!("cannot be made: {error}")))?;
        }
        Ok(Self { path })
    }

    /// The database.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Which files are at the database's path and beside it; `None` if there is no database, or
    /// nothing in it.
    pub(super) fn identity(&self) -> Option<Identity> {
        let database = fs::metadata(&self.path).ok()?;
        let log = fs::metadata(self.beside("-wal")).ok();
        (database.len() > 0).then(|| Identity {
            database: inode(&database),
            log: log.as_ref().map(inode),
        })
    }

    /// Where a new database is made.
    pub(super) fn draft(&self) -> PathBuf {
        self.beside(".new")
    }

    /// Keeps other callboards off the database.
    ///
    /// # Errors
    /// When one of them uses it.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let name = self.beside(".lock");
        let file = (File::options().create(true).append(true)).open(&name);
        let file = file.map_err(|error| failed(&name, format!("cannot be opened: {error}")))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(failed(
                &self.path,
                "is in use by another callboard (expected a file of its own for each)",
            )),
            Err(TryLockError::Error(error)) => {
                Err(failed(&name, format!("cannot be locked: {error}")))
            }
        }
    }

    /// Removes a new database that was not completed, and finishes putting one in its place that
    /// was.
    pub(super) fn tidy_up(&self) -> io::Result<()> {
        remove(&self.draft())?;
        for companion in COMPANIONS {
            remove(&self.beside(&format!(".new{companion}")))?;
        }
        if self.beside(".ready").try_exists()? {
            self.set_aside()?;
            self.step_in()?;
        }
        Ok(())
    }

    /// Puts the complete new database in the place of the old one, which is kept under the name
    /// returned, if there was one.
    pub(super) fn replace(&self) -> io::Result<Option<PathBuf>> {
        fs::rename(self.draft(), self.beside(".ready"))?;
        self.sync_folder()?;
        let kept = self.set_aside()?;
        self.step_in()?;
        Ok(kept)
    }

    /// Whether there is anything in the database's log, though not necessarily in the database.
    pub(super) fn has_log(&self) -> bool {
        fs::metadata(self.beside("-wal")).is_ok_and(|log| log.len() > 0)
    }

    fn step_in(&self) -> io::Result<()> {
        fs::rename(self.beside(".ready"), &self.path)?;
        self.sync_folder()
    }

    /// Moves the database and its log to a name of their own, if it holds anything.
    fn set_aside(&self) -> io::Result<Option<PathBuf>> {
        let holds = fs::metadata(&self.path).is_ok_and(|file| file.len() > 0) || self.has_log();
        let aside = self.unused_name()?;
        for companion in COMPANIONS.into_iter().chain([""]) {
            let file = self.beside(companion);
            if holds {
                let mut kept = aside.clone().into_os_string();
                kept.push(companion);
                ignore_absent(fs::rename(file, kept))?;
            } else {
                remove(&file)?;
            }
        }
        Ok(holds.then_some(aside))
    }

    fn unused_name(&self) -> io::Result<PathBuf> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let now = now.replace(['-', ':'], "");
        for number in 1_u32.. {
            let name = match number {
                1 => self.beside(&format!(".damaged-{now}")),
                _ => self.beside(&format!(".damaged-{now}-{number}")),
            };
            if !name.try_exists()? {
                return Ok(name);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(ending);
        name.into()
    }

    /// A rename is on the disk only when its folder is.
    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// The file that `path` leads to, whether or not it is there.
fn followed(path: &Path) -> Result<PathBuf, StoreError> {
    let mut followed = path.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = fs::read_link(&followed) else {
            return Ok(followed);
        };
        followed.pop();
        followed.push(target);
    }
    Err(failed(path, "leads from link to link (expected a file)"))
}

fn inode(file: &Metadata) -> Inode {
    Inode {
        device: file.dev(),
        number: file.ino(),
    }
}

fn remove(file: &Path) -> io::Result<()> {
    ignore_absent(fs::remove_file(file))
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &tempfile::TempDir) -> Files {
        Files::at(&folder.path().join("data/a.db")).unwrap()
    }

    fn names(files: &Files) -> Vec<String> {
        let folder = files.path().parent().unwrap();
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| match name.split_once(".damaged-") {
                Some((name, time)) => {
                    format!("{name}.damaged-{}", time.replace(char::is_numeric, "0"))
                }
                None => name,
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_database_that_is_replaced_is_kept_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        for name in ["", "-wal", "-shm", ".new"] {
            fs::write(files.beside(name), name).unwrap();
        }
        fs::write(files.path(), "old").unwrap();
        let kept = files.replace().unwrap().unwrap();
        assert_eq!(fs::read_to_string(kept).unwrap(), "old");
        assert_eq!(fs::read_to_string(files.path()).unwrap(), ".new");
        assert_eq!(
            names(&files),
            [
                "a.db",
                "a.db.damaged-00000000T000000Z",
                "a.db.damaged-00000000T000000Z-shm",
                "a.db.damaged-00000000T000000Z-wal"
            ]
        );
    }

    #[test]
    fn an_empty_file_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        fs::write(files.path(), "").unwrap();
        fs::write(files.draft(), "new").unwrap();
        assert_eq!(files.replace().unwrap(), None);
        assert_eq!(names(&files), ["a.db"]);
    }

    #[test]
    fn wherever_a_replacement_was_cut_off_the_next_start_finishes_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        fs::write(files.path(), "old").unwrap();
        fs::write(files.draft(), "half").unwrap();
        files.tidy_up().unwrap();
        assert_eq!(fs::read_to_string(files.path()).unwrap(), "old");
        assert_eq!(names(&files), ["a.db"], "what was half made is gone");

        fs::write(files.beside(".ready"), "complete").unwrap();
        files.tidy_up().unwrap();
        assert_eq!(fs::read_to_string(files.path()).unwrap(), "complete");
        assert_eq!(names(&files).len(), 2, "and the old one is kept");

        fs::rename(files.path(), files.beside(".ready")).unwrap();
        files.tidy_up().unwrap();
        assert_eq!(fs::read_to_string(files.path()).unwrap(), "complete");
    }

    #[test]
    fn only_one_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let lock = files.lock().unwrap();
        let refused = files.lock().unwrap_err().to_string();
        assert!(
            refused.contains("a.db is in use by another callboard"),
            "{refused}"
        );
        drop(lock);
        files.lock().unwrap();
    }

    #[test]
    fn a_link_has_the_lock_and_the_log_of_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let (link, further) = (folder.path().join("link"), folder.path().join("further"));
        std::os::unix::fs::symlink("data/a.db", &link).unwrap();
        std::os::unix::fs::symlink(&link, &further).unwrap();
        let linked = Files::at(&further).unwrap();
        assert_eq!(linked.path(), files.path(), "though nothing is there yet");
        let _lock = files.lock().unwrap();
        linked.lock().unwrap_err();

        fs::write(linked.draft(), "new").unwrap();
        linked.replace().unwrap();
        assert_eq!(fs::read_to_string(files.path()).unwrap(), "new");
        assert!(fs::symlink_metadata(&further).unwrap().is_symlink());
    }

    #[test]
    fn links_that_lead_nowhere_are_no_database() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("link", &link).unwrap();
        let refused = Files::at(&link).unwrap_err().to_string();
        assert!(refused.contains("leads from link to link"), "{refused}");
    }

    #[test]
    fn a_folder_is_no_database() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Files::at(folder.path()).unwrap_err().to_string();
        assert!(
            refused.ends_with("is a folder (expected a file's name)"),
            "{refused}"
        );
    }
}
