//! A process of some size.

use std::fmt::Write;
use std::fs;

use tempfile::TempDir;

use crate::common::process::{Callboard, Connection, program, request};
use crate::common::upstream;
use crate::machine::Machine;

/// How many instances the API takes at a time.
const BATCH: usize = 500;

/// What there is more and more of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Services,
    Instances,
    Hosts,
    Paths,
    Connections,
}

impl Axis {
    pub(crate) const ALL: [Self; 5] = [
        Self::Services,
        Self::Instances,
        Self::Hosts,
        Self::Paths,
        Self::Connections,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Instances => "instances of a service",
            Self::Hosts => "routes, each of a host",
            Self::Paths => "routes, each of a path",
            Self::Connections => "open connections",
        }
    }

    /// The n-th of requests that go to all there are in turn.
    pub(crate) fn ask(self, size: usize, n: usize) -> String {
        // Neighbours are not asked for one after the other.
        let n = n * 7_919 % size;
        let (host, path) = match self {
            Self::Services => ("bench".to_owned(), format!("/s{n}/")),
            Self::Hosts => (format!("{n}.example.com"), "/".to_owned()),
            Self::Paths => ("bench".to_owned(), format!("/api/{n}/")),
            Self::Instances | Self::Connections => ("bench".to_owned(), "/s0/".to_owned()),
        };
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    }

    /// The services and how many instances each of them has.
    fn members(self, size: usize) -> (usize, usize) {
        match self {
            Self::Services => (size, 1),
            Self::Instances => (1, size),
            Self::Hosts | Self::Paths | Self::Connections => (1, 1),
        }
    }

    /// The configuration, with a route to the first service for one host more.
    fn config(self, size: usize, host: &str) -> String {
        let mut config = String::from(
            "proxy: {threads: 1, listen: [\"127.0.0.1:0\"], clients: {idle: 1h}}\n\
             registry: {listen: \"127.0.0.1:0\", store: memory, admission: trust}\n\
             defaults: {check: off}\n\
             routes:\n",
        );
        // Writing to a string cannot fail.
        let _ = writeln!(config, "  - {{match: {{host: {host}}}, service: s0}}");
        for n in 0..size {
            let _ = match self {
                Self::Hosts => writeln!(
                    config,
                    "  - {{match: {{host: {n}.example.com}}, service: s0}}"
                ),
                Self::Paths => writeln!(config, "  - {{match: {{path: /api/{n}}}, service: s0}}"),
                Self::Services | Self::Instances | Self::Connections => break,
            };
        }
        config
    }
}

/// A callboard with so much of what grows.
pub(crate) struct Site {
    pub(crate) callboard: Callboard,
    axis: Axis,
    pub(crate) size: usize,
    folder: TempDir,
}

impl Site {
    pub(crate) async fn start(axis: Axis, size: usize, machine: &Machine, port: u16) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("callboard-bench.")
            .tempdir()
            .unwrap();
        let file = folder.path().join("proxy.yaml");
        fs::write(file, axis.config(size, "first")).unwrap();
        let command = machine.command(&program().to_string_lossy());
        let callboard = Callboard::start_as(command, folder.path(), 1);
        register(&callboard, axis.members(size), port).await;
        Self {
            callboard,
            axis,
            size,
            folder,
        }
    }

    pub(crate) fn proxy(&self) -> std::net::SocketAddr {
        self.callboard.proxies[0]
    }

    /// Writes the configuration anew, with another host for the route that is one more.
    pub(crate) fn rewrite(&self, host: &str) {
        let file = self.folder.path().join("proxy.yaml");
        fs::write(file, self.axis.config(self.size, host)).unwrap();
    }
}

/// Instances of a service differ by their addresses; all services have the same.
async fn register(callboard: &Callboard, (services, each): (usize, usize), port: u16) {
    let mut control = Connection::open(callboard.registry).await;
    let all: Vec<_> = (0..services * each)
        .map(|n| {
            let (service, id) = (n / each, n % each);
            let address = upstream::address(id, port).ip();
            format!(
                r#"{{"service":"s{service}","id":"{id}","address":"{address}","port":{port},"lease":null}}"#
            )
        })
        .collect();
    for batch in all.chunks(BATCH) {
        let body = format!(r#"{{"instances":[{}]}}"#, batch.join(","));
        let call = request("POST", "/api/v1/instances:batch", &body);
        assert_eq!(control.exchange(&call).await, 200);
    }
}
