//! Files that a configuration names: certificates, keys, secrets.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// The bytes of the file at `path`, which are at most `most`.
///
/// Whoever reads one may be serving others as well, so nothing is waited for: a pipe, whose other side
/// may never come, a device without an end and a folder are refused.
///
/// # Errors
/// When it cannot be opened or read, is no regular file, or is longer. The message follows on "cannot be
/// read: ".
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        let other = "not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, other));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let long = format!("longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, long));
    }
    Ok(bytes)
}

/// As [`read`], for text.
///
/// # Errors
/// As there, and when it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "not text (expected UTF-8)");
    String::from_utf8(read(path, most)?).map_err(not_text)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_longest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        let long = read(&path, 4).unwrap_err().to_string();
        assert_eq!(long, "longer than 4 bytes");
        std::fs::write(&path, b"\xff").unwrap();
        let binary = read_text(&path, 4).unwrap_err().to_string();
        assert_eq!(binary, "not text (expected UTF-8)");
    }

    #[test]
    fn nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            let error = read(path, 10).unwrap_err().to_string();
            assert_eq!(error, "not a regular file", "{path:?}");
        }
        let absent = read(&folder.path().join("absent"), 10).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }
}
