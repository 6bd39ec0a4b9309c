//! Where a proxy works: its folder, its addresses, and what it is configured for.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::workload::Workload;

/// Ports below the range from which systems take outgoing ones.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// How much of what a proxy has said is told, in bytes.
const TOLD: usize = 2_000;

/// A proxy's place for one turn.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// Where a proxy that is told of its endpoints while it runs is told.
    pub(crate) control: SocketAddr,
    pub(crate) endpoints: Vec<SocketAddr>,
    pub(crate) is_logged: bool,
}

impl Site {
    pub(crate) fn new(workload: &Workload, port: u16, certificate: &Certificate) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("callboard-bench.")
            .tempdir();
        let folder = folder.unwrap();
        certificate.write(folder.path());
        let [http, https, control] = ports();
        Self {
            folder,
            http,
            https,
            control,
            endpoints: (1..=workload.endpoints)
                .map(|at| endpoint(at, port))
                .collect(),
            is_logged: workload.is_logged,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of a proxy's configuration, each `{{name}}` in `template` replaced, and those that
    /// every site has: `{{http}}`, `{{https}}`, `{{control}}`.
    pub(crate) fn write(&self, name: &str, template: &str, values: &[(&str, &str)]) {
        let own = [
            ("http", self.http),
            ("https", self.https),
            ("control", self.control),
        ];
        let mut text = template.to_owned();
        for (name, value) in values {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        for (name, value) in own {
            text = text.replace(&format!("{{{{{name}}}}}"), &value.to_string());
        }
        assert!(!text.contains("{{"), "{name} has a place left open: {text}");
        fs::write(self.folder().join(name), text).unwrap();
    }

    /// The endpoints, each as `line` has it.
    pub(crate) fn lines(&self, line: impl Fn(usize, &SocketAddr) -> String) -> String {
        let lines: Vec<_> = (self.endpoints.iter().enumerate())
            .map(|(at, endpoint)| line(at, endpoint))
            .collect();
        lines.join("\n")
    }

    /// Has a command work here, and say what it says in a file.
    pub(crate) fn settle(&self, command: &mut Command) {
        let said = File::create(self.folder().join("said")).unwrap();
        command
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said);
    }

    /// What the proxy has said last.
    pub(crate) fn said(&self) -> String {
        let said = fs::read(self.folder().join("said")).unwrap_or_default();
        String::from_utf8_lossy(&said[said.len().saturating_sub(TOLD)..]).into_owned()
    }
}

/// An address of the endpoints' one listener, which is on all of 127.0.0.0/8.
pub(crate) fn endpoint(at: usize, port: u16) -> SocketAddr {
    let first = Ipv4Addr::LOCALHOST.to_bits();
    SocketAddr::from((Ipv4Addr::from_bits(first + at as u32 - 1), port))
}

/// Ports that nobody listens on at this moment: not every proxy can say which it got.
fn ports<const N: usize>() -> [SocketAddr; N] {
    let mut held = Vec::new();
    while held.len() < N {
        let address = (Ipv4Addr::LOCALHOST, fastrand::u16(PORTS));
        held.extend(TcpListener::bind(address));
    }
    std::array::from_fn(|at| held[at].local_addr().unwrap())
}
