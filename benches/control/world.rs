//! The process that is measured, and who registers with it.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::machine::Machine;
use crate::process::{Callboard, Connection, program, request};
use crate::upstream;

/// How many instances the API takes at a time.
pub(crate) const BATCH: usize = 500;

/// callboard as it is by default; but all instances are probed once and then seldom, or their probes would
/// be what is measured.
pub(crate) const CHECKED: &str = r#"
proxy: {listen: ["127.0.0.1:0"]}
registry: {listen: "127.0.0.1:0", store: {sqlite: {path: callboard.db}}}
defaults: {check: {tcp: {}, interval: 10m}}
"#;

/// callboard as it is by default, but instances are only probed if they ask for it, and there may be more of
/// them.
pub(crate) const UNCHECKED: &str = r#"
proxy: {listen: ["127.0.0.1:0"]}
registry:
  listen: "127.0.0.1:0"
  store: {sqlite: {path: callboard.db}}
  limits: {instances: 1000000}
defaults: {check: off}
"#;

/// How much of everything there is.
pub(crate) struct Scale {
    /// Instances of the registry, and those of each of their services.
    pub(crate) instances: usize,
    pub(crate) each: usize,
    /// Members of the service that is large.
    pub(crate) members: usize,
    pub(crate) watchers: usize,
    /// How many times what takes a moment is measured.
    pub(crate) samples: usize,
    /// Changes that all watchers are told.
    pub(crate) changes: usize,
    /// For how long load lasts of which the rate or the cost is taken.
    pub(crate) span: Duration,
    /// Requests while an instance crashes.
    pub(crate) requests: usize,
}

impl Scale {
    pub(crate) fn new(is_quick: bool) -> Self {
        let full = Self {
            instances: 100_000,
            each: 100,
            members: 10_000,
            watchers: 1_000,
            samples: 500,
            changes: 200,
            span: Duration::from_secs(5),
            requests: 20_000,
        };
        match is_quick {
            false => full,
            true => Self {
                instances: 10_000,
                members: 1_000,
                samples: 100,
                changes: 20,
                span: Duration::from_secs(1),
                requests: 4_000,
                ..full
            },
        }
    }
}

/// A callboard with a folder of its own.
pub(crate) struct World {
    /// `None` only while it is started anew.
    callboard: Option<Callboard>,
    folder: TempDir,
    command: Box<dyn Fn() -> std::process::Command>,
}

impl World {
    pub(crate) fn start(machine: &Machine, config: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("callboard-bench.")
            .tempdir()
            .unwrap();
        fs::write(folder.path().join("proxy.yaml"), config).unwrap();
        let machine = machine.clone();
        let mut world = Self {
            callboard: None,
            folder,
            command: Box::new(move || machine.command(&program().to_string_lossy())),
        };
        world.start_again();
        world
    }

    /// Ends callboard as `kill -9` does, and starts it with what its journal says.
    pub(crate) fn start_again(&mut self) {
        drop(self.callboard.take());
        let callboard = Callboard::start_as((self.command)(), self.folder.path(), 1);
        self.callboard = Some(callboard);
    }

    pub(crate) fn callboard(&self) -> &Callboard {
        self.callboard.as_ref().unwrap()
    }

    pub(crate) async fn control(&self) -> Connection {
        Connection::open(self.callboard().registry).await
    }

    pub(crate) async fn proxy(&self) -> Connection {
        Connection::open(self.callboard().proxies[0]).await
    }
}

/// What the n-th of many instances says of itself, as a deployment with labels does; `names` are further
/// members of the object.
pub(crate) fn registration(n: usize, port: u16, names: &str) -> String {
    let address = upstream::address(n, port).ip();
    format!(
        r#"{{{names}"address":"{address}","port":{port},"zone":"a","tags":["v2"],"metadata":{{"build":"7"}},"lease":{{"ttl":"1h"}}}}"#
    )
}

/// A call that registers the `n`-th batch of instances of services with `each` of them.
pub(crate) fn batch(n: usize, prefix: &str, each: usize, port: u16) -> String {
    let instances = (n * BATCH..(n + 1) * BATCH).map(|n| {
        let names = format!(r#""service":"{prefix}{}","id":"{prefix}-{n}","#, n / each);
        registration(n, port, &names)
    });
    let body = format!(
        r#"{{"instances":[{}]}}"#,
        instances.collect::<Vec<_>>().join(",")
    );
    request("POST", "/api/v1/instances:batch", &body)
}
