//! The file that splits are kept in, beside the registry's: JSON, and replaced whole, so that a crash
//! leaves the old one or the new one. What is no such file is set aside, never overwritten.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use log::{error, warn};

use super::splits::{Override, Set};

/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 16 << 20;

/// Where splits are kept.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    /// Whether there may be a file that was not read, which must not be overwritten.
    unread: bool,
}

impl Kept {
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            unread: false,
        }
    }

    /// What is kept; nothing if the file is missing or damaged.
    pub(super) fn read(&mut self) -> Set {
        let path = self.path.display();
        match self.try_read() {
            Ok(set) => set,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                match self.set_aside() {
                    Ok(aside) => warn!(
                        "{path} is damaged ({error}) and was set aside as {}: routes have the splits \
                         of the configuration",
                        aside.display()
                    ),
                    Err(again) => {
                        self.unread = true;
                        error!(
                            "{path} is damaged ({error}) and cannot be set aside ({again}): routes \
                             have the splits of the configuration"
                        );
                    }
                }
                Set::new()
            }
            Err(error) => {
                self.unread = true;
                error!(
                    "{path} cannot be read: {error}: routes have the splits of the configuration"
                );
                Set::new()
            }
        }
    }

    fn try_read(&self) -> io::Result<Set> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(Set::new());
            }
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut text)?;
        let set: Set = serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if set.values().all(Override::is_usable) {
            Ok(set)
        } else {
            let unusable = "a split has no side with a weight, or too many sides";
            Err(io::Error::new(ErrorKind::InvalidData, unusable))
        }
    }

    /// Replaces what is kept. When this returns it is on the disk.
    pub(super) fn write(&mut self, set: &Set) -> io::Result<()> {
        self.try_write(set).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })
    }

    fn try_write(&mut self, set: &Set) -> io::Result<()> {
        let folder = self.folder().to_owned();
        fs::create_dir_all(&folder)?;
        if self.unread {
            match self.set_aside() {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => self.unread = false,
            }
        }
        let draft = self.beside(".new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(set)?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        // The rename is on the disk only when its folder is.
        File::open(&folder)?.sync_all()
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        for number in 1_u32.. {
            let aside = self.beside(&format!(".damaged-{number}"));
            if !aside.try_exists()? {
                fs::rename(&self.path, &aside)?;
                return Ok(aside);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn folder(&self) -> &Path {
        let folder = self.path.parent();
        (folder.filter(|folder| *folder != Path::new(""))).unwrap_or(Path::new("."))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(ending);
        name.into()
    }
}
