//! Reading the file itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Diagnostic;

/// The longest file read, in bytes: room for thousands of services.
const MAX_BYTES: u64 = 1024 * 1024;

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, Diagnostic> {
    let file = path.display().to_string();
    let unreadable = |error: io::Error| {
        Diagnostic::whole(
            &file,
            format!("cannot be read: {error} (expected a YAML file)"),
        )
    };
    let mut bytes = Vec::new();
    let mut reader = File::open(path).map_err(unreadable)?.take(MAX_BYTES + 1);
    reader.read_to_end(&mut bytes).map_err(unreadable)?;
    if reader.limit() == 0 {
        return Err(Diagnostic::whole(
            &file,
            format!("is too long (expected at most {MAX_BYTES} bytes)"),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let valid = String::from_utf8_lossy(valid);
        let last_line = valid.rsplit('\n').next().unwrap_or_default();
        Diagnostic {
            file,
            line: valid.matches('\n').count() + 1,
            column: last_line.chars().count() + 1,
            message: "is not text (expected UTF-8)".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.yaml");
        std::fs::write(&path, bytes).unwrap();
        read(&path).map_err(|diagnostic| {
            let shown = diagnostic.to_string();
            shown.replace(&dir.path().display().to_string(), "DIR")
        })
    }

    #[test]
    fn bytes_that_are_not_text_are_located() {
        assert_eq!(
            read_bytes(b"proxy:\n  \xc3\xa4 \xff\n").unwrap_err(),
            "DIR/proxy.yaml:2:5: is not text (expected UTF-8)"
        );
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_and_one_of_the_longest_size_is_read() {
        assert_eq!(
            read_bytes(&vec![b'#'; MAX_BYTES as usize + 1]).unwrap_err(),
            "DIR/proxy.yaml: is too long (expected at most 1048576 bytes)"
        );
        assert!(read_bytes(&vec![b'#'; MAX_BYTES as usize]).is_ok());
    }

    #[test]
    fn what_is_no_file_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("cannot be read: "), "{error}");
        let error = read(&dir.path().join("absent")).unwrap_err().to_string();
        assert!(
            error.contains("absent: cannot be read: No such file"),
            "{error}"
        );
    }
}
