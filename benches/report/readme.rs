//! README.md's parts between two markers, and the pictures beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Puts `part` between README.md's `<!-- NAME: begin -->` and `<!-- NAME: end -->`; says it if there is no
/// such place.
pub(crate) fn write(name: &str, part: &str) {
    let path = root().join("README.md");
    let written = fs::read_to_string(&path).map(|readme| replace(&readme, name, part));
    match written {
        Ok(Some(readme)) => put(&path, &readme),
        Ok(None) => println!("README.md has no place for this:\n{part}"),
        Err(error) => eprintln!("FAILED: {}: {error}", path.display()),
    }
}

/// Writes a picture into the folder that README.md takes them from.
pub(crate) fn write_chart(name: &str, svg: &str) {
    put(&root().join("docs").join(name), svg);
}

/// The day, as year, month and day.
pub(crate) fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.chars().take("2000-01-01".len()).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn put(path: &Path, text: &str) {
    if let Err(error) = fs::write(path, text) {
        eprintln!("FAILED: {}: {error}", path.display());
    }
}

fn replace(text: &str, name: &str, part: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{part}{end}{after}"))
}
