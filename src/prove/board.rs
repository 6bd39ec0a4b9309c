//! The callboard that is put to the proof, in a folder of its own, asked only what anybody could ask
//! it.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::http::{Reply, call};
use super::process::Process;

/// Longer than a change takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// Below those from which systems take the ports of outgoing connections, so that none of these is
/// taken between being found and being used.
const PORTS: std::ops::Range<u16> = 15_000..30_000;
/// How many ports are tried.
const ATTEMPTS: usize = 100;

/// A running callboard.
#[derive(Debug)]
pub(super) struct Board {
    process: Process,
    program: PathBuf,
    folder: PathBuf,
    /// The data plane.
    pub(super) proxy: SocketAddr,
    /// The control plane.
    pub(super) registry: SocketAddr,
}

impl Board {
    /// Starts `program` in `folder` with these lines of configuration, and waits until it serves.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn start(program: &Path, folder: &Path, policy: &str) -> Result<Self, String> {
        let (proxy, registry) = two_free_ports()?;
        configure(folder, proxy, registry, policy)?;
        let mut board = Self {
            process: launch("callboard", program, "run", folder)?,
            program: program.to_owned(),
            folder: folder.to_owned(),
            proxy,
            registry,
        };
        board.serves().await?;
        Ok(board)
    }

    /// Replaces what the configuration says beside the listeners.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn configure(&self, policy: &str) -> Result<(), String> {
        configure(&self.folder, self.proxy, self.registry, policy)
    }

    /// Has it read its configuration again.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn reload(&mut self) -> Result<(), String> {
        self.process.signal(Signal::SIGHUP)
    }

    /// How often its log says this.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn log_says(&self, text: &str) -> Result<usize, String> {
        let log = self.folder.join("log");
        let log = fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        Ok(log.matches(text).count())
    }

    /// Puts a new process in its place, and waits until the old one has ended.
    ///
    /// # Errors
    /// When either does not happen.
    pub(super) async fn upgrade(&mut self) -> Result<(), String> {
        let new = launch("the new callboard", &self.program, "upgrade", &self.folder)?;
        let mut old = std::mem::replace(&mut self.process, new);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.has_ended()? {
                let log = tail(&self.folder.join("log"));
                return Err(format!("the new callboard ended ({status}): {log}"));
            }
            if let Some(status) = old.has_ended()? {
                if !status.success() {
                    return Err(format!("the old callboard ended with {status}"));
                }
                return self.serves().await;
            }
            if begun.elapsed() > 2 * PATIENCE {
                return Err("the old callboard did not end".to_owned());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn serves(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let asked = call(self.registry, Method::GET, "/readyz", None, PATIENCE).await;
            if asked.is_ok_and(|reply| reply.status == StatusCode::OK) {
                return Ok(());
            }
            let log = || tail(&self.folder.join("log"));
            if let Some(status) = self.process.has_ended()? {
                return Err(format!("callboard ended ({status}): {}", log()));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("callboard does not serve: {}", log()));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// What it says of an instance; `None` when it knows of none.
    ///
    /// # Errors
    /// When it gives no good answer.
    pub(super) async fn instance(&self, service: &str, id: &str) -> Result<Option<Value>, String> {
        let path = format!("{service}/instances/{id}");
        let reply = self.api(Method::GET, &path).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => serde_json::from_slice(&reply.body)
                .map(Some)
                .map_err(|error| format!("of {id}: {error}")),
            status => Err(format!("of {id}: {status}")),
        }
    }

    /// Has it send nothing new to an instance.
    ///
    /// # Errors
    /// When it does not agree.
    pub(super) async fn drain(&self, service: &str, id: &str) -> Result<(), String> {
        let path = format!("{service}/instances/{id}/drain");
        let status = self.api(Method::PUT, &path).await?.status;
        let drains = status.is_success();
        drains
            .then_some(())
            .ok_or(format!("drain of {id}: {status}"))
    }

    /// Waits until it says what `accept` takes of an instance.
    ///
    /// # Errors
    /// When it does not in time.
    pub(super) async fn until<T>(
        &self,
        service: &str,
        id: &str,
        what: &str,
        accept: impl Fn(Option<&Value>) -> Option<T>,
    ) -> Result<T, String> {
        let begun = Instant::now();
        loop {
            let now = self.instance(service, id).await?;
            if let Some(accepted) = accept(now.as_ref()) {
                return Ok(accepted);
            }
            if begun.elapsed() > PATIENCE {
                let now = now.unwrap_or_default();
                return Err(format!("waited in vain until {id} is {what}; it is {now}"));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn api(&self, method: Method, path: &str) -> Result<Reply, String> {
        let path = format!("/api/v1/services/{path}");
        call(self.registry, method, &path, None, PATIENCE).await
    }
}

fn launch(name: &str, program: &Path, command: &str, folder: &Path) -> Result<Process, String> {
    let config = config(folder);
    let arguments = [command.as_ref(), "--config".as_ref(), config.as_os_str()];
    let arguments = arguments.map(OsString::from).to_vec();
    Process::start(name, program, arguments, folder, &folder.join("log"))
}

fn configure(
    folder: &Path,
    proxy: SocketAddr,
    registry: SocketAddr,
    policy: &str,
) -> Result<(), String> {
    let yaml = format!(
        "proxy: {{listen: [\"{proxy}\"]}}\nregistry: {{listen: \"{registry}\"}}\n{policy}\n"
    );
    let file = config(folder);
    // A callboard that reads it at this moment must not read half of it.
    let new = file.with_extension("new");
    let written = fs::write(&new, yaml).and_then(|()| fs::rename(&new, &file));
    written.map_err(|error| format!("{}: {error}", file.display()))
}

fn config(folder: &Path) -> PathBuf {
    folder.join("proxy.yaml")
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

fn two_free_ports() -> Result<(SocketAddr, SocketAddr), String> {
    let mut found = Vec::with_capacity(2);
    for _ in 0..ATTEMPTS {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
        let Ok(listener) = TcpListener::bind(address) else {
            continue;
        };
        found.push((address, listener));
        if let [(proxy, _), (registry, _)] = found[..] {
            return Ok((proxy, registry));
        }
    }
    Err(format!("found no free port between {PORTS:?}"))
}
