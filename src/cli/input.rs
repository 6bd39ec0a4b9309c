//! Files that are given to a command.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest text, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// The text in a file.
///
/// # Errors
/// As [`text_from`], and when there is no such file.
pub(super) fn text(file: &Path) -> io::Result<String> {
    text_from(File::open(file)?)
}

/// All that can be read of `source`.
///
/// # Errors
/// When it cannot be read, is not UTF-8, or is longer than 1 MiB, as what has no end is.
pub(super) fn text_from(source: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    source.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(io::Error::other(format!("longer than {MAX_TEXT} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_too_long() {
        let error = text(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "longer than 1048576 bytes");
    }
}
