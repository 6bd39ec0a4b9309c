//! Programs of other makers that callboard is put between; `make peers` installs them.

use std::env;
use std::path::{Path, PathBuf};

/// The program called `name`, from `target/peers` or the system; `None` skips `test`, says so, and
/// is no option where CI is set.
pub(crate) fn program(name: &str, test: &str) -> Option<PathBuf> {
    let installed = peers().join("bin").join(name);
    let on_path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&on_path).map(|folder| folder.join(name));
    // Servers of Debian's are where only root looks.
    let sbin = Path::new("/usr/sbin").join(name);
    let found = [installed]
        .into_iter()
        .chain(places)
        .chain([sbin])
        .find(|path| path.is_file());
    found.or_else(|| missing(name, test))
}

/// Python with the packages of `tests/peers/requirements.txt`.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    let python = peers().join("venv/bin/python");
    let is_complete = peers().join("venv/requirements.txt").is_file();
    if is_complete {
        Some(python)
    } else {
        missing("Python's peers", test)
    }
}

/// A script of `tests/peers`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers")
}

fn missing(what: &str, test: &str) -> Option<PathBuf> {
    assert_ne!(
        env::var("CI").as_deref(),
        Ok("true"),
        "{what} is missing (make peers)"
    );
    println!("SKIPPED: {test} ({what} is missing; make peers)");
    None
}
