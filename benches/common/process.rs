//! A callboard process, and calls to it.

#![allow(dead_code, reason = "each bench needs another part of it")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that meets what it did not expect should stop there"
)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

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
        Self::start_as(Command::new(program()), folder, listeners)
    }

    /// The same with a command that runs [`program`].
    pub(crate) fn start_as(mut command: Command, folder: &Path, listeners: usize) -> Self {
        let mut process = command
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

    /// The processor time it has used, in user space and in the kernel.
    pub(crate) fn cpu(&self) -> Duration {
        let clock = clock_getcpuclockid(self.pid()).unwrap();
        clock_gettime(clock).unwrap().into()
    }

    /// Has it read its configuration again.
    pub(crate) fn hang_up(&self) {
        nix::sys::signal::kill(self.pid(), nix::sys::signal::Signal::SIGHUP).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().unwrap())
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

/// Which callboard is measured: the one that `CALLBOARD_BIN` names, or the one built with the bench.
pub(crate) fn program() -> PathBuf {
    let named = env::var_os("CALLBOARD_BIN").map(PathBuf::from);
    // It runs in another folder.
    named.map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_callboard")),
        |path| fs::canonicalize(&path).unwrap_or(path),
    )
}

/// A request of HTTP/1.1.
pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// One kept connection, one exchange at a time.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            address,
            stream,
            received: Vec::new(),
        }
    }

    /// The last answer.
    pub(crate) fn answer(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    /// Sends a request and gives the answer's body.
    pub(crate) async fn ask(&mut self, request: &str) -> String {
        assert_eq!(self.exchange(request).await, 200);
        let answer = String::from_utf8(self.received.clone()).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Sends a request and gives the status once the whole answer is here.
    pub(crate) async fn exchange(&mut self, request: &str) -> u16 {
        let status = self.try_exchange(request).await;
        status.expect("callboard closed the connection")
    }

    /// Sends a request until it is answered with 200, with a pause in between.
    pub(crate) async fn until_served(&mut self, request: &str, pause: Duration) {
        while self.exchange_anew(request).await != Some(200) {
            sleep(pause).await;
        }
    }

    /// The same once; there is another connection afterwards if callboard closed this one.
    pub(crate) async fn exchange_anew(&mut self, request: &str) -> Option<u16> {
        let status = self.try_exchange(request).await;
        if status.is_none() {
            *self = Self::open(self.address).await;
        }
        status
    }

    /// Nothing if the connection is closed before the answer's end.
    async fn try_exchange(&mut self, request: &str) -> Option<u16> {
        self.stream.write_all(request.as_bytes()).await.ok()?;
        self.received.clear();
        loop {
            let count = self.stream.read_buf(&mut self.received).await.ok()?;
            if count == 0 {
                return None;
            }
            if let Some(status) = complete(&self.received) {
                return Some(status);
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
