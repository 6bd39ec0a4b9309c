//! The processes that are put to the proof. Each ends when its owner lets go of it, and when the
//! prover itself ends in whatever way.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};

/// How often a process is asked whether it has ended.
const GLANCE: Duration = Duration::from_millis(5);

/// A process; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Runs `program` with `arguments` in `folder`; what it says goes to `log`.
    ///
    /// It must be started from the prover's first thread: Linux takes the end of the thread that
    /// started a process for the end of its parent.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) fn start(
        name: &str,
        program: &Path,
        arguments: Vec<OsString>,
        folder: &Path,
        log: &Path,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{name} cannot be started: {error}");
        let log = File::options().create(true).append(true).open(log);
        let log = log.map_err(failed)?;
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["prove", "bound", "--parent"])
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            // Ctrl-C is meant for the prover, which ends its processes itself.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            child,
            name: name.to_owned(),
        })
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended already.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), String> {
        if let Some(status) = self.has_ended()? {
            return Err(format!("{} has ended by itself ({status})", self.name));
        }
        // It has not been waited for, so the id is still its own.
        let id = i32::try_from(self.child.id()).map(Pid::from_raw);
        let id = id.map_err(|error| format!("{}: {error}", self.name))?;
        kill(id, signal).map_err(|error| format!("{}: {signal}: {error}", self.name))
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn has_ended(&mut self) -> Result<Option<ExitStatus>, String> {
        let status = self.child.try_wait();
        status.map_err(|error| format!("{}: {error}", self.name))
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it does not in time.
    pub(super) async fn ended(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.has_ended()? {
                return Ok(status);
            }
            if begun.elapsed() > patience {
                return Err(format!("{} did not end within {patience:?}", self.name));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Kills it, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When it has ended already, or does not end.
    pub(super) async fn crash(&mut self) -> Result<(), String> {
        self.signal(Signal::SIGKILL)?;
        self.ended(Duration::from_secs(10)).await.map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Becomes `program` with `arguments`, a process that ends when `parent` does. It returns only when it
/// could not, and says why.
pub fn run_bound(parent: u32, program: &OsStr, arguments: &[OsString]) -> io::Error {
    if let Err(error) = die_with_parent() {
        return error;
    }
    // One that ended before the line above sends nothing any more.
    if u32::try_from(getppid().as_raw()) != Ok(parent) {
        return io::Error::other("the process it was to end with is gone");
    }
    Command::new(program).args(arguments).exec()
}

/// Outlives the program's replacement by `exec`.
#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)
}

/// Other systems know no such thing; there, a prover that is killed leaves its processes behind.
#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}
