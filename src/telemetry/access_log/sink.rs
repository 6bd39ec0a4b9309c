//! Where lines end up.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::Target;
use super::pipe::Shared;

/// Who may read the file, as the bits of chmod(1): lines tell where people have been.
const MODE: u32 = 0o640;
/// As much as a pipe takes without others' words in between (POSIX has at least 512), in bytes.
const ATOMIC: usize = 4 << 10;
/// How long a sink that takes nothing now is left alone.
const BUSY: Duration = Duration::from_millis(5);
/// How often that is done once nothing more comes.
const LAST_TRIES: u32 = 200;
/// The shortest time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// An open target.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    file: File,
    /// How much is written at once, in bytes.
    piece: usize,
    /// The last line was not written to its end.
    is_torn: bool,
    warned: Option<Instant>,
}

impl Sink {
    /// # Errors
    /// When the target cannot be opened.
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        let file = file_of(target)?;
        let is_pipe = file.metadata()?.file_type().is_fifo();
        Ok(Self {
            target: target.clone(),
            file,
            piece: if is_pipe { ATOMIC } else { usize::MAX },
            is_torn: false,
            warned: None,
        })
    }

    #[cfg(test)]
    pub(super) fn of_pipe(pipe: io::PipeWriter) -> Self {
        Self {
            target: Target::Stdout,
            file: File::from(std::os::fd::OwnedFd::from(pipe)),
            piece: ATOMIC,
            is_torn: false,
            warned: None,
        }
    }

    /// Opens the target anew. Stays with what it has if that fails.
    pub(super) fn reopen(&mut self) {
        match Self::open(&self.target) {
            Ok(opened) => {
                let warned = self.warned;
                *self = Self { warned, ..opened };
                info!("the access log {} is opened anew", self.target);
            }
            Err(error) => warn!(
                "the access log {} cannot be opened anew, and goes on where it was: {error}",
                self.target
            ),
        }
    }

    /// Writes these whole lines, of which there are `count`. Those that cannot be written are dropped.
    pub(super) fn write(&mut self, lines: &[u8], count: u64, shared: &Shared) {
        let mut rest = lines;
        let mut failure = None;
        if self.is_torn {
            failure = self.write_all(b"\n", shared).err().map(|(_, error)| error);
            self.is_torn = failure.is_some();
        }
        while failure.is_none() && !rest.is_empty() {
            let length = piece_of(rest, self.piece);
            match self.write_all(&rest[..length], shared) {
                Ok(()) => rest = &rest[length..],
                Err((written, error)) => {
                    self.is_torn = written > 0 && rest[written - 1] != b'\n';
                    rest = &rest[written..];
                    failure = Some(error);
                }
            }
        }
        let dropped = memchr::memchr_iter(b'\n', rest).count() as u64;
        let written = lines.len() - rest.len();
        shared.tally.write(count - dropped, written as u64);
        shared.tally.drop_lines(dropped);
        if let Some(error) = failure {
            self.warn(&error);
        }
    }

    /// # Errors
    /// How much was written before it could not go on, and why.
    fn write_all(&mut self, bytes: &[u8], shared: &Shared) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        let mut last_tries = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever gave callboard its output may have made it one that does not wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    last_tries += u32::from(shared.is_closing());
                    if last_tries > LAST_TRIES {
                        return Err((written, error));
                    }
                    thread::sleep(BUSY);
                }
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    fn warn(&mut self, error: &io::Error) {
        if self.warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            warn!(
                "the access log {} cannot be written: {error} (lines are dropped until it can; for a \
                 minute, more of them are counted on /metrics only)",
                self.target
            );
        }
    }
}

/// The file behind `target`. Whoever opens a named pipe does not wait for its reader.
fn file_of(target: &Target) -> io::Result<File> {
    match target {
        Target::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        Target::File(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default())
            .open(path),
    }
}

/// How much of `lines` is written at once: whole lines, of at most `most` bytes unless the first is
/// longer.
fn piece_of(lines: &[u8], most: usize) -> usize {
    if lines.len() <= most {
        return lines.len();
    }
    let end = memchr::memrchr(b'\n', &lines[..most]).or_else(|| memchr::memchr(b'\n', lines));
    end.map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn pieces_are_whole_lines() {
        assert_eq!(piece_of(b"aa\nbb\ncc\n", 8), 6);
        assert_eq!(piece_of(b"aa\nbb\ncc\n", 9), 9);
        assert_eq!(piece_of(b"aaaaaa\nb\n", 3), 7);
    }

    #[test]
    fn a_file_is_appended_to_and_not_for_everybody_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let target = Target::File(path.clone());
        for _ in 0..2 {
            Sink::open(&target).unwrap().file.write_all(b"a\n").unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"a\na\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn a_named_pipe_that_nobody_reads_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert!(Sink::open(&Target::File(path)).is_err());
    }
}
