//! The socket's name in the file system.
//!
//! It is made under a name of its own and renamed when only its owner can reach it, over what is
//! there: a socket that nobody listens at any more, or that of the process whose place is taken.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A socket that others can reach by its path; the path is removed when it is dropped, unless it is
/// another's by then.
#[derive(Debug)]
pub(in crate::server) struct Place {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// The device and the number of the socket's file.
    file: (u64, u64),
    leave: bool,
}

impl Place {
    /// Listens at `path`.
    ///
    /// # Errors
    /// When somebody else does, or nobody can.
    pub(in crate::server) fn at(path: &Path) -> io::Result<Self> {
        if UnixStream::connect(path).is_ok() {
            let problem = "another process listens there (expected a path of its own for each)";
            return Err(io::Error::new(ErrorKind::AddrInUse, problem));
        }
        Self::instead(path)
    }

    /// Listens at `path` in the place of whoever does so now.
    ///
    /// # Errors
    /// When it cannot be listened at.
    pub(in crate::server) fn instead(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !is_socket(&found) => {
                let problem = "something else is there (expected a socket, or nothing)";
                return Err(io::Error::new(ErrorKind::AlreadyExists, problem));
            }
            _ => {}
        }
        let draft = draft(path);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&draft)?;
        let put_in_place = || {
            fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
            let found = fs::symlink_metadata(&draft)?;
            listener.set_nonblocking(true)?;
            fs::rename(&draft, path)?;
            Ok((found.dev(), found.ino()))
        };
        let file = put_in_place().inspect_err(|_: &io::Error| {
            // What is left over is replaced the next time.
            let _ = fs::remove_file(&draft);
        })?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file,
            leave: false,
        })
    }

    /// Leaves the path to whoever takes this place.
    pub(super) fn leave(&mut self) {
        self.leave = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        let mine = found.is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if mine && !self.leave {
            // One that stays is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_socket(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_socket()
}

fn draft(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_owner_can_reach_it_and_it_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let place = Place::at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        let taken = Place::at(&path).unwrap_err().to_string();
        assert!(taken.contains("another process listens"), "{taken}");
        drop(place);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_of_the_dead_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        drop(UnixListener::bind(draft(&path)).unwrap());
        let _place = Place::at(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn whoever_was_replaced_leaves_the_path_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let old = Place::at(&path).unwrap();
        let new = Place::instead(&path).unwrap();
        drop(old);
        UnixStream::connect(&path).unwrap();
        drop(new);
        UnixStream::connect(&path).unwrap_err();
    }

    #[test]
    fn what_is_no_socket_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        fs::write(&path, "precious").unwrap();
        Place::at(&path).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
