//! What an instance says it was sent. It is written before the request is answered, straight to a
//! file, so that it outlives a killed process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Where an instance keeps its record.
#[derive(Debug)]
pub(super) struct Recorder(File);

/// The requests one instance was sent, by their tags.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Those that may be repeated.
    pub(super) gets: Vec<u64>,
    /// Those that may not.
    pub(super) posts: Vec<u64>,
    /// Those of both that came before the instance was ready.
    pub(super) early: Vec<u64>,
}

impl Recorder {
    /// Adds to the record at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self(file))
    }

    /// Notes one request.
    ///
    /// # Errors
    /// When the file takes no more.
    pub(super) fn note(&self, tag: u64, repeatable: bool, ready: bool) -> io::Result<()> {
        let kind = if repeatable { 'g' } else { 'p' };
        let when = if ready { "" } else { " early" };
        // One write, so that no line is ever half there.
        (&self.0).write_all(format!("{kind}{tag}{when}\n").as_bytes())
    }
}

impl Record {
    /// Reads the record at `path`; an instance that was sent nothing has none.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            let (entry, when) = line.split_once(' ').unwrap_or((line, ""));
            let Some((kind, Ok(tag))) = entry.split_at_checked(1).map(|(k, t)| (k, t.parse()))
            else {
                continue;
            };
            match kind {
                "g" => record.gets.push(tag),
                "p" => record.posts.push(tag),
                _ => continue,
            }
            if when == "early" {
                record.early.push(tag);
            }
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        assert_eq!(Record::read(&path).unwrap(), Record::default());
        let recorder = Recorder::open(&path).unwrap();
        recorder.note(1, true, false).unwrap();
        recorder.note(2, false, true).unwrap();
        drop(recorder);
        Recorder::open(&path).unwrap().note(3, true, true).unwrap();
        let expected = Record {
            gets: vec![1, 3],
            posts: vec![2],
            early: vec![1],
        };
        assert_eq!(Record::read(&path).unwrap(), expected);
    }

    #[test]
    fn a_line_that_was_cut_off_is_passed_over() {
        assert_eq!(Record::parse("g\np1\n\nx7\n").posts, [1]);
    }
}
