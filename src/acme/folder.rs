//! The folder that an ACME account and its certificates are kept in. Everything in it is private, and
//! each file is replaced whole, so that a crash leaves the old one or the new one. What cannot be used
//! is set aside, never overwritten.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 1 << 20;
/// The most files of the same name that are set aside.
const MOST_ASIDE: u32 = 100;

/// Files of what one ACME server gave.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder below `path` of the server with this `directory`: what one server gave, such as one
    /// for tests, is not taken for what another did.
    pub(super) fn of(path: &Path, directory: &str) -> Self {
        let server = directory.strip_prefix("https://").unwrap_or(directory);
        let name = server
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' => c,
                _ => '-',
            })
            .take(128)
            .collect::<String>();
        // `.` and `..` are other folders.
        Self(path.join(name.trim_matches(['.', '-'])))
    }

    /// Where a file is.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What a file holds; `None` if there is none.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.file(name)) {
            Ok(file) => file,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut text)?;
        Ok(Some(text))
    }

    /// Replaces a file. When this returns it is on the disk.
    pub(super) fn write(&self, name: &str, text: &[u8]) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        let draft = self.file(&format!("{name}.new"));
        // One that a crash left could have been made by somebody else, and be open to others.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&draft, self.file(name))?;
        // The rename is on the disk only when its folder is.
        File::open(&self.0)?.sync_all()
    }

    /// Renames a file; says to what.
    pub(super) fn set_aside(&self, name: &str) -> io::Result<PathBuf> {
        for number in 1..=MOST_ASIDE {
            let aside = self.file(&format!("{name}.damaged-{number}"));
            if !aside.try_exists()? {
                fs::rename(self.file(name), &aside)?;
                return Ok(aside);
            }
        }
        Err(io::Error::new(
            ErrorKind::AlreadyExists,
            format!("{MOST_ASIDE} files were set aside before"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DIRECTORY: &str = "https://ca.example:14000/dir";

    #[test]
    fn servers_have_folders_of_their_own_below_the_path() {
        let at = |directory: &str| Folder::of(Path::new("/p"), directory).0;
        assert_eq!(at(DIRECTORY), Path::new("/p/ca.example-14000-dir"));
        assert_ne!(at("https://a/dir"), at("https://b/dir"));
        for odd in ["https://../x", "https://..", "https://a/../../b"] {
            let folder = at(odd);
            assert!(folder.starts_with("/p"), "{folder:?}");
            assert!(!folder.components().any(|part| part.as_os_str() == ".."));
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_for_its_owner_alone() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::of(&path.path().join("deep/down"), DIRECTORY);
        assert_eq!(folder.read("a").unwrap(), None);
        folder.write("a", b"one").unwrap();
        fs::write(folder.file("a.new"), "left by a crash").unwrap();
        folder.write("a", b"two").unwrap();
        assert_eq!(folder.read("a").unwrap().unwrap(), b"two");
        assert!(!folder.file("a.new").exists());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.file("a")), 0o600);
        assert_eq!(mode(&folder.0), 0o700);
    }

    #[test]
    fn what_is_set_aside_is_kept_each_time() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::of(path.path(), DIRECTORY);
        for text in ["one", "two"] {
            folder.write("a", text.as_bytes()).unwrap();
            let aside = folder.set_aside("a").unwrap();
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
            assert_eq!(folder.read("a").unwrap(), None);
        }
    }
}
