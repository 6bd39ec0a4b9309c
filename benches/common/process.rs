//! A callboard process, and calls to it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement that meets what it did not expect should stop there"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A callboard process; killed when dropped.
pub(crate) struct Callboard {
    process: Child,
    /// Where its data plane listens, in the order of the configuration.
    pub(crate) proxies: Vec<SocketAddr>,
    /// Where its control plane does.
    pub(crate) registry: SocketAddr,
}

impl Callboard {
    /// Runs `proxy.yaml` of `folder`, which has so many listeners.
    pub(crate) fn start(folder: &Path, listeners: usize) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_callboard"))
            .args(["run", "--config", "proxy.yaml"])
            .current_dir(folder)
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut proxies, mut registry) = (Vec::new(), None);
        for line in lines {
            let line = line.unwrap();
            let address = line.rsplit('/').next().unwrap().parse().unwrap();
            match line.strip_prefix("callboard: ").unwrap() {
                line if line.starts_with("proxy") => proxies.push(address),
                _ => registry = Some(address),
            }
            if let (true, Some(registry)) = (proxies.len() == listeners, registry) {
                return Self {
                    process,
                    proxies,
                    registry,
                };
            }
        }
        let status = process.wait();
        panic!("callboard ended instead of starting: {status:?}");
    }

    /// The processor time it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        // utime and stime, in ticks of a hundredth of a second (proc(5)).
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// The memory it has in use, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory it has had in use since [`Callboard::forget_peak`], in KiB.
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Has [`Callboard::peak`] begin anew.
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kibibytes.parse().unwrap()
    }
}

impl Drop for Callboard {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A request of HTTP/1.1.
pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// One kept connection, one exchange at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends a request and gives the answer's body.
    pub(crate) async fn ask(&mut self, request: &str) -> String {
        assert_eq!(self.exchange(request).await, 200);
        let answer = String::from_utf8(self.received.clone()).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Sends a request and gives the status once the whole answer is here.
    pub(crate) async fn exchange(&mut self, request: &str) -> u16 {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.received.clear();
        loop {
            let count = self.stream.read_buf(&mut self.received).await.unwrap();
            assert!(count > 0, "callboard closed the connection");
            if let Some(status) = complete(&self.received) {
                return status;
            }
        }
    }
}

/// The status of an answer that is here as a whole.
fn complete(received: &[u8]) -> Option<u16> {
    let end = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?
        + 4;
    let head = std::str::from_utf8(&received[..end]).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let whole = match length {
        Some(length) => received.len() >= end + length,
        None => status == 204 || received.ends_with(b"0\r\n\r\n"),
    };
    whole.then_some(status)
}
