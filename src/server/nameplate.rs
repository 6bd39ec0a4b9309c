//! The file by which others find a Unix socket: made before anybody can connect, removed when nobody
//! is to.
//!
//! A file outlives its socket, so each process removes its own, unless it shares the socket with a
//! process that takes its place or whose place it takes. It is removed while the socket still
//! listens: until then nobody else takes the path for that of the dead, and the system gives the
//! file's number to no other file.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use log::warn;
use socket2::{Domain, SockAddr, Socket, Type};

use super::sockets::BACKLOG;

/// Who may connect unless the configuration says otherwise: the process's user and group.
pub(super) const MODE: u32 = 0o660;

/// A socket's file. It is removed when this is dropped, if that is this process's to do.
#[derive(Debug)]
pub(super) struct Nameplate {
    path: PathBuf,
    /// The device and the number of the file.
    file: (u64, u64),
    mode: u32,
    is_ours: bool,
}

impl Nameplate {
    /// Listens at `path`, where a socket that nobody listens at any more is replaced. Nobody can
    /// connect before the file has its `mode`.
    ///
    /// # Errors
    /// When somebody listens there, or nobody can.
    pub(super) fn listen(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        clear(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket
            .bind(&SockAddr::unix(path)?)
            .map_err(|error| explain(path, error))?;
        let mut plate = Self::of(path, mode)?;
        plate.is_ours = true;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok((socket.into(), plate))
    }

    /// The file of a socket that another process listens at, and removes.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn of(path: &Path, mode: u32) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        if !found.file_type().is_socket() {
            return Err(io::Error::other("no socket is there"));
        }
        Ok(Self {
            path: path.to_owned(),
            file: (found.dev(), found.ino()),
            mode,
            is_ours: false,
        })
    }

    /// From now on it is this process's.
    pub(super) fn take_over(&mut self) {
        self.is_ours = true;
        if let Err(error) = fs::set_permissions(&self.path, Permissions::from_mode(self.mode)) {
            warn!("{} keeps its mode: {error}", self.path.display());
        }
    }

    /// From now on it is another process's.
    pub(super) fn leave(mut self) {
        self.is_ours = false;
    }
}

impl Drop for Nameplate {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        let is_same = found.is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if self.is_ours && is_same {
            // One that stays is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of the dead.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            let problem = "something else is there (expected a socket, or nothing)";
            return Err(io::Error::new(ErrorKind::AlreadyExists, problem));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose queue is full would have this wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => {
            let problem = "another process listens there (expected a path of its own for each)";
            Err(io::Error::new(ErrorKind::AddrInUse, problem))
        }
    }
}

fn explain(path: &Path, error: io::Error) -> io::Error {
    let folder = path.parent().unwrap_or(path);
    if error.kind() == ErrorKind::NotFound {
        let problem = format!("there is no folder {} (expected one)", folder.display());
        return io::Error::new(ErrorKind::NotFound, problem);
    }
    error
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        (folder, path)
    }

    #[test]
    fn the_file_has_its_mode_and_goes_with_its_owner() {
        let (folder, path) = folder();
        let (socket, plate) = Nameplate::listen(&path, 0o606).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o606);
        UnixStream::connect(&path).unwrap();
        drop(plate);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        drop(socket);
    }

    #[test]
    fn a_path_is_only_taken_from_the_dead() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        let (_socket, _plate) = Nameplate::listen(&path, MODE).unwrap();
        let taken = Nameplate::listen(&path, MODE).unwrap_err().to_string();
        assert!(taken.contains("another process listens"), "{taken}");
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_not_dead() {
        let (_folder, path) = folder();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let _queued = UnixStream::connect(&path).unwrap();
        let taken = Nameplate::listen(&path, MODE).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn what_is_no_socket_is_not_touched() {
        let (_folder, path) = folder();
        fs::write(&path, "precious").unwrap();
        Nameplate::listen(&path, MODE).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let (folder, _) = folder();
        let path = folder.path().join("missing/a.sock");
        let error = Nameplate::listen(&path, MODE).unwrap_err().to_string();
        assert!(error.contains("missing (expected one)"), "{error}");
    }

    #[test]
    fn what_another_process_owns_or_has_put_there_stays() {
        let (_folder, path) = folder();
        let (_socket, plate) = Nameplate::listen(&path, MODE).unwrap();
        let theirs = Nameplate::of(&path, 0o600).unwrap();
        drop(theirs);
        plate.leave();
        UnixStream::connect(&path).unwrap();

        let mut ours = Nameplate::of(&path, 0o600).unwrap();
        ours.take_over();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::rename(&path, path.with_extension("old")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(ours);
        UnixStream::connect(&path).unwrap();
    }
}
