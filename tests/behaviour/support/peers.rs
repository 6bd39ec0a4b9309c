//! Programs of other makers that callboard is put between; `make peers` installs them.

use std::env;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The program called `name`, from `target/peers` or the system; `None` skips `test`, says so, and
/// is no option where CI is set.
pub(crate) fn program(name: &str, test: &str) -> Option<PathBuf> {
    let installed = peers().join("bin").join(name);
    let on_path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&on_path).map(|folder| folder.join(name));
    // Servers of Debian's are where only root looks.
    let sbin = Path::new("/usr/sbin").join(name);
    let prometheus = peers().join("prometheus").join(name);
    let found = [installed, prometheus]
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

/// A port that was free a moment ago, for servers that cannot say which one they were given.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server that runs until it is dropped.
pub(crate) struct Server(Child);

impl Server {
    /// Starts it without letting it speak.
    pub(crate) fn start(command: &mut Command) -> Self {
        let silent = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(silent.spawn().unwrap())
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
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
